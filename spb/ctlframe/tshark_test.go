package ctlframe

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An independent decoder reads the loopback messages as meant, and finds
// nothing wrong in any frame.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	lbr := &Loopback{OpCode: OpLBR, Level: 7, Transaction: 5, TLVs: DataTLVs(0)}
	frames := [][]byte{lbr.Append(nil, Header{far, bridge, 0}, 0)}
	for _, s := range samples {
		frames = append(frames, s.frame)
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint32(b, 2|4<<16)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(le.AppendUint32(b, 0x10000), 1)
	for n, f := range frames {
		b = le.AppendUint32(le.AppendUint32(b, uint32(n)), 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(f))), uint32(len(f)))
		b = append(b, f...)
	}
	file := filepath.Join(t.TempDir(), "control.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		out, err := exec.Command(tshark, append([]string{"-n", "-r", file}, args...)...).Output()
		if err != nil {
			t.Fatalf("tshark %v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	if out := run("-Y", "_ws.malformed || _ws.expert.severity >= 6291456"); out != "" {
		t.Errorf("flagged frames:\n%s\n%s", out, run("-V"))
	}
	fields := []string{"-Y", "cfm", "-T", "fields"}
	for _, f := range []string{"cfm.md.level", "cfm.opcode", "cfm.first.tlv.offset", "cfm.lb.transaction.id", "cfm.tlv.type", "vlan.id", "vlan.priority"} {
		fields = append(fields, "-e", f)
	}
	want := "7\t2\t4\t5\t0\t\t\n4\t3\t4\t16909060\t3,0\t100\t6"
	if out := run(fields...); out != want {
		t.Errorf("loopback messages read as\n%s\nwant\n%s", out, want)
	}
}
