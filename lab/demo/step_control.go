package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// The loop: a period is its deadline. Each way a frame every half period is
// reserved, so that the force's window is in the period of its sample; the
// sample is taken shortly before its own.
const (
	controlPeriod = 5 * time.Millisecond
	controlLead   = 300 * time.Microsecond // from the sample to its frame
	leastControl  = time.Second
	controlPort   = 4370 // of the daemons as Erlang nodes

	reservedFrame = 558 // octets: 600 with all overhead
	reservedRate  = (reservedFrame + 42) * 8 * 1000 / (int64(controlPeriod/2) / 1000)
	ipUDPOctets   = 28
)

// controlPhases in the order they are run in.
var controlPhases = []struct {
	name             string
	loaded, reserved bool
}{
	{"idle, best effort", false, false},
	{"flood, best effort", true, false},
	{"flood, reserved, gated", true, true},
}

// A controlLab is the network of lab/control: A is the controller's host, B the
// plant's, C and D are those that flood the link between the bridges.
type controlLab struct {
	*lab
	a, b, c, d *labNode
	pair       *beamPair
	gate       gatePhase
}

// A gatePhase is when the plant's gate opens: times of the system's clock in ns.
type gatePhase struct{ cycle, open int64 }

func (l *lab) controlNodes() (*controlLab, error) {
	c := &controlLab{lab: l, gate: gatePhase{cycle: int64(controlPeriod)}}
	for name, n := range map[string]**labNode{"A": &c.a, "B": &c.b, "C": &c.c, "D": &c.d} {
		if *n = l.node(name); *n == nil || (*n).bridge() {
			return nil, fmt.Errorf("a control loop needs hosts A, B, C and D: %s has no host %s", l.opt.lab, name)
		}
	}
	return c, nil
}

// answersErlang makes the daemons of A and B answer Erlang nodes, so that these
// can reserve.
func (l *lab) answersErlang(n *labNode, c *config.Daemon) error {
	if n.Name != "A" && n.Name != "B" {
		return nil
	}
	cookie := filepath.Join(l.opt.out, "keys", "cookie")
	if err := os.WriteFile(cookie, []byte("lab\n"), 0o600); err != nil {
		return err
	}
	at := netip.AddrPortFrom(n.Stream.Addr, controlPort)
	c.Erlang = config.Erlang{
		Name: switchOf(n), CookieFile: cookie, Distlink: config.AddrPort{AddrPort: at}, DistlinkSecurity: "none", Write: true,
	}
	return nil
}

func switchOf(n *labNode) string { return "tsnswitchd@" + n.Stream.Addr.String() }

// stepControl runs the loop under each load.
func (l *lab) stepControl(ctx context.Context, s *stepReport) error {
	c, err := l.controlNodes()
	if err != nil {
		return err
	}
	if err := c.startLoop(ctx, s); err != nil {
		return err
	}
	for _, h := range []*labNode{c.c, c.d} {
		conn, err := h.space.discard(ctx, netip.AddrPortFrom(h.Data.Addr, 9))
		if err != nil {
			return err
		}
		defer conn.Close()
	}
	for _, p := range controlPhases {
		if p.reserved {
			if err := c.reserve(ctx, s); err != nil {
				return err
			}
		}
		phase, err := c.phase(ctx, s, p.name, p.loaded)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		l.control = append(l.control, phase)
	}
	s.fact("phases", l.control)
	printControl(l.report.out, l.control)
	return errors.Join(judgeControl(l.control), c.giveBack(ctx, s))
}

// judgeControl: a reservation that helps leaves few of the deadlines that were
// missed without it. Nothing absolute: the machine has its part in each figure.
func judgeControl(p []*controlPhase) error {
	without, with := p[1].Figures, p[2].Figures
	if without.Missed == 0 {
		return errors.New("the flood made the loop miss nothing: there is nothing to see")
	}
	if 10*with.Missed <= without.Missed {
		return nil
	}
	for _, p := range p {
		if p.IdleCPU < cpuBound {
			return fmt.Errorf("this machine is too busy to tell: %s left %.0f %% of the processor idle, and missed %d deadlines of %d (VIRTUAL=1 measures the network alone)",
				p.Name, 100*p.IdleCPU, p.Figures.Missed, p.Figures.Periods)
		}
	}
	return fmt.Errorf("the flood made the loop miss %d deadlines of %d, with a reservation %d of %d: it helps too little", without.Missed, without.Periods, with.Missed, with.Periods)
}

// startLoop starts both nodes, on the VLAN of streams and best effort as yet, and
// the controller.
func (c *controlLab) startLoop(ctx context.Context, s *stepReport) (err error) {
	at := func(n *labNode) netip.Addr { return n.Stream.Addr }
	// A slow machine loses most frames of a flood: that is no dead peer yet.
	c.pair, err = c.startNodes(ctx, c.a, c.b, "loop", "loop", at, "-distlink_datagram", fmt.Sprint(reservedFrame-ipUDPOctets),
		"-distlink_keepalive", "10000", "-distlink_nodes", daemonAt(c.a), daemonAt(c.b))
	if err != nil {
		return err
	}
	if _, err := c.pair.a.eval(ctx, "ok = controller:start(), pong = net_adm:ping('%s')", c.pair.b.node); err != nil {
		return err
	}
	s.say("%s has the controller, %s the plant; a sample every %v", c.pair.a.node, c.pair.b.node, controlPeriod)
	return nil
}

