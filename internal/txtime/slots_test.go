package txtime

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSlots(t *testing.T) {
	s := Slots{Base: 300, Interval: 1000, Frames: 2, Pace: 10}
	var got []int64
	for _, earliest := range []int64{0, 0, 0, 5000, 5301, 5301, 100} {
		got = append(got, s.Take(earliest))
	}
	// Two in a window; one that is over is not taken, nor one before a later one.
	want := []int64{300, 310, 1300, 5300, 5310, 6300, 6310}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if b := s.Backlog(5000); b != 2300 {
		t.Errorf("backlog %d", b)
	}
	if b := s.Backlog(50_000); b != 0 {
		t.Errorf("backlog %d", b)
	}
}

// Every slot is on the stream's grid, no two are the same, none is early, and
// no slot between the one before and this one was possible.
func TestSlotsLaws(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := Slots{Base: rapid.Int64Range(-1e6, 1e6).Draw(rt, "base"), Interval: rapid.Int64Range(100, 1e5).Draw(rt, "interval"), Frames: rapid.IntRange(0, 4).Draw(rt, "frames")}
		frames := int64(max(1, s.Frames))
		s.Pace = rapid.Int64Range(1, s.Interval/frames).Draw(rt, "pace")
		onGrid := func(at int64) bool {
			phase := ((at-s.Base)%s.Interval + s.Interval) % s.Interval
			return phase%s.Pace == 0 && phase/s.Pace < frames
		}
		last := int64(-1 << 62)
		for range 20 {
			earliest := rapid.Int64Range(-2e6, 2e6).Draw(rt, "earliest")
			at := s.Take(earliest)
			if !onGrid(at) || at < earliest || at < s.Base || at <= last {
				rt.Fatalf("%+v: slot %d for %d, the last was %d", s, at, earliest, last)
			}
			for sooner := max(earliest, s.Base, last+1); sooner < at; sooner++ {
				if onGrid(sooner) {
					rt.Fatalf("%+v: slot %d for %d although %d is free (the last was %d)", s, at, earliest, sooner, last)
				}
				if sooner > max(earliest, s.Base, last+1)+2*s.Interval {
					break
				}
			}
			last = at
		}
	})
}
