// Package sim runs many switches in one process, in virtual time: the same
// node.Control and Timing machines as the daemon, the kernel of package fake,
// and a network of links with delay and loss between them. Every node has an
// oscillator of its own, off by a constant and by parts per million.
//
//	Network ── queue of things to come (one true clock) ──> node.Step
//	   ▲                                                      │ effects
//	   └── frames on links, egress stamps, timers <───────────┘
//
// Same seed, same run: Trace is a hash of every event of every node in order.
package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math/rand/v2"

	"tsnswitch"
	"tsnswitch/internal/node"
)

// Oscillator is a free-running LocalClock: at true time t it reads
// t*(1+PPM*1e-6) + Offset.
type Oscillator struct {
	Offset int64 // ns
	PPM    float64
}

// At reads the clock at true time t.
func (o Oscillator) At(t tsn.Instant) tsn.LocalTime {
	return tsn.LocalTime(int64(t) + o.Offset + int64(float64(t)*o.PPM*1e-6))
}

// LinkConfig joins two ports. Delay is one way in ns, the same in both
// directions; Jitter is added to it, uniformly; Loss is per frame, 0..1.
type LinkConfig struct {
	A, B         string
	APort, BPort tsn.Port
	Rate         tsn.Rate
	Delay        int64
	Jitter       int64
	Loss         float64
}

// Node is one simulated switch. Its machines may be queried between Runs.
type Node struct {
	Name    string
	Timing  *node.Timing
	Control *node.Control
	Clock   Oscillator
	// Desired is the last whole state that Control asked for.
	Desired tsn.DesiredState
	// Notices counts by kind.
	Notices map[string]int

	id    int
	ports map[tsn.Port]*link
	armed [2]tsn.Instant // deadline already in the queue, by machine
}

// link is one direction's view of a cable: frames sent by a node on a port
// arrive at peer.
type link struct {
	cfg      LinkConfig
	peer     *Node
	peerPort tsn.Port
	up       *bool // shared by both directions
}

// Network is the simulation.
type Network struct {
	// Frames counts frames delivered; Lost those that Loss took.
	Frames, Lost uint64
	// OnDesired, if set, sees every desired state as it is made.
	OnDesired func(*Node, tsn.DesiredState)

	nodes []*Node
	names map[string]*Node
	q     queue
	now   tsn.Instant
	rng   *rand.Rand
	trace hash.Hash
}

// New returns an empty network.
func New(seed uint64) *Network {
	return &Network{names: map[string]*Node{}, rng: rand.New(rand.NewPCG(seed, 1)), trace: sha256.New()}
}

// Add puts a switch into the network, with all its links down.
func (n *Network) Add(name string, cfg node.Config, clock Oscillator) (*Node, error) {
	if n.names[name] != nil {
		return nil, fmt.Errorf("sim: node %s exists", name)
	}
	timing, control, err := node.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("sim: node %s: %w", name, err)
	}
	d := &Node{
		Name: name, Timing: timing, Control: control, Clock: clock,
		Notices: map[string]int{}, id: len(n.nodes), ports: map[tsn.Port]*link{}, armed: [2]tsn.Instant{tsn.Never, tsn.Never},
	}
	n.nodes = append(n.nodes, d)
	n.names[name] = d
	n.arm(d)
	return d, nil
}

// Nodes returns every node in the order they were added.
func (n *Network) Nodes() []*Node { return n.nodes }

// Node returns the node of that name, nil if there is none.
func (n *Network) Node(name string) *Node { return n.names[name] }

// Now is true time.
func (n *Network) Now() tsn.Instant { return n.now }

// Connect lays a cable and brings it up.
func (n *Network) Connect(c LinkConfig) error {
	a, b := n.names[c.A], n.names[c.B]
	if a == nil || b == nil {
		return fmt.Errorf("sim: link %s-%s: no such node", c.A, c.B)
	}
	if a.ports[c.APort] != nil || b.ports[c.BPort] != nil {
		return fmt.Errorf("sim: link %s:%d-%s:%d: port in use", c.A, c.APort, c.B, c.BPort)
	}
	up := false
	a.ports[c.APort] = &link{cfg: c, peer: b, peerPort: c.BPort, up: &up}
	b.ports[c.BPort] = &link{cfg: c, peer: a, peerPort: c.APort, up: &up}
	n.setLink(a, c.APort, true)
	return nil
}

// SetLink cuts or mends the cable at a port; both ends notice at once.
func (n *Network) SetLink(name string, port tsn.Port, up bool) error {
	d := n.names[name]
	if d == nil || d.ports[port] == nil {
		return fmt.Errorf("sim: no cable at %s:%d", name, port)
	}
	n.setLink(d, port, up)
	return nil
}

