package srp

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"tsnswitch"
)

// stream n: 1 Mbit/s in the scheduled class, to a group of its own.
func stream(n byte) tsn.Stream {
	talker := tsn.MAC{2, 0, 0, 0, 0, n}
	return tsn.Stream{
		ID: tsn.MakeStreamID(talker, 1), Talker: talker, Listener: tsn.MAC{2, 0, 0, 0, 1, n},
		DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, n}, VID: 100, PCP: 6,
		Interval: 1_000_000, MaxFrameSize: 83, MaxIntervalFrames: 1, MaxLatency: 1_000_000,
	}
}

func with(s tsn.Stream, f func(*tsn.Stream)) tsn.Stream { f(&s); return s }

func res(s tsn.Stream, ports ...tsn.Port) tsn.Reservation {
	return tsn.Reservation{Stream: s, Ports: ports}
}

// newInstance has ports 1 and 2 up at 100 Mbit/s and port 3 down.
func newInstance(t interface{ Fatal(...any) }, cfg Config) *Instance {
	if cfg.Ports == nil {
		cfg.Ports = []PortConfig{{Port: 1}, {Port: 2, MaxFrameSize: 1000}, {Port: 3}}
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []tsn.Port{1, 2} {
		m.Step(0, tsn.LinkChanged{Port: p, Up: true, Rate: 100 * tsn.Mbps})
	}
	return m
}

func put(m *Instance, owner string, generation uint64, set ...tsn.Reservation) (*Refusal, *Reserved) {
	return step(m, PutReservations{RequestID: 7, Owner: owner, Generation: generation, Reservations: set})
}

func step(m *Instance, ev PutReservations) (refusal *Refusal, reserved *Reserved) {
	for _, e := range m.Step(0, ev) {
		switch e := e.(type) {
		case Result:
			refusal = e.Err
		case Reserved:
			reserved = &e
		}
	}
	return refusal, reserved
}

// One line per check, in the order of 802.1Q table 35-6's use by MSRP; each
// request would also fail a later check where that can be arranged.
func TestRefusals(t *testing.T) {
	big := with(stream(9), func(s *tsn.Stream) { s.MaxIntervalFrames = 100 }) // 100 Mbit/s
	tests := []struct {
		name string
		cfg  Config
		set  []tsn.Reservation
		code tsn.FailureCode
		text string
	}{
		{"no such port", Config{}, []tsn.Reservation{res(big, 1, 4)}, 8, "stream 02-00-00-00-00-09:0001: port 4: there is no such port (egress port is not AVB capable, code 8)"},
		{"link down", Config{}, []tsn.Reservation{res(big, 3)}, 8, "stream 02-00-00-00-00-09:0001: port 3: the link is down (egress port is not AVB capable, code 8)"},
		{"no port", Config{}, []tsn.Reservation{res(big)}, 8, "stream 02-00-00-00-00-09:0001: names 0 ports, this system has 3 (egress port is not AVB capable, code 8)"},
		{
			"first value",
			Config{},
			[]tsn.Reservation{res(with(stream(1), func(s *tsn.Stream) { s.MaxIntervalFrames = 100 }), 1)},
			16, "stream 02-00-00-00-00-01:0001: is held with other parameters: remove it first (first value changed for a registered stream, code 16)",
		},
		{
			"destination",
			Config{},
			[]tsn.Reservation{res(with(big, func(s *tsn.Stream) { s.DestinationAddress = stream(2).DestinationAddress }), 1)},
			5, "stream 02-00-00-00-00-09:0001: stream 02-00-00-00-00-02:0001 already sends to 91:e0:f0:00:00:02 in VLAN 100 (stream destination address in use, code 5)",
		},
		{
			"id of another owner",
			Config{},
			[]tsn.Reservation{res(with(stream(2), func(s *tsn.Stream) { s.PCP = 0 }), 1)},
			4, `stream 02-00-00-00-00-02:0001: the id belongs to owner "other" (stream id in use by another talker, code 4)`,
		},
		{
			"id twice",
			Config{},
			[]tsn.Reservation{res(big, 1), res(with(big, func(s *tsn.Stream) { s.VID = 9 }), 1)},
			4, "stream 02-00-00-00-00-09:0001: the id occurs twice in the request (stream id in use by another talker, code 4)",
		},
		{
			"priority",
			Config{},
			[]tsn.Reservation{res(with(big, func(s *tsn.Stream) { s.PCP = 7; s.MaxFrameSize = 1500 }), 2)},
			13, "stream 02-00-00-00-00-09:0001: priority 7 belongs to no stream class (requested priority is not a stream class, code 13)",
		},
		{
			"frame size",
			Config{},
			[]tsn.Reservation{res(with(big, func(s *tsn.Stream) { s.MaxFrameSize = 1001 }), 2)},
			14, "stream 02-00-00-00-00-09:0001: port 2: frames of 1001 octets, the port takes 1000 (max frame size is too large for the medium, code 14)",
		},
		{
			"nonsense",
			Config{},
			[]tsn.Reservation{res(with(big, func(s *tsn.Stream) { s.Interval = 0 }), 2)},
			2, "stream 02-00-00-00-00-09:0001: cannot be meant: interval: 0 ns is outside 10us..1s (insufficient bridge resources, code 2)",
		},
		{
			"class",
			Config{ScheduledPercent: 50},
			[]tsn.Reservation{res(stream(1), 1), res(with(big, func(s *tsn.Stream) { s.MaxIntervalFrames = 50 }), 1)},
			3, "stream 02-00-00-00-00-09:0001: port 1: class 3: 50000 kbit/s more are needed, 49000 of 50000 kbit/s are left (insufficient bandwidth for traffic class, code 3)",
		},
		{
			"total",
			Config{},
			[]tsn.Reservation{res(stream(1), 1), res(with(big, func(s *tsn.Stream) { s.MaxIntervalFrames = 75; s.PCP = 3 }), 1)},
			1, "stream 02-00-00-00-00-09:0001: port 1: all stream classes: 75000 kbit/s more are needed, 74000 of 75000 kbit/s are left (insufficient bandwidth, code 1)",
		},
		{"streams", Config{MaxStreams: 2}, []tsn.Reservation{res(stream(1), 1), res(stream(9), 1)}, 10, "3 streams in all, the table holds 2 (out of MSRP resources, code 10)"},
		{"groups", Config{MaxGroups: 2}, []tsn.Reservation{res(stream(1), 1), res(stream(9), 1)}, 12, "3 group entries in all, the bridge stores 2 (cannot store destination address, code 12)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newInstance(t, tt.cfg)
			if r, _ := put(m, "me", 1, res(stream(1), 1)); r != nil {
				t.Fatal(r)
			}
			if r, _ := put(m, "other", 1, res(stream(2), 2)); r != nil {
				t.Fatal(r)
			}
			before := m.Streams()
			r, reserved := put(m, "me", 2, tt.set...)
			if r == nil || r.Code != tt.code || r.Error() != tt.text {
				t.Fatalf("got  %v\nwant %s", r, tt.text)
			}
			if reserved != nil || !reflect.DeepEqual(before, m.Streams()) {
				t.Error("the refusal changed the table")
			}
			if c := m.Counters(); c.Refused != 1 || c.ByCode[tt.code] != 1 {
				t.Errorf("counters %+v", c)
			}
		})
	}
}

