package dataplane

import (
	"context"
	"fmt"
	"time"

	tsn "tsnswitch"
)

// Offload says who runs the gates of a port.
type Offload uint8

// The modes of taprio.
const (
	// OffloadNone: the kernel's timer opens and shuts gates, on CLOCK_TAI.
	OffloadNone Offload = iota
	// OffloadTxTime (taprio flags 1): each frame is given its launch time as it
	// is queued, by CLOCK_TAI, and etf keeps it until then: the device, where it
	// has launch times, else the kernel.
	OffloadTxTime
	// OffloadFull (flags 2): the device runs the list, on its PTP hardware clock.
	OffloadFull
	// Ungated: nobody. The root is mqprio, for a port that never has gates: it
	// has shapers and launch times alone. Which class goes first is then the
	// device's choice, who has a queue for each.
	Ungated
)

func (o Offload) String() string {
	return [...]string{"none", "txtime-assist", "full", "ungated"}[min(o, Ungated)]
}

// PortConfig binds a bridge port number to an interface. Offload and what
// belongs to it are fixed while the root qdisc lives.
type PortConfig struct {
	Port    tsn.Port
	Ifname  string
	Rate    tsn.Rate // what the medium carries; 0 means the link speed
	Offload Offload
	// LaunchDelta is how long before its launch time a frame leaves etf, ns;
	// 0 means 500 us. With OffloadTxTime no frame leaves sooner than that.
	LaunchDelta int64
	// Preemption is what the MAC merge sublayer shall do; nil leaves it alone,
	// and no class of the port can be preemptible then.
	Preemption *MACMerge
}

const maxDelta = 1_000_000_000 // ns

func (p PortConfig) delta() int64 {
	if p.LaunchDelta > 0 {
		return p.LaunchDelta
	}
	return 500_000
}

// Config is what stays fixed while the data plane is open.
type Config struct {
	// Bridge is the interface name, "" for an end station, and where ports are
	// interfaces that nothing forwards between.
	Bridge string
	// CreateBridge allows making the bridge and correcting its settings;
	// without it a missing or wrongly set bridge is an error.
	CreateBridge bool
	SystemID     tsn.MAC // address of a bridge that is made here; zero: the kernel's choice
	Ports        []PortConfig
	ClassMap     tsn.ClassMap
	// NumQueues is the transmit queues a port must have at least; 0 means one
	// for each class.
	NumQueues int
	// PTPToGate converts gPTP time to the gate clock of a port: CLOCK_TAI, or
	// the port's PTP hardware clock in full offload. Needed only for gates.
	PTPToGate func(tsn.Port, tsn.PTPTime) (int64, error)
	// GateNow reads that clock; nil means that it is read here.
	GateNow func(tsn.Port) (int64, error)
	// PhaseTolerance is how far (ns) a running schedule may be from where
	// PTPToGate puts it before it is sent again; 0 means 1000.
	PhaseTolerance int64
	// Progress, if not nil, is called during a Set that takes longer than
	// ProgressAfter: between batches, and not more often than once a second.
	Progress func(Progress)
	// AssumeMissing are features that ports are taken to lack although they
	// have them, so that what a lesser driver leads to can be tried anywhere.
	AssumeMissing []string
}

// Progress is how far a Set has come.
type Progress struct {
	Done, Steps int
	Elapsed     time.Duration
}

func (p Progress) String() string {
	return fmt.Sprintf("%d of %d steps in %v", p.Done, p.Steps, p.Elapsed.Round(time.Millisecond))
}

// ProgressAfter is when a Set begins to tell how far it is.
const ProgressAfter = 2 * time.Second

// Validate reports what makes the configuration unusable.
func (c *Config) Validate() error {
	if len(c.Ports) == 0 {
		return fmt.Errorf("%w: no ports configured", ErrInvalid)
	}
	for i, p := range c.Ports {
		if p.Port == tsn.NoPort || p.Port > 4095 || p.Ifname == "" {
			return fmt.Errorf("%w: port %d %q: want a number in 1..4095 and an interface name", ErrInvalid, p.Port, p.Ifname)
		}
		if p.Preemption != nil {
			if err := p.Preemption.Validate(); err != nil {
				return fmt.Errorf("%w: port %d: MAC merge: %w", ErrInvalid, p.Port, err)
			}
		}
		if p.delta() > maxDelta {
			return fmt.Errorf("%w: port %d: a launch delta of %d ns is more than %d", ErrInvalid, p.Port, p.LaunchDelta, int64(maxDelta))
		}
		for _, q := range c.Ports[:i] {
			if q.Port == p.Port || q.Ifname == p.Ifname {
				return fmt.Errorf("%w: port %d %q is configured twice", ErrInvalid, p.Port, p.Ifname)
			}
		}
	}
	if n := c.ClassMap.Classes(); n > tsn.MaxTrafficClasses {
		return fmt.Errorf("%w: class map uses %d classes, at most %d exist", ErrInvalid, n, tsn.MaxTrafficClasses)
	}
	return nil
}

