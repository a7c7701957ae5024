package spb

import (
	"cmp"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

func (i *Instance) spfDeadline() tsn.Instant {
	d := tsn.Never
	if i.top.dirty {
		d = i.top.nextRun
	}
	if i.top.held {
		d = min(d, i.top.holdUntil)
	}
	return d
}

// computeForwarding runs SPF if the database changed: at once after a quiet
// time, otherwise when the hold-down is over, which doubles while changes keep
// coming. It reports what is different.
func (i *Instance) computeForwarding() {
	t := &i.top
	run := t.dirty && t.nextRun <= i.now
	if run {
		t.dirty = false
		if t.waited {
			t.hold = min(2*t.hold, i.cfg.SPFMaxHoldDown)
		} else {
			t.hold = i.cfg.SPFHoldDown
		}
		t.nextRun = i.now.Add(t.hold)
		i.runSPF()
	}
	t.waited = t.dirty
	i.edgesToBridge()
	i.publish()
	if run {
		i.effects = append(i.effects, TopologyChanged{Generation: t.generation})
	}
}

// runSPF turns the database into nodes, trees and the wanted bridge state.
func (i *Instance) runSPF() {
	t := &i.top
	i.counters.SPFRuns++
	t.generation++
	t.nodes = i.collectNodes()
	t.bare = slices.ContainsFunc(t.nodes, func(n node) bool { return n.bare })
	t.buildGraph()
	t.findConnected(t.findNode(i.cfg.SystemID))
	i.computeTrees()
	i.findOwners()
	i.resolveSourceID()
	i.findGroupRoots()
	i.newGraph()
	i.refreshState()
}

// refreshState derives the wanted state from the graph and the places that
// stand.
func (i *Instance) refreshState() {
	t := &i.top
	state, streams := i.bridgeState(), i.streamTrees()
	t.held = t.held || !sameState(t.wanted, state) || !slices.EqualFunc(t.streams, streams, sameStreamTree)
	t.wanted, t.streams = state, streams
}

func sameStreamTree(a, b StreamTree) bool {
	return a.StreamRoot == b.StreamRoot && a.Stands == b.Stands && slices.Equal(a.Ports, b.Ports)
}

// publish hands out the wanted state. The first one waits, if so configured,
// until the fabric is known again.
func (i *Instance) publish() {
	t, a := &i.top, &i.agree
	if t.held && (t.published || i.now >= t.holdUntil || i.settled() && i.guardSettled()) {
		t.held, t.published = false, true
		i.counters.ForwardingSets++
		a.generation++
		f := Forwarding{Generation: a.generation, State: cloneState(t.wanted), Streams: slices.Clone(t.streams)}
		i.effects = append(i.effects, f)
	}
	if a.pending {
		a.withdrawn = a.generation
	}
}

// settled: the start is over, and the links to all neighbours are in the graph.
func (i *Instance) settled() bool {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 || i.restart.mode != running || t.dirty || i.own.dirty {
		return false
	}
	for _, p := range i.ports {
		if p.adj.state != isispdu.Up || !p.inUse() {
			continue
		}
		far := t.findNode(p.adj.neighbor)
		inUse := slices.ContainsFunc(t.graph.edges[t.graph.first[self]:t.graph.first[self+1]], func(e edge) bool { return e.to == far })
		if !inUse {
			return false
		}
	}
	return true
}

// computeTrees breaks the ties for each algorithm in use, over one Dijkstra.
func (i *Instance) computeTrees() {
	t := &i.top
	t.trees, t.towards = [17]*tree{}, [17][]tsn.Port{}
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return // our own LSP is purged: sequence numbers ran out
	}
	s := t.graph.shortest(self)
	i.cfg.Parallel(len(i.algorithms), func(k int) {
		alg := i.algorithms[k]
		t.trees[alg] = t.graph.tree(s, alg)
		t.towards[alg] = t.firstPorts(t.trees[alg])
	})
}

// firstPorts is the port of this bridge towards every node; NoPort for itself
// and for what cannot be reached.
func (t *topology) firstPorts(tr *tree) []tsn.Port {
	ports := make([]tsn.Port, len(t.nodes))
	if tr == nil {
		return ports
	}
	for _, v := range tr.settled {
		switch u := tr.parent[v]; {
		case u < 0:
		case u == tr.root:
			ports[v] = t.graph.edges[tr.link[v]].port
		default:
			ports[v] = ports[u]
		}
	}
	return ports
}

