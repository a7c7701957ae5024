package srp

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

const second = tsn.Instant(1_000_000_000)

// lab is bridges and end stations on LANs, in virtual time.
type lab struct {
	t       testing.TB
	now     tsn.Instant
	nodes   []*labNode
	lans    []*lan
	flights []flight // ascending at
	loss    func() bool
	tap     func(from string, s tsn.Send)
	seed    uint64
}

type end struct {
	node *labNode
	port tsn.Port
}

// lan is a link, or with more than two ends a shared medium.
type lan struct {
	ends []end
	up   bool
	rate tsn.Rate
}

type flight struct {
	at    tsn.Instant
	to    end
	frame []byte
}

// labNode is a bridge or an end station.
type labNode struct {
	name     string
	id       byte
	bridge   *Instance // or
	station  *station
	cfg      Config
	deadline tsn.Instant
	wanted   []TreeKey
	reserved Reserved
	notices  []string
	result   *Refusal
}

// station is an end station: it declares its domains and talkers, and answers the
// talkers it wants to listen to.
type station struct {
	*mrp.Participant
	heard  []mrp.Value // registered talkers, the latest last
	wants  map[tsn.StreamID]bool
	said   map[tsn.StreamID]mrp.Param
	talks  map[tsn.StreamID]mrp.Talker
	answer map[tsn.StreamID]mrp.Param // registered listeners
}

func newLab(t testing.TB, seed uint64) *lab { return &lab{t: t, seed: seed} }

// addBridge makes a bridge of n ports, all of 100 Mbit/s.
func (l *lab) addBridge(n int, change func(*Config)) *labNode {
	id := byte(len(l.nodes) + 1)
	cfg := Config{MSRP: &MSRPConfig{BridgeID: tsn.MakeBridgeID(0x8000, tsn.MAC{2, 0, 0, 0, 0xb, id}), Seed: l.seed + uint64(id)<<40}}
	for i := range n {
		cfg.Ports = append(cfg.Ports, PortConfig{Port: tsn.Port(i + 1)})
	}
	if change != nil {
		change(&cfg)
	}
	b := &labNode{name: fmt.Sprintf("b%d", id), id: id, cfg: cfg, deadline: tsn.Never}
	l.nodes = append(l.nodes, b)
	l.restart(b)
	return b
}

// restart makes a bridge forget everything; its links stay up.
func (l *lab) restart(b *labNode) {
	m, err := New(b.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	b.bridge, b.reserved, b.wanted = m, Reserved{}, nil
	for _, n := range l.lans {
		for _, e := range n.ends {
			if e.node == b && n.up {
				l.step(b, tsn.LinkChanged{Port: e.port, Up: true, Rate: n.rate})
			}
		}
	}
}

func (l *lab) addStation(shared bool) *labNode {
	id := byte(len(l.nodes) + 1)
	s := &station{
		Participant: mrp.NewParticipant(mrp.MSRP(), mrp.Config{PointToPoint: !shared, Seed: l.seed + uint64(id)<<40}),
		wants:       map[tsn.StreamID]bool{}, said: map[tsn.StreamID]mrp.Param{}, talks: map[tsn.StreamID]mrp.Talker{}, answer: map[tsn.StreamID]mrp.Param{},
	}
	n := &labNode{name: fmt.Sprintf("s%d", id), id: id, station: s, deadline: tsn.Never}
	l.nodes = append(l.nodes, n)
	return n
}

func (n *labNode) mac() tsn.MAC { return tsn.MAC{2, 0, 0, 0, 1, n.id} }

func (l *lab) connect(ends ...end) *lan {
	n := &lan{ends: ends}
	l.lans = append(l.lans, n)
	l.setLink(n, true, 100*tsn.Mbps)
	return n
}

func (l *lab) setLink(n *lan, up bool, rate tsn.Rate) {
	n.up, n.rate = up, rate
	for _, e := range n.ends {
		switch s := e.node.station; {
		case s == nil:
			l.step(e.node, tsn.LinkChanged{Port: e.port, Up: up, Rate: rate})
		case up:
			s.Start(l.now)
			for _, c := range DefaultSRClasses() {
				s.Join(l.now, c.domain().Value(), 0, false)
			}
			e.node.deadline = s.Deadline()
		default:
			s.take(l.now, s.Stop())
			e.node.deadline = s.Deadline()
		}
	}
}

// talker n of a station: a class A stream of 1 frame of 224 octets in 125 us,
// which is 17024 kbit/s: four fit in 75 Mbit/s.
func (n *labNode) talker(unique byte) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(n.mac(), uint16(unique)), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, n.id, unique}, VID: 2,
		MaxFrameSize: 224, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

