package isispdu

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// pcap returns a capture file with one Ethernet frame for each PDU.
func pcap(t *testing.T, pdus []PDU) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b2c3d4)
	b = le.AppendUint32(b, 2|4<<16)
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint32(b, 0x10000)
	b = le.AppendUint32(b, 1)
	for i, p := range pdus {
		frame := AppendFrame(nil, AllISs, sysA, encode(t, p))
		b = le.AppendUint32(b, uint32(i))
		b = le.AppendUint32(b, 0)
		b = le.AppendUint32(b, uint32(len(frame)))
		b = le.AppendUint32(b, uint32(len(frame)))
		b = append(b, frame...)
	}
	return b
}

// An independent decoder finds nothing wrong in any PDU kind, and sees the
// SPB fields that were put in.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	file := filepath.Join(t.TempDir(), "isis.pcap")
	pdus := samples()
	if err := os.WriteFile(file, pcap(t, pdus), 0o600); err != nil {
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
	want := []struct{ field, iih, lsp string }{
		{"isis.type", "17", "18"},
		{"isis.hello.adjacency_state", "1", ""},
		{"isis.hello.ect", "00-80-c2-01", ""},
		{"isis.hello.bvid", "0x0064", ""},
		{"isis.lsp.checksum.status", "", "1"},
		{"isis.lsp.hostname", "", "bridge-a"},
		{"isis.lsp.mt_cap_spb_instance.vlanid_tuple.ect", "", "8438273,8438274"},
		{"isis.lsp.mt_cap_spb_instance.vlanid_tuple.basevid", "", "100,101"},
		{"isis.lsp.mt_cap_spbm_service_identifier.b_mac", "", "02:00:00:00:01:01,02:00:00:00:00:01"},
		{"isis.lsp.mt_cap_spbm_service_identifier.i_sid", "", "0x000001"},
		{"isis.lsp.spb.link_metric", "", "0x004e20"},
		{"isis.lsp.spb.port_id", "", "0x0001"},
	}
	args := []string{"-T", "fields"}
	for _, w := range want {
		args = append(args, "-e", w.field)
	}
	lines := strings.Split(run(args...), "\n")
	if len(lines) != len(pdus) {
		t.Fatalf("%d lines for %d frames", len(lines), len(pdus))
	}
	iih, lsp := strings.Split(lines[0], "\t"), strings.Split(lines[1], "\t")
	for i, w := range want {
		if iih[i] != w.iih || lsp[i] != w.lsp {
			t.Errorf("%s = %q, %q; want %q, %q", w.field, iih[i], lsp[i], w.iih, w.lsp)
		}
	}
	for i, line := range lines {
		if typ, _, _ := strings.Cut(line, "\t"); typ != strconv.Itoa(int(pdus[i].Type())) {
			t.Errorf("frame %d is IS-IS type %q, want %d", i, typ, pdus[i].Type())
		}
	}
}
