package isispdu

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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

// foreignFrame is the place of sampleForeign in samples.
const foreignFrame = 5

// An independent decoder finds nothing wrong in any PDU kind, and sees the
// SPB fields that were put in. Of what the switch only passes on it does not
// know sub-TLV 21 (RFC 7813), and says so.
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
	foreign := fmt.Sprintf("frame.number == %d", foreignFrame+1)
	if out := run("-Y", "_ws.malformed || (_ws.expert.severity >= 6291456 && !("+foreign+"))"); out != "" {
		t.Errorf("flagged frames:\n%s\n%s", out, run("-V"))
	}
	if out := run("-Y", foreign, "-T", "fields", "-e", "_ws.expert.message"); out != "Unknown SubTlv: Type: 21, Length: 54" {
		t.Errorf("flagged in the frame with foreign sub-TLVs: %q", out)
	}
	want := []struct{ field, iih, lsp, foreign string }{
		{"isis.type", "17", "18", "18"},
		{"isis.hello.adjacency_state", "1", "", ""},
		{"isis.hello.digest.v", "1", "", ""},
		{"isis.hello.digest.a", "2", "", ""},
		{"isis.hello.digest.d", "1", "", ""},
		{"isis.hello.ect", "00-80-c2-01", "", ""},
		{"isis.hello.bvid", "0x0064", "", ""},
		{"isis.hello.clv_restart_flags.ra", "1", "", ""},
		{"isis.lsp.checksum.status", "", "1", "1"},
		{"isis.lsp.hostname", "", "bridge-a", ""},
		{"isis.lsp.mt_cap_spb_instance.vlanid_tuple.ect", "", "8438273,8438274", ""},
		{"isis.lsp.mt_cap_spb_instance.vlanid_tuple.basevid", "", "100,101", ""},
		{"isis.lsp.mt_cap_spbm_service_identifier.b_mac", "", "02:00:00:00:01:01,02:00:00:00:00:01", ""},
		{"isis.lsp.mt_cap_spbm_service_identifier.i_sid", "", "0x000001", ""},
		{"isis.lsp.spb.link_metric", "", "0x004e20,0x00000a", ""},
		{"isis.lsp.spb.port_id", "", "0x0001,0x0001", ""},
		{"isis.lsp.spb.spvid", "", "", "0x012c"},
		{"isis.lsp.spb.mac_address", "", "", "01:00:5e:00:00:01"},
		{"isis.lsp.mt_cap_spb_opaque.algorithm", "", "", "8438295"},
		// tshark 4.0.17 lets it run to the end of the PDU, where ours ends as well.
		{"isis.lsp.mt_cap_spb_opaque.information", "", "", "03"},
	}
	args := []string{"-T", "fields"}
	for _, w := range want {
		args = append(args, "-e", w.field)
	}
	lines := strings.Split(run(args...), "\n")
	if len(lines) != len(pdus) {
		t.Fatalf("%d lines for %d frames", len(lines), len(pdus))
	}
	for i, w := range want {
		for k, value := range map[int]string{0: w.iih, 1: w.lsp, foreignFrame: w.foreign} {
			if got := strings.Split(lines[k], "\t")[i]; got != value {
				t.Errorf("frame %d: %s = %q, want %q", k, w.field, got, value)
			}
		}
	}
	for i, line := range lines {
		if typ, _, _ := strings.Cut(line, "\t"); typ != strconv.Itoa(int(pdus[i].Type())) {
			t.Errorf("frame %d is IS-IS type %q, want %d", i, typ, pdus[i].Type())
		}
	}
}

// A second independent decoder. tcpdump 4.99.3 does not know GENINFO, SPBV-ADDR,
// the opaque algorithms and RFC 7813; everything else it must print whole.
func TestTcpdump(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed")
	}
	file := filepath.Join(t.TempDir(), "isis.pcap")
	pdus := samples()
	if err := os.WriteFile(file, pcap(t, pdus), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(tcpdump, "-n", "-vvv", "-r", file).Output()
	if err != nil {
		t.Fatalf("tcpdump: %v", err)
	}
	out := string(raw)
	for _, flag := range []string{"[|", "invalid", "bogus", "incorrect", "trunc", "too short", "too long"} {
		if strings.Contains(out, flag) {
			t.Errorf("tcpdump says %q:\n%s", flag, out)
		}
	}
	unknown := map[string]bool{}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "unknown") && strings.Contains(line, "TLV #") {
			unknown[strings.TrimSpace(line)] = true
		}
	}
	want := []string{
		"unknown TLV #251, length: 11", "unknown TLV #251, length: 26", "unknown subTLV #2, length: 5", "unknown subTLV #21, length: 54",
		"unknown subTLV #30, length: 6", "unknown subTLV #4, length: 9",
	}
	if got := slices.Sorted(maps.Keys(unknown)); !slices.Equal(got, want) {
		t.Errorf("unknown to tcpdump: %q, want %q", got, want)
	}
	for text, n := range map[string]int{
		"IS-IS, length ": len(pdus), "(correct)": 3, "No of Trees: 2": 1, "ECT: 0080c201 BVID: 100, U:1 M:1": 3,
		"V: 1 A: 2 D: 1": 3, "SPB Metric subTLV #29, length: 6, LM: 20000, P: 1, P-ID: 1": 1,
		"Purge Originator System-ID: 0200.0000.0002": 2, "Flags [Restart Acknowledgement], Remaining holding time 25s": 3,
		"IPv6 unicast Topology (0x002), Flags: [Overload bit set]": 1, "Generic Crypto key-id: 3": 5, "LSP Buffersize: 1492": 1,
	} {
		if got := strings.Count(out, text); got != n {
			t.Errorf("tcpdump prints %q %d times, want %d", text, got, n)
		}
	}
}