func TestRequestRefusals(t *testing.T) {
	m := newInstance(t, Config{MaxOwners: 2})
	expect := func(r *Refusal, text string) {
		t.Helper()
		if text == "" && r != nil || text != "" && (r == nil || !strings.Contains(r.Error(), text)) {
			t.Errorf("got %v, want %q", r, text)
		}
	}
	r, _ := put(m, "a", 5, res(stream(1), 1))
	expect(r, "")
	r, _ = put(m, "a", 4, res(stream(1), 1))
	expect(r, "generation 4 is older than 5")
	r, reserved := put(m, "a", 5, res(stream(1), 1))
	expect(r, "")
	if reserved != nil {
		t.Error("the same set again changed the desired state")
	}
	r, _ = put(m, "a", 5, res(stream(1), 2))
	expect(r, "send a higher one")
	r, _ = put(m, "", 1)
	expect(r, "outside 1..255")
	r, _ = put(m, "b", 1, res(stream(2), 1))
	expect(r, "")
	r, _ = put(m, "c", 1, res(stream(3), 1))
	expect(r, "2 owners hold reservations")
	r, _ = put(m, "a", 6) // gives all back, so "c" may take its place
	expect(r, "")
	r, _ = put(m, "a", 5)
	expect(r, "older")
	r, _ = put(m, "c", 1, res(stream(3), 1))
	expect(r, "")
}

