package dataplane_test

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files")

	vids  = []tsn.VID{10, 20, 30} // owned; 99 is foreign
	ports = []tsn.Port{1, 2, 3}
)

func config() dataplane.Config {
	return dataplane.Config{
		Bridge: "br0", CreateBridge: true, ClassMap: tsn.DefaultClassMap,
		Ports: []dataplane.PortConfig{
			{Port: 1, Ifname: "p1", Rate: tsn.Gbps}, {Port: 2, Ifname: "p2", Rate: tsn.Gbps}, {Port: 3, Ifname: "p3", Rate: 100 * tsn.Mbps},
		},
		PTPToGate: func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS + 37, nil },
	}
}

func newFake(t interface{ Fatal(...any) }, b fake.Board) *fake.Kernel {
	k, err := fake.New(config(), b)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func subset[T any](t *rapid.T, from []T, label string) []T {
	var out []T
	for _, v := range from {
		if rapid.Bool().Draw(t, label) {
			out = append(out, v)
		}
	}
	return out
}

// drawDesired draws any state that validation accepts. base is the earliest
// base time of a gate list.
func drawDesired(t *rapid.T, base int64) tsn.DesiredState {
	flag := func() bool { return rapid.Bool().Draw(t, "flag") }
	br := &tsn.BridgeState{OwnedVIDs: vids, SelfVLANs: subset(t, vids, "self")}
	for _, p := range subset(t, ports, "ports") {
		bp := tsn.BridgePort{Port: p, Role: tsn.PortRole(rapid.IntRange(0, 1).Draw(t, "role"))}
		bp.Locked, bp.Learning, bp.Flood, bp.McastFlood, bp.BcastFlood = flag(), flag(), flag(), flag(), flag()
		if bp.Role == tsn.RoleFabric && !bp.Locked {
			bp.Flood, bp.McastFlood, bp.BcastFlood = false, false, false
		}
		pvid := rapid.SampledFrom([]tsn.VID{0, 10, 20, 30}).Draw(t, "pvid")
		for _, v := range subset(t, vids, "vlan") {
			bp.VLANs = append(bp.VLANs, tsn.PortVLAN{VID: v, PVID: v == pvid, Untagged: flag()})
		}
		br.Ports = append(br.Ports, bp)
	}
	for _, v := range vids {
		for m := byte(1); m <= 3; m++ {
			if in := members(br, v); len(in) > 0 && flag() {
				br.FDB = append(br.FDB, tsn.FDBEntry{MAC: tsn.MAC{2, 0, 0, 0, 0, m}, VID: v, Port: rapid.SampledFrom(in).Draw(t, "port")})
			}
			if ps := subset(t, append([]tsn.Port{0}, ports...), "group"); len(ps) > 0 {
				br.MDB = append(br.MDB, tsn.MDBEntry{Group: tsn.MAC{0x73, 0, 0, 0, 0, m}, VID: v, Ports: ps})
			}
		}
	}
	for _, f := range []tsn.ControlFrames{{Group: tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x0e}, EtherType: 0x22ea}, {Group: tsn.MAC{1, 0x80, 0xc2, 0, 0, 0x21}}} {
		if flag() {
			br.KeptBack = append(br.KeptBack, f)
		}
	}
	d := tsn.DesiredState{Bridge: br}
	for _, p := range ports {
		e := tsn.PortEgress{Port: p, ClassMap: tsn.DefaultClassMap}
		if flag() {
			e.IdleSlope[1] = tsn.Rate(rapid.IntRange(1, 3).Draw(t, "slope")) * 10 * tsn.Mbps
		}
		if flag() {
			e.MaxSDU[0] = 1000
		}
		if flag() {
			e.Gates = &tsn.GateControlList{
				BaseTime: tsn.PTPTime{NS: base + rapid.Int64Range(2_000_000, 9_000_000).Draw(t, "base")}, CycleTime: 1_000_000,
				Entries: []tsn.GateEntry{{Gates: 0x17, Interval: 600_000}, {Gates: tsn.GateMask(rapid.IntRange(1<<tsn.ClassControl, 1<<tsn.NumClasses-1).Draw(t, "mask")), Interval: 400_000}},
			}
		}
		d.Egress = append(d.Egress, e)
		d.Filters = append(d.Filters, drawFilters(t, p)...)
		if flag() {
			d.Priorities = append(d.Priorities, drawPriorities(t, p))
		}
	}
	return d
}

