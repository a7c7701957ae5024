package synth

import (
	"slices"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// Some count a frame as in its queue from its last octet in, not from when it can
// leave, ProcessingDelay later. Where ports have queues to spare, streams that
// would meet by that count are put in different ones: it costs nothing.

// spread gives placings other queues on the links whose lists have no limit.
func (m *model) spread(at []*placing) []*placing {
	out := slices.Clone(at)
	users := make([][]int32, len(m.p.Links))
	for i, a := range at {
		if a == nil {
			continue
		}
		own := &placing{lay: a.lay, class: a.class, runs: slices.Clone(a.runs)}
		for r := range own.runs {
			own.runs[r].queues = slices.Clone(own.runs[r].queues)
		}
		out[i] = own
		for _, id := range a.lay.route {
			users[id] = append(users[id], int32(i))
		}
	}
	for id := range users {
		if l := &m.p.Links[id]; l.MaxEntries == 0 && l.Scheduled&(l.Scheduled-1) != 0 {
			m.spreadLink(schedule.LinkID(id), users[id], out)
		}
	}
	return out
}

// sharer is a queue as both ways of counting see it.
type sharer struct{ hard, soft timeline }

// spreadLink chooses a queue for each user of a link, one after the other. If
// that does not work out, all is left as it was.
func (m *model) spreadLink(id schedule.LinkID, users []int32, at []*placing) {
	var queues [tsn.MaxTrafficClasses]sharer
	chosen := make([]tsn.TrafficClass, len(users))
	for n, i := range users {
		if len(at[i].runs) > 1 {
			return // its periods may be in each other's way
		}
		h := slices.Index(at[i].lay.route, id)
		q, ok := m.choose(&queues, m.p.Links[id].Scheduled, at[i], h)
		if !ok {
			return
		}
		chosen[n] = q
		for r := range at[i].runs {
			from, to, early := m.counted(at[i], r, h)
			queues[q].hard.add(m, item{i, at[i].class, from, to - from})
			queues[q].soft.add(m, item{i, at[i].class, from - early, to - from + early})
		}
	}
	for n, i := range users {
		h := slices.Index(at[i].lay.route, id)
		for r := range at[i].runs {
			at[i].runs[r].queues[h] = chosen[n]
		}
	}
}

// counted is when run r is in the queue of hop h, and how much earlier it came in.
func (m *model) counted(at *placing, r, h int) (from, to, early int64) {
	from, to = at.resides(m, r, h)
	if up := at.lay.hops[h].parent; up >= 0 {
		early = min(at.lay.hops[up].proc, max(m.periods[at.class]-(to-from), 0))
	}
	return from, to, early
}

// choose is the highest queue that is free by both counts, or else by the one that matters.
func (m *model) choose(queues *[tsn.MaxTrafficClasses]sharer, mask tsn.GateMask, at *placing, h int) (tsn.TrafficClass, bool) {
	for _, soft := range []bool{true, false} {
		for q := len(queues) - 1; q >= 0; q-- {
			if mask.Has(tsn.TrafficClass(q)) && m.fits(&queues[q], at, h, soft) {
				return tsn.TrafficClass(q), true
			}
		}
	}
	return 0, false
}

func (m *model) fits(q *sharer, at *placing, h int, soft bool) bool {
	var units int64
	for r := range at.runs {
		from, to, early := m.counted(at, r, h)
		t := &q.hard
		if soft {
			t, from = &q.soft, from-early
		}
		if later, _ := t.wait(m, at.class, from, to-from, &units); later > 0 {
			return false
		}
	}
	return true
}
