package main

import (
	"container/heap"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/spb"
)

// fabric is the bridges of a network file running IS-IS-SPB among themselves,
// in virtual time and without a daemon: what is planned offline follows the
// very paths that the machines choose.
type fabric struct {
	net     *config.Network
	bridges []*bridge
	byName  map[string]*bridge
	queue   agenda
	now     tsn.Instant
	seq     int
}

type bridge struct {
	*spb.Instance
	node  *config.Node
	wires map[tsn.Port]wire
	armed tsn.Instant // the earliest Timeout in the queue
}

// wire is where a port leads, to another bridge.
type wire struct {
	to    *bridge
	port  tsn.Port
	delay int64
}

// Virtual time: the databases must agree for settled, within patience.
const (
	settled  = 1_000_000_000
	patience = 120_000_000_000
	tick     = 100_000_000
)

// newFabric runs the bridges until every link is an adjacency and neighbours
// agree on the database.
func newFabric(net *config.Network) (*fabric, error) {
	f := &fabric{net: net, byName: map[string]*bridge{}}
	for i := range net.Nodes {
		if net.Nodes[i].Kind == config.KindBridge {
			if err := f.addBridge(&net.Nodes[i]); err != nil {
				return nil, err
			}
		}
	}
	for _, l := range net.Links {
		a, b := f.byName[l.A.Node], f.byName[l.B.Node]
		up := func(x *bridge, p tsn.Port) {
			if x != nil {
				f.push(0, x, tsn.LinkChanged{Port: p, Up: true, Rate: l.Rate.Rate()})
			}
		}
		if a != nil && b != nil {
			delay := max(int64(l.Prop), 1000)
			a.wires[l.A.Port] = wire{b, l.B.Port, delay}
			b.wires[l.B.Port] = wire{a, l.A.Port, delay}
		}
		up(a, l.A.Port)
		up(b, l.B.Port)
	}
	return f, f.settle()
}

func (f *fabric) addBridge(node *config.Node) error {
	if !slices.ContainsFunc(f.net.Links, func(l config.Link) bool { return l.A.Node == node.Name || l.B.Node == node.Name }) {
		return nil // alone: on no path
	}
	c, err := f.net.DaemonConfig(node.Name, config.Dirs{})
	if err != nil {
		return err
	}
	inst, err := spb.New(spbConfig(c, uint64(len(f.bridges))))
	if err != nil {
		return fmt.Errorf("bridge %s: %w", node.Name, err)
	}
	b := &bridge{Instance: inst, node: node, wires: map[tsn.Port]wire{}, armed: tsn.Never}
	f.bridges, f.byName[node.Name] = append(f.bridges, b), b
	return nil
}

func spbConfig(c *config.Daemon, seed uint64) spb.Config {
	s := spb.Config{
		SystemID: c.SystemID, Priority: c.SPB.Priority, HostName: c.Name,
		HelloInterval: int64(c.SPB.HelloInterval), HoldMultiplier: uint16(c.SPB.HelloMultiplier), Seed: seed,
		AreaAddresses: c.SPB.AreaAddresses(),
	}
	for _, v := range c.SPB.BaseVIDs {
		s.BaseVIDs = append(s.BaseVIDs, spb.BaseVID{VID: v.VID, Algorithm: v.ECT})
	}
	for _, p := range c.Ports {
		s.Ports = append(s.Ports, spb.PortConfig{
			Port: p.Port, Role: p.PortRole(), Metric: p.Metric, PVID: p.PVID, Untagged: p.Untagged, Locked: p.IsLocked(),
		})
		for _, st := range p.Stations {
			s.EndStations = append(s.EndStations, spb.EndStation{MAC: st.MAC, Port: p.Port, Name: st.Name, ManagementAddress: st.Address.Addr})
		}
	}
	return s
}

func (f *fabric) settle() error {
	stable := tsn.Instant(0)
	for limit := tsn.Instant(patience); f.now < limit; {
		f.runUntil(f.now.Add(tick))
		if !f.agreed() {
			stable = f.now
		}
		if f.now.Sub(stable) >= settled {
			return nil
		}
	}
	return fmt.Errorf("the bridges did not agree on the topology within %s of virtual time", dur(patience))
}

