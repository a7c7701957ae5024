package dataplane

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Plan returns the ops that make have equal to the target, in an order in
// which no state in between can make a loop:
//
//	keep back                     of each port, before it is one of the bridge
//	bridge settings, new ports    a new port has no VLAN yet, so it forwards nothing
//	restrict                      lock, and stop flooding that shall end
//	remove                        MDB, FDB, VLANs
//	add                           control groups, VLANs, FDB (a move is one request), MDB
//	relax                         unlock, and begin flooding
//	egress                        root, classifier, shapers, then gates
//	filters                       of streams that come in
//	priorities                    of streams, then of what is none of them
//
// Each group entry thus shrinks before it grows, each FDB entry is at its old
// or new port or absent, and a port floods only with all its entries in place.
//
// refused are the ports whose gates or shapers cannot be changed now, with the
// reason; everything else is planned all the same, since a topology change
// must not wait for a schedule.
func Plan(have State, t *Target) (ops []Op, refused []error) {
	t = t.over(have)
	have = have.Clone()
	do := func(o Op) {
		o.Do(&have)
		ops = append(ops, o)
	}
	if t.Bridge != nil {
		planKeptBack(&have, t, do)
		planPorts(&have, t, do)
		planRemove(&have, t, do)
		planAdd(&have, t, do)
		for _, w := range t.Bridge.Ports {
			if have.Bridge.port(w.Port).Flags != w.Flags {
				do(SetFlags{w.Port, w.Flags})
			}
		}
	}
	for i, w := range t.Egress {
		e, err := planEgress(*have.EgressOf(w.Port), w, t.shaping[w.Port], t.Classes, t.Gates[i], t.Tol)
		for _, o := range e {
			do(o)
		}
		if err != nil {
			refused = append(refused, err)
		}
	}
	refused = append(refused, planFilters(&have, t, do)...)
	planRules(&have, t, do)
	return ops, refused
}

func planPorts(have *State, t *Target, do func(Op)) {
	if !have.Bridge.Exists || have.Bridge.Settings != t.Bridge.Settings {
		do(EnsureBridge{Create: !have.Bridge.Exists})
	}
	shrinks := !t.Shared && groupsShrink(have, t)
	for _, w := range t.Bridge.Ports {
		fresh := !have.Bridge.port(w.Port).Enslaved
		if fresh {
			do(Enslave{w.Port})
		}
		old := have.Bridge.port(w.Port).Flags
		safe := Flags{Locked: old.Locked || w.Flags.Locked, Learning: w.Flags.Learning}
		if !fresh {
			safe.Flood = old.Flood && w.Flags.Flood
			// A group that loses its last port for a moment is unknown, and
			// would be flooded.
			safe.McastFlood = old.McastFlood && w.Flags.McastFlood && !shrinks
			safe.BcastFlood = old.BcastFlood && w.Flags.BcastFlood
		}
		if safe != old {
			do(SetFlags{w.Port, safe})
		}
	}
}

// groupsShrink reports whether a group entry of ours loses a port.
func groupsShrink(have *State, t *Target) bool {
	return slices.ContainsFunc(have.Bridge.MDB, func(g GroupPort) bool {
		_, wanted := slices.BinarySearchFunc(t.Bridge.MDB, g, compareGroup)
		return !wanted && slices.Contains(t.Owned, g.VID)
	})
}

