package dataplane

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Counters reads what every port has sent, by class, and what its classifier
// has seen, by priority. They start again when the root qdisc is made anew,
// and a class's when its shaper comes or goes.
func (k *Kernel) Counters() ([]Counters, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.k.refresh(); err != nil {
		return nil, err
	}
	qs, err := k.k.c.qdiscs()
	if err != nil {
		return nil, err
	}
	var out []Counters
	for _, p := range k.k.cfg.Ports {
		c, err := k.k.counters(p, qs)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func (k *kernel) counters(p PortConfig, qs []qdisc) (Counters, error) {
	c := Counters{Port: p.Port}
	index := k.links[p.Ifname].index
	for _, q := range qs {
		if q.index == index && q.parent == netlinkRoot {
			c.Dropped += q.dropped
			c.Oversize, c.Gates = q.dropped, q.gates
		}
		if class, ours := k.classOf(q, p.Port); ours {
			c.Class[class] = ClassCounters{Frames: q.frames, Octets: q.octets, Dropped: q.dropped, Backlog: q.backlog}
			c.Dropped += q.dropped
		}
	}
	if err := k.deviceCounters(p, &c); err != nil {
		return c, err
	}
	if !hasClsact(qs, index) {
		return c, nil
	}
	cl, err := k.c.classifier(index)
	if err != nil {
		return c, err
	}
	_, admitted, err := k.c.rules(p.Port, index)
	if err != nil {
		return c, err
	}
	for pcp, hits := range cl.hits {
		c.Priority[pcp] = hits + admitted[pcp]
	}
	_, c.Filters, err = k.c.streamFilters(p.Port, index)
	slices.SortFunc(c.Filters, func(a, b FilterCounters) int { return slices.Compare(a.ID[:], b.ID[:]) })
	return c, err
}

// deviceCounters adds what only the device knows: its gates by class, and the
// MAC merge sublayer.
func (k *kernel) deviceCounters(p PortConfig, c *Counters) error {
	if p.Preemption != nil {
		if s, err := k.mm.get(p.Ifname); err == nil {
			c.Merge = s.Counts
		}
	}
	if p.Offload != OffloadFull {
		return nil
	}
	qs, err := k.c.tcObjects(unix.RTM_GETTCLASS, k.index(p.Port))
	if err != nil {
		return fmt.Errorf("listing classes: %w", err)
	}
	cl := k.classes(p.Port)
	for _, q := range qs {
		if queue := int(q.handle&0xffff) - 1; queue >= 0 && queue < cl.queues() {
			c.Class[cl.class(queue)].Gates = q.gates
		}
	}
	return nil
}
