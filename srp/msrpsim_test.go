package srp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// fabric is a lab whose bridges are told their trees, as SPB would: shortest
// paths from the talker's bridge, the lowest neighbour first.
type fabric struct {
	*lab
	r        *rand.Rand
	bridges  []*labNode
	stations []*labNode
	at       map[*labNode]end // of a station: its bridge's port
	inner    []*lan           // between bridges
	told     string           // the trees last told, as text
	held     int              // set of the other owner, its generation
}

const fabricPorts = 8

func newFabric(t testing.TB, seed uint64, bridges, stations, extra int) *fabric {
	f := &fabric{lab: newLab(t, seed), r: rand.New(rand.NewPCG(seed, 2)), at: map[*labNode]end{}}
	used := map[*labNode]tsn.Port{}
	port := func(b *labNode) end { used[b]++; return end{b, used[b]} }
	for range bridges {
		f.bridges = append(f.bridges, f.addBridge(fabricPorts, func(c *Config) { c.MSRP.Trees = true }))
	}
	free := func() *labNode {
		for {
			if b := f.bridges[f.r.IntN(len(f.bridges))]; used[b] < fabricPorts {
				return b
			}
		}
	}
	for i, b := range f.bridges[1:] {
		peer := f.bridges[f.r.IntN(i+1)]
		for used[peer] >= fabricPorts-1 {
			peer = f.bridges[f.r.IntN(i+1)]
		}
		f.inner = append(f.inner, f.connect(port(b), port(peer)))
	}
	for range extra {
		if a, b := free(), free(); a != b && used[a] < fabricPorts-1 && used[b] < fabricPorts-1 {
			f.inner = append(f.inner, f.connect(port(a), port(b)))
		}
	}
	for range stations {
		s := f.addStation(false)
		f.at[s] = port(free())
		f.stations = append(f.stations, s)
		f.connect(end{s, 1}, f.at[s])
	}
	return f
}

// hop is a link that is up, from one bridge to another.
type hop struct{ from, to end }

func (f *fabric) hops(b *labNode) (out []hop) {
	for _, n := range f.inner {
		for i, e := range n.ends {
			if n.up && e.node == b {
				out = append(out, hop{e, n.ends[1-i]})
			}
		}
	}
	slices.SortFunc(out, func(x, y hop) int { return int(x.to.node.id) - int(y.to.node.id) })
	return out
}

// parents gives, for each bridge that root reaches, the hop by which it does.
func (f *fabric) parents(root *labNode) map[*labNode]hop {
	out, queue := map[*labNode]hop{root: {}}, []*labNode{root}
	for ; len(queue) > 0; queue = queue[1:] {
		for _, h := range f.hops(queue[0]) {
			if _, seen := out[h.to.node]; !seen {
				out[h.to.node] = h
				queue = append(queue, h.to.node)
			}
		}
	}
	return out
}

func (f *fabric) station(mac tsn.MAC) *labNode {
	i := slices.IndexFunc(f.stations, func(s *labNode) bool { return s.mac() == mac })
	return f.stations[i]
}

// tree is what a bridge is told of a talker's tree; ok is false if it has no way to it.
func (f *fabric) tree(b *labNode, k TreeKey) (t Tree, ok bool) {
	t.TreeKey = k
	talker := f.at[f.station(k.Talker)]
	parents := f.parents(talker.node)
	h, ok := parents[b]
	if t.Ingress = []tsn.Port{h.to.port}; b == talker.node {
		t.Ingress = []tsn.Port{talker.port}
	}
	for _, o := range f.hops(b) {
		if p := parents[o.to.node]; o.to.node != talker.node && p.from == o.from {
			t.Egress = append(t.Egress, o.from.port)
		}
	}
	for _, s := range f.stations {
		if e := f.at[s]; e.node == b && e != talker {
			t.Egress = append(t.Egress, e.port)
		}
	}
	return t, ok
}

// tellTrees gives every bridge the trees it wants.
func (f *fabric) tellTrees() {
	for _, b := range f.bridges {
		var set SetTrees
		for _, k := range b.wanted {
			if t, ok := f.tree(b, k); ok {
				set.Trees = append(set.Trees, t)
			}
		}
		f.step(b, set)
	}
}

// runFabric lets time pass; trees follow the topology every 50 ms.
func (f *fabric) runFabric(s float64) {
	for until := f.now.Add(int64(s * 1e9)); f.now < until; {
		f.run(min(until, f.now.Add(50_000_000)))
		var now string
		for _, b := range f.bridges {
			now += fmt.Sprint(b.wanted)
		}
		for _, n := range f.inner {
			now += fmt.Sprint(n.up)
		}
		if now != f.told {
			f.told = now
			f.tellTrees()
		}
	}
}

