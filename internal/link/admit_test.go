package link

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

// In any interval a bucket passes at most Burst + PerSecond*interval frames,
// and it never starves a sender below the rate.
func TestBucketBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limit{PerSecond: rapid.IntRange(1, 10_000).Draw(t, "rate"), Burst: rapid.IntRange(1, 100).Draw(t, "burst")}
		start := tsn.Instant(rapid.Int64Range(0, 1<<40).Draw(t, "start"))
		b, now, passed := newBucket(l, start), start, int64(0)
		for _, gap := range rapid.SliceOfN(rapid.Int64Range(0, 20_000_000), 1, 200).Draw(t, "gaps") {
			now = now.Add(gap)
			if b.take(now) {
				passed++
			}
			most := int64(l.Burst) + now.Sub(start)*int64(l.PerSecond)/1e9
			if passed > most {
				t.Fatalf("%d frames in %d ns, at most %d allowed", passed, now.Sub(start), most)
			}
		}
		if now = now.Add((1_000_000_000 + int64(l.PerSecond) - 1) / int64(l.PerSecond)); !b.take(now) {
			t.Fatal("no token after the time of one")
		}
	})
}

func TestBucketExtremes(t *testing.T) {
	b := newBucket(Limit{PerSecond: 1_000_000, Burst: 2}, 0)
	for _, at := range []tsn.Instant{0, 0, math.MaxInt64 - 1, math.MaxInt64 - 1} {
		if !b.take(at) {
			t.Errorf("no token at %d", at)
		}
	}
	if b.take(math.MaxInt64 - 1) {
		t.Error("three tokens of two")
	}
	if b.take(5) {
		t.Error("a clock that goes back gives a token")
	}
}

func TestAdmit(t *testing.T) {
	var n counters
	var a admission
	a.setup(&n, Limit{Burst: 1}, station)
	a.own.Store(tsn.MAC{2, 0, 0, 0, 0, 1}.Uint64())
	from := func(src tsn.MAC) []byte { return ethernet(gptpDA, src, 0x88f7, 0) }
	peer := tsn.MAC{2, 0, 0, 0, 0, 2}
	for _, tc := range []struct {
		name   string
		frame  []byte
		length int
		want   bool
	}{
		{"short", from(peer)[:13], 13, false},
		{"long", from(peer), maxFrame + 1, false},
		{"own interface", from(tsn.MAC{2, 0, 0, 0, 0, 1}), 15, false},
		{"own node", from(station), 15, false},
		{"peer", from(peer), maxFrame, true},
		{"above the limit", from(peer), 15, false},
	} {
		if got := a.admit(0, tc.frame, tc.length); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
	if c := n.snapshot(1, GPTP); c.DroppedSize != 2 || c.DroppedOwn != 2 || c.DroppedRate != 1 || c.Received != 1 {
		t.Errorf("counters %+v", c)
	}
}

// A flood of Pdelay_Req from one source leaves the peer's messages alone: those
// of other kinds, and its own requests. What it takes itself is the limit.
func TestAdmitFlood(t *testing.T) {
	var n counters
	var a admission
	limit := Limit{PerSecond: 500, Burst: 200}
	a.setupGPTP(&n, limit, tsn.MAC{})
	start := Now()
	flooder, peer := tsn.MAC{2, 0, 0, 0, 0, 9}, tsn.MAC{2, 0, 0, 0, 0, 2}
	message := func(src tsn.MAC, messageType byte) []byte { return ethernet(gptpDA, src, 0x88f7, 0x10|messageType) }
	flooded, lost := 0, 0
	for ms := range 10_000 {
		now := start.Add(int64(ms) * 1_000_000)
		for range 100 { // 100000 a second
			if a.admit(now, message(flooder, 0x2), 64) {
				flooded++
			}
		}
		if ms%100 == 99 { // the peer sends one message of each type
			for _, m := range []byte{0x0, 0x2, 0x3, 0x8, 0xa, 0xb, 0xc} {
				if !a.admit(now, message(peer, m), 64) {
					lost++
				}
			}
		}
	}
	if lost > 0 {
		t.Errorf("%d messages of the peer were lost", lost)
	}
	if most := limit.PerSecond*10 + limit.Burst; flooded > most {
		t.Errorf("%d of the flood passed, limit %d", flooded, most)
	}
}
