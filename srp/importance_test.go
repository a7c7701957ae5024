package srp

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// contender is a stream as the oracle of importance knows it.
type contender struct {
	mrp.Talker
	talks, listens, held bool
	since                tsn.Instant
}

func (c *contender) wants() bool { return c.talks && c.listens }

func (c *contender) bandwidth() tsn.Rate {
	interval := map[tsn.PCP]int64{3: 125_000, 2: 250_000}[c.DataFramePriority]
	return tsn.Stream{MaxFrameSize: c.MaxFrameSize, MaxIntervalFrames: c.MaxIntervalFrames, Interval: interval}.Bandwidth()
}

// arena is one port of 100 Mbit/s and who contends for it.
type arena struct {
	all   []*contender
	other tsn.Rate // held by another owner, in the scheduled class
}

// fits: class A within 75 Mbit/s, A and B within 75, all within 75 with the other owner's.
func (a *arena) fits(set []*contender) bool {
	var sum tsn.Rate
	for _, c := range set {
		sum += c.bandwidth()
	}
	return sum+a.other <= 75_000
}

func (a *arena) holders() (out []*contender) {
	for _, c := range a.all {
		if c.held {
			out = append(out, c)
		}
	}
	return out
}

// important sorts by rank, then age, then StreamID (802.1Q 35.2.4.3).
func important(x, y *contender) int {
	return cmp.Or(cmp.Compare(x.Rank, y.Rank), cmp.Compare(x.since, y.since), compareStreamID(x.StreamID, y.StreamID))
}

// best tries every subset, and returns the one that has the most important, of
// those that also has the second most important, and so on.
func (a *arena) best(set []*contender) (best []*contender) {
	slices.SortFunc(set, important)
	top := -1
	for mask := range 1 << len(set) {
		var sub []*contender
		for i, c := range set {
			if mask>>(len(set)-1-i)&1 == 1 {
				sub = append(sub, c)
			}
		}
		if mask > top && a.fits(sub) {
			top, best = mask, sub
		}
	}
	return best
}

// settle hands out the port as the standard says it is.
func (a *arena) settle(now tsn.Instant) {
	for _, c := range a.all {
		c.held = c.held && c.wants()
	}
	for again := true; again; {
		again = false
		for _, rank := range []uint8{0, 1} {
			for _, c := range a.all { // in ascending StreamID
				if c.Rank == rank && c.wants() && !c.held {
					again = a.admit(c, now) || again
				}
			}
		}
	}
}

// preempted: it would have the port if there were no emergency streams.
func (a *arena) preempted(c *contender) bool {
	beside := slices.DeleteFunc(a.holders(), func(o *contender) bool { return o.Rank == 0 })
	return c.Rank != 0 && !c.held && a.fits(append(beside, c))
}

func (a *arena) admit(c *contender, now tsn.Instant) bool {
	before := a.holders()
	after := append(slices.Clone(before), c)
	if c.since = now; c.Rank == 0 {
		after = a.best(after)
	}
	if !slices.Contains(after, c) || !a.fits(after) {
		return false
	}
	for _, o := range before {
		if !slices.Contains(after, o) {
			o.held = false
		}
	}
	c.held = true
	return true
}

// Who holds a port is at every moment who would if all subsets had been tried:
// an emergency stream takes what it needs from the youngest, what was pushed
// aside fails with code 6 and has the port back when there is room, and nothing
// ever takes what another owner holds.
func TestImportance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &arena{}
		for i := range rapid.IntRange(2, 7).Draw(t, "streams") {
			a.all = append(a.all, &contender{Talker: mrp.Talker{
				StreamID: tsn.MakeStreamID(tsn.MAC{2, 0, 0, 0, 1, byte(i)}, 1), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 1, byte(i)}, VID: 2,
				MaxFrameSize: 224, MaxIntervalFrames: rapid.Uint16Range(1, 4).Draw(t, "frames"),
				DataFramePriority: tsn.PCP(rapid.IntRange(2, 3).Draw(t, "priority")), Rank: uint8(min(1, rapid.IntRange(0, 2).Draw(t, "rank"))),
			}})
		}
		m, err := New(Config{Ports: []PortConfig{{Port: 1}, {Port: 2}}, MSRP: &MSRPConfig{}})
		if err != nil {
			t.Fatal(err)
		}
		for p := tsn.Port(1); p <= 2; p++ {
			m.Step(0, tsn.LinkChanged{Port: p, Up: true, Rate: 100 * tsn.Mbps})
		}
		for now := tsn.Instant(1); now < 40; now++ {
			c := a.all[rapid.IntRange(0, len(a.all)-1).Draw(t, "who")]
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0, 1:
				c.talks = !c.talks
			case 6:
				a.put(m, now, tsn.Rate(rapid.IntRange(0, 40).Draw(t, "other")))
			default:
				c.listens = !c.listens
			}
			a.put(m, now, a.other/1000)
			a.step(m, now)
			a.settle(now)
			if got, want := held(m), a.text(); got != want {
				t.Fatalf("at %d, the other owner has %d:\n%swant\n%s", now, a.other, got, want)
			}
		}
	})
}

// put has the other owner ask for some Mbit/s; what does not fit is refused.
func (a *arena) put(m *Instance, now tsn.Instant, mbit tsn.Rate) {
	ev := PutReservations{Owner: "other", Generation: uint64(2 * now)}
	if mbit*1000 == a.other {
		return
	}
	if mbit > 0 {
		ev.Reservations = []tsn.Reservation{res(with(stream(99), func(s *tsn.Stream) { s.MaxIntervalFrames = uint16(mbit) }), 2)}
	}
	for _, e := range m.Step(now, ev) {
		if r, ok := e.(Result); ok && r.Err == nil {
			a.other = mbit * 1000
		}
	}
}

func (a *arena) step(m *Instance, now tsn.Instant) {
	ev := PutProxies{Owner: "o", Generation: uint64(now)}
	for _, c := range a.all {
		if c.talks {
			ev.Talkers = append(ev.Talkers, ProxyTalker{Port: 1, Talker: c.Talker})
		}
		if c.listens {
			ev.Listeners = append(ev.Listeners, ProxyListener{Port: 2, StreamID: c.StreamID})
		}
	}
	m.Step(now, ev)
}

// text and held are who holds the port, and who was pushed aside.
func (a *arena) text() (out string) {
	for _, c := range a.all {
		if c.wants() {
			out += fmt.Sprintf("%s rank %d, %d kbit/s: held %v, pushed aside %v\n", c.StreamID, c.Rank, c.bandwidth(), c.held, a.preempted(c))
		}
	}
	return out
}

func held(m *Instance) (out string) {
	for _, s := range m.MSRPStreams() {
		for _, p := range s.Ports {
			if p.Port == 2 && p.ListenerProxied && p.TalkerDeclared {
				out += fmt.Sprintf("%s rank %d, %d kbit/s: held %v, pushed aside %v\n", s.ID, s.Talker.Rank, s.Bandwidth, p.Reserved,
					p.Declared.FailureCode == tsn.FailurePreempted)
			}
		}
	}
	return out
}
