package srpsim

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// Verdict counts pairs of a talker and a listener.
type Verdict struct {
	Reserved, Unreachable int
	Failed                [32]int // by code
}

// Total is the number of pairs that failed.
func (v Verdict) Total() (sum int) {
	for _, f := range v.Failed {
		sum += f
	}
	return sum
}

func (v Verdict) String() string {
	s := fmt.Sprintf("%d reserved, %d out of reach", v.Reserved, v.Unreachable)
	for code, f := range v.Failed {
		if f > 0 {
			s += fmt.Sprintf(", %d failed with code %d", f, code)
		}
	}
	return s
}

// ground is what should be: for each port the streams that are reserved on it,
// and those that are declared.
type ground struct {
	reserved, declared map[hop]map[tsn.StreamID]*stream
}

func (g *ground) mark(m map[hop]map[tsn.StreamID]*stream, h hop, s *stream) {
	if m[h] == nil {
		m[h] = map[tsn.StreamID]*stream{}
	}
	m[h][s.wish.StreamID] = s
}

// failure is a stream that a listener heard to have failed.
type failure struct {
	stream *stream
	at     hop
	code   tsn.FailureCode
}

// CheckSettled compares what bridges and stations have with what there is to
// find, once nothing has changed for some LeaveAll times.
func (n *Network) CheckSettled() (v Verdict, err error) {
	g := ground{map[hop]map[tsn.StreamID]*stream{}, map[hop]map[tsn.StreamID]*stream{}}
	var failures []failure
	for _, s := range n.streams {
		failures = append(failures, n.checkStream(&g, s, &v)...)
	}
	for _, f := range failures {
		if !n.justified(&g, f) {
			n.fault("%s: bridge %s port %d failed it with code %d, for which there is no reason", f.stream.wish.StreamID, f.at.bridge.name, f.at.port, f.code)
		}
	}
	for _, b := range n.bridges() {
		n.checkBridge(&g, b)
	}
	return v, n.err
}

// checkStream looks at what its listeners and its talker hear.
func (n *Network) checkStream(g *ground, s *stream, v *Verdict) (failures []failure) {
	id := s.wish.StreamID
	at := s.talker.links[0].far(s.talker)
	on := s.talks && s.talker.links[0].up
	var p *path
	if on {
		p = n.treeOf(at.node, s.wish.VID)
		n.declares(g, p, s)
	}
	ready, asking := 0, 0
	for _, l := range s.listeners {
		heard, said := l.station.offered(id), l.station.said[id]
		var way []hop
		if on {
			way = p.hops(at.node, l)
		}
		switch {
		case way == nil && heard != nil:
			n.fault("%s still hears of %s", l.name, id)
		case !l.station.wants[id]:
		case way == nil:
			if on {
				v.Unreachable++
			}
		case heard == nil:
			n.fault("%s hears nothing of %s", l.name, id)
		case heard.SameStream(s.wish) && !heard.Failed && said == mrp.ListenerReady:
			ready++
			v.Reserved++
			for _, h := range way {
				if g.mark(g.reserved, h, s); h.bridge.incapable[h.port] {
					n.fault("%s leaves %s by port %d, which keeps no time", id, h.bridge.name, h.port)
				}
			}
		case heard.SameStream(s.wish) && heard.Failed && said == mrp.ListenerAskingFailed:
			asking++
			v.Failed[heard.FailureCode%32]++
			i := slices.IndexFunc(way, func(h hop) bool { return h.bridge.mac == heard.BridgeID.System() })
			if i < 0 || heard.FailureCode == tsn.FailureNone {
				n.fault("%s hears that %s failed at %s with code %d: not on its way, or no code", l.name, id, heard.BridgeID, heard.FailureCode)
				continue
			}
			failures = append(failures, failure{s, way[i], heard.FailureCode})
		default:
			n.fault("%s hears %+v and says %s", l.name, *heard, mrp.ListenerText(said))
		}
	}
	if got, want := s.talker.station.answer[id], together(ready, asking); got != want {
		n.fault("talker %s of %s hears %s, want %s", s.talker.name, id, mrp.ListenerText(got), mrp.ListenerText(want))
	}
	return failures
}

