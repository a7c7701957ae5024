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

func (l *lab) latencyRow(ctx context.Context, name string, p *beamPair, loaded bool) (*latencyRow, error) {
	row := &latencyRow{Name: name, Connection: p.name}
	c, _ := l.couple()
	a, b := c.a, c.b
	if loaded {
		ab, err := a.space.startFlood(ctx, netip.AddrPortFrom(b.Data.Addr, 9), l.rate)
		if err != nil {
			return nil, err
		}
		ba, err := b.space.startFlood(ctx, netip.AddrPortFrom(a.Data.Addr, 9), l.rate)
		if err != nil {
			return nil, err
		}
		defer func() {
			n1, _ := ab.end()
			n2, _ := ba.end()
			row.FloodSent = n1 + n2
		}()
		if err := l.awaitFull(ctx, ab, ba); err != nil {
			return nil, err
		}
	}
	shared, err := l.sharedLink(ctx, c)
	if err != nil {
		return nil, err
	}
	cpu, err := readCPU()
	if err != nil {
		return nil, err
	}
	octets, start := shared.octets(), time.Now()
	drops := l.drops()
	res, err := p.a.eval(ctx, "distlink_bench:rtt_line(\"%s\", '%s', %d, %d, %d)", name, p.b.node, latencyCalls, latencyGapMS, latencyLimitMS)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	if row.IdleCPU, err = cpu.idleSince(); err != nil {
		return nil, err
	}
	row.FloodLine = float64(shared.octets()-octets) * 8 / took.Seconds() / float64(l.rate*1000)
	row.FloodLoss = l.drops() - drops
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
