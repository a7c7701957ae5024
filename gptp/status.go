package gptp

import (
	"math"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// Status is what a System can tell about itself.
type Status struct {
	Domains    []DomainStatus    `json:"domains"`              // ascending; without hot standby the edge uses the first
	HotStandby *HotStandbyStatus `json:"hotStandby,omitempty"` // nil: not configured
}

// HotStandbyStatus is hotStandbySystemDS (802.1ASdm, 14.19) and what it is
// made of.
type HotStandbyStatus struct {
	State                       HotStandbyState `json:"state"`
	Since                       tsn.Instant     `json:"since"` // when State began
	Primary                     uint8           `json:"primary"`
	Secondary                   uint8           `json:"secondary"`
	Active                      uint8           `json:"active"` // domain that the edge's time is taken from
	PrimarySynced               bool            `json:"primarySynced"`
	SecondarySynced             bool            `json:"secondarySynced"`
	PrimarySecondaryOffsetNS    int64           `json:"primarySecondaryOffsetNs"` // primary less secondary
	PrimarySecondaryOffsetLimit int64           `json:"primarySecondaryOffsetThreshNs"`
	SlewingNS                   int64           `json:"slewingNs"` // that the edge's time is ahead of Active, still to be slewed
	Relation                    RelationStatus  `json:"relation"`  // the edge's
}

func (h *hotStandbySystem) status() *HotStandbyStatus {
	return &HotStandbyStatus{
		State: h.state, Since: h.since,
		Primary: h.primary.cfg.Domain, Secondary: h.secondary.cfg.Domain, Active: h.active.cfg.Domain,
		PrimarySynced: h.primary.sync.isSynced, SecondarySynced: h.secondary.sync.isSynced,
		PrimarySecondaryOffsetNS: h.offset, PrimarySecondaryOffsetLimit: h.sys.cfg.StepThreshold,
		SlewingNS: int64(h.bias), Relation: relationStatus(h.target),
	}
}

// Status returns a copy of everything; nothing in it changes later.
func (s *System) Status() Status {
	var out Status
	for _, i := range s.instances {
		out.Domains = append(out.Domains, i.Status())
	}
	if s.standby != nil {
		out.HotStandby = s.standby.status()
	}
	return out
}

// Target is the domain whose time the edge uses; with hot standby that of the
// active domain, with the relation the edge was told.
func (s Status) Target() DomainStatus {
	h := s.HotStandby
	if h == nil {
		return s.Domains[0]
	}
	d := s.Domains[slices.IndexFunc(s.Domains, func(d DomainStatus) bool { return d.Domain == h.Active })]
	d.Relation = h.Relation
	if d.Synced && !d.IsSynced {
		d.Synced, d.NotSyncedReason = false, TimeAcquiring.String()
	}
	return d
}

// DomainStatus is what an Instance can tell about itself.
type DomainStatus struct {
	ClockIdentity ptpmsg.ClockIdentity   `json:"clockIdentity"`
	Domain        uint8                  `json:"domain"`
	GrandMaster   ptpmsg.ClockIdentity   `json:"grandMaster"`
	GMPresent     bool                   `json:"gmPresent"` // someone, perhaps this node, gives time
	IsGM          bool                   `json:"isGrandMaster"`
	Holdover      bool                   `json:"holdover"` // grand master with the time of an earlier one
	State         TimeState              `json:"state"`
	Since         tsn.Instant            `json:"since"` // when State began
	StepsRemoved  uint16                 `json:"stepsRemoved"`
	PathTrace     []ptpmsg.ClockIdentity `json:"pathTrace"` // grand master first, this node last

	ExternalPortConfiguration bool `json:"externalPortConfiguration"` // states do not come from best master selection

	CurrentUtcOffset      int16 `json:"currentUtcOffset"` // s
	CurrentUtcOffsetValid bool  `json:"currentUtcOffsetValid"`
	TimeSource            uint8 `json:"timeSource"`

	GmTimeBaseIndicator uint16         `json:"gmTimeBaseIndicator"`
	LastGmPhaseChangeNS int64          `json:"lastGmPhaseChangeNs"`
	Synced              bool           `json:"synced"`
	IsSynced            bool           `json:"isSynced"`        // within Config.StepThreshold, for some Syncs (802.1ASdm)
	NotSyncedReason     string         `json:"notSyncedReason"` // empty if synced
	Relation            RelationStatus `json:"relation"`
	HoldoverRatePPB     float64        `json:"holdoverRatePpb"` // rate that is, or would be, held over: the mean
	Offset              OffsetStatus   `json:"offset"`
	Ports               []PortStatus   `json:"ports"`
}

// RelationStatus is a tsn.ClockRelation for people and JSON.
type RelationStatus struct {
	LocalNS int64   `json:"localNs"`
	PTPNS   int64   `json:"ptpNs"`
	RatePPB float64 `json:"ratePpb"`
}

func relationStatus(r tsn.ClockRelation) RelationStatus {
	return RelationStatus{int64(r.Local), r.PTP.NS, r.RatePPB}
}

// OffsetStatus tells what Syncs found this clock ahead by, before correction.
type OffsetStatus struct {
	LastNS   int64   `json:"lastNs"`
	RMSNS    float64 `json:"rmsNs"`
	MaxNS    int64   `json:"maxNs"`    // largest magnitude
	Window   int     `json:"window"`   // Syncs that rms and max are over
	Outliers uint64  `json:"outliers"` // Syncs not believed, since start
}

// PortStatus is one port.
type PortStatus struct {
	Port             tsn.Port            `json:"port"`
	Up               bool                `json:"up"`
	MasterOnly       bool                `json:"masterOnly"` // accepts no grand master
	State            PortState           `json:"state"`
	AsCapable        bool                `json:"asCapable"`
	AsCapableReason  Reason              `json:"asCapableReason"` // why not; empty if it is
	Neighbor         ptpmsg.PortIdentity `json:"-"`
	NeighborIdentity string              `json:"neighborIdentity"` // empty until one answered
	MeanLinkDelayNS  float64             `json:"meanLinkDelayNs"`
	ThresholdNS      int64               `json:"neighborPropDelayThreshNs"`
	Intervals        IntervalsStatus     `json:"intervals"`
	NeighborWishes   NeighborWishes      `json:"neighborWishes"`

	// NeighborGptpCapable: it says that it has this domain (10.4).
	NeighborGptpCapable bool `json:"neighborGptpCapable"`
	// CommonLinkDelay: the link is measured by the Common Mean Link Delay Service.
	CommonLinkDelay bool `json:"commonLinkDelay"`
	// PdelayResumesInNS is how long no Pdelay_Req is sent yet after several
	// answers to one (11.2.15); 0: they are sent.
	PdelayResumesInNS int64 `json:"pdelayResumesInNs"`

	NeighborRateRatio float64  `json:"neighborRateRatio"`
	Counters          Counters `json:"counters"`
}

// MessageCounters counts messages by type.
type MessageCounters struct {
	Sync               uint64 `json:"sync"`
	FollowUp           uint64 `json:"followUp"`
	PdelayReq          uint64 `json:"pdelayReq"`
	PdelayResp         uint64 `json:"pdelayResp"`
	PdelayRespFollowUp uint64 `json:"pdelayRespFollowUp"`
	Announce           uint64 `json:"announce"`
	Signaling          uint64 `json:"signaling"`
}

func (c *MessageCounters) add(t ptpmsg.MessageType) {
	switch t {
	case ptpmsg.TypeSync:
		c.Sync++
	case ptpmsg.TypeFollowUp:
		c.FollowUp++
	case ptpmsg.TypePdelayReq:
		c.PdelayReq++
	case ptpmsg.TypePdelayResp:
		c.PdelayResp++
	case ptpmsg.TypePdelayRespFollowUp:
		c.PdelayRespFollowUp++
	case ptpmsg.TypeAnnounce:
		c.Announce++
	case ptpmsg.TypeSignaling:
		c.Signaling++
	}
}

// Counters counts what a port sent, took and dropped, and why (14.10). What
// concerns the link, and not one domain, counts in every domain's.
type Counters struct {
	Rx MessageCounters `json:"rx"`
	Tx MessageCounters `json:"tx"`

	Malformed         uint64 `json:"malformed"`         // would not decode
	NotGPTP           uint64 `json:"notGptp"`           // another address, EtherType, tag or message type
	OtherDomain       uint64 `json:"otherDomain"`       // another domainNumber or majorSdoId
	Unexpected        uint64 `json:"unexpected"`        // nobody waits for it: late, foreign sequenceId or source
	OneStep           uint64 `json:"oneStep"`           // Syncs that needed no Follow_Up; taken
	NoInformation     uint64 `json:"noInformation"`     // Follow_Up, or one-step Sync, without information TLV
	AnnounceDiscarded uint64 `json:"announceDiscarded"` // not qualified: loop, 255 steps, not GM capable
	AnnounceRefused   uint64 `json:"announceRefused"`   // on a MasterOnly port

	LostTransmitStamps uint64 `json:"lostTransmitStamps"` // the driver said none will come
	LateTransmitStamps uint64 `json:"lateTransmitStamps"` // it came when the machine had gone on
	LostReceiveStamps  uint64 `json:"lostReceiveStamps"`
	LostResponses      uint64 `json:"lostResponses"` // Pdelay_Resp or its follow-up
	LostFollowUps      uint64 `json:"lostFollowUps"` // Sync without Follow_Up
	MultipleResponses  uint64 `json:"multipleResponses"`
	RequestsTooSoon    uint64 `json:"requestsTooSoon"` // Pdelay_Req not answered: faster than any interval

	IntervalsOutOfRange uint64 `json:"intervalsOutOfRange"` // the neighbour asked for an interval beyond the bounds
	TLVsForwarded       uint64 `json:"tlvsForwarded"`       // unknown TLVs that were sent on
	TLVsDropped         uint64 `json:"tlvsDropped"`         // forwardable TLVs that were too much
	PdelaySilences      uint64 `json:"pdelaySilences"`      // begun after MultipleResponses

	GptpCapableTimeouts     uint64 `json:"gptpCapableTimeouts"`
	SyncReceiptTimeouts     uint64 `json:"syncReceiptTimeouts"`
	AnnounceReceiptTimeouts uint64 `json:"announceReceiptTimeouts"`
}

// plus adds the counts of the link to those of a PTP Port.
func (c Counters) plus(l Counters) Counters {
	for _, x := range []struct {
		to *uint64
		n  uint64
	}{
		{&c.Rx.PdelayReq, l.Rx.PdelayReq},
		{&c.Rx.PdelayResp, l.Rx.PdelayResp},
		{&c.Rx.PdelayRespFollowUp, l.Rx.PdelayRespFollowUp},
		{&c.Tx.PdelayReq, l.Tx.PdelayReq},
		{&c.Tx.PdelayResp, l.Tx.PdelayResp},
		{&c.Tx.PdelayRespFollowUp, l.Tx.PdelayRespFollowUp},
		{&c.Rx.Signaling, l.Rx.Signaling},
		{&c.Tx.Signaling, l.Tx.Signaling},
		{&c.IntervalsOutOfRange, l.IntervalsOutOfRange},
		{&c.PdelaySilences, l.PdelaySilences},
		{&c.Malformed, l.Malformed},
		{&c.NotGPTP, l.NotGPTP},
		{&c.OtherDomain, l.OtherDomain},
		{&c.Unexpected, l.Unexpected},
		{&c.LostTransmitStamps, l.LostTransmitStamps},
		{&c.LateTransmitStamps, l.LateTransmitStamps},
		{&c.LostReceiveStamps, l.LostReceiveStamps},
		{&c.LostResponses, l.LostResponses},
		{&c.MultipleResponses, l.MultipleResponses},
		{&c.RequestsTooSoon, l.RequestsTooSoon},
	} {
		*x.to += x.n
	}
	return c
}

// Status returns a copy of everything; nothing in it changes later.
func (i *Instance) Status() DomainStatus {
	b, c := &i.bmca, &i.slave
	s := DomainStatus{
		ClockIdentity: i.sys.cfg.ClockIdentity, Domain: i.cfg.Domain, GrandMaster: i.GrandMaster(),
		GMPresent: b.gmPresent, IsGM: i.IsGrandMaster(), Holdover: i.master.holdover,
		StepsRemoved: b.gm.steps, PathTrace: append([]ptpmsg.ClockIdentity{}, b.path...),
		ExternalPortConfiguration: i.ext.enabled,
		CurrentUtcOffset:          b.properties.utcOffset,
		CurrentUtcOffsetValid:     b.properties.flags&ptpmsg.FlagCurrentUtcOffsetValid != 0,
		TimeSource:                b.properties.timeSource,
		GmTimeBaseIndicator:       c.gmTimeBaseIndicator,
		State:                     i.state.state,
		Since:                     i.state.since,
		Synced:                    c.synced,
		IsSynced:                  i.sync.isSynced,
		NotSyncedReason:           i.state.notSynced(),
		HoldoverRatePPB:           c.holdoverRate(),
		Relation:                  relationStatus(c.relation),
		Ports:                     make([]PortStatus, 0, len(i.ports)),
	}
	phase := c.lastGmPhaseChange
	if s.IsGM {
		s.GmTimeBaseIndicator, phase = i.master.timeBaseIndicator, i.master.lastPhaseChange
	}
	s.LastGmPhaseChangeNS, _ = phase.NS()
	o := &c.servo.stats
	s.Offset = OffsetStatus{LastNS: o.last, Outliers: o.outliers}
	s.Offset.Window, s.Offset.RMSNS, s.Offset.MaxNS = o.window()
	s.Offset.RMSNS = math.Round(s.Offset.RMSNS*10) / 10
	for _, p := range i.ports {
		s.Ports = append(s.Ports, p.status())
	}
	return s
}

func (p *port) status() PortStatus {
	s := PortStatus{
		Port: p.cfg.Port, Up: p.link.up, MasterOnly: p.cfg.MasterOnly, State: p.info.state,
		AsCapable: p.asCapable, AsCapableReason: p.reason(),
		Neighbor: p.delay.req.peer, MeanLinkDelayNS: p.delay.req.link.meanDelay, ThresholdNS: p.cfg.NeighborPropDelayThresh,
		NeighborRateRatio: p.delay.req.link.rateRatio, Counters: p.count.plus(p.link.count),
	}
	d := p.delay
	s.Intervals = IntervalsStatus{p.intervals.sync.status(), p.intervals.announce.status(), d.interval.status(), p.intervals.gptpCapable.status()}
	s.NeighborWishes, s.NeighborGptpCapable = d.wishes, p.capableRx.capable
	s.CommonLinkDelay, s.PdelayResumesInNS = d.common(), d.req.resumesIn()
	if p.delay.req.peer != (ptpmsg.PortIdentity{}) {
		s.NeighborIdentity = p.delay.req.peer.String()
	}
	return s
}
