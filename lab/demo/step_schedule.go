package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/chart"
	"tsnswitch/internal/config"
	"tsnswitch/qbv/gantt"
)

// stepSchedule applies a schedule with tsnctl, reads it back from every kernel
// on the path, and counts the class of forwarded frames.
func (l *lab) stepSchedule(ctx context.Context, s *stepReport) error {
	if _, ok := l.couple(); !ok {
		s.say(noCouple)
		return nil
	}
	if err := l.apply(ctx, s, true); err != nil {
		return err
	}
	return l.countClasses(ctx, s)
}

// apply runs tsnctl schedule apply and keeps what it started. all says that
// every stream must have its windows; otherwise the couple's will do.
func (l *lab) apply(ctx context.Context, s *stepReport, all bool) error {
	b := l.kind(config.KindBridge)[0]
	out, err := l.tsnctl(ctx, b, "schedule", "apply", "--yes") // on slower wires streams are worse off
	if err != nil {
		return err
	}
	head, _, _ := strings.Cut(out, "\n\n")
	for line := range strings.Lines(head) {
		s.say("%s", strings.TrimRight(line, "\n"))
	}
	sched, err := b.client.ShowSchedule(ctx)
	if err != nil {
		return err
	}
	if err := l.checkSchedule(ctx, s, sched, all); err != nil {
		return err
	}
	l.schedule = sched
	var svg strings.Builder
	if err := gantt.SVG(&svg, chart.Running(sched, nil)); err != nil {
		return err
	}
	l.gantt = svg.String()
	return nil
}

// checkSchedule: every port of every stream's path has gates, and the kernel
// runs them.
func (l *lab) checkSchedule(ctx context.Context, s *stepReport, sched *api.Schedule, all bool) error {
	streams, err := l.kind(config.KindBridge)[0].client.ListStreams(ctx)
	if err != nil {
		return err
	}
	ports := map[tsn.Hop]bool{}
	for _, st := range streams {
		if st.State != api.StreamScheduled {
			if c, _ := l.couple(); all || st.Stream.Name == c.spec.Name {
				return fmt.Errorf("stream %s is %s: %s", st.Stream.Name, st.State, st.Reason)
			}
			s.say("%s: %s, %s", st.Stream.Name, st.State, st.Reason)
			continue
		}
		for _, h := range st.Path {
			ports[h.Hop] = true
		}
		s.say("%s: scheduled, worst latency %v of %v", st.Stream.Name, time.Duration(st.Latency), time.Duration(st.Stream.MaxLatency))
	}
	for _, p := range sched.Ports {
		delete(ports, p.Hop)
		n := l.node(p.Node)
		state, err := n.client.KernelText(ctx)
		if err != nil {
			return err
		}
		oper := ""
		for _, sec := range state.Sections {
			for line := range strings.Lines(sec.Text) {
				if strings.Contains(line, p.Ifname+" ") && strings.Contains(line, "taprio") {
					oper = strings.TrimSpace(line)
				}
			}
		}
		tc, err := n.space.run(ctx, "tc", "qdisc", "show", "dev", p.Ifname, "root")
		if err != nil {
			return err
		}
		l.report.ReadBack[p.Node+" tc "+p.Ifname] = tc
		if want, got := len(p.Oper.Entries), strings.Count(tc, "index "); want != got {
			return fmt.Errorf("%s:%s: the schedule has %d entries, tc shows %d (%s)", p.Node, p.Ifname, want, got, oper)
		}
		s.say("%s:%s oper: %d entries, cycle %v, base %d; tc(8) shows the same number", p.Node, p.Ifname, len(p.Oper.Entries), time.Duration(p.Oper.CycleTime), p.Oper.BaseTime.NS)
	}
	if len(ports) > 0 {
		return fmt.Errorf("%d ports on a stream's path have no gates", len(ports))
	}
	s.fact("schedule", sched)
	return nil
}

// classFrames is how many frames each check sends.
const classFrames = 200

// countClasses sends frames of the stream's priority through the fabric and
// looks at the counters of a transit port: they left in the scheduled class.
func (l *lab) countClasses(ctx context.Context, s *stepReport) error {
	c, ok := l.couple()
	if !ok {
		s.say(noCouple)
		return nil
	}
	a, b, pcp := c.a, c.b, int(c.spec.PCP)
	streams, err := l.kind(config.KindBridge)[0].client.ListStreams(ctx)
	if err != nil {
		return err
	}
	transit, ok := c.transit(streams)
	if !ok {
		return fmt.Errorf("stream %s crosses no bridge", c.spec.Name)
	}
	if _, err := a.space.ping(ctx, b.Stream.Addr, 2, 0); err != nil { // fill the ARP caches first
		return err
	}
	before, err := l.classCounters(ctx, transit)
	if err != nil {
		return err
	}
	if err := a.space.sendPaced(ctx, netip.AddrPortFrom(b.Stream.Addr, 9), classFrames, pcp, 5*time.Millisecond); err != nil {
		return err
	}
	var got [tsn.NumClasses]uint64
	err = s.wait(ctx, fmt.Sprintf("%d frames of PCP %d to leave %s:%s", classFrames, pcp, transit.Node, transit.Ifname), 5*time.Second,
		func(ctx context.Context) (string, bool, error) {
			after, err := l.classCounters(ctx, transit)
			if err != nil {
				return "", false, err
			}
			for c := range got {
				got[c] = after[c] - before[c]
			}
			return fmt.Sprintf("class 0: %d, 1: %d, 2: %d, 3 (scheduled): %d, 4 (control): %d", got[0], got[1], got[2], got[3], got[4]), got[tsn.ClassScheduled] >= classFrames, nil
		})
	s.fact("classCounts", got)
	if err != nil {
		return err
	}
	if got[tsn.ClassScheduled] > classFrames+10 || got[tsn.ClassBestEffort] > 50 {
		return fmt.Errorf("frames in the wrong class: %v", got)
	}
	return nil
}

// classCounters reads a port's frames by class from its daemon's kernel text.
func (l *lab) classCounters(ctx context.Context, h api.PathHop) (out [tsn.NumClasses]uint64, err error) {
	text, err := l.node(h.Node).client.KernelText(ctx)
	if err != nil {
		return out, err
	}
	for _, sec := range text.Sections {
		if sec.Title != "counters" {
			continue
		}
		for line := range strings.Lines(sec.Text) {
			var ifname string
			var class int
			var frames uint64
			if n, _ := fmt.Sscanf(line, "%s class %d frames %d", &ifname, &class, &frames); n == 3 && ifname == h.Ifname && class < len(out) {
				out[class] = frames
			}
		}
	}
	return out, nil
}

// sendPaced sends small UDP datagrams with a socket priority, one each gap.
func (s *space) sendPaced(ctx context.Context, to netip.AddrPort, count, priority int, gap time.Duration) error {
	var conn net.Conn
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, priority) })
		return errors.Join(err, serr)
	}}
	err := s.inside(func() (err error) {
		conn, err = d.DialContext(ctx, "udp4", to.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("send from %s: %w", s.name, err)
	}
	defer conn.Close()
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for sent := 0; sent < count; {
		if _, err := conn.Write(make([]byte, 100)); err == nil {
			sent++
		} else if !isTransient(err) {
			return fmt.Errorf("send from %s: %w", s.name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
