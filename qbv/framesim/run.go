package framesim

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// event is a look at a port, a frame that comes into its queue, or the next
// period of a flow.
type event struct {
	at   int64
	seq  int64 // of equal times the first made is first, but a look comes last
	what kind
	who  int32 // port or flow
	f    frame
}

type kind uint8

const (
	period kind = iota
	arrival
	look
)

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	if e.what != o.what {
		return e.what < o.what
	}
	return e.seq < o.seq
}

// burst is one period of a flow on its way.
type burst struct {
	flow  int32
	k     int64
	first int64 // start of its first frame on the first link
	hold  nature
}

// sim is one round.
type sim struct {
	*adverse
	cycle  int64
	margin int64
	flows  []flow
	ports  []port
	heap   []event
	seq    int64
	bursts []burst
	until  int64 // cycles to be played
	end    int64 // when all frames should have come, long since
	result *Result
	most   int // events
}

// Run plays the schedule. The error says why it cannot be played at all.
func Run(p *schedule.Problem, s *schedule.Solution, o Options) (*Result, error) {
	fs, err := flows(p, s)
	if err != nil {
		return nil, err
	}
	lists, err := gateLists(p, s)
	if err != nil {
		return nil, err
	}
	r := &Result{Rounds: orElse(o.Rounds, 8)}
	if !varies(p, fs) {
		r.Rounds = 1
	}
	fills := make([]port, len(p.Links))
	for round := range r.Rounds {
		w := &sim{
			adverse: newAdverse(p, o.Seed, round), cycle: s.Cycle, margin: p.SyncError + p.Jitter, flows: fs,
			until: int64(orElse(o.Cycles, 2)), ports: make([]port, len(p.Links)), result: r, most: orElse(o.MaxEvents, 1<<26),
		}
		w.open(lists)
		w.run()
		w.close(fills)
	}
	for i := range fs {
		r.Streams = append(r.Streams, *fs[i].out)
	}
	for l := range fills {
		for q := range fills[l].queues {
			if f := fills[l].queues[q].most; f.Frames > 0 {
				r.Queues = append(r.Queues, f)
			}
		}
	}
	return r, nil
}

func orElse(n, normal int) int {
	if n <= 0 {
		return normal
	}
	return n
}

func gateLists(p *schedule.Problem, s *schedule.Solution) ([]*gateList, error) {
	out := make([]*gateList, len(p.Links))
	for i := range s.Gates {
		id := s.Gates[i].Link
		if id < 0 || int(id) >= len(out) || out[id] != nil {
			return nil, fmt.Errorf("link %d does not exist or has two gate control lists", id)
		}
		g, err := newGateList(&p.Links[id], &s.Gates[i].List)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.LinkName(id), err)
		}
		out[id] = g
	}
	return out, nil
}

// open sets the stage.
func (w *sim) open(lists []*gateList) {
	for l := range w.ports {
		link := &w.p.Links[l]
		w.ports[l] = port{Link: link, gates: lists[l], clock: w.clocks[link.From], busy: -never, wake: never}
	}
	for i := range w.flows {
		f := &w.flows[i]
		for h := range f.hops {
			w.end = max(w.end, f.start(w.cycle, f.periods*w.until-1, h)+f.s.Period)
		}
		w.begin(int32(i), 0)
	}
	w.end += 2*w.cycle + w.margin + w.p.SyncError
}

// begin plans period k of a flow, if it is to be played.
func (w *sim) begin(i int32, k int64) {
	f := &w.flows[i]
	if k < f.periods*w.until {
		from := f.first(w.cycle, k) - w.margin + w.clocks[f.s.Talker]
		w.push(event{at: from, what: period, who: i, f: frame{burst: int32(len(w.bursts))}})
		w.bursts = append(w.bursts, burst{flow: i, k: k, first: never, hold: w.hold})
	}
}

func (w *sim) run() {
	for len(w.heap) > 0 && w.heap[0].at < w.end {
		if w.result.Events > w.most {
			w.result.Truncated = true
			return
		}
		switch e := w.popEvent(); e.what {
		case period:
			if !w.silent() {
				w.talk(e.f.burst)
			}
			w.begin(e.who, w.bursts[e.f.burst].k+1)
		case arrival:
			w.arrive(e.at, e.who, e.f)
		case look:
			p := &w.ports[e.who]
			if p.wake == e.at {
				p.wake = never
			}
			w.look(e.at, e.who)
		}
	}
}

