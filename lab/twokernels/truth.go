//go:build linux && amd64

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// An epoch places a guest's CLOCK_MONOTONIC_RAW on the host's clock: raw time
// 0 was between lo and hi, in ns. Both count the same oscillator, so that the
// difference never changes, and each question and answer narrows it further.
// This is how the lab knows the truth without gPTP.
type epoch struct{ lo, hi int64 }

// started is the origin of the host's clock.
var started = time.Now()

func hostNow() int64 { return int64(time.Since(started)) }

// findEpoch asks the guest for its clocks n times.
func (g *guest) findEpoch(ctx context.Context, n int) error {
	g.epoch = epoch{math.MinInt64, math.MaxInt64}
	for range n {
		if _, err := g.clock(ctx); err != nil {
			return err
		}
	}
	return nil
}

// clock asks the guest for its clocks, and learns its epoch better.
func (g *guest) clock(ctx context.Context) (r Reading, err error) {
	before := hostNow()
	if err := g.call(ctx, "Clock", None{}, &r); err != nil {
		return r, err
	}
	g.epoch.lo, g.epoch.hi = max(g.epoch.lo, before-r.Raw), min(g.epoch.hi, hostNow()-r.Raw)
	if g.epoch.lo > g.epoch.hi {
		return r, fmt.Errorf("%s: its raw clock and the host's do not run together (%d ns apart)", g.name, g.epoch.lo-g.epoch.hi)
	}
	return r, nil
}

// host converts the guest's raw time.
func (e epoch) host(raw int64) int64 { return raw + (e.lo+e.hi)/2 }

// error is by how much host may be wrong.
func (e epoch) error() int64 { return (e.hi - e.lo) / 2 }

// difference is the CLOCK_TAI of b minus that of a at one moment, and by how
// much it may be wrong. A guest that stood still between two readings of its
// clocks is asked again, a few times.
func difference(ctx context.Context, pair [2]*guest) (ns, wrong int64, err error) {
	const attempts, good = 10, 100_000
	var r [2]Reading
	err = both(pair, func(i int, g *guest) error {
		r[i].Error = math.MaxInt64
		for n := 0; n < attempts && r[i].Error > good; n++ {
			now, err := g.clock(ctx)
			if err != nil {
				return err
			}
			if now.Error < r[i].Error {
				r[i] = now
			}
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	a, b := pair[0].epoch, pair[1].epoch
	apart := b.host(r[1].Raw) - a.host(r[0].Raw)
	return r[1].TAI - r[0].TAI - apart, a.error() + b.error() + r[0].Error + r[1].Error, nil
}

// sampling is a number of differences.
type sampling struct {
	at, ns []int64
	wrong  int64 // the largest
}

// sample takes n differences, one each gap.
func sample(ctx context.Context, pair [2]*guest, n int, gap time.Duration) (s sampling, err error) {
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for range n {
		d, wrong, err := difference(ctx, pair)
		if err != nil {
			return s, err
		}
		s.at, s.ns, s.wrong = append(s.at, hostNow()), append(s.ns, d), max(s.wrong, wrong)
		select {
		case <-ctx.Done():
			return s, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return s, nil
}

// rms and max are those of the differences themselves, ns.
func (s sampling) rms() int64 {
	sum := 0.0
	for _, d := range s.ns {
		sum += float64(d) * float64(d)
	}
	return int64(math.Sqrt(sum / float64(len(s.ns))))
}

func (s sampling) max() int64 {
	return max(slices.Max(s.ns), -slices.Min(s.ns))
}

// within is the share of differences that are at most bound.
func (s sampling) within(bound int64) float64 {
	n := 0
	for _, d := range s.ns {
		if max(d, -d) <= bound {
			n++
		}
	}
	return float64(n) / float64(len(s.ns))
}

// ppm is the slope from the first difference to the last.
func (s sampling) ppm() float64 {
	last := len(s.ns) - 1
	return float64(s.ns[last]-s.ns[0]) / float64(s.at[last]-s.at[0]) * 1e6
}

// A timeline converts between the time of a guest's CLOCK_TAI and the host's
// clock, over a time in which readings were taken.
type timeline struct {
	epoch
	readings []Reading
}

// toHost is when the guest's CLOCK_TAI showed tai, on the host's clock.
func (t timeline) toHost(tai int64) int64 {
	r := t.nearest(func(r Reading) int64 { return r.TAI - tai })
	return t.host(r.Raw) + tai - r.TAI
}

// toTAI is what the guest's CLOCK_TAI showed at a time of the host's.
func (t timeline) toTAI(host int64) int64 {
	r := t.nearest(func(r Reading) int64 { return t.host(r.Raw) - host })
	return r.TAI + host - t.host(r.Raw)
}

func (t timeline) nearest(distance func(Reading) int64) Reading {
	return slices.MinFunc(t.readings, func(x, y Reading) int {
		dx, dy := distance(x), distance(y)
		return int(max(dx, -dx) - max(dy, -dy))
	})
}
