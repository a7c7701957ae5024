package srp

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// revive restarts a bridge, whose links stay up, with what it remembers; its
// process was away for some time.
func (l *lab) revive(b *labNode, away float64) {
	l.t.Helper()
	m, _ := b.bridge.Memory(l.now)
	text, err := json.Marshal(m)
	if err != nil {
		l.t.Fatal(err)
	}
	var back Memory
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(m, back) {
		l.t.Fatalf("%v\n%+v\nbecame %+v", err, m, back)
	}
	b.bridge, _ = New(Config{}) // nobody is there
	l.runFor(away)
	if b.bridge, err = New(b.cfg); err != nil {
		l.t.Fatal(err)
	}
	b.reserved, b.wanted = Reserved{}, nil
	l.step(b, Restore{back})
	for _, n := range l.lans {
		for _, e := range n.ends {
			if e.node == b && n.up {
				l.step(b, tsn.LinkChanged{Port: e.port, Up: true, Rate: n.rate})
			}
		}
	}
}

// A bridge that remembers gives each stream what it had, although others would
// come first in the order of their names, and its neighbours notice nothing.
func TestRestartWithMemory(t *testing.T) {
	l, talker, b2, b3, far, near := line(t, nil)
	for u := byte(5); u >= 1; u-- { // the first has no room
		w := talker.talker(u)
		l.talk(talker, w)
		l.listen(far, w.StreamID, true)
		l.runFor(1)
	}
	l.listen(near, talker.talker(3).StreamID, true)
	l.runFor(2)
	before := b2.text()
	if strings.Count(before, "reserved") != 5 || !strings.Contains(before, "port 2: listener asking failed") {
		t.Fatal(before)
	}
	reserved := b2.reserved
	b3.notices = nil
	l.revive(b2, 0.2)
	if !b2.reserved.equal(reserved) {
		t.Errorf("at once: %+v\nbefore: %+v", b2.reserved, reserved)
	}
	l.runFor(3)
	if got := b2.text(); got != before {
		t.Errorf("%s\nbefore:\n%s", got, before)
	}
	if got := strings.Join(b3.notices, "\n"); strings.Contains(got, "released") || strings.Contains(got, "failed") {
		t.Errorf("the next bridge noticed: %s", got)
	}
	for u := byte(2); u <= 5; u++ {
		if got := talker.station.answer[talker.talker(u).StreamID]; got != mrp.ListenerReady {
			t.Errorf("stream %d: the talker hears %s", u, mrp.ListenerText(got))
		}
	}
}

// What neighbours no longer declare is over within a leave time.
func TestRestartMemoryAges(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	w := talker.talker(1)
	l.talk(talker, w)
	l.listen(far, w.StreamID, true)
	l.runFor(2)
	m, _ := b2.bridge.Memory(l.now)
	l.hush(talker, w.StreamID)
	l.runFor(2)
	b2.bridge, _ = New(b2.cfg)
	b2.reserved = Reserved{}
	l.step(b2, Restore{m})
	for p := tsn.Port(1); p <= 3; p++ {
		l.step(b2, tsn.LinkChanged{Port: p, Up: true, Rate: 100 * tsn.Mbps})
	}
	if len(b2.bridge.Streams()) != 1 {
		t.Errorf("%s", b2.text())
	}
	l.runFor(2)
	want(t, b2, "")
	want(t, b3, "")
}

// Links that do not come up are not waited for for long; a Restore that comes too
// late, or is nonsense, does nothing.
func TestRestoreOdd(t *testing.T) {
	l, talker, b2, _, far, _ := line(t, nil)
	w := talker.talker(1)
	l.talk(talker, w)
	l.listen(far, w.StreamID, true)
	l.runFor(2)
	before := b2.text()
	l.step(b2, Restore{Memory{Registrations: []RememberedValue{{Port: 2, Type: 1, Octets: make([]byte, 25)}}}})
	if got := b2.text(); got != before {
		t.Errorf("%s", got)
	}
	m, _ := b2.bridge.Memory(l.now)
	m.Registrations = append(m.Registrations, RememberedValue{Port: 9, Type: 1}, RememberedValue{Port: 2, Type: 200}, RememberedValue{Port: 3, Type: 1, Octets: []byte{1}})
	m.Held = append(m.Held, HeldPort{Port: 9}, HeldPort{StreamID: w.StreamID, Port: 9})
	b2.bridge, _ = New(b2.cfg)
	b2.reserved = Reserved{}
	l.step(b2, Restore{m})
	for p := tsn.Port(1); p <= 2; p++ { // never port 3
		l.step(b2, tsn.LinkChanged{Port: p, Up: true, Rate: 100 * tsn.Mbps})
	}
	if got := b2.bridge.Deadline(); got != l.now.Add(restoreWait) {
		t.Errorf("deadline %d", got-l.now)
	}
	l.runFor(2)
	if got := b2.bridge.Streams(); len(got) != 1 {
		t.Errorf("%s", b2.text())
	}
	if again, n := b2.bridge.Memory(l.now); n != b2.bridge.MemoryChanged() || len(again.Registrations) == 0 {
		t.Errorf("%d, %+v", n, again)
	}
}
