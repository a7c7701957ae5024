package spb

import (
	"fmt"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

func manyStations(n int) []EndStation {
	out := make([]EndStation, n)
	for k := range out {
		out[k] = EndStation{MAC: stationMAC(1000 + k), Port: edgePort, Name: fmt.Sprintf("station-%d", k)}
	}
	return out
}

// One station more or less changes few fragments, not all behind it.
func TestFragmentsStay(t *testing.T) {
	p := newPeer(t, nil).up()
	stations := manyStations(600)
	p.step(SetEndStations{Stations: stations})
	p.wait(10 * second)
	total := p.inst.Status().LSPs
	if total < 12 {
		t.Fatalf("%d fragments: too few to mean anything", total)
	}
	for _, change := range []struct {
		name     string
		stations []EndStation
	}{
		{"without one in the middle", append(stations[:300:300], stations[301:]...)},
		{"with it again", stations},
		{"with another first", append([]EndStation{{MAC: tsn.MAC{2}, Port: edgePort, Name: "first"}}, stations...)},
	} {
		before := p.inst.Counters().Originations
		p.step(SetEndStations{Stations: change.stations})
		p.wait(10 * second)
		// The address and the record are in a fragment each.
		if n := p.inst.Counters().Originations - before; n == 0 || n > 4 {
			t.Errorf("%s: %d of %d fragments were flooded", change.name, n, total)
		}
		if got := len(p.inst.Nodes()[0].EndStations); got != len(change.stations) {
			t.Errorf("%s: %d stations in the LSP, want %d", change.name, got, len(change.stations))
		}
	}
}

// Random lists, one after another: every piece is in exactly one fragment,
// every fragment fits, SPB-Inst is in fragment 0, and a fragment whose pieces
// are the same is the same octet for octet.
func TestLayout(t *testing.T) {
	r := &prng{5}
	var l layout
	var list []isispdu.TLV
	before := map[uint8]string{}
	serial := uint32(0)
	for round := range 300 {
		if r.below(10) == 0 || len(list) > 1200 {
			list = list[:r.below(int64(len(list)+1))]
		}
		for range r.below(40) {
			serial++
			list = append(list, randomPiece(r, serial))
		}
		for k := range list { // some in another place
			if o := r.below(int64(len(list))); r.below(20) == 0 {
				list[k], list[o] = list[o], list[k]
			}
		}
		tlvs := append(fixedTLVs(), list...)
		const room = lspRoom
		fragments, fits := l.arrange(tlvs, room)
		if !fits {
			t.Fatal("does not fit")
		}
		want, got := map[string]int{}, map[string]int{}
		for _, p := range pieces(tlvs) {
			want[p.key]++
		}
		changed := 0
		for n, f := range fragments {
			octets := ""
			for _, tlv := range f {
				if len(tlv.AppendValue(nil)) > 255 {
					t.Fatalf("round %d: TLV %d has more than 255 octets", round, tlv.Code())
				}
				octets += string(tlv.Code()) + string(tlv.AppendValue(nil))
				if m, ok := tlv.(*isispdu.MTCapability); ok && hasInst(m) && n != 0 {
					t.Fatalf("round %d: SPB-Inst in fragment %d", round, n)
				}
			}
			if size := len(mustAppend(&isispdu.LSP{TLVs: f})); size > isispdu.ReceiveLSPBufferSize {
				t.Fatalf("round %d: fragment %d has %d octets", round, n, size)
			}
			for _, p := range pieces(f) {
				got[p.key]++
			}
			if (len(f) > 0) != l.used[n] {
				t.Fatalf("round %d: fragment %d used %t", round, n, l.used[n])
			}
			if before[uint8(n)] != octets {
				changed++
			}
			before[uint8(n)] = octets
		}
		if fmt.Sprint(want) != fmt.Sprint(got) {
			t.Fatalf("round %d: %d pieces went in, %d came out", round, len(want), len(got))
		}
		l.arrange(tlvs, room)
		if again, _ := l.arrange(tlvs, room); fmt.Sprint(again) != fmt.Sprint(fragments) {
			t.Fatalf("round %d: the same list gave other fragments", round)
		}
	}
}

func fixedTLVs() []isispdu.TLV {
	return []isispdu.TLV{
		&isispdu.AreaAddresses{Areas: [][]byte{make([]byte, 13)}},
		&isispdu.Hostname{Name: "b1"},
		&isispdu.MTCapability{SubTLVs: []isispdu.TLV{&isispdu.SPBInst{}}},
	}
}

// randomPiece is unlike any other with another serial number.
func randomPiece(r *prng, serial uint32) isispdu.TLV {
	mac := tsn.MAC{2, 0, byte(serial >> 24), byte(serial >> 16), byte(serial >> 8), byte(serial)}
	value := append(mac[:], make([]byte, r.below(240))...)
	switch r.below(4) {
	case 0:
		return &isispdu.ExtISReach{Neighbors: []isispdu.ExtISNeighbor{{ID: isispdu.MakeNodeID(mac), Metric: 7}}}
	case 1:
		return &isispdu.MTCapability{SubTLVs: []isispdu.TLV{&isispdu.Raw{Type: 99, Value: value}}}
	case 2:
		return &isispdu.MTCapability{SubTLVs: []isispdu.TLV{&isispdu.SPBMSI{BMAC: mac}}}
	}
	return &isispdu.GenInfo{Application: uint16(r.below(2)), Records: []isispdu.TLV{&isispdu.Raw{Type: 1, Value: value}}}
}

// What does not fit 256 fragments is left out from the end, and said.
func TestTooManyStations(t *testing.T) {
	p := newPeer(t, nil).up()
	stations := manyStations(12000)
	p.step(SetEndStations{Stations: stations})
	said := false
	for _, n := range p.notices {
		said = said || n.Kind == NoticeLSPTooLarge
	}
	if !said || p.inst.Status().LSPs != maxFragments {
		t.Errorf("notice %t, %d fragments", said, p.inst.Status().LSPs)
	}
	if n := p.inst.Status().Adjacencies; n != 2 {
		t.Errorf("%d adjacencies", n)
	}
}
