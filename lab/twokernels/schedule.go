//go:build linux && amd64

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tsnswitch/internal/api"
)

// stepSchedule starts a schedule of the whole network and sends frames
// through the windows of both bridges.
func (l *lab) stepSchedule(ctx context.Context) error {
	s, err := l.apply(ctx)
	if err != nil {
		return err
	}
	w1, err1 := windowOf(s, "b1", "p1")
	w2, err2 := windowOf(s, "b2", "p3")
	if err1 != nil || err2 != nil {
		return fmt.Errorf("the schedule lacks a window: %v %v", err1, err2)
	}
	t, err := cross(ctx, l.pair, uint16(l.net.Fabric.StreamVID), l.frames(), 15*time.Millisecond)
	if err != nil {
		return err
	}
	v := t.views(s.Base.NS, s.CycleTime)
	draw(v, w1, w2)
	say("%.1f %% left b1 in its window by its own clock, %.1f %% within %v of it by b2's", 100*v[0].within(w1, 0), 100*v[1].within(w1, int64(bound)), bound)
	say("%.1f %% left b2 in its window by its own clock, %.1f %% within %v of it by b1's", 100*v[2].within(w2, 0), 100*v[3].within(w2, int64(bound)), bound)
	met := min(v[1].within(w1, int64(bound)), v[3].within(w2, int64(bound)))
	l.finish(inWindow, fmt.Sprintf("%.1f %%", 100*met))
	l.finish(inTransit, fmt.Sprintf("%.2f ms", ms(t.transit())))
	if met < enough {
		return fmt.Errorf("gates are not aligned within %v: %.1f %% of the frames, want %.0f %%", bound, 100*met, 100*enough)
	}
	return nil
}

// finish adds the figure with gPTP to a line of the table.
func (l *lab) finish(what, on string) {
	i := slices.IndexFunc(l.table, func(r result) bool { return r.what == what })
	l.table[i].on = on
}

// apply asks for a new schedule and waits until it runs.
func (l *lab) apply(ctx context.Context) (*api.Schedule, error) {
	out, err := l.tsnctl(ctx, l.pair[0], "schedule", "apply")
	if err != nil {
		return nil, err
	}
	head, _, _ := strings.Cut(out, "\n\n")
	for line := range strings.Lines(head) {
		say("%s", strings.TrimRight(line, "\n"))
	}
	var s api.Schedule
	err = wait(ctx, "both kernels to run it", 20*time.Second, func(ctx context.Context) (string, bool, error) {
		s = api.Schedule{}
		if err := l.query(ctx, l.pair[0], &s, "schedule", "show"); err != nil {
			return "", false, err
		}
		return s.State, s.State == api.ScheduleRunning, nil
	})
	return &s, err
}

func windowOf(s *api.Schedule, node, ifname string) (window, error) {
	for _, p := range s.Ports {
		if p.Node == node && p.Ifname == ifname && len(p.Windows) > 0 {
			return window{p.Windows[0].Start, p.Windows[0].End}, nil
		}
	}
	return window{}, fmt.Errorf("%s:%s has none", node, ifname)
}
