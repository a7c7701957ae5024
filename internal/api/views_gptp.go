package api

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// GPTPStatus is the time-aware system. Its own fields and those of the domain
// that the gates go by stand side by side; Domains has all, that one included.
type GPTPStatus struct {
	Node string `json:"node"`
	GPTPDomain
	Clock   string       `json:"clock"` // virtual, system, phc
	Steered bool         `json:"steered"`
	Now     tsn.PTPTime  `json:"now"`
	Domains []GPTPDomain `json:"domains"`
	// HotStandby is nil where it is not configured.
	HotStandby *GPTPHotStandby `json:"hotStandby,omitempty"`
	// Degraded are sentences: what is not as it should be with time, and why.
	Degraded []string `json:"degraded,omitempty"`
}

// Select makes the domain of that number the one whose fields stand at the top.
func (g *GPTPStatus) Select(domain uint8) error {
	k := slices.IndexFunc(g.Domains, func(d GPTPDomain) bool { return d.Domain == domain })
	if k < 0 {
		return Errorf(CodeNotFound, "domain %d is not configured here; there is %s", domain, g.domainList())
	}
	g.GPTPDomain = g.Domains[k]
	return nil
}

func (g *GPTPStatus) domainList() string {
	text := ""
	for k, d := range g.Domains {
		if k > 0 {
			text += ", "
		}
		text += fmt.Sprint(d.Domain)
	}
	return text
}

// States of a domain, as GPTPDomain and GPTPSample have them.
const (
	GPTPGrandMaster  = "grand-master" // gives its own time
	GPTPSynchronized = "synchronized" // follows a grand master
	GPTPAcquiring    = "acquiring"    // has a grand master, does not know its time well yet
	GPTPHoldover     = "holdover"     // goes on with the time of a grand master that is gone
	GPTPFreeRunning  = "free-running" // there is no grand master
)

// GPTPDomain is one PTP Instance.
type GPTPDomain struct {
	Domain          uint8       `json:"domain"`
	State           string      `json:"state"`
	StateFor        int64       `json:"stateForNs"` // how long it has been that
	ClockIdentity   string      `json:"clockIdentity"`
	Grandmaster     string      `json:"grandmaster"` // clock identity
	GrandmasterName string      `json:"grandmasterName,omitempty"`
	IsGrandmaster   bool        `json:"isGrandmaster"`
	Synchronized    bool        `json:"synchronized"`
	NotSyncedReason string      `json:"notSyncedReason,omitempty"` // kind of the event that took synchronization away
	Holdover        bool        `json:"holdover"`
	HoldoverRatePPM float64     `json:"holdoverRatePpm"` // rate that is, or would be, held over
	StepsRemoved    uint16      `json:"stepsRemoved"`
	Path            []GPTPClock `json:"path"` // grand master first, this node last

	Offset       int64   `json:"offsetNs"` // this clock minus the grand master's, at the last Sync
	OffsetRMS    float64 `json:"offsetRmsNs"`
	OffsetMax    int64   `json:"offsetMaxNs"` // largest magnitude
	OffsetWindow int     `json:"offsetWindow"`
	Outliers     uint64  `json:"outliers"` // Syncs not believed, since start
	RatePPM      float64 `json:"ratePpm"`  // gPTP time's against LocalClock

	ExternalPortConfiguration bool `json:"externalPortConfiguration"`

	CurrentUtcOffset      int16  `json:"currentUtcOffset"` // s
	CurrentUtcOffsetValid bool   `json:"currentUtcOffsetValid"`
	TimeSource            uint8  `json:"timeSource"`
	GmTimeBaseIndicator   uint16 `json:"gmTimeBaseIndicator"`
	LastGmPhaseChange     int64  `json:"lastGmPhaseChangeNs"`

	Ports []GPTPPort `json:"ports"`
}

