package framesim

import (
	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// maxOctets is the longest frame of other traffic, on the medium.
const maxOctets = tsn.MaxFrameOctets

const never = int64(1) << 61

// frame is one frame in one queue.
type frame struct {
	burst  int32 // in sim.bursts
	hop    int32
	index  int32 // in its period
	octets int32
	ready  int64 // not sent before, by the port's clock
}

// fifo is a queue of frames.
type fifo struct {
	frames []frame
	head   int
	octets int
	most   Fill
}

func (f *fifo) empty() bool { return f.head == len(f.frames) }

func (f *fifo) push(x frame) {
	f.frames = append(f.frames, x)
	f.octets += int(x.octets)
	f.most.Frames = max(f.most.Frames, len(f.frames)-f.head)
	f.most.Octets = max(f.most.Octets, f.octets)
}

func (f *fifo) pop() {
	f.octets -= int(f.frames[f.head].octets)
	if f.head++; f.empty() {
		f.frames, f.head = f.frames[:0], 0
	}
}

// port is the egress side of a link.
type port struct {
	*schedule.Link
	gates  *gateList // nil: none
	clock  int64     // local time is true time less this
	busy   int64     // until then; true time
	wake   int64     // when it looks again; never: when a frame comes
	queues [tsn.MaxTrafficClasses]fifo
}

// next returns the queue whose frame goes at local time t, or else the time
// at which one may.
func (p *port) next(t int64) (q int, at int64) {
	at = never
	for q := p.Queues - 1; q >= 0; q-- {
		f := &p.queues[q]
		if f.empty() {
			continue
		}
		can := p.can(q, &f.frames[f.head], t)
		if can == t {
			return q, t
		}
		at = min(at, can)
	}
	return -1, at
}

// can is the first time from t on at which the first frame of q may begin.
func (p *port) can(q int, f *frame, t int64) int64 {
	t = max(t, f.ready)
	if p.gates == nil {
		return t
	}
	at, ok := p.gates.queue[q].fits(t, p.Rate.TransmitTime(int(f.octets)))
	if !ok {
		return never
	}
	return at
}

// inTheWay is until when other traffic occupies the port, if it does its worst
// against a frame of queue q that could go at local time t. idle is since when the
// port has been without a frame.
func (p *port) inTheWay(q int, t, idle int64) int64 {
	if p.gates == nil {
		return t
	}
	until := t
	for other := p.Queues - 1; other >= 0; other-- {
		if p.Scheduled.Has(tsn.TrafficClass(other)) {
			continue
		}
		until = max(until, p.blocked(&p.gates.queue[other], other > q, t, idle))
		guard := p.Guard(tsn.TrafficClass(other))
		if last, ok := p.gates.queue[other].before(t); ok && guard > 0 && last >= idle {
			until = max(until, last+p.Rate.TransmitTime(guard))
		}
	}
	return until
}

// blocked is until when a frame of maximum size that fits its gate is in the way.
// It began before t, or begins at t if its queue is above.
func (p *port) blocked(o *openings, above bool, t, idle int64) int64 {
	begin := t - 1
	if above {
		begin = t
	} else if begin < idle {
		return t
	}
	at, ok := o.at(begin)
	if !ok || at.from > begin {
		return t
	}
	if at == always && above {
		return never
	}
	if end := begin + p.Rate.TransmitTime(maxOctets); end <= at.to {
		return end
	}
	return t
}
