package isispdu

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// capturePDUs reads the IS-IS PDUs of a little-endian capture file; frames of
// other protocols are left out.
func capturePDUs(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "captures", name))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b2c3d4 {
		t.Fatalf("%s is not a little-endian capture file", name)
	}
	var out [][]byte
	for b = b[24:]; len(b) > 0; {
		n := int(le.Uint32(b[8:]))
		frame := b[16 : 16+n]
		b = b[16+n:]
		if _, _, pdu, err := ParseFrame(frame); err == nil {
			out = append(out, pdu)
		} else if _, pdu, ok := bytes.Cut(frame, llc[:2]); ok && len(pdu) > 2 && pdu[1] == protocolDiscriminator {
			out = append(out, pdu[1:]) // with a VLAN tag, or on a serial line
		}
	}
	return out
}

// What other implementations send comes back octet for octet, whether SPB uses
// it or not. The TLVs that are kept without being understood are named.
func TestCaptures(t *testing.T) {
	for _, c := range []struct {
		file string
		want string // PDUs by type, then the codes of Raw TLVs
	}{
		{"spb.pcap", "6x17 1x18 1x26 raw[]"},
		{"ISIS_p2p_adjacency.pcap", "14x17 2x18 2x20 2x24 2x25 2x26 2x27 raw[2 128]"},
		{"ISIS_external_lsp.pcap", "11x15 1x18 3x24 raw[2 6 128 130]"},
		{"isis_iid_tlv.pcap", "21x17 3x18 5x20 4x24 4x25 2x26 2x27 raw[7 135 242]"},
		{"isis_cap_tlv.pcap", "1x20 raw[2 128 134 135 242]"},
		{"isis_sid.pcap", "1x20 raw[2 128 134 135 242]"},
		{"isis_poi.pcap", "1x20 raw[]"},
		{"isis_poi2.pcap", "1x20 raw[]"},
	} {
		types, raws := map[Type]int{}, map[uint8]bool{}
		for n, b := range capturePDUs(t, c.file) {
			p, err := Parse(b)
			if err != nil {
				t.Errorf("%s: PDU %d: %v", c.file, n+1, err)
				continue
			}
			types[p.Type()]++
			b = b[:Length(b)]
			if got := encode(t, p); !bytes.Equal(got, b) {
				t.Errorf("%s: PDU %d:\n in %x\nout %x", c.file, n+1, b, got)
			}
			if l, ok := p.(*LSP); ok && l.Checksum != 0 && !ChecksumOK(b) {
				t.Errorf("%s: PDU %d: checksum", c.file, n+1)
			}
			for _, tlv := range tlvsOf(p) {
				if r, ok := tlv.(*Raw); ok {
					raws[r.Type] = true
				}
			}
		}
		if got := summary(types) + "raw" + summaryKeys(raws); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.file, got, c.want)
		}
	}
}

func tlvsOf(p PDU) []TLV {
	switch p := p.(type) {
	case *IIH:
		return p.TLVs
	case *LSP:
		return p.TLVs
	case *CSNP:
		return p.TLVs
	case *PSNP:
		return p.TLVs
	}
	return p.(*Other).TLVs
}

func summary(types map[Type]int) string {
	s := ""
	for t := range Type(32) {
		if types[t] > 0 {
			s += fmt.Sprintf("%dx%d ", types[t], t)
		}
	}
	return s
}

func summaryKeys(m map[uint8]bool) string {
	var keys []uint8
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return fmt.Sprint(keys)
}

// The SPB fields of a real bridge, and the layout of its agreement digest.
func TestCaptureSPB(t *testing.T) {
	pdus := capturePDUs(t, "spb.pcap")
	var got []string
	for _, n := range []int{0, 4, 5} {
		p, err := Parse(pdus[n])
		if err != nil {
			t.Fatal(err)
		}
		for _, tlv := range tlvsOf(p) {
			if tlv.Code() != CodePadding {
				got = append(got, tlv.String())
			}
		}
	}
	want := []string{
		"three-way Up circuit 5 neighbour 22:22:22:22:22:22 circuit 4",
		"protocols c1",
		"area 00000000000000000000000000",
		"mt-port-cap (mcid b905db76317009923cbc933ca050389a aux b905db76317009923cbc933ca050389a) " +
			"(digest 00 0020001800000000000000000000000a0b9eecca01aea1491d5b2aa388dda090)",
		"area 00000000000000000000000000",
		"protocols c1",
		"is-reach 1111.1111.1111.00 metric 10 (spb-metric 20000 ports 2 port 3) 3333.3333.3333.00 metric 10 (spb-metric 20000 ports 2 port 5) " +
			"5555.5555.5555.00 metric 10 (spb-metric 20000 ports 2 port 6) 8888.8888.8888.00 metric 10 (spb-metric 20000 ports 2 port 4)",
		"mt-capability (spb-inst priority 1000 spsource 008ae)",
		"lsp-entries 1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	hello, _ := Parse(pdus[0])
	caps, _ := Find[*MTPortCap](tlvsOf(hello))
	digest, _ := Find[*SPBDigest](caps.SubTLVs)
	if d, ok := digest.AgreementDigest(); !ok || d.Format != 0 || d.Convention != 0x20 || d.EdgeCount != 24 || d.Reserved != [8]byte{} || d.Sum[3] != 0xa {
		t.Errorf("agreement digest %+v", d)
	}
}
