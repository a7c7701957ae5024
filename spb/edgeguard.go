package spb

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
	"tsnswitch/spb/isispdu"
)

// The edge guard keeps a LAN that two edge ports share from closing a loop
// through the fabric: two edge ports cabled together, or somebody else's
// bridge behind both. IS-IS sees nothing of such a link.
//
// Every edge port sends probes to a group that other bridges flood, untagged
// and in each of its VLANs. A port that hears a probe knows that frames of the
// other one reach it, and what the other one does with frames:
//
//	          up                silence              a conflict
//	Down ───────> Listening ───────────> Forwarding ───────────┐
//	                ^   └──────────── a conflict ──────────────┤
//	                └────── no conflict, and quiet <── Blocked <┘
//
// A conflict is a probe from a port that forwards; of two that listen, from
// the one with the lower {system id, port}; and the port's own. A port that
// forwards tells one that listens of itself, and gives way to one that goes on
// listening, because that one does not hear it. So of two ports that share a
// LAN one forwards; and where frames get through in one direction only, which
// is enough for a loop, the port that hears gives way, whichever it is.
//
// A port lets no frame through before it has listened, so ports that are
// cabled together carry not one. A loop can live until the next probe of a port
// that forwards, Interval at most, in two cases: two LANs behind ports that
// forward are joined far from here, where no carrier tells; and a port comes
// up that hears another one but is not heard by it, so that nobody answers it.
//
// A bridge whose daemon has died goes on forwarding and sends no probes. A port
// that yields to it opens only when the fabric has cut that bridge off: after
// the holding time of hellos, and not just HoldIntervals.

// Kinds of tsn.Notice of the edge guard.
const (
	NoticeEdgeBlocked    = "edge-blocked"
	NoticeEdgeForwarding = "edge-forwarding"
)

// EdgeGuardConfig sets the edge guard of all edge ports. Zero means the default
// in brackets.
type EdgeGuardConfig struct {
	Interval      int64 // between probes of a port that forwards or is blocked, ns [1 s]; negative: no guard
	FastInterval  int64 // while it listens [50 ms]
	ListenProbes  int   // it listens for so many fast intervals [3]
	HoldIntervals int   // quiet intervals before a blocked port listens again [3]
	// FabricID is of the probes that count. Bridges of one fabric have the same;
	// fabrics that are joined at edge ports on purpose need different ones.
	FabricID uint32
}

func (c EdgeGuardConfig) withDefaults() EdgeGuardConfig {
	setDefault(&c.Interval, second)
	setDefault(&c.FastInterval, 50*millisecond)
	setDefault(&c.ListenProbes, 3)
	setDefault(&c.HoldIntervals, 3)
	return c
}

func (c EdgeGuardConfig) validate() error {
	switch {
	case c.Interval > 0 && (c.Interval < 10*millisecond || c.Interval > 60*second):
		return fmt.Errorf("spb: edge guard: interval of %d ns is outside 10 ms..60 s", c.Interval)
	case c.FastInterval < millisecond || c.FastInterval > 10*second:
		return fmt.Errorf("spb: edge guard: fast interval of %d ns is outside 1 ms..10 s", c.FastInterval)
	case c.ListenProbes < 1 || c.ListenProbes > 100:
		return fmt.Errorf("spb: edge guard: %d probes while listening are outside 1..100", c.ListenProbes)
	case c.HoldIntervals < 1 || c.HoldIntervals > 100:
		return fmt.Errorf("spb: edge guard: hold of %d intervals is outside 1..100", c.HoldIntervals)
	}
	return nil
}

// EdgeState is what an edge port does with frames.
type EdgeState uint8

// The states. Only Forwarding lets frames through.
const (
	EdgeDown EdgeState = iota
	EdgeListening
	EdgeForwarding
	EdgeBlocked
)

func (s EdgeState) String() string {
	return [...]string{"down", "listening", "forwarding", "blocked"}[s]
}

const (
	maxEdgePeers   = 32 // remembered for each port
	maxEdgeBackoff = 5  // doublings of the hold
	// maxEdgeHold bounds how long one frame can block a port by what it says.
	maxEdgeHold = 30 * second
	// mayTarry is how many probes of a listening port may be left for a port
	// that forwards to wait and see.
	mayTarry = 2
)

// edgePeer is a port whose probes arrive.
type edgePeer struct {
	system tsn.MAC
	port   tsn.Port
	state  ctlframe.ProbeState
	left   uint8
	hold   int64       // ns without a probe, then it has gone
	until  tsn.Instant // forgotten
}

