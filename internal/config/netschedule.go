package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tsnswitch"
	"tsnswitch/qbv/schedule"
)

// How streams share a queue.
const (
	IsolateFrames = "frame"
	InOrder       = "order"
)

func (n *Network) checkQBV(d *document) {
	q := n.QBV
	within(d, "qbv.jitter", q.Jitter, 0, 1e9)
	within(d, "qbv.syncError", q.SyncError, 0, 1e9)
	within(d, "qbv.guard", q.Guard, 0, 1<<16)
	within(d, "qbv.minInterval", q.MinInterval, 0, 1e9)
	within(d, "qbv.maxCycle", q.MaxCycle, 1, schedule.DefaultMaxCycle)
	checkMaxSDU(d, "qbv.maxSdu", q.MaxSDU, tsn.MaxTrafficClasses)
	d.oneOf("qbv.isolation", q.Isolation, IsolateFrames, InOrder)
	checkQueues(d, "qbv", q.Queues, q.Scheduled)
	within(d, "qbv.control.queue", q.Control.Queue, 0, max(q.Queues-1, 0))
	within(d, "qbv.control.size", q.Control.Size, 0, 1<<16)
	for i := range n.Links {
		l, key := &n.Links[i], fmt.Sprintf("links[%d]", i)
		if l.Queues != 0 || l.Scheduled != nil {
			queues, scheduled := n.queuesOf(l)
			checkQueues(d, key, queues, scheduled)
		}
		if l.Guard != nil {
			within(d, key+".guard", *l.Guard, 0, 1<<16)
		}
	}
}

func checkQueues(d *document, key string, queues int, scheduled []int) {
	within(d, key+".queues", queues, 1, tsn.MaxTrafficClasses)
	within(d, key+".scheduled", len(scheduled), 1, tsn.MaxTrafficClasses)
	for i, q := range scheduled {
		within(d, fmt.Sprintf("%s.scheduled[%d]", key, i), q, 0, max(queues-1, 0))
	}
}

func (s *StreamSpec) checkPlan(d *document, key string) {
	within(d, key+".minSize", s.MinSize, 0, s.Size)
	within(d, key+".jitter", s.Jitter, 0, 10e9)
	within(d, key+".rank", s.Rank, 0, 1<<30)
	switch n := len(s.Release); {
	case n != 0 && n != 2:
		d.bad(key+".release", "has %d times; write the first and the last, like [0us, 250us]", n)
	case n == 2 && (s.Release[0] < 0 || s.Release[1] < s.Release[0] || s.Release[1] >= s.Every):
		d.bad(key+".release", "%s..%s is not within the interval of %s", s.Release[0], s.Release[1], s.Every)
	}
}

// LoadStreams puts the streams of another file, which has only those, in place
// of the network's own.
func (n *Network) LoadStreams(file string, data []byte) error {
	var doc struct {
		Streams []StreamSpec `yaml:"streams"`
	}
	d, ok := decode(file, data, &doc)
	if !ok || len(d.errs) > 0 {
		return d.err()
	}
	n.Streams = doc.Streams
	n.resolveStreams()
	n.checkStreams(d)
	return d.err()
}

// ScheduleProblem puts the network in the terms of a schedule. Streams outside
// the scheduled class are shaped, not gated: they are left out. The i-th stream
// of the network has ID i.
func (n *Network) ScheduleProblem() (*schedule.Problem, error) {
	q := n.QBV
	p := &schedule.Problem{Name: n.Name, SyncError: int64(q.SyncError), Jitter: int64(q.Jitter), MaxCycle: int64(q.MaxCycle)}
	if q.Isolation == InOrder {
		p.Isolation = schedule.InOrder
	}
	nodes := map[string]schedule.NodeID{}
	for i, x := range n.Nodes {
		nodes[x.Name] = schedule.NodeID(i)
		p.Nodes = append(p.Nodes, schedule.Node{Name: x.Name, System: x.SystemID, Bridge: x.Kind == KindBridge})
	}
	for i := range n.Links {
		l := &n.Links[i]
		p.Links = append(p.Links, n.direction(l, l.A, l.B, nodes), n.direction(l, l.B, l.A, nodes))
	}
	for i, s := range n.Streams {
		if tsn.DefaultClassMap[s.PCP] == tsn.ClassScheduled {
			p.Streams = append(p.Streams, n.stream(i, s, nodes))
		}
	}
	return p, n.explain(p.Validate())
}

