package spb

import (
	"bytes"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// FuzzStep feeds a soup of events: link changes, time, frames made of the
// input with the right framing and checksum, so that they get past the first
// checks. Nothing panics, the deadline is never stuck in the past, and what
// is sent decodes.
func FuzzStep(f *testing.F) {
	l := newLab(f, 3, ring(3), nil)
	var soup []byte
	seen := 0
	l.tap = func(_ int, s tsn.Send) bool {
		pdu := s.Frame[17:]
		if seen++; len(pdu) < 256 && seen < 60 {
			soup = append(append(soup, 2, byte(len(pdu))), pdu...)
		}
		return true
	}
	l.allUp()
	l.run(second)
	f.Add(soup)
	f.Add([]byte{0, 0, 1, 5, 0, 1, 1, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		cfg := peerConfig()
		cfg.SystemID, cfg.Caps.MaxLSPs = nodeMAC(0), 20
		inst, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		var now tsn.Instant
		step := func(ev tsn.Event) {
			for _, e := range inst.Step(now, ev) {
				if s, ok := e.(tsn.Send); ok {
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
			switch op % 4 {
			case 0:
				step(tsn.LinkChanged{Port: tsn.Port(1 + arg&1), Up: arg&2 == 0, Rate: tsn.Rate(arg)})
			case 1:
				now = now.Add(int64(arg) * int64(arg) * millisecond)
				step(tsn.Timeout{})
			default:
				n := min(int(arg), len(in))
				pdu := bytes.Clone(in[:n])
				in = in[n:]
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

// A receiver reads a station record only as it was written.
func FuzzStation(f *testing.F) {
	f.Add(appendStation(nil, EndStation{MAC: stationMAC(1), Port: 3, Name: "h1"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseStation(b); ok && s.ManagementAddress.Unmap() == s.ManagementAddress && !bytes.Equal(appendStation(nil, s), b) {
			t.Fatalf("%x came back as %x", b, appendStation(nil, s))
		}
	})
}