// together is what listeners come to, of whom some can have a stream and some cannot.
func together(ready, asking int) mrp.Param {
	switch {
	case ready > 0 && asking > 0:
		return mrp.ListenerReadyFailed
	case ready > 0:
		return mrp.ListenerReady
	case asking > 0:
		return mrp.ListenerAskingFailed
	}
	return mrp.ListenerIgnore
}

// declares marks the ports on which a stream is declared: all of its tree, and
// those towards ports that are blocked.
func (n *Network) declares(g *ground, p *path, s *stream) {
	for _, b := range n.bridges() {
		if !p.in[b.id] {
			continue
		}
		for _, port := range p.egress(b, s.talker) {
			if b.links[port-1].up {
				g.mark(g.declared, hop{b, port}, s)
			}
		}
		for i, l := range b.links {
			if !n.Trees && l.inner && l.up && !n.forwards(l) && b.id < l.far(b).node.id {
				g.mark(g.declared, hop{b, tsn.Port(i + 1)}, s)
			}
		}
	}
}

// justified finds the reason of a failure.
func (n *Network) justified(g *ground, f failure) bool {
	b, l := f.at.bridge, f.at.bridge.links[f.at.port-1]
	var all, urgent tsn.Rate // held beside it, and by emergency streams
	for _, s := range g.reserved[f.at] {
		c := cost(s.wish.DataFramePriority, s.wish.MaxFrameSize, s.wish.MaxIntervalFrames)
		if all += c; s.wish.Rank == 0 {
			urgent += c
		}
	}
	w := f.stream.wish
	need := cost(w.DataFramePriority, w.MaxFrameSize, w.MaxIntervalFrames)
	switch f.code {
	case tsn.FailureBandwidth, tsn.FailureClassBandwidth:
		if w.Rank == 0 {
			return urgent+need > limit(l)
		}
		return all+need > limit(l)
	case tsn.FailurePreempted:
		return all+need > limit(l) && urgent > 0
	case tsn.FailureEgressNotAVB:
		return b.incapable[f.at.port]
	case tsn.FailureLatencyChanged: // it goes another way now, or a link became slower
		return n.flapped
	}
	return false
}

// checkBridge compares what a bridge has declared and reserved, and what it has
// told the data plane, with what should be.
func (n *Network) checkBridge(g *ground, b *node) {
	for _, s := range b.bridge.MSRPStreams() {
		for _, p := range s.Ports {
			h := hop{b, p.Port}
			if want := g.reserved[h][s.ID] != nil; p.Reserved != want {
				n.fault("%s port %d: %s reserved %v, want %v", b.name, p.Port, s.ID, p.Reserved, want)
			}
			if want := g.declared[h][s.ID] != nil; p.TalkerDeclared != want {
				n.fault("%s port %d: %s declared %v, want %v", b.name, p.Port, s.ID, p.TalkerDeclared, want)
			}
			delete(g.declared[h], s.ID)
		}
	}
	entries := map[hop]map[tsn.StreamID]bool{}
	for _, e := range b.reserved.MDB {
		i := int(e.Group[4])<<8 + int(e.Group[5])
		for _, p := range e.Ports {
			if i >= len(n.streams) || g.reserved[hop{b, p}][n.streams[i].wish.StreamID] == nil {
				n.fault("%s port %d: the entry of %s leads there", b.name, p, e.Group)
				continue
			}
			g.mark2(entries, hop{b, p}, n.streams[i].wish.StreamID)
		}
	}
	for i := range b.links {
		h := hop{b, tsn.Port(i + 1)}
		for id := range g.declared[h] {
			n.fault("%s port %d does not know %s", b.name, h.port, id)
		}
		if len(entries[h]) != len(g.reserved[h]) {
			n.fault("%s port %d: %d entries for %d streams", b.name, h.port, len(entries[h]), len(g.reserved[h]))
		}
	}
}

func (g *ground) mark2(m map[hop]map[tsn.StreamID]bool, h hop, id tsn.StreamID) {
	if m[h] == nil {
		m[h] = map[tsn.StreamID]bool{}
	}
	m[h][id] = true
}
