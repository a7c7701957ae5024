package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
	"tsnswitch/internal/link"
	"tsnswitch/internal/nodeconfig"
)

// clockwork joins the node's LocalClock, what gPTP measured of it, and the
// clock that gates run on. It is read from many goroutines.
type clockwork struct {
	kind    string
	own     gptp.ClockIdentity
	clock   link.Clock
	steered steerable // what others may adjust and we may steer; nil: neither
	steer   bool
	bound   int64 // ns that gPTP and the gate clock may differ by
	last    atomic.Pointer[gptp.RelationChanged]
	kick    chan struct{} // last is news

	// Of the goroutine that steers.
	followed bool      // another grand master's time has been known
	again    time.Time // when a steering that was refused is tried again

	mu        sync.Mutex
	refused   error     // why the clock is not steered
	disturbed time.Time // when others were last seen to adjust it
}

// steerable is a clock of the kernel's, such as link.Steered.
type steerable interface {
	Watch() (changed bool, err error)
	Steer(tsn.ClockRelation) (phase int64, err error)
	SetTAIOffset(ns int64) error
	Gate() (link.GateMap, error)
	Others() link.Others
}

// scheduleHorizon is for how long, in ns, a new schedule must stay within the
// bound if neither clock changes its rate.
const scheduleHorizon = 10_000_000_000

const (
	steerInterval   = 500 * time.Millisecond
	steerRetry      = 10 * time.Second // after a refusal
	disturbedRecent = time.Minute      // how long status tells of others' adjustments
)

// openClock makes the clock that the configuration names.
func openClock(c *config.Daemon) (*clockwork, error) {
	k := c.GPTP.Clock
	w := &clockwork{
		kind: k.Kind, own: gptp.ClockIdentityFromMAC(c.SystemID), steer: k.Steer,
		bound: int64(c.GPTP.GateOffsetBound), kick: make(chan struct{}, 1),
	}
	var err error
	switch {
	case k.Kind == "virtual":
		w.clock, err = virtualClock(k)
	case k.Kind == "system" && !k.Steer: // as it is, whoever else steers it
		w.clock, err = link.NewVirtual(0, 0, 0)
	case k.Kind == "system":
		var s *link.Steered
		if s, err = link.NewSystemClock(); err == nil {
			w.clock, w.steered = s, s
		}
	case k.Kind == "phc":
		var p *link.PHC
		if p, err = link.OpenPHC(c.Ports[0].Ifname); err == nil {
			w.clock, w.steered = p, p.Steered
		}
	default:
		err = fmt.Errorf("clock kind %q is not known", k.Kind)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

func virtualClock(k config.Clock) (*link.Virtual, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &now); err != nil {
		return nil, fmt.Errorf("read CLOCK_TAI: %w", err)
	}
	v, err := link.NewVirtual(now.Nano(), int64(k.PPM*1000), int64(k.Offset))
	if err == nil {
		v.Drift(k.Drift * 1000)
	}
	return v, err
}

// source is the time that this node gives as grand master: what its clock
// reads, however others adjust it. The identity is that of a virtual clock.
func (w *clockwork) source() (tsn.ClockRelation, error) {
	if w.steered == nil {
		return tsn.ClockRelation{}, nil
	}
	m, err := w.steered.Gate()
	return tsn.ClockRelation{Local: m.Local, PTP: tsn.PTPTime{NS: m.Gate}, RatePPB: m.RatePPB}, err
}

// utcOffset is what the node's own time is ahead of UTC, s; 0 if that is not
// known, or the time is one of its own.
func (w *clockwork) utcOffset(c config.Clock) (int16, error) {
	if c.Kind == "phc" || c.Offset != 0 || c.PPM != 0 || c.Drift != 0 {
		return 0, nil
	}
	ns, err := link.TAIOffset()
	return int16(ns / 1_000_000_000), err
}

// tell completes gPTP's configuration with what is known of the clock.
func (w *clockwork) tell(g *gptp.Config, c *config.Daemon) (err error) {
	if g.Source, err = w.source(); err != nil {
		return err
	}
	for _, p := range c.Ports {
		if p.NeighborPropDelayThresh == 0 && link.StampingOf(p.Ifname, w.clock).Hardware {
			i := slices.IndexFunc(g.Ports, func(x gptp.PortConfig) bool { return x.Port == p.Port })
			g.Ports[i].NeighborPropDelayThresh = nodeconfig.HardwareThresh
		}
	}
	utc, err := w.utcOffset(c.GPTP.Clock)
	for i := range g.Domains {
		g.Domains[i].CurrentUtcOffset, g.Domains[i].CurrentUtcOffsetValid = utc, utc != 0
	}
	return err
}

var errNoTime = errors.New("gPTP has no time yet")

// gate is the relation of gPTP time and the gate clock now.
func (w *clockwork) gate() (link.GateRelation, error) {
	r := w.last.Load()
	if r == nil {
		return link.GateRelation{}, errNoTime
	}
	m, err := w.clock.Gate()
	if err != nil {
		return link.GateRelation{}, err
	}
	return link.RelateGate(r.Relation, m), nil
}

// now is gPTP time, whether or not it is good for a schedule.
func (w *clockwork) now() (tsn.PTPTime, error) {
	g, err := w.gate()
	return g.PTP, err
}

// schedulable says why no schedule can be based on this node's time, or nil.
func (w *clockwork) schedulable() error {
	g, err := w.gate()
	if err != nil {
		return err
	}
	if err := w.synced(); err != nil {
		return err
	}
	return g.Check(w.bound, scheduleHorizon)
}

// synced says why this node's time is nobody's, or nil.
func (w *clockwork) synced() error {
	switch r := w.last.Load(); {
	case r == nil:
		return errNoTime
	case !r.Synced && r.GrandMaster == w.own:
		return errors.New("gPTP is not synchronized: there is no grand master, and this node may not be one")
	case !r.Synced:
		return fmt.Errorf("gPTP is not synchronized to grand master %s", r.GrandMaster)
	}
	return nil
}

// toGateOf converts base times for the data plane. Every port runs on the same
// gate clock: one whose device has a PTP clock of its own is refused.
func (w *clockwork) toGateOf(c *config.Daemon) func(tsn.Port, tsn.PTPTime) (int64, error) {
	full := map[tsn.Port]string{}
	for _, p := range c.Ports {
		if c.OffloadOf(p) == config.OffloadFull {
			full[p.Port] = p.Ifname
		}
	}
	return func(port tsn.Port, p tsn.PTPTime) (int64, error) {
		if ifname, ok := full[port]; ok {
			if err := w.runs(ifname); err != nil {
				return 0, err
			}
		}
		return w.toGate(p)
	}
}

// runs refuses an interface whose gates go by another PTP clock than gPTP's.
func (w *clockwork) runs(ifname string) error {
	own, ok := w.clock.(*link.PHC)
	if !ok {
		return fmt.Errorf("the gates of %s go by its PTP clock, which gPTP does not follow", ifname)
	}
	index, err := link.PHCIndex(ifname)
	if err == nil && index != own.Index() {
		err = fmt.Errorf("the gates of %s go by /dev/ptp%d, gPTP follows %s", ifname, index, own.Device)
	}
	return err
}

func (w *clockwork) toGate(p tsn.PTPTime) (int64, error) {
	g, err := w.gate()
	if err != nil {
		return 0, err
	}
	return g.PTPToGate(p), nil
}

// fromGate is the inverse, for what is read back.
func (w *clockwork) fromGate(t int64) (tsn.PTPTime, error) {
	g, err := w.gate()
	if err != nil {
		return tsn.PTPTime{}, err
	}
	return g.GateToPTP(t), nil
}

// relation takes what gPTP measured, and reports whether it is news: more than
// that both clocks go on.
func (w *clockwork) relation(r gptp.RelationChanged) (news bool) {
	before := w.last.Swap(&r)
	news = before == nil || before.Synced != r.Synced || before.GrandMaster != r.GrandMaster
	if news {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	}
	return news
}

// steerClock steers the kernel's clock if the configuration says so, and tells
// gPTP when others adjust it. It is a goroutine of its own: a clock is adjusted
// regularly whatever comes in, and no Pdelay_Req waits for it.
func (d *Daemon) steerClock(ctx context.Context) {
	w := d.clock
	if w.steered == nil {
		return
	}
	tick := time.NewTicker(steerInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-w.kick:
		}
		if src := w.watch(time.Now(), d.log); src != nil {
			d.timing.post(*src)
			d.applier.poke()
		}
		if phase := w.follow(time.Now(), d.log); max(phase, -phase) > link.LaterStepAbove {
			d.applier.poke() // the clock was stepped, and gates may stand still
		}
	}
}

