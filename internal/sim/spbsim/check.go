package spbsim

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
)

// Promise is what must hold at every moment.
type Promise struct {
	// Unicast: no unicast frame can circle, ever (the strict mode). Otherwise
	// it is counted how long one could.
	Unicast bool
}

// Violation is a promise that did not hold.
type Violation struct {
	At   tsn.Instant
	What string
}

func (v Violation) String() string { return fmt.Sprintf("%.6f ms: %s", float64(v.At)/1e6, v.What) }

// maxViolations of a run are kept.
const maxViolations = 20

// checker looks at the forwarding state of all kernels, as one, whenever it
// changes.
type checker struct {
	*Network
	promise    Promise
	violations []Violation
	sources    []int // address indices of the stations
	groupList  []groupKey
	// circling are the unicast flows of a destination that have a cycle now,
	// with their beginning.
	circling map[circle]tsn.Instant
	circled  int64 // ns together that at least one destination had one
	since    tsn.Instant

	colour []uint8 // scratch of cycle, by state
	path   []End
}

type circle struct{ vid, dst int }

// Watch begins to check. Stations and groups are known by now.
func (n *Network) Watch(p Promise) {
	c := &checker{Network: n, promise: p, circling: map[circle]tsn.Instant{}}
	for _, d := range n.Nodes {
		for _, s := range d.cfg.EndStations {
			c.sources = append(c.sources, n.index[s.MAC])
		}
		n.look(d)
	}
	n.checker = c
}

// Violations lists what went wrong so far.
func (n *Network) Violations() []Violation { return n.checker.violations }

// Circling is for how long (ns) a unicast frame could have circled.
func (n *Network) Circling() int64 {
	c := n.checker
	if len(c.circling) > 0 {
		return c.circled + n.now.Sub(c.since)
	}
	return c.circled
}

func (c *checker) violated(format string, a ...any) {
	v := Violation{c.now, fmt.Sprintf(format, a...)}
	c.Say(-1, "VIOLATED", v.What)
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations, v)
	}
}

// kernelChanged follows a kernel write, or a kernel that came or went.
func (n *Network) kernelChanged(d *Node, op dataplane.Op) {
	if n.checker == nil {
		return
	}
	n.look(d)
	switch o := op.(type) {
	case dataplane.SetFDB:
		n.checker.address(o.Entry)
	case dataplane.DelFDB:
		n.checker.address(o.Entry)
	case dataplane.AddMDB:
		n.checker.groupChanged(o.Entry)
	case dataplane.DelMDB:
		n.checker.groupChanged(o.Entry)
	default:
		n.checker.all()
	}
	if n.frames != nil {
		n.frames.stir(d, op)
	}
}

func (n *Network) linkChanged(*Link) {
	if n.checker != nil {
		n.checker.all()
	}
}

// all checks everything.
func (c *checker) all() {
	for vid := range c.vids {
		for _, src := range c.sources {
			c.broadcasts(vid, src)
		}
		for dst := range c.macs {
			c.unicast(vid, dst)
		}
	}
	for _, f := range c.groups() {
		c.flow(&f)
	}
}

// groups are the flows of registered groups, from each sender that a group
// ever had.
func (c *checker) groups() (all []flow) {
	for _, g := range c.groupList {
		for _, k := range c.senders[g] {
			all = append(all, flow{vid: g.vid, src: c.index[c.Nodes[k].cfg.SystemID], dst: -1, group: g.group})
			for _, s := range c.Nodes[k].stations {
				all = append(all, flow{vid: g.vid, src: c.index[s.MAC], dst: -1, group: g.group})
			}
		}
	}
	for _, st := range c.streams {
		all = append(all, flow{vid: indexOf(c.vids, st.VID), src: c.index[st.Talker], dst: -1, group: st.Group})
	}
	return all
}

// sends notes the group addresses that a bridge sends to.
func (c *checker) sends(d *Node) {
	d.sending = d.sending[:0]
	for _, sv := range d.Inst.Services() {
		g := groupKey{indexOf(c.vids, sv.VID), sv.Group}
		if !sv.Group.IsZero() {
			d.sending = append(d.sending, g)
		}
		if sv.Group.IsZero() || slices.Contains(c.senders[g], d.id) {
			continue
		}
		if len(c.senders[g]) == 0 {
			c.groupList = append(c.groupList, g)
		}
		c.senders[g] = append(c.senders[g], d.id)
	}
}

// address checks what an FDB entry decides: the way to the address, and the
// ingress check of frames from it.
func (c *checker) address(e tsn.FDBEntry) {
	vid := slices.Index(c.vids, e.VID)
	mac, ok := c.index[e.MAC]
	if vid < 0 || !ok {
		return
	}
	if slices.Contains(c.sources, mac) {
		c.broadcasts(vid, mac)
	}
	for _, f := range c.groups() {
		if f.vid == vid && f.src == mac {
			c.flow(&f)
		}
	}
	c.unicast(vid, mac)
	for dst := range c.macs { // frames from mac that circle towards another
		if _, on := c.circling[circle{vid, dst}]; on || c.pureCycle(vid, dst) {
			c.unicast(vid, dst)
		}
	}
}

func (c *checker) groupChanged(g dataplane.GroupPort) {
	for _, f := range c.groups() {
		if f.group == g.Group && c.vids[f.vid] == g.VID {
			c.flow(&f)
		}
	}
}

// unregistered is a group that nobody registered.
var unregistered = tsn.MAC{0x03, 0, 0, 0, 0, 0x99}

func (c *checker) broadcasts(vid, src int) {
	c.flow(&flow{vid: vid, src: src, dst: -1, group: tsn.Broadcast})
	c.flow(&flow{vid: vid, src: src, dst: -1, group: unregistered})
}