func (l *lab) talk(n *labNode, t mrp.Talker) {
	l.hush(n, t.StreamID)
	n.station.talks[t.StreamID] = t
	n.station.Join(l.now, t.Value(), 0, true)
	n.deadline = n.station.Deadline()
}

func (l *lab) hush(n *labNode, id tsn.StreamID) {
	if old, ok := n.station.talks[id]; ok {
		n.station.Leave(l.now, old.Value())
		delete(n.station.talks, id)
	}
	n.deadline = n.station.Deadline()
}

func (l *lab) listen(n *labNode, id tsn.StreamID, want bool) {
	n.station.wants[id] = want
	n.station.respond(l.now)
	n.deadline = n.station.Deadline()
}

// take is what an end station does about indications.
func (s *station) take(now tsn.Instant, told []mrp.Indication) {
	for _, n := range told {
		switch n.Value.Type {
		case mrp.TypeTalkerAdvertise, mrp.TypeTalkerFailed:
			s.heard = slices.DeleteFunc(s.heard, func(v mrp.Value) bool { return v == n.Value })
			if n.Kind != mrp.IndicateLeave {
				s.heard = append(s.heard, n.Value)
			}
		case mrp.TypeListener:
			id, _ := mrp.ParseListener(n.Value)
			if s.answer[id] = n.Param; n.Kind == mrp.IndicateLeave {
				delete(s.answer, id)
			}
		}
	}
	s.respond(now)
}

// offered is the latest talker declaration that the station hears of a stream.
func (s *station) offered(id tsn.StreamID) *mrp.Talker {
	for _, v := range slices.Backward(s.heard) {
		if t, _ := mrp.ParseTalker(v); t.StreamID == id {
			return &t
		}
	}
	return nil
}

func (s *station) respond(now tsn.Instant) {
	ids := []tsn.StreamID{}
	for id := range s.wants {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareStreamID)
	for _, id := range ids {
		say := mrp.ListenerIgnore
		switch t := s.offered(id); {
		case t == nil || !s.wants[id]:
		case t.Failed:
			say = mrp.ListenerAskingFailed
		default:
			say = mrp.ListenerReady
		}
		if say == s.said[id] {
			continue
		}
		if s.said[id] = say; say == mrp.ListenerIgnore {
			s.Leave(now, mrp.ListenerValue(id))
		} else {
			s.Join(now, mrp.ListenerValue(id), say, true)
		}
	}
}

func (l *lab) step(n *labNode, ev tsn.Event) {
	effects := n.bridge.Step(l.now, ev)
	check := false
	for _, e := range effects {
		switch e := e.(type) {
		case tsn.Send:
			l.send(n, e)
		case Reserved:
			n.reserved, check = e, true
		case TreesWanted:
			n.wanted = e.Keys
		case Result:
			n.result = e.Err
		case tsn.Notice:
			n.notices = append(n.notices, fmt.Sprintf("%s port %d %s", e.Kind, e.Port, e.Detail))
		}
	}
	if _, link := ev.(tsn.LinkChanged); link || check {
		l.checkLimits(n)
	}
	n.deadline = n.bridge.Deadline()
}

// checkLimits: what MSRP holds never takes a port over a limit, and the table,
// the desired state and MSRP's own sums agree.
func (l *lab) checkLimits(n *labNode) {
	l.t.Helper()
	b := n.bridge.msrp
	loads := n.bridge.loads("", nil)
	for i := range n.bridge.ports {
		p := &n.bridge.ports[i]
		if b.load(i) != loads[p.Port] {
			l.t.Fatalf("%s port %d: MSRP counts %v, the table %v", n.name, p.Port, b.load(i), loads[p.Port])
		}
		if !p.up && b.ports[i].load != (load{}) {
			l.t.Fatalf("%s port %d is down and holds %v", n.name, p.Port, b.ports[i].load)
		}
		if r := n.bridge.checkBandwidth(p, loads[p.Port], load{}); r != nil && b.ports[i].load != (load{}) {
			l.t.Fatalf("%v %s: %v", l.now, n.name, r)
		}
	}
	if !n.reserved.equal(n.bridge.reserved()) {
		l.t.Fatalf("%s: told %+v, holds %+v", n.name, n.reserved, n.bridge.reserved())
	}
}