func planRemove(have *State, t *Target, do func(Op)) {
	owned := func(v tsn.VID) bool { return slices.Contains(t.Owned, v) }
	for _, g := range slices.Clone(have.Bridge.MDB) {
		_, wanted := slices.BinarySearchFunc(t.Bridge.MDB, g, compareGroup)
		if !wanted && owned(g.VID) && !IsControlGroup(g.Group) && slices.Contains(have.Bridge.MDB, g) {
			do(DelMDB{g})
		}
	}
	for _, e := range slices.Clone(have.Bridge.FDB) {
		if _, ok := slices.BinarySearchFunc(t.Bridge.FDB, e, compareFDB); !ok && owned(e.VID) {
			switch member := have.Bridge.member(e.Port, e.VID); {
			case member && t.learns(e.Port, e.VID):
				do(AgeFDB{e})
				continue
			case !member: // the kernel wants it to be
				do(SetVLAN{e.Port, tsn.PortVLAN{VID: e.VID}})
			}
			do(DelFDB{e})
		}
	}
	for _, v := range slices.Clone(have.Bridge.Self) {
		if !slices.Contains(t.Bridge.Self, v) && owned(v) {
			do(DelVLAN{tsn.NoPort, v})
		}
	}
	for _, w := range t.Bridge.Ports {
		for _, v := range slices.Clone(have.Bridge.port(w.Port).VLANs) {
			if !slices.ContainsFunc(w.VLANs, func(x tsn.PortVLAN) bool { return x.VID == v.VID }) {
				do(DelVLAN{w.Port, v.VID})
			}
		}
	}
	planUncontrol(have, t, do)
}

// learns reports whether the kernel may have learned the addresses it has on
// this port: then one that is not wanted as a static entry stays as a learned
// one. The station is there as far as anybody knows, and if not, it ages.
func (t *Target) learns(p tsn.Port, v tsn.VID) bool {
	bp := t.Bridge.port(p)
	return bp != nil && bp.Flags.Learning && t.Bridge.member(p, v)
}

func planAdd(have *State, t *Target, do func(Op)) {
	planControl(have, t, do)
	for _, v := range t.Bridge.Self {
		if !slices.Contains(have.Bridge.Self, v) {
			do(SetVLAN{tsn.NoPort, tsn.PortVLAN{VID: v}})
		}
	}
	for _, w := range t.Bridge.Ports {
		for _, v := range w.VLANs {
			if !slices.Contains(have.Bridge.port(w.Port).VLANs, v) {
				do(SetVLAN{w.Port, v})
			}
		}
	}
	for _, e := range t.Bridge.FDB {
		i, ok := slices.BinarySearchFunc(have.Bridge.FDB, e, compareFDB)
		if e.Port == tsn.NoPort && slices.Contains(have.Bridge.Kernel, e) {
			continue
		}
		if !ok || have.Bridge.FDB[i] != e {
			do(SetFDB{e})
		}
	}
	for _, g := range t.Bridge.MDB {
		if _, ok := slices.BinarySearchFunc(have.Bridge.MDB, g, compareGroup); !ok {
			do(AddMDB{g})
		}
	}
}

// planEgress works on one port. Shapers come before gates, because grafting
// one may stop the schedule, which is then sent again.
func planEgress(have, want Egress, sh shaping, n int, g GateTarget, tol int64) (ops []Op, err error) {
	if !have.Rooted {
		ops = append(ops, InstallRoot{want.Port, n, want.Ungated})
		have = Egress{Port: have.Port, Rooted: true, Ungated: want.Ungated, Classifier: have.Classifier, Guarded: have.Guarded, MACMerge: have.MACMerge, Oper: AllOpen(n)}
	}
	if have.MACMerge != want.MACMerge {
		ops = append(ops, SetMACMerge{want.Port, want.MACMerge})
	}
	if !have.Classifier || have.Guarded != want.Guarded {
		ops = append(ops, InstallClassifier{want.Port, want.Guarded})
	}
	want.Shapers = sh.between(have.Oper, want.Admin)
	shapers, grafted := planClasses(have, want)
	if want.Ungated {
		return append(ops, shapers...), nil
	}
	why := ""
	if grafted {
		why = "a shaper was grafted"
	}
	if have.Stalled {
		why = "its timer may stand still"
	}
	if !have.sduIs(want.MaxSDU) {
		why = "max-sdu"
	}
	if have.Preemptible != want.Preemptible {
		why = "preemptible classes"
	}
	sched, err := planSchedule(have, want, n, g, tol, why)
	if err == nil && have.Oper == nil && have.Admin != nil && !have.Stalled && (sched != nil || len(shapers) > 0) {
		err = &PendingError{want.Port, have.Admin.Base}
	}
	if err != nil {
		return ops, err
	}
	ops = append(ops, shapers...)
	if sched != nil {
		ops = append(ops, *sched)
	}
	return ops, nil
}