func (n *Network) setLink(d *Node, port tsn.Port, up bool) {
	l := d.ports[port]
	if *l.up == up {
		return
	}
	*l.up = up
	for _, end := range []struct {
		node *Node
		port tsn.Port
	}{{d, port}, {l.peer, l.peerPort}} {
		n.q.at(n.now, func() {
			ev := tsn.LinkChanged{Port: end.port, Up: up, Rate: l.cfg.Rate}
			n.step(end.node, machineTiming, ev)
			n.step(end.node, machineControl, ev)
		})
	}
}

// Do queues an event for a node's control machine, now.
func (n *Network) Do(name string, ev tsn.Event) {
	d := n.names[name]
	n.q.at(n.now, func() { n.step(d, machineControl, ev) })
}

// Inject delivers a frame to a port as if it had come from the cable.
func (n *Network) Inject(name string, port tsn.Port, frame []byte) {
	d := n.names[name]
	n.q.at(n.now, func() { n.receive(d, port, frame) })
}

// Run lets time pass for ns.
func (n *Network) Run(ns int64) {
	until := n.now.Add(ns)
	for n.q.Len() > 0 && n.q.items[0].at <= until {
		it := n.q.next()
		n.now = it.at
		it.run()
	}
	n.now = until
}

// Pending is how much is in the queue; it must not grow with time.
func (n *Network) Pending() int { return n.q.Len() }

// Trace is the hash of everything that happened so far.
func (n *Network) Trace() string { return hex.EncodeToString(n.trace.Sum(nil)) }

// The machines of a node, in the order they are stepped at one instant.
const (
	machineTiming = iota
	machineControl
)

func (n *Network) machine(d *Node, which int) tsn.Machine {
	if which == machineTiming {
		return d.Timing
	}
	return d.Control
}

// step gives an event to a machine, notes it in the trace, and carries out
// what the machine asks for.
func (n *Network) step(d *Node, which int, ev tsn.Event) {
	n.note(d, which, ev)
	for _, e := range n.machine(d, which).Step(n.now, ev) {
		switch e := e.(type) {
		case tsn.Send:
			n.send(d, e)
		case node.Desired:
			d.Desired = e.State
			if n.OnDesired != nil {
				n.OnDesired(d, e.State)
			}
		case tsn.Notice:
			d.Notices[e.Kind]++
		}
	}
	n.arm(d)
}

// arm makes sure the queue has the machines' deadlines, and each only once.
func (n *Network) arm(d *Node) {
	for which := range d.armed {
		t := n.machine(d, which).Deadline()
		if t == tsn.Never || t >= d.armed[which] && d.armed[which] > n.now {
			continue
		}
		t = max(t, n.now)
		if t == d.armed[which] {
			continue
		}
		d.armed[which] = t
		n.q.at(t, func() {
			if d.armed[which] == t {
				d.armed[which] = tsn.Never
				n.step(d, which, tsn.Timeout{})
			}
		})
	}
}

// send stamps the frame, answers its tag, and puts it on the cable.
func (n *Network) send(d *Node, s tsn.Send) {
	l := d.ports[s.Port]
	if s.Tag != 0 {
		sent := tsn.Sent{Port: s.Port, Tag: s.Tag, Egress: d.Clock.At(n.now), Stamped: l != nil && *l.up}
		n.q.at(n.now, func() { n.step(d, machineTiming, sent) })
	}
	if l == nil || !*l.up {
		return
	}
	if l.cfg.Loss > 0 && n.rng.Float64() < l.cfg.Loss {
		n.Lost++
		return
	}
	delay := l.cfg.Delay
	if l.cfg.Jitter > 0 {
		delay += n.rng.Int64N(l.cfg.Jitter)
	}
	frame := append([]byte(nil), s.Frame...)
	n.q.at(n.now.Add(delay), func() {
		if *l.up {
			n.receive(l.peer, l.peerPort, frame)
		}
	})
}

// receive gives a frame to the machine it is for, as the sockets of a real
// switch do.
func (n *Network) receive(d *Node, port tsn.Port, frame []byte) {
	n.Frames++
	ev := tsn.Received{Port: port, Frame: frame, Ingress: d.Clock.At(n.now), Stamped: true}
	switch typ := etherType(frame); {
	case typ == 0x88f7:
		n.step(d, machineTiming, ev)
	case typ <= 1500:
		n.step(d, machineControl, ev)
	}
}

func etherType(frame []byte) uint16 {
	if len(frame) < 14 {
		return 0
	}
	return binary.BigEndian.Uint16(frame[12:])
}

// note feeds the trace: who, when, what.
func (n *Network) note(d *Node, which int, ev tsn.Event) {
	fmt.Fprintf(n.trace, "%d %d %d %T %+v\n", n.now, d.id, which, ev, ev)
}
