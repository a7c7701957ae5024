package srp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// MSRPOwner holds, beside the owners of PutReservations, what is reserved by MSRP.
const MSRPOwner = "msrp"

// MSRPConfig makes an Instance an MSRP bridge. Zero values mean the default.
type MSRPConfig struct {
	BridgeID tsn.BridgeID // says who failed a stream; its address sends
	Classes  []SRClass    // default DefaultSRClasses
	Timers   mrp.Timers   // default mrp.Standard; see mrp.ProAV
	// ASCapable: ports are no part of an SR domain until SetASCapable says that
	// they keep time. Without it no port needs to.
	ASCapable bool
	// Trees: declarations follow SetTrees; without it they go to all other ports
	// that are up and not blocked.
	Trees bool
	// MaxFanIn is msrpMaxFanInPorts: from how many ports streams may come in; 0: any number.
	MaxFanIn int
	// MaxTalkers is how many talker declarations are taken from one port, at most
	// Config.MaxStreams, which is the default: later ones fail with code 10.
	MaxTalkers int
	// TalkerPruning: talkers are declared only where MMRP has their destination
	// registered; TalkerVLANPruning: only where MVRP has their VLAN. See SetRegistrations.
	TalkerPruning, TalkerVLANPruning bool
	Seed                             uint64
}

// SetASCapable is an event: gPTP's word on a port, and its mean link delay in
// ns. The delay is used from the next time the port becomes capable or comes up
// on, so that its jitter does not fail streams.
type SetASCapable struct {
	Port      tsn.Port
	Capable   bool
	LinkDelay int64
}

// SetBlocked is an event: these ports, and no others, are up but do not
// forward. Declarations are neither taken from nor made to them.
type SetBlocked struct{ Ports []tsn.Port }

// TreeKey names the tree that the streams of a talker take: the shortest path
// tree in the VLAN from the talker's edge bridge.
type TreeKey struct {
	VID    tsn.VID
	Talker tsn.MAC // the address in its StreamIDs
}

// Tree is that tree as one bridge sees it.
type Tree struct {
	TreeKey
	// Ingress are the ports by which the talker may be heard: that towards the
	// root, or at the root itself all at its edge.
	Ingress []tsn.Port
	Egress  []tsn.Port
	// Failure is a reason not to let the streams pass, such as
	// FailureVLANBlocked; Egress are then the ports on which to say so.
	Failure tsn.FailureCode
}

// SetTrees is an event: all trees that there are. A talker whose tree is not
// among them gets no further until it is.
type SetTrees struct{ Trees []Tree }

// TreesWanted is an effect: the trees on which streams depend from now on,
// ascending by VID and talker. Heard are the ports, ascending, on which each of
// the talkers is registered, beside Keys.
type TreesWanted struct {
	Keys  []TreeKey
	Heard [][]tsn.Port
}

// bridge is the MSRP of an Instance: MAP and the reservations it leads to
// (802.1Q 35.2.4).
type bridge struct {
	*Instance
	cfg     MSRPConfig
	app     *mrp.Application
	ports   []bridgePort // as Instance.ports
	streams map[tsn.StreamID]*streamState
	// byDestination lists who asked for a destination, in order of arrival.
	byDestination map[destination][]*streamState
	trees         map[TreeKey]Tree
	registered    registrations
	proxies       map[string]proxies // by owner
	wanted        TreesWanted
	onTree        map[TreeKey][]int     // talkers registered, by the tree they need and by port
	dirty         map[tsn.StreamID]bool // to be looked at again
	treesMoved    bool                  // since the last TreesWanted
	heldMoved     map[tsn.StreamID]bool // since the owner's set was last made
	idleMoved     bool                  // who talks has changed since then
	others        others
	held          usage
	now           tsn.Instant
	counters      MSRPCounters
	bounds        []PortBoundary // told by the last Boundaries
	restoring     *restoring     // nil: it has begun
	remembered    uint64         // counts what may change Memory
}

// bridgePort is what MSRP knows of a port.
type bridgePort struct {
	*mrp.Participant
	started, blocked bool
	startedAt        tsn.Instant
	spokenTo         bool // its neighbour has been heard to speak version 1
	capable          bool
	rate             tsn.Rate // at which latency was taken
	delay            int64    // ns, of the link
	latency          []int64
	domains          []mrp.Domain // registered
	load             load         // of what is held
	lesser           load         // of that, what is no emergency
	frames           frameCount   // of what is held
	fanIn            int          // streams held that come in here
	moved            bool         // load has changed since the last round
	told             portNews
	waiting          map[tsn.StreamID]bool
	talkers, excess  int // registered here, and those of them over the limit
}

// usage counts what is held in all.
type usage struct{ streams, groups, fanIn int }