func drawPriorities(t *rapid.T, p tsn.Port) tsn.PriorityRules {
	var all []tsn.StreamHandle
	for n := range byte(4) {
		all = append(all, tsn.StreamHandle{Address: tsn.MAC{0x73, 0, 0, 0, 0, n}, VID: 10 + 10*tsn.VID(n/2), PCP: 2 + tsn.PCP(n)%2})
	}
	r := tsn.PriorityRules{Port: p, Guarded: 0b1100, Leaving: subset(t, all, "leaving")}
	if rapid.Bool().Draw(t, "boundary") {
		r.Regenerated, r.Entering = 0b1100, subset(t, all, "entering")
	}
	return r
}

// drawFilters draws filters without gates: those of different streams may
// change places.
func drawFilters(t *rapid.T, p tsn.Port) (out []tsn.StreamFilter) {
	handles := rapid.Permutation([]byte{1, 2, 3}).Draw(t, "handles")
	for i, n := range subset(t, handles, "filters") {
		s := tsn.Stream{ID: tsn.StreamID{byte(i + 1)}, DestinationAddress: tsn.MAC{0x73, 0, 0, 0, 0, n}, VID: 10, PCP: 6, Interval: 1_000_000, MaxFrameSize: 100}
		s.MaxIntervalFrames = uint16(rapid.IntRange(1, 3).Draw(t, "frames"))
		f := tsn.NewStreamFilter(p, s)
		switch rapid.IntRange(0, 2).Draw(t, "parts") {
		case 0:
			f.MaxSDU = 0
		case 1:
			f.Meter = tsn.FlowMeter{}
		}
		out = append(out, f)
	}
	return out
}

func members(br *tsn.BridgeState, v tsn.VID) (in []tsn.Port) {
	if slices.Contains(br.SelfVLANs, v) {
		in = append(in, tsn.NoPort)
	}
	for _, p := range br.Ports {
		if slices.ContainsFunc(p.VLANs, func(x tsn.PortVLAN) bool { return x.VID == v }) {
			in = append(in, p.Port)
		}
	}
	return in
}

// TestAnyTransitionEndsEqual walks over random states, with foreign entries
// and other programs' changes between: each Set ends in a state from which
// nothing is left to do, foreign entries survive, and a second Set writes
// nothing.
func TestAnyTransitionEndsEqual(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newFake(rt, fake.Software)
		foreign := tsn.FDBEntry{MAC: tsn.MAC{2, 0, 0, 0, 9, 9}, VID: 99, Port: 1}
		foreignGroup := dataplane.GroupPort{Group: tsn.MAC{0x73, 9, 9}, VID: 99, Port: 2}
		k.Inject(func(s *dataplane.State) {
			s.Bridge.FDB = append(s.Bridge.FDB, foreign)
			s.Bridge.MDB = append(s.Bridge.MDB, foreignGroup)
		})
		for range 4 {
			if rapid.Bool().Draw(rt, "meddle") {
				k.Inject(func(s *dataplane.State) { meddle(rt, s) })
			}
			d := drawDesired(rt, k.Now)
			if _, err := k.Set(t.Context(), d); err != nil {
				rt.Fatal(err)
			}
			writes := k.Writes
			if _, err := k.Set(t.Context(), d); err != nil || k.Writes != writes {
				rt.Fatalf("second Set: %v, %d writes", err, k.Writes-writes)
			}
			s, _ := k.Read()
			if !slices.Contains(s.Bridge.FDB, foreign) || !slices.Contains(s.Bridge.MDB, foreignGroup) {
				rt.Fatal("a foreign entry was removed")
			}
			checkEqual(rt, s, d)
			k.Now += 60_000_000 // all schedules become operational
		}
	})
}

// meddle does what an operator or another daemon might.
func meddle(t *rapid.T, s *dataplane.State) {
	b := s.Bridge
	b.Settings.DefaultPVID = 1
	for i := range b.Ports {
		f := func() bool { return rapid.Bool().Draw(t, "meddle flag") }
		b.Ports[i].Enslaved = true
		b.Ports[i].Flags = dataplane.Flags{Locked: f(), Learning: f(), Flood: f(), McastFlood: f(), BcastFlood: f()}
		b.Ports[i].VLANs = []tsn.PortVLAN{{VID: 1, PVID: true, Untagged: true}, {VID: 20}}
	}
	b.MDB = slices.DeleteFunc(b.MDB, func(g dataplane.GroupPort) bool { return g.VID != 99 })
	b.MDB = append(b.MDB, dataplane.GroupPort{Group: tsn.MAC{0x73, 9}, VID: 10, Port: 2})
	s.Egress[0] = dataplane.Egress{Port: 1, Root: "prio"}
	s.Rules = slices.DeleteFunc(s.Rules, func(r dataplane.Rule) bool { return r.Port == 1 })
	for i := range s.Rules {
		s.Rules[i].Odd = rapid.Bool().Draw(t, "odd rule")
	}
}

