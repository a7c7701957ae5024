package srp

import (
	"bytes"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// Any sequence of events, PDUs among them: no limit is exceeded, MSRP's sums,
// the table and the desired state agree, and looking again changes nothing.
func FuzzMSRP(f *testing.F) {
	app := mrp.MSRP()
	p := mrp.NewParticipant(app, mrp.Config{PointToPoint: true})
	p.Start(0)
	n := &labNode{id: 7}
	for i := range byte(5) {
		p.Join(0, n.talker(i).Value(), 0, true)
		p.Join(0, mrp.ListenerValue(n.talker(i).StreamID), mrp.ListenerReady, true)
	}
	pdu, _ := p.Tick(0)
	seed := append([]byte{0, 1, 0, 1, 100, 0, 2, 0, 1, 100, 1, 1, byte(len(pdu) >> 8), byte(len(pdu))}, pdu...)
	v, _ := n.enhanced(nil).Value()
	q := mrp.NewParticipant(app, mrp.Config{PointToPoint: true})
	q.SetVersion(1)
	q.Start(0)
	q.Join(0, v, 0, true)
	q.Join(0, mrp.ListenerEnhanced{StreamID: n.talker(1).StreamID, Status: mrp.Status{Listener: mrp.StatusReady}}.Value(), 0, true)
	one, _ := q.Tick(0)
	f.Add(append(append(bytes.Clone(seed), 1, 2, byte(len(one)>>8), byte(len(one))), append(one, 7, 0, 3, 1, 1, 3, 1, 3, 0, 2, 1, 0, 8, 2, 2, 0, 3, 0, 1)...))
	f.Add(append(append(seed, 1, 2, byte(len(pdu)>>8), byte(len(pdu))), append(pdu, 3, 250, 0, 1, 0, 1, 10, 5, 0)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLab(t, 1)
		b := l.addBridge(3, func(c *Config) {
			c.MaxStreams, c.MaxGroups, c.MSRP.MaxFanIn = 4, 3, 1
			c.MSRP.ASCapable, c.MSRP.TalkerPruning = len(in)%2 == 1, len(in)%8 == 7
			c.MSRP.MaxTalkers, c.Ports[1].Version = 1+len(in)%4, uint8(len(in)%3)
			c.MSRP.Trees = len(in)%16 > 11
		})
		next := func() (x byte) {
			if len(in) > 0 {
				x, in = in[0], in[1:]
			}
			return x
		}
		for generation := uint64(1); len(in) > 0; generation++ {
			switch kind, port := next(), tsn.Port(next()); kind % 10 {
			case 0:
				next()
				up := next()&1 != 0
				l.step(b, tsn.LinkChanged{Port: port, Up: up, Rate: tsn.Rate(next()) * tsn.Mbps})
			case 1:
				size := min(int(next())<<8|int(next()), len(in))
				l.step(b, tsn.Received{Port: port, Frame: app.Frame(n.mac(), in[:size])})
				in = in[size:]
			case 2:
				l.step(b, tsn.Received{Port: port, Frame: in})
			case 3:
				l.now = l.now.Add(int64(port) * 100_000_000)
				l.step(b, tsn.Timeout{})
			case 4:
				l.step(b, SetASCapable{port, next()&1 != 0, int64(next())})
			case 5:
				l.step(b, SetBlocked{[]tsn.Port{port}})
			case 7:
				ev := PutProxies{Owner: "o", Generation: generation}
				for range next() % 4 {
					w := n.talker(next() % 4)
					w.Rank, w.DataFramePriority, w.MaxIntervalFrames = next()%2, tsn.PCP(next()%4), uint16(next())
					ev.Talkers = append(ev.Talkers, ProxyTalker{tsn.Port(next() % 4), w, uint32(next()) << 12})
					ev.Listeners = append(ev.Listeners, ProxyListener{tsn.Port(next() % 4), n.talker(next() % 4).StreamID, uint32(next()) << 12})
				}
				l.step(b, ev)
			case 8:
				vid := []tsn.VID{tsn.VID(next() % 4)}
				l.step(b, SetRegistrations{
					Members: []PortMembers{{port, []tsn.PortVLAN{{VID: vid[0], Untagged: next()&1 != 0}}}}, Forbidden: []PortVLANs{{tsn.Port(next()), vid}},
					GroupsFull: next()&1 != 0, Groups: RegisteredGroups{Groups: []RegisteredGroup{{2, n.talker(next() % 4).DestinationAddress, []tsn.Port{port}}}},
				})
			case 9:
				var ev SetTrees
				for _, k := range b.wanted {
					failure := []tsn.FailureCode{tsn.FailureNone, tsn.FailureVLANBlocked}[next()%8/7]
					ev.Trees = append(ev.Trees, Tree{TreeKey: k, Ingress: []tsn.Port{port % 4}, Egress: []tsn.Port{1 + port%3, tsn.Port(next() % 4)}, Failure: failure})
				}
				l.step(b, ev)
			case 6:
				l.step(b, PutReservations{Owner: "o", Generation: generation, Reservations: []tsn.Reservation{
					res(with(stream(next()), func(s *tsn.Stream) { s.MaxIntervalFrames = uint16(next()) }), port),
				}})
			}
		}
		b.checkDeclared(t)
		before := b.text()
		b.bridge.msrp.touchAll()
		if l.step(b, SetBlocked{b.bridge.msrp.blockedPorts()}); b.text() != before {
			t.Fatalf("had not looked again where it should have:\n%s\nnow\n%s", before, b.text())
		}
		l.checkLimits(b)
	})
}

func (b *bridge) blockedPorts() (out []tsn.Port) {
	for i := range b.ports {
		if b.ports[i].blocked {
			out = append(out, b.Instance.ports[i].Port)
		}
	}
	return out
}
