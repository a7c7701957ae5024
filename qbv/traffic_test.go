package qbv

import (
	"cmp"
	"container/heap"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
	"tsnswitch"
)

// traffic is a network in small that knows gates and queues and nothing of
// plans: each port has a FIFO for the scheduled class and an endless supply of
// best-effort frames as long as the guard band allows, which start whenever
// their gate is open and the wire idle, and end when they end. Clocks differ
// by up to SyncError, one hop of each burst is late by up to Jitter.
type traffic struct {
	problem Problem
	plan    *Schedule
	rand    *rand.Rand
	links   []trafficLink
	streams map[tsn.StreamID]StreamPath
	events  eventQueue
	worst   map[tsn.StreamID]int64
	seen    int
}

type trafficLink struct {
	list   *tsn.GateControlList
	offset int64 // of the system's clock
	busy   int64
	queue  []trafficFrame
}

type trafficFrame struct {
	stream  tsn.StreamID
	octets  int
	hop     int
	sent    int64
	lateHop int
	late    int64
}

type trafficEvent struct {
	at    int64
	seq   int
	link  int
	frame *trafficFrame // arrives, or nil: look at the port
}

type eventQueue []trafficEvent

func (q eventQueue) Len() int { return len(q) }
func (q eventQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q eventQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *eventQueue) Push(x any)   { *q = append(*q, x.(trafficEvent)) }
func (q *eventQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

// longIdle is how long before the base time every wire has been idle.
const longIdle = 1 << 40

func (n *traffic) at(at int64, link int, f *trafficFrame) {
	n.seen++
	heap.Push(&n.events, trafficEvent{at, n.seen, link, f})
}

// run sends every stream for two cycles and returns the largest latency of each.
func (n *traffic) run() map[tsn.StreamID]int64 {
	n.streams, n.worst = map[tsn.StreamID]StreamPath{}, map[tsn.StreamID]int64{}
	n.links = make([]trafficLink, len(n.problem.Links))
	offsets := map[tsn.MAC]int64{}
	for i, l := range n.problem.Links {
		if _, ok := offsets[l.From.System]; !ok {
			offsets[l.From.System] = n.rand.Int64N(n.problem.SyncError+1) - n.problem.SyncError/2
		}
		n.links[i].offset, n.links[i].busy = offsets[l.From.System], -longIdle
	}
	for i := range n.plan.Ports {
		p := &n.plan.Ports[i]
		l := n.problem.link(p.Hop)
		n.links[l].list = &p.List
		n.at(n.rand.Int64N(20_000), l, nil) // best effort begins anywhere
	}
	for _, sp := range n.problem.Streams {
		n.streams[sp.Stream.ID] = sp
	}
	end := 2 * n.plan.CycleTime
	for _, st := range n.plan.Streams {
		for at := st.InjectionOffset; at < end; at += st.Stream.Interval {
			n.inject(st.Stream, at)
		}
	}
	for len(n.events) > 0 {
		e := heap.Pop(&n.events).(trafficEvent)
		if e.frame != nil {
			n.links[e.link].queue = append(n.links[e.link].queue, *e.frame)
		}
		if e.at < end+20_000_000 {
			n.port(e.at, e.link)
		}
	}
	return n.worst
}

func (n *traffic) inject(s tsn.Stream, local int64) {
	path := n.streams[s.ID].Path
	l := n.problem.link(path[0])
	at := local - n.links[l].offset
	lateHop, late := n.rand.IntN(len(path)), n.rand.Int64N(n.problem.Jitter+1)
	for range s.MaxIntervalFrames { // late together: frames that push each other would add up
		f := trafficFrame{stream: s.ID, octets: s.WireOctets(), sent: at, lateHop: lateHop, late: late}
		if n.problem.ShortFrames && n.rand.IntN(2) == 0 {
			f.octets = 84
		}
		n.at(at, l, &f)
	}
}

// port starts what may start now.
func (n *traffic) port(now int64, i int) {
	l, link := &n.links[i], n.problem.Links[i]
	if now < l.busy {
		return // looked at again when it is idle
	}
	entry, rest := entryAt(l.list, now+l.offset)
	if len(l.queue) > 0 && entry.Gates.Has(tsn.ClassScheduled) {
		if tx := link.Rate.TransmitTime(l.queue[0].octets); tx <= n.openFor(l.list, now+l.offset) {
			f := l.queue[0]
			l.queue = l.queue[1:]
			l.busy = now + tx
			n.at(l.busy, i, nil)
			n.arrive(now+tx+link.PropagationDelay, link, f)
			return
		}
	}
	if entry.Gates.Has(tsn.ClassBestEffort) && n.problem.GuardOctets > 0 {
		l.busy = now + link.Rate.TransmitTime(n.problem.GuardOctets-n.rand.IntN(20))
		n.at(l.busy, i, nil)
		return
	}
	if len(l.queue) > 0 || n.problem.GuardOctets > 0 {
		n.at(now+rest, i, nil)
	}
}

// openFor is how long a frame may take that starts at t: to the end of the
// gate entry, or with hardware gates of the opening.
func (n *traffic) openFor(l *tsn.GateControlList, t int64) int64 {
	_, length := entryAt(l, t)
	for n.problem.HardwareGates && length < l.CycleTime {
		e, more := entryAt(l, t+length)
		if !e.Gates.Has(tsn.ClassScheduled) {
			break
		}
		length += more
	}
	return length
}

func (n *traffic) arrive(at int64, from Link, f trafficFrame) {
	path := n.streams[f.stream].Path
	f.hop++
	if f.hop == len(path) {
		n.worst[f.stream] = max(n.worst[f.stream], at-f.sent)
		return
	}
	if f.hop == f.lateHop {
		at += f.late
	}
	n.at(at+from.ProcessingDelay, n.problem.link(path[f.hop]), &f)
}

// What a plan promises holds for real frames under a flood of best effort: no
// frame takes longer than its stream's worst latency.
func TestPlansHoldUnderTraffic(t *testing.T) {
	ran := 0
	rapid.Check(t, func(t *rapid.T) {
		p := draw(t)
		p.Work = 50_000
		if p.GuardOctets == 300 {
			p.GuardOctets = 0
		}
		s, err := Plan(p)
		if err != nil {
			return
		}
		p, _ = p.normalized()
		ran++
		n := &traffic{problem: p, plan: s, rand: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))}
		worst := n.run()
		for _, st := range s.Streams {
			got := worst[st.Stream.ID]
			if got == 0 {
				t.Fatalf("stream %s never arrived", st.Stream.ID)
			}
			if got > st.WorstLatency {
				t.Fatalf("stream %s took %d ns, its worst latency is %d", st.Stream.ID, got, st.WorstLatency)
			}
		}
	})
	if ran == 0 {
		t.Error("no problem had a plan")
	}
}