// flow checks that no cycle exists anywhere, even one that no frame can enter
// at present, and that a frame sent now would reach no edge port twice.
func (c *checker) flow(f *flow) {
	c.Counts.Checks++
	if at := c.cycle(f); at != nil {
		c.violated("%s: %s", c.flowText(f), c.pathText(at))
		return
	}
	where, ok := c.origin(f.src)
	if !ok {
		return
	}
	for end, copies := range c.walk(f, where) {
		if copies > 1 {
			c.violated("%s: %d copies at %s:%d", c.flowText(f), copies, c.Nodes[end.Node].Name, end.Port)
			return
		}
	}
}

// stationOf is where a station is plugged in, if its bridge has power.
func (c *checker) stationOf(mac int) (End, bool) {
	for _, d := range c.Nodes {
		for _, s := range d.stations {
			if c.index[s.MAC] == mac && d.Power {
				return End{d.id, s.Port}, true
			}
		}
	}
	return End{}, false
}

// origin is where frames from an address enter: at the port of a station, or
// as if from the station's port for a bridge's own.
func (c *checker) origin(mac int) (End, bool) {
	for _, d := range c.Nodes {
		if c.index[d.cfg.SystemID] == mac {
			return End{d.id, stationPort}, d.Power
		}
	}
	return c.stationOf(mac)
}

// over is the other end of a fabric port, if frames arrive there.
func (n *Network) over(at End) (End, *Link, bool) {
	l := n.Nodes[at.Node].links[at.Port]
	if l == nil {
		return End{}, nil, false
	}
	side := l.side(at.Node, at.Port)
	return l.end(1 - side), l, l.carries(side)
}

// cycle looks for one in the graph of {bridge, ingress port}, and returns it.
func (c *checker) cycle(f *flow) []End {
	width := 0
	for _, d := range c.Nodes {
		width = max(width, len(d.links))
	}
	if size := width * len(c.Nodes); len(c.colour) < size {
		c.colour = make([]uint8, size)
	}
	clear(c.colour)
	c.path = c.path[:0]
	for k, d := range c.Nodes {
		for p, l := range d.links {
			if l == nil {
				continue
			}
			if c.visit(End{k, tsn.Port(p)}, f, width) {
				return c.path
			}
		}
	}
	return nil
}

const (
	white = iota
	grey
	black
)

func (c *checker) visit(at End, f *flow, width int) bool {
	state := &c.colour[at.Node*width+int(at.Port)]
	if *state == black {
		return false
	}
	c.path = append(c.path, at)
	if *state == grey {
		return true
	}
	*state = grey
	v := &c.Nodes[at.Node].kern.view
	if v.accepts(at.Port, f) {
		var room [32]tsn.Port
		for _, p := range v.out(room[:0], at.Port, f) {
			if to, _, ok := c.over(End{at.Node, p}); ok && c.visit(to, f, width) {
				return true
			}
		}
	}
	*state = black
	c.path = c.path[:len(c.path)-1]
	return false
}

// walk sends a frame and counts the copies at each edge port. There is no
// cycle.
func (c *checker) walk(f *flow, from End) map[End]int {
	copies := map[End]int{}
	queue := []End{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		v := &c.Nodes[at.Node].kern.view
		if !v.accepts(at.Port, f) {
			continue
		}
		var room [32]tsn.Port
		for _, p := range v.out(room[:0], at.Port, f) {
			if p < firstFabric {
				copies[End{at.Node, p}]++
			}
			if to, _, ok := c.over(End{at.Node, p}); ok {
				queue = append(queue, to)
			}
		}
	}
	return copies
}

// pureCycle tells whether the FDB entries of an address alone have a cycle.
func (c *checker) pureCycle(vid, dst int) bool {
	for k := range c.Nodes {
		at := End{k, 0}
		for range len(c.Nodes) + 1 {
			p := c.Nodes[at.Node].kern.view.fdb[vid][dst]
			if p == tsn.NoPort {
				at.Node = -1
				break
			}
			to, _, ok := c.over(End{at.Node, p})
			if !ok {
				at.Node = -1
				break
			}
			at = to
		}
		if at.Node >= 0 {
			return true
		}
	}
	return false
}

// unicast looks for frames that could circle on the way to dst.
func (c *checker) unicast(vid, dst int) {
	c.Counts.Checks++
	key := circle{vid, dst}
	found := false
	if c.pureCycle(vid, dst) {
		for src := range c.macs {
			f := flow{vid: vid, src: src, dst: dst}
			if src == dst {
				continue
			}
			if at := c.cycle(&f); at != nil {
				if found = true; c.promise.Unicast {
					c.violated("%s: %s", c.flowText(&f), c.pathText(at))
				}
				break
			}
		}
	}
	was := len(c.circling) > 0
	if !found {
		delete(c.circling, key)
	} else if _, on := c.circling[key]; !on {
		c.circling[key] = c.now
	}
	switch is := len(c.circling) > 0; {
	case is && !was:
		c.since = c.now
	case was && !is:
		c.circled += c.now.Sub(c.since)
	}
}

func (n *Network) flowText(f *flow) string {
	to := f.group.String()
	if f.dst >= 0 {
		to = n.macs[f.dst].String()
	}
	return fmt.Sprintf("vid %d %s to %s", n.vids[f.vid], n.macs[f.src], to)
}

// pathText is the cycle at the end of a path of {bridge, ingress port}.
func (c *checker) pathText(path []End) string {
	from := slices.Index(path, path[len(path)-1])
	s := "loop"
	for _, e := range path[from:] {
		s += fmt.Sprintf(" %s:%d", c.Nodes[e.Node].Name, e.Port)
	}
	return s
}