// others is what the other owners hold.
type others struct {
	loads        map[tsn.Port]load
	frames       map[tsn.Port]longest
	ids          map[tsn.StreamID]bool
	destinations map[destination]tsn.StreamID
	usage
}

func newBridge(m *Instance, cfg MSRPConfig) (*bridge, error) {
	if cfg.Classes == nil {
		cfg.Classes = DefaultSRClasses()
	}
	for _, c := range cfg.Classes {
		if c.Priority > 7 || !isSR(m.cfg.ClassMap[c.Priority]) || c.Interval <= 0 {
			return nil, fmt.Errorf("srp: SR class %d: priority %d is of no SR traffic class, or its interval of %d ns is none",
				c.ID, c.Priority, c.Interval)
		}
	}
	if cfg.MaxFanIn < 0 {
		return nil, errors.New("srp: the fan-in limit is negative")
	}
	if cfg.MaxTalkers < 0 || cfg.MaxTalkers > m.cfg.MaxStreams {
		return nil, fmt.Errorf("srp: a limit of %d talkers on a port is outside 0..%d", cfg.MaxTalkers, m.cfg.MaxStreams)
	}
	if cfg.MaxTalkers == 0 {
		cfg.MaxTalkers = m.cfg.MaxStreams
	}
	b := &bridge{
		Instance: m, cfg: cfg, app: mrp.MSRP(), streams: map[tsn.StreamID]*streamState{},
		byDestination: map[destination][]*streamState{}, trees: map[TreeKey]Tree{}, onTree: map[TreeKey][]int{}, dirty: map[tsn.StreamID]bool{}, heldMoved: map[tsn.StreamID]bool{},
		proxies: map[string]proxies{},
	}
	for i, p := range m.ports {
		b.ports = append(b.ports, bridgePort{capable: !cfg.ASCapable, frames: frameCount{}, waiting: map[tsn.StreamID]bool{}, Participant: mrp.NewParticipant(b.app, mrp.Config{
			Timers: cfg.Timers, PointToPoint: !p.Shared, MaxAttributes: 4*m.cfg.MaxStreams + 16, Seed: cfg.Seed + uint64(i)<<32,
		})})
	}
	b.rebase()
	return b, nil
}

// step handles an event and puts what follows from it in force.
func (b *bridge) step(now tsn.Instant, ev tsn.Event) {
	b.now = now
	switch ev := ev.(type) {
	case tsn.Received:
		b.received(ev)
	case tsn.Timeout:
		b.tick()
	case SetASCapable:
		b.setCapable(ev)
	case SetBlocked:
		for i := range b.ports {
			b.ports[i].blocked = slices.Contains(ev.Ports, b.Instance.ports[i].Port)
		}
		b.touchAll()
	case PutProxies:
		b.putProxies(ev)
	case SetRegistrations:
		b.setRegistrations(ev)
	case SetTrees:
		b.setTrees(ev)
	case Restore:
		b.restore(ev.Memory)
	}
	b.settle()
}

func (b *bridge) deadline() tsn.Instant {
	d := b.nextSilence()
	for i := range b.ports {
		d = min(d, b.ports[i].Deadline())
	}
	if b.restoring != nil {
		d = min(d, b.restoring.until)
	}
	return d
}

func (b *bridge) index(n tsn.Port) int {
	return slices.IndexFunc(b.Instance.ports, func(p port) bool { return p.Port == n })
}

func (b *bridge) received(ev tsn.Received) {
	i := b.index(ev.Port)
	pdu, ok := b.app.PDU(ev.Frame)
	if i < 0 || !ok {
		return
	}
	p := &b.ports[i]
	dropped := p.Counters().Dropped
	b.indicated(i, p.Receive(b.now, pdu))
	b.tableFull(i, p.Counters().Dropped != dropped)
	b.heardVersion(i)
}

func (b *bridge) tick() {
	if b.restoring != nil && b.now >= b.restoring.until {
		b.resume()
	}
	for i := range b.ports {
		p := &b.ports[i]
		for more := b.now >= p.Deadline(); more; more = more && b.now >= p.Deadline() {
			pdu, told := p.Tick(b.now)
			if more = pdu != nil; more {
				b.emit(tsn.Send{Port: b.Instance.ports[i].Port, Frame: b.app.Frame(b.cfg.BridgeID.System(), pdu), Priority: 7})
			}
			b.indicated(i, told)
		}
	}
}

// link starts or ends a port's part, and makes what is held fit its new rate.
func (b *bridge) link(now tsn.Instant, i int) {
	b.now = now
	p, up := &b.ports[i], b.Instance.ports[i].up
	switch {
	case b.restoring != nil && b.restoring.ready(b.Instance.ports):
		b.resume()
	case b.restoring != nil: // wait
	case up && !p.started:
		b.start(i)
	case !up && p.started:
		p.started = false
		b.indicated(i, p.Stop())
	}
	if p.started && (p.latency == nil || p.rate != b.Instance.ports[i].rate()) {
		b.measure(i)
	}
	b.domainsMoved(i)
	b.trim(i)
	b.touchAll()
	b.settle()
}

