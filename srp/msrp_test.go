package srp

import (
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// line is talker s1 - bridge b2 - bridge b3 - listener s4, s5 at b2.
func line(t testing.TB, change func(*Config)) (l *lab, talker, b2, b3, far, near *labNode) {
	l = newLab(t, 1)
	talker = l.addStation(false)
	b2, b3 = l.addBridge(3, change), l.addBridge(3, change)
	far, near = l.addStation(false), l.addStation(false)
	l.connect(end{talker, 1}, end{b2, 1})
	l.connect(end{b2, 2}, end{b3, 1})
	l.connect(end{far, 1}, end{b3, 2})
	l.connect(end{near, 1}, end{b2, 3})
	return l, talker, b2, b3, far, near
}

// 802.1Q 35.2.4: a stream is offered everywhere, reserved where somebody is
// ready, and given back when the listener or the talker leaves.
func TestReserveAndGiveBack(t *testing.T) {
	l, talker, b2, b3, far, near := line(t, nil)
	s := talker.talker(1)
	l.listen(far, s.StreamID, true)
	l.talk(talker, s)
	l.runFor(2)
	want(t, b2, `b2 02-00-00-00-01-01:0001 from port 1, says ready
   port 2: listener ready, advertised, 445000 ns, reserved
   port 3: listener ignore, advertised, 445000 ns
`)
	want(t, b3, `b3 02-00-00-00-01-01:0001 from port 1, says ready
   port 2: listener ready, advertised, 890000 ns, reserved
`)
	if got := talker.station.answer[s.StreamID]; got != mrp.ListenerReady {
		t.Errorf("the talker hears %s", mrp.ListenerText(got))
	}
	if r := b3.reserved; len(r.MDB) != 1 || r.MDB[0].Group != s.DestinationAddress || r.MDB[0].Ports[0] != 2 || r.Slopes[0].IdleSlope[tsn.ClassSRA] != 17024 {
		t.Errorf("%+v", r)
	}
	l.listen(near, s.StreamID, true)
	l.listen(far, s.StreamID, false)
	l.runFor(2)
	want(t, b2, `b2 02-00-00-00-01-01:0001 from port 1, says ready
   port 2: listener ignore, advertised, 445000 ns
   port 3: listener ready, advertised, 445000 ns, reserved
`)
	// Where nobody has it any more its frames go nowhere (35.1.3).
	if r := b3.reserved; len(r.MDB) != 0 || len(r.Idle) != 1 || r.Idle[0].Group != s.DestinationAddress || !slices.Equal(r.Idle[0].Ports, []tsn.Port{tsn.NoPort}) {
		t.Errorf("%+v", r)
	}
	l.hush(talker, s.StreamID)
	l.runFor(2)
	want(t, b2, "")
	want(t, b3, "")
	if len(b2.reserved.MDB) != 0 || len(b2.reserved.Slopes) != 0 || len(b2.reserved.Idle) != 0 || len(b3.reserved.Idle) != 0 {
		t.Errorf("%+v", b2.reserved)
	}
}

func want(t testing.TB, n *labNode, text string) {
	t.Helper()
	if got := n.text(); got != text {
		t.Errorf("got\n%swant\n%s", got, text)
	}
}
