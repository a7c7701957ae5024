package gptp

import (
	"bytes"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

func tlv(t ptpmsg.TLVType, octets int, fill byte) ptpmsg.TLV {
	return ptpmsg.TLV{Type: t, Value: bytes.Repeat([]byte{fill}, octets)}
}

// passedOn gives a relay an Announce and a Sync with TLVs, and returns those that
// it sends on beside its own.
func passedOn(t *testing.T, s *solo, tlvs []ptpmsg.TLV) (announce, followUp []ptpmsg.TLV) {
	t.Helper()
	a := announceFrom(99, 0, neighbour.Clock)
	a.TLVs = append(a.TLVs, tlvs...)
	s.wait(2 * announceGap)
	s.out = nil
	s.receive(1, a)
	got, _ := take[*ptpmsg.Announce](s)
	s.receive(1, &ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, 3, -3)})
	s.receive(1, &ptpmsg.FollowUp{
		Header: head(neighbour, 0, 3, -3),
		TLVs:   append([]ptpmsg.TLV{ptpmsg.FollowUpInformation{}.TLV()}, tlvs...),
	})
	_, at := take[*ptpmsg.Sync](s)
	if len(got) != 1 || len(at) != 1 {
		t.Fatalf("%d Announces, %d Syncs", len(got), len(at))
	}
	// The octets of what came may be gone by now.
	s.receive(2, &ptpmsg.Signaling{Header: head(neighbour, 0, 1, 127), TLVs: []ptpmsg.TLV{tlv(0x4000, 600, 0xEE)}})
	s.step(tsn.Sent{Port: 2, Tag: at[0].tag, Egress: tsn.LocalTime(s.at), Stamped: true})
	fup, _ := take[*ptpmsg.FollowUp](s)
	if len(fup) != 1 {
		t.Fatal("no Follow_Up")
	}
	return got[0].TLVs[1:], fup[0].TLVs[1:]
}

func sameTLVs(a, b []ptpmsg.TLV) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Type != b[i].Type || !bytes.Equal(a[i].Value, b[i].Value) {
			return false
		}
	}
	return true
}

// 14.2 of IEEE Std 1588-2019: TLVs of 0x4000 to 0x7FFF go on with Announce and
// Follow_Up, in order, octet for octet; all others end here.
func TestUnknownTLVsAreForwarded(t *testing.T) {
	first, last := tlv(0x4000, 10, 1), tlv(0x7fff, 0, 0)
	s := soloRelay(t, nil)
	announce, followUp := passedOn(t, s, []ptpmsg.TLV{
		tlv(0x0003, 12, 9), first, tlv(0x2004, 8, 9), tlv(0x3fff, 2, 9), last, tlv(0x8000, 12, 9), tlv(0xffff, 1, 9),
	})
	if want := []ptpmsg.TLV{first, last}; !sameTLVs(announce, want) || !sameTLVs(followUp, want) {
		t.Errorf("Announce %v\nFollow_Up %v", announce, followUp)
	}
	if in, out := s.port(1).count, s.port(2).count; in.TLVsDropped != 0 || out.TLVsForwarded != 4 {
		t.Errorf("%d dropped, %d forwarded", in.TLVsDropped, out.TLVsForwarded)
	}
}

// What is more than maxForwarded octets is dropped and counted: no TLV bomb
// goes further than one link.
func TestTLVBombs(t *testing.T) {
	small := tlv(0x4001, 96, 2)
	var bomb []ptpmsg.TLV
	for range 300 {
		bomb = append(bomb, tlv(0x4002, 0, 0))
	}
	for _, c := range []struct {
		name    string
		in      []ptpmsg.TLV
		want    []ptpmsg.TLV
		dropped uint64 // of one message
	}{
		{"one that is too long", []ptpmsg.TLV{tlv(0x4000, 253, 1)}, nil, 1},
		{"one that just fits", []ptpmsg.TLV{tlv(0x4000, 252, 1)}, []ptpmsg.TLV{tlv(0x4000, 252, 1)}, 0},
		{"a third that does not fit", []ptpmsg.TLV{small, small, small}, []ptpmsg.TLV{small, small}, 1},
		{"very many", bomb, bomb[:maxForwarded/4], uint64(len(bomb) - maxForwarded/4)},
	} {
		s := soloRelay(t, nil)
		announce, followUp := passedOn(t, s, c.in)
		if !sameTLVs(announce, c.want) || !sameTLVs(followUp, c.want) || s.port(1).count.TLVsDropped != 2*c.dropped {
			t.Errorf("%s: %d and %d go on, %d were dropped", c.name, len(announce), len(followUp), s.port(1).count.TLVsDropped)
		}
	}
}

// A path so long that the TLVs do not fit beside it leaves them out.
func TestForwardedTLVsLeaveRoomForThePath(t *testing.T) {
	s := soloRelay(t, nil)
	a := announceFrom(99, 100)
	path := make([]ptpmsg.ClockIdentity, ptpmsg.MaxPathTrace-6)
	for i := range path {
		path[i] = ptpmsg.ClockIdentity{1, byte(i >> 8), byte(i)}
	}
	a.TLVs = []ptpmsg.TLV{ptpmsg.PathTraceTLV(path), tlv(0x4000, 4, 1)}
	s.wait(2 * announceGap)
	s.out = nil
	s.receive(1, a)
	for range 3 {
		s.wait(second)
		s.receive(1, a)
	}
	got, at := take[*ptpmsg.Announce](s)
	for i, m := range got {
		if at[i].port == 2 && len(at[i].raw) > ptpmsg.MaxMessageLen {
			t.Errorf("%d octets", len(at[i].raw))
		}
		if p, _ := m.PathTrace(nil); len(p) != ptpmsg.MaxPathTrace-5 {
			t.Errorf("a path of %d", len(p))
		}
	}
	if len(got) == 0 || s.port(2).count.TLVsForwarded == 0 {
		t.Errorf("%d Announces, %d TLVs", len(got), s.port(2).count.TLVsForwarded)
	}
	a.TLVs[1] = tlv(0x4000, 40, 1)
	a.Priority1--
	s.wait(2 * announceGap)
	if s.receive(1, a); s.port(2).count.TLVsDropped != 1 {
		t.Errorf("%d dropped", s.port(2).count.TLVsDropped)
	}
}
