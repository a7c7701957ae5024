package srp

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata")

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

// pduText is an MSRPDU on a few lines, for people.
func pduText(t testing.TB, frame []byte) string {
	app := mrp.MSRP()
	pdu, ok := app.PDU(frame)
	if !ok {
		t.Fatalf("%x is no MSRP frame", frame)
	}
	var b strings.Builder
	if err := app.Read(pdu, func(v *mrp.Vector) {
		if v.LeaveAll {
			fmt.Fprintf(&b, "      LeaveAll of type %d\n", v.Type)
		}
		app.Values(v, func(octets []byte, e mrp.Event, p mrp.Param) {
			fmt.Fprintf(&b, "      %-6s %s\n", e, valueText(mrp.Value{Type: v.Type, Octet: string(octets)}, p))
		})
	}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func valueText(v mrp.Value, p mrp.Param) string {
	if d, err := mrp.ParseDomain(v); err == nil {
		return fmt.Sprintf("domain: class %d priority %d VLAN %d", d.ClassID, d.Priority, d.VID)
	}
	if id, err := mrp.ParseListener(v); err == nil {
		return fmt.Sprintf("listener %s: %s", id, mrp.ListenerText(p))
	}
	t, err := mrp.ParseTalker(v)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("talker %s to %s VLAN %d, %d x %d octets, priority %d rank %d: %s",
		t.StreamID, t.DestinationAddress, t.VID, t.MaxIntervalFrames, t.MaxFrameSize, t.DataFramePriority, t.Rank, talkerText(t))
}

// script runs a scenario, a command on each line, and returns what is sent:
//
//	talk STATION N [FRAMES] [emergency]   hush STATION N
//	listen STATION OF N                   ignore STATION OF N
//	run SECONDS                           show BRIDGE
//	down LAN, up LAN                      restart BRIDGE
//
// Stations and bridges are those of line: s1 - b2 - b3 - s4, s5 at b2; LANs
// count from 1 in that order.
func script(t *testing.T, text string) string {
	var b strings.Builder
	l, _, _, _, _, _ := line(t, nil)
	l.tap = func(from string, s tsn.Send) {
		fmt.Fprintf(&b, "  %6d ms  %s port %d\n%s", l.now/1_000_000, from, s.Port, pduText(t, s.Frame))
	}
	node := func(s string) *labNode { return l.nodes[s[1]-'1'] }
	for _, command := range strings.Split(strings.TrimSpace(text), "\n") {
		w := strings.Fields(command)
		fmt.Fprintf(&b, "%s\n", strings.Join(w, " "))
		var n, frames int
		switch w[0] {
		case "talk":
			fmt.Sscan(w[2], &n)
			wish := node(w[1]).talker(byte(n))
			if len(w) > 3 {
				fmt.Sscan(w[3], &frames)
				wish.MaxIntervalFrames = uint16(frames)
			}
			wish.Rank = map[bool]uint8{false: 1, true: 0}[w[len(w)-1] == "emergency"]
			l.talk(node(w[1]), wish)
		case "hush":
			fmt.Sscan(w[2], &n)
			l.hush(node(w[1]), node(w[1]).talker(byte(n)).StreamID)
		case "listen", "ignore":
			fmt.Sscan(w[3], &n)
			l.listen(node(w[1]), node(w[2]).talker(byte(n)).StreamID, w[0] == "listen")
		case "run":
			var s float64
			fmt.Sscan(w[1], &s)
			l.runFor(s)
		case "down", "up":
			fmt.Sscan(w[1], &n)
			l.setLink(l.lans[n-1], w[0] == "up", 100*tsn.Mbps)
		case "restart":
			l.restart(node(w[1]))
		case "show":
			b.WriteString(node(w[1]).text())
		default:
			t.Fatalf("what is %q?", command)
		}
	}
	return b.String()
}

// Whole exchanges, as texts to read.
func TestTraces(t *testing.T) {
	for name, text := range map[string]string{
		"reserve": "listen s4 s1 1\n talk s1 1\n run 2\n show b2\n show b3\n ignore s4 s1 1\n run 1\n hush s1 1\n run 1\n show b2",
		"failed":  "listen s4 s1 1\n talk s1 1 5\n run 2\n show b2\n show b3",
		"preempt": "talk s1 1 3\n listen s4 s1 1\n run 2\n talk s1 2 3 emergency\n listen s4 s1 2\n run 2\n show b2",
		"flap":    "listen s4 s1 1\n talk s1 1\n run 2\n down 2\n run 1\n show b2\n show b3\n up 2\n run 2\n show b3",
		"restart": "listen s5 s1 1\n talk s1 1\n run 2\n restart b2\n show b2\n run 20\n show b2",
	} {
		t.Run(name, func(t *testing.T) { golden(t, name+".txt", script(t, text)) })
	}
}

// The same seeds give the same frames at the same times, byte for byte.
func TestRepeatable(t *testing.T) {
	run := func() string {
		var b strings.Builder
		f := newFabric(t, 5, 5, 5, 2)
		f.tap = func(from string, s tsn.Send) { fmt.Fprintf(&b, "%d %s %d %x\n", f.now, from, s.Port, s.Frame) }
		f.play(1, 40)
		for _, n := range f.bridges {
			fmt.Fprintf(&b, "%v\n%+v\n", n.notices, n.reserved)
		}
		return b.String()
	}
	if a, b := run(), run(); a != b {
		t.Error(cmp.Diff(a, b))
	}
}

// An independent dissector finds nothing malformed in what bridges say.
func TestTsharkOfBridges(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is missing: install the Debian package tshark")
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint64(b, 0), 65535)
	b = le.AppendUint32(b, 1)
	frames := 0
	f := newFabric(t, 7, 4, 5, 1)
	f.tap = func(_ string, s tsn.Send) {
		b = le.AppendUint32(le.AppendUint32(b, uint32(f.now/second)), uint32(f.now%second/1000))
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(s.Frame))), uint32(len(s.Frame)))
		b = append(b, s.Frame...)
		frames++
	}
	f.play(1, 30)
	path := filepath.Join(t.TempDir(), "msrp.pcap")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	// 6291456 is the severity of a warning.
	const bad = "_ws.malformed or _ws.expert.severity >= 6291456 or not mrp-msrp"
	out, err := exec.Command(tshark, "-r", path, "-Y", bad, "-T", "fields", "-e", "frame.number", "-e", "_ws.col.info").Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	if len(out) > 0 {
		t.Errorf("tshark complains of frames\n%s", out)
	}
	if t.Logf("%d frames", frames); frames < 100 {
		t.Error("too few to mean anything")
	}
}