// Class 1 gets an idle slope, the scheduled class none; groups get an entry,
// unicast destinations none; a dry run gives neither.
func TestReserved(t *testing.T) {
	m := newInstance(t, Config{})
	sr := with(stream(1), func(s *tsn.Stream) { s.PCP = 3 })
	unicast := with(stream(3), func(s *tsn.Stream) { s.DestinationAddress = s.Listener })
	set := []tsn.Reservation{res(unicast, 1), res(stream(2), 2), res(sr, 2, 1)}
	if r, reserved := step(m, PutReservations{Owner: "a", Generation: 1, Reservations: set, Dry: true}); r != nil || reserved != nil || len(m.Streams()) != 0 {
		t.Fatalf("dry run: %v, %v, %d streams", r, reserved, len(m.Streams()))
	}
	r, reserved := put(m, "a", 1, set...)
	if r != nil {
		t.Fatal(r)
	}
	want := Reserved{
		Slopes: []PortSlopes{{Port: 1}, {Port: 2}},
		MDB: []tsn.MDBEntry{
			{Group: sr.DestinationAddress, VID: 100, Ports: []tsn.Port{1, 2}},
			{Group: stream(2).DestinationAddress, VID: 100, Ports: []tsn.Port{2}},
		},
		Talkers: []tsn.MAC{sr.Talker, stream(2).Talker},
	}
	want.Slopes[0].IdleSlope[tsn.ClassSRA], want.Slopes[1].IdleSlope[tsn.ClassSRA] = 1000, 1000
	want.Slopes[0].MaxFrame[tsn.ClassSRA], want.Slopes[1].MaxFrame[tsn.ClassSRA] = sr.WireOctets(), sr.WireOctets()
	if !reflect.DeepEqual(*reserved, want) {
		t.Errorf("got  %+v\nwant %+v", *reserved, want)
	}
	if !slices.Equal(set[2].Ports, []tsn.Port{2, 1}) {
		t.Error("the caller's slice was reordered")
	}
	if _, reserved = put(m, "a", 2); reserved == nil || len(reserved.MDB) != 0 || len(reserved.Slopes) != 0 {
		t.Errorf("after giving back: %+v", reserved)
	}
}

// The bridge cannot tell apart two streams of one talker to one listener in
// one VLAN and priority; anything less equal is allowed.
func TestUnicastDestinations(t *testing.T) {
	to := tsn.MAC{2, 0, 0, 0, 9, 9}
	unicast := func(n byte) tsn.Stream {
		return with(stream(n), func(s *tsn.Stream) { s.Listener, s.DestinationAddress = to, to })
	}
	m := newInstance(t, Config{})
	if r, _ := put(m, "a", 1, res(unicast(1), 1), res(unicast(2), 1)); r != nil {
		t.Errorf("two talkers to one listener: %v", r)
	}
	twin := with(unicast(1), func(s *tsn.Stream) { s.ID = tsn.MakeStreamID(s.Talker, 2) })
	if r, _ := put(m, "b", 1, res(twin, 1)); r == nil || r.Code != tsn.FailureDestinationInUse {
		t.Errorf("twin stream: %v", r)
	}
	twin.PCP = 5
	if r, _ := put(m, "b", 1, res(twin, 1)); r != nil {
		t.Errorf("other priority: %v", r)
	}
}

// A ring link was cut: the owner moves one stream, another still names the
// port that is down, and a link that came back slow keeps what it had.
func TestLinkLoss(t *testing.T) {
	m := newInstance(t, Config{})
	if r, _ := put(m, "a", 1, res(stream(1), 1), res(stream(2), 1)); r != nil {
		t.Fatal(r)
	}
	m.Step(0, tsn.LinkChanged{Port: 1})
	if r, _ := put(m, "a", 2, res(stream(1), 2), res(stream(2), 1)); r != nil {
		t.Errorf("moving one stream away: %v", r)
	}
	if r, _ := put(m, "a", 3, res(stream(1), 1), res(stream(2), 1)); r == nil || r.Code != tsn.FailureEgressNotAVB {
		t.Errorf("moving back to a port that is down: %v", r)
	}
	effects := m.Step(0, tsn.LinkChanged{Port: 1, Up: true, Rate: 1 * tsn.Mbps})
	if len(effects) != 1 || effects[0].(tsn.Notice).Kind != "port-oversubscribed" {
		t.Errorf("1 Mbit/s reserved on a link of 1 Mbit/s: %v", effects)
	}
	if r, _ := put(m, "a", 4, res(stream(2), 1)); r != nil {
		t.Errorf("giving a stream back while oversubscribed: %v", r)
	}
}

