package mrp

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
)

// attribute is what is known of one value.
type attribute struct {
	value   Value
	app     applicant
	reg     registration
	declare Param // of our declaration
	param   Param // of the registration

	anxious, idle, gone bool       // is in table.anxious, in table.idle, in no table
	prev, next          *attribute // in table.leaving
}

// forgettable reports whether nothing is known of a, on either side.
func (a *attribute) forgettable() bool {
	return a.reg.state == mt && a.reg.mode != Fixed && (a.app == vo || a.app == ao || a.app == qo)
}

// silent reports whether a neither declares nor has anything registered: a
// LeaveAll is then no reason to speak (Avnu ProAV 8.3).
func (a *attribute) silent() bool {
	return !a.app.declares() && a.reg.state == mt && a.app != la
}

// table is the attributes of a participant. A step costs what it changes: lists
// say who has a leavetimer running, who has something to say, who may be forgotten.
type table struct {
	byValue map[Value]*attribute
	order   []*attribute // all, and some that are gone; ascending if sorted
	sorted  bool
	leaving attribute    // the ring of those whose leavetimer runs, next to run out first
	anxious []*attribute // all that want to say something, and some that no longer do
	idle    []*attribute // all of which nothing is known any more, and some others
}

func newTable() *table {
	t := &table{byValue: map[Value]*attribute{}}
	t.leaving.prev, t.leaving.next = &t.leaving, &t.leaving
	t.leaving.reg.leave = tsn.Never
	return t
}

func (t *table) add(v Value, m Mode) *attribute {
	a := &attribute{value: v, reg: registration{mode: m, leave: tsn.Never}}
	t.byValue[v] = a
	t.order, t.sorted = append(t.order, a), false
	return a
}

// each visits all attributes in ascending order.
func (t *table) each(visit func(*attribute)) {
	if !t.sorted {
		t.order = slices.DeleteFunc(t.order, func(a *attribute) bool { return a.gone })
		slices.SortFunc(t.order, compareAttributes)
		t.sorted = true
	}
	for _, a := range t.order {
		if !a.gone {
			visit(a)
		}
	}
}

// compareAttributes puts values together that may share a message, then a vector.
func compareAttributes(a, b *attribute) int {
	return cmp.Or(
		cmp.Compare(a.value.Type, b.value.Type), cmp.Compare(len(a.value.Octet), len(b.value.Octet)), cmp.Compare(a.value.Octet, b.value.Octet),
	)
}

// update puts a into the lists where it belongs. LeaveTime is the same for all,
// so that the ring is in order if who begins to leave is put at its end.
func (t *table) update(a *attribute) {
	switch running := a.reg.leave != tsn.Never; {
	case running && a.next == nil:
		a.prev, a.next = t.leaving.prev, &t.leaving
		a.prev.next, a.next.prev = a, a
	case !running && a.next != nil:
		a.prev.next, a.next.prev = a.next, a.prev
		a.prev, a.next = nil, nil
	}
	if a.app.wants() && !a.anxious {
		a.anxious, t.anxious = true, append(t.anxious, a)
	}
	if a.forgettable() && !a.idle {
		a.idle, t.idle = true, append(t.idle, a)
	}
}

// expired returns those whose leavetimer has run out, ascending.
func (t *table) expired(now tsn.Instant) (out []*attribute) {
	for a := t.leaving.next; a.reg.leave <= now; a = a.next {
		out = append(out, a)
	}
	slices.SortFunc(out, compareAttributes)
	return out
}

// takeAnxious returns those that want to say something, ascending, and forgets
// that they do.
func (t *table) takeAnxious() []*attribute {
	list := t.anxious
	t.anxious = nil
	for _, a := range list {
		a.anxious = false
	}
	list = slices.DeleteFunc(list, func(a *attribute) bool { return a.gone || !a.app.wants() })
	slices.SortFunc(list, compareAttributes)
	return list
}

// forget drops attributes of which nothing is known any more.
func (t *table) forget() {
	for _, a := range t.idle {
		if a.idle = false; a.forgettable() {
			a.gone = true
			delete(t.byValue, a.value)
		}
	}
	t.idle = t.idle[:0]
	for _, list := range []*[]*attribute{&t.order, &t.anxious} {
		if len(*list) > 2*len(t.byValue)+16 {
			*list = slices.DeleteFunc(*list, func(a *attribute) bool { return a.gone })
		}
	}
}
