package mrp

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// spread are n values of which no two fit one vector.
func spread(n int) (out []Value) {
	for i := range n {
		t := sampleTalker
		t.StreamID[4], t.StreamID[5], t.DestinationAddress[5] = byte(i>>8), byte(i), byte(i)
		out = append(out, t.Value())
	}
	return out
}

// drain returns all PDUs of one transmit opportunity.
func drain(p *Participant, now tsn.Instant) (out [][]byte) {
	for p.Deadline() <= now {
		pdu, _ := p.Tick(now)
		if pdu == nil {
			break
		}
		out = append(out, pdu)
	}
	return out
}

func text(t testing.TB, app *Application, pdu []byte) string {
	var out []string
	for _, v := range readAll(t, app, pdu) {
		s := fmt.Sprintf("%d:", v.Type)
		if v.LeaveAll {
			s += " LA"
		}
		for i, e := range v.Events {
			if s += " " + e.String(); app.attributeType(v.Type).Four {
				s += fmt.Sprint(v.Params[i])
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// 802.1Q 10.6 c: who only applies registers nothing, never asks for declarations,
// never takes a stand for others (note 1 of table 10-3), and says JoinIn, since
// nothing is ever in its Registrar.
func TestApplicantOnly(t *testing.T) {
	p := NewParticipant(MVRP(), Config{ApplicantOnly: true, Timers: Timers{Periodic: -1}})
	p.Start(0)
	p.Join(0, vid(5), 0, false)
	var said []string
	for now := tsn.Instant(0); now < 100*second; now += second / 5 {
		for _, pdu := range drain(p, now) {
			said = append(said, text(t, MVRP(), pdu))
		}
	}
	if got := strings.Join(said, "; "); got != "1: JoinIn; 1: JoinIn" {
		t.Error(got)
	}
	w := newWriter(MVRP())
	w.vector(&Vector{Type: TypeVID, First: []byte{0, 5}, Events: []Event{JoinMt, New}})
	if told := p.Receive(100*second, w.finish()); len(told) > 0 || len(p.Attributes()) != 1 {
		t.Errorf("told %v, knows %v", told, p.Attributes())
	}
	p.Leave(100*second, vid(5))
	w = newWriter(MVRP())
	w.vector(&Vector{Type: TypeVID, LeaveAll: true})
	p.Receive(100*second, w.finish())
	said = nil
	for now := 100 * second; now < 200*second; now += second / 5 {
		for _, pdu := range drain(p, now) {
			said = append(said, text(t, MVRP(), pdu))
		}
	}
	if got := strings.Join(said, "; "); got != "1: Lv" || p.Counters().LeaveAlls != [2]uint64{0, 1} {
		t.Error(got, p.Counters())
	}
}

// A system that starts again hears within a JoinTime what it forgot, though the
// links of the others never went down; and nobody gives up what it declared.
func TestStartAsks(t *testing.T) {
	l := newLAN(t, MVRP(), 2, Timers{})
	l.stations[0].Join(0, vid(5), 0, false)
	l.stations[1].Join(0, vid(6), 0, false)
	l.run(5 * second)
	again := NewParticipant(MVRP(), Config{PointToPoint: true, Seed: 9})
	again.Start(l.now)
	again.Join(l.now, vid(5), 0, false)
	l.stations[0] = again
	l.run(l.now.Add(Standard().Join))
	l.want(0, "6")
	l.run(l.now.Add(20 * int64(second)))
	l.want(1, "5")
	for _, i := range l.told[1] {
		if i.Kind == IndicateLeave {
			t.Errorf("%+v left", i)
		}
	}
}

// 802.1Q 10.7.5.24 and 10.8.1: what does not fit one PDU goes with the next of
// the same opportunity, LeaveAll first; beyond MaxBurst it takes txLAF!.
func TestBurst(t *testing.T) {
	for _, c := range []struct{ burst, most int }{{64, 19}, {5, 5}, {1, 1}} {
		p := NewParticipant(MSRP(), Config{PointToPoint: true, MaxBurst: c.burst})
		p.Start(0)
		for _, v := range spread(1000) {
			p.Join(0, v, 0, false)
		}
		values := map[string]bool{}
		for now := tsn.Instant(0); len(values) < 1000; now = p.Deadline() {
			out := drain(p, now)
			if len(out) > c.most {
				t.Fatalf("burst %d: %d PDUs at once, want %d", c.burst, len(out), c.most)
			}
			for i, pdu := range out {
				if len(pdu) > 1500 {
					t.Fatalf("a PDU of %d octets", len(pdu))
				}
				for j, v := range readAll(t, MSRP(), pdu) {
					if v.LeaveAll != (now == 0 && i == 0 && j < 4) {
						t.Errorf("at %v, PDU %d, vector %d: LeaveAll %v", now, i, j, v.LeaveAll)
					}
					MSRP().Values(&v, func(o []byte, _ Event, _ Param) { values[string(o)] = true })
				}
			}
		}
	}
}

// A LeaveAll on a port of 1,000 streams ends no registration, on either side,
// even with the standard's LeaveTime.
func TestLeaveAllOfMany(t *testing.T) {
	l := newLAN(t, MSRP(), 2, Timers{})
	for i, v := range spread(1000) {
		l.stations[i%2].Join(0, v, 0, false)
	}
	l.run(60 * second)
	for i, s := range l.stations {
		n := 0
		for _, a := range s.Attributes() {
			if a.Registered {
				n++
			}
		}
		if n != 500 {
			t.Errorf("%d registered", n)
		}
		if slices.ContainsFunc(l.told[i], func(i Indication) bool { return i.Kind == IndicateLeave }) {
			t.Error("some left by themselves")
		}
	}
}

// 802.1Q 10.8.2.8: consecutive values share a vector; one that need not be said
// is said where that is shorter than to begin another.
func TestVectorsOfRuns(t *testing.T) {
	p := NewParticipant(MVRP(), Config{PointToPoint: true, Timers: Timers{Periodic: -1}})
	p.Start(0)
	for _, v := range []uint16{10, 11, 12, 20} {
		p.Join(0, vid(v), 0, false)
	}
	for p.Deadline() < second {
		drain(p, p.Deadline())
	}
	now := second
	p.Join(now, vid(11), 0, true)
	p.Join(now, vid(9), 0, true)
	p.Join(now, vid(13), 0, true)
	p.Join(now, vid(18), 0, true)
	got := drain(p, p.Deadline())
	if s := text(t, MVRP(), got[0]); len(got) != 1 || s != "1: New JoinMt New JoinMt New, 1: New" {
		t.Error(s)
	}
}

// 802.1Q 35.2.2.7.2: Ignore fills a gap in a vector and says nothing, but for a
// leave, which some send with it.
func TestIgnoreFillsGaps(t *testing.T) {
	p := NewParticipant(MSRP(), Config{PointToPoint: true})
	p.Start(0)
	id := func(n byte) []byte { return []byte{2, 0, 0, 0, 0, 1, 0, n} }
	w := newWriter(MSRP())
	w.vector(&Vector{Type: TypeListener, First: id(1), Events: []Event{New, New, JoinMt}, Params: []Param{2, 0, 3}})
	if told := p.Receive(0, w.finish()); len(told) != 2 || told[0].Param != 2 || told[1].Value != (Value{TypeListener, string(id(3))}) {
		t.Errorf("%+v", told)
	}
	w = newWriter(MSRP())
	w.vector(&Vector{Type: TypeListener, First: id(1), Events: []Event{Lv, New, Lv}, Params: []Param{0, 0, 3}})
	if told := p.Receive(0, w.finish()); len(told) != 2 || told[0].Kind != IndicateLeave || told[1].Kind != IndicateLeave {
		t.Errorf("%+v", told)
	}
}

// 802.1Q 10.7.5.23, table 10-6: periodic! makes who is quiet speak again; below 0 it is disabled.
func TestPeriodic(t *testing.T) {
	for periodic, want := range map[int64]uint64{0: 9, -1: 2, 500 * ms: 17} {
		p := NewParticipant(MVRP(), Config{PointToPoint: true, Timers: Timers{Periodic: periodic}})
		p.Start(0)
		p.Join(0, vid(5), 0, false)
		for now := tsn.Instant(0); now < 8*second; now = p.Deadline() {
			p.Tick(now)
		}
		if n := p.Counters().Sent; n != want {
			t.Errorf("period %d: %d PDUs, want %d", periodic, n, want)
		}
	}
}

// 802.1Q table 10-7, Avnu ProAV: the presets; LeaveAll comes within once and one
// and a half times its time.
func TestTimers(t *testing.T) {
	for name, c := range map[string]struct{ got, want Timers }{
		"standard": {Timers{}.withDefaults(), Timers{200 * ms, 600 * ms, 10_000 * ms, 1000 * ms}},
		"ProAV":    {ProAV().withDefaults(), Timers{200 * ms, 5000 * ms, 10_000 * ms, 1000 * ms}},
		"own":      {Timers{1, 2, 3, -4}.withDefaults(), Timers{1, 2, 3, -4}},
	} {
		if c.got != c.want {
			t.Errorf("%s: %+v, want %+v", name, c.got, c.want)
		}
	}
	for seed := range uint64(50) {
		p := NewParticipant(MVRP(), Config{PointToPoint: true, Seed: seed, Timers: Timers{Periodic: -1}})
		p.Start(0)
		drain(p, 0)
		if d := p.Deadline(); d < 10*second || d > 15*second {
			t.Errorf("seed %d: LeaveAll after %v", seed, d)
		}
	}
}

// 802.1Q 10.7.2: what is Fixed is registered before anybody speaks; others can
// make a system remember nothing that is Forbidden.
func TestModesOfTheUnknown(t *testing.T) {
	p := NewParticipant(MVRP(), Config{PointToPoint: true, Mode: func(v Value) Mode {
		return map[Value]Mode{vid(1): Fixed, vid(2): Forbidden}[v]
	}})
	p.Start(0)
	w := newWriter(MVRP())
	w.vector(&Vector{Type: TypeVID, First: []byte{0, 2}, Events: []Event{New}})
	p.Receive(0, w.finish())
	if _, ok := p.Registered(vid(1)); !ok || len(p.Attributes()) != 0 {
		t.Errorf("registered %v, knows %+v", ok, p.Attributes())
	}
}

// variable is an application with a type whose values have no common length.
func variable() *Application {
	a := MSRP()
	a.Types = append(a.Types, AttributeType{Type: 9, Length: 4, Variable: true, next: func([]byte) bool { return false }})
	return a
}

// Values of different lengths go in messages of their own (35.2.2.3, 802.1Qcc).
func TestVariableLength(t *testing.T) {
	app := variable()
	p := NewParticipant(app, Config{PointToPoint: true})
	p.Start(0)
	for _, v := range []string{"aaaaaa", "bbbb", "cccc", "dddddd"} {
		p.Join(0, Value{9, v}, 0, false)
	}
	pdu := drain(p, 0)[0]
	if i := bytes.Index(pdu, octets(t, "0000 09 04 0016 2000 00000000 0001 62626262 6c 0001 63636363 6c 0000 09 06 0014 0001 616161616161 6c 0001 646464646464 6c 0000 0000")); i < 0 {
		t.Errorf("%x", pdu)
	}
	q := NewParticipant(app, Config{PointToPoint: true})
	q.Start(0)
	if told := q.Receive(0, pdu); len(told) != 4 {
		t.Errorf("%+v", told)
	}
	if err := app.Read(octets(t, "00 09 03 0008 0001 616161 6c 0000"), func(*Vector) {}); err == nil {
		t.Error("a value that is too short is taken")
	}
}
