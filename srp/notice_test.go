package srp

import (
	"fmt"
	"slices"
	"testing"

	"tsnswitch"
)

// took returns the notices of a bridge since the last time.
func (n *labNode) took() (out []string) { out, n.notices = n.notices, nil; return out }

// wantNotices: these, in this order, among which there may be others.
func wantNotices(t *testing.T, n *labNode, want ...string) {
	t.Helper()
	got := n.took()
	at := 0
	for _, g := range got {
		if at < len(want) && g == want[at] {
			at++
		}
	}
	if at < len(want) {
		t.Errorf("%s: no %q in %q", n.name, want[at], got)
	}
}

// A stream is told of as it is reserved, fails, moves and is given up.
func TestNoticesOfStreams(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	s := talker.talker(1)
	l.listen(far, s.StreamID, true)
	l.talk(talker, s)
	l.runFor(2)
	wantNotices(t, b2, "stream-reserved port 2 02-00-00-00-01-01:0001")
	l.setLink(l.lans[2], true, 10*tsn.Mbps) // the far listener's
	l.runFor(2)
	wantNotices(t, b3, "stream-released port 2 02-00-00-00-01-01:0001", "stream-failed port 2 02-00-00-00-01-01:0001: code 7, reported latency has changed")
	l.hush(talker, s.StreamID)
	l.runFor(2)
	bad := s
	bad.DataFramePriority = 1
	l.talk(talker, bad)
	l.runFor(2)
	wantNotices(t, b2, "stream-failed port 2 02-00-00-00-01-01:0001: code 13, requested priority is not a stream class")
	wantNotices(t, b3, "stream-failed port 2 02-00-00-00-01-01:0001: code 13 at "+b2.cfg.MSRP.BridgeID.String()+", requested priority is not a stream class")
}

// An emergency stream pushes others aside, which is told apart from their end.
func TestNoticePreempted(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	for i := range byte(5) {
		s := talker.talker(i + 1)
		if i == 4 {
			s.Rank = 0
		}
		l.listen(far, s.StreamID, true)
		l.talk(talker, s)
		l.runFor(1)
	}
	wantNotices(t, b3, "stream-reserved port 2 02-00-00-00-01-01:0005", "stream-preempted port 2 02-00-00-00-01-01:0004")
	wantNotices(t, b2, "stream-failed port 2 02-00-00-00-01-01:0004: code 6, stream preempted by higher rank")
}

// Ports become boundaries of a class when the neighbour's domain or gPTP says
// so; both classes of one PDU are news at once.
func TestNoticeBoundary(t *testing.T) {
	l, _, b2, _, _, near := line(t, func(c *Config) { c.MSRP.ASCapable = true })
	l.step(b2, SetASCapable{Port: 3, Capable: true})
	l.runFor(1)
	if slices.ContainsFunc(b2.notices, func(n string) bool {
		return n == "srp-boundary port 3 boundary of class B: its neighbour does not have class B"
	}) {
		t.Error("one class of two was told before the other was read")
	}
	wantNotices(t, b2, "srp-boundary port 3 boundary of class A: the port keeps no time (asCapable is false)",
		"srp-boundary port 3 inside the domain of class A again", "srp-boundary port 3 inside the domain of class B again")
	near.station.Leave(l.now, DefaultSRClasses()[0].domain().Value())
	near.deadline = near.station.Deadline()
	l.runFor(2)
	wantNotices(t, b2, "srp-boundary port 3 boundary of class A: its neighbour does not have class A")
	near.station.Join(l.now, DefaultSRClasses()[0].domain().Value(), 0, true)
	near.deadline = near.station.Deadline()
	l.runFor(2)
	wantNotices(t, b2, "srp-boundary port 3 inside the domain of class A again")
}

// A talker that is heard at another port has moved.
func TestNoticeMoved(t *testing.T) {
	l, talker, b2, _, far, near := line(t, nil)
	s := talker.talker(1)
	l.listen(far, s.StreamID, true)
	l.talk(talker, s)
	l.runFor(2)
	l.hush(talker, s.StreamID)
	l.talk(near, s)
	l.runFor(2)
	wantNotices(t, b2, "stream-moved port 3 02-00-00-00-01-01:0001 comes in here, no longer by port 1")
}

// What does not fit into a port's table is told once, until there is room.
func TestNoticeTableFull(t *testing.T) {
	l, talker, b2, _, _, _ := line(t, func(c *Config) { c.MaxStreams = 4 })
	for i := range byte(100) {
		l.talk(talker, talker.talker(i+1))
	}
	l.runFor(1)
	full := 0
	for _, n := range b2.took() {
		if n == NoticeTableFull+" port 1 others declare more than there is room for" {
			full++
		}
	}
	if full == 0 || full > 3 {
		t.Errorf("told %d times", full)
	}
	if c := b2.bridge.MSRPPorts()[0].Counters; c.Dropped == 0 {
		t.Errorf("%+v", c)
	}
}

// Registrations are told as they come and go, by VLAN or group and port.
func TestNoticesOfRegistrations(t *testing.T) {
	vlans := func(ports ...PortVLANs) RegisteredVLANs { return RegisteredVLANs{ports} }
	got := fmt.Sprint(vlanNews(vlans(PortVLANs{1, []tsn.VID{5, 6}}), vlans(PortVLANs{1, []tsn.VID{6}}, PortVLANs{2, []tsn.VID{7}})))
	if want := "[{vlan-left 1 VLAN 5 0} {vlan-registered 2 VLAN 7 0}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	group := func(ports ...tsn.Port) RegisteredGroups {
		return RegisteredGroups{Groups: []RegisteredGroup{{5, tsn.MAC{1}, ports}}}
	}
	got = fmt.Sprint(groupNews(group(1, 2), group(2, 3)))
	if want := "[{group-left 1 01:00:00:00:00:00 in VLAN 5 0} {group-registered 3 01:00:00:00:00:00 in VLAN 5 0}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
