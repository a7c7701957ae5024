package synth

import (
	"fmt"
	"slices"

	"tsnswitch/qbv/schedule"
)

// forced says of a link whether it is the only one out of its beginning, and the only
// one into its end: talkers there, and listeners, cannot do without it.
func (r *router) forced(id schedule.LinkID) (out, in bool) {
	l := &r.m.p.Links[id]
	ways := 0
	for i := range r.m.p.Links {
		if r.m.p.Links[i].To == l.To {
			ways++
		}
	}
	return r.first[l.From+1]-r.first[l.From] == 1, ways == 1
}

// overload finds a link that the streams that cannot do without it overload,
// stream i among them: no schedule has them all. It reports whether there is one.
func (pl *Planner) overload(no *schedule.Unplaced) bool {
	const whole = 1_000_000
	for _, id := range pl.layout(pl.st, no.Stream, 0).route {
		out, in := pl.routes.forced(id)
		need, users := int64(0), []int(nil)
		for j := range pl.m.p.Streams {
			s, l := &pl.m.p.Streams[j], &pl.m.p.Links[id]
			if !(out && s.Talker == l.From) && !(in && contains(s.Listeners, l.To)) {
				continue
			}
			need += whole * (int64(max(s.Frames, 1))*l.Rate.TransmitTime(s.Size) + 2*pl.m.margin) / s.Period
			users = append(users, j)
		}
		if need <= whole || !slices.Contains(users, no.Stream) || len(users) == 1 {
			continue
		}
		users = slices.DeleteFunc(users, func(j int) bool { return j == no.Stream })
		no.Link, no.Blocking = id, users[:min(len(users), maxBlocking)]
		no.Reason = fmt.Sprintf("the streams that have no other way need %d %% of it: no schedule has them all", need*100/whole)
		return true
	}
	return false
}
