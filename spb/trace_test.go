package spb

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

// pduText is a frame on a few lines, for people.
func pduText(frame []byte) string {
	_, _, b, err := isispdu.ParseFrame(frame)
	if err != nil {
		return err.Error()
	}
	pdu, err := isispdu.Parse(b)
	if err != nil {
		return err.Error()
	}
	var s string
	var tlvs []isispdu.TLV
	switch p := pdu.(type) {
	case *isispdu.IIH:
		s, tlvs = fmt.Sprintf("IIH of %s holding %d", p.SourceID, p.HoldingTime), p.TLVs
	case *isispdu.LSP:
		s, tlvs = fmt.Sprintf("LSP %s sequence %d lifetime %d", p.ID, p.SequenceNumber, p.RemainingLifetime), p.TLVs
	case *isispdu.CSNP:
		s, tlvs = fmt.Sprintf("CSNP %s to %s", p.Start, p.End), p.TLVs
	case *isispdu.PSNP:
		s, tlvs = "PSNP", p.TLVs
	}
	for _, t := range tlvs {
		if e, ok := t.(*isispdu.LSPEntries); ok {
			for _, e := range e.Entries {
				s += fmt.Sprintf("\n        %s sequence %d lifetime %d", e.ID, e.SequenceNumber, e.RemainingLifetime)
			}
			continue
		}
		s += "\n        " + t.String()
	}
	return s
}

func stateText(s tsn.BridgeState) string {
	var b strings.Builder
	for _, p := range s.Ports {
		fmt.Fprintf(&b, "  port %d %s", p.Port, p.Role)
		for _, f := range []struct {
			name string
			on   bool
		}{{"locked", p.Locked}, {"learning", p.Learning}, {"flood", p.Flood}, {"mcast_flood", p.McastFlood}, {"bcast_flood", p.BcastFlood}} {
			if f.on {
				b.WriteString(" " + f.name)
			}
		}
		for _, v := range p.VLANs {
			fmt.Fprintf(&b, " vid %d", v.VID)
			if v.PVID {
				b.WriteString(" pvid")
			}
			if v.Untagged {
				b.WriteString(" untagged")
			}
		}
		b.WriteByte('\n')
	}
	for _, e := range s.FDB {
		fmt.Fprintf(&b, "  fdb %s vid %d port %d\n", e.MAC, e.VID, e.Port)
	}
	return b.String()
}

// The whole bring-up of two bridges, as a text to read.
func TestGoldenBringUp(t *testing.T) {
	var b strings.Builder
	l := newLab(t, 2, line(2), func(_ int, c *Config) { c.BaseVIDs = c.BaseVIDs[:1] })
	l.tap = func(from int, s tsn.Send) bool {
		fmt.Fprintf(&b, "%6d us  b%d port %d sends %s\n", l.now/1000, from+1, s.Port, pduText(s.Frame))
		return true
	}
	l.allUp()
	l.run(100 * millisecond)
	b.WriteString("\nnotices\n" + strings.Join(l.log, "\n") + "\n\nb1 forwards\n" + stateText(l.nodes[0].state))
	golden(t, "bringup.txt", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (rewrite with -update):\n%s", file, d)
	}
}

// The same seeds give the same frames at the same times, byte for byte.
func TestRepeatable(t *testing.T) {
	hash := func() [32]byte {
		h := sha256.New()
		l := topologies()["random30-2"](t)
		l.tap = func(from int, s tsn.Send) bool {
			fmt.Fprint(h, l.now, from, s.Port, s.Frame)
			return true
		}
		l.allUp()
		l.run(3 * second)
		l.setLink(40, false)
		l.run(3 * second)
		return [32]byte(h.Sum(nil))
	}
	if a, b := hash(), hash(); a != b {
		t.Errorf("%x and %x", a, b)
	}
}

// An independent decoder finds nothing wrong in anything that a network sends
// from power on through a cut, a purge and a restart.
func TestTsharkNetwork(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	le := binary.LittleEndian
	pcap := le.AppendUint32(nil, 0xa1b2c3d4)
	pcap = le.AppendUint32(pcap, 2|4<<16)
	pcap = append(pcap, make([]byte, 8)...)
	pcap = le.AppendUint32(le.AppendUint32(pcap, 0x10000), 1)
	kinds := map[isispdu.Type]int{}
	frames := 0
	l := newLab(t, 4, ring(4), nil)
	l.tap = func(_ int, s tsn.Send) bool {
		kinds[isispdu.Type(s.Frame[21]&0x1f)]++
		frames++
		pcap = le.AppendUint32(le.AppendUint32(pcap, uint32(l.now/1e9)), uint32(l.now/1000%1e6))
		pcap = le.AppendUint32(le.AppendUint32(pcap, uint32(len(s.Frame))), uint32(len(s.Frame)))
		pcap = append(pcap, s.Frame...)
		return true
	}
	l.allUp()
	l.run(2 * second)
	l.setLink(0, false)
	l.run(second)
	var many []EndStation
	for k := range 100 {
		many = append(many, EndStation{MAC: stationMAC(1000 + k), Port: edgePort, Name: "a station"})
	}
	l.step(0, SetEndStations{Stations: many})
	l.run(second)
	l.step(0, SetEndStations{}) // purges the extra fragments
	l.run(second)
	if len(kinds) != 4 || l.nodes[1].Counters().Purges == 0 {
		t.Fatalf("kinds %v, purges %d: the capture lacks something", kinds, l.nodes[1].Counters().Purges)
	}
	file := filepath.Join(t.TempDir(), "network.pcap")
	if err := os.WriteFile(file, pcap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-n", "-r", file, "-Y", "isis && !_ws.malformed && !(_ws.expert.severity >= 6291456) && !(isis.lsp.checksum.status == 0)").Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out), "\n"); n != frames {
		t.Errorf("%d of %d frames are clean", n, frames)
	}
}
