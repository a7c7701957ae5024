package distlink

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	tsn "tsnswitch"
)

var update = flag.Bool("update", false, "rewrite testdata")

// vectors are golden packets; the Erlang tests read the same file.
func vectors() (names []string, packets [][]byte) {
	add := func(name string, p Packet) {
		p.Version = Version
		names, packets = append(names, name), append(packets, AppendPacket(nil, p))
	}
	params := Params{SourceID: 0x1122334455667788, MaxDatagram: 1400, Window: 262144, AckDelay: 1000}
	data := func(name string, pn uint64, frames ...Frame) {
		var b []byte
		for _, f := range frames {
			b = f.append(b)
		}
		add(name, Packet{Type: TypeData, DestID: 0xa1a2a3a4a5a6a7a8, PacketNumber: pn, Frames: b})
	}
	add("init-first", Packet{Type: TypeInit, Params: params})
	add("init-token", Packet{Type: TypeInit, Params: params, Token: []byte("0123456789abcdef")})
	add("retry", Packet{Type: TypeRetry, DestID: 0x1122334455667788, Token: []byte("0123456789abcdef")})
	add("accept", Packet{Type: TypeAccept, DestID: 0x1122334455667788, Params: Params{SourceID: 0xa1a2a3a4a5a6a7a8, MaxDatagram: 1200, Window: 65536, AckDelay: 2000}})
	add("refuse", Packet{Type: TypeRefuse, DestID: 0x1122334455667788, Code: CodeResources, Text: "full"})
	params.Security, params.Suites, params.KeyID = SecurityPSK, SuiteAES128GCM, "key-1"
	for i := range params.Public {
		params.Public[i] = byte(i)
	}
	proof := []byte("fedcba9876543210")
	add("init-psk", Packet{Type: TypeInit, Params: params, Token: []byte("0123456789abcdef"), Proof: proof})
	params.KeyID, params.Capabilities = "", CapMigrate
	add("accept-psk", Packet{Type: TypeAccept, DestID: 0x1122334455667788, Params: params, Proof: proof})
	params.Security = SecurityCertificate
	add("init-certificate", Packet{Type: TypeInit, Params: params, Token: []byte("0123456789abcdef"), Proof: proof})
	add("accept-certificate", Packet{Type: TypeAccept, DestID: 0x1122334455667788, Params: params, Proof: proof})
	add("reset", Packet{Type: TypeReset, ResetID: 0xa1a2a3a4a5a6a7a8, PacketNumber: 77})
	data("ping", 0, &Ping{})
	data("challenge", 1, &Challenge{[8]byte{1, 2, 3, 4, 5, 6, 7, 8}}, &Response{[8]byte{8, 7, 6, 5, 4, 3, 2, 1}})
	data("close", 5, &CloseFrame{Code: CodeClosed, Text: "bye"})
	data("ack-one", 6, &Ack{Delay: 250, Limit: 300000, Ranges: []AckRange{{0, 9}}})
	data("ack-holes", 7, &Ack{Delay: 0, Limit: 300001, Ranges: []AckRange{{100, 100}, {90, 95}, {3, 80}}})
	data("segment-whole", 8, &Segment{Stream: 1, Offset: 0, First: true, Last: true, Order: 0, Data: []byte("hello")})
	data("segment-tick", 9, &Segment{Stream: 0, Offset: 6, First: true, Last: true, Order: 1})
	data("segment-parts", 10,
		&Segment{Stream: 7, Offset: 100, First: true, Fenced: true, Order: 5, Fence: 4, Data: []byte("first")},
		&Segment{Stream: 7, Offset: 105, Data: []byte("middle")},
		&Segment{Stream: 7, Offset: 111, Last: true, Data: []byte("last")})
	data("ack-and-data", 11, &Ack{Delay: 1, Limit: 2, Ranges: []AckRange{{1, 1}}},
		&Segment{Stream: 1, Offset: 6, First: true, Last: true, Order: 2, Data: []byte("x")})
	data("ack-lanes", 3<<laneShift|12, &Ack{Delay: 2, Limit: 3, Ranges: []AckRange{{1<<laneShift | 9, 1<<laneShift | 9}, {1 << laneShift, 1<<laneShift | 5}}},
		&Ack{Limit: 4, Ranges: []AckRange{{3<<laneShift | 4, 3<<laneShift | 4}}})
	return names, packets
}

