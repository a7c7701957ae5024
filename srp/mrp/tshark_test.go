package mrp

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// writePcap writes frames as a classic pcap file of Ethernet.
func writePcap(t *testing.T, path string, frames [][]byte) {
	t.Helper()
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint64(b, 0), 65535)
	b = le.AppendUint32(b, 1)
	for i, f := range frames {
		b = le.AppendUint32(le.AppendUint32(b, uint32(i)), 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(f))), uint32(len(f)))
		b = append(b, f...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// sampleFrames are what a participant says first, and a LeaveAll.
func sampleFrames() (out [][]byte) {
	for _, c := range []struct {
		app    *Application
		values []Value
		params []Param
	}{
		{MSRP(), []Value{
			sampleTalker.Value(), failed(sampleTalker, 8).Value(), ListenerValue(sampleTalker.StreamID), Domain{5, 2, 2}.Value(), Domain{6, 3, 2}.Value(),
		}, []Param{0, 0, ListenerReady, 0, 0}},
		{MVRP(), []Value{VIDValue(2), VIDValue(3), VIDValue(100)}, []Param{0, 0, 0}},
		{MMRP(), []Value{UnregisteredGroups.Value(), MACValue(sampleTalker.DestinationAddress)}, []Param{0, 0}},
	} {
		p := NewParticipant(c.app, Config{PointToPoint: true})
		p.Start(0)
		for i, v := range c.values {
			p.Join(0, v, c.params[i], true)
		}
		for range 3 {
			if pdu, _ := p.Tick(p.Deadline()); pdu != nil {
				out = append(out, c.app.Frame(tsn.MAC{2, 0, 0, 0, 0, 1}, pdu))
			}
		}
		pdu, _ := p.Tick(100 * second)
		out = append(out, c.app.Frame(tsn.MAC{2, 0, 0, 0, 0, 1}, pdu))
	}
	return out
}

// An independent dissector reads the values as we meant them and finds nothing malformed.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is missing: install the Debian package tshark")
	}
	path := filepath.Join(t.TempDir(), "mrp.pcap")
	writePcap(t, path, sampleFrames())
	out, err := exec.Command(tshark, "-r", path, "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("tshark -V: %v\n%s", err, out)
	}
	text := string(out)
	for _, word := range []string{"Malformed", "[Expert Info (Warning", "[Expert Info (Error"} {
		if i := strings.Index(text, word); i >= 0 {
			t.Errorf("tshark complains: %s", text[max(0, i-300):min(len(text), i+300)])
		}
	}
	for _, want := range tsharkWant {
		if !strings.Contains(text, want) {
			t.Errorf("tshark does not read %q", want)
		}
	}
}

var tsharkWant = []string{
	"Stream ID: 0x0200000000010007", "Stream DA: IEEE1722_00:fe:07 (91:e0:f0:00:fe:07)", "VLAN ID: 0x0002",
	"TSpec Max Frame Size: 224", "TSpec Max Frame Interval: 3", "Priority: Traffic Class A (3)", "Rank: Non-emergency (1)",
	"Accumulated Latency: 158000", "Failure Bridge ID: 0x8000020000000909", "not AVB capable (8)",
	"Declaration Type: Ready (2)", "SR Class ID: SR Class B (5)", "SR Class Priority: 2", "SR Class VID: 2",
	"Leave All Event: Leave All (1)", "VLAN ID: 100",
	"Multiple Stream Reservation Protocol", "Multiple VLAN Registration Protocol", "Multiple Mac Registration Protocol",
}