func checkRules(t interface{ Fatalf(string, ...any) }, s dataplane.State, d tsn.DesiredState) {
	var want []dataplane.Rule
	add := func(p tsn.Port, kind dataplane.RuleKind, hs ...tsn.StreamHandle) {
		for _, h := range hs {
			want = append(want, dataplane.Rule{Port: p, Kind: kind, Handle: h})
		}
	}
	for _, r := range d.Priorities {
		if got := s.EgressOf(r.Port).Guarded; got != r.Guarded {
			t.Fatalf("port %d guards %s, want %s", r.Port, got, r.Guarded)
		}
		add(r.Port, dataplane.RuleAdmit, r.Leaving...)
		add(r.Port, dataplane.RuleExempt, r.Entering...)
		in := []tsn.VID{0}
		for _, p := range d.Bridge.Ports {
			for _, v := range p.VLANs {
				if p.Port == r.Port {
					in = append(in, v.VID)
				}
			}
		}
		for _, v := range in {
			for pcp := range tsn.PCP(8) {
				if r.Regenerated.Has(pcp) {
					add(r.Port, dataplane.RuleRegenerate, tsn.StreamHandle{VID: v, PCP: pcp})
				}
			}
		}
	}
	type place struct {
		port   tsn.Port
		kind   dataplane.RuleKind
		number uint32
	}
	numbers := map[place]bool{}
	for i, r := range s.Rules {
		at := place{r.Port, r.Kind, r.Number}
		if r.Number == 0 || numbers[at] || i >= len(want) || want[i].Port != r.Port || want[i].Kind != r.Kind || want[i].Handle != r.Handle || r.Odd {
			t.Fatalf("rule %d: %+v, want %+v", i, s.Rules, want)
		}
		numbers[at] = true
	}
	if len(want) != len(s.Rules) {
		t.Fatalf("%d rules, want %d", len(s.Rules), len(want))
	}
}

// checkEqual compares the parts directly, without Plan.
func checkEqual(t interface{ Fatalf(string, ...any) }, s dataplane.State, d tsn.DesiredState) {
	var fdb []tsn.FDBEntry
	for _, e := range s.Bridge.FDB {
		if e.VID != 99 {
			fdb = append(fdb, e)
		}
	}
	if !slices.Equal(fdb, d.Bridge.FDB) {
		t.Fatalf("FDB %v, want %v", fdb, d.Bridge.FDB)
	}
	var mdb []dataplane.GroupPort
	for _, e := range d.Bridge.MDB {
		for _, p := range e.Ports {
			mdb = append(mdb, dataplane.GroupPort{Group: e.Group, VID: e.VID, Port: p})
		}
	}
	kept := map[tsn.VID]int{}
	s.Bridge.MDB = slices.DeleteFunc(s.Bridge.MDB, func(g dataplane.GroupPort) bool {
		if dataplane.IsControlGroup(g.Group) {
			kept[g.VID]++
			if g.Port != tsn.NoPort {
				t.Fatalf("a port is in the group %s", g.Group)
			}
			return true
		}
		return g.VID == 99
	})
	for _, v := range vids { // IS-IS and probes are kept back where any port forwards
		in := slices.ContainsFunc(d.Bridge.Ports, func(p tsn.BridgePort) bool {
			return slices.ContainsFunc(p.VLANs, func(x tsn.PortVLAN) bool { return x.VID == v })
		})
		want := map[bool]int{true: 6}[in]
		if in && slices.ContainsFunc(d.Bridge.KeptBack, func(f tsn.ControlFrames) bool { return f.EtherType == 0 }) {
			want++ // MVRP's
		}
		if kept[v] != want {
			t.Fatalf("VLAN %d: %d control groups, want %d", v, kept[v], want)
		}
	}
	if !slices.Equal(s.Bridge.MDB, mdb) {
		t.Fatalf("MDB %v, want %v", s.Bridge.MDB, mdb)
	}
	checkRules(t, s, d)
	for _, p := range d.Bridge.Ports {
		i := slices.IndexFunc(s.Bridge.Ports, func(b dataplane.BridgePort) bool { return b.Port == p.Port })
		got := s.Bridge.Ports[i]
		if !slices.Equal(got.KeptBack, d.Bridge.KeptBack) || got.OddFilter {
			t.Fatalf("port %d keeps back %v, want %v", p.Port, got.KeptBack, d.Bridge.KeptBack)
		}
		if got.Flags != (dataplane.Flags{Locked: p.Locked, Learning: p.Learning, Flood: p.Flood, McastFlood: p.McastFlood, BcastFlood: p.BcastFlood}) ||
			!slices.Equal(got.VLANs, p.VLANs) {
			t.Fatalf("port %+v, want %+v", got, p)
		}
	}
	for _, e := range d.Egress {
		got := *s.EgressOf(e.Port)
		if !got.Rooted || !got.Classifier || got.MaxSDU != e.MaxSDU || tsn.Rate(got.Shapers[1].IdleSlope) < e.IdleSlope[1] {
			t.Fatalf("egress %+v, want %+v", got, e)
		}
		run := got.Admin
		if run == nil {
			run = got.Oper
		}
		if e.Gates != nil && !slices.Equal(run.Entries, e.Gates.Entries) {
			t.Fatalf("gates %v, want %v", run, e.Gates)
		}
	}
}

