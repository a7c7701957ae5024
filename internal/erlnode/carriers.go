package erlnode

import (
	"context"
	"sync"
	"time"

	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/internal/api"
)

const (
	carrierWithin = 2 * time.Second
	maxCarriers   = 1000 // connections of one peer that are shown
)

// Carriers asks each connected node for its distlink connections, as
// distlink_server answers them. Nodes without one are left out.
func Carriers(ctx context.Context, node *hidden.Node) []api.DistLink {
	ctx, cancel := context.WithTimeout(ctx, carrierWithin)
	defer cancel()
	peers := node.Peers()
	found := make([][]api.DistLink, len(peers))
	var all sync.WaitGroup
	for i, peer := range peers {
		all.Go(func() {
			if answer, err := node.Call(ctx, "distlink", peer, erldist.Atom("stats")); err == nil {
				found[i] = carriers(peer, answer)
			}
		})
	}
	all.Wait()
	out := []api.DistLink{}
	for _, links := range found {
		out = append(out, links...)
	}
	return out
}

// carriers reads {ok, [{Peer, Stats}]}; what is something else is left out.
func carriers(local string, answer erldist.Term) (out []api.DistLink) {
	t, _ := answer.(erldist.Tuple)
	if len(t) != 2 || t[0] != erldist.Term(atomOK) {
		return nil
	}
	list, _ := t[1].(erldist.List)
	for _, e := range list[:min(len(list), maxCarriers)] {
		pair, _ := e.(erldist.Tuple)
		if len(pair) != 2 {
			continue
		}
		peer, isAtom := pair[0].(erldist.Atom)
		stats, isMap := pair[1].(erldist.Map)
		if isAtom && isMap {
			out = append(out, carrier(local, string(peer), stats))
		}
	}
	return out
}

func carrier(local, peer string, stats erldist.Map) api.DistLink {
	n := func(key string) uint64 {
		if v, ok := lookup(stats, key).(int64); ok && v > 0 {
			return uint64(v)
		}
		return 0
	}
	word := func(key string) string {
		switch v := lookup(stats, key).(type) {
		case erldist.Atom:
			return string(v)
		case []byte:
			return string(v)
		}
		return ""
	}
	return api.DistLink{
		Local: local, Peer: peer, State: "distlink", StreamID: word("stream"),
		RTT: int64(n("rtt_us")) * int64(time.Microsecond), Sent: n("messages_sent"), Received: n("messages_received"), Retransmits: n("retransmitted"),
		Carrier: &api.DistCarrier{
			Rate: n("rate"), Queued: n("queued"), InFlight: n("in_flight"), Streams: n("streams"), Suspended: n("vm_suspended"),
			Security: word("security"), Control: n("waiting_control"), Configured: n("waiting_configured"), Bulk: n("waiting_bulk"),
		},
	}
}

func lookup(m erldist.Map, key string) erldist.Term {
	for _, p := range m {
		if p.Key == erldist.Term(erldist.Atom(key)) {
			return p.Value
		}
	}
	return nil
}
