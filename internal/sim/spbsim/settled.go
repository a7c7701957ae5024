package spbsim

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// Settled says what is not as it shall be when nothing has happened for a
// while: databases, ways, deliveries. nil: all is well.
func (n *Network) Settled() error {
	if err := n.sameDatabases(); err != nil {
		return err
	}
	for vid, b := range n.Nodes[0].cfg.BaseVIDs {
		routes := n.routes(b.Algorithm)
		if err := n.streamsDelivered(vid, routes); err != nil {
			return err
		}
		for from, d := range n.Nodes {
			if !d.Alive {
				continue
			}
			if err := n.servicesDelivered(vid, from, routes[from]); err != nil {
				return err
			}
			if err := n.unicastsFrom(vid, from, routes[from]); err != nil {
				return err
			}
			for _, s := range d.stations {
				if err := n.floodFrom(vid, from, n.index[s.MAC], routes); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (n *Network) sameDatabases() error {
	for _, l := range n.Links {
		if !n.usable(l) {
			continue
		}
		a, b := n.Nodes[l.A.Node], n.Nodes[l.B.Node]
		if a.Inst.DatabaseDigest() != b.Inst.DatabaseDigest() {
			return fmt.Errorf("the databases of %s and %s differ", a.Name, b.Name)
		}
	}
	return nil
}

// unicastsFrom sends a frame from each address of a bridge to every other
// address, and compares the bridges it passes with the oracle.
func (n *Network) unicastsFrom(vid, from int, routes []*route) error {
	d := n.Nodes[from]
	for to, r := range routes {
		if r == nil || to == from {
			continue
		}
		far := n.Nodes[to]
		if err := n.follow(&flow{vid: vid, src: n.index[d.cfg.SystemID], dst: n.index[far.cfg.SystemID]}, r, tsn.NoPort); err != nil {
			return err
		}
		for _, a := range d.stations {
			for _, b := range far.stations {
				if err := n.follow(&flow{vid: vid, src: n.index[a.MAC], dst: n.index[b.MAC]}, r, b.Port); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// follow walks the way of a unicast frame; last is the edge port it leaves by.
func (n *Network) follow(f *flow, r *route, last tsn.Port) error {
	fail := func(format string, a ...any) error {
		return fmt.Errorf("%s (want bridges %v): %s", n.flowText(f), n.names(r.nodes), fmt.Sprintf(format, a...))
	}
	at, in := r.nodes[0], tsn.NoPort
	for hop := 0; ; hop++ {
		d := n.Nodes[at]
		v := &d.kern.view
		if in != tsn.NoPort && !v.accepts(in, f) {
			return fail("%s:%d does not take it", d.Name, in)
		}
		if hop >= len(r.nodes) || at != r.nodes[hop] {
			return fail("it passes %s", d.Name)
		}
		end := hop == len(r.nodes)-1
		if end && last == tsn.NoPort {
			return nil // the bridge's own address
		}
		p := v.fdb[f.vid][f.dst]
		if end {
			if p != last || !v.member[f.vid][p] {
				return fail("it leaves %s by port %d, not %d", d.Name, p, last)
			}
			return nil
		}
		if p < firstFabric || !v.member[f.vid][p] {
			return fail("%s has no way", d.Name)
		}
		to, l, ok := n.over(End{at, p})
		if !ok || !n.rightLink(l, at, to.Node) {
			return fail("%s uses port %d", d.Name, p)
		}
		at, in = to.Node, to.Port
	}
}

// rightLink: of parallel links the cheapest counts, among equals the one with
// the lowest port number at the bridge with the lower BridgeID.
func (n *Network) rightLink(l *Link, a, b int) bool {
	ca, cb := &n.Nodes[a].cfg, &n.Nodes[b].cfg
	ida, idb := tsn.MakeBridgeID(ca.Priority, ca.SystemID), tsn.MakeBridgeID(cb.Priority, cb.SystemID)
	low := a
	if slices.Compare(idb[:], ida[:]) < 0 {
		low = b
	}
	rank := func(l *Link) (metric uint64, port tsn.Port) {
		port = l.A.Port
		if l.B.Node == low {
			port = l.B.Port
		}
		return max(n.portMetric(l.A), n.portMetric(l.B)), port
	}
	m, p := rank(l)
	for _, o := range n.Links {
		if !n.usable(o) || !(o.A.Node == a && o.B.Node == b || o.A.Node == b && o.B.Node == a) {
			continue
		}
		if om, op := rank(o); om < m || om == m && op < p {
			return false
		}
	}
	return true
}

func (n *Network) names(nodes []int) (s []string) {
	for _, k := range nodes {
		s = append(s, n.Nodes[k].Name)
	}
	return s
}

// floodFrom checks that a broadcast reaches each edge port of the bridges in
// reach exactly once. Ports that have no ingress check carry none.
func (n *Network) floodFrom(vid, from, src int, routes [][]*route) error {
	f := &flow{vid: vid, src: src, dst: -1, group: tsn.Broadcast}
	where, ok := n.checker.stationOf(src)
	if !ok || where.Node != from {
		return nil
	}
	copies := n.checker.walk(f, where)
	for to, r := range routes[from] {
		if to != from && (r == nil || !n.floods(r)) {
			continue
		}
		for _, p := range []tsn.Port{stationPort, emptyPort} {
			e := End{to, p}
			if n.Nodes[to].links[p] != nil {
				continue // cabled to another edge port: one of them is blocked
			}
			want := 1
			if e == where {
				want = 0
			}
			if copies[e] != want {
				return fmt.Errorf("%s: %d copies at %s:%d, want %d", n.flowText(f), copies[e], n.Nodes[to].Name, p, want)
			}
		}
	}
	return nil
}

// floods tells whether every bridge of a route has the ingress check.
func (n *Network) floods(r *route) bool {
	return !slices.ContainsFunc(r.nodes, func(k int) bool { return n.Nodes[k].board.NoLocked })
}

// servicesDelivered sends a frame to each group of a bridge: every receiver in
// reach has it once at the service's ports, nobody else has it.
func (n *Network) servicesDelivered(vid, from int, routes []*route) error {
	d := n.Nodes[from]
	for _, sv := range d.services {
		if n.vids[vid] != sv.VID || !sv.Transmit {
			continue
		}
		group := tsn.MAC{}
		for _, st := range d.Inst.Services() {
			if st.VID == sv.VID && st.ISID == sv.ISID {
				group = st.Group
			}
		}
		if group.IsZero() {
			return fmt.Errorf("%s has no group address for service %#x", d.Name, sv.ISID)
		}
		want := map[End]int{}
		for to, r := range routes {
			if r == nil || to == from {
				continue
			}
			for _, w := range n.Nodes[to].services {
				if w.VID == sv.VID && w.ISID == sv.ISID && w.Receive {
					for _, p := range w.Ports {
						want[End{to, p}] = 1
					}
				}
			}
		}
		f := &flow{vid: vid, src: n.index[d.cfg.SystemID], dst: -1, group: group}
		if err := n.delivers(f, End{from, stationPort}, want); err != nil {
			return err
		}
	}
	return nil
}

// streamsDelivered does the same for streams and their listeners.
func (n *Network) streamsDelivered(vid int, routes [][]*route) error {
	for _, st := range n.streams {
		if n.vids[vid] != st.VID {
			continue
		}
		f := &flow{vid: vid, src: n.index[st.Talker], dst: -1, group: st.Group}
		at, ok := n.checker.stationOf(f.src)
		if !ok || !n.Nodes[at.Node].Alive {
			continue
		}
		want := map[End]int{}
		for _, k := range st.Listeners {
			if k == at.Node || routes[at.Node][k] != nil {
				want[End{k, emptyPort}] = 1
			}
		}
		if err := n.delivers(f, at, want); err != nil {
			return err
		}
	}
	return nil
}

func (n *Network) delivers(f *flow, from End, want map[End]int) error {
	copies := n.checker.walk(f, from)
	for k := range n.Nodes {
		for _, p := range []tsn.Port{stationPort, emptyPort} {
			if e := (End{k, p}); copies[e] != want[e] && n.Nodes[k].links[p] == nil {
				return fmt.Errorf("%s: %d copies at %s:%d, want %d", n.flowText(f), copies[e], n.Nodes[k].Name, p, want[e])
			}
		}
	}
	return nil
}
