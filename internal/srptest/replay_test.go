package srptest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

var (
	captures = flag.String("captures", "", "write what the bare bridge sees of its peers into `DIR`, for the replay tests")
	update   = flag.Bool("update", false, "write the expected results of replays anew")
)

// write stores what crossed each port of a bare bridge as DIR/NAME.PORT.pcap.
func (b *bare) write(t testing.TB, name string) {
	t.Helper()
	if *captures == "" {
		return
	}
	b.do(func() {
		for i := range b.conns {
			var frames []onWire
			for _, f := range b.frames {
				if int(f.port) == i+1 {
					frames = append(frames, f)
				}
			}
			path := filepath.Join(*captures, fmt.Sprintf("%s.%d.pcap", name, i+1))
			if err := os.WriteFile(path, pcap(frames), 0o644); err != nil {
				t.Error(err)
			}
		}
	})
}

// pcap is a classic capture file of Ethernet, with microseconds.
func pcap(frames []onWire) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint64(b, 0), 2048)
	b = le.AppendUint32(b, 1)
	for _, f := range frames {
		us := f.at.Microseconds()
		b = le.AppendUint32(le.AppendUint32(b, uint32(us/1e6)), uint32(us%1e6))
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(f.frame))), uint32(len(f.frame)))
		b = append(b, f.frame...)
	}
	return b
}

// readPcap is its reverse, for the frames that a port received.
func readPcap(t testing.TB, path string, port tsn.Port) (frames []onWire) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 24 {
		t.Fatalf("%s: %v, %d octets", path, err, len(b))
	}
	le := binary.LittleEndian
	for b = b[24:]; len(b) >= 16; {
		at := time.Duration(le.Uint32(b))*time.Second + time.Duration(le.Uint32(b[4:]))*time.Microsecond
		n := int(le.Uint32(b[8:]))
		frame := b[16 : 16+n]
		if !bytes.Equal(frame[6:12], bareAddress[:]) {
			frames = append(frames, onWire{at: at, port: port, frame: frame})
		}
		b = b[16+n:]
	}
	return frames
}

// What peers said once is said again to the cores, at the same times: who is
// registered and reserved after it, in order.
func TestReplay(t *testing.T) {
	for name, c := range map[string]bareConfig{
		"pipewire": {timers: slowPeers},
		"kernel":   {timers: mrp.Timers{LeaveAll: int64(2 * time.Second)}},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := filepath.Glob(filepath.Join("testdata", name+".*.pcap"))
			if err != nil || len(files) == 0 {
				t.Fatalf("no captures: %v", err)
			}
			var frames []onWire
			for i, f := range files {
				frames = append(frames, readPcap(t, f, tsn.Port(i+1))...)
			}
			slices.SortStableFunc(frames, func(a, b onWire) int { return cmp.Compare(a.at, b.at) })
			got := replay(t, c, len(files), frames)
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// replay returns a line for each state in which the cores have been.
func replay(t testing.TB, c bareConfig, ports int, frames []onWire) string {
	b := &bare{}
	b.cores(t, c, ports)
	var out strings.Builder
	last := ""
	step := func(now tsn.Instant, ev tsn.Event) {
		for _, m := range b.machines {
			for _, e := range m.Step(now, ev) {
				b.effect(e)
			}
		}
		if s := b.state(); s != last {
			out.WriteString(s + "\n")
			last = s
		}
	}
	until := func(end tsn.Instant) {
		for {
			d := tsn.Never
			for _, m := range b.machines {
				d = min(d, m.Deadline())
			}
			if d > end {
				return
			}
			step(d, tsn.Timeout{})
		}
	}
	for i := range ports {
		step(0, tsn.LinkChanged{Port: tsn.Port(i + 1), Up: true, Rate: 100 * tsn.Mbps})
	}
	end := tsn.Instant(0)
	for _, f := range frames {
		end = tsn.Instant(f.at)
		until(end)
		step(end, tsn.Received{Port: f.port, Frame: f.frame})
	}
	until(end.Add(int64(30 * time.Second)))
	return out.String()
}

// state is what is registered and reserved, in a line.
func (b *bare) state() string {
	var s []string
	for _, p := range b.msrp.MSRPPorts() {
		if len(p.Domains) > 0 {
			s = append(s, fmt.Sprintf("port %d has domains %v", p.Port, p.Domains))
		}
	}
	for _, m := range b.msrp.MSRPStreams() {
		line := fmt.Sprintf("stream %v: talker on port %d, answered %s", m.ID, m.TalkerPort, mrp.ListenerText(m.Answer))
		for _, p := range m.Ports {
			line += fmt.Sprintf(", port %d %s", p.Port, mrp.ListenerText(p.Listener))
			if p.Reserved {
				line += " reserved"
			}
		}
		s = append(s, line)
	}
	for _, p := range b.vlans.Ports {
		s = append(s, fmt.Sprintf("port %d has VLANs %v", p.Port, p.VIDs))
	}
	return "- " + strings.Join(s, "\n  ")
}
