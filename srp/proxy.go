package srp

import (
	"cmp"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// PutProxies is an event: these, and no others, are the end stations for which
// Owner speaks at this system, because they speak no MSRP themselves (802.1Qcc
// 46.1.3: a central configuration, and bridges that stand in for the users). A
// proxied talker is declared to other bridges and stations, and answered by their
// listeners, as if its station had declared it on its port, and a proxied
// listener asks for a stream in the same way: so silent stations talk to
// stations that speak MSRP, also behind bridges of others.
//
// It is answered by one Result; what becomes of the streams is seen in MSRPStreams. The set is taken whole or refused
// whole. Generation and Dry are as in PutReservations, RequestID shares its numbers.
//
// TreesWanted names a proxied talker as heard on its port, though its station may
// have sent nothing yet. A proxy counts while its port is up. What the station itself declares counts
// beside it. Proxies last until the owner's next set: they are no state that
// ages, and a driver that restarts has to put them again.
type PutProxies struct {
	RequestID  uint64
	Owner      string // not empty, at most 255 octets
	Generation uint64
	Talkers    []ProxyTalker   // in any order
	Listeners  []ProxyListener // in any order
	Dry        bool
}

// ProxyTalker is a talker that is proxied at the port where its station is.
type ProxyTalker struct {
	Port tsn.Port
	// Talker is the declaration. Its address is that in the StreamID; Failed has to
	// be false, and AccumulatedLatency is what the station adds itself, ns.
	mrp.Talker
	// MaxLatency is what the way to a listener may take at most, ns (802.1Qcc
	// 46.2.3.6.2): beyond, the stream fails with code 21. 0: any.
	MaxLatency uint32
}

// ProxyListener asks for a stream at the port where its station is.
type ProxyListener struct {
	Port       tsn.Port
	StreamID   tsn.StreamID
	MaxLatency uint32 // as in ProxyTalker, for this listener alone
}

// proxies is what one owner has put.
type proxies struct {
	generation uint64
	talkers    []ProxyTalker
	listeners  []ProxyListener
}

// putProxies answers a PutProxies and, if it is taken, puts it in force.
func (b *bridge) putProxies(ev PutProxies) {
	set := proxies{ev.Generation, normalProxies(ev.Talkers, compareTalkers), normalProxies(ev.Listeners, compareListeners)}
	r := b.admitProxies(ev, set)
	b.emit(Result{ev.RequestID, ev.Owner, ev.Generation, r})
	if r != nil || ev.Dry {
		return
	}
	old := b.proxies[ev.Owner]
	for _, t := range old.talkers {
		b.proxyTalker(t, true)
	}
	for _, t := range set.talkers {
		b.proxyTalker(t, false)
	}
	for _, l := range old.listeners {
		b.stream(l.StreamID).out[b.index(l.Port)].proxy = nil
	}
	for _, l := range set.listeners {
		b.stream(l.StreamID).out[b.index(l.Port)].proxy = &l
	}
	if _, known := b.proxies[ev.Owner]; !known && len(b.proxies) >= b.Instance.cfg.MaxOwners {
		delete(b.proxies, b.idleOwner())
	}
	b.proxies[ev.Owner] = set
}

// idleOwner returns an owner without proxies, which is remembered only for the
// sake of its generation: the first by name, or "".
func (b *bridge) idleOwner() (name string) {
	for n, o := range b.proxies {
		if len(o.talkers)+len(o.listeners) == 0 && (name == "" || n < name) {
			name = n
		}
	}
	return name
}

func compareTalkers(a, b ProxyTalker) int {
	return cmp.Or(compareStreamID(a.StreamID, b.StreamID), cmp.Compare(a.Port, b.Port))
}

func compareListeners(a, b ProxyListener) int {
	return cmp.Or(compareStreamID(a.StreamID, b.StreamID), cmp.Compare(a.Port, b.Port))
}

// normalProxies returns a copy in order, without repetitions.
func normalProxies[T comparable](set []T, compare func(a, b T) int) []T {
	set = slices.Clone(set)
	slices.SortStableFunc(set, compare)
	return slices.Compact(set)
}

func (b *bridge) proxyTalker(t ProxyTalker, leaves bool) {
	s, port := b.stream(t.StreamID), b.index(t.Port)
	if leaves {
		b.wantTree(t.Talker, port, -1)
		s.talkers = slices.DeleteFunc(s.talkers, func(o talkerAt) bool { return o.proxy && o.port == port })
		return
	}
	b.wantTree(t.Talker, port, 1)
	s.talkers = append(s.talkers, talkerAt{wish: b.proxiedWish(t), port: port, proxy: true})
}

// admitProxies returns why a set is not taken, or nil.
func (b *bridge) admitProxies(ev PutProxies, set proxies) *Refusal {
	old, known := b.proxies[ev.Owner]
	switch {
	case ev.Owner == "" || len(ev.Owner) > 255:
		return refuse(tsn.FailureNone, tsn.StreamID{}, 0, "owner name of %d octets is outside 1..255", len(ev.Owner))
	case ev.Generation < old.generation:
		return refuse(tsn.FailureNone, tsn.StreamID{}, 0, "owner %q: proxies of generation %d are older than those of %d, which are in force",
			ev.Owner, ev.Generation, old.generation)
	case known && ev.Generation == old.generation && !(slices.Equal(set.talkers, old.talkers) && slices.Equal(set.listeners, old.listeners)):
		return refuse(tsn.FailureNone, tsn.StreamID{}, 0, "owner %q: generation %d is in force with other proxies: send a higher one", ev.Owner, ev.Generation)
	case !known && len(b.proxies) >= b.Instance.cfg.MaxOwners && b.idleOwner() == "":
		return refuse(tsn.FailureMSRPResources, tsn.StreamID{}, 0, "%d owners have proxies, no more are kept", len(b.proxies))
	}
	talkers, listeners := len(set.talkers), len(set.listeners)
	for name, o := range b.proxies { // sums: the order does not matter
		if name != ev.Owner {
			talkers, listeners = talkers+len(o.talkers), listeners+len(o.listeners)
		}
	}
	if limit := b.Instance.cfg.MaxStreams; talkers > limit || listeners > limit*len(b.ports) {
		return refuse(tsn.FailureMSRPResources, tsn.StreamID{}, 0, "%d proxied talkers and %d listeners in all, %d and %d are kept",
			talkers, listeners, limit, limit*len(b.ports))
	}
	return cmp.Or(b.checkProxyTalkers(ev.Owner, set), b.checkProxyListeners(ev.Owner, set))
}

func (b *bridge) checkProxyTalkers(owner string, set proxies) *Refusal {
	for i, t := range set.talkers {
		switch {
		case b.index(t.Port) == none:
			return refuse(tsn.FailureEgressNotAVB, t.StreamID, t.Port, "there is no such port")
		case i > 0 && set.talkers[i-1].StreamID == t.StreamID:
			return refuse(tsn.FailureStreamIDInUse, t.StreamID, t.Port, "the talker occurs twice in the request")
		case t.Failed || t.FailureCode != tsn.FailureNone:
			return refuse(tsn.FailureNone, t.StreamID, t.Port, "a talker cannot ask for a stream that has failed")
		case t.StreamID.Source().IsZero() || t.StreamID.Source().IsGroup():
			return refuse(tsn.FailureNone, t.StreamID, t.Port, "%s is not the address of a station", t.StreamID.Source())
		case t.Rank > 1 || t.DataFramePriority > 7:
			return refuse(tsn.FailureNone, t.StreamID, t.Port, "rank %d or priority %d is outside 0..1, 0..7", t.Rank, t.DataFramePriority)
		}
		for name, o := range b.proxies { // at most one has it
			at, ok := slices.BinarySearchFunc(o.talkers, t, func(a, b ProxyTalker) int { return compareStreamID(a.StreamID, b.StreamID) })
			if ok && name != owner {
				return refuse(tsn.FailureStreamIDInUse, t.StreamID, t.Port, "the talker is proxied at port %d for owner %q", o.talkers[at].Port, name)
			}
		}
	}
	return nil
}

func (b *bridge) checkProxyListeners(owner string, set proxies) *Refusal {
	for i, l := range set.listeners {
		switch {
		case b.index(l.Port) == none:
			return refuse(tsn.FailureEgressNotAVB, l.StreamID, l.Port, "there is no such port")
		case l.StreamID == (tsn.StreamID{}):
			return refuse(tsn.FailureNone, l.StreamID, l.Port, "stream id of zeros")
		case i > 0 && compareListeners(set.listeners[i-1], l) == 0:
			return refuse(tsn.FailureNone, l.StreamID, l.Port, "the listener occurs twice in the request")
		}
		for name, o := range b.proxies { // at most one has it
			if _, ok := slices.BinarySearchFunc(o.listeners, l, compareListeners); ok && name != owner {
				return refuse(tsn.FailureStreamIDInUse, l.StreamID, l.Port, "the listener is proxied for owner %q", name)
			}
		}
	}
	return nil
}
