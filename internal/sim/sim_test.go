package sim_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/sim"
	"tsnswitch/spb"
)

const (
	microsecond = 1_000
	millisecond = 1_000_000
	second      = 1_000_000_000
)

// randomNetwork is a file with a random tree of bridges, extra links, some of
// them parallel, and hosts at random bridges; every clock is off.
func randomNetwork(t testing.TB, seed uint64, bridges, extra, hosts int) *config.Network {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	b.WriteString("name: random\nnodes:\n")
	name := func(i int) string { return fmt.Sprintf("b%d", i+1) }
	for i := range bridges {
		fmt.Fprintf(&b, "  - {name: %s, priority: %d}\n", name(i), r.IntN(4)<<12)
	}
	for i := range hosts {
		fmt.Fprintf(&b, "  - {name: h%d, kind: host}\n", i+1)
	}
	b.WriteString("links:\n")
	for i := 1; i < bridges; i++ {
		fmt.Fprintf(&b, "  - {a: %s, b: %s}\n", name(r.IntN(i)), name(i))
	}
	for range extra {
		x := r.IntN(bridges)
		y := (x + 1 + r.IntN(bridges-1)) % bridges
		fmt.Fprintf(&b, "  - {a: %s, b: %s, metric: %d}\n", name(x), name(y), 50*(1+r.IntN(3)))
	}
	for i := range hosts {
		fmt.Fprintf(&b, "  - {a: %s, b: h%d}\n", name(r.IntN(bridges)), i+1)
	}
	b.WriteString("gptp:\n  grandMaster: b1\n  clocks:\n")
	for i := range bridges + hosts {
		n := name(i)
		if i >= bridges {
			n = fmt.Sprintf("h%d", i-bridges+1)
		}
		fmt.Fprintf(&b, "    %s: {offset: %dns, ppm: %.3f}\n", n, r.Int64N(1e13)-5e12, r.Float64()*200-100)
	}
	return parse(t, b.String())
}