// GPTPHotStandby is the hot standby system of two domains (802.1ASdm).
type GPTPHotStandby struct {
	State           string `json:"state"` // INIT, REDUNDANT, NOT_REDUNDANT, OUT_OF_SYNC
	StateFor        int64  `json:"stateForNs"`
	Primary         uint8  `json:"primary"`
	Secondary       uint8  `json:"secondary"`
	Active          uint8  `json:"active"` // domain that the time is taken from
	PrimarySynced   bool   `json:"primarySynced"`
	SecondarySynced bool   `json:"secondarySynced"`
	Offset          int64  `json:"primarySecondaryOffsetNs"` // primary less secondary
	OffsetThresh    int64  `json:"primarySecondaryOffsetThreshNs"`
	Slewing         int64  `json:"slewingNs"` // still to be slewed
}

// GPTPClock is a clock of a path; Name is empty for one of another fabric.
type GPTPClock struct {
	Identity string `json:"identity"`
	Name     string `json:"name,omitempty"`
}

// GPTPPort is a port in one domain. What is about the link is the same in all.
type GPTPPort struct {
	Port                    tsn.Port      `json:"port"`
	Ifname                  string        `json:"ifname"`
	Up                      bool          `json:"up"`
	MasterOnly              bool          `json:"masterOnly"` // accepts no grand master
	State                   string        `json:"state"`      // MasterPort, SlavePort, PassivePort, DisabledPort
	AsCapable               bool          `json:"asCapable"`
	Reason                  string        `json:"reason,omitempty"`      // why not
	Explanation             string        `json:"explanation,omitempty"` // of Reason: what it means and what to do
	Neighbor                string        `json:"neighborIdentity,omitempty"`
	NeighborName            string        `json:"neighborName,omitempty"`
	NeighborGptpCapable     bool          `json:"neighborGptpCapable"` // it says that it has this domain (10.4)
	CommonLinkDelay         bool          `json:"commonLinkDelay"`     // measured by the Common Mean Link Delay Service
	PdelayResumesIn         int64         `json:"pdelayResumesInNs"`   // silence after several answers to one Pdelay_Req; 0: none
	Intervals               GPTPIntervals `json:"intervals"`
	MeanLinkDelay           int64         `json:"meanLinkDelayNs"`
	NeighborPropDelayThresh int64         `json:"neighborPropDelayThreshNs"`
	NeighborRateRatioPPM    float64       `json:"neighborRateRatioPpm"`
	Stamps                  string        `json:"stamps"`              // hardware, software
	StampsWhy               string        `json:"stampsWhy,omitempty"` // why these
	GateOffset              int64         `json:"gateOffsetNs"`        // gate clock minus gPTP
	GateInBound             bool          `json:"gateInBound"`
	// Counters are rx_<message>, tx_<message>, and one for each kind of trouble.
	Counters map[string]uint64 `json:"counters"`
}

// GPTPIntervals are the intervals in use, ns; 0: none are sent. The neighbour may
// have asked for others than are configured (10.6.4.3).
type GPTPIntervals struct {
	Sync        GPTPInterval `json:"sync"`
	Announce    GPTPInterval `json:"announce"`
	PdelayReq   GPTPInterval `json:"pdelayReq"`
	GptpCapable GPTPInterval `json:"gptpCapable"`
}

// GPTPInterval is one of them.
type GPTPInterval struct {
	Current    int64 `json:"currentNs"`
	Configured int64 `json:"configuredNs"`
}

// GPTPSample is what one domain knew at a time. Of a second that is not kept
// Sync by Sync the Offset is the one farthest from zero.
type GPTPSample struct {
	Time          int64   `json:"timeUnixNs"` // wall clock of now, less the monotonic time since then
	Domain        uint8   `json:"domain"`
	Offset        int64   `json:"offsetNs"`
	RatePPM       float64 `json:"ratePpm"`
	MeanLinkDelay float64 `json:"meanLinkDelayNs"` // of the slave port; 0 without one
	Grandmaster   string  `json:"grandmaster"`
	State         string  `json:"state"`
}

// GPTPHistory is what a daemon has recorded of a domain, oldest first. Events
// are those of the domain, of links and of the hot standby system.
type GPTPHistory struct {
	Node    string       `json:"node"`
	Domain  uint8        `json:"domain"`
	Samples []GPTPSample `json:"samples"`
	Events  []Event      `json:"events"`
}

// GPTPUpdate is news: a sample or an event.
type GPTPUpdate struct {
	Sample *GPTPSample
	Event  *Event
}
