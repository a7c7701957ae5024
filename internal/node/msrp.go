package node

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"maps"
	"slices"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// MSRP needs to know of the rest of the switch by which trees streams go:
//
//	srp.TreesWanted{VLAN, talker} ─> spb.PlaceInTree ─> srp.SetTrees
//	   talkers at the own edge ────> spb.StationSeen: now all bridges know the root
//	spb.TopologyChanged, Forwarding ─> asked again
//
// A stream goes by the shortest path tree of its VLAN from the bridge that its
// talker is attached to. The talker is known by the address in its StreamID: an
// edge port that learns claims it while it declares a stream, as if frames had
// come in from it, unless another bridge has it: a declaration takes no station
// away from anybody. At other edge ports it has to be configured.

// msrpWiring is what Control remembers for that.
type msrpWiring struct {
	wanted  srp.TreesWanted
	trees   []srp.Tree // as srp was told
	claimed map[srp.TreeKey]claim
	// restored are the trees of an earlier run, which stand until SPB has said how
	// it forwards.
	restored map[srp.TreeKey]srp.Tree

	rootsMoved, wantedMoved, treesMoved bool
}

// claim is a talker that SPB was told of as a station. Seen: the driver sees its
// frames, too.
type claim struct {
	port tsn.Port
	seen bool
}

// etherTypeMSRP is that of MSRPDUs (802.1Q table 35-1).
const etherTypeMSRP = 0x22ea

func isMSRP(frame []byte) bool {
	return len(frame) >= 14 && binary.BigEndian.Uint16(frame[12:]) == etherTypeMSRP
}

// settle tells spb and srp of each other until neither has news. It ends,
// because the trees do not depend on what is reserved on them.
func (c *Control) settle(now tsn.Instant) (changed bool) {
	if c.SPB == nil {
		return false
	}
	m := &c.msrp
	for m.rootsMoved || m.wantedMoved || m.treesMoved {
		if m.wantedMoved {
			m.wantedMoved, m.treesMoved = false, true
			for _, ev := range c.claimTalkers() {
				changed = c.take(c.SPB.Step(now, ev)) || changed
			}
		}
		if m.rootsMoved {
			m.rootsMoved = false
			changed = c.take(c.SPB.Step(now, spb.SetStreamRoots{Roots: c.streamRoots()})) || changed
		}
		if m.treesMoved {
			m.treesMoved = false
			if trees := c.treesNow(); !slices.EqualFunc(trees, m.trees, sameTree) {
				m.trees = trees
				changed = c.take(c.SRP.Step(now, srp.SetTrees{Trees: trees})) || changed
			}
		}
	}
	return changed
}

// restore keeps the trees of an earlier run in place of those that SPB has yet to
// learn.
func (c *Control) restore(ev srp.Restore) {
	if c.SPB == nil || c.bridge != nil {
		return
	}
	c.msrp.restored = map[srp.TreeKey]srp.Tree{}
	for _, t := range ev.Memory.Trees {
		c.msrp.restored[t.TreeKey] = t
	}
}

func sameTree(a, b srp.Tree) bool {
	return a.TreeKey == b.TreeKey && a.Failure == b.Failure && slices.Equal(a.Ingress, b.Ingress) && slices.Equal(a.Egress, b.Egress)
}

// treesNow looks up every tree that is wanted. One whose talker no bridge has
// is not among them.
func (c *Control) treesNow() (out []srp.Tree) {
	for _, key := range c.msrp.wanted.Keys {
		if old, ok := c.msrp.restored[key]; ok {
			out = append(out, old)
			continue
		}
		if !slices.Contains(c.vids, key.VID) {
			edge := c.edgePorts()
			out = append(out, srp.Tree{TreeKey: key, Ingress: edge, Egress: edge, Failure: tsn.FailureVLANBlocked})
			continue
		}
		at, err := c.SPB.PlaceInTree(key.VID, key.Talker)
		if err != nil {
			continue
		}
		t := srp.Tree{TreeKey: key, Ingress: []tsn.Port{at.Parent}, Egress: at.Children}
		if at.Root {
			t.Ingress = c.edgePorts()
		}
		for _, p := range c.edgePorts() {
			if c.SPB.CarriesVID(p, key.VID) || c.mayRegister(p, key.VID) {
				t.Egress = append(t.Egress, p)
			}
		}
		slices.Sort(t.Egress)
		out = append(out, t)
	}
	return out
}

// edgePorts are those of the bridge, ascending.
func (c *Control) edgePorts() (out []tsn.Port) {
	for _, p := range c.roles {
		if p.Role == tsn.RoleEdge {
			out = append(out, p.Port)
		}
	}
	return out
}

func (c *Control) learns(n tsn.Port) bool {
	return slices.ContainsFunc(c.roles, func(p spb.PortConfig) bool { return p.Port == n && p.Role == tsn.RoleEdge && p.Learn })
}

// claimTalkers are spb's events for the talkers that are heard at ports which
// learn, and for those that no longer are.
func (c *Control) claimTalkers() (out []tsn.Event) {
	m := &c.msrp
	now := map[srp.TreeKey]claim{}
	for i, key := range m.wanted.Keys {
		heard := slices.DeleteFunc(slices.Clone(m.wanted.Heard[i]), func(p tsn.Port) bool { return !c.learns(p) || !slices.Contains(c.vids, key.VID) })
		was, claimed := m.claimed[key]
		switch {
		case len(heard) == 0:
		case claimed && slices.Contains(heard, was.port):
			now[key] = was
		case c.elsewhere(key):
		default:
			at, known := c.SPB.Learned(key.VID, key.Talker)
			now[key] = claim{heard[0], known && at == heard[0]}
			out = append(out, spb.StationSeen{MAC: key.Talker, VID: key.VID, Port: heard[0]})
		}
	}
	for _, key := range slices.SortedFunc(maps.Keys(m.claimed), compareTreeKeys) {
		if was := m.claimed[key]; now[key].port != was.port && !was.seen {
			out = append(out, spb.StationGone{MAC: key.Talker, VID: key.VID, Port: was.port})
		}
	}
	m.claimed = now
	return out
}

// elsewhere reports whether another bridge has a talker's station.
func (c *Control) elsewhere(key srp.TreeKey) bool {
	at, err := c.SPB.PlaceInTree(key.VID, key.Talker)
	return err == nil && !at.Root
}

func compareTreeKeys(a, b srp.TreeKey) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), bytes.Compare(a.Talker[:], b.Talker[:]))
}

// stationNews reports whether spb is to be told of an event: not that a station
// has aged which declares a stream.
func (c *Control) stationNews(ev tsn.Event) bool {
	key, port, seen := srp.TreeKey{}, tsn.NoPort, false
	switch ev := ev.(type) {
	case spb.StationSeen:
		key, port, seen = srp.TreeKey{VID: ev.VID, Talker: ev.MAC}, ev.Port, true
	case spb.StationGone:
		key, port = srp.TreeKey{VID: ev.VID, Talker: ev.MAC}, ev.Port
	default:
		return true
	}
	at, claimed := c.msrp.claimed[key]
	if claimed && at.port == port {
		c.msrp.claimed[key] = claim{port, seen}
		return seen
	}
	return true
}

// ASCapable is what MSRP is told of a time-aware system: which ports keep time,
// and how long their links are.
func ASCapable(s gptp.Status) (out []srp.SetASCapable) {
	for _, p := range s.Target().Ports {
		out = append(out, srp.SetASCapable{Port: p.Port, Capable: p.AsCapable, LinkDelay: int64(p.MeanLinkDelayNS)})
	}
	return out
}