// recorder keeps the state after each step. It does the steps of a batch in any
// order, as if some of them had failed.
type recorder struct {
	*fake.Kernel
	t      *rapid.T
	states []dataplane.State
}

func (r *recorder) Apply(ctx context.Context, ops []dataplane.Op) []dataplane.Failure {
	for _, op := range rapid.Permutation(ops).Draw(r.t, "batch") {
		if f := r.Kernel.Apply(ctx, []dataplane.Op{op}); len(f) > 0 {
			return f
		}
		s, _ := r.Read()
		r.states = append(r.states, s)
	}
	return nil
}

// TestNoStateBetweenLoops: whatever the kernel held before, no step makes a
// fabric port flood without the ingress check if it did not before; each
// group is at no moment sent to both an old and a new port; each unicast
// entry is at its old place, its new place, or absent.
func TestNoStateBetweenLoops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := &recorder{Kernel: newFake(rt, fake.Software), t: rt}
		if rapid.Bool().Draw(rt, "meddled") {
			k.Inject(func(s *dataplane.State) { s.Bridge.Exists = true; meddle(rt, s) })
		} else if _, err := dataplane.Reconcile(t.Context(), k, drawDesired(rt, 0)); err != nil {
			rt.Fatal(err)
		}
		k.Now += 60_000_000
		old, _ := k.Read()
		d := drawDesired(rt, k.Now)
		role := map[tsn.Port]tsn.PortRole{1: tsn.RoleFabric, 2: tsn.RoleFabric, 3: tsn.RoleFabric}
		for _, p := range d.Bridge.Ports {
			role[p.Port] = p.Role
		}
		k.states = []dataplane.State{old}
		if _, err := dataplane.Reconcile(t.Context(), k, d); err != nil {
			rt.Fatal(err)
		}
		last := k.states[len(k.states)-1]
		for i, s := range k.states[1:] {
			for j, p := range s.Bridge.Ports {
				if role[p.Port] == tsn.RoleFabric && hazard(p) && !hazard(k.states[i].Bridge.Ports[j]) {
					rt.Fatalf("step %d makes fabric port %d flood unlocked", i, p.Port)
				}
			}
			checkEntries(rt, old, s, last)
		}
	})
}

func hazard(p dataplane.BridgePort) bool {
	return len(p.VLANs) > 0 && !p.Flags.Locked && (p.Flags.Flood || p.Flags.McastFlood || p.Flags.BcastFlood)
}

func checkEntries(t *rapid.T, old, s, last dataplane.State) {
	for _, e := range s.Bridge.FDB {
		if !slices.Contains(old.Bridge.FDB, e) && !slices.Contains(last.Bridge.FDB, e) {
			t.Fatalf("FDB entry %v is neither old nor new", e)
		}
	}
	type group struct {
		m tsn.MAC
		v tsn.VID
	}
	oldOnly, newOnly := map[group]bool{}, map[group]bool{}
	for _, g := range s.Bridge.MDB {
		was, will := slices.Contains(old.Bridge.MDB, g), slices.Contains(last.Bridge.MDB, g)
		id := group{g.Group, g.VID}
		oldOnly[id] = oldOnly[id] || was && !will
		newOnly[id] = newOnly[id] || will && !was
		if oldOnly[id] && newOnly[id] {
			t.Fatalf("group %v reaches an old and a new port at once", g)
		}
	}
}

