package mrp

import (
	tsn "tsnswitch"
)

// word is what one attribute says at a transmit opportunity.
type word struct {
	attr *attribute
	sending
	event Event
}

// transmit is tx!, or with LeaveAll due txLA!. Attributes for which the PDU has
// no room wait for the next opportunity; with LeaveAll they take txLAF!.
func (p *Participant) transmit(now tsn.Instant) []byte {
	all := p.leaveAll.active
	words := p.words(all)
	w := newWriter(p.app)
	left := p.write(w, words, all)
	p.due = tsn.Never
	if all {
		p.leaveAll.sent()
		p.counters.LeaveAlls[0]++
		p.sentLeaveAll(now, words[:len(words)-left])
	}
	for _, x := range words[:len(words)-left] {
		x.attr.app = x.next
	}
	for _, x := range words[len(words)-left:] {
		if all {
			p.apply(now, x.attr, causeFull)
		}
	}
	p.again(now)
	if w.empty() {
		return nil
	}
	copy(p.sentAt[:], p.sentAt[1:])
	p.sentAt[2] = now
	p.counters.Sent++
	return w.finish()
}

// sentLeaveAll: txLA! is a leave to the Registrars of this system, too.
func (p *Participant) sentLeaveAll(now tsn.Instant, _ []word) {
	p.each(func(a *attribute) { a.reg.left(now.Add(p.cfg.Timers.Leave)) })
}

// words lists what all attributes have to say, ascending.
func (p *Participant) words(all bool) []word {
	var out []word
	p.each(func(a *attribute) {
		s := a.app.sends(all, a.reg.in())
		if all && !a.app.declares() && a.reg.state == mt && a.app != la {
			s = sending{nothing, a.app} // Avnu ProAV 8.3
		}
		out = append(out, word{a, s, s.say.event(a.reg.in())})
	})
	return out
}

// again asks for another opportunity if somebody still has something to say.
func (p *Participant) again(now tsn.Instant) {
	for _, a := range p.attrs { // any: the order does not matter
		if a.app.wants() {
			p.request(now)
			return
		}
	}
}

// write packs words into vectors and returns how many did not fit.
func (p *Participant) write(w *writer, words []word, all bool) (left int) {
	for _, t := range p.app.Types {
		n := 0
		for n < len(words) && words[n].attr.value.Type == t.Type {
			n++
		}
		if left := p.writeType(w, &t, words[:n], all); left > 0 {
			return left + len(words) - n
		}
		words = words[n:]
	}
	return 0
}

// writeType writes the words of one type. LeaveAll goes with the first vector,
// or with one that has no values.
func (p *Participant) writeType(w *writer, t *AttributeType, words []word, all bool) (left int) {
	for len(words) > 0 || all {
		for len(words) > 0 && words[0].say.optional() {
			words = words[1:]
		}
		if len(words) == 0 && !all {
			return 0
		}
		v := Vector{Type: t.Type, LeaveAll: all}
		n := p.run(t, words, w)
		if n == 0 && len(words) > 0 && !all || w.size(t, n)+len(w.b) > p.cfg.MaxPDU {
			return len(words)
		}
		for _, x := range words[:n] {
			v.Events, v.Params = append(v.Events, x.event), append(v.Params, x.attr.declare)
		}
		if n > 0 {
			v.First = []byte(words[0].attr.value.Octet)
		}
		w.vector(&v)
		if words, all = words[n:], false; n == 0 && len(words) > 0 {
			return len(words)
		}
	}
	return 0
}

// run is how many of words one vector holds: consecutive values, as many as fit,
// the last one not optional.
func (p *Participant) run(t *AttributeType, words []word, w *writer) int {
	last := 0
	var next []byte
	for i := 0; i < len(words) && i < maxValues; i++ {
		if i > 0 && string(next) != words[i].attr.value.Octet || w.size(t, i+1)+len(w.b) > p.cfg.MaxPDU || words[i].say == nothing {
			break
		}
		if !words[i].say.optional() {
			last = i + 1
		}
		if next = []byte(words[i].attr.value.Octet); !t.next(next) {
			break
		}
	}
	return last
}
