package spb

import (
	"container/heap"
	"fmt"
	"testing"

	tsn "tsnswitch"
)

// A network of instances in virtual time: frames take wireDelay, everything
// else happens at once, equal times in the order of creation.
const (
	wireDelay = 10_000
	edgePort  = tsn.Port(100) // every node's station
	emptyPort = tsn.Port(101) // an edge port without a station
	vidA      = tsn.VID(100)
	vidB      = tsn.VID(200)
)

type lab struct {
	t     testing.TB
	now   tsn.Instant
	nodes []*labNode
	links []*labLink
	queue labQueue
	order int
	// tap sees every frame sent; returning false loses it.
	tap func(from int, s tsn.Send) bool
	log []string // notices
	// onEffect, if set, sees every effect of every node.
	onEffect func(node int, e tsn.Effect)
	// after, if set, is called after every step of a node.
	after func()
	// carries, if set, tells which ports have a link beside those in links.
	carries func(node int, port tsn.Port) bool
}

type labNode struct {
	*Instance
	cfg       Config
	state     tsn.BridgeState
	changedAt tsn.Instant // of the last Forwarding
	history   []Forwarding
	kernelErr string // what its kernel answers; silent: nothing at all
	armed     tsn.Instant
	dead      bool
}

const silent = "silent"

type labLink struct {
	node [2]int
	port [2]tsn.Port
	up   bool
}

type labEvent struct {
	at    tsn.Instant
	order int
	node  int
	ev    tsn.Event
}

type labQueue []labEvent