// TestFailedStepContinues: a failure at any step is reported, and the next
// Set finishes the work.
func TestFailedStepContinues(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newFake(rt, fake.Software)
		d := drawDesired(rt, 0)
		k.FailAfter = rapid.IntRange(1, 20).Draw(rt, "fail")
		r, err := k.Set(t.Context(), d)
		if err != nil && len(r.Applied) != k.Writes {
			rt.Fatalf("%d steps reported, %d done", len(r.Applied), k.Writes)
		}
		k.FailAfter = 0
		if _, err := k.Set(t.Context(), d); err != nil {
			rt.Fatal(err)
		}
		s, _ := k.Read()
		checkEqual(rt, s, d)
	})
}

// liar takes one kind of step without doing it.
type liar struct{ *fake.Kernel }

func (l liar) Apply(ctx context.Context, ops []dataplane.Op) []dataplane.Failure {
	if a, ok := ops[0].(dataplane.AddMDB); ok && a.Entry.Port != tsn.NoPort {
		return nil
	}
	return l.Kernel.Apply(ctx, ops)
}

// TestReadBack: a kernel that says yes and does not is found out.
func TestReadBack(t *testing.T) {
	d := tsn.DesiredState{Bridge: &tsn.BridgeState{OwnedVIDs: vids, MDB: []tsn.MDBEntry{{Group: tsn.MAC{0x73}, VID: 10, Ports: ports}}}}
	_, err := dataplane.Reconcile(t.Context(), liar{newFake(t, fake.Software)}, d)
	if err == nil || !strings.Contains(err.Error(), "differs in 3, first: bridge mdb add") {
		t.Errorf("%v, want the three missing entries told", err)
	}
}

// TestInvalidWritesNothing: one fault of each kind, refused whole.
func TestInvalidWritesNothing(t *testing.T) {
	good := func() tsn.DesiredState {
		return tsn.DesiredState{
			Bridge: &tsn.BridgeState{OwnedVIDs: vids, Ports: []tsn.BridgePort{{Port: 1, Role: tsn.RoleFabric, VLANs: []tsn.PortVLAN{{VID: 10}}}}},
			Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap}},
		}
	}
	gates := func(cycle int64, iv ...int64) *tsn.GateControlList {
		l := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: 1e9}, CycleTime: cycle}
		for _, i := range iv {
			l.Entries = append(l.Entries, tsn.GateEntry{Gates: 1, Interval: i})
		}
		return l
	}
	uc := tsn.MAC{2}
	for name, spoil := range map[string]func(*tsn.DesiredState){
		"no bridge":            func(d *tsn.DesiredState) { d.Bridge = nil },
		"unknown port":         func(d *tsn.DesiredState) { d.Bridge.Ports[0].Port = 7 },
		"double port":          func(d *tsn.DesiredState) { d.Bridge.Ports = append(d.Bridge.Ports, d.Bridge.Ports[0]) },
		"flooding fabric port": func(d *tsn.DesiredState) { d.Bridge.Ports[0].BcastFlood = true },
		"reserved VLAN":        func(d *tsn.DesiredState) { d.Bridge.Ports[0].VLANs[0].VID = 4095 },
		"two PVIDs": func(d *tsn.DesiredState) {
			d.Bridge.Ports[0].VLANs = []tsn.PortVLAN{{VID: 10, PVID: true}, {VID: 20, PVID: true}}
		},
		"FDB outside":          func(d *tsn.DesiredState) { d.Bridge.FDB = []tsn.FDBEntry{{MAC: uc, VID: 99, Port: 1}} },
		"FDB group":            func(d *tsn.DesiredState) { d.Bridge.FDB = []tsn.FDBEntry{{MAC: tsn.MAC{3}, VID: 10, Port: 1}} },
		"FDB port not in VLAN": func(d *tsn.DesiredState) { d.Bridge.FDB = []tsn.FDBEntry{{MAC: uc, VID: 20, Port: 1}} },
		"FDB port":             func(d *tsn.DesiredState) { d.Bridge.FDB = []tsn.FDBEntry{{MAC: uc, VID: 10, Port: 8}} },
		"MDB unicast":          func(d *tsn.DesiredState) { d.Bridge.MDB = []tsn.MDBEntry{{Group: uc, VID: 10, Ports: ports}} },
		"MDB IP": func(d *tsn.DesiredState) {
			d.Bridge.MDB = []tsn.MDBEntry{{Group: tsn.MAC{1, 0, 0x5e, 1}, VID: 10, Ports: ports}}
		},
		"MDB empty":         func(d *tsn.DesiredState) { d.Bridge.MDB = []tsn.MDBEntry{{Group: tsn.MAC{3}, VID: 10}} },
		"self VLAN":         func(d *tsn.DesiredState) { d.Bridge.SelfVLANs = []tsn.VID{0} },
		"class map":         func(d *tsn.DesiredState) { d.Egress[0].ClassMap[0] = 3 },
		"egress port":       func(d *tsn.DesiredState) { d.Egress[0].Port = 9 },
		"egress twice":      func(d *tsn.DesiredState) { d.Egress = append(d.Egress, d.Egress[0]) },
		"slope over rate":   func(d *tsn.DesiredState) { d.Egress[0].IdleSlope[1] = 2 * tsn.Gbps },
		"slopes over rate":  func(d *tsn.DesiredState) { d.Egress[0].IdleSlope = [8]tsn.Rate{1: 600 * tsn.Mbps, 2: 600 * tsn.Mbps} },
		"slope of no class": func(d *tsn.DesiredState) { d.Egress[0].IdleSlope[7] = 1000 },
		"no gate entries":   func(d *tsn.DesiredState) { d.Egress[0].Gates = gates(0) },
		"sum is not cycle":  func(d *tsn.DesiredState) { d.Egress[0].Gates = gates(3000, 1000, 1000) },
		"short entry":       func(d *tsn.DesiredState) { d.Egress[0].Gates = gates(1010, 1000, 10) },
		"too many entries":  func(d *tsn.DesiredState) { d.Egress[0].Gates = gates(900_000, slices.Repeat([]int64{1000}, 900)...) },
		"negative extension": func(d *tsn.DesiredState) {
			d.Egress[0].Gates = gates(1000, 1000)
			d.Egress[0].Gates.CycleTimeExtension = -1
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newFake(t, fake.Software)
			d := good()
			spoil(&d)
			before := k.String()
			if _, err := k.Set(t.Context(), d); !errors.Is(err, dataplane.ErrInvalid) || k.String() != before || k.Writes != 0 {
				t.Fatalf("err %v, %d writes", err, k.Writes)
			}
		})
	}
	k := newFake(t, fake.Software)
	if _, err := k.Set(t.Context(), good()); err != nil {
		t.Fatalf("the unspoilt state: %v", err)
	}
}