// watch returns what gPTP must be told if others have adjusted the clock.
func (w *clockwork) watch(now time.Time, log *slog.Logger) *gptp.SetSource {
	changed, err := w.steered.Watch()
	if err != nil {
		log.Debug("clock not watched", "err", err)
	}
	if !changed {
		return nil
	}
	w.mu.Lock()
	w.disturbed = now
	w.mu.Unlock()
	src, err := w.source()
	if err != nil {
		return nil
	}
	return &gptp.SetSource{Relation: src}
}

// follow makes one correction, if there is a time to follow. A node that is
// grand master and has never followed another gives the time of its clock, and
// leaves that alone; one that took over goes on with the time it had.
func (w *clockwork) follow(now time.Time, log *slog.Logger) (phase int64) {
	r := w.last.Load()
	if r == nil || !w.steer {
		return 0
	}
	own := r.GrandMaster == w.own
	w.followed = w.followed || r.Synced && !own
	if !w.followed || !r.Synced && !own || now.Before(w.again) {
		return 0
	}
	var err error
	if w.kind == "system" && r.UtcOffset != 0 && !own {
		err = w.steered.SetTAIOffset(int64(r.UtcOffset) * 1_000_000_000)
	}
	if err == nil {
		phase, err = w.steered.Steer(r.Relation)
	}
	if err != nil {
		w.again = now.Add(steerRetry)
	}
	w.note(err, log)
	return phase
}

// note keeps why the clock is not steered, and logs it when that changes.
func (w *clockwork) note(err error, log *slog.Logger) {
	w.mu.Lock()
	before := w.refused
	w.refused = err
	w.mu.Unlock()
	switch {
	case err != nil && before == nil:
		log.Warn("clock not steered; trying again now and then", "err", err)
	case err == nil && before != nil:
		log.Info("clock is steered")
	}
}

// isSteered reports whether the clock is made to follow gPTP.
func (w *clockwork) isSteered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.steer && w.refused == nil
}

// trouble says in sentences what keeps the clock from its course.
func (w *clockwork) trouble() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	if w.refused != nil {
		out = append(out, fmt.Sprintf("the %s clock is not steered: %v", w.kind, w.refused))
	}
	if w.steer && !w.disturbed.IsZero() && time.Since(w.disturbed) < disturbedRecent {
		o := w.steered.Others()
		out = append(out, fmt.Sprintf("another program adjusts the %s clock: %d steps, %d changes of rate", w.kind, o.Steps, o.Rates))
	}
	return out
}
