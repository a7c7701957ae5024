package srpsim

import (
	"cmp"
	"container/heap"
	"fmt"
	"math/rand/v2"

	"tsnswitch"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

const (
	ms     = int64(1_000_000)
	second = 1000 * ms
)

// Config of a Network.
type Config struct {
	Seed     uint64
	Topology string
	Bridges  int
	Stations int
	Streams  int
	// Listeners is how many a stream has at most; default 3.
	Listeners int
	// Trees: declarations follow shortest path trees; without it the ports that a
	// spanning tree does not need are blocked.
	Trees  bool
	Timers mrp.Timers
}

// Network is bridges and stations in virtual time.
type Network struct {
	Config
	Now tsn.Instant
	// Hash is of all frames sent, where and when.
	Hash uint64
	// Frames sent, Steps of nodes, reservations Checked.
	Frames, Steps, Checked int

	rand      *rand.Rand
	nodes     []*node
	links     []*link
	queue     queue
	pushed    uint64
	streams   []*stream
	paths     map[pathKey]*path // of the topology as it is
	low       []int             // by bridge: the lowest it reaches
	loss, dup int               // frames lost, doubled, in a thousand
	flapped   bool              // since the start
	err       error             // the first fault found
}

// node is a bridge or an end station.
type node struct {
	id      int
	name    string
	mac     tsn.MAC
	links   []*link // by port - 1
	armed   tsn.Instant
	called  tsn.Instant // the last Timeout, of how many at that time
	calls   int
	bridge  *srp.Instance
	station *station

	// Of a bridge: the trees it asked for, what it told last, whether the topology is
	// on its way to it, which ports keep no time.
	wanted    []srp.TreeKey
	reserved  srp.Reserved
	telling   bool
	incapable map[tsn.Port]bool
}

// event is a frame that arrives, a node's deadline, or something to be done.
type event struct {
	at    tsn.Instant
	order uint64
	node  *node
	port  tsn.Port
	frame []byte
	do    func()
}

type queue []event

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].order, q[j].order)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return e
}

// New returns a network whose links are all up and whose stations want nothing yet.
func New(c Config) *Network {
	c.Listeners = cmp.Or(c.Listeners, 3)
	n := &Network{Config: c, Hash: 14695981039346656037, rand: rand.New(rand.NewPCG(c.Seed, 42))}
	for i := range c.Bridges {
		n.nodes = append(n.nodes, &node{
			id: i, name: fmt.Sprintf("b%d", i), mac: tsn.MAC{2, 0, 0, 0xb, byte(i >> 8), byte(i)},
			armed: tsn.Never, bridge: &srp.Instance{}, incapable: map[tsn.Port]bool{},
		})
	}
	for _, p := range n.neighbours() {
		n.connect(n.nodes[p[0]], n.nodes[p[1]])
	}
	for i := range c.Stations {
		s := &node{
			id: c.Bridges + i, name: fmt.Sprintf("s%d", i), mac: tsn.MAC{2, 0, 0, 1, byte(i >> 8), byte(i)}, armed: tsn.Never,
			station: newStation(mrp.Config{PointToPoint: true, Seed: c.Seed<<20 + uint64(i), Timers: c.Timers, MaxAttributes: 8 * max(c.Streams, 100)}),
		}
		n.nodes = append(n.nodes, s)
		n.connect(n.nodes[n.rand.IntN(c.Bridges)], s)
	}
	for _, b := range n.bridges() {
		n.restart(b)
	}
	for _, s := range n.nodes[c.Bridges:] {
		n.stationLink(s, true)
	}
	n.makeStreams()
	return n
}

func (n *Network) bridges() []*node  { return n.nodes[:n.Bridges] }
func (n *Network) stations() []*node { return n.nodes[n.Bridges:] }

// restart makes a bridge forget everything. Its links stay up, and so does what
// the kernel keeps: blocked ports.
func (n *Network) restart(b *node) {
	c := srp.Config{
		MaxStreams: 8 * max(n.Streams, 100), MaxGroups: 8 * max(n.Streams, 100),
		MSRP: &srp.MSRPConfig{
			BridgeID: tsn.MakeBridgeID(0x8000, b.mac), ASCapable: true, Trees: n.Trees, Timers: n.Timers, Seed: n.Seed<<20 + n.rand.Uint64N(1<<20),
		},
	}
	for i := range b.links {
		c.Ports = append(c.Ports, srp.PortConfig{Port: tsn.Port(i + 1)})
	}
	m, err := srp.New(c)
	if err != nil {
		panic(err)
	}
	b.bridge, b.wanted, b.reserved = m, nil, srp.Reserved{}
	if !n.Trees {
		n.step(b, srp.SetBlocked{Ports: n.blocked(b)})
	}
	for i, l := range b.links {
		if l.up {
			n.linkChanged(b, tsn.Port(i+1), l)
		}
	}
}

