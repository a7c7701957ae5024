package srp

import (
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
	f.Add(append(append(seed, 1, 2, byte(len(pdu)>>8), byte(len(pdu))), append(pdu, 3, 250, 0, 1, 0, 1, 10, 5, 0)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		l := newLab(t, 1)
		b := l.addBridge(3, func(c *Config) {
			c.MaxStreams, c.MaxGroups, c.MSRP.MaxFanIn = 4, 3, 1
			c.MSRP.ASCapable = len(in)%2 == 1
		})
		next := func() (x byte) {
			if len(in) > 0 {
				x, in = in[0], in[1:]
			}
			return x
		}
		for generation := uint64(1); len(in) > 0; generation++ {
			switch kind, port := next(), tsn.Port(next()); kind % 7 {
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
			case 6:
				l.step(b, PutReservations{Owner: "o", Generation: generation, Reservations: []tsn.Reservation{
					res(with(stream(next()), func(s *tsn.Stream) { s.MaxIntervalFrames = uint16(next()) }), port),
				}})
			}
		}
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
