package sim

import (
	"fmt"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
)

// Plane is where the kernels would send data frames, at one instant. It goes
// by the rules of a vlan-aware Linux bridge: VLAN membership, `locked`, FDB,
// MDB, flood flags; and by which cables are up.
type Plane struct {
	net   *Network
	nodes []planeNode // by Node.id
}

type planeNode struct {
	*Node
	station bool
	ports   map[tsn.Port]dataplane.BridgePort
	order   []tsn.Port // ascending
	fdb     map[planeKey]tsn.Port
	mdb     map[planeKey][]tsn.Port
	self    map[tsn.VID]bool
}

type planeKey struct {
	vid tsn.VID
	mac tsn.MAC
}

// Plane takes a picture of every kernel.
func (n *Network) Plane() *Plane {
	p := &Plane{net: n}
	for _, d := range n.nodes {
		x := planeNode{
			Node: d, ports: map[tsn.Port]dataplane.BridgePort{}, self: map[tsn.VID]bool{},
			fdb: map[planeKey]tsn.Port{}, mdb: map[planeKey][]tsn.Port{},
		}
		s := n.read(d)
		x.station = s.Bridge == nil
		if b := s.Bridge; b != nil {
			for _, port := range b.Ports {
				x.ports[port.Port] = port
				x.order = append(x.order, port.Port)
			}
			for _, e := range append(b.Kernel, b.FDB...) {
				x.fdb[planeKey{e.VID, e.MAC}] = e.Port
			}
			for _, g := range b.MDB {
				k := planeKey{g.VID, g.Group}
				x.mdb[k] = append(x.mdb[k], g.Port)
			}
			for _, v := range b.Self {
				x.self[v] = true
			}
		}
		p.nodes = append(p.nodes, x)
	}
	return p
}

// Frame is what matters of a data frame. VID 0 is no tag.
type Frame struct {
	Src, Dst tsn.MAC
	VID      tsn.VID
}

// End is a port of a node.
type End struct {
	Node string
	Port tsn.Port
}

// Delivery is what became of a frame.
type Delivery struct {
	Edge    map[End]int    // copies that left by each port that leads to no bridge
	Self    map[string]int // copies for a bridge's own interface
	Checked int            // copies that an ingress check dropped
	Unknown int            // copies that a bridge had no way for
	Hops    int            // bridges passed by all copies together
}

// maxHops is when a frame counts as circling for ever.
const maxHops = 100_000

type flight struct {
	at   End
	id   int
	port tsn.Port
	vid  tsn.VID
}

// Send lets a station send a frame. The error says that it never came to rest.
func (p *Plane) Send(station string, f Frame) (Delivery, error) {
	r := Delivery{Edge: map[End]int{}, Self: map[string]int{}}
	d := p.net.names[station]
	if d == nil || !p.nodes[d.id].station {
		return r, fmt.Errorf("sim: there is no station %q", station)
	}
	return r, p.run(p.over(d, d.cfg.Node.Ports[0], f.VID), f, &r)
}

// over is the frame at the other end of a cable, nothing if that is cut.
func (p *Plane) over(d *Node, port tsn.Port, vid tsn.VID) []flight {
	w := d.ports[port]
	if w == nil || !w.up {
		return nil
	}
	return []flight{{at: End{d.Name, port}, id: w.peer.id, port: w.peerPort, vid: vid}}
}

func (p *Plane) run(queue []flight, f Frame, r *Delivery) error {
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		x := &p.nodes[at.id]
		if x.station { // only reached over an edge port, which counted it
			continue
		}
		if r.Hops++; r.Hops > maxHops {
			return fmt.Errorf("sim: frame %s to %s in VLAN %d circles", f.Src, f.Dst, f.VID)
		}
		in := x.ports[at.port]
		vid, ok := ingress(in, at.vid)
		if !ok {
			r.Unknown++
			continue
		}
		if from, known := x.fdb[planeKey{vid, f.Src}]; in.Flags.Locked && (!known || from != at.port) {
			r.Checked++
			continue
		}
		out, self := x.forward(at.port, vid, f.Dst)
		if self {
			r.Self[x.Name]++
		} else if len(out) == 0 {
			r.Unknown++
		}
		for _, port := range out {
			tag, _ := egress(x.ports[port], vid)
			next := p.over(x.Node, port, tag)
			if len(next) == 0 || p.nodes[next[0].id].station {
				r.Edge[End{x.Name, port}]++
				continue
			}
			queue = append(queue, next...)
		}
	}
	return nil
}

// ingress is the VLAN of a frame that a port takes.
func ingress(p dataplane.BridgePort, tag tsn.VID) (tsn.VID, bool) {
	for _, v := range p.VLANs {
		if v.VID == tag || tag == 0 && v.PVID {
			return v.VID, true
		}
	}
	return 0, false
}

// egress is the tag of a frame that leaves a port, if the VLAN may.
func egress(p dataplane.BridgePort, vid tsn.VID) (tag tsn.VID, ok bool) {
	for _, v := range p.VLANs {
		if v.VID == vid {
			if v.Untagged {
				return 0, true
			}
			return vid, true
		}
	}
	return 0, false
}

// forward lists the ports a frame leaves by, and whether the bridge's own
// interface gets it.
func (x *planeNode) forward(in tsn.Port, vid tsn.VID, dst tsn.MAC) (out []tsn.Port, self bool) {
	k := planeKey{vid, dst}
	wanted := func(f dataplane.Flags) bool { return f.Flood }
	if dst.IsGroup() {
		wanted = func(f dataplane.Flags) bool { return f.McastFlood }
		if dst == tsn.Broadcast {
			wanted = func(f dataplane.Flags) bool { return f.BcastFlood }
			self = x.self[vid]
		}
	}
	member := func(p tsn.Port) bool {
		_, ok := egress(x.ports[p], vid)
		return ok && p != in
	}
	if port, known := x.fdb[k]; known {
		if port == tsn.NoPort {
			return nil, true
		}
		if member(port) {
			out = append(out, port)
		}
		return out, false
	}
	if ports, known := x.mdb[k]; known {
		for _, port := range ports {
			if port == tsn.NoPort {
				self = true
			} else if member(port) {
				out = append(out, port)
			}
		}
		return out, self
	}
	for _, port := range x.order {
		if member(port) && wanted(x.ports[port].Flags) {
			out = append(out, port)
		}
	}
	return out, self
}
