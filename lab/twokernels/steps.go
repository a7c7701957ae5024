//go:build linux && amd64

package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"tsnswitch/internal/api"
)

// stepBoot boots both kernels, finds their true time, and puts the second
// clock wrong.
func (l *lab) stepBoot(ctx context.Context) (err error) {
	start := time.Now()
	if l.pair, err = bootPair(ctx, [2]string{"b1", "b2"}); err != nil {
		return err
	}
	err = both(l.pair, func(i int, g *guest) error {
		g.station = l.net.Node([2]string{"A", "B"}[i]).SystemID.String()
		if err := g.shell(ctx, cables); err != nil {
			return err
		}
		return g.findEpoch(ctx, 100)
	})
	if err != nil {
		return err
	}
	release, err := l.pair[0].run(ctx, "uname", "-r")
	if err != nil {
		return err
	}
	say("two guests with kernel %s up and joined in %.1f s", strings.TrimSpace(release), time.Since(start).Seconds())
	for _, g := range l.pair {
		say("%s: its raw clock is placed on the host's to within %d us", g.name, g.epoch.error()/1000)
	}
	d, _, err := difference(ctx, l.pair)
	if err != nil {
		return err
	}
	say("CLOCK_TAI of b2 - b1 as booted: %.6f s", float64(d)/1e9)
	b2 := l.pair[1]
	if err := b2.call(ctx, "Step", int64(ahead)-d, &None{}); err != nil {
		return err
	}
	if err := b2.call(ctx, "Detune", detuning, &None{}); err != nil {
		return err
	}
	s, err := sample(ctx, l.pair, 20, 100*time.Millisecond)
	if err != nil {
		return err
	}
	say("b2 set ahead, and its ticks made %d ppm longer:", detuning)
	say("CLOCK_TAI of b2 - b1 now: %.6f s (+- %d us), growing by %.1f ppm", float64(s.ns[len(s.ns)-1])/1e9, s.wrong/1000, s.ppm())
	if off := s.ns[0] - int64(ahead); max(off, -off) > int64(20*time.Millisecond) || math.Abs(s.ppm()-detuning) > 60 {
		return fmt.Errorf("the second clock is not where it was put")
	}
	return nil
}

// The gates of step 2, and what the schedule of step 5 is compared with.
const (
	handCycle  = int64(10 * time.Millisecond)
	handWindow = int64(2 * time.Millisecond)
)

// gated is the port that a bridge sends the probe frames by.
func gated(i int) string { return [2]string{"p1", "p3"}[i] }

// stepOff gates both bridges by hand, alike on their own clocks.
func (l *lab) stepOff(ctx context.Context) error {
	err := both(l.pair, func(i int, g *guest) error { return g.shell(ctx, handGates(gated(i), handWindow, handCycle)) })
	if err != nil {
		return err
	}
	say("gates of both: open for %v at the start of each %v of CLOCK_TAI", time.Duration(handWindow), time.Duration(handCycle))
	w := window{0, handWindow}
	var apart [2]int64
	var first, last *traffic
	for i := range apart {
		if apart[i], _, err = difference(ctx, l.pair); err != nil {
			return err
		}
		t, err := cross(ctx, l.pair, 1, l.frames(), 15*time.Millisecond)
		if err != nil {
			return err
		}
		if i == 0 {
			first = t
		}
		last = t
	}
	v := last.views(0, handCycle)
	draw(v, w, w)
	met := v[1].within(w, int64(bound))
	say("%.0f %% of the frames left bridge 1 in its window; by bridge 2's clock %.0f %% did", 100*v[0].within(w, int64(bound)), 100*met)
	say("from leaving bridge 1 to leaving bridge 2: %.2f ms, and %.1f s later %.2f ms", ms(first.transit()), last.since(first).Seconds(), ms(last.transit()))
	say("the clocks came %.2f ms further apart meanwhile, and the gates with them", ms(apart[1]-apart[0]))
	l.table = append(l.table, result{what: inWindow, off: fmt.Sprintf("%.1f %%", 100*met)},
		result{what: inTransit, off: fmt.Sprintf("%.2f ms", ms(last.transit()))})
	if met > 0.1 {
		return fmt.Errorf("%.0f %% of the frames were in the other's window: the lab was set up to have none", 100*met)
	}
	return both(l.pair, func(i int, g *guest) error { return g.shell(ctx, undoHand(gated(i))) })
}

func (l *lab) frames() int {
	if l.short {
		return 80
	}
	return 300
}

// The lines of the table that are filled in twice.
const (
	inWindow  = "windows of b1 that are b2's too (frames)"
	inTransit = "from leaving b1 to leaving b2, median"
)

// stepUnsteered starts the daemons; the second measures gPTP but may not
// touch its clock.
func (l *lab) stepUnsteered(ctx context.Context) error {
	if err := api.CreatePKI(filepath.Join(l.out, "keys"), []string{"b1", "b2"}, time.Now()); err != nil {
		return err
	}
	if err := both(l.pair, func(i int, g *guest) error { return l.start(ctx, g, i == 0) }); err != nil {
		return err
	}
	if err := l.waitSynchronized(ctx); err != nil {
		return err
	}
	if err := l.waitStatus(ctx, "ahead of gPTP"); err != nil {
		return err
	}
	if err := l.addStream(ctx); err != nil {
		return err
	}
	return l.refused(ctx, "ahead of gPTP")
}