// planClasses gives each class its shaper or its launch times. grafted is set
// if a qdisc comes or goes, and not only a shaper's parameters change.
func planClasses(have, want Egress) (ops []Op, grafted bool) {
	for c := range tsn.TrafficClass(tsn.MaxTrafficClasses) {
		old, s, launch := have.Shapers[c], want.Shapers[c], want.Launch[c]
		switch {
		case launch != (tsn.LaunchTime{}) && launch != have.Launch[c], launch != have.Launch[c] && s == (Shaper{}):
			ops, grafted = append(ops, SetLaunch{want.Port, c, launch}), true
		case old != s:
			change := old != (Shaper{}) && s != (Shaper{})
			ops, grafted = append(ops, SetShaper{want.Port, c, s, change}), grafted || !change
		}
	}
	return ops, grafted
}

// readable refuses a list that could not be read back beside the running one.
func (e *Egress) readable(list *Schedule, limit int) error {
	if limit == 0 || e.Oper == nil || len(list.Entries)+len(e.Oper.Entries) <= limit {
		return nil
	}
	return &LimitError{e.Port, fmt.Sprintf("a list of %d entries after one of %d: the kernel tells both in one message, which holds %d; set one of at most %d entries before",
		len(list.Entries), len(e.Oper.Entries), limit, limit-len(list.Entries))}
}

// takeBack ends the wait of the admin schedule for its base time. Software does
// what it does as long as nothing else begins; a device is told to go on.
func (e *Egress) takeBack(list *Schedule, n int, g GateTarget) *SetSchedule {
	if g.Offloaded {
		list.advance(g.Now + restartLead)
	} else {
		list = parked(n)
	}
	return &SetSchedule{e.Port, list, e.MaxSDU, e.Preemptible, e.Oper, "the next one is taken back"}
}

// sduIs reports whether what the kernel tells of max-SDU is what it makes of want.
func (e *Egress) sduIs(want [tsn.MaxTrafficClasses]uint32) bool {
	for c, w := range want {
		capped := e.SDUCap[c] > 0 && e.MaxSDU[c] == e.SDUCap[c] && (w == 0 || w >= e.SDUCap[c])
		if e.MaxSDU[c] != w && !capped {
			return false
		}
	}
	return true
}

// planSchedule decides whether a schedule must be sent; why is set when one
// must be even though the list is right.
func planSchedule(have, want Egress, n int, g GateTarget, tol int64, why string) (*SetSchedule, error) {
	list := *want.Admin
	gated := !list.allOpen(n)
	near := func(ns int64) bool { return !gated || g.Err != nil || max(ns, -ns) <= tol }
	last := cmp.Or(have.Admin, have.Oper)
	runs := list.sameList(have.Oper) && near(list.phaseDiff(have.Oper))
	known := list.sameList(last)
	if have.Admin != nil && !runs && list.Base >= g.Now+minLead { // its first cycle counts
		known = known && near(list.Base-last.Base)
	}
	if known && why == "" && !near(list.phaseDiff(last)) {
		why = "phase"
	}
	switch {
	case known && why == "":
		return nil, nil
	case have.Admin != nil && runs && (why == "" || why == "phase"):
		return have.takeBack(&list, n, g), nil
	case !gated: // any time will do
	case g.Err != nil:
		return nil, g.Err
	case known:
		list.advance(g.Now + restartLead)
	case list.Base < g.Now+minLead:
		return nil, &BaseTimeError{want.Port, list.Base, g.Now}
	}
	if err := have.readable(&list, g.ReadBack); err != nil {
		return nil, err
	}
	if !known {
		why = ""
	}
	return &SetSchedule{want.Port, &list, want.MaxSDU, want.Preemptible, have.Oper, why}, nil
}
