package erlang_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink"
)

// What one side takes, the other takes, and for the same thing: packets that
// are changed anyhow go through both decoders.
func TestDecodersAgree(t *testing.T) {
	const n = 30_000
	rng := rand.New(rand.NewPCG(1, 2))
	golden := goldenPackets(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	var file []byte
	var packets [][]byte
	for range n {
		p := changed(rng, golden)
		packets = append(packets, p)
		file = append(binary.BigEndian.AppendUint16(file, uint16(len(p))), p...)
	}
	if err := os.WriteFile(in, file, 0o600); err != nil {
		t.Fatal(err)
	}
	ruleLines(t, fmt.Sprintf(`distlink_vectors:meaning("%s", "%s")`, in, out), 1)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	if len(lines) != n {
		t.Fatalf("%d lines for %d packets", len(lines), n)
	}
	kinds := map[string]int{}
	for i, p := range packets {
		want := meaning(p)
		kind, _, _ := strings.Cut(want, " ")
		kinds[kind]++
		if lines[i] != want {
			t.Fatalf("%x\nGo:     %s\nErlang: %s", p, want, lines[i])
		}
	}
	t.Log(kinds)
	for _, k := range []string{"error", "version", "init", "retry", "accept", "refuse", "data", "reset", "frames"} {
		if kinds[k] < 100 {
			t.Errorf("only %d packets were of the kind %s", kinds[k], k)
		}
	}
}

func goldenPackets(t *testing.T) (out [][]byte) {
	text, err := os.ReadFile(goTestdata(t, "vectors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, digits, ok := strings.Cut(strings.TrimSpace(line), " "); ok && line[0] != '#' {
			b, err := hex.DecodeString(digits)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
	}
	return out
}

// changed is a golden packet, or the beginning of one and the end of another, in
// which some octets are others. Its length is mostly right.
func changed(rng *rand.Rand, golden [][]byte) []byte {
	p := append([]byte(nil), golden[rng.IntN(len(golden))]...)
	switch rng.IntN(4) {
	case 0:
		other := golden[rng.IntN(len(golden))]
		p = append(p[:rng.IntN(len(p)+1)], other[rng.IntN(len(other)+1):]...)
	case 1:
		p = p[:rng.IntN(len(p)+1)]
	}
	for range rng.IntN(4) {
		if len(p) > 0 {
			change(rng, p[rng.IntN(len(p)):])
		}
	}
	if len(p) >= 12 && rng.IntN(5) > 0 {
		p[0] = 0xda
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)-rng.IntN(30)*rng.IntN(2)))
	}
	return p
}

// change puts a number that is worth it, or any octet, at the beginning of b.
func change(rng *rand.Rand, b []byte) {
	n := []uint64{0, 1, 1<<62 - 1, 1 << 62, 1<<62 + 1, 1<<64 - 1, 1 << 32, 511, 512, 65507, 65508}[rng.IntN(11)]
	switch rng.IntN(4) {
	case 0:
		copy(b, binary.BigEndian.AppendUint64(nil, n))
	case 1:
		copy(b, binary.BigEndian.AppendUint32(nil, uint32(n)))
	case 2:
		copy(b, binary.BigEndian.AppendUint16(nil, uint16(n)))
	default:
		b[0] = byte(rng.IntN(256))
	}
}

// meaning is what a packet says, as distlink_vectors:meaning/2 writes it.
func meaning(b []byte) string {
	p, rest, err := distlink.ParsePacket(b)
	switch {
	case errors.Is(err, distlink.ErrVersion) && p.Type == distlink.TypeInit:
		return fmt.Sprintf("version %d %d %d %d %x", p.Type, p.Version, p.DestID, p.Params.SourceID, rest)
	case errors.Is(err, distlink.ErrVersion):
		return fmt.Sprintf("version %d %d %d %x", p.Type, p.Version, p.DestID, rest)
	case err != nil:
		return "error"
	}
	switch p.Type {
	case distlink.TypeInit:
		return fmt.Sprintf("init %s %x %x %x", params(p.Params), p.Token, p.Proof, rest)
	case distlink.TypeRetry:
		return fmt.Sprintf("retry %d %x %x", p.DestID, p.Token, rest)
	case distlink.TypeAccept:
		return fmt.Sprintf("accept %d %s %x %x", p.DestID, params(p.Params), p.Proof, rest)
	case distlink.TypeRefuse:
		return fmt.Sprintf("refuse %d %d %x %x", p.DestID, p.Code, p.Text, rest)
	case distlink.TypeReset:
		return fmt.Sprintf("reset %d %d %x", p.ResetID, p.PacketNumber, rest)
	}
	var frames []string
	if err := distlink.ParseFrames(p.Frames, func(f distlink.Frame) bool { frames = append(frames, frame(f)); return true }); err != nil {
		return fmt.Sprintf("frames %d %d error %x", p.DestID, p.PacketNumber, rest)
	}
	return fmt.Sprintf("data %d %d [%s] %x", p.DestID, p.PacketNumber, strings.Join(frames, ", "), rest)
}

func params(p distlink.Params) string {
	s := fmt.Sprintf("%d %d %d %d %d %d %d", p.SourceID, p.MaxDatagram, p.Security, p.Suites, p.Window, p.AckDelay, p.Capabilities)
	if p.Security != distlink.SecurityNone {
		s += fmt.Sprintf(" %x %x", p.Public, p.KeyID)
	}
	return s
}

func frame(f distlink.Frame) string {
	switch f := f.(type) {
	case *distlink.Ack:
		s := fmt.Sprintf("ack %d %d", f.Delay, f.Limit)
		for _, r := range f.Ranges {
			s += fmt.Sprintf(" %d-%d", r.High, r.Low)
		}
		return s
	case *distlink.CloseFrame:
		return fmt.Sprintf("close %d %x", f.Code, f.Text)
	case *distlink.Challenge:
		return fmt.Sprintf("challenge %x", f.Data)
	case *distlink.Response:
		return fmt.Sprintf("response %x", f.Data)
	case *distlink.Segment:
		flags := 0
		if f.First {
			flags |= 1
		}
		if f.Last {
			flags |= 2
		}
		return fmt.Sprintf("segment %d %d %d %d %d %x", flags, f.Stream, f.Offset, f.Order, f.Fence, f.Data)
	}
	return "ping"
}
