package spbsim

import (
	"slices"

	"tsnswitch"
	"tsnswitch/spb"
)

// What internal/node and the daemon do between the core and the kernel.

// possible is what a Forwarding asks of the kernel, as node.Control composes
// it: without what the board's ports refuse, and with the streams' group
// entries, which follow the trees that stand.
func (n *Network) possible(d *Node, f spb.Forwarding) tsn.BridgeState {
	s := f.State
	s.MDB = slices.Clone(s.MDB)
	for _, st := range n.streams {
		s.MDB = append(s.MDB, tsn.MDBEntry{Group: st.Group, VID: st.VID, Ports: st.ports(d, f.Streams)})
	}
	slices.SortFunc(s.MDB, func(a, b tsn.MDBEntry) int {
		if a.VID != b.VID {
			return int(a.VID) - int(b.VID)
		}
		return slices.Compare(a.Group[:], b.Group[:])
	})
	if !d.board.NoLocked {
		return s
	}
	s.Ports = slices.Clone(s.Ports)
	for i := range s.Ports {
		p := &s.Ports[i]
		p.Locked = false
		if p.Role == tsn.RoleFabric {
			p.Flood, p.McastFlood, p.BcastFlood = false, false, false
		}
	}
	return s
}

// Stream is a reservation that allows every port: what keeps it from looping
// is the tree alone.
type Stream struct {
	VID       tsn.VID
	Group     tsn.MAC
	Talker    tsn.MAC
	Listeners []int // nodes; each has one at its empty port
}

func (st *Stream) ports(d *Node, trees []spb.StreamTree) []tsn.Port {
	var out []tsn.Port
	stands := false
	for _, t := range trees {
		if t.VID == st.VID && t.Talker == st.Talker {
			out, stands = append(out, t.Ports...), t.Stands
		}
	}
	if slices.Contains(st.Listeners, d.id) && (stands || !d.board.NoLocked) {
		out = append(out, emptyPort)
		slices.Sort(out)
	}
	if len(out) == 0 {
		return []tsn.Port{tsn.NoPort} // unknown groups are flooded
	}
	return out
}

// AddStream reserves a stream. Streams come before Watch.
func (n *Network) AddStream(st Stream) { n.streams = append(n.streams, st) }

// tellDaemon tells a daemon that has started what others know.
func (n *Network) tellDaemon(d *Node) {
	if d.board.NoLocked {
		var ports []tsn.Port
		for _, p := range d.cfg.Ports {
			ports = append(ports, p.Port)
		}
		n.step(d, spb.SetUnlocked{Ports: ports})
	}
	if len(n.streams) > 0 {
		var roots []spb.StreamRoot
		for _, st := range n.streams {
			roots = append(roots, spb.StreamRoot{VID: st.VID, Talker: st.Talker})
		}
		n.step(d, spb.SetStreamRoots{Roots: roots})
	}
}

// written tells a daemon what became of a state.
func (n *Network) written(d *Node, f spb.Forwarding, err error) {
	answer := spb.Applied{Generation: f.Generation}
	if err != nil {
		answer.Err = err.Error()
	}
	n.step(d, answer)
}

// adopt is what a daemon finds in its kernel.
func (n *Network) adopt(d *Node) *tsn.BridgeState {
	s, err := d.kern.fake.Read()
	if err != nil {
		panic("spbsim: " + err.Error())
	}
	return s.Bridge.Holds()
}