// bridgeState is everything the bridge shall forward.
func (i *Instance) bridgeState() tsn.BridgeState {
	var s tsn.BridgeState
	for _, b := range i.cfg.BaseVIDs {
		s.OwnedVIDs = append(s.OwnedVIDs, b.VID)
	}
	for _, p := range i.cfg.Ports {
		s.Ports = append(s.Ports, i.bridgePort(p))
	}
	for _, b := range i.cfg.BaseVIDs {
		s.FDB = append(s.FDB, i.fdb(b)...)
	}
	s.MDB = i.groups()
	return s
}

// carries reports whether the port is in a Base VID.
func (c PortConfig) carries(vid tsn.VID) bool {
	return c.Role == tsn.RoleFabric || c.Tagged == nil || c.PVID == vid || slices.Contains(c.Tagged, vid)
}

func (i *Instance) bridgePort(c PortConfig) tsn.BridgePort {
	p := tsn.BridgePort{Port: c.Port, Role: c.Role, Locked: c.Locked, McastFlood: i.agree.flooding, BcastFlood: i.agree.flooding}
	if c.Role == tsn.RoleFabric {
		p.Locked = true
		p.BcastFlood = i.agree.flooding && i.port(c.Port).inUse() && slices.Contains(i.agree.floodPorts, c.Port)
		p.McastFlood = p.BcastFlood
		if i.closed(c.Port) {
			return p // nothing else would keep its frames out: it is in no VLAN
		}
	}
	if !i.edgeForwards(c.Port) {
		p.McastFlood, p.BcastFlood = false, false
		return p // in no VLAN: no frame passes, in or out
	}
	p.Learning = c.Role == tsn.RoleEdge && c.Learn
	pvid := c.PVID
	for _, b := range i.cfg.BaseVIDs {
		if !i.carries(c, b.VID) {
			continue
		}
		v := tsn.PortVLAN{VID: b.VID, PVID: b.VID == pvid, Untagged: b.VID == pvid && c.Untagged}
		p.VLANs = append(p.VLANs, v)
	}
	if pvid != 0 && !slices.ContainsFunc(p.VLANs, func(v tsn.PortVLAN) bool { return v.PVID }) {
		p.VLANs = append(p.VLANs, tsn.PortVLAN{VID: pvid, PVID: true, Untagged: c.Untagged})
	}
	i.furtherVLANs(&p)
	return p
}

// closed: a fabric port without the ingress check that is in no VLAN, because
// the other end has not agreed with us on what it sends since the link came
// into the graph.
func (i *Instance) closed(n tsn.Port) bool {
	p := i.port(n)
	return p != nil && slices.Contains(i.unlocked, n) && !(p.inUse() && slices.Contains(i.agree.openPorts, n))
}

// fdb is the static entries of one Base VID: every other bridge, and every
// end station by its owner.
func (i *Instance) fdb(b BaseVID) []tsn.FDBEntry {
	t := &i.top
	ports := t.towards[b.Algorithm]
	if ports == nil {
		return nil
	}
	self := t.findNode(i.cfg.SystemID)
	reachable := make([]bool, len(t.nodes))
	for k, n := range t.nodes {
		reachable[k] = int32(k) == self || i.reachable(b.Algorithm, n.system)
	}
	var out []tsn.FDBEntry
	// Where ports learn, only what may move does: learned stations, but neither
	// bridges nor configured stations.
	learns := slices.ContainsFunc(i.cfg.Ports, func(p PortConfig) bool { return p.Learn })
	add := func(mac tsn.MAC, node int32, port tsn.Port, stays bool) {
		if port != tsn.NoPort && reachable[node] && !i.closed(port) {
			out = append(out, tsn.FDBEntry{MAC: mac, VID: b.VID, Port: port, Sticky: stays && learns})
		}
	}
	for k, n := range t.nodes {
		add(n.system, int32(k), ports[k], true)
	}
	for _, o := range t.owned[b.VID] {
		if i.learnedHere(o.mac, b.VID) || !i.agree.owns(b.VID, o.mac, t.nodes[o.node].system) {
			continue
		}
		port := ports[o.node]
		if o.node == self {
			port = i.stationPort(o.mac)
		}
		add(o.mac, o.node, port, o.claim == 0)
	}
	slices.SortFunc(out, func(a, b tsn.FDBEntry) int { return compareMAC(a.MAC, b.MAC) })
	return out
}