func daemonAt(n *labNode) string {
	return fmt.Sprintf("%s=%s:%d", switchOf(n), n.Stream.Addr, controlPort)
}

// reserve has each node ask the tsnswitchd of its host for a stream to the other,
// starts a schedule with tsnctl, and finds when the plant's gate opens.
func (c *controlLab) reserve(ctx context.Context, s *stepReport) error {
	for _, way := range []struct {
		from, to   *beam
		host, peer *labNode
	}{{c.pair.b, c.pair.a, c.b, c.a}, {c.pair.a, c.pair.b, c.a, c.b}} {
		// The flood may have cost them their connection.
		if _, err := way.from.eval(ctx, "pong = net_adm:ping('%s')", way.to.node); err != nil {
			return err
		}
		_, err := way.from.eval(ctx, `{ok, _} = distlink:reserve('%s', #{rate => %d, frame => %d, latency => %d, talker => "%s", listener => "%s", switch => '%s'})`,
			way.to.node, reservedRate, reservedFrame, int64(controlPeriod/2), way.host.Name, way.peer.Name, switchOf(way.host))
		if err != nil {
			return err
		}
		s.say("%s reserved %d kbit/s to %s: a frame of %d octets every %v", way.from.node, reservedRate, way.to.node, reservedFrame, controlPeriod/2)
	}
	if err := c.apply(ctx, s, true); err != nil {
		return err
	}
	gate, err := openings(c.schedule, "B")
	if err != nil {
		return err
	}
	c.gate = gate
	s.say("the gate of B opens every %v", time.Duration(gate.cycle))
	return nil
}

// giveBack has both nodes release their streams; none is left at the bridges. A
// connection that was lost has given its own back.
func (c *controlLab) giveBack(ctx context.Context, s *stepReport) error {
	for _, way := range [][2]*beam{{c.pair.a, c.pair.b}, {c.pair.b, c.pair.a}} {
		if _, err := way[0].eval(ctx, "distlink:release('%s')", way[1].node); err != nil {
			return err
		}
	}
	return s.wait(ctx, "both streams to be given back", 30*time.Second, func(ctx context.Context) (string, bool, error) {
		left, err := c.kind(config.KindBridge)[0].client.ListStreams(ctx)
		return fmt.Sprintf("%d streams left", len(left)), err == nil && len(left) == 0, err
	})
}

// openings reads when the host's gate opens for its stream, and makes it a time
// of the system's clock: gates follow CLOCK_TAI.
func openings(sched *api.Schedule, host string) (g gatePhase, err error) {
	var real, tai unix.Timespec
	if err := errors.Join(unix.ClockGettime(unix.CLOCK_REALTIME, &real), unix.ClockGettime(unix.CLOCK_TAI, &tai)); err != nil {
		return g, err
	}
	ahead := time.Duration(tai.Nano() - real.Nano()).Round(time.Second)
	for _, p := range sched.Ports {
		for _, w := range p.Windows {
			if p.Node == host {
				return gatePhase{cycle: w.Period, open: sched.Base.NS + w.Start - int64(ahead)}, nil
			}
		}
	}
	return g, fmt.Errorf("the schedule has no window for %s", host)
}

// phase runs the loop once.
func (c *controlLab) phase(ctx context.Context, s *stepReport, name string, loaded bool) (*controlPhase, error) {
	p := &controlPhase{Name: name, LineRate: c.rate, Period: controlPeriod, Loaded: loaded}
	link := c.fabricLinks()[0]
	shared := octetCounter{end{c.node(link.B.Node).space, config.Ifname(link.B.Port)}}
	measure := func() (err error) {
		p.Loop, err = c.runLoop(ctx, s, name)
		return err
	}
	s.say("%s: for %v", name, c.opt.control)
	var err error
	if loaded {
		err = c.flooded(ctx, c.c, c.d, shared, &p.usage, measure)
	} else {
		err = c.metered(shared, &p.usage, measure)
	}
	p.Figures = p.Loop.figures(p.Period)
	return p, err
}

// runLoop has the plant run and says every ten seconds that it does.
func (c *controlLab) runLoop(ctx context.Context, s *stepReport, name string) (loopResult, error) {
	const every = 10 * time.Second
	type answer struct {
		lines []beamResult
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		lines, err := c.pair.b.eval(ctx, "plant:run('%s', %d, %d, {%d, %d, %d})", c.pair.a.node, controlPeriod.Milliseconds(), int(c.opt.control/controlPeriod),
			c.gate.cycle, c.gate.open, int64(controlLead))
		done <- answer{lines, err}
	}()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case <-tick.C:
			if c.opt.control > 3*every {
				s.say("%s: %.0f of %.0f s", name, time.Since(start).Seconds(), c.opt.control.Seconds())
			}
		case a := <-done:
			if a.err != nil {
				return loopResult{}, a.err
			}
			if len(a.lines) != 1 || len(a.lines[0].Latency) == 0 {
				return loopResult{}, fmt.Errorf("the plant printed %v", a.lines)
			}
			return a.lines[0].loopResult, nil
		}
	}
}
