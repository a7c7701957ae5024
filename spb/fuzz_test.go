package spb

import (
	"bytes"
	"net/netip"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// FuzzStep feeds a soup of events: link changes, time, what the daemon and
// people ask for, frames made of the input with the right framing and checksum,
// so that they get past the first checks. Nothing panics, the deadline is never
// stuck in the past, and what is sent decodes. The first octet picks options.
func FuzzStep(f *testing.F) {
	l := newLab(f, 3, ring(3), nil)
	var soup []byte
	seen := 0
	l.tap = func(_ int, s tsn.Send) bool {
		pdu := s.Frame[17:]
		if seen++; len(pdu) < 256 && seen < 60 {
			soup = append(append(soup, 4, byte(len(pdu))), pdu...)
		}
		return true
	}
	l.allUp()
	l.run(second)
	for options := range byte(8) {
		f.Add(append([]byte{options}, soup...))
	}
	asks := []byte{0, 2, 0, 2, 3, 2, 6, 2, 7}
	for k := range byte(32) {
		asks = append(asks, 2, k, 1, 3)
	}
	f.Add(asks)
	f.Add([]byte{3, 0, 0, 1, 5, 0, 1, 1, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg := peerConfig()
		cfg.Seed = 1
		cfg.SystemID, cfg.Caps.MaxLSPs = nodeMAC(0), 20
		if len(in) > 0 {
			fuzzOptions(&cfg, in[0])
			in = in[1:]
		}
		inst, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var now tsn.Instant
		step := func(ev tsn.Event) {
			for _, e := range inst.Step(now, ev) {
				if s, ok := e.(tsn.Send); ok {
					if s.Frame[12] >= 6 { // EtherType: own control frames and CFM
						continue
					}
					if _, _, b, err := isispdu.ParseFrame(s.Frame); err != nil {
						t.Fatal(err)
					} else if _, err := isispdu.Parse(b); err != nil {
						t.Fatal(err)
					}
				}
			}
			if d := inst.Deadline(); d <= now {
				t.Fatalf("deadline %d at %d after %#v", d, now, ev)
			}
		}
		step(tsn.LinkChanged{Port: 1, Up: true})
		step(tsn.LinkChanged{Port: 2, Up: true})
		for len(in) >= 2 {
			op, arg := in[0], in[1]
			in = in[2:]
			switch op % 6 {
			case 0:
				step(tsn.LinkChanged{Port: tsn.Port(1 + arg&1), Up: arg&2 == 0, Rate: tsn.Rate(arg)})
			case 1:
				now = now.Add(int64(arg) * int64(arg) * millisecond)
				step(tsn.Timeout{})
			case 2, 3:
				step(fuzzAsk(op, arg))
			default:
				n := min(int(arg), len(in))
				pdu := bytes.Clone(in[:n])
				in = in[n:]
				if len(pdu) >= 30 && pdu[4]&0x1f == byte(isispdu.TypeL1LSP) && op&0x80 != 0 {
					copy(pdu[12:18], cfg.SystemID[:]) // somebody speaks for us
				}
				if len(pdu) >= 27 && pdu[4]&0x1f == byte(isispdu.TypeL1LSP) {
					isispdu.SetChecksum(pdu)
				}
				step(tsn.Received{Port: tsn.Port(op&1 + 1), Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), pdu)})
			}
		}
		inst.Nodes()
		inst.Database()
		inst.Stations()
		inst.RecordApplications()
		inst.Records(app)
		_, _ = inst.Path(vidA, nodeMAC(0), nodeMAC(1))
		_, _ = inst.Why(vidA, nodeMAC(0), nodeMAC(1), 0)
	})
}

// fuzzOptions changes what makes a machine run through other states.
func fuzzOptions(c *Config, options byte) {
	if options&1 != 0 {
		c.StartupHold = 3 * second
	}
	if options&2 != 0 {
		c.SuppressOnStart, c.OverloadOnStartup = 2*second, 5*second
	}
	if options&4 != 0 {
		c.HelloPadding, c.Strict = true, StrictOn
		c.CompatIPv4, c.ManagementAddresses = true, []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	}
}

// fuzzAsk is an event of the daemon's or of people's.
func fuzzAsk(op, arg byte) tsn.Event {
	station := stationMAC(int(arg >> 5))
	switch arg % 16 {
	case 0:
		return SetOverload{On: op&8 != 0, Reason: string([]byte{arg, op})}
	case 1:
		return SetEndStations{Stations: manyStations(int(arg))}
	case 2:
		return SetEndStations{Stations: []EndStation{{MAC: station, Port: tsn.Port(op)}}}
	case 3:
		return Applied{Generation: uint64(arg >> 4)}
	case 4:
		return Applied{Generation: uint64(op), Err: "refused"}
	case 5:
		return SetServices{Services: []Service{{ISID: 4096 + uint32(op>>4), VID: vidA, Transmit: true, Receive: op&8 != 0, Ports: []tsn.Port{edgePort}}}}
	case 6:
		return SetUnlocked{Ports: []tsn.Port{tsn.Port(op >> 6)}}
	case 7:
		return StationSeen{MAC: station, VID: vidA, Port: edgePort}
	case 8:
		return StationGone{MAC: station, VID: vidA, Port: edgePort}
	case 9:
		return PublishRecord{Application: app, Type: 1, Key: []byte{arg}, Value: make([]byte, op)}
	case 10:
		return WithdrawRecord{Application: app, Type: 1, Key: []byte{arg}}
	case 11:
		return WatchRecords{Application: app, On: op&8 != 0}
	case 12:
		return Ping{RequestID: uint64(op), To: nodeMAC(1), VID: vidA, Count: int(arg >> 4)}
	case 13:
		return Trace{RequestID: uint64(op), To: station, VID: vidA}
	case 14:
		if op&8 != 0 {
			return PrepareRestart{Time: int64(arg) * second}
		}
		return CancelPing{RequestID: uint64(op)}
	}
	return SetStreamRoots{Roots: []StreamRoot{{VID: vidA, Talker: station}}}
}

// A receiver reads a station record only as it was written.
func FuzzStation(f *testing.F) {
	f.Add(appendStation(nil, EndStation{MAC: stationMAC(1), Port: 3, Name: "h1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStation(b); ok && s.ManagementAddress.Unmap() == s.ManagementAddress && !bytes.Equal(appendStation(nil, s), b) {
			t.Fatalf("%x came back as %x", b, appendStation(nil, s))
		}
	})
}