func parse(t testing.TB, text string) *config.Network {
	t.Helper()
	c, err := config.ParseNetwork("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func build(t testing.TB, c *config.Network, opt sim.Options) *lab {
	t.Helper()
	n, err := sim.Build(c, opt)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{n, t, c, 300 * millisecond}
	if opt.Loss > 0 {
		l.rest = 1100 * millisecond
	}
	return l
}

// lab is a simulation with the checks that hold for every network at rest.
type lab struct {
	*sim.Network
	t   testing.TB
	cfg *config.Network
	// rest is how long things may go on once the fabric is there: the longest
	// hold-down of SPF, and where frames are lost a hello interval, since hellos
	// repeat what neighbours agree on.
	rest int64
}

func (l *lab) until(ns int64, what string, ok func() bool) {
	l.t.Helper()
	from := l.Now()
	for !ok() {
		took := l.Now().Sub(from)
		if took >= ns {
			l.t.Fatalf("%s: not within %d ms", what, ns/millisecond)
		}
		l.Run(min(max(took/20, millisecond), 100*millisecond)) // looks within 5 %
	}
}

// mac is a host's or a bridge's address.
func (l *lab) mac(node string) tsn.MAC { return l.cfg.Node(node).SystemID }

// settle waits for the fabric, and then until all is at rest. It
// returns when the last kernel was right.
func (l *lab) settle() (took int64) {
	l.t.Helper()
	from := l.Now()
	l.Run(microsecond) // whatever was done is noticed now
	l.until(20*second, "fabric", l.converged)
	took = l.Now().Sub(from)
	l.Run(l.rest)
	if !l.converged() {
		l.t.Fatal("the fabric was there and has gone")
	}
	return took
}

// converged: every link between bridges has its adjacency, the databases are
// the same, every kernel is as its Control wants it.
func (l *lab) converged() bool {
	var digest [32]byte
	first := true
	bridges := 0
	for _, x := range l.cfg.Nodes {
		if x.Kind == config.KindBridge {
			bridges++
		}
	}
	for _, d := range l.Nodes() {
		if d.Desired == nil || d.KernelErr != nil {
			return false
		}
		if d.Control.SPB == nil {
			continue
		}
		for _, nb := range d.Control.SPB.Neighbours() {
			if nb.LinkUp != (nb.State == "Up") {
				return false
			}
		}
		if d.Control.SPB.Status().NodesReached != bridges {
			return false
		}
		switch got := d.Control.SPB.DatabaseDigest(); {
		case first:
			digest, first = got, false
		case got != digest:
			return false
		}
	}
	return !slices.ContainsFunc(l.Nodes(), func(d *sim.Node) bool {
		left, err := d.Kernel.Diff(d.Desired.State)
		return err != nil || len(left) > 0
	})
}

// checkKernels compares each kernel's entries with the desired ones, without
// the data plane's own comparison.
func (l *lab) checkKernels() {
	l.t.Helper()
	for _, d := range l.Nodes() {
		want := d.Desired.State.Bridge
		if want == nil {
			continue
		}
		have, err := d.Kernel.Read()
		if err != nil {
			l.t.Fatal(err)
		}
		if !slices.Equal(have.Bridge.FDB, want.FDB) || len(want.FDB) == 0 {
			l.t.Fatalf("%s: the kernel has %d FDB entries, %d are wanted:\n%v\n%v", d.Name, len(have.Bridge.FDB), len(want.FDB), have.Bridge.FDB, want.FDB)
		}
		for _, p := range want.Ports {
			i := slices.IndexFunc(have.Bridge.Ports, func(h dataplane.BridgePort) bool { return h.Port == p.Port })
			got := have.Bridge.Ports[i]
			if got.Flags != (dataplane.Flags{Locked: p.Locked, Learning: p.Learning, Flood: p.Flood, McastFlood: p.McastFlood, BcastFlood: p.BcastFlood}) ||
				!slices.Equal(got.VLANs, p.VLANs) {
				l.t.Fatalf("%s: port %+v, want %+v", d.Name, got, p)
			}
		}
	}
}

// checkPlane walks data frames over the kernels: every host reaches every
// other by unicast on one path, and every edge port by one copy of a broadcast.
func (l *lab) checkPlane() {
	l.t.Helper()
	p := l.Plane()
	edges := 0
	for _, link := range l.cfg.Links {
		if l.cfg.Node(link.A.Node).Kind != l.cfg.Node(link.B.Node).Kind {
			edges++
		}
	}
	for _, a := range l.cfg.Nodes {
		if a.Kind != config.KindHost {
			continue
		}
		for _, vid := range []tsn.VID{0, l.cfg.Fabric.StreamVID} {
			for _, b := range l.cfg.Nodes {
				if b.Kind == config.KindHost && a.Name != b.Name {
					l.reaches(p, a.Name, b.Name, vid)
				}
			}
			r, err := p.Send(a.Name, sim.Frame{Src: l.mac(a.Name), Dst: tsn.Broadcast, VID: vid})
			if err != nil {
				l.t.Fatal(err)
			}
			if len(r.Edge) != edges-1 {
				l.t.Fatalf("broadcast of %s in VLAN %d left by %d of %d edge ports", a.Name, vid, len(r.Edge), edges-1)
			}
			for end, copies := range r.Edge {
				if copies != 1 {
					l.t.Fatalf("broadcast of %s in VLAN %d: %d copies at %v", a.Name, vid, copies, end)
				}
			}
		}
	}
}

// reaches fails unless one copy arrives at the port of the host, and nothing
// is copied or checked away on its way.
func (l *lab) reaches(p *sim.Plane, from, to string, vid tsn.VID) {
	l.t.Helper()
	r, err := p.Send(from, sim.Frame{Src: l.mac(from), Dst: l.mac(to), VID: vid})
	if err != nil {
		l.t.Fatal(err)
	}
	if at := l.edgeOf(to); len(r.Edge) != 1 || r.Edge[at] != 1 || r.Checked+r.Unknown != 0 || len(r.Self) != 0 {
		l.t.Fatalf("%s to %s in VLAN %d: %+v, want one copy at %v", from, to, vid, r, at)
	}
}

// edgeOf is the bridge port that a host is attached to.
func (l *lab) edgeOf(host string) sim.End {
	for _, link := range l.cfg.Links {
		switch host {
		case link.A.Node:
			return sim.End{Node: link.B.Node, Port: link.B.Port}
		case link.B.Node:
			return sim.End{Node: link.A.Node, Port: link.A.Port}
		}
	}
	l.t.Fatalf("%s has no link", host)
	return sim.End{}
}

// timeAgreed: one grand master, every connected port asCapable, all synced.
func (l *lab) timeAgreed() bool {
	gm := l.Node(l.cfg.GPTP.GrandMaster)
	for _, d := range l.Nodes() {
		st := d.Timing.Status().Target()
		if !st.Synced || st.GrandMaster != gm.Timing.Status().Target().ClockIdentity || st.IsGM != (d == gm) {
			return false
		}
		for _, p := range st.Ports {
			if p.Up && !p.AsCapable {
				return false
			}
		}
	}
	return true
}

// timeError is the largest difference of any node's gPTP time to the grand
// master's, in true simultaneity, sampled every 10 ms for ns.
func (l *lab) timeError(ns int64) (worst int64) {
	l.t.Helper()
	gm := l.Node(l.cfg.GPTP.GrandMaster)
	for end := l.Now().Add(ns); l.Now() < end; l.Run(10 * millisecond) {
		want, _ := l.PTPNow(gm)
		for _, d := range l.Nodes() {
			got, _ := l.PTPNow(d)
			worst = max(worst, got.NS-want.NS, want.NS-got.NS)
		}
	}
	return worst
}

// 32 bridges and 8 hosts, both machines: the fabric stands, the kernels are as
// desired, data frames go where they should, one grand master gives the time.
func TestRandomNetwork(t *testing.T) {
	l := build(t, randomNetwork(t, 1, 32, 20, 8), sim.Options{Seed: 1})
	t.Logf("fabric stands after %d ms", l.settle()/millisecond)
	l.checkKernels()
	l.checkPlane()
	l.until(20*second, "time", l.timeAgreed)
	t.Logf("time agreed after %d ms", l.Now()/millisecond)
	l.Run(5 * second)
	if e := l.timeError(2 * second); e > 100 {
		t.Errorf("gPTP times are %d ns apart; with exact stamps 100 is a lot", e)
	} else {
		t.Logf("gPTP times within %d ns", e)
	}
	t.Logf("%+v", l.Counters)
}

// Links that the network can do without fail and return, and processes
// restart, at random: each time all comes to stand again.
func TestRandomFaults(t *testing.T) {
	const bridges = 15
	for seed := range uint64(3) {
		c := randomNetwork(t, 100+seed, bridges, 10, 4)
		l := build(t, c, sim.Options{Seed: seed})
		l.settle()
		r := rand.New(rand.NewPCG(seed, 8))
		up := map[int]bool{}
		for range 25 {
			if r.IntN(4) == 0 {
				name := c.Nodes[r.IntN(len(c.Nodes))].Name
				l.Stop(name)
				l.Run(r.Int64N(500 * millisecond))
				if err := l.Start(name); err != nil {
					t.Fatal(err)
				}
			} else {
				i := bridges - 1 + r.IntN(10) // one of the extra links
				if err := l.SetLink(c.Links[i].A.Node, c.Links[i].A.Port, up[i]); err != nil {
					t.Fatal(err)
				}
				up[i] = !up[i]
			}
			l.Run(r.Int64N(100 * millisecond))
		}
		l.settle()
		l.checkKernels()
		l.checkPlane()
		l.until(60*second, "time", l.timeAgreed)
	}
}

// The lab's own files run here too, and survive their cut.
func TestLabFiles(t *testing.T) {
	for _, name := range []string{"line3", "ring4"} {
		t.Run(name, func(t *testing.T) {
			c, err := config.LoadNetwork(filepath.Join("..", "..", "lab", name+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			l := build(t, c, sim.Options{Seed: 1, Jitter: 20 * microsecond}) // software stamps are noisy
			l.settle()
			l.checkPlane()
			l.until(30*second, "time", l.timeAgreed)
			l.reserve(l.paths())
			if i := c.CutLink(); i >= 0 {
				if err := l.SetLink(c.Links[i].A.Node, c.Links[i].A.Port, false); err != nil {
					t.Fatal(err)
				}
				l.settle()
				l.checkPlane()
			}
			l.until(30*second, "time", l.timeAgreed)
			l.Run(20 * second)
			if e := l.timeError(2 * second); e > 50*microsecond {
				t.Errorf("times %d ns apart", e)
			}
		})
	}
}

// A station moves to another bridge: its new bridge is told, its old one, and
// everybody finds it there.
func TestStationMoves(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1})
	l.settle()
	l.Do("b1", spb.SetEndStations{})
	l.Do("b2", spb.SetEndStations{Stations: []spb.EndStation{{MAC: l.mac("A"), Port: 1}}})
	l.Run(millisecond)
	if l.Node("b2").Notices[spb.NoticeBadEndStations] != 1 {
		t.Error("a station at a fabric port was not refused")
	}
	l.settle()
	p := l.Plane()
	r, err := p.Send("B", sim.Frame{Src: l.mac("B"), Dst: l.mac("A")})
	if err != nil || len(r.Edge) != 0 || r.Unknown != 1 {
		t.Errorf("a frame for nobody: %+v, %v", r, err)
	}
	l.Do("b1", spb.SetEndStations{Stations: []spb.EndStation{{MAC: l.mac("A"), Port: 3}}})
	l.Run(millisecond)
	l.settle()
	l.checkPlane()
}

// Frames of noise, and halves of real ones, on every port of every node: no
// machine stumbles, nothing is forwarded otherwise.
func TestGarbageFrames(t *testing.T) {
	l := build(t, ring(t, 4), sim.Options{Seed: 1})
	r := rand.New(rand.NewPCG(1, 9))
	var samples [][]byte
	l.OnStep = func(s sim.Step) {
		for _, e := range s.Effects {
			if f, ok := e.(tsn.Send); ok && len(samples) < 200 {
				samples = append(samples, slices.Clone(f.Frame))
			}
		}
	}
	l.settle()
	for range 5000 {
		x := l.cfg.Links[r.IntN(len(l.cfg.Links))]
		frame := slices.Clone(samples[r.IntN(len(samples))])
		switch r.IntN(3) {
		case 0:
			frame = frame[:r.IntN(len(frame)+1)]
		case 1:
			for range 4 {
				frame[14+r.IntN(len(frame)-14)] ^= byte(1 + r.IntN(255))
			}
		case 2:
			frame = make([]byte, r.IntN(200))
			for i := range frame {
				frame[i] = byte(r.Uint32())
			}
			if len(frame) >= 14 {
				copy(frame[12:], [][]byte{{0x88, 0xf7}, {0, byte(len(frame) - 14)}}[r.IntN(2)])
			}
		}
		end := []config.End{x.A, x.B}[r.IntN(2)]
		l.Inject(end.Node, end.Port, frame)
		l.Run(r.Int64N(millisecond))
	}
	l.Run(5 * second)
	// Probes and hellos on an edge port say that it is part of a loop.
	l.until(60*second, "edge ports", func() bool {
		return !slices.ContainsFunc(l.Nodes(), func(d *sim.Node) bool {
			return d.Control.SPB != nil && slices.ContainsFunc(d.Control.SPB.EdgePorts(), func(p spb.EdgePort) bool { return p.State == "blocked" })
		})
	})
	l.settle()
	l.checkPlane()
	l.until(30*second, "time", l.timeAgreed)
}

// Same seed, same run; another seed, another run.
func TestDeterminism(t *testing.T) {
	run := func(seed uint64) string {
		l := build(t, randomNetwork(t, 2, 30, 15, 6), sim.Options{Seed: seed, Loss: 0.01, Jitter: 200})
		l.Run(3 * second)
		if err := l.SetLink("b2", 1, false); err != nil {
			t.Fatal(err)
		}
		l.Run(second)
		return l.Trace()
	}
	a, b, c := run(1), run(1), run(2)
	if a != b {
		t.Errorf("seed 1 twice: %s and %s", a, b)
	}
	if a == c {
		t.Error("seeds 1 and 2 give the same run")
	}
}
