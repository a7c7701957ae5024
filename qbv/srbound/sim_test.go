package srbound

import (
	"math/rand/v2"

	tsn "tsnswitch"
)

// frame waits in a queue since at.
type frame struct {
	at     int64
	octets int
}

// port is an egress port, frame by frame, as 802.1Q 8.6.8 has it: of the
// queues whose gate is open, for long enough, and whose credit is not negative,
// the highest sends.
type port struct {
	Port
	slope  [8]int64 // kbit/s; 0: no shaper
	credit [8]int64 // kbit/s times ns
	queue  [8][]frame
	come   [8][]frame // what is yet to come
	worst  [8]int64
	now    int64
}

// entry returns the gates at the present time and when they change.
func (p *port) entry() (tsn.GateMask, int64) {
	t := p.now % p.Gates.CycleTime
	for _, e := range p.Gates.Entries {
		if t < e.Interval {
			return e.Gates, p.now + e.Interval - t
		}
		t -= e.Interval
	}
	panic("no entry")
}

// closes is when the gate of c, which is open, is shut.
func (p *port) closes(c int) int64 {
	q := *p
	_, end := q.entry()
	for range len(p.Gates.Entries) {
		q.now = end
		g, next := q.entry()
		if p.PerEntry || g&(1<<c) == 0 {
			return end
		}
		end = next
	}
	return end
}

// pass lets time pass until t, in which class sending (-1: none) sends.
func (p *port) pass(t int64, sending int) {
	for p.now < t {
		gates, to := p.entry()
		to = min(to, t)
		for c, slope := range p.slope {
			dt := to - p.now
			switch {
			case slope == 0:
			case c == sending:
				p.credit[c] += (slope - int64(p.Rate)) * dt
			case gates&(1<<c) != 0 && len(p.queue[c]) > 0:
				p.credit[c] += slope * dt
			case gates&(1<<c) != 0:
				p.credit[c] = min(p.credit[c]+slope*dt, max(p.credit[c], 0))
			}
		}
		p.now = to
		p.arrive()
	}
}

func (p *port) arrive() {
	for c := range p.come {
		for len(p.come[c]) > 0 && p.come[c][0].at <= p.now {
			p.queue[c] = append(p.queue[c], p.come[c][0])
			p.come[c] = p.come[c][1:]
		}
	}
}

// pick is the class that sends now, -1 if none does.
func (p *port) pick() int {
	gates, _ := p.entry()
	for c := 7; c >= 0; c-- {
		if len(p.queue[c]) == 0 || gates&(1<<c) == 0 || p.slope[c] > 0 && p.credit[c] < 0 {
			continue
		}
		if p.now+p.Rate.TransmitTime(p.queue[c][0].octets) <= p.closes(c) {
			return c
		}
	}
	return -1
}

func (p *port) run(until int64) {
	for p.arrive(); p.now < until; {
		c := p.pick()
		if c < 0 {
			p.pass(p.next(), -1)
			continue
		}
		f := p.queue[c][0]
		end := p.now + p.Rate.TransmitTime(f.octets)
		for p.now < end {
			step := end
			for _, come := range p.come {
				if len(come) > 0 {
					step = min(step, max(come[0].at, p.now+1))
				}
			}
			p.pass(step, c)
		}
		p.queue[c] = p.queue[c][1:]
		p.worst[c] = max(p.worst[c], p.now-f.at)
		if len(p.queue[c]) == 0 {
			p.credit[c] = min(p.credit[c], 0)
		}
	}
}

// next is when something changes if nothing is sent.
func (p *port) next() int64 {
	gates, next := p.entry()
	for c := range p.queue {
		if len(p.come[c]) > 0 {
			next = min(next, p.come[c][0].at)
		}
		if p.slope[c] > 0 && p.credit[c] < 0 && gates&(1<<c) != 0 {
			next = min(next, p.now+ceilDiv(-p.credit[c], p.slope[c]))
		}
	}
	return max(next, p.now+1)
}

// greedy sends as much as f allows from start on, in frames of up to most octets.
func greedy(r *rand.Rand, f Flow, most int, start, until int64) (out []frame) {
	tokens, at := int64(f.Burst)*octet, start
	for at < until && f.Burst > 0 {
		n := most
		if r.IntN(3) == 0 {
			n = 64 + r.IntN(most-63)
		}
		if n > f.Burst {
			n = f.Burst
		}
		if need := int64(n)*octet - tokens; need > 0 {
			if f.Rate == 0 {
				break
			}
			wait := ceilDiv(need, int64(f.Rate))
			at += wait
			tokens += wait * int64(f.Rate)
		}
		tokens -= int64(n) * octet
		out = append(out, frame{at, n})
	}
	return out
}
