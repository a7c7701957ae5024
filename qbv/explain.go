package qbv

import (
	"cmp"
	"fmt"
	"slices"

	"tsnswitch"
)

// blockers counts collisions by link and remembers with whom.
type blockers struct {
	links []blockedLink
}

type blockedLink struct {
	link, count int
	tasks       []int
}

const maxBlocking = 8

func (b *blockers) add(link, task int) {
	i := slices.IndexFunc(b.links, func(l blockedLink) bool { return l.link == link })
	if i < 0 {
		i = len(b.links)
		b.links = append(b.links, blockedLink{link: link})
	}
	l := &b.links[i]
	l.count++
	if task != controlTask && len(l.tasks) < maxBlocking && !slices.Contains(l.tasks, task) {
		l.tasks = append(l.tasks, task)
	}
}

// blocked names the link with most collisions.
func (pl *planner) blocked(i int, b blockers, reason string) *Infeasible {
	e := &Infeasible{Stream: pl.problem.Streams[i].Stream.ID, Reason: reason}
	if len(b.links) == 0 {
		return e
	}
	worst := slices.MaxFunc(b.links, func(x, y blockedLink) int { return cmp.Or(cmp.Compare(x.count, y.count), cmp.Compare(y.link, x.link)) })
	e.Link = pl.problem.Links[worst.link].From
	for _, t := range worst.tasks {
		e.Blocking = append(e.Blocking, pl.problem.Streams[t].Stream.ID)
	}
	slices.SortFunc(e.Blocking, compareID)
	return e
}

func (pl *planner) incompatible(i int, h *taskHop, r reservation, g int64) *Infeasible {
	e := &Infeasible{Stream: pl.problem.Streams[i].Stream.ID, Link: pl.problem.Links[h.link].From}
	who := "control traffic"
	if r.task != controlTask {
		id := pl.problem.Streams[r.task].Stream.ID
		who = "the other"
		e.Blocking = []tsn.StreamID{id}
	}
	e.Reason = fmt.Sprintf("can never avoid %s: intervals of %d and %d ns leave %d ns in common, windows of %d and %d ns are needed",
		who, pl.tasks[i].period, r.period, g, h.length, r.length)
	return e
}
