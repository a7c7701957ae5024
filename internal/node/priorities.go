package node

import (
	"slices"

	"tsnswitch"
	"tsnswitch/srp"
)

// The queues of SR classes are for reserved streams (802.1Q 34.5): on each port
// of a bridge frames with an SR priority that belong to no stream which is
// reserved there are queued as best effort. Where the SR domain ends they lose
// the priority as they come in (6.9.4), but for streams that are reserved by
// other means than MSRP, whose talkers may be anywhere.

// guard is what that is for.
type guard struct {
	priorities tsn.PrioritySet // none: an end station, which knows its own frames
	vlans      []tsn.VID       // of SR classes, where VLANs are not this switch's
}

func guardOf(cfg Config) (g guard) {
	if cfg.SPB == nil && cfg.SRP.MSRP == nil {
		return guard{}
	}
	g.priorities = cfg.ClassMap.Of(tsn.ClassSRA, tsn.ClassSRB)
	if cfg.SPB == nil {
		for _, c := range cfg.SRP.MSRP.Classes {
			g.vlans = append(g.vlans, c.VID)
		}
		slices.Sort(g.vlans)
		g.vlans = slices.Compact(g.vlans)
	}
	return g
}

// priorityRules are those of every port, ascending.
func (c *Control) priorityRules() (out []tsn.PriorityRules) {
	guarded := c.guard.priorities
	if guarded == 0 {
		return nil
	}
	rules := map[tsn.Port]*tsn.PriorityRules{}
	for _, p := range c.ports {
		rules[p] = &tsn.PriorityRules{Port: p, Guarded: guarded, VLANs: c.guard.vlans}
	}
	for _, b := range c.boundaries {
		if r := rules[b.Port]; r != nil {
			r.Regenerated = b.Priorities & guarded
		}
	}
	for _, s := range c.SRP.Streams() {
		if !guarded.Has(s.Stream.PCP) {
			continue
		}
		for _, p := range s.Ports {
			if r := rules[p]; r != nil {
				r.Leaving = append(r.Leaving, tsn.NewStreamFilter(p, s.Stream).StreamHandle)
			}
		}
		in, known := c.comesIn(s)
		for p, r := range rules {
			if r.Regenerated.Has(s.Stream.PCP) && (p == in || !known) {
				r.Entering = append(r.Entering, tsn.NewStreamFilter(p, s.Stream).StreamHandle)
			}
		}
	}
	for _, p := range c.ports {
		r := rules[p]
		r.Leaving, r.Entering = handles(r.Leaving), handles(r.Entering)
		out = append(out, *r)
	}
	return out
}

// handles sorts them, each once: streams that frames cannot be told apart of
// have one.
func handles(hs []tsn.StreamHandle) []tsn.StreamHandle {
	slices.SortFunc(hs, tsn.CompareStreamHandles)
	return slices.Compact(hs)
}

// comesIn is the port by which a stream comes in, as far as it is known.
func (c *Control) comesIn(s srp.StreamState) (tsn.Port, bool) {
	if s.Owner == srp.MSRPOwner {
		if p := c.SRP.TalkerPort(s.Stream.ID); p != tsn.NoPort {
			return p, true
		}
	}
	if c.bridge == nil {
		return tsn.NoPort, false
	}
	return c.stationPort(s.Stream.Talker, s.Stream.VID)
}
