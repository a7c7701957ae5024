package spb

import (
	"bytes"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// What this bridge does not understand goes on as it came (ISO/IEC 10589
// 7.3.15.1; RFC 6329 s14.1.1, s15.1.1; RFC 7813): algorithms of others, explicit
// trees, unknown TLVs and sub-TLVs, malformed ones, and reserved bits. Only the
// lifetime differs, and the rest of the LSP counts.
func TestOpaqueContentIsFlooded(t *testing.T) {
	l := &isispdu.LSP{
		Header:            isispdu.Header{IDLength: 6, TypeReserved: 0xa0, Reserved: 7, MaximumAreaAddresses: 1},
		RemainingLifetime: 1000, ID: isispdu.MakeLSPID(nodeMAC(5), 0), SequenceNumber: 1, Flags: 0xf9,
		TLVs: []isispdu.TLV{
			&isispdu.Hostname{Name: "b6"},
			&isispdu.MTCapability{MT: 0x7000, SubTLVs: []isispdu.TLV{
				&isispdu.OpaqueECT{ECT: 0x00a0b101, Information: []byte{1, 2, 3}},
				&isispdu.SPBVADDR{Word: 0xc000 | 300, Addresses: []isispdu.SPBVMAC{{Flags: 0x3f, MAC: tsn.MAC{1, 0, 0x5e, 0, 0, 1}}}},
				&isispdu.Topology{BaseVIDs: []uint16{0xf064}, SubTLVs: []isispdu.TLV{
					&isispdu.Hop{Flags: isispdu.HopRoot | 3, SystemID: nodeMAC(5)}, &isispdu.Raw{Type: 99, Value: []byte{9}},
				}},
				&isispdu.Raw{Type: isispdu.SubSPBInst, Value: []byte{1}},
				&isispdu.Raw{Type: 200, Value: []byte{2}},
			}},
			&isispdu.MTISReach{MT: 2, Neighbors: []isispdu.ExtISNeighbor{{SubTLVs: []isispdu.TLV{
				&isispdu.OpaqueECT{Adjacency: true, ECT: 0x00a0b101}, &isispdu.Raw{Type: 201, Value: []byte{3}},
			}}}},
			&isispdu.Raw{Type: isispdu.CodeThreeWay, Value: []byte{1, 2}},
			&isispdu.Raw{Type: 250, Value: []byte("experimental")},
		},
	}
	tlvs := len(l.TLVs)
	raw, err := l.Seal()
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]*Key{"without keys": nil, "with keys": {ID: 1, Algorithm: HMACSHA1, Secret: Secret("secret")}} {
		p, want := newPeer(t, nil), raw
		if key == nil {
			p.up()
		} else {
			p = newPeer(t, withKeys(bothChains(chainOf(*key)))).upWith(*key)
			want = signed(*key, l)
		}
		var got []byte
		for _, e := range p.inst.Step(p.now, tsn.Received{Port: 1, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), want)}) {
			if s, ok := e.(tsn.Send); ok && s.Port == 2 {
				_, _, got, _ = isispdu.ParseFrame(s.Frame)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%s: %d octets flooded, want %d", name, len(got), len(want))
		}
		isispdu.SetRemainingLifetime(got, 1000)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, got, want)
		}
		if d, _ := p.stored(5); len(d.Lines) < tlvs {
			t.Errorf("%s: stored %q", name, d.Lines)
		}
	}
}