// guarded is an edge port.
type guarded struct {
	cfg     PortConfig
	up      bool
	state   EdgeState
	since   tsn.Instant
	reason  string
	culprit edgePeer // of the last conflict
	peers   []edgePeer

	listenUntil tsn.Instant
	quietUntil  tsn.Instant // Blocked at least so long
	fabricUntil tsn.Instant // an IS-IS neighbour is behind the port
	crowded     tsn.Instant // more peers than are remembered, until

	nextProbe, lastProbe tsn.Instant
	burst                int // fast probes to come
	sequence             uint32

	blocks  uint64
	backoff int         // doublings of the hold
	calm    tsn.Instant // when the backoff is forgotten
}

func (i *Instance) initGuard() {
	for _, c := range i.cfg.Ports {
		if c.Role != tsn.RoleEdge {
			continue
		}
		g := &guarded{cfg: c, nextProbe: tsn.Never}
		if c.Unguarded || i.cfg.EdgeGuard.Interval < 0 {
			g.cfg.Unguarded, g.state = true, EdgeForwarding
		}
		i.ctl.edges = append(i.ctl.edges, g)
	}
}

func (i *Instance) edgeAt(n tsn.Port) *guarded {
	for _, g := range i.ctl.edges {
		if g.cfg.Port == n {
			return g
		}
	}
	return nil
}

// edgeForwards: frames pass the port. True for what is not an edge port.
func (i *Instance) edgeForwards(n tsn.Port) bool {
	g := i.edgeAt(n)
	return g == nil || g.state == EdgeForwarding
}

// edgeHides: stations behind the port are not to be reached at all, as opposed
// to for the moment.
func (i *Instance) edgeHides(n tsn.Port) bool {
	g := i.edgeAt(n)
	return g != nil && g.state == EdgeBlocked
}

func (i *Instance) edgeLinkChanged(ev tsn.LinkChanged) {
	g := i.edgeAt(ev.Port)
	if g == nil || g.up == ev.Up {
		return
	}
	g.up = ev.Up
	switch {
	case g.cfg.Unguarded:
		if !g.up {
			i.forgetPort(g.cfg.Port)
		}
	case !g.up:
		i.forgetPort(g.cfg.Port)
		g.peers, g.quietUntil, g.fabricUntil, g.crowded, g.nextProbe = nil, 0, 0, 0, tsn.Never
		i.setEdge(g, EdgeDown, "no link")
	default:
		i.listen(g)
	}
}

func (i *Instance) listen(g *guarded) {
	c := &i.cfg.EdgeGuard
	g.listenUntil = i.now.Add(int64(c.ListenProbes) * c.FastInterval)
	i.setEdge(g, EdgeListening, "looking for other ports of the fabric")
}

// setEdge changes the state of a port and lets everybody know: the bridge, the
// network (stations come and go), the ports on the same LAN.
func (i *Instance) setEdge(g *guarded, s EdgeState, why string) {
	was := g.state
	g.reason = why
	if was == s {
		return
	}
	g.state, g.since = s, i.now
	if s != EdgeDown {
		g.burst, g.nextProbe = i.cfg.EdgeGuard.ListenProbes, i.now
	}
	if (was == EdgeForwarding) != (s == EdgeForwarding) {
		i.ctl.edgesChanged = true
	}
	if (was == EdgeBlocked) != (s == EdgeBlocked) {
		i.own.dirty = true
	}
	switch s {
	case EdgeBlocked:
		i.counters.Control.EdgeBlocks++
		g.blocks++
		i.notice(NoticeEdgeBlocked, g.cfg.Port, why)
	case EdgeForwarding:
		g.culprit = edgePeer{}
		i.notice(NoticeEdgeForwarding, g.cfg.Port, "nothing was heard of another port of the fabric")
	}
}

func (g *guarded) compare(p edgePeer, self tsn.MAC) int {
	return cmp.Or(compareMAC(p.system, self), cmp.Compare(p.port, g.cfg.Port))
}

// conflicts tells whether g must not forward because of p.
func (g *guarded) conflicts(p edgePeer, self tsn.MAC) bool {
	order := g.compare(p, self)
	switch {
	case order == 0:
		return true // its own probe: a loop behind the one port
	case p.state == ctlframe.ProbeForwarding:
		return true
	case p.state == ctlframe.ProbeBlocked:
		return false
	case g.state == EdgeBlocked: // p is about to forward
		return true
	case g.state == EdgeListening && order < 0:
		return true
	}
	// It listens and has not heard of us, or it did and its answer is on the way.
	return p.left <= mayTarry
}