// agreed reports whether every wire has an adjacency and equal databases.
func (f *fabric) agreed() bool {
	digests := map[*bridge][32]byte{}
	for _, b := range f.bridges {
		digests[b] = b.DatabaseDigest()
	}
	for _, b := range f.bridges {
		for _, n := range b.Neighbours() {
			w, ok := b.wires[n.Port]
			if ok && (n.State != "Up" || digests[b] != digests[w.to]) {
				return false
			}
		}
	}
	return true
}

func (f *fabric) runUntil(end tsn.Instant) {
	for len(f.queue) > 0 && f.queue[0].at <= end {
		e := heap.Pop(&f.queue).(entry)
		f.now = e.at
		if e.at >= e.to.armed {
			e.to.armed = tsn.Never
		}
		for _, effect := range e.to.Step(f.now, e.ev) {
			s, ok := effect.(tsn.Send)
			if w, wired := e.to.wires[s.Port]; ok && wired {
				f.push(f.now.Add(w.delay), w.to, tsn.Received{Port: w.port, Frame: slices.Clone(s.Frame)})
			}
		}
		if d := max(e.to.Deadline(), f.now+1); d < e.to.armed {
			e.to.armed = d
			f.push(d, e.to, tsn.Timeout{})
		}
	}
	f.now = end
}

func (f *fabric) push(at tsn.Instant, to *bridge, ev tsn.Event) {
	f.seq++
	heap.Push(&f.queue, entry{at, f.seq, to, ev})
}

type entry struct {
	at  tsn.Instant
	seq int // equal times in the order of pushing
	to  *bridge
	ev  tsn.Event
}

type agenda []entry

func (q agenda) Len() int { return len(q) }
func (q agenda) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q agenda) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *agenda) Push(x any)   { *q = append(*q, x.(entry)) }
func (q *agenda) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// path is the way from one node of the file to another in a Base VID; a
// sending host's own port is its first hop.
func (f *fabric) path(vid tsn.VID, from, to string) ([]tsn.Hop, error) {
	a, b := f.net.Node(from), f.net.Node(to)
	if a == nil {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q in the network", from)
	}
	if b == nil {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q in the network", to)
	}
	at, hops := f.byName[from], []tsn.Hop(nil)
	if a.Kind == config.KindHost {
		port, peer := f.attachment(from)
		at, hops = f.byName[peer.Node], []tsn.Hop{{System: a.SystemID, Port: port}}
	}
	if at == nil {
		return nil, api.Errorf(api.CodeNotFound, "%s has no link", from)
	}
	rest, err := at.Path(vid, a.SystemID, b.SystemID)
	if err != nil {
		return nil, err
	}
	return append(hops, rest...), nil
}

// attachment is a host's port and the bridge port it leads to.
func (f *fabric) attachment(host string) (tsn.Port, config.End) {
	for _, l := range f.net.Links {
		if l.A.Node == host {
			return l.A.Port, l.B
		}
		if l.B.Node == host {
			return l.B.Port, l.A
		}
	}
	return tsn.NoPort, config.End{}
}

// label puts names to hops.
func (f *fabric) label(h tsn.Hop) api.PathHop {
	out := api.PathHop{Hop: h, Ifname: config.Ifname(h.Port)}
	for _, n := range f.net.Nodes {
		if n.SystemID == h.System {
			out.Node = n.Name
		}
	}
	return out
}

// metric is what a hop adds to the cost of a path: nothing beyond the bridges.
func (f *fabric) metric(h tsn.Hop) uint64 {
	for _, l := range f.net.Links {
		for _, e := range [][2]config.End{{l.A, l.B}, {l.B, l.A}} {
			from, to := f.net.Node(e[0].Node), f.net.Node(e[1].Node)
			if from.SystemID == h.System && e[0].Port == h.Port && from.Kind == config.KindBridge && to.Kind == config.KindBridge {
				return uint64(l.Metric)
			}
		}
	}
	return 0
}
