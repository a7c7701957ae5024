package gptp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand"
	"slices"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// network is a sim with any topology that can be asked what it should look like.
type network struct {
	*sim
	cables []*cable
	relays map[relayed]bool
}

type cable struct {
	a, b   *simNode
	pa, pb tsn.Port
	cut    bool
}

// relayed is a Follow_Up of a relay: one and the same may leave a port once.
type relayed struct {
	node   *simNode
	port   tsn.Port
	domain uint8
	origin ptpmsg.Timestamp
	base   uint16
}

func newNetwork(t testing.TB, seed int64) *network {
	n := &network{sim: newSim(t, seed), relays: map[relayed]bool{}}
	n.spy = n.noLoop
	return n
}

// noLoop fails the test when a Sync comes back to a node that relayed it.
func (n *network) noLoop(from *simNode, port tsn.Port, frame []byte) bool {
	_, payload, _ := ptpmsg.ParseFrame(frame)
	if ptpmsg.MessageType(payload[0]&0xf) != ptpmsg.TypeFollowUp {
		return true
	}
	m, err := new(ptpmsg.Decoder).Decode(payload)
	if err != nil {
		n.t.Fatal(err)
	}
	f := m.(*ptpmsg.FollowUp)
	i, _ := f.Information()
	r := relayed{from, port, f.Domain, f.PreciseOrigin, i.GmTimeBaseIndicator}
	if n.relays[r] {
		n.t.Fatalf("%.3f s: the Sync of %+v leaves %s port %d again", float64(n.now)*1e-9, f.PreciseOrigin, from.name, port)
	}
	n.relays[r] = true
	return true
}

func (n *network) cable(a, b *simNode, delay int64) *cable {
	c := &cable{a: a, b: b, pa: tsn.Port(len(a.links) + 1), pb: tsn.Port(len(b.links) + 1)}
	n.connect(a, c.pa, b, c.pb, delay)
	n.cables = append(n.cables, c)
	return c
}

func (n *network) setCut(c *cable, cut bool) {
	if c.cut != cut {
		c.cut = cut
		n.carrier(c.a, c.pa, !cut)
	}
}

// restart is a new life of a node, dead or not, with another priority1.
func (n *network) restart(x *simNode, priority1 uint8) {
	for i := range x.sys.cfg.Domains {
		x.sys.cfg.Domains[i].Priority1 = priority1
	}
	x.dead = false
	x.restart(x.offset, x.ppm)
}

// works reports whether time can flow over a cable.
func (c *cable) works() bool { return !c.cut && !c.a.dead && !c.b.dead }

// check compares a domain of every node with what the brute force says: the best
// of the connected is grand master of all, everyone knows it at its true
// distance, one slave port leads there, and every cable has one master port.
func (n *network) check(domain uint8, fail func(format string, a ...any)) {
	const far = 1 << 20
	in := func(x *simNode) *Instance { return x.sys.Instance(domain) }
	best, dist := map[*simNode]*simNode{}, map[*simNode]int{}
	for _, x := range n.nodes {
		best[x], dist[x] = x, far
	}
	for range n.nodes {
		for _, c := range n.cables {
			if !c.works() {
				continue
			}
			x, y := best[c.a], best[c.b]
			if bytes.Compare(in(x).bmca.system[:], in(y).bmca.system[:]) > 0 {
				x = y
			}
			best[c.a], best[c.b] = x, x
		}
	}
	for _, x := range n.nodes {
		if best[x] == x {
			dist[x] = 0
		}
	}
	for range n.nodes {
		for _, c := range n.cables {
			if c.works() {
				dist[c.a], dist[c.b] = min(dist[c.a], dist[c.b]+1), min(dist[c.b], dist[c.a]+1)
			}
		}
	}
	for _, x := range n.nodes {
		if x.dead {
			continue
		}
		st := in(x).Status()
		if in(best[x]).cfg.Priority1 == 255 {
			if st.GMPresent || in(x).bmca.slavePort != nil {
				fail("%s has a grand master where there can be none: %+v", x.name, st)
			}
			continue
		}
		if st.GrandMaster != best[x].sys.cfg.ClockIdentity || int(st.StepsRemoved) != dist[x] || len(st.PathTrace) != dist[x]+1 || !st.Synced {
			fail("domain %d: %s follows %v at %d steps by %v, synced %v; want %s at %d", domain, x.name, st.GrandMaster, st.StepsRemoved,
				st.PathTrace, st.Synced, best[x].name, dist[x])
		}
		slaves := 0
		for _, p := range st.Ports {
			if p.State == SlavePort {
				slaves++
			}
		}
		if slaves != min(1, dist[x]) {
			fail("domain %d: %s has %d slave ports", domain, x.name, slaves)
		}
	}
	for _, c := range n.cables {
		if a, b := in(c.a).port(c.pa), in(c.b).port(c.pb); c.works() && a.asCapable && in(best[c.a]).cfg.Priority1 != 255 &&
			(a.info.state == MasterPort) == (b.info.state == MasterPort) {
			fail("domain %d: %s port %d is %v, %s port %d is %v", domain, c.a.name, c.pa, a.info.state, c.b.name, c.pb, b.info.state)
		}
	}
}

