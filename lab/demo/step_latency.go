package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
)

// Each row calls this often, this far apart, and not longer than that: enough
// for a p99 without making the lab long. A row that was cut short has fewer
// calls, and its p99 is close to its maximum.
const (
	latencyCalls   = 200
	latencyGapMS   = 5
	latencyLimitMS = 20_000
)

// stepLatency measures the round trip of a small gen_server call: idle, then
// beside a best-effort flood in both directions, each as best effort and on
// the reservation. Where the processor was the limit, all rows are measured
// again with slower wires.
func (l *lab) stepLatency(ctx context.Context, s *stepReport) error {
	if _, ok := l.couple(); !ok {
		s.say(noCouple)
		return nil
	}
	best, err := l.startPair(ctx, "best effort", "be", func(n *labNode) netip.Addr { return n.Data.Addr })
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
	table, err := l.latencyTable(ctx, s)
	if err != nil {
		return err
	}
	if lower := tsn.Rate(l.net.Lab.LowerRate); table.cpuBoundRows() > 0 && lower != 0 && lower < l.rate {
		s.say("%d rows are CPU-bound (less than %.0f %% idle): again with wires at %s", table.cpuBoundRows(), 100*cpuBound, lower)
		if err := l.slowDown(ctx, s, lower); err != nil {
			return err
		}
		if _, err := l.latencyTable(ctx, s); err != nil {
			return err
		}
	}
	return nil
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
func (l *lab) latencyTable(ctx context.Context, s *stepReport) (*latencyTable, error) {
	t := &latencyTable{LineRate: l.rate}
	for _, loaded := range []bool{false, true} {
		for _, p := range []*beamPair{l.beams[1], l.beams[0]} {
			name := "idle, " + p.name
			if loaded {
				name = "flood, " + p.name
			}
			row, err := l.latencyRow(ctx, name, p, loaded)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	l.report.Tables = append(l.report.Tables, t)
	s.fact(fmt.Sprintf("table at %s", l.rate), t)
	t.print(os.Stdout)
	return t, nil
}

// latencyRow measures one row. A flood that ends before the row does is an
// error: the row would say more than it measured.
func (l *lab) latencyRow(ctx context.Context, name string, p *beamPair, loaded bool) (_ *latencyRow, err error) {
	row := &latencyRow{Name: name, Connection: p.name, Loaded: loaded}
	c, _ := l.couple()
	shared, err := l.sharedLink(ctx, c)
	if err != nil {
		return nil, err
	}
	if loaded {
		for _, way := range [][2]*labNode{{c.a, c.b}, {c.b, c.a}} {
			f, ferr := way[0].space.startFlood(ctx, netip.AddrPortFrom(way[1].Data.Addr, 9), l.rate)
			if ferr != nil {
				return nil, ferr
			}
			defer func() {
				sent, ferr := f.end()
				row.FloodSent += sent
				if ferr != nil && err == nil {
					err = fmt.Errorf("the flood from %s ended early: %w", way[0].Name, ferr)
				}
			}()
		}
		if err := l.awaitFull(ctx, shared); err != nil {
			return nil, err
		}
	}
	drops, err := l.drops()
	if err != nil {
		return nil, err
	}
	octets, err := shared.octets()
	if err != nil {
		return nil, err
	}
	cpu, err := readCPU()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	res, err := p.a.eval(ctx, "distlink_bench:rtt_line(\"%s\", '%s', %d, %d, %d)", name, p.b.node, latencyCalls, latencyGapMS, latencyLimitMS)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	if row.IdleCPU, err = cpu.idleSince(); err != nil {
		return nil, err
	}
	if row.LinkUse, err = shared.use(octets, took, l.rate); err != nil {
		return nil, err
	}
	after, err := l.drops()
	if err != nil {
		return nil, err
	}
	row.FloodLoss = after - drops
	var samples []int64
	for _, r := range res {
		samples = append(samples, r.Sorted...)
	}
	if len(samples) == 0 {
		return nil, fmt.Errorf("no samples in %v", res)
	}
	row.fill(samples)
	return row, nil
}