// start begins to take part on a port that is up.
func (b *bridge) start(i int) {
	p := &b.ports[i]
	p.started, p.startedAt, p.latency, p.spokenTo = true, b.now, nil, false
	p.SetVersion(b.Instance.ports[i].Version)
	p.Start(b.now)
	for _, c := range b.cfg.Classes {
		p.Join(b.now, c.domain().Value(), 0, false)
	}
	b.measure(i)
}

// setTrees has those streams looked at again whose trees have changed.
func (b *bridge) setTrees(ev SetTrees) {
	b.remembered++
	before := b.trees
	b.trees = make(map[TreeKey]Tree, len(ev.Trees))
	for _, t := range ev.Trees {
		b.trees[t.TreeKey] = t
	}
	moved := func(t talkerAt) bool {
		k := treeKey(t.Talker)
		old, had := before[k]
		now, has := b.trees[k]
		return had != has || !slices.Equal(old.Ingress, now.Ingress) || old.Failure != now.Failure || !slices.Equal(old.Egress, now.Egress)
	}
	for id, s := range b.streams {
		if slices.ContainsFunc(s.talkers, moved) {
			b.dirty[id] = true
		}
	}
}

func (b *bridge) setCapable(ev SetASCapable) {
	i := b.index(ev.Port)
	if i < 0 {
		return
	}
	p := &b.ports[i]
	p.delay = max(ev.LinkDelay, 0)
	if b.cfg.ASCapable && p.capable != ev.Capable {
		p.capable = ev.Capable
		b.remembered++
		b.measure(i)
		b.domainsMoved(i)
		b.touchAll()
	}
}

// longestFrame is the longest frame of other traffic that a stream waits for on
// each hop, with all that it costs.
const longestFrame = 2000

// measure takes the latency that a port adds to a stream, by class (35.2.2.8.6):
// a frame in front of it, itself, the interval in which its burst may come, the link.
func (b *bridge) measure(i int) {
	p := &b.ports[i]
	p.rate, p.latency = b.Instance.ports[i].rate(), p.latency[:0]
	for _, c := range b.cfg.Classes {
		p.latency = append(p.latency, p.delay+2*p.rate.TransmitTime(longestFrame)+c.Interval)
	}
}

// rebase takes stock of what the other owners hold.
func (b *bridge) rebase() {
	b.idleMoved = true
	b.others = others{ids: map[tsn.StreamID]bool{}, destinations: map[destination]tsn.StreamID{}}
	b.others.loads, b.others.frames = b.loads(MSRPOwner, nil), b.longestFrames(MSRPOwner)
	b.Instance.others(MSRPOwner, func(r tsn.Reservation, _ string) {
		b.others.ids[r.Stream.ID] = true
		b.others.destinations[destinationOf(r.Stream)] = r.Stream.ID
		b.others.streams++
		if r.Stream.DestinationAddress.IsGroup() {
			b.others.groups++
		}
	})
	b.touchAll()
}

// touchAll has every stream looked at again.
func (b *bridge) touchAll() {
	for id := range b.streams {
		b.dirty[id] = true
	}
}

// indicated takes what a port's participant tells.
func (b *bridge) indicated(i int, told []mrp.Indication) {
	b.remembered += uint64(len(told))
	for _, n := range told {
		if err := b.indication(i, n, n.Kind == mrp.IndicateLeave); err != nil && n.Kind != mrp.IndicateLeave {
			b.counters.Malformed++
		}
	}
	if slices.ContainsFunc(told, func(n mrp.Indication) bool { return n.Value.Type == mrp.TypeDomain }) {
		b.domainsMoved(i)
	}
}

func (b *bridge) indication(i int, n mrp.Indication, leaves bool) error {
	switch n.Value.Type {
	case mrp.TypeTalkerAdvertise, mrp.TypeTalkerFailed:
		t, err := mrp.ParseTalker(n.Value)
		if err != nil {
			return err
		}
		b.talker(i, n.Value, b.wishOf(t), leaves)
	case mrp.TypeTalkerEnhanced:
		t, err := mrp.ParseTalkerEnhanced(n.Value)
		if err != nil {
			return err
		}
		b.talker(i, n.Value, b.wishOfEnhanced(t), leaves)
	case mrp.TypeListener:
		id, err := mrp.ParseListener(n.Value)
		if err != nil {
			return err
		}
		b.stream(id).listener(i, n.Param, leaves)
	case mrp.TypeListenerEnhanced:
		l, err := mrp.ParseListenerEnhanced(n.Value)
		if err != nil {
			return err
		}
		b.stream(l.StreamID).out[i].listenerEnhanced(n.Value, l, leaves)
	case mrp.TypeDomain:
		d, err := mrp.ParseDomain(n.Value)
		if err != nil {
			return err
		}
		b.domain(i, d, leaves)
	}
	return nil
}