// waitSynchronized waits until the second bridge has the first one's time.
func (l *lab) waitSynchronized(ctx context.Context) error {
	return wait(ctx, "b2 to be synchronized to b1", 40*time.Second, func(ctx context.Context) (string, bool, error) {
		var st api.GPTPStatus
		if err := l.query(ctx, l.pair[1], &st, "gptp"); err != nil {
			return err.Error(), false, nil
		}
		return fmt.Sprintf("grand master %s, synchronized %v, rate %+.1f ppm", st.GrandmasterName, st.Synchronized, st.RatePPM),
			st.Synchronized && !st.IsGrandmaster, nil
	})
}

// waitStatus waits until `tsnctl status` of the second bridge says a thing
// among what is not as it should be.
func (l *lab) waitStatus(ctx context.Context, says string) error {
	return l.waitDegraded(ctx, fmt.Sprintf("`tsnctl status` of b2 to say %q", says), func(all []string) (string, bool) {
		for _, s := range all {
			if strings.Contains(s, says) {
				return s, true
			}
		}
		return strings.Join(all, "; "), false
	})
}

// waitSchedulable waits until it says nothing against new schedules.
func (l *lab) waitSchedulable(ctx context.Context) error {
	return l.waitDegraded(ctx, "`tsnctl status` of b2 to have nothing against schedules", func(all []string) (string, bool) {
		for _, s := range all {
			if strings.HasPrefix(s, "no new schedule is taken") {
				return s, false
			}
		}
		return "it has nothing", true
	})
}

func (l *lab) waitDegraded(ctx context.Context, what string, look func([]string) (saw string, done bool)) error {
	return wait(ctx, what, 20*time.Second, func(ctx context.Context) (string, bool, error) {
		st, err := l.status(ctx, l.pair[1])
		if err != nil {
			return err.Error(), false, nil
		}
		saw, done := look(st.Degraded)
		return saw, done, nil
	})
}

// addStream waits for the fabric and asks for the probe frames' stream.
func (l *lab) addStream(ctx context.Context) error {
	return wait(ctx, "the stream from A to B to be admitted", 30*time.Second, func(ctx context.Context) (string, bool, error) {
		out, err := l.tsnctl(ctx, l.pair[0], "stream", "add", "--name", "a-to-b", "--talker", "A", "--listener", "B",
			"--interval", time.Duration(handCycle).String(), "--size", fmt.Sprint(probeOctets), "--within", "9ms")
		if err != nil {
			return err.Error(), false, nil
		}
		line, _, _ := strings.Cut(out, "\n")
		return line, true, nil
	})
}

// refused asks for a new schedule until it is refused for this reason; it must
// not be taken.
func (l *lab) refused(ctx context.Context, why string) error {
	what := fmt.Sprintf("`tsnctl schedule apply` to be refused, for b2 is %q", why)
	return wait(ctx, what, 20*time.Second, func(ctx context.Context) (string, bool, error) {
		_, err := l.tsnctl(ctx, l.pair[0], "schedule", "apply")
		if err == nil {
			return "", false, fmt.Errorf("a new schedule was taken although gPTP is wrong")
		}
		said := strings.Join(strings.Fields(err.Error()), " ")
		return said, strings.Contains(said, "b2") && strings.Contains(said, why), nil
	})
}

// stepSteered lets the second daemon steer, and looks at the true difference.
func (l *lab) stepSteered(ctx context.Context) error {
	b2 := l.pair[1]
	if err := b2.call(ctx, "StopDaemon", None{}, &None{}); err != nil {
		return err
	}
	if err := l.start(ctx, b2, true); err != nil {
		return err
	}
	err := wait(ctx, fmt.Sprintf("the true difference to stay under %v for a second", bound), 40*time.Second, func(ctx context.Context) (string, bool, error) {
		s, err := sample(ctx, l.pair, 5, 200*time.Millisecond)
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("at most %.6f s", float64(s.max())/1e9), s.max() < int64(bound), nil
	})
	if err != nil {
		return err
	}
	if err := l.waitSchedulable(ctx); err != nil {
		return err
	}
	n := 150
	if l.short {
		n = 30
	}
	say("measuring the true difference for %d s ...", n/10)
	s, err := sample(ctx, l.pair, n, 100*time.Millisecond)
	if err != nil {
		return err
	}
	say("CLOCK_TAI of b2 - b1: rms %d us, max %d us of %d readings, each +- %d us", s.rms()/1000, s.max()/1000, n, s.wrong/1000)
	l.table = append(l.table, result{"CLOCK_TAI of b2 - b1, true, rms", "1000 s", fmt.Sprintf("%d us", s.rms()/1000)},
		result{"CLOCK_TAI of b2 - b1, true, max", "100 us more/s", fmt.Sprintf("%d us", s.max()/1000)})
	if in := s.within(int64(bound)); in < enough {
		return fmt.Errorf("in %.0f %% of the readings the clocks differed by more than %v", 100-100*in, bound)
	}
	return nil
}