// drawSet makes small sets that collide in every way.
func drawSet(t *rapid.T) []tsn.Reservation {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) tsn.Reservation {
		n := byte(rapid.IntRange(1, 6).Draw(t, "stream"))
		s := with(stream(n), func(s *tsn.Stream) {
			s.PCP = rapid.SampledFrom([]tsn.PCP{2, 3, 5, 6, 6, 0}).Draw(t, "pcp")
			s.MaxIntervalFrames = uint16(rapid.IntRange(1, 60).Draw(t, "frames"))
		})
		return res(s, rapid.SliceOfNDistinct(rapid.SampledFrom([]tsn.Port{1, 2, 3}), 1, 2, rapid.ID).Draw(t, "ports")...)
	}), 0, 4).Draw(t, "set")
}

// Against a brute-force oracle that knows only the sums: what is held never
// exceeds a limit, and a set of fresh streams that fits is never refused for bandwidth.
func TestAdmissionNeverExceeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newInstance(t, Config{})
		for i := range 12 {
			owner := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "owner")
			set := drawSet(t)
			r, _ := put(m, owner, uint64(i+1), set...)
			sr, scheduled := map[tsn.Port]tsn.Rate{}, map[tsn.Port]tsn.Rate{}
			sum := func(s tsn.Stream, ports []tsn.Port) {
				for _, p := range ports {
					if s.PCP >= 5 {
						scheduled[p] += tsn.Rate(s.MaxIntervalFrames) * 1000
					} else {
						sr[p] += tsn.Rate(s.MaxIntervalFrames) * 1000
					}
				}
			}
			ids := map[tsn.StreamID]int{}
			for _, s := range m.Streams() {
				ids[s.Stream.ID]++
				if r == nil || s.Owner != owner {
					sum(s.Stream, s.Ports)
				}
			}
			if r != nil {
				for _, x := range set {
					sum(x.Stream, x.Ports)
				}
			}
			fits := true
			for p := tsn.Port(1); p <= 3; p++ {
				fits = fits && sr[p]+scheduled[p] <= 75_000
			}
			if r == nil && !fits {
				t.Fatalf("admitted %v and %v", sr, scheduled)
			}
			if r != nil && (r.Code == 1 || r.Code == 3) && fits {
				t.Fatalf("refused although it fits: %v", r)
			}
			for id, n := range ids {
				if n > 1 {
					t.Fatalf("stream %s is held %d times", id, n)
				}
			}
		}
	})
}

// The order of reservations in a request and the order of owners change
// neither the answer nor the desired state.
func TestOrderIndependence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := drawSet(t)
		shuffled := rapid.Permutation(set).Draw(t, "shuffled")
		a, b := newInstance(t, Config{}), newInstance(t, Config{})
		ra, sa := put(a, "x", 1, set...)
		rb, sb := put(b, "x", 1, shuffled...)
		// A duplicate id keeps request order, so two different twins may name each other's fault.
		if (ra == nil) != (rb == nil) || !reflect.DeepEqual(sa, sb) || !reflect.DeepEqual(a.Streams(), b.Streams()) {
			t.Fatalf("%v %v\n%v %v", ra, sa, rb, sb)
		}
	})
}

func TestPortsQuery(t *testing.T) {
	m := newInstance(t, Config{ScheduledPercent: 50})
	put(m, "a", 1, res(stream(1), 1), res(with(stream(2), func(s *tsn.Stream) { s.PCP = 2; s.MaxIntervalFrames = 30 }), 1))
	b, err := json.Marshal(m.Ports()[0])
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"port":1,"up":true,"rateKbps":100000,"reservedKbps":31000,"limitKbps":75000,"availableKbps":44000,` +
		`"classes":[{"class":1,"reservedKbps":30000,"limitKbps":75000,"availableKbps":44000},` +
		`{"class":2,"reservedKbps":0,"limitKbps":75000,"availableKbps":44000},` +
		`{"class":3,"reservedKbps":1000,"limitKbps":50000,"availableKbps":44000}]}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
}

func TestNewRefusesConfig(t *testing.T) {
	for _, cfg := range []Config{{Ports: []PortConfig{{Port: 0}}}, {Ports: []PortConfig{{Port: 2}, {Port: 2}}}, {SRPercent: 101}, {TotalPercent: -1}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("accepted %+v", cfg)
		}
	}
}