func (n *Network) linkChanged(b *node, p tsn.Port, l *link) {
	n.step(b, srp.SetASCapable{Port: p, Capable: l.up && !b.incapable[p], LinkDelay: 500})
	n.step(b, tsn.LinkChanged{Port: p, Up: l.up, Rate: l.rate})
}

func (n *Network) push(e event) {
	n.pushed++
	e.order = n.pushed
	heap.Push(&n.queue, e)
}

// after has something done later.
func (n *Network) after(d int64, do func()) { n.push(event{at: n.Now.Add(d), do: do}) }

// Run lets time pass. It stops at the first fault found, and returns it.
func (n *Network) Run(d int64) error {
	until := n.Now.Add(d)
	for n.err == nil && len(n.queue) > 0 && n.queue[0].at <= until {
		e := heap.Pop(&n.queue).(event)
		n.Now = e.at
		switch {
		case e.do != nil:
			e.do()
		case e.frame != nil:
			n.deliver(e)
		case e.at == e.node.armed:
			e.node.armed = tsn.Never
			n.tick(e.node)
		}
	}
	n.Now = until
	return n.err
}

// arm sees to it that a node is called at its deadline.
func (n *Network) arm(x *node, at tsn.Instant) {
	if at = max(at, n.Now); at < x.armed {
		x.armed = at
		n.push(event{at: at, node: x})
	}
}

func (n *Network) deliver(e event) {
	if !e.node.links[e.port-1].up {
		return
	}
	if e.node.bridge != nil {
		n.step(e.node, tsn.Received{Port: e.port, Frame: e.frame})
		return
	}
	n.Steps++
	s := e.node.station
	if pdu, ok := application.PDU(e.frame); ok {
		s.take(n.Now, s.Receive(n.Now, pdu))
	}
	n.arm(e.node, s.Deadline())
}

func (n *Network) tick(x *node) {
	if x.calls++; x.called != n.Now {
		x.called, x.calls = n.Now, 0
	}
	if x.calls > 1000 {
		n.fault("%s wants to be called again, and again", x.name)
		return
	}
	if x.bridge != nil {
		n.step(x, tsn.Timeout{})
		return
	}
	n.Steps++
	s := x.station
	for more := true; more && s.Deadline() <= n.Now; {
		pdu, told := s.Tick(n.Now)
		if more = pdu != nil; more {
			n.send(x, 1, application.Frame(x.mac, pdu))
		}
		s.take(n.Now, told)
	}
	n.arm(x, s.Deadline())
}

// step lets a bridge handle an event, does what it says and looks at what it holds.
func (n *Network) step(b *node, ev tsn.Event) {
	n.Steps++
	check := false
	for _, e := range b.bridge.Step(n.Now, ev) {
		switch e := e.(type) {
		case tsn.Send:
			n.send(b, e.Port, e.Frame)
		case srp.Reserved:
			b.reserved, check = e, true
		case srp.TreesWanted:
			b.wanted = e.Keys
			n.tell(b)
		}
	}
	if _, link := ev.(tsn.LinkChanged); link || check {
		n.checkLimits(b)
	}
	n.arm(b, b.bridge.Deadline())
}

// send puts a frame on a link, which may lose or double it.
func (n *Network) send(from *node, port tsn.Port, frame []byte) {
	n.Frames++
	n.mix(uint64(n.Now), uint64(from.id)<<16|uint64(port))
	for _, x := range frame {
		n.Hash = (n.Hash ^ uint64(x)) * 1099511628211
	}
	l := from.links[port-1]
	if !l.up || n.rand.IntN(1000) < n.loss {
		return
	}
	to := l.far(from)
	n.push(event{at: n.Now.Add(1000), node: to.node, port: to.port, frame: frame})
	if n.rand.IntN(1000) < n.dup {
		n.push(event{at: n.Now.Add(1000 + n.rand.Int64N(5*ms)), node: to.node, port: to.port, frame: frame})
	}
}

// mix adds to Hash, which is FNV-1a.
func (n *Network) mix(v ...uint64) {
	for _, x := range v {
		for ; x != 0; x >>= 8 {
			n.Hash = (n.Hash ^ x&0xff) * 1099511628211
		}
	}
}

func (n *Network) fault(format string, a ...any) {
	if n.err == nil {
		n.err = fmt.Errorf("%v: %s", n.Now, fmt.Sprintf(format, a...))
	}
}