// 10.3: any topology settles on one tree of time for each domain, whatever
// happened to links, asCapable, grand masters and priorities before; no Sync ever
// comes back to where it was; and who is best announces again.
func TestAnyNetworkSettles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := newNetwork(t, 1)
		count := rapid.IntRange(2, 7).Draw(rt, "nodes")
		domains := rapid.IntRange(1, 3).Draw(rt, "domains")
		priority := rapid.SampledFrom([]uint8{100, 246, 248, 255})
		for i := range count {
			n.node(string(rune('a'+i)), count+3, func(c *Config) {
				c.Domains = nil
				for d := range domains {
					c.Domains = append(c.Domains, DomainConfig{Domain: uint8(20 * d), Priority1: priority.Draw(rt, "priority1")})
				}
			})
		}
		for i := 1; i < count; i++ {
			n.cable(n.nodes[rapid.IntRange(0, i-1).Draw(rt, "parent")], n.nodes[i], 500)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "more links") {
			a, b := rapid.IntRange(0, count-1).Draw(rt, "a"), rapid.IntRange(0, count-1).Draw(rt, "b")
			if a != b {
				n.cable(n.nodes[a], n.nodes[b], 500)
			}
		}
		n.run(rapid.Int64Range(0, 4000).Draw(rt, "ms before") * millisecond)
		for range rapid.IntRange(0, 8).Draw(rt, "events") {
			x := n.nodes[rapid.IntRange(0, count-1).Draw(rt, "node")]
			c := n.cables[rapid.IntRange(0, len(n.cables)-1).Draw(rt, "cable")]
			switch rapid.IntRange(0, 4).Draw(rt, "what") {
			case 0:
				n.setCut(c, !c.cut)
			case 1:
				if !c.a.dead {
					c.a.port(c.pa).delay.req.setCapable(false, ReasonNoResponse)
					c.a.step(tsn.Timeout{})
				}
			case 2:
				x.dead = true
			case 3, 4:
				n.restart(x, priority.Draw(rt, "new priority1"))
			}
			n.run(rapid.Int64Range(0, 1500).Draw(rt, "ms") * millisecond)
		}
		n.run(14 * second) // the neighbour of a dead node is asked 10 times
		for d := range domains {
			n.check(uint8(20*d), rt.Fatalf)
		}
	})
}

// city is a ring of 100 relays with 40 chords, every clock and every link another,
// none of them quite symmetric.
func city(t testing.TB, seed int64) (n *network, hash func() uint64) {
	n = newNetwork(t, seed)
	r := rand.New(rand.NewSource(seed))
	for i := range 100 {
		x := n.node(fmt.Sprint("n", i), 9, func(c *Config) {
			c.Domains[0].Priority1 = uint8(100 + r.Intn(100))
		}).hardware().clock(r.Int63n(1e15), r.Float64()*160-80)
		x.wander = sine(10, 0.5, r.Float64()*6)
		x.reaction = 100*microsecond + r.Int63n(5*millisecond)
	}
	lay := func(a, b *simNode) {
		if len(a.links) < 9 && len(b.links) < 9 && a != b {
			delay := 100 + r.Int63n(600)
			c := n.cable(a, b, delay)
			a.links[c.pa].delay += r.Int63n(21) - 10
		}
	}
	for i, x := range n.nodes {
		lay(x, n.nodes[(i+1)%100])
	}
	for range 40 {
		lay(n.nodes[r.Intn(100)], n.nodes[r.Intn(100)])
	}
	h := fnv.New64a()
	n.spy = func(from *simNode, port tsn.Port, frame []byte) bool {
		var at [10]byte
		binary.BigEndian.PutUint64(at[:], uint64(n.now))
		at[8], at[9] = from.mac[5], byte(port)
		h.Write(at[:])
		h.Write(frame)
		return n.noLoop(from, port, frame)
	}
	return n, h.Sum64
}

// worst is the largest error of any node that lives.
func (n *network) worst(ns int64, gm *simNode) (worst int64) {
	for end := n.now + ns; n.now < end; n.run(50 * millisecond) {
		for _, x := range n.nodes {
			if !x.dead {
				e := x.error(gm)
				worst = max(worst, e, -e)
			}
		}
	}
	return worst
}

// 100 relays with drifting clocks on asymmetric links: one grand master, and all
// within 1 us of it, at first, after links went and came, and after the grand
// master was lost, and came back with another clock. The same again to the last
// octet when it is run again.
func TestHundredNodes(t *testing.T) {
	run := func(log func(string, ...any)) uint64 {
		n, hash := city(t, 1)
		fail := func(format string, a ...any) { t.Helper(); t.Fatalf(format, a...) }
		best := func() *simNode {
			return slices.MinFunc(n.nodes, func(a, b *simNode) int {
				if a.dead != b.dead {
					return map[bool]int{true: 1, false: -1}[a.dead]
				}
				return bytes.Compare(a.bmca.system[:], b.bmca.system[:])
			})
		}
		settle := func(what string) {
			n.run(8 * second)
			n.check(0, fail)
			hops := uint16(0)
			for _, x := range n.nodes {
				hops = max(hops, x.Status().StepsRemoved)
			}
			e := n.worst(2*second, best())
			log("%s: grand master %s, %d hops at most, largest error %d ns", what, best().name, hops, e)
			if e > microsecond {
				t.Errorf("%s: %d ns", what, e)
			}
		}
		settle("started")
		for range 12 {
			c := n.cables[n.rng.Intn(len(n.cables))]
			n.setCut(c, true)
			n.run(n.rng.Int63n(second))
			n.setCut(c, n.rng.Intn(4) == 0)
		}
		settle("links flapped")
		gm := best()
		gm.dead = true
		n.run(10 * second) // its neighbours ask it ten times
		settle("grand master lost")
		n.restart(gm, gm.sys.cfg.Domains[0].Priority1)
		gm.offset += 12_345_678
		settle("grand master back")
		return hash()
	}
	a := run(t.Logf)
	if b := run(func(string, ...any) {}); a != b {
		t.Errorf("two runs differ: %x and %x", a, b)
	}
}
