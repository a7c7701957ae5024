package ctlframe

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	tsn "tsnswitch"
)

var (
	bridge = tsn.MAC{2, 0, 0, 0, 0, 1}
	far    = tsn.MAC{2, 0, 0, 0, 0, 2}
)

var samples = []struct {
	name  string
	frame []byte
	want  string // hexadecimal
}{
	{
		"echo", (&Echo{State: EchoUp, Multiplier: 3, Port: 4, HeardID: far, HeardPort: 5, Interval: 10_000, MinReceive: 1000, Sequence: 9}).Append(nil, bridge),
		"0180c200000e" + "020000000001" + "88b5" + "0101" + "03" + "03" + "0004" + "020000000002" + "0005" + "00002710" + "000003e8" + "00000009",
	},
	{
		"probe", (&Probe{State: ProbeListening, Left: 2, Port: 100, Fabric: 7, Interval: 50_000, Sequence: 1}).Append(nil, bridge, 0),
		"0354534e0001" + "020000000001" + "88b5" + "0102" + "01" + "02" + "0064" + "00000007" + "0000c350" + "00000001",
	},
	{
		"tagged probe", (&Probe{State: ProbeBlocked, Port: 100}).Append(nil, bridge, 200),
		"0354534e0001" + "020000000001" + "8100e0c8" + "88b5" + "0102" + "03" + "00" + "0064" + "00000000" + "00000000" + "00000000",
	},
	{
		"LBM", (&Loopback{OpCode: OpLBM, Level: MDLevel, Transaction: 0x01020304, TLVs: DataTLVs(2)}).Append(nil, Header{far, bridge, 100}, 6),
		"020000000002" + "020000000001" + "8100c064" + "8902" + "80030004" + "01020304" + "03000200" + "01" + "00",
	},
}

// The layouts, octet by octet.
func TestLayout(t *testing.T) {
	for _, s := range samples {
		if got := hex.EncodeToString(s.frame); got != s.want {
			t.Errorf("%s is\n%s, want\n%s", s.name, got, s.want)
		}
	}
}

// again encodes what a frame decodes to; nil if it does not decode.
func again(frame []byte) []byte {
	if h, l, err := ParseLoopback(frame); err == nil {
		return l.Append(nil, h, 6)
	}
	h, body, err := Parse(frame)
	if err != nil {
		return nil
	}
	switch b := body.(type) {
	case *Echo:
		return b.Append(nil, h.Src)
	case *Probe:
		return b.Append(nil, h.Src, h.VID)
	}
	return nil
}

// Decoding and encoding again gives the same octets; padding is ignored, and
// every shorter frame is an error.
func TestRoundTrip(t *testing.T) {
	for _, s := range samples {
		if got := again(s.frame); !bytes.Equal(got, s.frame) {
			t.Errorf("%s came back as %x", s.name, got)
		}
		if got := again(append(bytes.Clone(s.frame), make([]byte, 30)...)); !bytes.HasPrefix(got, s.frame) {
			t.Errorf("padded %s came back as %x", s.name, got)
		}
		for n := range s.frame {
			if s.name == "LBM" && n >= 26 {
				continue // its TLVs are not read
			}
			if got := again(s.frame[:n]); got != nil {
				t.Errorf("%d octets of %s came back as %x", n, s.name, got)
			}
		}
	}
}

// What is somebody else's is told from what is broken.
func TestRefused(t *testing.T) {
	edit := func(sample, at int, v byte) []byte {
		b := bytes.Clone(samples[sample].frame)
		b[at] = v
		return b
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		ours  bool
	}{
		{"empty", nil, false},
		{"tag without a type", samples[2].frame[:16], false},
		{"IPv4", edit(0, 12, 8), false},
		{"version 2", edit(0, 14, 2), true},
		{"kind 9", edit(0, 15, 9), true},
		{"echo state 4", edit(0, 16, 4), true},
		{"echo multiplier 0", edit(0, 17, 0), true},
		{"probe state 0", edit(1, 16, 0), true},
		{"probe of port 0", edit(1, 19, 0), true},
	} {
		_, _, err := Parse(tt.frame)
		if err == nil || errors.Is(err, ErrNotOurs) == tt.ours {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, tt := range []struct {
		name  string
		frame []byte
		ours  bool
	}{
		{"echo", samples[0].frame, false},
		{"CCM", edit(3, 19, 1), false},
		{"first TLV at 3", edit(3, 21, 3), true},
		{"first TLV behind the end", edit(3, 21, 200), true},
	} {
		_, _, err := ParseLoopback(tt.frame)
		if err == nil || errors.Is(err, ErrNotOurs) == tt.ours {
			t.Errorf("loopback, %s: %v", tt.name, err)
		}
	}
}

// Any octets decode or do not; what decodes is encoded to something that
// decodes to the same.
func FuzzParse(f *testing.F) {
	for _, s := range samples {
		f.Add(s.frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		h, body, err := Parse(frame)
		if err == nil {
			if h2, body2, err := Parse(again(frame)); err != nil || h2.Src != h.Src || !reflect.DeepEqual(body, body2) {
				t.Fatalf("%x: %+v came back as %+v (%v)", frame, body, body2, err)
			}
		}
		hl, l, err := ParseLoopback(frame)
		if err == nil {
			if hl2, l2, err := ParseLoopback(again(frame)); err != nil || hl2 != hl || l2.Transaction != l.Transaction || !bytes.Equal(l2.TLVs, l.TLVs) {
				t.Fatalf("%x: %+v came back as %+v (%v)", frame, l, l2, err)
			}
		}
	})
}
