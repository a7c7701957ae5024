package ptpmsg

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
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

// An independent dissector reads every message kind as we meant it and finds
// nothing malformed.
func TestTshark(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var frames [][]byte
	for _, s := range samples() {
		frames = append(frames, AppendFrame(nil, macA, s.msg))
	}
	path := filepath.Join(t.TempDir(), "gptp.pcap")
	writePcap(t, path, frames)

	fields := []string{
		"ptp.v2.messagetype", "ptp.v2.messagelength", "ptp.v2.sequenceid", "ptp.v2.correction.ns",
		"ptp.as.fu.cumulativeScaledRateOffset", "ptp.as.fu.gmTimeBaseIndicator", "ptp.v2.an.pathsequence", "ptp.v2.an.priority1",
		"ptp.as.sig.tlv.organizationSubType", "ptp.as.sig.tlv.timesyncinterval", "ptp.as.sig.tlv.gptpcapablemessageinterval",
	}
	args := []string{"-r", path, "-T", "fields", "-E", "separator=;"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	got := strings.ToLower(strings.TrimSpace(string(out)))
	if want := strings.TrimSpace(tsharkWant); got != want {
		t.Errorf("tshark reads\n%s\nwant\n%s", got, want)
	}
	all, err := exec.Command(tshark, "-r", path, "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("tshark -V: %v\n%s", err, all)
	}
	for _, word := range []string{"Malformed", "[Expert Info (Warning", "[Expert Info (Error"} {
		if i := strings.Index(string(all), word); i >= 0 {
			t.Errorf("tshark complains: %s", all[max(0, i-300):min(len(all), i+300)])
		}
	}
}

// 4075064970 is -100 ppm in units of 2^-41, as an unsigned number.
const tsharkWant = `
0x00;44;77;0;;;;;;;
0x08;76;77;123;4075064970;7;;;;;
0x02;54;5;0;;;;;;;
0x03;54;5;0;;;;;;;
0x0a;54;5;0;;;;;;;
0x0b;76;3;0;;;0x020000fffe00000a;246;;;
0x0b;100;4;0;;;0x020000fffe00000b,0x0100000000000000,0x0200000000000000,0x020000fffe00000a;246;;;
0x0c;60;9;0;;;;;2;-4;
0x00;76;78;0;109951163;9;;;;;
0x0c;60;10;0;;;;;4;;-1
0x0c;58;11;0;;;;;5;;127
0x0c;74;12;0;;;;;2;126;
`
