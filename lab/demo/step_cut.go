package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// stepCut cuts a link of the path while calls run, measures how long calls
// and reservation take to stand on the new path, mends the link, and looks for
// loops and duplicates.
func (l *lab) stepCut(ctx context.Context, s *stepReport) error {
	i := l.net.CutLink()
	if i < 0 {
		s.say("this network has no second way (no lab.cut): nothing is cut")
		return nil
	}
	cut := l.net.Links[i]
	if len(l.beams) == 0 {
		s.say(noCouple)
		return nil
	}
	bridge := l.kind(config.KindBridge)[0]
	before, err := bridge.client.ListStreams(ctx)
	if err != nil {
		return err
	}
	for _, st := range before {
		s.say("%s before: %s, %s", st.Stream.Name, st.State, pathText(st.Path))
	}
	if err := l.cutOnce(ctx, s, cut, before); err != nil {
		return err
	}
	return l.mend(ctx, s, cut)
}

// cutOnce takes the link down and times what follows.
func (l *lab) cutOnce(ctx context.Context, s *stepReport, cut config.Link, before []api.StreamState) error {
	bridge := l.kind(config.KindBridge)[0]
	pair := l.beams[0]
	flowing := make(chan error, 1)
	start := time.Now()
	if err := l.setLink(cut, false); err != nil {
		return err
	}
	var gap time.Duration
	go func() {
		// Pings of 100 ms each until one is answered.
		res, err := pair.a.eval(ctx, "distlink_bench:until_answer('%s', 100, 30000)", pair.b.node)
		if err == nil && (len(res) == 0 || !res[0].OK) {
			err = errors.New("no call was answered within 30 s")
		}
		gap = time.Since(start)
		flowing <- err
	}()
	crosses := func(st api.StreamState) bool {
		for _, h := range st.Path {
			for _, e := range []config.End{cut.A, cut.B} {
				if h.Node == e.Node && h.Port == e.Port {
					return true
				}
			}
		}
		return false
	}
	if err := <-flowing; err != nil {
		return fmt.Errorf("calls after the cut of %s: %w", cut, err)
	}
	s.say("cut %s: the first call after it was answered %.0f ms later", cut, float64(gap.Microseconds())/1000)
	s.fact("callsFlowAfterMs", gap.Milliseconds())
	for _, stage := range []struct {
		what, fact string
		ok         func(api.StreamState) bool
	}{
		{"every reservation to stand on the new path", "reservedAfterMs", func(st api.StreamState) bool { return st.State != api.StreamFailed && len(st.Path) > 0 && !crosses(st) }},
		{"the schedule to be planned and started again, or the streams to be called unscheduled", "scheduledAfterMs", func(st api.StreamState) bool {
			return !crosses(st) && (st.State == api.StreamScheduled || st.State == api.StreamReserved && len(st.Reason) > len("unscheduled"))
		}},
	} {
		err := s.wait(ctx, stage.what, 40*time.Second, func(ctx context.Context) (string, bool, error) {
			streams, err := bridge.client.ListStreams(ctx)
			if err != nil {
				return err.Error(), false, nil
			}
			ok, saw := 0, ""
			for _, st := range streams {
				saw += fmt.Sprintf("%s %s on %s %s; ", st.Stream.Name, st.State, pathText(st.Path), st.Reason)
				if stage.ok(st) {
					ok++
				}
			}
			return saw, ok == len(before) && len(streams) == len(before), l.alive()
		})
		if err != nil {
			return err
		}
		took := time.Since(start)
		s.say("%.0f ms after the cut", float64(took.Microseconds())/1000)
		s.fact(stage.fact, took.Milliseconds())
	}
	return nil
}

// mend brings the link back: the fabric is whole again, and a ping from cold
// caches is carried once.
func (l *lab) mend(ctx context.Context, s *stepReport, cut config.Link) error {
	start := time.Now()
	if err := l.setLink(cut, true); err != nil {
		return err
	}
	want := 2 * len(l.fabricLinks())
	err := s.wait(ctx, "adjacencies Up on all links again, kernels as computed", 40*time.Second, func(ctx context.Context) (string, bool, error) {
		up, same := 0, 0
		for _, n := range l.nodes {
			if d, err := n.client.Diff(ctx); err == nil && d.InSync {
				same++
			}
			if !n.bridge() {
				continue
			}
			ns, err := n.client.Neighbours(ctx)
			if err != nil {
				continue
			}
			for _, x := range ns {
				if x.State == "Up" {
					up++
				}
			}
		}
		return fmt.Sprintf("%d of %d adjacencies, %d of %d kernels equal", up, want, same, len(l.nodes)), up == want && same == len(l.nodes), l.alive()
	})
	if err != nil {
		return err
	}
	s.fact("wholeAgainAfterMs", time.Since(start).Milliseconds())
	return l.coldPing(ctx, s)
}