// Any sequence of events: one Result per request, state and desired state agree.
func FuzzInstance(f *testing.F) {
	f.Add([]byte{0, 1, 1, 6, 1, 0, 2, 2, 6, 2, 1, 1, 0, 0, 0})
	f.Add([]byte{3, 3, 3, 3, 3, 250, 9, 9, 9, 9, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newInstance(t, Config{MaxStreams: 4, MaxGroups: 3, MaxOwners: 2})
		for ; len(in) >= 5; in = in[5:] {
			if in[0]%4 == 3 {
				m.Step(0, tsn.LinkChanged{Port: tsn.Port(in[1] % 5), Up: in[2]&1 != 0, Rate: tsn.Rate(in[3]) * tsn.Mbps})
				continue
			}
			var set []tsn.Reservation
			for n := range in[4] % 7 {
				set = append(set, res(with(stream(in[1]+n), func(s *tsn.Stream) { s.PCP = tsn.PCP(in[3] % 9); s.MaxFrameSize = uint16(in[3]) * 8 }), tsn.Port(in[2]%5)))
			}
			effects := m.Step(0, PutReservations{RequestID: 1, Owner: fmt.Sprint(in[0] % 4), Generation: uint64(in[1]), Reservations: set, Dry: in[2]&0x80 != 0})
			if _, ok := effects[0].(Result); !ok || len(effects) > 2 {
				t.Fatalf("effects %v", effects)
			}
		}
		if got := len(m.Streams()); got > 4 || len(m.reserved().MDB) > 3 || len(m.owners) > 2 {
			t.Fatalf("%d streams, %d groups, %d owners: over the caps", got, len(m.reserved().MDB), len(m.owners))
		}
	})
}

// 802.1Q 34.3.1: class A has its deltaBandwidth, class B its own and what A has
// not reserved of A's; all is counted against the total.
func TestDeltaBandwidth(t *testing.T) {
	mbit := func(n byte, pcp tsn.PCP, rate uint16) tsn.Reservation {
		return res(with(stream(n), func(s *tsn.Stream) { s.PCP, s.MaxIntervalFrames = pcp, rate }), 1)
	}
	for _, c := range []struct {
		a, b, total           int // percent of 100 Mbit/s
		haveA, haveB, pcp, is uint16
		code                  tsn.FailureCode
		available             tsn.Rate
	}{
		{75, 0, 75, 0, 0, 3, 75, 0, 0},
		{75, 0, 75, 0, 0, 3, 76, 3, 75000},
		{75, 0, 75, 0, 0, 2, 75, 0, 0}, // lent by A
		{75, 0, 75, 50, 0, 2, 25, 0, 0},
		{75, 0, 75, 50, 0, 2, 26, 3, 25000},
		{75, 0, 75, 0, 50, 3, 26, 3, 25000}, // what is lent is not taken back
		{40, 20, 100, 0, 0, 3, 41, 3, 40000},
		{40, 20, 100, 0, 0, 2, 60, 0, 0},
		{40, 20, 100, 40, 0, 2, 20, 0, 0},
		{40, 20, 100, 40, 0, 2, 21, 3, 20000},
		{40, 20, 100, 0, 30, 3, 30, 0, 0},
		{40, 20, 100, 0, 30, 3, 31, 3, 30000},
		{40, 20, 50, 0, 30, 3, 21, 1, 20000},
	} {
		m := newInstance(t, Config{SRPercent: c.a, SRBPercent: c.b, TotalPercent: c.total})
		var set []tsn.Reservation
		if c.haveA > 0 {
			set = append(set, mbit(1, 3, c.haveA))
		}
		if c.haveB > 0 {
			set = append(set, mbit(2, 2, c.haveB))
		}
		if r, _ := put(m, "old", 1, set...); r != nil {
			t.Fatal(r)
		}
		left := tsn.Rate(0)
		for _, s := range m.Ports()[0].Classes {
			if s.Class == uint8(tsn.DefaultClassMap[c.pcp]) {
				left = s.Available
			}
		}
		r, _ := put(m, "new", 1, mbit(3, tsn.PCP(c.pcp), c.is))
		switch {
		case r == nil && (c.code != 0 || left < tsn.Rate(c.is)*1000):
			t.Errorf("%+v: taken, of %d kbit/s", c, left)
		case r != nil && (r.Code != c.code || r.Available != c.available || left != c.available):
			t.Errorf("%+v: %v, %d kbit/s left", c, r, left)
		}
	}
	if _, err := New(Config{SRPercent: 75, SRBPercent: 26}); err == nil {
		t.Error("more than the whole rate")
	}
}
