package dataplane

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// State is the data plane as it is read back, in the switch's own terms.
// Slices are ascending; what this switch never uses is not in it.
type State struct {
	Bridge *Bridge // nil for an end station
	Egress []Egress
	// Filters are the stream filters on what comes in.
	Filters []Filter
	// Rules are those of priorities, on what comes in and what leaves.
	Rules []Rule
}

// Bridge is the bridge and its configured ports.
type Bridge struct {
	Exists   bool
	Address  tsn.MAC // of the bridge itself
	Settings BridgeSettings
	Self     []tsn.VID // VLANs of the bridge's own interface
	Ports    []BridgePort
	FDB      []tsn.FDBEntry // static entries; Port NoPort: the bridge itself
	MDB      []GroupPort    // permanent L2 entries
	// Kernel holds the entries that the kernel makes for the addresses of the
	// bridge and its ports, as Port NoPort: they are never removed, and a
	// wanted one that is among them is there already.
	Kernel []tsn.FDBEntry
}

// BridgeSettings are the properties the switch relies on.
type BridgeSettings struct {
	Up, VLANFiltering, McastSnooping, McastQuerier, STP bool
	DefaultPVID                                         tsn.VID
}

// wantedSettings: L2 MDB entries need snooping; a querier would let the
// bridge prune what nobody reported; a default PVID would put every new port
// into a VLAN before it is locked.
var wantedSettings = BridgeSettings{Up: true, VLANFiltering: true, McastSnooping: true}

// Flags are the bridge port flags.
type Flags struct{ Locked, Learning, Flood, McastFlood, BcastFlood bool }

func (f Flags) floods() bool { return f.Flood || f.McastFlood || f.BcastFlood }

// BridgePort is a configured port of the bridge.
type BridgePort struct {
	Port     tsn.Port
	Enslaved bool
	Flags    Flags
	VLANs    []tsn.PortVLAN
	// KeptBack are frames that the bridge never gets from the port.
	KeptBack []tsn.ControlFrames
	// OddFilter: what keeps frames back is not made as we make it.
	OddFilter bool
}

// GroupPort is one port of a group entry; NoPort is the bridge itself.
type GroupPort struct {
	Group tsn.MAC
	VID   tsn.VID
	Port  tsn.Port
}

// Egress is the transmit side of one port.
type Egress struct {
	Port tsn.Port
	// Rooted: the root qdisc is a taprio with our map, queues, clock and flags.
	Rooted bool
	// Root describes any other root qdisc in the way, "" if it is the default.
	Root        string
	Classifier  bool
	Guarded     tsn.PrioritySet // which the classifier leaves to streams
	Ungated     bool            // the root is mqprio, as Offload Ungated wants it
	Hook        bool            // the port has the qdisc that filters hang on
	Oper, Admin *Schedule
	Shapers     [tsn.MaxTrafficClasses]Shaper
	Launch      [tsn.MaxTrafficClasses]tsn.LaunchTime
	MaxSDU      [tsn.MaxTrafficClasses]uint32
	// SDUCap is what the kernel lowers max-SDU to, because no window of the
	// running list is long enough for more; 0: it does not.
	SDUCap      [tsn.MaxTrafficClasses]uint32
	Preemptible [tsn.MaxTrafficClasses]bool
	MACMerge    MACMerge
	// Stalled: the schedule's timer may stand still, because the link went
	// down and up since it was sent, or an admin schedule is long overdue.
	Stalled bool
}

// Schedule is a gate control list in gate clock time.
type Schedule struct {
	Base, Cycle, Extension int64
	Entries                []tsn.GateEntry
}

// AllOpenCycle is the cycle of the schedule used without gates.
const AllOpenCycle = 10_000_000

// AllOpen returns that schedule for a port with n classes.
func AllOpen(n int) *Schedule {
	return &Schedule{Cycle: AllOpenCycle, Entries: []tsn.GateEntry{{Gates: allGates(n), Interval: AllOpenCycle}}}
}

func allGates(n int) tsn.GateMask { return tsn.GateMask(1<<n - 1) }

// sameList compares everything but the base time.
func (s *Schedule) sameList(t *Schedule) bool {
	return s != nil && t != nil && s.Cycle == t.Cycle && s.Extension == t.Extension && slices.Equal(s.Entries, t.Entries)
}

// phaseDiff is how far apart (ns, not negative) two base times are modulo the cycle.
func (s *Schedule) phaseDiff(t *Schedule) int64 {
	d := (s.Base - t.Base) % s.Cycle
	if d < 0 {
		d += s.Cycle
	}
	return min(d, s.Cycle-d)
}

// advance moves the base time by whole cycles to t or later.
func (s *Schedule) advance(t int64) {
	if late := t - s.Base; late > 0 {
		s.Base += (late + s.Cycle - 1) / s.Cycle * s.Cycle
	}
}

// parkedFrom is after the base time of any schedule that is meant to run, and
// long enough before the end of a clock that counts ns in 63 bits.
const parkedFrom = 1 << 62 // in the year 2116

// parked returns a schedule that never begins. In the place of one that waits
// it leaves the kernel with what it runs.
func parked(n int) *Schedule {
	s := AllOpen(n)
	s.Base = parkedFrom
	return s
}

// dropParked forgets an admin schedule that never begins.
func (e *Egress) dropParked() {
	if e.Admin != nil && e.Admin.Base >= parkedFrom {
		e.Admin = nil
	}
}

