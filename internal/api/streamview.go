package api

import (
	"cmp"
	"math"
	"slices"

	"tsnswitch"
)

// MergeStreams makes one view of each stream from those of several bridges,
// ascending by id. A keeper's word on a managed stream wins.
func MergeStreams(views []StreamView) []StreamView {
	slices.SortStableFunc(views, func(a, b StreamView) int { return slices.Compare(a.Stream.ID[:], b.Stream.ID[:]) })
	out := []StreamView{}
	for len(views) > 0 {
		n := 1
		for n < len(views) && views[n].Stream.ID == views[0].Stream.ID {
			n++
		}
		out = append(out, merge(views[:n]))
		views = views[n:]
	}
	return out
}

// merge joins what bridges say of one stream.
func merge(of []StreamView) StreamView {
	v := of[0]
	for _, o := range of[1:] {
		bridges := append(v.Bridges, o.Bridges...)
		name, owner := cmp.Or(v.Stream.Name, o.Stream.Name), v.Owner
		if owner == SourceMSRP {
			owner = o.Owner
		}
		if o.speaksFor(v) {
			v = o
		}
		v.Bridges, v.Stream.Name, v.Owner = bridges, name, owner
	}
	v.Bridges = inOrder(v.Path, v.Bridges)
	v.ends()
	if v.Source == SourceMSRP {
		v.judge()
	}
	return v
}

// speaksFor reports whether v knows the stream better than o: it keeps it, or
// the talker is at its edge, or it has heard of the talker at all.
func (v StreamView) speaksFor(o StreamView) bool { return v.knows() > o.knows() }

func (v StreamView) knows() int {
	switch {
	case v.Source == SourceManaged && (len(v.Path) > 0 || v.State == StreamFailed):
		return 4
	case v.Source == SourceManaged:
		return 3
	case len(v.Bridges) == 0:
		return -1 // asked for, and that is all
	case v.Bridges[0].In == nil:
		return 0
	case v.Bridges[0].In.Edge:
		return 2
	}
	return 1
}

// inOrder puts bridges in the order in which the stream gets to them: on its
// path, or else by accumulated latency; those that it does not get to are last.
func inOrder(path []PathHop, b []StreamAt) []StreamAt {
	key := func(a StreamAt) int64 {
		i := slices.IndexFunc(path, func(h PathHop) bool { return h.System == a.System })
		switch {
		case i >= 0:
			return int64(i)
		case a.In == nil:
			return math.MaxInt64
		case a.In.Edge:
			return -1
		}
		return a.In.Latency
	}
	slices.SortStableFunc(b, func(a, b StreamAt) int {
		return cmp.Or(cmp.Compare(key(a), key(b)), slices.Compare(a.System[:], b.System[:]))
	})
	return b
}

// ends finds the ports where the stream comes in and goes out: those at which
// end stations declare it, or the last of a keeper's path.
func (v *StreamView) ends() {
	v.Talker, v.Listeners = nil, nil
	if v.Source == SourceManaged {
		if n := len(v.Path); n > 0 {
			v.Listeners = []StreamEnd{{v.Path[n-1], v.State, v.Latency}}
		}
		return
	}
	v.Latency = 0
	offered := int64(0) // to listeners that cannot have it
	for _, b := range v.Bridges {
		if b.In != nil && b.In.Edge && v.Talker == nil {
			v.Talker = b.end(*b.In, b.In.Talker)
		}
		for _, p := range b.Out {
			if p.Edge && p.Listener != "" {
				v.Listeners = append(v.Listeners, *b.end(p, p.Listener))
				if offered = max(offered, p.Latency); p.Reserved {
					v.Latency = max(v.Latency, p.Latency)
				}
			}
		}
	}
	if v.Latency == 0 {
		v.Latency = offered
	}
}

func (b StreamAt) end(p StreamPort, text string) *StreamEnd {
	return &StreamEnd{PathHop{Hop: tsn.Hop{System: b.System, Port: p.Port}, Node: b.Node, Ifname: p.Ifname}, text, p.Latency}
}

// judge says what became of a stream of MSRP, by what is said at edge ports.
func (v *StreamView) judge() {
	if len(v.Bridges) == 0 {
		v.State, v.Reason, v.Guarantee = StreamFailed, cmp.Or(v.Reason, "no bridge has heard of it yet"), guaranteeNone
		return
	}
	talker, wanted, had := false, 0, 0
	for _, b := range v.Bridges {
		talker = talker || b.In != nil
		for _, p := range b.Out {
			if p.Edge && p.Listener != "" {
				wanted++
			}
			if p.Edge && p.Listener != "" && p.Reserved {
				had++
			}
		}
	}
	v.State, v.Reason, v.Failure, v.FailureAt = StreamOffered, "no listener asks for it", tsn.FailureNone, ""
	switch {
	case !talker:
		v.State, v.Reason = StreamAwaited, "a listener asks for it, no talker offers it"
		return
	case wanted == 0:
	case had == wanted:
		v.State, v.Reason = StreamReserved, ""
		return
	case had > 0:
		v.State = StreamPartly
	default:
		v.State = StreamFailed
	}
	if had == 0 && wanted > 0 {
		v.Guarantee = guaranteeNone
	}
	if f := v.failed(); f != nil {
		v.Failure, v.FailureAt, v.Reason = f.Failure, f.FailureAt, f.Text
	} else if wanted > 0 {
		v.Reason = "the listener has not been answered yet"
	}
}

const guaranteeNone = "none: it is not reserved"

// failed is where the stream failed: at the port of a listener if there is one,
// else the first.
func (v *StreamView) failed() (first *StreamPort) {
	for i := range v.Bridges {
		b := &v.Bridges[i]
		for k := range b.Out {
			if p := &b.Out[k]; p.Talker == TalkerFailed && (first == nil || p.Edge && p.Listener != "" && first.Listener == "") {
				first = p
			}
		}
		if b.In != nil && b.In.Talker == TalkerFailed && first == nil {
			first = b.In
		}
	}
	return first
}
