package mrp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// lan is a shared medium in virtual time; two stations make it point-to-point.
type lan struct {
	t        *testing.T
	now      tsn.Instant
	stations []*Participant
	told     [][]Indication
	loss     func() bool
	frames   int
}

const second = tsn.Instant(1_000_000_000)

func newLAN(t *testing.T, app *Application, n int, timers Timers) *lan {
	l := &lan{t: t, told: make([][]Indication, n)}
	for i := range n {
		p := NewParticipant(app, Config{Timers: timers, PointToPoint: n == 2, Seed: uint64(i + 1)})
		p.Start(0)
		l.stations = append(l.stations, p)
	}
	return l
}

// run lets the time pass; a frame takes a microsecond.
func (l *lan) run(until tsn.Instant) {
	for {
		next, who := tsn.Never, -1
		for i, p := range l.stations {
			if d := p.Deadline(); d < next {
				next, who = d, i
			}
		}
		if next > until {
			l.now = until
			return
		}
		l.now = max(l.now, next)
		pdu, told := l.stations[who].Tick(l.now)
		l.told[who] = append(l.told[who], slices.Clone(told)...)
		if pdu == nil {
			continue
		}
		l.frames++
		for i, p := range l.stations {
			if i != who && (l.loss == nil || !l.loss()) {
				l.told[i] = append(l.told[i], slices.Clone(p.Receive(l.now.Add(1000), pdu))...)
			}
		}
	}
}

func vid(n uint16) Value { return Value{TypeVID, string(binary.BigEndian.AppendUint16(nil, n))} }

func (l *lan) registered(who int) string {
	var out []string
	for _, a := range l.stations[who].Attributes() {
		if a.Registered {
			out = append(out, fmt.Sprint(binary.BigEndian.Uint16([]byte(a.Value.Octet))))
		}
	}
	return strings.Join(out, " ")
}

func (l *lan) want(who int, want string) {
	l.t.Helper()
	if got := l.registered(who); got != want {
		l.t.Errorf("at %v station %d has %q registered, want %q: %+v", l.now, who, got, want, l.stations[who].Attributes())
	}
}

// 802.1Q 10.3: what one declares the others register, until it is withdrawn.
func TestDeclareAndWithdraw(t *testing.T) {
	for _, n := range []int{2, 3} {
		l := newLAN(t, MVRP(), n, Timers{})
		l.stations[0].Join(0, vid(5), 0, true)
		l.stations[0].Join(0, vid(6), 0, false)
		l.run(second)
		l.want(1, "5 6")
		if n == 3 {
			l.want(2, "5 6")
		}
		l.run(60 * second) // several LeaveAlls
		l.want(1, "5 6")
		for _, i := range l.told[1] {
			if i.Kind == IndicateLeave {
				t.Errorf("%d stations: indicated %+v though nobody left", n, i)
			}
		}
		l.stations[0].Leave(l.now, vid(5))
		l.run(62 * second)
		l.want(1, "6")
	}
}

// 802.1Q 10.7.6.1: on a shared medium a value that two declare is withdrawn when both have.
func TestTwoDeclarers(t *testing.T) {
	l := newLAN(t, MVRP(), 3, Timers{})
	l.stations[0].Join(0, vid(5), 0, false)
	l.stations[1].Join(0, vid(5), 0, false)
	l.run(5 * second)
	l.stations[0].Leave(l.now, vid(5))
	l.run(40 * second)
	l.want(2, "5")
	l.want(0, "5")
	l.want(1, "")
	l.stations[1].Leave(l.now, vid(5))
	l.run(45 * second)
	l.want(2, "")
	l.want(0, "")
}

// 802.1Q 10.7.5.20: who is silent through a LeaveAll is forgotten, Lv or not.
func TestSilentIsForgotten(t *testing.T) {
	l := newLAN(t, MVRP(), 2, Timers{})
	l.stations[0].Join(0, vid(5), 0, false)
	l.run(2 * second)
	l.want(1, "5")
	l.stations[0].Stop() // without a word
	l.run(30 * second)
	l.want(1, "")
}

