package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
)

// Each row has this many calls, of several processes, each of which waits so
// long between its calls: enough for a p99.9. A row that was cut short has
// fewer, and its p99.9 is its maximum.
const (
	latencyCalls   = 3000
	latencyCallers = 4
	latencyGapMS   = 2
	latencyLimitMS = 20_000
)

// probeFor is how long the flood alone shows whether the processor can carry it.
const probeFor = 2 * time.Second

// stepLatency measures the round trip of a small gen_server call: idle, then
// beside a best-effort flood in both directions, each as best effort and on
// the reservation. Where the processor cannot carry such a flood, the wires are
// made slower first.
func (l *lab) stepLatency(ctx context.Context, s *stepReport) error {
	c, ok := l.couple()
	if !ok {
		s.say(noCouple)
		return nil
	}
	// On a machine that is too slow, best effort loses most of its frames: that is
	// not to look like a peer that is dead.
	best, err := l.startPair(ctx, "best effort", "be", func(n *labNode) netip.Addr { return n.Data.Addr }, "-distlink_keepalive", "10000")
	if err != nil {
		return err
	}
	if _, err := best.a.eval(ctx, "pong = net_adm:ping('%s')", best.b.node); err != nil {
		return err
	}
	l.beams = append(l.beams, best)
	for _, h := range l.kind(config.KindHost) {
		c, err := h.space.discard(ctx, netip.AddrPortFrom(h.Data.Addr, 9))
		if err != nil {
			return err
		}
		defer c.Close()
	}
	if lower := tsn.Rate(l.net.Lab.LowerRate); lower != 0 && lower < l.rate {
		m, err := l.probe(ctx, c)
		if err != nil {
			return err
		}
		s.fact("probe", m)
		if m.IdleCPU < cpuBound || m.LinkUse < linkFull {
			s.say("a flood at %s leaves %.0f %% of the processor idle and the link %.0f %% full: wires at %s instead", l.rate, 100*m.IdleCPU, 100*m.LinkUse, lower)
			if err := l.slowDown(ctx, s, lower); err != nil {
				return err
			}
		}
	}
	return l.latencyTable(ctx, s)
}

// probe floods for a while and says what that takes.
func (l *lab) probe(ctx context.Context, c couple) (u usage, err error) {
	shared, err := l.sharedLink(ctx, c)
	if err != nil {
		return u, err
	}
	err = l.flooded(ctx, c.a, c.b, shared, &u, func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(probeFor):
			return nil
		}
	})
	return u, err
}

// slowDown puts slower wires into the lab, tells the daemons by restarting
// them, and makes a schedule for the new rate.
func (l *lab) slowDown(ctx context.Context, s *stepReport, rate tsn.Rate) error {
	b := l.kind(config.KindBridge)[0]
	if err := l.setRate(ctx, rate); err != nil {
		return err
	}
	if err := s.wait(ctx, "the restarted daemons to be synchronized and in step with their kernels", 60*time.Second, func(ctx context.Context) (string, bool, error) {
		ready := 0
		why := ""
		for _, n := range l.nodes {
			st, err := n.client.Status(ctx)
			switch {
			case err != nil:
			case !st.GPTP.Synchronized:
				why = n.Name + ": not synchronized"
			case !st.Kernel.InSync:
				why = fmt.Sprintf("%s: kernel differs in %d, %s", n.Name, st.Kernel.Differences, st.Kernel.Error)
			case n.bridge() && st.SPB.Nodes != len(l.kind(config.KindBridge)):
				why = n.Name + ": does not see every bridge"
			default:
				ready++
			}
		}
		return fmt.Sprintf("%d of %d ready %s", ready, len(l.nodes), why), ready == len(l.nodes), l.alive()
	}); err != nil {
		return err
	}
	streams, err := b.client.ListStreams(ctx)
	if err != nil {
		return err
	}
	if len(streams) != len(l.net.Streams) {
		return fmt.Errorf("after the restart there are %d streams, there were %d", len(streams), len(l.net.Streams))
	}
	return l.apply(ctx, s, false) // slower wires may be too slow for some
}

// latencyTable measures every row at the present rate of the wires.
func (l *lab) latencyTable(ctx context.Context, s *stepReport) error {
	t := &latencyTable{LineRate: l.rate}
	for _, loaded := range []bool{false, true} {
		for _, p := range []*beamPair{l.beams[1], l.beams[0]} {
			name := "idle, " + p.name
			if loaded {
				name = "flood, " + p.name
			}
			row, err := l.latencyRow(ctx, name, p, loaded)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	t.compare()
	l.report.Tables = append(l.report.Tables, t)
	s.fact(fmt.Sprintf("table at %s", l.rate), t)
	t.print(l.report.out)
	return nil
}

// latencyRow measures one row.
func (l *lab) latencyRow(ctx context.Context, name string, p *beamPair, loaded bool) (*latencyRow, error) {
	row := &latencyRow{Name: name, Connection: p.name, Loaded: loaded}
	c, _ := l.couple()
	shared, err := l.sharedLink(ctx, c)
	if err != nil {
		return nil, err
	}
	var samples []int64
	measure := func() error {
		res, err := p.a.eval(ctx, "distlink_bench:rtt_line(\"%s\", '%s', %d, %d, %d, %d)", name, p.b.node, latencyCalls, latencyGapMS, latencyLimitMS, latencyCallers)
		for _, r := range res {
			samples = append(samples, r.Sorted...)
		}
		if err == nil && len(samples) == 0 {
			err = fmt.Errorf("no samples in %v", res)
		}
		return err
	}
	if loaded {
		err = l.flooded(ctx, c.a, c.b, shared, &row.usage, measure)
	} else {
		err = l.metered(shared, &row.usage, measure)
	}
	row.fill(samples)
	return row, err
}