// checkDeclared: of a stream at most one talker and one listener is declared on a
// port (35.2.6), and never both.
func (n *labNode) checkDeclared(t testing.TB) {
	t.Helper()
	for i := range n.bridge.ports {
		seen := map[tsn.StreamID]string{}
		for _, a := range n.bridge.msrp.ports[i].Attributes() {
			id := tsn.StreamID{}
			if w, err := mrp.ParseTalker(a.Value); err == nil {
				id = w.StreamID
			} else if l, err := mrp.ParseListener(a.Value); err == nil {
				id = l
			} else if w, err := mrp.ParseTalkerEnhanced(a.Value); err == nil {
				id = w.StreamID
			} else if l, err := mrp.ParseListenerEnhanced(a.Value); err == nil {
				id = l.StreamID
			}
			if !a.Declared || id == (tsn.StreamID{}) {
				continue
			}
			if other := seen[id]; other != "" {
				t.Fatalf("%s port %d declares of %s both %s and %s", n.name, n.bridge.ports[i].Port, id, other, valueText(a.Value, a.Declare))
			}
			seen[id] = valueText(a.Value, a.Declare)
		}
	}
}

// send delivers a frame to the other ends; a frame takes a microsecond.
func (l *lab) send(from *labNode, s tsn.Send) {
	if l.tap != nil {
		l.tap(from.name, s)
	}
	for _, n := range l.lans {
		i := slices.Index(n.ends, end{from, s.Port})
		if i < 0 || !n.up {
			continue
		}
		for j, to := range n.ends {
			if j != i && (l.loss == nil || !l.loss()) {
				l.flights = append(l.flights, flight{l.now.Add(1000), to, bytes.Clone(s.Frame)})
			}
		}
	}
}

func (l *lab) run(until tsn.Instant) {
	for {
		next := tsn.Never
		for _, n := range l.nodes {
			next = min(next, n.deadline)
		}
		if len(l.flights) > 0 {
			next = min(next, l.flights[0].at)
		}
		if next > until {
			l.now = until
			return
		}
		l.now = max(l.now, next)
		for len(l.flights) > 0 && l.flights[0].at <= l.now {
			f := l.flights[0]
			l.flights = l.flights[1:]
			l.deliver(f)
		}
		for _, n := range l.nodes {
			if n.deadline <= l.now {
				l.tick(n)
			}
		}
	}
}

func (l *lab) runFor(s float64) { l.run(l.now.Add(int64(s * 1e9))) }

func (l *lab) deliver(f flight) {
	if f.to.node.bridge != nil {
		l.step(f.to.node, tsn.Received{Port: f.to.port, Frame: f.frame})
		return
	}
	pdu, _ := mrp.MSRP().PDU(f.frame)
	s := f.to.node.station
	s.take(l.now, s.Receive(l.now, pdu))
	f.to.node.deadline = s.Deadline()
}

func (l *lab) tick(n *labNode) {
	if n.bridge != nil {
		l.step(n, tsn.Timeout{})
		return
	}
	pdu, told := n.station.Tick(l.now)
	if pdu != nil {
		l.send(n, tsn.Send{Port: 1, Frame: mrp.MSRP().Frame(n.mac(), pdu)})
	}
	n.station.take(l.now, told)
	n.deadline = n.station.Deadline()
}

// text is a bridge's streams, a line for each.
func (n *labNode) text() string {
	var b strings.Builder
	for _, s := range n.bridge.MSRPStreams() {
		fmt.Fprintf(&b, "%s %s from port %d, says %s\n", n.name, s.ID, s.TalkerPort, mrp.ListenerText(s.Answer))
		for _, p := range s.Ports {
			fmt.Fprintf(&b, "   port %d: listener %s", p.Port, mrp.ListenerText(p.Listener))
			if p.ListenerProxied {
				b.WriteString(", proxied")
			}
			if p.TalkerDeclared {
				fmt.Fprintf(&b, ", %s", talkerText(p.Declared))
			}
			if p.Reserved {
				b.WriteString(", reserved")
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func talkerText(t mrp.Talker) string {
	if t.Failed {
		return fmt.Sprintf("failed by %s: %s, %d ns", t.BridgeID, t.FailureCode, t.AccumulatedLatency)
	}
	return fmt.Sprintf("advertised, %d ns", t.AccumulatedLatency)
}

func sortedNodes(l *lab, keep func(*labNode) bool) (out []*labNode) {
	for _, n := range l.nodes {
		if keep(n) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b *labNode) int { return cmp.Compare(a.id, b.id) })
	return out
}