// TestBridgeIsNotMadeUnasked: without CreateBridge the error says what to run.
func TestBridgeIsNotMadeUnasked(t *testing.T) {
	c := config()
	c.CreateBridge = false
	k, err := fake.New(c, fake.Software)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.Set(t.Context(), tsn.DesiredState{Bridge: &tsn.BridgeState{}})
	if !errors.Is(err, dataplane.ErrInvalid) || !strings.Contains(err.Error(), "link add br0") || k.Writes != 0 {
		t.Errorf("%v, %d writes", err, k.Writes)
	}
}

// TestBoardsRefuseByName: what a board lacks is a typed error before any write.
func TestBoardsRefuseByName(t *testing.T) {
	locked := tsn.DesiredState{Bridge: &tsn.BridgeState{Ports: []tsn.BridgePort{{Port: 1, Role: tsn.RoleFabric, Locked: true}}}}
	for _, b := range []fake.Board{fake.Felix, fake.LAN966x} {
		k := newFake(t, b)
		_, err := k.Set(t.Context(), locked)
		var u *dataplane.UnsupportedError
		if !errors.As(err, &u) || u.Feature != dataplane.FeatureLocked || !errors.Is(err, dataplane.ErrNotSupported) || k.Writes != 0 {
			t.Errorf("%s: %v, %d writes", b.Name, err, k.Writes)
		}
	}
	list := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: 1e9}, CycleTime: 64_000, CycleTimeExtension: 5}
	for range 64 {
		list.Entries = append(list.Entries, tsn.GateEntry{Gates: 17, Interval: 1000})
	}
	gated := tsn.DesiredState{Bridge: &tsn.BridgeState{}, Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap, Gates: list}}}
	for b, ok := range map[*fake.Board]bool{&fake.Felix: false, &fake.LAN966x: false, &fake.Software: true} {
		_, err := newFake(t, *b).Set(t.Context(), gated)
		if ok != (err == nil) {
			t.Errorf("%s, 64 entries and an extension: %v", b.Name, err)
		}
	}
}