// conflict is why a port must not forward now, "" if it may. hold: this is the
// port that yields, so it listens again only when the other is gone for long.
func (i *Instance) conflict(g *guarded) (why string, culprit edgePeer, hold bool) {
	if g.fabricUntil > i.now {
		return "a bridge of a fabric is behind this edge port: it sends IS-IS hellos", edgePeer{hold: second}, true
	}
	for _, p := range g.peers {
		if !g.conflicts(p, i.cfg.SystemID) {
			continue
		}
		at := fmt.Sprintf("port %d of %s", p.port, p.system)
		switch order := g.compare(p, i.cfg.SystemID); {
		case order == 0:
			return "loop: its own probes come back", p, true
		case p.system == i.cfg.SystemID:
			at = fmt.Sprintf("port %d of this bridge", p.port)
			fallthrough
		default:
			return "loop: " + at + " is on the same LAN and is " + p.state.String(), p, order < 0
		}
	}
	if g.crowded > i.now {
		return fmt.Sprintf("more than %d ports of the fabric are on the same LAN", maxEdgePeers), edgePeer{hold: i.edgeHold(0)}, true
	}
	return "", edgePeer{}, false
}

// probeSoon asks the LAN behind a port: something there looks like a loop.
func (i *Instance) probeSoon(port tsn.Port) {
	if g := i.edgeAt(port); g != nil && g.up && !g.cfg.Unguarded {
		g.nextProbe = min(g.nextProbe, max(i.now, g.lastProbe.Add(i.cfg.EdgeGuard.FastInterval)))
	}
}

// runGuard makes what is due happen on every edge port.
func (i *Instance) runGuard() {
	for _, g := range i.ctl.edges {
		if g.cfg.Unguarded || !g.up {
			continue
		}
		g.peers = slices.DeleteFunc(g.peers, func(p edgePeer) bool { return p.until <= i.now })
		i.judge(g, false)
		if g.nextProbe <= i.now {
			i.sendProbes(g)
		}
	}
}

// judge moves the state machine of a port. heard: something was heard just now
// that may be a conflict.
func (i *Instance) judge(g *guarded, heard bool) {
	why, culprit, hold := i.conflict(g)
	switch {
	case why != "":
		if g.state != EdgeBlocked { // for longer each time that it happens again soon
			if g.backoff++; g.calm <= i.now {
				g.backoff = 0
			}
			g.backoff = min(g.backoff, maxEdgeBackoff)
		}
		if heard && hold {
			g.quietUntil = i.now.Add(culprit.hold << g.backoff)
		}
		g.culprit = culprit
		i.setEdge(g, EdgeBlocked, why)
	case g.state == EdgeBlocked && g.quietUntil <= i.now:
		i.listen(g)
	case g.state == EdgeListening && g.listenUntil <= i.now:
		if g.blocks > 0 {
			g.calm = i.now.Add(10 * i.edgeHold(0) << g.backoff)
		}
		i.setEdge(g, EdgeForwarding, "")
	}
}

// edgeHold is how long a probe counts whose sender sends one each interval.
func (i *Instance) edgeHold(interval int64) int64 {
	c := &i.cfg.EdgeGuard
	return min(int64(c.HoldIntervals)*max(interval, c.Interval), max(maxEdgeHold, int64(c.HoldIntervals)*c.Interval))
}

func (i *Instance) guardDeadline() tsn.Instant {
	d := tsn.Never
	for _, g := range i.ctl.edges {
		if g.cfg.Unguarded || !g.up {
			continue
		}
		d = min(d, g.nextProbe)
		for _, p := range g.peers {
			d = min(d, p.until)
		}
		for _, at := range []tsn.Instant{g.fabricUntil, g.crowded, g.quietUntil} {
			if at > i.now {
				d = min(d, at)
			}
		}
		if g.state == EdgeListening {
			d = min(d, g.listenUntil)
		}
	}
	return d
}

// guardSettled: no port listens any more. During StartupHold the kernel goes
// on as the earlier life left it, so that listening costs no frame.
func (i *Instance) guardSettled() bool {
	return !slices.ContainsFunc(i.ctl.edges, func(g *guarded) bool { return g.state == EdgeListening })
}

// sendProbes sends one untagged and one in each VLAN that the port carries
// tagged: the LAN behind it may be another one in each.
func (i *Instance) sendProbes(g *guarded) {
	c := &i.cfg.EdgeGuard
	p := &ctlframe.Probe{Port: g.cfg.Port, Fabric: c.FabricID}
	interval := c.Interval - i.rng.below(c.Interval/8)
	if g.burst > 0 {
		interval = c.FastInterval
		g.burst--
	}
	switch g.state {
	case EdgeListening:
		p.State = ctlframe.ProbeListening
		p.Left = uint8(min((g.listenUntil.Sub(i.now)+c.FastInterval-1)/c.FastInterval, 255))
		interval = c.FastInterval
	case EdgeForwarding:
		p.State = ctlframe.ProbeForwarding
	default:
		p.State = ctlframe.ProbeBlocked
	}
	p.Interval = uint32(c.Interval / 1000)
	vids := []tsn.VID{0}
	for _, b := range i.cfg.BaseVIDs {
		if i.carries(g.cfg, b.VID) && !(b.VID == g.cfg.PVID && g.cfg.Untagged) {
			vids = append(vids, b.VID)
		}
	}
	if v := g.cfg.PVID; v != 0 && !g.cfg.Untagged && !slices.Contains(vids, v) {
		vids = append(vids, v)
	}
	for _, vid := range vids {
		g.sequence++
		p.Sequence = g.sequence
		i.counters.Control.ProbesSent++
		i.effects = append(i.effects, tsn.Send{Port: g.cfg.Port, Frame: p.Append(nil, i.cfg.SystemID, vid), Priority: 7})
	}
	g.lastProbe, g.nextProbe = i.now, i.now.Add(interval)
}

