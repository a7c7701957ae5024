package gptp

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

// What the time of a domain is worth, from start to holdover and back, with
// since when. In holdover the rate is that of before, to 0.1 ppm, it does not
// change, and 10 s later the time is within 1 us.
func TestTimeState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]string{"takes over", "end station", "external"}).Draw(rt, "kind")
		s := newSim(t, rapid.Int64().Draw(rt, "noise"))
		n := s.chain(2, func(i int, c *Config) {
			switch {
			case kind == "external" && i == 1:
				external(c, map[tsn.Port]PortState{1: SlavePort})
			case kind == "end station" && i == 1:
				c.Domains[0].Priority1 = 255
			}
		})
		ppm := rapid.Float64Range(-100, 100)
		for i, x := range n {
			x.hardware().clock(int64(i)*1000*second, ppm.Draw(rt, "ppm"))
		}
		x := n[1]
		if kind != "takes over" {
			if st := x.Status(); st.State != TimeFreeRunning || st.Synced {
				rt.Fatalf("at start: %+v", st)
			}
		}
		s.until(3*second, func() bool { return x.Status().State == TimeAcquiring })
		s.until(3*second, func() bool { return x.Status().State == TimeSynchronized })
		if d := tsn.Instant(s.now).Sub(x.Status().Since); d < 0 || d > 10*millisecond {
			rt.Fatalf("synchronized for %d ns", d)
		}
		s.run(20 * second)
		before := x.error(n[0])
		gm := n[0].Relation()
		n[0].dead = true
		died := s.now
		s.until(500*millisecond, func() bool { return x.Status().State == TimeHoldover })
		st := x.Status()
		want := ((1+n[0].ppm*1e-6)/(1+x.ppm*1e-6) - 1) * 1e9
		if e := st.HoldoverRatePPB - want; math.Abs(e) > 100 || st.Relation.RatePPB != st.HoldoverRatePPB {
			rt.Errorf("rate held %.1f, mean %.1f, true %.1f ppb", st.Relation.RatePPB, st.HoldoverRatePPB, want)
		}
		s.run(10 * second)
		if now := x.Status(); now.Relation.RatePPB != st.Relation.RatePPB || now.Since != st.Since || int64(now.Since) < died || now.State != TimeHoldover {
			rt.Errorf("%+v became %+v", st, now)
		}
		if e := x.Relation().At(x.at(s.now)).NS - gm.At(n[0].at(s.now)).NS - before; e > microsecond || e < -microsecond {
			rt.Errorf("%d ns after 10 s", e)
		}
		if kind == "takes over" {
			x.step(SetSource{Relation: tsn.ClockRelation{Local: x.at(s.now)}, Jump: true})
			if got := x.Status().State; got != TimeGrandMaster {
				rt.Errorf("with a source of its own: %v", got)
			}
		}
		n[0].dead = false
		s.until(10*second, func() bool { return x.Status().State == TimeSynchronized })
	})
}
