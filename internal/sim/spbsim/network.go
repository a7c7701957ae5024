package spbsim

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"

	"tsnswitch"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
)

// Ports of every bridge: the edge port of its station, an edge port without
// one, then the fabric ports.
const (
	stationPort = tsn.Port(1)
	emptyPort   = tsn.Port(2)
	firstFabric = tsn.Port(3)
)

const (
	microsecond = int64(1_000)
	millisecond = 1_000 * microsecond
	second      = 1_000 * millisecond
)

// Times bound the random delays of a bridge, ns.
type Times struct {
	Step, StepJitter    int64 // the CPU's, for one event
	Begin, BeginJitter  int64 // from a wanted state to its first kernel write
	Write, WriteJitter  int64 // one kernel write
	Carrier             int64 // until the daemon hears of its carrier, at most
	FrameJitter         int64 // of a control frame, at most
	ReorderBy           int64 // how late a frame may be that is overtaken
	RetryAfterFailure   int64 // of a kernel write
	LossPerMille        int   // of control frames, while the network is Wild
	DuplicatePerMille   int
	ReorderPerMille     int
	WriteFailurePerMill int // of kernel writes, while the network is Wild
}

// DefaultTimes are those of a small box under load.
var DefaultTimes = Times{
	Step: 20 * microsecond, StepJitter: 200 * microsecond,
	Begin: 50 * microsecond, BeginJitter: 2 * millisecond,
	Write: 5 * microsecond, WriteJitter: 400 * microsecond,
	Carrier: millisecond, FrameJitter: 100 * microsecond, ReorderBy: 20 * millisecond,
	RetryAfterFailure: second,
}

// Network is bridges and links in virtual time.
type Network struct {
	Nodes []*Node
	Links []*Link
	Times Times
	// Wild: frames are lost, duplicated and overtaken, and kernel writes fail,
	// as Times says.
	Wild bool
	// Trace, if not nil, gets a line for everything that happens.
	Trace io.Writer
	// Cost, if not nil, does a step and says what CPU time (ns) it takes,
	// instead of Times.
	Cost func(d *Node, step func()) int64
	// Bulk: a kernel takes all steps of a state at once, after the time for all.
	Bulk bool
	// Wanted, if not nil, is told of every state that a core asks for.
	Wanted func(d *Node, f spb.Forwarding)

	now     tsn.Instant
	q       queue
	rng     *rand.Rand
	hash    hash.Hash64
	vids    []tsn.VID
	index   map[tsn.MAC]int // of every address, for the views
	macs    []tsn.MAC
	streams []Stream
	// senders of each registered group, by node: it never loses one.
	senders map[groupKey][]int
	checker *checker
	frames  *frames
	Counts  Counts
}

// Counts are what a run did.
type Counts struct {
	Steps, Frames, Lost, Duplicated, Reordered uint64
	Writes, FailedWrites, Checks               uint64
	Probes, ProbeHops                          uint64 // data frames, and the bridges they passed
	Circled                                    uint64 // unicast probes that came to a bridge twice
	LastWrite                                  tsn.Instant
}

// Node is a bridge: its daemon and its kernel.
type Node struct {
	Name  string
	Inst  *spb.Instance
	Alive bool // the daemon runs
	Power bool
	cfg   spb.Config
	board fake.Board
	id    int
	links []*Link // by port

	life     uint64 // counts daemons: what an earlier one began does not reach a later one
	busy     tsn.Instant
	deadline tsn.Instant
	kern     kernel
	stations []spb.EndStation // here now
	services []spb.Service
	sending  []groupKey // the groups of its services now
	overload bool
}

// Link joins two ports.
type Link struct {
	A, B   End
	Delay  int64 // ns, one way
	Up     bool
	Silent [2]bool // frames from A, from B are lost though the carrier is up
	Edge   bool    // a cable between two edge ports, which nobody should lay

	last  [2]tsn.Instant // FIFO: when the last frame from A, from B arrives
	heard [2]tsn.Instant // when A, B hears of the last change of carrier
	data  [2]tsn.Instant // as last, of data frames
	cut   uint64
}

// End is a port of a node.
type End struct {
	Node int
	Port tsn.Port
}

func (l *Link) side(node int, port tsn.Port) int {
	if l.A == (End{node, port}) {
		return 0
	}
	return 1
}

func (l *Link) end(side int) End {
	if side == 0 {
		return l.A
	}
	return l.B
}

// carries reports whether a frame from that side arrives.
func (l *Link) carries(side int) bool { return l.Up && !l.Silent[side] }

// Now is the virtual time.
func (n *Network) Now() tsn.Instant { return n.now }

// Hash is a digest of everything that happened so far.
func (n *Network) Hash() uint64 { return n.hash.Sum64() }

// note adds to the digest and, if asked for, to the trace.
func (n *Network) note(what string, node int, b []byte, text func() string) {
	var head [16]byte
	binary.BigEndian.PutUint64(head[:], uint64(n.now))
	binary.BigEndian.PutUint64(head[8:], uint64(node))
	n.hash.Write(head[:])
	n.hash.Write([]byte(what))
	n.hash.Write(b)
	if n.Trace != nil {
		name := "-"
		if node >= 0 {
			name = n.Nodes[node].Name
		}
		fmt.Fprintf(n.Trace, "%14.6f ms %-4s %-8s %s\n", float64(n.now)/1e6, name, what, text())
	}
}

// Say writes a line into the trace.
func (n *Network) Say(node int, what, text string) {
	n.note(what, node, []byte(text), func() string { return text })
}

func (n *Network) jitter(max int64) int64 {
	if max <= 0 {
		return 0
	}
	return n.rng.Int64N(max)
}

func (n *Network) chance(perMille int) bool { return perMille > 0 && n.rng.IntN(1000) < perMille }

// At plans something.
func (n *Network) At(t tsn.Instant, do func()) { n.q.at(t, do) }

// Run lets everything happen up to a time.
func (n *Network) Run(until tsn.Instant) {
	for {
		h, ok := n.q.next(until)
		if !ok {
			break
		}
		n.now = h.at
		h.run()
	}
	n.now = max(n.now, until)
}

// NewNetwork returns an empty network; everything random comes from seed.
func NewNetwork(seed uint64, vids []tsn.VID) *Network {
	n := &Network{
		Times: DefaultTimes, rng: rand.New(rand.NewPCG(seed, 0x5eed)), hash: fnv.New64a(),
		vids: vids, index: map[tsn.MAC]int{}, senders: map[groupKey][]int{},
	}
	return n
}

func (n *Network) macIndex(m tsn.MAC) int {
	if k, ok := n.index[m]; ok {
		return k
	}
	n.index[m] = len(n.macs)
	n.macs = append(n.macs, m)
	return len(n.macs) - 1
}