// talk hands the frames of a period to the talker's ports.
func (w *sim) talk(b int32) {
	x := w.bursts[b]
	f := &w.flows[x.flow]
	f.out.Lost += int64(f.frames * len(f.s.Listeners)) // until they come
	for h := range f.hops {
		if f.hops[h].parent >= 0 {
			continue
		}
		from, ready := f.start(w.cycle, x.k, h), -never
		for i := range f.frames {
			ready = max(ready, w.handOver(w.talkers, from, from+int64(i)*f.hops[h].pace))
			w.push(event{
				at: ready + w.clocks[f.s.Talker], what: arrival, who: int32(f.hops[h].link),
				f: frame{burst: b, hop: int32(h), index: int32(i), octets: int32(w.octets(f.s)), ready: ready},
			})
		}
	}
}

// arrive puts a frame into its queue.
func (w *sim) arrive(now int64, l int32, x frame) {
	p := &w.ports[l]
	b := &w.bursts[x.burst]
	f := &w.flows[b.flow]
	if from := f.start(w.cycle, b.k, int(x.hop)); f.hops[x.hop].parent >= 0 {
		x.ready = -never
		if held, ok := w.held(b.hold); ok {
			x.ready = from + int64(x.index)*f.hops[x.hop].pace + held
		}
		if p.gates == nil {
			x.ready = max(x.ready, from-w.margin)
		}
	}
	p.queues[f.queue(b.k, int(x.hop), now-p.clock)].push(x)
	w.look(now, l)
}

// look sends a frame if one can go and otherwise says when to look again.
func (w *sim) look(now int64, l int32) {
	p := &w.ports[l]
	if now < p.busy {
		w.later(l, p.busy)
		return
	}
	q, at := p.next(now - p.clock)
	switch {
	case q >= 0:
		if until := p.inTheWay(q, now-p.clock, p.busy-p.clock); until > now-p.clock {
			if until < never {
				p.busy = until + p.clock
				w.later(l, p.busy)
			}
			return
		}
		w.send(now, l, q)
	case at < never:
		w.later(l, at+p.clock)
	}
}

// later looks at a port again at a time, unless it does before.
func (w *sim) later(l int32, at int64) {
	if p := &w.ports[l]; at < p.wake {
		p.wake = at
		w.push(event{at: at, what: look, who: l})
	}
}

// send puts the first frame of a queue on the medium.
func (w *sim) send(now int64, l int32, q int) {
	p := &w.ports[l]
	x := p.queues[q].frames[p.queues[q].head]
	p.queues[q].pop()
	tx := p.Rate.TransmitTime(int(x.octets))
	p.busy = now + tx
	w.result.Frames++
	b := &w.bursts[x.burst]
	f := &w.flows[b.flow]
	h := &f.hops[x.hop]
	w.window(f, b, int(x.hop), now-p.clock, tx)
	if h.parent < 0 {
		b.first = min(b.first, now)
	}
	end := now + tx + p.PropagationDelay
	for _, child := range h.children {
		c := x
		c.hop = int32(child)
		w.push(event{at: end + p.ProcessingDelay, what: arrival, who: int32(f.hops[child].link), f: c})
	}
	if h.listener >= 0 {
		w.listen(f, b, h.listener, int(x.index), end)
	}
	for q := range p.queues {
		if !p.queues[q].empty() {
			w.later(l, p.busy)
			return
		}
	}
}

// window notes a transmission that is not within its window.
func (w *sim) window(f *flow, b *burst, h int, local, tx int64) {
	from := f.start(w.cycle, b.k, h)
	if local < from-w.margin {
		f.out.Early++
	}
	if local+tx > from-w.margin+f.hops[h].length {
		f.out.Late++
	}
}

// listen notes a frame at its listener.
func (w *sim) listen(f *flow, b *burst, listener, index int, at int64) {
	f.out.Lost--
	if index < f.frames-1 {
		return
	}
	l := &f.out.Listeners[listener]
	latency := at - b.first
	l.Periods++
	l.Worst, l.Best = max(l.Worst, latency), min(l.Best, latency)
	if latency > f.s.Deadline {
		f.out.Missed++
	}
}

// close keeps the highest fills.
func (w *sim) close(fills []port) {
	for l := range w.ports {
		for q := range w.ports[l].queues {
			from, to := w.ports[l].queues[q].most, &fills[l].queues[q].most
			*to = Fill{schedule.LinkID(l), tsn.TrafficClass(q), max(to.Frames, from.Frames), max(to.Octets, from.Octets)}
		}
	}
}
