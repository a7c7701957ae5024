//go:build linux && amd64

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A crossing is a probe frame on its way through both bridges: when it left
// bridge 1 and when bridge 2, in ns of the host's clock.
type crossing struct{ first, second int64 }

// traffic is a number of crossings, and the bridges' clocks all along.
type traffic struct {
	sent, lost int
	frames     []crossing
	clocks     [2]timeline
}

// cross sends frames from the station at bridge 1 to the one at bridge 2 and
// watches them where they leave the first and where the second.
func cross(ctx context.Context, pair [2]*guest, vid uint16, count int, gap time.Duration) (*traffic, error) {
	pair[0].sending++ // frames of an earlier crossing shall not be taken for these
	first := pair[0].sending * 1_000_000
	ports := [2][]string{{"p1x"}, {"h3"}}
	err := both(pair, func(i int, g *guest) error {
		return g.call(ctx, "Watch", Watching{Ifnames: ports[i], Last: first + count - 1}, &None{})
	})
	if err != nil {
		return nil, err
	}
	sending := pair[0].call(ctx, "Send", Sending{
		Ifname: "h3", From: pair[0].station, To: pair[1].station, VID: vid, First: first, Count: count, Gap: int64(gap), Seed: uint64(first),
	}, &None{})
	var seen [2]Seen
	err = both(pair, func(i int, g *guest) error { return g.call(ctx, "EndWatch", int64(2*time.Second), &seen[i]) })
	if err := errors.Join(sending, err); err != nil {
		return nil, err
	}
	t := &traffic{sent: count, clocks: [2]timeline{{pair[0].epoch, seen[0].Readings}, {pair[1].epoch, seen[1].Readings}}}
	for i, g := range pair {
		if len(seen[i].Readings) == 0 {
			return nil, fmt.Errorf("%s: its clocks could not be read closely enough", g.name)
		}
	}
	left, leftToo := seen[0].Frames["p1x"], seen[1].Frames["h3"]
	for n := first; n < first+count; n++ {
		l, ok1 := left[n]
		o, ok2 := leftToo[n]
		if ok1 && ok2 {
			t.frames = append(t.frames, crossing{t.clocks[0].toHost(l), t.clocks[1].toHost(o)})
		}
	}
	t.lost = count - len(t.frames)
	if len(t.frames) < count*9/10 {
		return t, fmt.Errorf("of %d frames %d left bridge 1 and %d bridge 2", count, len(left), len(leftToo))
	}
	return t, nil
}

// window is a gate's, from the start of the cycle: [start, end) in ns.
type window struct{ start, end int64 }

// A view is the phase of each frame at one place in the cycle of one clock.
type view struct {
	what   string
	phases []int64
	cycle  int64
}

// see makes a view: where picks the moment, clock whose cycle counts, base
// is a start of a cycle on that clock.
func (t *traffic) see(what string, clock int, base, cycle int64, where func(crossing) int64) view {
	v := view{what: what, cycle: cycle}
	for _, f := range t.frames {
		phase := (t.clocks[clock].toTAI(where(f)) - base) % cycle
		v.phases = append(v.phases, (phase+cycle)%cycle)
	}
	return v
}

func first(c crossing) int64  { return c.first }
func second(c crossing) int64 { return c.second }

// outside is how far a phase is from a window, 0 inside; cycles have no end.
func (v view) outside(phase int64, w window) int64 {
	late, early := phase-w.end, w.start-phase
	if late < 0 && early <= 0 {
		return 0
	}
	return min((late+v.cycle)%v.cycle, (early+v.cycle)%v.cycle)
}

// within is the share of frames at most slack from the window.
func (v view) within(w window, slack int64) float64 {
	n := 0
	for _, p := range v.phases {
		if v.outside(p, w) <= slack {
			n++
		}
	}
	return float64(n) / float64(len(v.phases))
}

// bins are what the pictures divide a cycle into.
const bins = 40

// histogram draws the phases over the cycle: a character for each bin, darker
// where there are more.
func (v view) histogram() string {
	var count [bins]int
	most := 0
	for _, p := range v.phases {
		i := p * bins / v.cycle
		count[i]++
		most = max(most, count[i])
	}
	const shades = ".:-=+*#%@"
	var b strings.Builder
	for _, c := range count {
		if c == 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteByte(shades[(c*len(shades)-1)/most])
	}
	return b.String()
}

// ruler marks the window above a histogram.
func (v view) ruler(w window) string {
	b := []byte(strings.Repeat(" ", bins))
	for i := range b {
		mid := (int64(i)*v.cycle + v.cycle/2) / bins
		if v.outside(mid, w) == 0 {
			b[i] = '_' // the gate is open
		}
	}
	return string(b)
}

// views are what the lab shows of crossings: when frames left each bridge, in
// the cycle of its own clock and in that of the other's.
func (t *traffic) views(base, cycle int64) [4]view {
	return [4]view{
		t.see("left b1, by b1's clock", 0, base, cycle, first),
		t.see("left b1, by b2's clock", 1, base, cycle, first),
		t.see("left b2, by b2's clock", 1, base, cycle, second),
		t.see("left b2, by b1's clock", 0, base, cycle, second),
	}
}

// draw shows them one below the other, each under the window of its gate.
func draw(v [4]view, w1, w2 window) {
	say("when in the cycle of %v frames ...", time.Duration(v[0].cycle))
	for i, x := range v {
		w := w2
		if i < 2 {
			w = w1
		}
		say("%-23s  %s", "", x.ruler(w))
		say("%-23s |%s|", x.what, x.histogram())
	}
}

// transit is the median time, ns, from leaving bridge 1 to leaving bridge 2.
func (t *traffic) transit() int64 {
	var all []int64
	for _, f := range t.frames {
		all = append(all, f.second-f.first)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// since is the time from another's first frame to this one's.
func (t *traffic) since(other *traffic) time.Duration {
	return time.Duration(t.frames[0].first - other.frames[0].first)
}

func ms(ns int64) float64 { return float64(ns) / 1e6 }