// TestScheduleRules: 802.1Q 8.6.9.1.1 as far as a kernel allows.
func TestScheduleRules(t *testing.T) {
	k := newFake(t, fake.Software)
	state := func(base int64, mask tsn.GateMask) tsn.DesiredState {
		return tsn.DesiredState{Bridge: &tsn.BridgeState{}, Egress: []tsn.PortEgress{{
			Port: 1, ClassMap: tsn.DefaultClassMap,
			Gates: &tsn.GateControlList{
				BaseTime: tsn.PTPTime{NS: base}, CycleTime: 1_000_000,
				Entries: []tsn.GateEntry{{Gates: mask, Interval: 1_000_000}},
			},
		}}}
	}
	set := func(d tsn.DesiredState) (dataplane.Report, error) { return k.Set(t.Context(), d) }
	k.Now = 50_000_000

	if _, err := set(state(10_000_000, 9)); !errors.Is(err, dataplane.ErrBaseTime) {
		t.Errorf("base time in the past: %v", err)
	}
	if _, err := set(state(100_000_000, 9)); err != nil {
		t.Fatal(err)
	}
	// One that waits is replaced, if another runs meanwhile: the kernel would
	// begin the next at the time of the first. Bridging goes on all the same.
	d := state(200_000_000, 10)
	d.Bridge.OwnedVIDs, d.Bridge.SelfVLANs = vids, vids[:1]
	runs := func(s *dataplane.Schedule) (old *dataplane.Schedule) {
		k.Inject(func(st *dataplane.State) { old, st.Egress[0].Oper = st.Egress[0].Oper, s })
		return old
	}
	oper := runs(nil)
	r, err := set(d)
	if !errors.Is(err, dataplane.ErrPending) || len(r.Applied) != 1 || len(r.Refused) != 1 {
		t.Errorf("replaced while pending and nothing runs: %v, %v", err, r)
	}
	// Unless its timer stands still, in which case waiting would never end.
	k.Inject(func(s *dataplane.State) { s.Egress[0].Stalled = true })
	if c, err := k.Diff(d); err != nil || len(c) != 1 {
		t.Errorf("pending and stalled: %v, %v", c, err)
	}
	k.Inject(func(s *dataplane.State) { s.Egress[0].Stalled = false })
	runs(oper)
	if _, err := set(d); err != nil {
		t.Errorf("replaced while pending: %v", err)
	}
	if s, _ := k.Read(); s.EgressOf(1).Admin == nil || s.EgressOf(1).Admin.Entries[0].Gates != 10 {
		t.Errorf("replaced while pending: %v", s.EgressOf(1))
	}
	if err := k.AwaitOper(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := set(d); err != nil {
		t.Errorf("after the start: %v", err)
	}
	if err := k.AwaitOper(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	// One that waits is taken back by what runs, whatever its base; nothing
	// waits any more then.
	if _, err := set(state(300_000_000, 9)); err != nil {
		t.Fatal(err)
	}
	if _, err := set(d); err != nil {
		t.Errorf("taken back: %v", err)
	}
	if s, _ := k.Read(); s.EgressOf(1).Admin != nil || s.EgressOf(1).Oper.Entries[0].Gates != 10 {
		t.Errorf("taken back: %v", s.EgressOf(1))
	}
	// The same list with the same phase is the same schedule, whatever its base.
	writes := k.Writes
	d.Egress[0].Gates.BaseTime.NS = 1_000_000
	if _, err := set(d); err != nil || k.Writes != writes {
		t.Errorf("same phase: %v, %d writes", err, k.Writes-writes)
	}
	// Another phase is sent again with a base time ahead.
	d.Egress[0].Gates.BaseTime.NS = 1_300_000
	if _, err := set(d); err != nil || k.Writes != writes+1 {
		t.Errorf("new phase: %v, %d writes", err, k.Writes-writes)
	}
	s, _ := k.Read()
	if a := s.EgressOf(1).Admin; a == nil || a.Base <= k.Now || a.Base%1_000_000 != 300_037 {
		t.Errorf("new phase: %v at %d", a, k.Now)
	}
}

// What runs is taken on in the midst of its cycle: the list begins at the time
// asked for or, where an entry would be split too close to its ends, beside it,
// and from then on opens the same gates at every time.
func TestTakenOn(t *testing.T) {
	s := &dataplane.Schedule{Base: 1000, Cycle: 100, Entries: []tsn.GateEntry{{Gates: 1, Interval: 50}, {Gates: 2, Interval: 30}, {Gates: 2, Interval: 20}}}
	for at := range int64(250) {
		got := s.From(1000+at, 10)
		sum := int64(0)
		for _, e := range got.Entries {
			if sum += e.Interval; e.Interval < 10 {
				t.Errorf("at %d: %v", at, got)
			}
		}
		if got.Base < 1000+at || got.Base > 1000+at+10 || sum != s.Cycle || got.Cycle != s.Cycle {
			t.Errorf("at %d: %v", at, got)
		}
		for x := range int64(250) {
			if got.GatesAt(got.Base+x) != s.GatesAt(got.Base+x) {
				t.Errorf("at %d: %v has other gates %d later", at, got, x)
			}
		}
	}
}

// TestShaper: the medium decides how long a class waits, the kernel's idea of
// the link what its frames cost.
func TestShaper(t *testing.T) {
	full := func(idle tsn.Rate) tsn.ShapedClass {
		return tsn.ShapedClass{IdleSlope: idle, MaxFrame: tsn.MaxFrameOctets}
	}
	for _, c := range []struct {
		idle, rate, speed tsn.Rate
		higher            []tsn.ShapedClass
		want              dataplane.Shaper
	}{
		{0, 1000, 1000, nil, dataplane.Shaper{}},
		{20_000, 100_000, 100_000, nil, dataplane.Shaper{IdleSlope: 20_000, SendSlope: -80_000, HiCredit: 309, LoCredit: -1234}},
		{20_000, 100_000, 100_000, []tsn.ShapedClass{full(60_000)}, dataplane.Shaper{IdleSlope: 20_000, SendSlope: -80_000, HiCredit: 1080, LoCredit: -1234}},
		{20_000, 100_000, 10_000_000, nil, dataplane.Shaper{IdleSlope: 20_000, SendSlope: -9_980_000, HiCredit: 309, LoCredit: -1539}},
	} {
		got, err := dataplane.NewShaper(full(c.idle), c.rate, c.speed, c.higher)
		if err != nil || got != c.want {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
	if _, err := dataplane.NewShaper(full(50_000), 100_000, 100_000, []tsn.ShapedClass{full(60_000)}); err == nil {
		t.Error("110 % of the rate was accepted")
	}
}

// 802.1Q 8.6.8.2 g: the slope behind a gate is that of the whole cycle. In
// software the credit rises after each closing too; and until a schedule begins
// the one before must do with the shaper as well.
func TestShaperBehindGates(t *testing.T) {
	const sr, all = 1 << tsn.ClassSRA, 1<<tsn.NumClasses - 1
	twice := []tsn.GateEntry{{Gates: all, Interval: 1_000_000}, {Gates: all &^ sr, Interval: 2_000_000}, {Gates: all, Interval: 3_000_000}, {Gates: all &^ sr, Interval: 2_000_000}}
	state := func(base int64, es ...tsn.GateEntry) tsn.DesiredState {
		e := tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap, IdleSlope: [8]tsn.Rate{tsn.ClassSRA: 10 * tsn.Mbps}}
		if len(es) > 0 {
			e.Gates = &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: base}, Entries: es}
			for _, x := range es {
				e.Gates.CycleTime += x.Interval
			}
		}
		return tsn.DesiredState{Bridge: &tsn.BridgeState{}, Egress: []tsn.PortEgress{e}}
	}
	k := newFake(t, fake.Software)
	slope := func(d tsn.DesiredState) int32 {
		t.Helper()
		if _, err := k.Set(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		s, _ := k.Read()
		return s.EgressOf(1).Shapers[tsn.ClassSRA].IdleSlope
	}
	begins := func() {
		if err := k.AwaitOper(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if got := slope(state(0)); got != 10_000 {
		t.Errorf("without gates %d", got)
	}
	gated := state(1_000_000_000, twice...)
	before := slope(gated)
	begins()
	after := slope(gated)
	if before != after || after >= 20_000 || after < 19_000 {
		t.Errorf("open for half of the cycle: %d, then %d", before, after)
	}
	wide := state(k.Now+1_000_000_000, twice[2], twice[0], twice[1])
	if got := slope(wide); got != after {
		t.Errorf("before the wider windows begin: %d, want %d as before", got, after)
	}
	begins()
	if got := slope(wide); got >= 15_000 {
		t.Errorf("in wider windows %d", got)
	}
	if slope(state(0)); slope(state(0)) != 10_000 {
		t.Error("the gates are open again, and the slope is not as before")
	}
	// What no slope can make good is refused, and the gates stay.
	_, err := k.Set(t.Context(), state(k.Now+1_000_000_000, tsn.GateEntry{Gates: all, Interval: 1_000}, tsn.GateEntry{Gates: all &^ sr, Interval: 9_999_000}))
	var limit *dataplane.LimitError
	if !errors.As(err, &limit) || limit.Port != 1 {
		t.Errorf("open for a ten thousandth of the cycle: %v", err)
	}
}