func (c *Config) tolerance() int64 {
	if c.PhaseTolerance > 0 {
		return c.PhaseTolerance
	}
	return 1000
}

func (c *Config) port(p tsn.Port) (PortConfig, bool) {
	for _, pc := range c.Ports {
		if pc.Port == p {
			return pc, true
		}
	}
	return PortConfig{}, false
}

// ifname prints a port as people know it: by its interface, br for the bridge.
func (c *Config) ifname(p tsn.Port) string {
	if p == tsn.NoPort {
		return c.Bridge
	}
	if pc, ok := c.port(p); ok {
		return pc.Ifname
	}
	return fmt.Sprintf("port%d", p)
}

// Backend is a kernel that Reconcile can work on: the real one or the fake.
type Backend interface {
	Config() *Config
	Read() (State, error)
	// Reread reads what ops may have changed since s was read. It may give parts
	// of s back.
	Reread(s State, ops []Op) (State, error)
	// Apply does ops of one kind on different things, in order; see batches. One
	// that fails leaves its thing as it was, and does not stop those after it.
	// It returns the failures by ascending index.
	Apply(ctx context.Context, ops []Op) []Failure
	// Check refuses what a port cannot do, before anything is written.
	Check(p tsn.Port, feature string) error
	// Limits of a port's gate control lists.
	GateLimits(p tsn.Port) GateLimits
	// LinkSpeed is the rate the kernel's shapers compute with.
	LinkSpeed(p tsn.Port) tsn.Rate
	// GateNow is the gate clock of the port.
	GateNow(p tsn.Port) (int64, error)
}

// Failure is what became of the op with this index of a batch.
type Failure struct {
	Index int
	Err   error
}

// Names of features, as Features and UnsupportedError print them.
const (
	FeatureVLANFiltering = "vlan-filtering"
	FeatureLocked        = "locked"
	FeatureMDB           = "mdb"
	FeatureTaprio        = "taprio"
	FeatureOffload       = "taprio-offload"
	FeatureClassOrder    = "class-order"
	FeatureQueues        = "queues"
	FeatureCBS           = "cbs"
	FeatureClassifier    = "classifier"
	FeatureMaxSDU        = "max-sdu"
	FeatureMQPrio        = "mqprio"
	FeatureStreamFilter  = "stream-filter" // flower and police
	FeatureStreamGate    = "stream-gate"   // act_gate
	FeatureRegeneration  = "regeneration"  // act_vlan and act_gact: priorities of frames that come in
	FeatureKeepBack      = "keep-back"     // cls_bpf: MRP frames are not relayed
	FeatureTimestamping  = "time-stamping"
	FeaturePHC           = "phc"
	FeatureMACMerge      = "mac-merge"
	FeatureLaunchTime    = "launch-time"
	FeaturePreemption    = "frame-preemption"
)

// FeatureState is the answer to "can it".
type FeatureState uint8

// The answers.
const (
	FeatureOK FeatureState = iota
	FeatureDegraded
	FeatureMissing
)

func (s FeatureState) String() string {
	return [...]string{"OK", "degraded", "missing"}[min(s, FeatureMissing)]
}

// Feature is one line of a doctor's report.
type Feature struct {
	Name  string
	Port  tsn.Port // NoPort: the whole switch
	State FeatureState
	Why   string // never empty unless OK
}

// Counters of one port since its root qdisc was made.
type Counters struct {
	Port     tsn.Port
	Class    [tsn.MaxTrafficClasses]ClassCounters
	Dropped  uint64    // by the root qdisc and its children
	Priority [8]uint64 // frames the classifier saw with this PCP
	// Oversize is of Dropped what the root refused: frames longer than their
	// class's max-SDU, or than any of its windows.
	Oversize uint64
	Gates    GateCounters
	Merge    MACMergeCounters
	Filters  []FilterCounters // of the streams that come in here, by stream
}

// GateCounters are what a device in full offload tells of its gates; the
// kernel's own gates keep none.
type GateCounters struct {
	WindowDrops uint64 // frames that fit no window of their class
	Overruns    uint64 // frames still being sent as their gate shut (TransmissionOverrun, 802.1Q 12.29.1.1.2)
}

// ClassCounters count what a class's queue sent and dropped.
type ClassCounters struct {
	Frames, Octets, Dropped uint64
	Backlog                 uint64 // octets waiting now
	Gates                   GateCounters
}
