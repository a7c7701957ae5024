// Package node is one whole switch, composed of two Machines. The daemon runs
// them with real time and sockets, the simulator with virtual ones; both run
// exactly this code.
//
//	gPTP frames, stamps ──> Timing ──> gPTP frames, gptp.RelationChanged
//	                                          │ (the driver turns it into Clock)
//	IS-IS frames, links ──┐                   ▼
//	reservations ─────────┼──> Control ──> IS-IS frames
//	gate lists ───────────┘   spb srp qbv    Desired{tsn.DesiredState}, whole
//
// Two machines, so that a long path computation never delays a Pdelay answer.
// Control composes what the cores want into one desired state: spb the bridge,
// srp group entries and idle slopes, qbv gates; none of them names a qdisc.
package node

import (
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Config is a whole switch. Without SPB and Shared there is no bridge: it is an
// end station, or what is between its ports is not the kernel's business.
type Config struct {
	SPB    *spb.Config
	Shared *SharedBridge // not with SPB
	GPTP   gptp.Config
	QBV    qbv.AdminConfig
	SRP    srp.Config
	// MVRP and MMRP are nil where the switch takes no part in them.
	MVRP *srp.MVRPConfig
	MMRP *srp.MMRPConfig

	ClassMap tsn.ClassMap
	Ports    []tsn.Port // every port of the bridge, or with an egress; ascending
	// Unshaped are those of Ports whose egress is left as it is, ascending.
	Unshaped []tsn.Port
	// Classes is what is fixed of the classes of ports; one that is not named
	// has no limits.
	Classes []PortClasses
	// SelfVLANs are the VLANs of the bridge's own interface (management).
	SelfVLANs []tsn.VID
	// FilterUnregistered are edge ports to which groups go only if MMRP has
	// registered them, or has registered there that unregistered ones are wanted.
	FilterUnregistered []tsn.Port
}

// PortClasses is what a port's classes are configured to be: see tsn.PortEgress.
type PortClasses struct {
	Port        tsn.Port
	MaxSDU      [tsn.MaxTrafficClasses]uint32
	Preemptible [tsn.MaxTrafficClasses]bool
	Launch      [tsn.MaxTrafficClasses]tsn.LaunchTime
	// Filters is what becomes of streams that come in by an edge port.
	Filters FilterMode
	// FilterBurst is for how long, in ns, a talker may save up what it has reserved
	// and then send it at once; what it may send in two intervals it may in any case.
	FilterBurst int64
}

// SetUnlocked is an event of Control: the ports whose driver was found to have
// no ingress check (`locked`), all of them. They get by without; see compose.go.
type SetUnlocked struct{ Ports []tsn.Port }

// Desired is an effect of Control: everything the kernel shall be. When the
// kernel has taken or refused it, the driver answers with one qbv.Applied for
// each of Gates, and on a bridge with spb.Applied for Forwarding.
type Desired struct {
	State tsn.DesiredState
	// Forwarding is the generation of spb's wish that State.Bridge fulfils; 0: none yet.
	Forwarding uint64
	Gates      []GateChange // ascending port
}

// GateChange names the change that the gates of a port are the result of.
type GateChange struct {
	Port       tsn.Port
	Generation uint64
}

// Timing is the time-aware system.
type Timing = gptp.System

// Control is all that is not time: paths, reservations, gates. It is a
// tsn.Machine; events go to the core that knows them.
type Control struct {
	SPB *spb.Instance // nil without
	SRP *srp.Instance
	QBV *qbv.Instance
	// MVRP and MMRP are nil if not configured.
	MVRP *srp.MVRP
	MMRP *srp.MMRP

	classMap tsn.ClassMap
	bridge   *tsn.BridgeState // as spb wants it
	forward  uint64           // generation of bridge
	streams  []spb.StreamTree
	reserved srp.Reserved
	gates    map[tsn.Port]qbv.GatesChanged
	ports    []tsn.Port
	classes  []PortClasses
	unshaped []tsn.Port
	self     []tsn.VID
	shared   *SharedBridge    // nil: SPB's, or none
	vids     []tsn.VID        // of the fabric
	roles    []spb.PortConfig // of a fabric's bridge
	unlocked []tsn.Port       // ascending
	// filters are wanted of streams that come in; see filters.go.
	filters     []tsn.StreamFilter
	streamGates []StreamGate
	guard       guard
	boundaries  []srp.PortBoundary
	msrp        msrpWiring
	registrar   registrar
	takesMSRP   bool
	forbidden   []srp.PortVLANs // to MVRP
	// filterUnregistered: see Config.
	filterUnregistered []tsn.Port
	faults             []tsn.Notice // of the last composition

	started bool
	effects []tsn.Effect
}

var _ tsn.Machine = (*Control)(nil)

// New builds both machines of a switch.
func New(cfg Config) (*Timing, *Control, error) {
	timing, err := gptp.New(cfg.GPTP)
	if err != nil {
		return nil, nil, err
	}
	control, err := NewControl(cfg)
	return timing, control, err
}

// NewControl builds the control machine alone. The error says what in the
// configuration cannot be meant.
func NewControl(cfg Config) (*Control, error) {
	if !slices.IsSorted(cfg.Ports) || len(slices.Compact(slices.Clone(cfg.Ports))) != len(cfg.Ports) {
		return nil, errors.New("node: ports must be ascending, each once")
	}
	c := &Control{
		guard: guardOf(cfg), classMap: cfg.ClassMap, ports: cfg.Ports, unshaped: cfg.Unshaped, classes: cfg.Classes, self: cfg.SelfVLANs,
		shared: cfg.Shared, gates: map[tsn.Port]qbv.GatesChanged{},
	}
	var err error
	if cfg.SPB != nil {
		if c.SPB, err = spb.New(*cfg.SPB); err != nil {
			return nil, err
		}
		for _, b := range cfg.SPB.BaseVIDs {
			c.vids = append(c.vids, b.VID)
		}
		c.roles = cfg.SPB.Ports
	}
	if c.SRP, err = srp.New(cfg.SRP); err != nil {
		return nil, err
	}
	c.takesMSRP, c.filterUnregistered = cfg.SRP.MSRP != nil, cfg.FilterUnregistered
	if err := c.newRegistrar(cfg); err != nil {
		return nil, err
	}
	if c.QBV, err = qbv.New(cfg.QBV); err != nil {
		return nil, err
	}
	return c, nil
}

// Deadline is the earliest of the cores'.
func (c *Control) Deadline() tsn.Instant {
	d := min(c.SRP.Deadline(), c.QBV.Deadline())
	if c.MVRP != nil {
		d = min(d, c.MVRP.Deadline())
	}
	if c.MMRP != nil {
		d = min(d, c.MMRP.Deadline())
	}
	if c.SPB != nil {
		d = min(d, c.SPB.Deadline())
	}
	return d
}

// Step gives the event to every core that may know it, in a fixed order, and
// ends with one Desired if any of them changed its mind. Without SPB the first
// Step has one too.
func (c *Control) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	changed := !c.started && c.SPB == nil
	c.started = true
	c.effects = c.effects[:0]
	if f, ok := ev.(tsn.Received); ok {
		return c.received(now, f, changed)
	}
	if c.SPB != nil && c.stationNews(ev) {
		changed = c.take(c.SPB.Step(now, ev)) || changed
	}
	if u, ok := ev.(SetUnlocked); ok {
		changed = c.setUnlocked(u.Ports) || changed
		if c.SPB != nil {
			changed = c.take(c.SPB.Step(now, spb.SetUnlocked{Ports: u.Ports})) || changed
		}
	}
	if r, ok := ev.(srp.Restore); ok {
		c.restore(r)
	}
	if put, ok := ev.(srp.PutReservations); ok {
		if r := c.refusal(put); r != nil {
			c.effects = append(c.effects, srp.Result{RequestID: put.RequestID, Owner: put.Owner, Generation: put.Generation, Err: r})
			ev = tsn.Timeout{}
		}
	}
	changed = c.take(c.SRP.Step(now, ev)) || changed
	changed = c.register(now, ev) || changed
	changed = c.take(c.QBV.Step(now, ev)) || changed
	return c.finish(now, ev, changed)
}