// disturb does one thing that may happen.
func (f *fabric) disturb() {
	s := f.stations[f.r.IntN(len(f.stations))]
	other := f.stations[f.r.IntN(len(f.stations))]
	b := f.bridges[f.r.IntN(len(f.bridges))]
	unique := byte(1 + f.r.IntN(3))
	switch f.r.IntN(12) {
	case 0, 1, 2:
		t := s.talker(unique)
		t.MaxIntervalFrames, t.Rank = uint16(1+f.r.IntN(2)), uint8(min(1, f.r.IntN(4)))
		if f.r.IntN(8) == 0 {
			t.DestinationAddress = other.talker(unique).DestinationAddress
		}
		f.talk(s, t)
	case 3, 4, 5, 6:
		f.listen(s, other.talker(unique).StreamID, true)
	case 7:
		f.hush(s, s.talker(unique).StreamID)
	case 8:
		f.listen(s, other.talker(unique).StreamID, false)
	case 9:
		if len(f.inner) > 0 {
			n := f.inner[f.r.IntN(len(f.inner))]
			f.setLink(n, !n.up, []tsn.Rate{100 * tsn.Mbps, 100 * tsn.Mbps, 20 * tsn.Mbps}[f.r.IntN(3)])
		}
	case 10:
		f.told = ""
		f.restart(b)
	case 11:
		f.held++
		set := []tsn.Reservation{}
		if f.r.IntN(2) == 0 {
			set = append(set, res(with(stream(byte(100+f.r.IntN(3))), func(s *tsn.Stream) { s.MaxIntervalFrames = 20 }), tsn.Port(1+f.r.IntN(fabricPorts))))
		}
		f.step(b, PutReservations{Owner: "other", Generation: uint64(f.held), Reservations: set})
	}
}

// checkQuiet: every pair of talker and listener is reserved, on every bridge of
// its path and on no other, or failed with a code.
func (f *fabric) checkQuiet() (reserved, failed int) {
	held := map[end]map[tsn.StreamID]bool{}
	for _, talker := range f.stations {
		for id := range talker.station.talks {
			root := f.at[talker]
			parents := f.parents(root.node)
			some := false
			for _, l := range f.stations {
				if _, reached := parents[f.at[l].node]; !reached || !l.station.wants[id] || l == talker {
					continue
				}
				switch t := l.station.offered(id); {
				case t == nil:
					f.t.Fatalf("%s hears nothing of %s", l.name, id)
				case t.Failed && t.FailureCode == tsn.FailureNone:
					f.t.Fatalf("%s: %s failed without a code", l.name, id)
				case t.Failed:
					failed++
				default:
					reserved, some = reserved+1, true
					f.mark(held, id, parents, root.node, f.at[l])
				}
			}
			if said := talker.station.answer[id]; wants(said) != some {
				f.t.Fatalf("talker %s of %s hears %s", talker.name, id, mrp.ListenerText(said))
			}
		}
	}
	for _, b := range f.bridges {
		b.checkDeclared(f.t)
		before := b.text()
		b.bridge.msrp.touchAll()
		if f.step(b, tsn.Timeout{}); b.text() != before {
			f.t.Fatalf("%s had not looked again where it should have:\n%s\nnow\n%s", b.name, before, b.text())
		}
		for _, s := range b.bridge.MSRPStreams() {
			for _, p := range s.Ports {
				if p.Reserved != held[end{b, p.Port}][s.ID] {
					f.t.Fatalf("%s port %d: reserved %v, should be %v\n%s", b.name, p.Port, p.Reserved, !p.Reserved, b.text())
				}
				delete(held[end{b, p.Port}], s.ID)
			}
		}
	}
	for e, ids := range held {
		if len(ids) > 0 {
			f.t.Fatalf("%s port %d does not know %v", e.node.name, e.port, ids)
		}
	}
	return reserved, failed
}

// mark notes the ports from root to a listener.
func (f *fabric) mark(held map[end]map[tsn.StreamID]bool, id tsn.StreamID, parents map[*labNode]hop, root *labNode, at end) {
	for {
		if held[at] == nil {
			held[at] = map[tsn.StreamID]bool{}
		}
		held[at][id] = true
		if at.node == root {
			return
		}
		at = parents[at.node].from
	}
}

func (f *fabric) play(rounds, changes int) (reserved, failed int) {
	for range rounds {
		f.loss = func() bool { return f.r.IntN(10) == 0 }
		for range changes {
			f.disturb()
			f.runFabric(float64(f.r.IntN(2000)) / 1000)
		}
		f.loss = nil
		f.runFabric(50) // three LeaveAlls, whoever is the last to send one
		r, x := f.checkQuiet()
		reserved, failed = reserved+r, failed+x
	}
	return reserved, failed
}

// Loss, flaps, restarts, other owners and pre-emption: no limit is exceeded at
// any instant (lab.checkLimits), and once all is quiet all is as it should be.
func TestSimulation(t *testing.T) {
	reserved, failed := 0, 0
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			f := newFabric(t, seed, 2+int(seed%6), 4+int(seed%3), int(seed%4))
			r, x := f.play(3, 60)
			reserved, failed = reserved+r, failed+x
		})
	}
	if t.Logf("%d pairs reserved, %d failed", reserved, failed); reserved == 0 || failed == 0 {
		t.Error("one of them never happened")
	}
}