// A Leave that falls together with a LeaveAll goes out as Mt; the registration
// ages all the same (802.1Q table 10-3, txLA! in LA).
func TestLeaveWithLeaveAll(t *testing.T) {
	l := newLAN(t, MSRP(), 2, ProAV())
	v := Value{TypeListener, "\x02\x00\x00\x00\x00\x01\x00\x01"}
	l.stations[0].Join(0, v, 2, true)
	l.run(5 * second)
	if p, ok := l.stations[1].Registered(v); !ok || p != 2 {
		t.Fatalf("%v, %v", p, ok)
	}
	l.stations[0].leaveAll.expire(l.now.Add(10 * int64(second)))
	l.stations[0].Leave(l.now, v)
	l.run(l.now.Add(1000_000))
	if _, ok := l.stations[1].Registered(v); !ok {
		t.Error("left at once, though nobody said so")
	}
	l.run(l.now.Add(8 * int64(second)))
	if _, ok := l.stations[1].Registered(v); ok {
		t.Error("still registered")
	}
}

// Avnu ProAV 9.2: MSRP acts on a Leave at once, the others give LeaveTime.
func TestFastLeave(t *testing.T) {
	for _, c := range []struct {
		app  *Application
		v    Value
		gone bool
	}{
		{MSRP(), Value{TypeListener, "\x02\x00\x00\x00\x00\x01\x00\x01"}, true}, {MVRP(), vid(7), false},
	} {
		l := newLAN(t, c.app, 2, Timers{})
		l.stations[0].Join(0, c.v, 2, false)
		l.run(3 * second)
		l.stations[0].Leave(l.now, c.v)
		l.run(l.now.Add(300_000_000))
		if _, ok := l.stations[1].Registered(c.v); ok == c.gone {
			t.Errorf("%s: registered %v", c.app.Name, ok)
		}
	}
}

// A Listener that changes from Ready to ReadyFailed is told as a Join, without a Leave.
func TestParamChanges(t *testing.T) {
	l := newLAN(t, MSRP(), 2, Timers{})
	v := Value{TypeListener, "\x02\x00\x00\x00\x00\x01\x00\x01"}
	l.stations[0].Join(0, v, 2, true)
	l.run(second)
	l.stations[0].Join(l.now, v, 3, false)
	l.run(2 * second)
	var told []string
	for _, i := range l.told[1] {
		told = append(told, fmt.Sprint(i.Kind, i.Param))
	}
	if got := strings.Join(slices.Compact(told), ", "); got != "1 2, 1 3" && got != "1 2, 0 2, 1 3" {
		t.Errorf("indicated %s", got)
	}
}

// 802.1Q 10.7.2: Fixed is registered whatever is said, Forbidden never.
func TestModes(t *testing.T) {
	p := NewParticipant(MVRP(), Config{PointToPoint: true, Mode: func(v Value) Mode {
		return map[Value]Mode{vid(1): Fixed, vid(2): Forbidden}[v]
	}})
	p.Start(0)
	w := newWriter(MVRP())
	w.vector(&Vector{Type: TypeVID, First: []byte{0, 1}, Events: []Event{Lv, New, New}})
	told := p.Receive(0, w.finish())
	if len(told) != 1 || told[0].Value != vid(3) {
		t.Errorf("%+v", told)
	}
	if _, ok := p.Registered(vid(2)); ok {
		t.Error("a forbidden value is registered")
	}
}

// 802.1Q 10.7.5.24: on a point-to-point LAN at most three PDUs in one and a half JoinTimes.
func TestTransmitOpportunities(t *testing.T) {
	l := newLAN(t, MVRP(), 2, Timers{})
	for i := range uint16(50) {
		l.stations[0].Join(l.now, vid(2+2*i), 0, true)
		l.run(l.now.Add(1_000_000))
	}
	if n := l.stations[0].Counters().Sent; n > 3 {
		t.Errorf("%d PDUs in 50 ms", n)
	}
	l.run(second)
	if n := len(strings.Fields(l.registered(1))); n != 50 {
		t.Errorf("%d registered", n)
	}
}

// Values that do not fit one PDU go with the next ones, LeaveAll or not.
func TestManyValues(t *testing.T) {
	l := newLAN(t, MVRP(), 2, Timers{})
	for i := range uint16(1000) {
		l.stations[0].Join(0, vid(2+4*i), 0, false)
	}
	l.run(5 * second)
	if n := len(strings.Fields(l.registered(1))); n != 1000 {
		t.Errorf("%d registered", n)
	}
	l.run(60 * second)
	for _, i := range l.told[1] {
		if i.Kind == IndicateLeave {
			t.Fatalf("%+v left by itself", i)
		}
	}
}

// What others can make a station remember is bounded, and counted.
func TestCap(t *testing.T) {
	p := NewParticipant(MVRP(), Config{PointToPoint: true, MaxAttributes: 10})
	p.Start(0)
	w := newWriter(MVRP())
	w.vector(&Vector{Type: TypeVID, First: []byte{0, 1}, Events: slices.Repeat([]Event{New}, 30)})
	p.Receive(0, w.finish())
	if n, d := len(p.Attributes()), p.Counters().Dropped; n != 10 || d != 20 {
		t.Errorf("%d kept, %d dropped", n, d)
	}
}

