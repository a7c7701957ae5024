package spb

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// TreePlace is where this bridge is in the tree that frames of a talker take.
type TreePlace struct {
	Root     bool       // the talker is attached here, or is this bridge
	Parent   tsn.Port   // towards the root; NoPort at the root itself
	Children []tsn.Port // towards the bridges below, ascending
}

// PlaceInTree tells this bridge's place in the shortest path tree of a Base VID
// from the bridge of an end station, or from a bridge. It is the tree of the
// topology as it is known now; when frames may follow it StreamTree says.
func (i *Instance) PlaceInTree(vid tsn.VID, talker tsn.MAC) (TreePlace, error) {
	t := &i.top
	fail := func(err error) (TreePlace, error) {
		return TreePlace{}, fmt.Errorf("tree of %s: %w", talker, err)
	}
	b, err := i.baseVID(vid)
	if err != nil {
		return fail(err)
	}
	root, err := i.locate(vid, talker)
	self := t.findNode(i.cfg.SystemID)
	switch {
	case err != nil:
		return fail(err)
	case self < 0:
		return fail(fmt.Errorf("this bridge is not in its own database yet"))
	case root.node == self:
		at := t.forest([]int32{self}, b.Algorithm, i.cfg.Parallel).at(self, self)
		return TreePlace{Root: true, Children: at.child}, nil
	}
	at := t.forest([]int32{root.node}, b.Algorithm, i.cfg.Parallel).at(root.node, self)
	if at.dist == unreachable || at.parent == tsn.NoPort {
		return fail(fmt.Errorf("no path from bridge %s", t.name(root.node)))
	}
	return TreePlace{Parent: at.parent, Children: at.child}, nil
}

// Learned returns the edge port that a station was last seen on, if it was, in
// a VLAN.
func (i *Instance) Learned(vid tsn.VID, m tsn.MAC) (tsn.Port, bool) {
	l := i.ctl.stations.byMAC[m]
	if l == nil || !slices.Contains(l.vids, vid) {
		return tsn.NoPort, false
	}
	return l.port, true
}

// CarriesVID reports whether a port forwards frames of a Base VID now: an edge
// port that is in it and forwards, or a fabric port with a neighbour.
func (i *Instance) CarriesVID(n tsn.Port, vid tsn.VID) bool {
	for _, c := range i.cfg.Ports {
		if c.Port != n {
			continue
		}
		if c.Role == tsn.RoleFabric {
			return i.port(n).inUse() && i.carries(c, vid)
		}
		return i.edgeForwards(n) && i.carries(c, vid)
	}
	return false
}
