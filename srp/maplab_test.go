package srp

import (
	"cmp"
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// mapLab is machines of MVRP or MMRP, joined by links of two ends, in virtual time.
type mapLab struct {
	t       testing.TB
	now     tsn.Instant
	nodes   []*mapNode
	links   []mapLink
	flights []mapFlight // ascending at
	loss    func() bool
	frames  [][]byte // all that was sent, if taped
	taped   bool
}

type mapNode struct {
	tsn.Machine
	vlans   RegisteredVLANs
	groups  RegisteredGroups
	flushed []FlushLearned
	notices []tsn.Notice
}

type mapEnd struct {
	node int
	port tsn.Port
}

type mapLink [2]mapEnd

type mapFlight struct {
	at    tsn.Instant
	to    mapEnd
	frame []byte
}

const mapHop = 10_000 // ns

func (l *mapLab) add(m tsn.Machine) int {
	l.nodes = append(l.nodes, &mapNode{Machine: m})
	return len(l.nodes) - 1
}

func (l *mapLab) connect(a, b mapEnd) {
	l.links = append(l.links, mapLink{a, b})
	l.setLink(len(l.links)-1, true)
}

func (l *mapLab) setLink(i int, up bool) {
	for _, e := range l.links[i] {
		l.step(e.node, tsn.LinkChanged{Port: e.port, Up: up, Rate: tsn.Gbps})
	}
}

func (l *mapLab) step(n int, ev tsn.Event) {
	node := l.nodes[n]
	for _, e := range node.Step(l.now, ev) {
		switch e := e.(type) {
		case tsn.Send:
			l.send(mapEnd{n, e.Port}, e.Frame)
		case RegisteredVLANs:
			node.vlans = e
		case RegisteredGroups:
			node.groups = e
		case FlushLearned:
			node.flushed = append(node.flushed, e)
		case tsn.Notice:
			node.notices = append(node.notices, e)
		}
	}
}

func (l *mapLab) send(from mapEnd, frame []byte) {
	if l.taped {
		l.frames = append(l.frames, frame)
	}
	for _, k := range l.links {
		for i, e := range k {
			if e == from && (l.loss == nil || !l.loss()) {
				f := mapFlight{l.now.Add(mapHop), k[1-i], frame}
				at, _ := slices.BinarySearchFunc(l.flights, f, func(a, b mapFlight) int { return cmp.Or(cmp.Compare(a.at, b.at), -1) })
				l.flights = slices.Insert(l.flights, at, f)
			}
		}
	}
}

// run lets time pass.
func (l *mapLab) run(d int64) {
	for until := l.now.Add(d); ; {
		next, who := until, -1
		for i, n := range l.nodes {
			if n.Deadline() < next {
				next, who = n.Deadline(), i
			}
		}
		if len(l.flights) > 0 && l.flights[0].at <= next {
			f := l.flights[0]
			l.flights = l.flights[1:]
			l.now = max(l.now, f.at)
			l.step(f.to.node, tsn.Received{Port: f.to.port, Frame: f.frame})
			continue
		}
		l.now = max(l.now, next)
		if who < 0 {
			return
		}
		l.step(who, tsn.Timeout{})
	}
}

// talker is an end station with one port, 1, of an MRP application: what it
// declares it is told by join and leave.
type talker struct {
	*mrp.Participant
	app *mrp.Application
	mac tsn.MAC
	tag tsn.VID // its frames carry a tag
}

func newTalker(app *mrp.Application, n byte) *talker {
	return &talker{mrp.NewParticipant(app, mrp.Config{PointToPoint: true, Seed: uint64(n)}), app, tsn.MAC{2, 0, 0, 0, 1, n}, 0}
}

func (s *talker) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	switch ev := ev.(type) {
	case tsn.LinkChanged:
		if ev.Up {
			s.Start(now)
		} else {
			s.Stop()
		}
	case tsn.Received:
		vid, frame := untag(ev.Frame)
		if pdu, ok := s.app.PDU(frame); ok && vid == s.tag {
			s.Receive(now, pdu)
		}
	case tsn.Timeout:
		if pdu, _ := s.Tick(now); pdu != nil {
			f := s.app.Frame(s.mac, pdu)
			if s.tag != 0 {
				f = slices.Concat(f[:12], []byte{0x81, 0, 0, byte(s.tag)}, f[12:])
			}
			return []tsn.Effect{tsn.Send{Port: 1, Frame: f, Priority: 7}}
		}
	}
	return nil
}

// heardBy reports whether a station has registered a value, which its bridge declares.
func (s *talker) heard(v mrp.Value) bool {
	_, ok := s.Registered(v)
	return ok
}