// received gives a frame to the core that it is for.
func (c *Control) received(now tsn.Instant, f tsn.Received, changed bool) []tsn.Effect {
	switch {
	case isMSRP(f.Frame):
		changed = c.take(c.SRP.Step(now, f)) || changed
	case mrpType(f.Frame) == etherTypeMVRP, mrpType(f.Frame) == etherTypeMMRP:
		changed = c.register(now, f) || changed
	case c.SPB != nil:
		changed = c.take(c.SPB.Step(now, f)) || changed
	}
	return c.finish(now, f, changed)
}

// finish settles what the cores want of each other, and composes.
func (c *Control) finish(now tsn.Instant, ev tsn.Event, changed bool) []tsn.Effect {
	changed = c.settleRegistrations(now) || changed
	changed = c.settle(now) || changed
	changed = c.settleRegistrations(now) || changed
	changed = c.refilter(ev, changed) || changed
	if changed && (c.SPB == nil || c.bridge != nil) {
		c.compose()
	}
	return c.effects
}

// take keeps what concerns the desired state and passes on the rest.
func (c *Control) take(effects []tsn.Effect) (changed bool) {
	for _, e := range effects {
		switch e := e.(type) {
		case spb.Forwarding:
			c.bridge, c.forward, c.streams = &e.State, e.Generation, e.Streams
			changed, c.msrp.treesMoved, c.msrp.restored = true, true, nil
		case spb.TopologyChanged:
			c.msrp.treesMoved, c.msrp.wantedMoved = true, true // stations may have come free
			c.effects = append(c.effects, e)
		case srp.Reserved:
			c.reserved = e
			changed, c.msrp.rootsMoved = true, true
		case srp.RegisteredVLANs:
			c.registrar.vlans = e
			c.registrar.vlansMoved, c.msrp.treesMoved, changed = true, true, true
		case srp.RegisteredGroups:
			c.registrar.groups = e
			c.registrar.moved, changed = true, true
		case srp.Boundaries:
			c.boundaries = e.Ports
			changed = true
		case srp.TreesWanted:
			c.msrp.wanted, c.msrp.wantedMoved = e, true
		case qbv.GatesChanged:
			c.gates[e.Port] = e
			changed = true
		default:
			c.effects = append(c.effects, e)
		}
	}
	return changed
}

// errNotBridge is what path questions to an end station get.
var errNotBridge = errors.New("this system is no bridge of the fabric: ask one that is")

// Path is SPB's answer, for drivers that do not care about the role.
func (c *Control) Path(vid tsn.VID, from, to tsn.MAC) ([]tsn.Hop, error) {
	if c.SPB == nil {
		return nil, fmt.Errorf("path from %s to %s: %w", from, to, errNotBridge)
	}
	return c.SPB.Path(vid, from, to)
}