// Whatever is lost, once all is quiet every station has registered exactly what
// the others declare.
func TestConverges(t *testing.T) {
	for seed := range uint64(200) {
		r := prng(seed)
		l := newLAN(t, MVRP(), 2+int(r.n(3)), Timers{})
		declared := make([]map[uint16]bool, len(l.stations))
		for i := range declared {
			declared[i] = map[uint16]bool{}
		}
		l.loss = func() bool { return r.n(4) == 0 }
		for range 60 {
			who, v := int(r.n(uint64(len(l.stations)))), uint16(2+r.n(8))
			if r.n(2) == 0 {
				l.stations[who].Join(l.now, vid(v), 0, r.n(2) == 0)
				declared[who][v] = true
			} else {
				l.stations[who].Leave(l.now, vid(v))
				delete(declared[who], v)
			}
			l.run(l.now.Add(int64(r.n(1_000_000_000))))
		}
		l.loss = nil
		l.run(l.now.Add(60 * int64(second)))
		for i := range l.stations {
			var want []string
			for v := uint16(2); v < 10; v++ {
				if slices.ContainsFunc(others(declared, i), func(d map[uint16]bool) bool { return d[v] }) {
					want = append(want, fmt.Sprint(v))
				}
			}
			if got := l.registered(i); got != strings.Join(want, " ") {
				t.Fatalf("seed %d: station %d of %d has %s, the others declare %s", seed, i, len(l.stations), got, want)
			}
		}
	}
}

func others(d []map[uint16]bool, but int) []map[uint16]bool {
	return slices.Concat(d[:but], d[but+1:])
}

type prng uint64

func (r *prng) n(n uint64) uint64 {
	p := Participant{random: uint64(*r)}
	v := p.next()
	*r = prng(p.random)
	return v % n
}

// A system may set the LeaveAllEvent in each vector of a message: what one vector
// declares the next does not take back (10.8.2.6).
func TestLeaveAllInEachVector(t *testing.T) {
	app := MSRP()
	p := NewParticipant(app, Config{PointToPoint: true})
	p.Start(0)
	w := newWriter(app)
	for _, unique := range []byte{1, 7} {
		id := tsn.StreamID{2, 0, 0, 0, 0, 1, 0, unique}
		w.vector(&Vector{Type: TypeListener, LeaveAll: true, First: id[:], Events: []Event{JoinMt}, Params: []Param{ListenerReady}})
	}
	told := p.Receive(1, w.finish())
	if len(told) != 2 || p.Counters().LeaveAlls[1] != 2 {
		t.Fatalf("%+v, %+v", told, p.Counters())
	}
	for _, a := range p.Attributes() {
		if a.Registrar != "IN" {
			t.Errorf("%+v", a)
		}
	}
}

// An end station may say In where JoinIn is meant: on a link with two ends an In
// for what we do not declare keeps a registration through a LeaveAll, but makes none.
func TestInForJoinIn(t *testing.T) {
	app, v := MSRP(), ListenerValue(tsn.StreamID{2, 0, 0, 0, 0, 1, 0, 1})
	say := func(e Event) []byte {
		w := newWriter(app)
		w.vector(&Vector{Type: v.Type, First: []byte(v.Octet), Events: []Event{e}, Params: []Param{ListenerReady}})
		return w.finish()
	}
	for name, c := range map[string]struct {
		shared, declares bool
		first            Event
		want             string
	}{
		"kept":                    {first: JoinIn, want: "IN"},
		"not made":                {first: In, want: ""},
		"on a shared medium":      {shared: true, first: JoinIn, want: "LV"},
		"it may mean what we say": {declares: true, first: JoinIn, want: "LV"},
	} {
		p := NewParticipant(app, Config{PointToPoint: !c.shared})
		p.Start(0)
		if c.declares {
			p.Join(0, v, ListenerReady, false)
		}
		p.Receive(1, say(c.first))
		w := newWriter(app)
		w.vector(&Vector{Type: v.Type, LeaveAll: true})
		p.Receive(2, w.finish())
		p.Receive(3, say(In))
		got := ""
		for _, a := range p.Attributes() {
			got = a.Registrar
		}
		if got != c.want {
			t.Errorf("%s: registrar %q, want %q", name, got, c.want)
		}
	}
}