// explain names a stream as the file does.
func (n *Network) explain(err error) error {
	var e *schedule.Error
	if !errors.As(err, &e) {
		return err
	}
	if id, is := strings.CutPrefix(e.Where, "stream "); is {
		if i, bad := strconv.Atoi(id); bad == nil && i < len(n.Streams) {
			return fmt.Errorf("stream %s: %s", n.Streams[i].Name, e.Reason)
		}
	}
	return err
}

func (n *Network) queuesOf(l *Link) (queues int, scheduled []int) {
	queues, scheduled = n.QBV.Queues, n.QBV.Scheduled
	if l.Queues != 0 {
		queues = l.Queues
	}
	if l.Scheduled != nil {
		scheduled = l.Scheduled
	}
	return queues, scheduled
}

func (n *Network) direction(l *Link, a, b End, nodes map[string]schedule.NodeID) schedule.Link {
	q := n.QBV
	queues, scheduled := n.queuesOf(l)
	out := schedule.Link{
		From: nodes[a.Node], To: nodes[b.Node], FromPort: a.Port, Rate: l.Rate.Rate(),
		PropagationDelay: int64(l.Prop), ProcessingDelay: int64(n.Node(b.Node).Proc),
		Queues: queues, GuardOctets: int(n.guard(l)), MaxEntries: n.Node(a.Node).GateLimit,
		MinInterval: int64(q.MinInterval), Software: q.Software,
	}
	for _, c := range scheduled {
		out.Scheduled |= 1 << c
	}
	if q.Software && out.MinInterval == 0 {
		out.MinInterval = out.Rate.TransmitTime(60) // software taprio takes none shorter
	}
	others := tsn.GateMask(1<<queues-1) &^ out.Scheduled
	if c := tsn.TrafficClass(q.Control.Queue); q.Control.Size > 0 && int(c) < queues && !out.Scheduled.Has(c) {
		out.Control, out.ControlOctets = c, int(q.Control.Size)
		others &^= 1 << c // gPTP is in it: nothing may interrupt its frames
	}
	if q.Preemption {
		out.Preemptible = others
	}
	for c, s := range q.MaxSDU[:min(len(q.MaxSDU), queues)] {
		if s > 0 && !out.Scheduled.Has(tsn.TrafficClass(c)) {
			out.MaxSDU[c] = int(s) + sduOverhead
		}
	}
	return out
}

// sduOverhead is what a frame on the medium is longer than the octets behind
// its Ethernet header, of which a tag is one part.
const sduOverhead = tsn.FrameOverhead - 4

func (n *Network) guard(l *Link) Size {
	if l.Guard != nil {
		return *l.Guard
	}
	return n.QBV.Guard
}

func (n *Network) stream(id int, s StreamSpec, nodes map[string]schedule.NodeID) schedule.Stream {
	t := n.tsnStream(s)
	out := schedule.Stream{
		ID: id, Name: s.Name, StreamID: s.ID, Talker: nodes[s.From], Size: t.WireOctets(), Frames: int(s.Frames),
		Period: int64(s.Every), Deadline: int64(s.Within), Jitter: int64(s.Jitter), Rank: s.Rank,
	}
	if s.MinSize != 0 {
		t.MaxFrameSize = uint16(s.MinSize)
		out.MinSize = t.WireOctets()
	}
	for _, to := range s.To {
		out.Listeners = append(out.Listeners, nodes[to])
	}
	if len(s.Release) == 2 {
		out.Release = [2]int64{int64(s.Release[0]), int64(s.Release[1])}
	}
	return out
}