func (q labQueue) Len() int { return len(q) }
func (q labQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || (q[i].at == q[j].at && q[i].order < q[j].order)
}
func (q labQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *labQueue) Push(x any)   { *q = append(*q, x.(labEvent)) }
func (q *labQueue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func nodeMAC(n int) tsn.MAC    { return tsn.MAC{2, 0, 0, 0, byte((n + 1) >> 8), byte(n + 1)} }
func stationMAC(n int) tsn.MAC { return tsn.MAC{2, 0xee, 0, 0, byte((n + 1) >> 8), byte(n + 1)} }

// newLab makes n nodes and the links between them; fabric ports count from 1
// in the order of links. change may alter a node's configuration.
func newLab(t testing.TB, n int, links [][2]int, change func(k int, c *Config)) *lab {
	l := &lab{t: t}
	cfgs := make([]Config, n)
	for k := range cfgs {
		cfgs[k] = Config{
			SystemID: nodeMAC(k), Priority: 0x8000, HostName: fmt.Sprintf("b%d", k+1), Seed: uint64(k),
			BaseVIDs:    []BaseVID{{vidA, 1}, {vidB, 2}},
			Ports:       []PortConfig{{Port: edgePort}, {Port: emptyPort}},
			EdgeGuard:   EdgeGuardConfig{Interval: -1}, // edge ports have no links here
			EndStations: []EndStation{{MAC: stationMAC(k), Port: edgePort, Name: fmt.Sprintf("h%d", k+1)}},
		}
	}
	for _, e := range links {
		link := &labLink{node: e}
		for side, k := range e {
			link.port[side] = tsn.Port(len(cfgs[k].Ports) - 1)
			cfgs[k].Ports = append(cfgs[k].Ports, PortConfig{Port: link.port[side], Role: tsn.RoleFabric})
		}
		l.links = append(l.links, link)
	}
	for k := range cfgs {
		if change != nil {
			change(k, &cfgs[k])
		}
		l.nodes = append(l.nodes, &labNode{cfg: cfgs[k], armed: tsn.Never})
		l.start(k)
	}
	return l
}

// start (re)starts a node with an empty memory.
func (l *lab) start(k int) {
	inst, err := New(l.nodes[k].cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	l.nodes[k].Instance, l.nodes[k].dead = inst, false
	l.step(k, tsn.Timeout{})
}

func (l *lab) push(at tsn.Instant, node int, ev tsn.Event) {
	l.order++
	heap.Push(&l.queue, labEvent{at, l.order, node, ev})
}

func (l *lab) setLink(n int, up bool) {
	link := l.links[n]
	link.up = up
	for side, k := range link.node {
		l.step(k, tsn.LinkChanged{Port: link.port[side], Up: up, Rate: tsn.Gbps})
	}
}

func (l *lab) allUp() {
	for n := range l.links {
		l.setLink(n, true)
	}
}

func (l *lab) step(k int, ev tsn.Event) {
	n := l.nodes[k]
	if n.dead {
		return
	}
	for _, e := range n.Step(l.now, ev) {
		if l.onEffect != nil {
			l.onEffect(k, e)
		}
		switch e := e.(type) {
		case tsn.Send:
			l.transmit(k, e)
		case Forwarding:
			n.state, n.changedAt = e.State, l.now
			if n.kernelErr != silent {
				l.push(l.now, k, Applied{Generation: e.Generation, Err: n.kernelErr})
			}
			n.history = append(n.history, e)
		case tsn.Notice:
			l.log = append(l.log, fmt.Sprintf("%d b%d %s port %d %s", l.now, k+1, e.Kind, e.Port, e.Detail))
		}
	}
	if l.after != nil {
		l.after()
	}
	d := n.Deadline()
	if d <= l.now {
		l.t.Fatalf("b%d: deadline %d is not after %d", k+1, d, l.now)
	}
	if d != tsn.Never && d != n.armed {
		n.armed = d
		l.push(d, k, tsn.Timeout{})
	}
}

// peer finds the other end of a port, if the link is up.
func (l *lab) peer(node int, port tsn.Port) (int, tsn.Port, bool) {
	for _, link := range l.links {
		for side := range 2 {
			if link.node[side] == node && link.port[side] == port {
				return link.node[1-side], link.port[1-side], link.up
			}
		}
	}
	return 0, 0, false
}

func (l *lab) transmit(from int, s tsn.Send) {
	if l.tap != nil && !l.tap(from, s) {
		return
	}
	if to, port, up := l.peer(from, s.Port); up {
		l.push(l.now.Add(wireDelay), to, tsn.Received{Port: port, Frame: s.Frame})
	}
}

// run handles everything within the next ns nanoseconds.
func (l *lab) run(ns int64) {
	until := l.now.Add(ns)
	for len(l.queue) > 0 && l.queue[0].at <= until {
		e := heap.Pop(&l.queue).(labEvent)
		l.now = e.at
		if _, ok := e.ev.(tsn.Timeout); ok {
			n := l.nodes[e.node]
			if n.armed != e.at {
				continue // moved
			}
			n.armed = tsn.Never
		}
		if r, ok := e.ev.(tsn.Received); ok {
			if _, _, up := l.peer(e.node, r.Port); !up && (l.carries == nil || !l.carries(e.node, r.Port)) {
				continue // was cut while the frame travelled
			}
		}
		l.step(e.node, e.ev)
	}
	l.now = until
}

// sameDatabases fails unless all live nodes agree.
func (l *lab) sameDatabases() {
	l.t.Helper()
	var want [32]byte
	first := true
	for k, n := range l.nodes {
		switch got := n.DatabaseDigest(); {
		case n.dead:
		case first:
			want, first = got, false
		case got != want:
			l.t.Fatalf("database of b%d differs:\n%s", k+1, l.databaseText(k))
		}
	}
}

func (l *lab) databaseText(k int) string {
	s := ""
	for _, d := range l.nodes[k].Database() {
		s += fmt.Sprintf("%s %08x %04x\n", d.ID, d.SequenceNumber, d.Checksum)
	}
	return s
}

// fdbPort looks an address up as the kernel would.
func (n *labNode) fdbPort(vid tsn.VID, m tsn.MAC) tsn.Port {
	for _, e := range n.state.FDB {
		if e.MAC == m && e.VID == vid {
			return e.Port
		}
	}
	return tsn.NoPort
}

func (n *labNode) bridgePort(p tsn.Port) tsn.BridgePort {
	for _, q := range n.state.Ports {
		if q.Port == p {
			return q
		}
	}
	return tsn.BridgePort{}
}

// unicast follows the FDB from a node to an address and fails on a loop, a
// hole or a frame that the ingress check would drop. It returns the hops.
func (l *lab) unicast(vid tsn.VID, from int, src, dst tsn.MAC) []tsn.Hop {
	l.t.Helper()
	var hops []tsn.Hop
	at := from
	for range len(l.nodes) + 1 {
		if nodeMAC(at) == dst {
			return hops
		}
		p := l.nodes[at].fdbPort(vid, dst)
		if p == tsn.NoPort {
			l.t.Fatalf("vid %d %s to %s: no entry at b%d", vid, src, dst, at+1)
		}
		hops = append(hops, tsn.Hop{System: nodeMAC(at), Port: p})
		if l.nodes[at].bridgePort(p).Role == tsn.RoleEdge {
			return hops
		}
		next, in, up := l.peer(at, p)
		if !up {
			l.t.Fatalf("vid %d %s to %s: b%d port %d is down", vid, src, dst, at+1, p)
		}
		if l.nodes[next].fdbPort(vid, src) != in {
			l.t.Fatalf("vid %d %s to %s: ingress check of b%d port %d", vid, src, dst, next+1, in)
		}
		at = next
	}
	l.t.Fatalf("vid %d %s to %s: loop", vid, src, dst)
	return nil
}

// broadcast floods a frame from the station of a node by the forwarding rules
// of the kernel (VLAN, locked, bcast_flood). It returns how many copies leave
// by each {node, edge port} and how many copies were dropped by an ingress check.
func (l *lab) broadcast(vid tsn.VID, from int, src tsn.MAC, in tsn.Port) (copies map[tsn.Hop]int, dropped int) {
	type arrival struct {
		node int
		port tsn.Port
	}
	copies = map[tsn.Hop]int{}
	queue := []arrival{{from, in}}
	for steps := 0; len(queue) > 0; steps++ {
		if steps > 10_000 {
			l.t.Fatalf("broadcast storm from b%d", from+1)
		}
		a := queue[0]
		queue = queue[1:]
		n := l.nodes[a.node]
		if n.bridgePort(a.port).Locked && n.fdbPort(vid, src) != a.port {
			dropped++
			continue
		}
		for _, p := range n.state.Ports {
			member := false
			for _, v := range p.VLANs {
				member = member || v.VID == vid
			}
			if p.Port == a.port || !p.BcastFlood || !member {
				continue
			}
			if p.Role == tsn.RoleEdge {
				copies[tsn.Hop{System: nodeMAC(a.node), Port: p.Port}]++
			} else if to, port, up := l.peer(a.node, p.Port); up {
				queue = append(queue, arrival{to, port})
			}
		}
	}
	return copies, dropped
}

// checkForwarding checks unicast between all stations and bridges, and that a
// broadcast of each station reaches each other edge port exactly once.
func (l *lab) checkForwarding() {
	l.t.Helper()
	pairs := map[[2]int]bool{}
	for _, link := range l.links {
		if link.up {
			p := [2]int{min(link.node[0], link.node[1]), max(link.node[0], link.node[1])}
			pairs[p] = true
		}
	}
	for _, vid := range []tsn.VID{vidA, vidB} {
		for a := range l.nodes {
			for b := range l.nodes {
				if a == b {
					continue
				}
				hops := l.unicast(vid, a, stationMAC(a), stationMAC(b))
				l.unicast(vid, a, nodeMAC(a), nodeMAC(b))
				path, err := l.nodes[(a+b)%len(l.nodes)].Path(vid, stationMAC(a), stationMAC(b))
				if err != nil || fmt.Sprint(path) != fmt.Sprint(hops) {
					l.t.Fatalf("vid %d b%d to b%d: Path says %v (%v), FDB goes %v", vid, a+1, b+1, path, err, hops)
				}
			}
			copies, dropped := l.broadcast(vid, a, stationMAC(a), edgePort)
			if want := 2*len(l.nodes) - 1; len(copies) != want {
				l.t.Fatalf("vid %d: broadcast of h%d reached %d of %d edge ports", vid, a+1, len(copies), want)
			}
			for hop, n := range copies {
				if n != 1 {
					l.t.Fatalf("vid %d: broadcast of h%d: %d copies at %v", vid, a+1, n, hop)
				}
			}
			if want := 2 * (len(pairs) - (len(l.nodes) - 1)); dropped != want {
				l.t.Fatalf("vid %d: broadcast of h%d: %d excess copies, want 2*(links-(bridges-1)) = %d", vid, a+1, dropped, want)
			}
		}
	}
}

func ring(n int) [][2]int {
	var out [][2]int
	for k := range n {
		out = append(out, [2]int{k, (k + 1) % n})
	}
	return out
}

func line(n int) [][2]int { return ring(n)[:n-1] }

// random is a connected graph: a random tree and extra links, some parallel.
func random(seed uint64, n, extra int) [][2]int {
	r := prng{seed}
	var out [][2]int
	for k := 1; k < n; k++ {
		out = append(out, [2]int{int(r.below(int64(k))), k})
	}
	for len(out) < n-1+extra {
		a, b := int(r.below(int64(n))), int(r.below(int64(n)))
		if a != b {
			out = append(out, [2]int{a, b})
		}
	}
	return out
}
