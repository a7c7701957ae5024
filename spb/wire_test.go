package spb

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// busyNetwork lets four bridges use all they have, and returns each IS-IS frame
// that was sent, and the PDU types, TLVs and sub-TLVs in them as 18, 18/144,
// 18/144/1 ...
func busyNetwork(t *testing.T, algorithm AuthAlgorithm) (frames [][]byte, seen map[string]bool) {
	key := Key{ID: 5, Algorithm: algorithm, Secret: Secret("secret")}
	l := newLab(t, 4, ring(4), func(k int, c *Config) {
		c.Authentication = bothChains(chainOf(key))
		c.ManagementAddresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(k)}), netip.MustParseAddr("fd00::1")}
		c.HelloPadding, c.SuppressOnStart, c.StartupHold = true, 3*second, 3*second
		c.Services = []Service{{ISID: 0x1000, VID: vidA, Transmit: true, Receive: true}}
		for n := range 300 {
			c.EndStations = append(c.EndStations, EndStation{MAC: stationMAC(1000*k + 10 + n), Port: edgePort, Name: fmt.Sprintf("s%d", n)})
		}
	})
	seen = map[string]bool{}
	l.tap = func(_ int, s tsn.Send) bool {
		_, _, b, err := isispdu.ParseFrame(s.Frame)
		if err != nil {
			return true // not IS-IS
		}
		pdu, err := isispdu.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		note(seen, fmt.Sprint(pdu.Type()), tlvsOf(pdu))
		frames = append(frames, s.Frame)
		return true
	}
	l.allUp()
	l.run(5 * second)
	l.step(1, PublishRecord{Application: app, Type: 1, Key: []byte("key"), Value: []byte("value")})
	l.step(2, SetOverload{On: true, Reason: "test"})
	l.step(3, SetEndStations{}) // fragments are purged
	l.run(2 * second)
	l.start(0) // asks its neighbours for help
	for port := range tsn.Port(2) {
		l.step(0, tsn.LinkChanged{Port: port + 1, Up: true, Rate: tsn.Gbps})
	}
	l.run(5 * second)
	l.setLink(2, false)
	l.run(second)
	return frames, seen
}

func note(seen map[string]bool, in string, tlvs []isispdu.TLV) {
	seen[in] = true
	for _, t := range tlvs {
		at := fmt.Sprintf("%s/%d", in, t.Code())
		seen[at] = true
		switch t := t.(type) {
		case *isispdu.MTPortCap:
			note(seen, at, t.SubTLVs)
		case *isispdu.MTCapability:
			note(seen, at, t.SubTLVs)
		case *isispdu.ExtISReach:
			for _, n := range t.Neighbors {
				note(seen, at, n.SubTLVs)
			}
		}
	}
}

// Everything that bridges send is decoded by tshark and by tcpdump without a
// flag. The list says what that is, so that a new TLV shows up here.
func TestWireDecoders(t *testing.T) {
	want := strings.Fields("17 17/1 17/10 17/129 17/132 17/143 17/143/4 17/143/5 17/143/6 17/211 17/232 17/240 17/8 " +
		"18 18/1 18/10 18/129 18/13 18/132 18/137 18/144 18/144/1 18/144/3 18/22 18/22/29 18/22/4 18/232 18/251 " +
		"24 24/10 24/9 26 26/10 26/9")
	var frames [][]byte
	for _, a := range []AuthAlgorithm{HMACMD5, HMACSHA512} { // TLV 10 of both kinds
		sent, seen := busyNetwork(t, a)
		frames = append(frames, sent...)
		if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
			t.Errorf("sent with %s\n%v, want\n%v", a, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "wire.pcap")
	if err := os.WriteFile(file, pcapOf(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("tshark", func(t *testing.T) { tsharkFindsNothing(t, file, len(frames)) })
	t.Run("tcpdump", func(t *testing.T) { tcpdumpFindsNothing(t, file, len(frames)) })
}

func tsharkFindsNothing(t *testing.T, file string, frames int) {
	tool, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	run := func(filter string) string {
		out, err := exec.Command(tool, "-n", "-r", file, "-Y", filter).Output()
		if err != nil {
			t.Fatalf("tshark: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	if out := run("_ws.malformed || _ws.expert.severity >= 6291456"); out != "" {
		t.Errorf("flagged:\n%s", out)
	}
	if n := strings.Count(run("isis"), "\n") + 1; n != frames {
		t.Errorf("%d of %d frames are IS-IS to tshark", n, frames)
	}
	// Of a purge it does not look at the checksum.
	if out := run("isis.lsp && isis.lsp.remaining_life > 0 && !(isis.lsp.checksum.status == 1)"); out != "" {
		t.Errorf("LSPs whose checksum is not right:\n%s", out)
	}
}

func tcpdumpFindsNothing(t *testing.T, file string, frames int) {
	tool, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed")
	}
	raw, err := exec.Command(tool, "-n", "-vv", "-r", file).Output()
	if err != nil {
		t.Fatalf("tcpdump: %v", err)
	}
	out := string(raw)
	for line := range strings.Lines(out) {
		for _, flag := range []string{"[|", "invalid", "bogus", "incorrect", "trunc", "too short", "too long"} {
			if strings.Contains(line, flag) {
				t.Errorf("tcpdump says %q: %s", flag, line)
			}
		}
		if strings.Contains(line, "unknown") && !strings.Contains(line, "unknown TLV #251") { // GENINFO
			t.Errorf("tcpdump does not know: %s", line)
		}
	}
	if n := strings.Count(out, "IS-IS, length "); n != frames {
		t.Errorf("%d of %d frames are IS-IS to tcpdump", n, frames)
	}
}