func (i *Instance) stationPort(mac tsn.MAC) tsn.Port {
	k, ok := slices.BinarySearchFunc(i.stations, mac, func(s EndStation, m tsn.MAC) int { return compareMAC(s.MAC, m) })
	if !ok || !i.edgeForwards(i.stations[k].Port) {
		return tsn.NoPort // the kernel takes no entry for a port outside the VLAN
	}
	return i.stations[k].Port
}

// owner says which node a station belongs to.
type owner struct {
	mac   tsn.MAC
	node  int32
	claim uint32
}

// findConnected marks the nodes that are joined to this one by links at all,
// overloaded or not: every bridge among them marks the same.
func (t *topology) findConnected(self int32) {
	t.connected = make([]bool, len(t.nodes))
	if self < 0 {
		return
	}
	g := &t.graph
	t.connected[self] = true
	for queue := []int32{self}; len(queue) > 0; {
		u := queue[0]
		queue = queue[1:]
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if !t.connected[e.to] {
				t.connected[e.to] = true
				queue = append(queue, e.to)
			}
		}
	}
}

// findOwners says for each Base VID which node each station belongs to.
func (i *Instance) findOwners() {
	t := &i.top
	before := t.duplicates
	t.owned, t.duplicates = make(map[tsn.VID][]owner, len(i.cfg.BaseVIDs)), 0
	for _, b := range i.cfg.BaseVIDs {
		all, duplicates := t.owners(b.VID)
		t.owned[b.VID] = all
		t.duplicates += duplicates
	}
	if t.duplicates > before {
		i.notice(NoticeDuplicateStation, tsn.NoPort, "an end station's address is claimed by several bridges; the best claim has it")
	}
}

// owners lists the stations advertised in a VLAN, ascending. An address
// claimed by several nodes goes to the best claim (compareClaims), one that is
// a bridge's own stays with the bridge. duplicates counts the claims that lost.
func (t *topology) owners(vid tsn.VID) (all []owner, duplicates int) {
	for k, n := range t.nodes {
		if !n.spb || !t.connected[k] {
			continue // what a bridge out of reach says may have changed since
		}
		for _, a := range n.addrs {
			if a.vid == vid && !a.mac.IsGroup() && !a.mac.IsZero() && t.findNode(a.mac) < 0 {
				all = append(all, owner{a.mac, int32(k), a.claim})
			}
		}
	}
	slices.SortFunc(all, func(a, b owner) int {
		ca, cb := foreignClaim{a.claim, t.nodes[a.node].bridgeID}, foreignClaim{b.claim, t.nodes[b.node].bridgeID}
		return cmp.Or(compareMAC(a.mac, b.mac), compareClaims(ca, cb))
	})
	all = slices.CompactFunc(all, func(a, b owner) bool {
		if a.mac == b.mac && a.node != b.node && a.claim == b.claim {
			duplicates++
		}
		return a.mac == b.mac
	})
	return all, duplicates
}

func sameState(a, b tsn.BridgeState) bool {
	return slices.Equal(a.OwnedVIDs, b.OwnedVIDs) && slices.Equal(a.FDB, b.FDB) && sameGroups(a.MDB, b.MDB) &&
		slices.EqualFunc(a.Ports, b.Ports, func(p, q tsn.BridgePort) bool {
			same := slices.Equal(p.VLANs, q.VLANs)
			p.VLANs, q.VLANs = nil, nil
			return same && p.Port == q.Port && p.Role == q.Role && p.Locked == q.Locked &&
				p.McastFlood == q.McastFlood && p.BcastFlood == q.BcastFlood
		})
}

func sameGroups(a, b []tsn.MDBEntry) bool {
	return slices.EqualFunc(a, b, func(x, y tsn.MDBEntry) bool {
		return compareGroupEntry(x, y) == 0 && slices.Equal(x.Ports, y.Ports)
	})
}

// cloneState makes the effect the driver's own.
func cloneState(s tsn.BridgeState) tsn.BridgeState {
	s.OwnedVIDs, s.FDB, s.Ports = slices.Clone(s.OwnedVIDs), slices.Clone(s.FDB), slices.Clone(s.Ports)
	for k := range s.Ports {
		s.Ports[k].VLANs = slices.Clone(s.Ports[k].VLANs)
	}
	s.MDB = slices.Clone(s.MDB)
	for k := range s.MDB {
		s.MDB[k].Ports = slices.Clone(s.MDB[k].Ports)
	}
	return s
}
