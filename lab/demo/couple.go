package main

import (
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// A couple is two hosts that the lab measures between, and the stream from the
// first to the second.
type couple struct {
	a, b *labNode
	spec config.StreamSpec
}

// couple chooses the stream with the longest frames, one that has another
// stream back if there is such: calls go both ways. false: the network has no
// streams, or fewer than two hosts.
func (l *lab) couple() (best couple, ok bool) {
	score := func(s config.StreamSpec) (n int) {
		for _, back := range l.net.Streams {
			if back.From == s.To.String() && back.To.String() == s.From {
				n = 1 << 20
			}
		}
		return n + int(s.Size)
	}
	for _, s := range l.net.Streams {
		if !ok || score(s) > score(best.spec) {
			best, ok = couple{l.node(s.From), l.node(s.To[0]), s}, true
		}
	}
	return best, ok
}

// transit is a port on the couple's path where frames are forwarded: of the
// bridge before the last, or of the only one.
func (c couple) transit(streams []api.StreamState) (api.PathHop, bool) {
	for _, st := range streams {
		if n := len(st.Path); st.Stream.Name == c.spec.Name && n >= 2 {
			h := st.Path[max(n-2, 1)]
			h.Ifname = config.Ifname(h.Port)
			return h, true
		}
	}
	return api.PathHop{}, false
}

// noCouple is what steps say that need streams and find none.
const noCouple = "this network has no streams: nothing is measured here"
