package node

import (
	"testing"

	"tsnswitch"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// FuzzControl gives a bridge and an end station events in any order, also ones
// that make no sense: no step panics, every step keeps its promises, and time
// can pass.
func FuzzControl(f *testing.F) {
	f.Add([]byte{0, 1, 1, 5, 2, 3, 9, 0, 0, 3, 1, 2, 4, 1, 0, 5, 2, 1, 6, 3, 3})
	f.Add([]byte{0, 2, 1, 2, 1, 1, 8, 2, 0, 7, 200, 1, 9, 1, 1, 9, 1, 0, 10, 1, 40})
	f.Add([]byte{0, 2, 1, 0, 3, 1, 11, 2, 9, 12, 2, 0, 14, 2, 1, 10, 0, 200, 15, 1, 1, 13, 3, 2, 10, 0, 90, 16, 3, 1, 17, 2, 2})
	f.Add([]byte{0, 2, 1, 18, 2, 5, 0, 3, 1, 18, 7, 6, 10, 0, 200, 18, 12, 1, 15, 2, 1, 10, 0, 250, 18, 17, 9, 10, 0, 90})
	shared := registrarConfig()
	shared.SPB, shared.Shared, shared.SRP.MSRP.Trees = nil, &SharedBridge{VIDs: []tsn.VID{2}}, false
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, b := range []*bench{newBench(t, config()), newBench(t, endStation()), newBench(t, registrarConfig()), newBench(t, shared)} {
			for i := 0; i+2 < len(in) && i < 300; i += 3 {
				b.step(event(b, in[i], in[i+1], in[i+2], in[i+3:]))
				if b.Deadline() <= b.now {
					b.step(tsn.Timeout{})
					if d := b.Deadline(); d <= b.now {
						t.Fatalf("at %d: the deadline is %d", b.now, d)
					}
				}
			}
		}
	})
}

// fuzzPDU is what a participant that declares a talker, or a listener, says first.
func fuzzPDU(now tsn.Instant, x, y byte, rest []byte) []byte {
	p := mrp.NewParticipant(mrp.MSRP(), mrp.Config{PointToPoint: true, MaxAttributes: 8})
	p.Start(now)
	w := wish(tsn.MAC{2, 0, 0, 5, 0, y}, 2+tsn.VID(x%2))
	switch x % 3 {
	case 0:
		return append([]byte{0}, rest[:min(len(rest), int(y))]...)
	case 1:
		p.Join(now, w.Value(), 0, true)
	default:
		p.Join(now, mrp.ListenerValue(w.StreamID), mrp.Param(y%4), true)
	}
	pdu, _ := p.Tick(now)
	return pdu
}

// event is the one that three bytes, and for frames the rest, ask for.
func event(b *bench, kind, x, y byte, rest []byte) tsn.Event {
	port := tsn.Port(x % 5)
	list := &tsn.GateControlList{
		CycleTime: millisecond, Entries: []tsn.GateEntry{{Gates: allOpen, Interval: 600_000}, {Gates: tsn.GateMask(y), Interval: 400_000}},
	}
	group := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, y}
	switch kind % 19 {
	case 0:
		return tsn.LinkChanged{Port: port, Up: y%2 == 1, Rate: tsn.Rate(y) * tsn.Mbps}
	case 1:
		return tsn.Received{Port: port, Frame: append([]byte(nil), rest[:min(len(rest), int(y))]...)}
	case 2:
		var set []tsn.Reservation
		for k := range uint16(y % 4) {
			set = append(set, tsn.Reservation{Stream: stream(k+1, group, vid+tsn.VID(x%2)), Ports: []tsn.Port{port}})
		}
		return srp.PutReservations{RequestID: 1, Owner: "f", Generation: uint64(b.now) + uint64(x), Reservations: set, Dry: x > 200}
	case 3:
		return qbv.Clock{Now: tsn.PTPTime{NS: int64(b.now)}, Synced: y > 10, Exceeded: y > 250}
	case 4:
		return qbv.Stage{RequestID: 1, ID: "f", Lists: []qbv.PortList{{Port: port, List: list}}}
	case 5:
		return qbv.Commit{RequestID: 1, ID: "f", Base: tsn.PTPTime{NS: int64(b.now) + int64(y)*10*millisecond}}
	case 6:
		return qbv.Applied{Port: port, Generation: uint64(y % 8), Refused: map[bool]string{true: "no"}[x > 200]}
	case 7:
		return qbv.ReadBack{Port: port, Oper: list}
	case 8:
		return SetUnlocked{Ports: []tsn.Port{port, tsn.Port(y % 5)}}
	case 9:
		return spb.SetEndStations{Stations: []spb.EndStation{{MAC: tsn.MAC{2, 0, 0, 1, x, y}, Port: tsn.Port(y % 5)}}}
	case 11: // a talker, or a listener of it, or whatever the rest says
		return tsn.Received{Port: port, Frame: mrp.MSRP().Frame(tsn.MAC{2, 0, 0, 9, 0, x}, fuzzPDU(b.now, x, y, rest))}
	case 12:
		return spb.StationSeen{MAC: tsn.MAC{2, 0, 0, 5, 0, y}, VID: 2, Port: port}
	case 13:
		return spb.StationGone{MAC: tsn.MAC{2, 0, 0, 5, 0, y}, VID: 2, Port: port}
	case 14:
		return srp.SetASCapable{Port: port, Capable: y%2 == 1, LinkDelay: int64(y) - 10}
	case 15:
		return srp.SetBlocked{Ports: []tsn.Port{port}[:y%2]}
	case 16:
		w := wish(tsn.MAC{2, 0, 0, 5, 0, y}, 2)
		return srp.Restore{Memory: srp.Memory{
			Registrations: []srp.RememberedValue{{Port: port, Type: x % 7, Octets: []byte(w.Value().Octet)}},
			Held:          []srp.HeldPort{{StreamID: w.StreamID, Port: port}},
			Trees:         []srp.Tree{{TreeKey: srp.TreeKey{VID: 2, Talker: w.StreamID.Source()}, Ingress: []tsn.Port{port}, Egress: []tsn.Port{1, 3}}},
		}}
	case 18: // VLANs, or groups and requirements
		app, value := mrp.MVRP(), mrp.VIDValue(tsn.VID(y))
		if x&8 != 0 {
			app, value = mrp.MMRP(), mrp.MACValue(group)
			if y%4 == 0 {
				value = mrp.ServiceRequirement(y / 4 % 2).Value()
			}
		}
		p := mrp.NewParticipant(app, mrp.Config{PointToPoint: true, MaxAttributes: 8})
		p.Start(b.now)
		p.Join(b.now, value, 0, x&16 != 0)
		pdu, _ := p.Tick(b.now)
		return tsn.Received{Port: port, Frame: app.Frame(tsn.MAC{2, 0, 0, 9, 0, x}, pdu)}
	default:
		b.now = b.now.Add(int64(y) * millisecond)
		return tsn.Timeout{}
	}
}
