package distlink

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// pcap is a capture of UDP datagrams between two addresses, headers as a card
// without checksums has them.
type pcap struct{ bytes.Buffer }

func (p *pcap) start() {
	const rawIP = 101
	for _, v := range []any{uint32(0xa1b2c3d4), uint16(2), uint16(4), int32(0), uint32(0), uint32(65535), uint32(rawIP)} {
		_ = binary.Write(p, binary.BigEndian, v)
	}
}

func (p *pcap) datagram(at tsn.Instant, from int, data []byte) {
	n := 28 + len(data)
	ip := []byte{0x45, 0, byte(n >> 8), byte(n), 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	ports := []byte{0x0f, 0xa0, 0x11, 0x51}
	if from == 1 {
		ip[15], ip[19] = 2, 1
		ports = []byte{0x11, 0x51, 0x0f, 0xa0}
	}
	udp := append(ports, byte((n-20)>>8), byte(n-20), 0, 0)
	for _, v := range []uint32{uint32(at / 1e9), uint32(at % 1e9 / 1000), uint32(n), uint32(n)} {
		_ = binary.Write(p, binary.BigEndian, v)
	}
	p.Write(ip)
	p.Write(udp)
	p.Write(data)
}

// The dissector understands all that a connection sends: set-up, every frame,
// messages in segments, and sealed packets without their keys. What it hands on
// are Erlang messages.
func TestDissector(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed (Debian: apt-get install tshark)")
	}
	// {22, From, To} with payload 'hello', the way a BEAM node passes it on, and a long binary.
	pid := "\x58\x77\x05a@x.y\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x01"
	send := func(payload string) []byte {
		return []byte("\x70\x83\x68\x03\x61\x16" + pid + pid + "\x83" + payload)
	}
	long := "\x6d\x00\x00\x10\x00" + strings.Repeat("z", 4096)
	for name, cfg := range map[string]Config{"plain": {}, "sealed": {Keys: testKeys}, "certificates": {Identity: as(testIdentity("alice", "alice"))}} {
		var p pcap
		p.start()
		cfg.Lanes = map[Class]tsn.Rate{Control: 0}
		s := newSim(t, 3, wire{delay: 100_000, loss: 0.05, jitter: 300_000}, cfg)
		s.tap = func(from int, data []byte) { p.datagram(s.now, from, data) }
		s.run(func() bool { return s.up[0] && s.conn[1] != nil }, 5e9)
		s.write(0, Message{Stream: 5, Data: send("\x77\x05hello")}, Message{Stream: 6, Data: send(long)}, Message{Class: Control, Data: nil})
		s.run(func() bool { return len(s.got[1]) == 3 }, 5e9)
		s.move(clientAddr) // PING and, from another address, CHALLENGE
		s.effects(1, s.conn[1].Step(s.now, Touch{}))
		s.run(func() bool { return false }, 50_000_000)
		s.effects(0, s.conn[0].Step(s.now, Close{"bye"}))
		file := filepath.Join(t.TempDir(), name+".pcap")
		if err := os.WriteFile(file, p.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(tshark, "-X", "lua_script:distlink.lua", "-r", file, "-V")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tshark: %v\n%s", err, out)
		}
		text := string(out)
		want := []string{"INIT", "RETRY", "ACCEPT", "Packet number: 1\n", "Lane: 3", "PING", "ACK", "SEGMENT stream 6", "Code: closed by the application (0)", "hello", "Erlang Distribution Protocol"}
		never := []string{"Malformed", "Lua Error", "Sealed frames"}
		switch name {
		case "sealed":
			want, never = []string{"Security: pre-shared key (1)", "Key id: old", "Sealed frames"}, []string{"Malformed", "Lua Error", "hello", "SEGMENT"}
		case "certificates":
			want, never = []string{"Security: certificate (2)", "Sealed frames"}, []string{"Malformed", "Lua Error", "hello", "SEGMENT", "alice"}
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q", name, w)
			}
		}
		for _, w := range never {
			if strings.Contains(text, w) {
				t.Errorf("%s: there is %q", name, w)
			}
		}
		if t.Failed() {
			t.Logf("%.6000s", text)
		}
	}
}
