// Package sim runs many switches in one process, in virtual time: the same
// node.Control and Timing machines as the daemon, the kernel of package fake,
// and a network of links with delay, jitter and loss between them. Every node
// has an oscillator of its own, off by a constant and by parts per million;
// its timers, its stamps and its gates all run on that.
//
//	         queue of things to come (one true clock)
//	            │ events                           ▲ frames, stamps, timers
//	            ▼                                  │
//	Node: Timing ──RelationChanged──> gate clock ──┤──> qbv.Clock
//	      Control ──Desired──> fake kernel ── qbv.Applied, ReadBack
//	                              │
//	                           Plane: where a data frame would go
//
// A node does what a daemon does, with the network API left out: what other
// daemons ask of it comes from Do and Ask.
//
// Same seed, same run: Trace is a hash of every event and effect of every node
// in order. Data frames take no part in time: Plane walks them over the
// kernels' state at one instant. Links have no queues but first in, first out.
//
//	queue.go    timers        clock.go   oscillators and gate clocks
//	node.go     the node      kernel.go  its kernel, as the daemon drives it
//	link.go     cables        plane.go   forwarding of data frames
//	build.go    a simulation from a network file
package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math/rand/v2"

	"tsnswitch"
)

// Network is the simulation.
type Network struct {
	Counters Counters
	// OnStep, if set, sees every step of every machine, before the effects are
	// carried out. Event and effects are valid until it returns.
	OnStep func(Step)

	requests uint64

	nodes []*Node
	names map[string]*Node
	q     queue
	now   tsn.Instant
	spins int // timers run at this instant
	rng   *rand.Rand
	trace hash.Hash
}

// Counters count frames of the machines on all links.
type Counters struct {
	Frames uint64 // delivered
	Lost   uint64 // by LinkConfig.Loss
	Cut    uint64 // on a link that went down, or to a node that is stopped
	Full   uint64 // dropped at the sender: the link was busy for too long
}

// Step is one step of one machine.
type Step struct {
	Node    *Node
	Machine Machine
	Now     tsn.Instant // of the node
	Event   tsn.Event
	Effects []tsn.Effect
}

// Machine names one of the two machines of a node.
type Machine uint8

// The machines.
const (
	Timing Machine = iota
	Control
)

func (m Machine) String() string { return [...]string{"timing", "control"}[m] }

// New returns an empty network.
func New(seed uint64) *Network {
	return &Network{names: map[string]*Node{}, rng: rand.New(rand.NewPCG(seed, 1)), trace: sha256.New()}
}

// Nodes returns every node in the order they were added.
func (n *Network) Nodes() []*Node { return n.nodes }

// Node returns the node of that name, nil if there is none.
func (n *Network) Node(name string) *Node { return n.names[name] }

// Now is true time.
func (n *Network) Now() tsn.Instant { return n.now }

// Pending is how much is in the queue; it must not grow with time.
func (n *Network) Pending() int { return n.q.Len() }

// maxSpins bounds what can happen at one instant: a machine that is never
// content would otherwise stop the clock.
const maxSpins = 1_000_000

// Run lets true time pass for ns. It panics if time cannot pass because a
// machine keeps asking for a deadline that has come.
func (n *Network) Run(ns int64) {
	until := n.now.Add(ns)
	for {
		t := n.q.next(until)
		if t == nil {
			break
		}
		if n.spins++; t.at > n.now {
			n.now, n.spins = t.at, 0
		}
		if n.spins > maxSpins {
			panic(fmt.Sprintf("sim: time stands still at %d ns", n.now))
		}
		t.run()
	}
	n.now, n.spins = until, 0
}

// Do gives an event to a node's control machine, now.
func (n *Network) Do(name string, ev tsn.Event) {
	d := n.names[name]
	n.q.at(n.now, func() { n.step(d, Control, ev) })
}

// Trace is the hash of everything that happened so far.
func (n *Network) Trace() string { return hex.EncodeToString(n.trace.Sum(nil)) }

// note feeds the trace: who, when, what came in, what came out. Frames are
// hashed as they are, everything else as JSON, which follows pointers.
func (n *Network) note(s Step) {
	fmt.Fprintf(n.trace, "%d %d %d %T", n.now, s.Node.id, s.Machine, s.Event)
	if r, ok := s.Event.(tsn.Received); ok {
		fmt.Fprintf(n.trace, " %d %d %x", r.Port, r.Ingress, r.Frame)
	} else {
		n.noteValue(s.Event)
	}
	for _, e := range s.Effects {
		fmt.Fprintf(n.trace, "\n > %T", e)
		if f, ok := e.(tsn.Send); ok {
			fmt.Fprintf(n.trace, " %d %d %d %x", f.Port, f.Priority, f.Tag, f.Frame)
		} else {
			n.noteValue(e)
		}
	}
	n.trace.Write([]byte{'\n'})
}

func (n *Network) noteValue(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sim: %T cannot be noted in the trace: %v", v, err))
	}
	n.trace.Write(text)
}