// whole reports that the entries fill the cycle.
func (s *Schedule) whole() bool {
	left := s.Cycle
	for _, e := range s.Entries {
		left -= e.Interval
	}
	return left == 0
}

// from returns a list that does from time t on what s does, and the time from
// which it does: t or a little later, for its first and last entry are the
// halves of one of s, and no half is shorter than least ns.
func (s *Schedule) from(t, least int64) *Schedule {
	out := &Schedule{Base: t, Cycle: s.Cycle, Extension: s.Extension}
	done, i := (t-s.Base)%s.Cycle, 0
	for ; done >= s.Entries[i].Interval; i++ {
		done -= s.Entries[i].Interval
	}
	if done > 0 && done < least {
		out.Base += least - done
		done = least
	}
	n := len(s.Entries)
	if done > 0 && s.Entries[i].Interval-done < least {
		out.Base += s.Entries[i].Interval - done
		i, done = (i+1)%n, 0
	}
	out.Entries = slices.Concat(s.Entries[i:], s.Entries[:i])
	if done > 0 {
		out.Entries = append(out.Entries, tsn.GateEntry{Gates: s.Entries[i].Gates, Interval: done})
		out.Entries[0].Interval -= done
	}
	return out
}

// allOpen reports a single entry that closes nothing.
func (s *Schedule) allOpen(n int) bool {
	return len(s.Entries) == 1 && s.Entries[0].Gates == allGates(n)
}

// Clone returns a deep copy.
func (s State) Clone() State {
	out := State{Egress: slices.Clone(s.Egress), Filters: slices.Clone(s.Filters), Rules: slices.Clone(s.Rules)}
	if s.Bridge != nil {
		b := *s.Bridge
		b.Self, b.FDB, b.MDB = slices.Clone(b.Self), slices.Clone(b.FDB), slices.Clone(b.MDB)
		b.Ports, b.Kernel = slices.Clone(b.Ports), slices.Clone(b.Kernel)
		for i := range b.Ports {
			b.Ports[i].VLANs, b.Ports[i].KeptBack = slices.Clone(b.Ports[i].VLANs), slices.Clone(b.Ports[i].KeptBack)
		}
		out.Bridge = &b
	}
	return out // schedules are never changed in place
}

// Sort puts every slice into its order.
func (s *State) Sort() {
	slices.SortFunc(s.Egress, func(a, b Egress) int { return cmp.Compare(a.Port, b.Port) })
	slices.SortFunc(s.Filters, compareFilter)
	slices.SortFunc(s.Rules, compareRule)
	b := s.Bridge
	if b == nil {
		return
	}
	slices.Sort(b.Self)
	slices.SortFunc(b.Ports, func(a, b BridgePort) int { return cmp.Compare(a.Port, b.Port) })
	for i := range b.Ports {
		slices.SortFunc(b.Ports[i].VLANs, func(a, b tsn.PortVLAN) int { return cmp.Compare(a.VID, b.VID) })
	}
	slices.SortFunc(b.FDB, compareFDB)
	slices.SortFunc(b.MDB, compareGroup)
}

func compareFDB(a, b tsn.FDBEntry) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), cmp.Compare(a.MAC.Uint64(), b.MAC.Uint64()))
}

func compareGroup(a, b GroupPort) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), cmp.Compare(a.Group.Uint64(), b.Group.Uint64()), cmp.Compare(a.Port, b.Port))
}

// Holds is what the bridge forwards, in the terms of a desired state; roles are
// not in a kernel.
func (b *Bridge) Holds() *tsn.BridgeState {
	out := &tsn.BridgeState{SelfVLANs: slices.Clone(b.Self), FDB: slices.Clone(b.FDB)}
	for _, p := range b.Ports {
		f := p.Flags
		out.Ports = append(out.Ports, tsn.BridgePort{
			Port: p.Port, Locked: f.Locked, Learning: f.Learning, Flood: f.Flood, McastFlood: f.McastFlood, BcastFlood: f.BcastFlood,
			VLANs: slices.Clone(p.VLANs),
		})
		out.KeptBack = slices.Clone(p.KeptBack) // the same on all
	}
	for _, g := range b.MDB {
		last := len(out.MDB) - 1
		if last < 0 || out.MDB[last].Group != g.Group || out.MDB[last].VID != g.VID {
			out.MDB = append(out.MDB, tsn.MDBEntry{Group: g.Group, VID: g.VID})
			last++
		}
		out.MDB[last].Ports = append(out.MDB[last].Ports, g.Port)
	}
	return out
}

func (b *Bridge) port(p tsn.Port) *BridgePort {
	for i := range b.Ports {
		if b.Ports[i].Port == p {
			return &b.Ports[i]
		}
	}
	return nil
}

// member reports whether the port, or for NoPort the bridge itself, is in the VLAN.
func (b *Bridge) member(p tsn.Port, v tsn.VID) bool {
	if p == tsn.NoPort {
		return slices.Contains(b.Self, v)
	}
	bp := b.port(p)
	return bp != nil && slices.ContainsFunc(bp.VLANs, func(x tsn.PortVLAN) bool { return x.VID == v })
}

// EgressOf returns the port's egress state, nil if the port is unknown.
func (s State) EgressOf(p tsn.Port) *Egress {
	for i := range s.Egress {
		if s.Egress[i].Port == p {
			return &s.Egress[i]
		}
	}
	return nil
}
