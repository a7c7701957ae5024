package gptp

import (
	"testing"

	"tsnswitch/gptp/ptpmsg"
)

// What makes a grand master better is the first part that differs (10.3.2).
func TestBetterBy(t *testing.T) {
	id := ptpmsg.ClockIdentity{1, 2, 3, 0xff, 0xfe, 4, 5, 6}
	quality := ptpmsg.ClockQuality{Class: 248, Accuracy: 0xfe, OffsetScaledLogVariance: 0x4e5d}
	base := makeSystemIdentity(246, quality, 248, id)
	gnss := ptpmsg.ClockQuality{Class: 6, Accuracy: 0xfe, OffsetScaledLogVariance: 0x4e5d}
	steady := ptpmsg.ClockQuality{Class: 248, Accuracy: 0xfe, OffsetScaledLogVariance: 0x100}
	for want, s := range map[string]systemIdentity{
		"":                            makeSystemIdentity(246, quality, 249, ptpmsg.ClockIdentity{}),
		"better priority1, 100 < 246": makeSystemIdentity(100, quality, 255, id),
		"better clockClass, 6 < 248":  makeSystemIdentity(246, gnss, 248, id),
		"better offsetScaledLogVariance, 0x0100 < 0x4e5d":           makeSystemIdentity(246, steady, 248, id),
		"better priority2, 1 < 248":                                 makeSystemIdentity(246, quality, 1, id),
		"better clockIdentity, 000000fffe000000 < 010203fffe040506": makeSystemIdentity(246, quality, 248, ptpmsg.ClockIdentity{3: 0xff, 4: 0xfe}),
	} {
		if got := s.betterBy(base); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A Notice tells of each change of grand master with the old one and why.
func TestGrandMasterNotices(t *testing.T) {
	s := newSolo(t, 1, patient)
	s.capable(1)
	self, better := s.sys.cfg.ClockIdentity, ptpmsg.ClockIdentity{9, 9, 9, 0xff, 0xfe, 9, 9, 9}
	told := func(from, to ptpmsg.ClockIdentity, why string) {
		t.Helper()
		last := ""
		for _, n := range s.notices {
			if n.Kind == NoticeGrandMaster {
				last = n.Detail
			}
		}
		if want := from.String() + " -> " + to.String() + ": " + why; last != want {
			t.Errorf("%q, want %q", last, want)
		}
	}
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	told(self, neighbour.Clock, "better priority1, 100 < 246, at port 1")
	a := announceFrom(101, 1, better, neighbour.Clock)
	a.GrandMaster = better
	s.receive(1, a)
	told(neighbour.Clock, better, "port 1 tells of another one")
	s.wait(4 * second)
	told(better, self, NoticeAnnounceTimeout+" at port 1")
}