const vectorFile = "testdata/vectors.txt"

// The wire bytes are these, in Go and in Erlang.
func TestGoldenVectors(t *testing.T) {
	names, packets := vectors()
	var b strings.Builder
	b.WriteString("# name, packet in hexadecimal; checked by the Go and the Erlang tests\n")
	for i, n := range names {
		fmt.Fprintf(&b, "%s %s\n", n, hex.EncodeToString(packets[i]))
	}
	if *update {
		if err := os.WriteFile(vectorFile, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != b.String() {
		t.Errorf("vectors differ from %s; run with -update if the format has changed on purpose:\n%s", vectorFile, b.String())
	}
	for i, p := range packets {
		if got := reencode(t, p); !bytes.Equal(got, p) {
			t.Errorf("%s: parsed and appended again:\n%x\n%x", names[i], got, p)
		}
	}
}

// reencode parses a packet and its frames and appends them again.
func reencode(t *testing.T, b []byte) []byte {
	t.Helper()
	p, rest, err := ParsePacket(b)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%x: %v, %d octets left", b, err, len(rest))
	}
	if p.Type == TypeData {
		var frames []byte
		if err := ParseFrames(p.Frames, func(f Frame) bool { frames = AppendFrame(frames, f); return true }); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		p.Frames = frames
	}
	return AppendPacket(nil, p)
}

// Every truncation of every vector is an error or a shorter meaning, never a panic.
func TestTruncatedPackets(t *testing.T) {
	_, packets := vectors()
	for _, p := range packets {
		for n := range p {
			if _, _, err := ParsePacket(p[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%x: %v", p[:n], err)
			}
		}
		if p[1]&15 == byte(TypeData) {
			for n := headerLen + 8; n < len(p); n++ {
				_ = ParseFrames(p[headerLen+8:n], func(Frame) bool { return true })
			}
		}
	}
}

func TestBadFrames(t *testing.T) {
	for name, b := range map[string][]byte{
		"unknown type":         {0x77},
		"fenced without first": {0x14, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9},
		"empty, not last":      {0x10, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"offset beyond 2^62":   {0x10, 0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9},
		"ack without range":    append([]byte{0x02}, make([]byte, 21)...),
		"ack across lanes":     {2, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3},
		"gap across lanes":     {2, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1},
		"ack below zero":       append(append([]byte{0x02}, make([]byte, 20)...), 1, 0, 0, 0, 0, 0, 0, 0, 2),
	} {
		if err := ParseFrames(b, func(Frame) bool { return true }); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	_, packets := vectors()
	for _, p := range packets {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _, err := ParsePacket(b)
		if err != nil || p.Type != TypeData {
			return
		}
		_ = ParseFrames(p.Frames, func(fr Frame) bool {
			again := fr.append(nil)
			if err := ParseFrames(again, func(g Frame) bool {
				if !reflect.DeepEqual(fr, g) && len(fr.append(nil)) != len(g.append(nil)) {
					t.Errorf("%#v became %#v", fr, g)
				}
				return true
			}); err != nil {
				t.Errorf("%#v: %v", fr, err)
			}
			return true
		})
	})
}

// FuzzConn lets an authenticated but mad peer talk to an open connection: the
// input is frames, split at each 0xff.
func FuzzConn(f *testing.F) {
	_, packets := vectors()
	for _, p := range packets[10:] {
		f.Add(p[headerLen+8:])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := connected(t, wire{delay: 1000}, Config{MaxMessage: 1 << 16, Window: 1 << 12})
		c := s.conn[1]
		pn := s.conn[0].lanes[0].next()
		for _, frames := range bytes.Split(b, []byte{0xff}) {
			s.now = s.now.Add(100_000)
			p := AppendPacket(nil, Packet{Type: TypeData, Version: Version, DestID: c.localID, PacketNumber: pn, Frames: frames})
			s.effects(1, c.Step(s.now, Datagram{Data: p}))
			s.effects(1, c.Step(s.now, Write{[]Message{{Stream: 1, Data: frames}}}))
			pn++
		}
		for range 50 {
			d := c.Deadline()
			if d == tsn.Never {
				return
			}
			s.now = max(s.now, d)
			s.effects(1, c.Step(s.now, tsn.Timeout{}))
		}
	})
}