// receiveProbe takes a probe on any port.
func (i *Instance) receiveProbe(in tsn.Port, src tsn.MAC, p *ctlframe.Probe) {
	c := &i.counters.Control
	c.ProbesReceived++
	g := i.edgeAt(in)
	switch {
	case g == nil:
		c.ProbesOnFabric++ // an edge port is cabled to a fabric port: neither forwards much
		return
	case g.cfg.Unguarded || !g.up:
		return
	case p.Fabric != i.cfg.EdgeGuard.FabricID:
		c.ProbesForeign++
		return
	case src.IsGroup() || src.IsZero():
		c.Malformed++
		return
	}
	i.remember(g, edgePeer{system: src, port: p.Port, state: p.State, left: p.Left, hold: i.edgeHold(int64(p.Interval) * 1000)})
	was := g.state
	i.judge(g, true)
	if p.State == ctlframe.ProbeListening && g.state == was {
		// It shall know at once, but two that answer each other shall not storm.
		g.nextProbe = min(g.nextProbe, max(i.now, g.lastProbe.Add(i.cfg.EdgeGuard.FastInterval/4)))
	}
}

// remember notes what a peer says.
func (i *Instance) remember(g *guarded, p edgePeer) {
	p.until = i.now.Add(p.hold)
	if p.system != i.cfg.SystemID {
		// Its daemon may be dead and its bridge go on forwarding: first the fabric
		// must have cut it off.
		p.until = max(p.until, i.now.Add(i.cfg.holdingTime()*second+max(i.cfg.RestartGrace, 0)+i.cfg.EdgeGuard.Interval+second))
	}
	k := slices.IndexFunc(g.peers, func(q edgePeer) bool { return q.system == p.system && q.port == p.port })
	switch {
	case k >= 0:
		g.peers[k] = p
	case len(g.peers) < maxEdgePeers:
		g.peers = append(g.peers, p)
	default:
		i.counters.Control.ProbesOverCap++
		g.crowded = p.until
	}
}

// edgeHello takes an IS-IS frame that came in on an edge port. Hellos are from
// a bridge that takes the link for a fabric link.
func (i *Instance) edgeHello(in tsn.Port, frame []byte) {
	g := i.edgeAt(in)
	if g == nil || !g.up || g.cfg.Unguarded {
		return
	}
	_, _, b, err := isispdu.ParseFrame(frame)
	if err != nil {
		return
	}
	pdu, err := isispdu.Parse(b)
	if err != nil {
		return
	}
	if h, ok := pdu.(*isispdu.IIH); ok {
		g.fabricUntil = i.now.Add(min(max(int64(h.HoldingTime)*second, second), maxEdgeHold))
		i.judge(g, true)
	}
}

// EdgePort is an edge port as the edge guard sees it.
type EdgePort struct {
	Port       tsn.Port `json:"port"`
	LinkUp     bool     `json:"linkUp"`
	Guarded    bool     `json:"guarded"`
	State      string   `json:"state"` // down, listening, forwarding, blocked
	Reason     string   `json:"reason,omitempty"`
	PeerSystem tsn.MAC  `json:"peerSystem"` // that the port is blocked for, zero if none
	PeerPort   tsn.Port `json:"peerPort,omitempty"`
	SinceNS    int64    `json:"sinceNs"` // Instant of the last change of state
	Blocks     uint64   `json:"blocks"`  // how often it was blocked
	Stations   int      `json:"stations"`
}

// EdgePorts lists the edge ports, ascending.
func (i *Instance) EdgePorts() []EdgePort {
	out := make([]EdgePort, 0, len(i.ctl.edges))
	for _, g := range i.ctl.edges {
		e := EdgePort{
			Port: g.cfg.Port, LinkUp: g.up, Guarded: !g.cfg.Unguarded, State: g.state.String(), Reason: g.reason,
			SinceNS: int64(g.since), Blocks: g.blocks, Stations: i.ctl.stations.count[g.cfg.Port],
		}
		if g.state == EdgeBlocked {
			e.PeerSystem, e.PeerPort = g.culprit.system, g.culprit.port
		}
		for _, s := range i.stations {
			if s.Port == g.cfg.Port {
				e.Stations++
			}
		}
		out = append(out, e)
	}
	return out
}
