package synth

import (
	"tsnswitch/qbv/schedule"
)

// layout is a stream laid along one route: what it needs on each link,
// relative to the start of its first transmission if no frame ever waits.
type layout struct {
	route  []schedule.LinkID
	hops   []hop
	need   int64 // latency without waiting, without the last ProcessingDelay
	strict int64 // and with it
}

type hop struct {
	link     schedule.LinkID
	parent   int32 // index of the hop before; -1 on the first
	listener bool  // the link ends at a listener
	start    int64 // after the first start, without waiting
	dur      int64 // from the first frame's start to the last one's end
	pace     int64 // from one frame's start to the next
	gain     int64 // how much earlier a short frame is through
	step     int64 // from a start until the frame can start on the next link
	lead     int64 // from the start of the residence to the arrival of an early frame's planned time
	lies     int64 // how long before a start the link is taken
	window   int64 // and for how long: the gate window, and what must be shut before it
	tail     int64 // from a start to the last octet's arrival, margins included
	proc     int64 // ProcessingDelay of the link
	beyond   int64 // the most that start + tail becomes at a listener behind
	strictly int64 // the same with the last proc
}

// lay makes the layout of stream i along a route that schedule.RouteFault accepts.
func (m *model) lay(i int, route []schedule.LinkID) *layout {
	s := &m.p.Streams[i]
	l := &layout{route: route, hops: make([]hop, len(route))}
	frames := int64(max(s.Frames, 1))
	for h, id := range route {
		link := &m.p.Links[id]
		x := &l.hops[h]
		tx := link.Rate.TransmitTime(s.Size)
		*x = hop{link: id, parent: l.parent(m, h), step: tx + link.PropagationDelay + link.ProcessingDelay, lead: m.margin, proc: link.ProcessingDelay}
		x.pace = tx
		if x.parent >= 0 {
			up := &l.hops[x.parent]
			x.start = up.start + up.step
			x.pace = max(tx, up.pace)
			x.lead = m.margin + m.p.SyncError + up.gain
			x.gain = up.gain
		}
		if s.MinSize > 0 {
			x.gain += tx - link.Rate.TransmitTime(s.MinSize)
		}
		x.dur = (frames-1)*x.pace + tx
		x.lies = m.margin
		if x.lead > m.margin && link.MinInterval > 1 {
			// A gate that is shut for frames that may be early is so for an entry.
			x.lies += max(link.MinInterval, x.lead-m.margin)
		}
		x.window = x.lies - m.margin + max(x.dur+2*m.margin, link.MinInterval)
		x.tail = x.dur + link.PropagationDelay + 2*m.margin
		x.listener = contains(s.Listeners, link.To)
	}
	l.sumUp()
	return l
}

// sumUp finds the latencies without waiting, of the whole and behind each hop.
func (l *layout) sumUp() {
	for h := len(l.hops) - 1; h >= 0; h-- {
		x := &l.hops[h]
		if x.listener {
			x.beyond = max(x.beyond, x.start+x.tail)
			x.strictly = max(x.strictly, x.start+x.tail+x.proc)
		}
		l.need, l.strict = max(l.need, x.beyond), max(l.strict, x.strictly)
		if x.parent >= 0 {
			up := &l.hops[x.parent]
			up.beyond, up.strictly = max(up.beyond, x.beyond), max(up.strictly, x.strictly)
		}
	}
}

// parent is the hop that leads to where hop h begins; -1 at the talker.
func (l *layout) parent(m *model, h int) int32 {
	from := m.p.Links[l.route[h]].From
	for j := h - 1; j >= 0; j-- {
		if m.p.Links[l.route[j]].To == from {
			return int32(j)
		}
	}
	return -1
}

func contains(list []schedule.NodeID, n schedule.NodeID) bool {
	for _, x := range list {
		if x == n {
			return true
		}
	}
	return false
}

// path says that each hop follows the one before.
func (l *layout) path() bool {
	for h := range l.hops {
		if int(l.hops[h].parent) != h-1 {
			return false
		}
	}
	return true
}

// bare takes no more of the links than the windows.
func (l *layout) bare(m *model) {
	for h := range l.hops {
		x := &l.hops[h]
		x.lies, x.window = m.margin, x.dur+2*m.margin
	}
}
