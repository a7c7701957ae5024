package mrp

import (
	"slices"

	tsn "tsnswitch"
)

// transmit is tx!, or with LeaveAll due txLA!. What the PDUs have no room for
// waits for the next opportunity; with LeaveAll it takes txLAF!.
func (p *Participant) transmit(now tsn.Instant) {
	k := packer{p: p, all: p.leaveAll.active, w: p.writer()}
	words := p.words(k.all)
	left := k.pack(words, k.all || p.greets)
	for _, a := range words[:len(words)-len(left)] {
		if !k.all {
			a.app = p.says(a, false).next
		}
	}
	if k.all || p.greets {
		p.counters.LeaveAlls[0]++
		p.greets = false
	}
	if k.all {
		p.sentLeaveAll(now, left)
	}
	for _, a := range words {
		p.attrs.update(a)
	}
	if p.out = k.pdus; len(p.out) > 0 {
		copy(p.sentAt[:], p.sentAt[1:])
		p.sentAt[len(p.sentAt)-1] = now
	}
	p.due = tsn.Never
	if len(p.attrs.anxious) > 0 {
		// Half a JoinTime between each, and there are no more than there may be.
		p.request(now, p.cfg.Timers.Join/2)
	}
}

func (p *Participant) writer() *writer {
	w := newWriter(p.app)
	w.b[0] = p.version
	return w
}

// words lists what has to be said, ascending.
func (p *Participant) words(all bool) (out []*attribute) {
	if !all {
		return p.attrs.takeAnxious()
	}
	p.attrs.each(func(a *attribute) {
		if !p.says(a, true).say.optional() {
			out = append(out, a)
		}
	})
	return out
}

// says is what an attribute does at a transmit opportunity.
func (p *Participant) says(a *attribute, all bool) sending {
	if all && a.silent() {
		return sending{nothing, a.app}
	}
	return a.app.sends(all, p.in(a))
}

// in reports whether others are told that a is registered here. Where nothing
// ever is, they are told so, lest they repeat what nobody listens to.
func (p *Participant) in(a *attribute) bool { return p.cfg.ApplicantOnly || a.reg.in() }

// sentLeaveAll is txLA! for all attributes before left, txLAF! for the others,
// and a leave to the Registrars of this system, too.
func (p *Participant) sentLeaveAll(now tsn.Instant, left []*attribute) {
	p.leaveAll.sent()
	full := false
	p.attrs.each(func(a *attribute) {
		switch full = full || len(left) > 0 && a == left[0]; {
		case !full:
			a.app = p.says(a, true).next
		case !a.silent():
			a.app = a.app.after(causeFull, p.cfg.PointToPoint)
		}
		a.reg.left(now.Add(p.cfg.Timers.Leave))
		p.attrs.update(a)
	})
}

// packer puts what is to be said into PDUs.
type packer struct {
	p    *Participant
	all  bool
	w    *writer
	pdus [][]byte

	v     Vector // the one that is being made
	value []byte
}

// pack writes words and returns those that did not fit. LeaveAll comes first,
// for all types, in vectors without values.
func (k *packer) pack(words []*attribute, leaveAll bool) (left []*attribute) {
	for _, t := range k.p.app.Types {
		if leaveAll && k.asks(t) {
			k.w.vector(&Vector{Type: t.Type, LeaveAll: true})
		}
	}
	for len(words) > 0 {
		n := k.run(k.p.app.attributeType(words[0].value.Type), words)
		if n == 0 && !k.turn() {
			break
		}
		if n > 0 {
			k.w.vector(&k.v)
		}
		words = words[n:]
	}
	if !k.w.empty() {
		k.pdus = append(k.pdus, k.w.finish())
	}
	return words
}

// asks reports whether a LeaveAll is also for a type. Of the later versions' only
// the first PDU asks without knowing of any: to tools that know version 0 alone
// they are a puzzle.
func (k *packer) asks(t AttributeType) bool {
	if t.Version == 0 || t.Version > k.p.version {
		return t.Version == 0
	}
	return k.p.greets || slices.ContainsFunc(k.p.attrs.order, func(a *attribute) bool { return !a.gone && a.value.Type == t.Type })
}

// turn begins the next PDU, if there may be one.
func (k *packer) turn() bool {
	if len(k.pdus)+1 >= k.p.cfg.MaxBurst || k.w.empty() {
		return false
	}
	k.pdus = append(k.pdus, k.w.finish())
	k.w = k.p.writer()
	return true
}

// run makes one vector of the first n words: consecutive values, as many as
// fit. What need not be said goes along if that is shorter than a new vector.
func (k *packer) run(t *AttributeType, words []*attribute) (n int) {
	v, first := &k.v, words[0].value.Octet
	k.value = append(k.value[:0], first...)
	v.Type, v.First, v.Events, v.Params = t.Type, append(v.First[:0], first...), v.Events[:0], v.Params[:0]
	long := 0 // up to the last word
	for more := true; more && n < len(words) && len(v.Events) < maxValues; more = t.next(k.value) {
		a := words[n]
		is := a.value.Type == t.Type && a.value.Octet == string(k.value)
		if !is {
			a = k.filler(t)
		}
		if a == nil || len(v.Events)-long > 3*len(first) || k.w.size(t, len(first), len(v.Events)+1) > k.p.cfg.MaxPDU {
			break
		}
		if is {
			n, long = n+1, len(v.Events)+1
		}
		v.Events = append(v.Events, k.p.says(a, k.all).say.event(k.p.in(a)))
		v.Params = append(v.Params, a.declare)
	}
	v.Events, v.Params = v.Events[:long], v.Params[:long]
	return n
}

// filler returns the attribute of the value if it may be said, though it need not be.
func (k *packer) filler(t *AttributeType) *attribute {
	a := k.p.attrs.byValue[Value{t.Type, string(k.value)}]
	if a == nil {
		return nil
	}
	if say := k.p.says(a, k.all).say; say == nothing || !say.optional() {
		return nil
	}
	return a
}
