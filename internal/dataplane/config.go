package dataplane

import (
	"context"
	"fmt"
	"time"

	tsn "tsnswitch"
)

// Offload says who runs the gates.
type Offload uint8

// The two modes. OffloadFull programs the device (taprio flags 2) and passes
// class numbers as the standard has them; it needs a driver with taprio
// offload and cannot be exercised on veth, so it is tested as bytes only.
const (
	OffloadNone Offload = iota
	OffloadFull
)

// PortConfig binds a bridge port number to an interface.
type PortConfig struct {
	Port   tsn.Port
	Ifname string
	Rate   tsn.Rate // what the medium carries; 0 means the link speed
}

// Config is what stays fixed while the data plane is open.
type Config struct {
	// Bridge is the interface name, "" for an end station.
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
	Offload   Offload
	// PTPToGate converts gPTP time to the gate clock of a port: CLOCK_TAI, or
	// the port's PTP hardware clock in full offload. Needed only for gates.
	PTPToGate func(tsn.Port, tsn.PTPTime) (int64, error)
	// GateNow reads that clock; nil means CLOCK_TAI.
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
		for _, q := range c.Ports[:i] {
			if q.Port == p.Port || q.Ifname == p.Ifname {
				return fmt.Errorf("%w: port %d %q is configured twice", ErrInvalid, p.Port, p.Ifname)
			}
		}
	}
	if n := c.ClassMap.Classes(); n > tsn.MaxTrafficClasses {
		return fmt.Errorf("%w: class map uses %d classes, at most %d exist", ErrInvalid, n, tsn.MaxTrafficClasses)
	}
	if c.Bridge == "" && len(c.Ports) != 1 {
		return fmt.Errorf("%w: an end station has one port, %d are configured", ErrInvalid, len(c.Ports))
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

// GateLimits are the bounds of a gate control list on a port; 0 is no bound.
type GateLimits struct {
	Entries                  int   // per list
	MinInterval, MaxInterval int64 // ns
	MaxCycle                 int64 // ns
	NoExtension              bool  // CycleTimeExtension must be 0
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
	FeatureTimestamping  = "time-stamping"
	FeaturePHC           = "phc"
	FeatureMACMerge      = "mac-merge"
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

// intervals says what an entry may last.
func (l GateLimits) intervals() string {
	if l.MaxInterval == 0 {
		return fmt.Sprintf("at least %d", max(1, l.MinInterval))
	}
	return fmt.Sprintf("%d..%d", max(1, l.MinInterval), l.MaxInterval)
}

// Counters of one port since its root qdisc was made.
type Counters struct {
	Port     tsn.Port
	Class    [tsn.MaxTrafficClasses]ClassCounters
	Dropped  uint64    // by the root qdisc and its children
	Priority [8]uint64 // frames the classifier saw with this PCP
}

// ClassCounters count what a class's queue sent and dropped.
type ClassCounters struct {
	Frames, Octets, Dropped uint64
	Backlog                 uint64 // octets waiting now
}

// SoftwareGates are the limits of software taprio: an entry must be readable
// back (a dump of admin and oper together has to fit one netlink message of
// 32 KiB), and a cycle must fit the kernel's bound. The shortest entry is what a
// minimum frame takes at the link's rate, which each port adds.
var SoftwareGates = GateLimits{Entries: 400, MaxCycle: 1<<31 - 1}
