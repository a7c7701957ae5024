package spbsim

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
)

// frames sends data frames that take time to travel, so that tables change
// under way. Each is watched: no edge port may get it twice and no bridge
// may take it twice.
type frames struct {
	*checker
	sent int
	// quiet is the time between frames while nothing changes.
	quiet int64
}

// probe is one data frame.
type probe struct {
	id    int
	flow  flow
	taken map[End]int // copies that a bridge took, by ingress port
	left  map[End]int // copies at edge ports
	hops  int
	bad   bool
	path  string // of all copies, while there is a trace
}

// maxHops is when a probe has circled enough.
const maxHops = 500

// SendProbes begins to send data frames: one every quiet ns, and two with
// every kernel write.
func (n *Network) SendProbes(quiet int64) {
	n.frames = &frames{checker: n.checker, quiet: quiet}
	n.q.at(n.now, n.frames.tick)
}

func (s *frames) tick() {
	s.random()
	s.q.at(s.now.Add(s.quiet/2+s.jitter(s.quiet)), s.tick)
}

// stir sends frames that meet a change.
func (s *frames) stir(_ *Node, op dataplane.Op) {
	if o, ok := op.(dataplane.SetFDB); ok {
		if vid, mac := indexOf(s.vids, o.Entry.VID), s.index[o.Entry.MAC]; vid >= 0 {
			s.send(flow{vid: vid, src: mac, dst: -1, group: tsn.Broadcast})
			s.send(flow{vid: vid, src: s.sources[s.rng.IntN(len(s.sources))], dst: mac})
			return
		}
	}
	s.random()
}

func indexOf(vids []tsn.VID, v tsn.VID) int {
	for k := range vids {
		if vids[k] == v {
			return k
		}
	}
	return -1
}

func (s *frames) random() {
	f := flow{vid: s.rng.IntN(len(s.vids)), src: s.sources[s.rng.IntN(len(s.sources))], dst: -1, group: tsn.Broadcast}
	switch k := s.rng.IntN(4); {
	case k == 0:
		f.dst = s.sources[s.rng.IntN(len(s.sources))]
	case k == 1:
		if g := s.sentTo(); len(g) > 0 {
			f = g[s.rng.IntN(len(g))]
		}
	case k == 2:
		f.group = unregistered
	}
	s.send(f)
}

// sentTo are the flows of groups that somebody sends to now. A group address
// belongs to one source: what others send to it is nobody's promise.
func (s *frames) sentTo() (out []flow) {
	for _, f := range s.groups() {
		at, ok := s.origin(f.src)
		stream := slices.ContainsFunc(s.streams, func(st Stream) bool { return st.Group == f.group })
		if ok && (stream || slices.Contains(s.Nodes[at.Node].sending, groupKey{f.vid, f.group})) {
			out = append(out, f)
		}
	}
	return out
}

// talk lets a station send to everybody in each VLAN.
func (n *Network) talk(station tsn.MAC) {
	for vid := range n.vids {
		n.frames.send(flow{vid: vid, src: n.index[station], dst: -1, group: tsn.Broadcast})
	}
}

func (s *frames) send(f flow) {
	from, ok := s.origin(f.src)
	if !ok || f.dst == f.src {
		return
	}
	s.sent++
	s.Counts.Probes++
	s.arrive(&probe{id: s.sent, flow: f, taken: map[End]int{}, left: map[End]int{}}, from)
}

// arrive lets a bridge forward a probe, at once.
func (s *frames) arrive(p *probe, at End) {
	d := s.Nodes[at.Node]
	if !d.Power {
		return
	}
	v := &d.kern.view
	if !v.accepts(at.Port, &p.flow) {
		return
	}
	p.taken[at]++
	p.hops++
	s.Counts.ProbeHops++
	if s.Trace != nil {
		p.path += fmt.Sprintf(" %s:%d@%.3f", d.Name, at.Port, float64(s.now)/1e6)
	}
	if p.taken[at] > 1 {
		s.again(p, fmt.Sprintf("probe %d (%s) came to %s:%d again", p.id, s.flowText(&p.flow), d.Name, at.Port))
	}
	if p.hops > maxHops {
		return
	}
	var room [32]tsn.Port
	for _, out := range v.out(room[:0], at.Port, &p.flow) {
		e := End{at.Node, out}
		if out < firstFabric {
			if p.left[e]++; p.left[e] > 1 {
				s.again(p, fmt.Sprintf("probe %d (%s) reached %s:%d twice", p.id, s.flowText(&p.flow), d.Name, out))
			}
		}
		to, l, ok := s.over(e)
		if !ok {
			continue
		}
		side, cut := l.side(e.Node, e.Port), l.cut
		l.data[side] = max(l.data[side], s.now.Add(l.Delay))
		s.q.at(l.data[side], func() {
			if l.cut == cut {
				s.arrive(p, to)
			}
		})
	}
}

// again tells of a probe that came twice, once for each probe.
func (s *frames) again(p *probe, what string) {
	if p.bad {
		return
	}
	p.bad = true
	if s.Trace != nil {
		fmt.Fprintln(s.Trace, "probe taken by", p.path)
	}
	if p.flow.dst >= 0 && !s.promise.Unicast {
		s.Counts.Circled++
		return
	}
	s.violated("%s", what)
}