func (b *bridge) domain(i int, d mrp.Domain, leaves bool) {
	p := &b.ports[i]
	p.domains = slices.DeleteFunc(p.domains, func(o mrp.Domain) bool { return o == d })
	if !leaves {
		p.domains = append(p.domains, d)
	}
	b.touchAll()
}

// stream returns what is known of a stream, and has it looked at.
func (b *bridge) stream(id tsn.StreamID) *streamState {
	s := b.streams[id]
	if s == nil {
		s = &streamState{id: id, in: none, last: none, out: make([]outPort, len(b.ports)), answered: none}
		b.streams[id] = s
	}
	b.dirty[id] = true
	return s
}

// settle looks at streams until nothing changes, and tells what has.
func (b *bridge) settle() {
	for len(b.dirty) > 0 {
		batch := b.batch()
		tight := b.tight()
		for _, s := range batch {
			b.giveUp(s)
		}
		if b.touchAffected(tight); len(b.dirty) > 0 { // who has waited for it goes before newcomers
			b.touch(batch)
			batch = b.batch()
		}
		for _, s := range batch {
			b.evaluate(s)
		}
		b.touchAffected(tight || b.tight())
	}
	b.publish()
	b.askForTrees()
	b.tellBoundaries()
}

// batch takes the streams to be looked at, the more important first.
func (b *bridge) batch() []*streamState {
	out := make([]*streamState, 0, len(b.dirty))
	for id := range b.dirty {
		out = append(out, b.streams[id])
	}
	clear(b.dirty)
	slices.SortFunc(out, func(a, b *streamState) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), compareStreamID(a.id, b.id))
	})
	return out
}

// touchAffected has those looked at again whose chances on a port have changed:
// on one whose load has moved, or on all.
func (b *bridge) touchAffected(all bool) {
	moved := slices.ContainsFunc(b.ports, func(p bridgePort) bool { return p.moved })
	for i := range b.ports {
		p := &b.ports[i]
		if p.moved || moved && all {
			for id := range p.waiting {
				b.dirty[id] = true
			}
		}
		p.moved = false
	}
}

// tight reports whether a limit that all ports share may refuse a stream.
func (b *bridge) tight() bool {
	return b.cfg.MaxFanIn > 0 || b.held.streams+b.others.streams >= b.Instance.cfg.MaxStreams ||
		b.held.groups+b.others.groups >= b.Instance.cfg.MaxGroups
}

func (b *bridge) sorted() []*streamState {
	out := make([]*streamState, 0, len(b.streams))
	for _, s := range b.streams {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *streamState) int { return compareStreamID(a.id, b.id) })
	return out
}

// wantTree counts a talker at a port on its tree.
func (b *bridge) wantTree(t mrp.Talker, port, n int) {
	if !b.cfg.Trees {
		return
	}
	k := treeKey(t)
	at := b.onTree[k]
	if at == nil {
		at = make([]int, len(b.ports))
		b.onTree[k] = at
	}
	before := at[port]
	at[port] += n
	b.treesMoved = b.treesMoved || (before == 0) != (at[port] == 0)
}

func (b *bridge) askForTrees() {
	if !b.treesMoved {
		return
	}
	b.treesMoved = false
	maps.DeleteFunc(b.onTree, func(_ TreeKey, at []int) bool { return !slices.ContainsFunc(at, func(n int) bool { return n > 0 }) })
	w := TreesWanted{Keys: slices.SortedFunc(maps.Keys(b.onTree), compareTreeKeys)}
	for _, key := range w.Keys {
		var heard []tsn.Port
		for i, n := range b.onTree[key] {
			if n > 0 {
				heard = append(heard, b.Instance.ports[i].Port)
			}
		}
		w.Heard = append(w.Heard, heard)
	}
	if !w.equal(b.wanted) {
		b.wanted = w
		b.emit(w.clone())
	}
}

func compareTreeKeys(a, b TreeKey) int {
	return cmp.Or(cmp.Compare(a.VID, b.VID), bytes.Compare(a.Talker[:], b.Talker[:]))
}

func (w TreesWanted) equal(o TreesWanted) bool {
	return slices.Equal(w.Keys, o.Keys) && slices.EqualFunc(w.Heard, o.Heard, slices.Equal)
}

func (w TreesWanted) clone() TreesWanted {
	out := TreesWanted{Keys: slices.Clone(w.Keys)}
	for _, h := range w.Heard {
		out.Heard = append(out.Heard, slices.Clone(h))
	}
	return out
}
