package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/config"
	"tsnswitch/internal/link"
)

// clockwork joins the node's LocalClock, what gPTP measured of it, and the
// clock that gates run on. It is read from many goroutines.
type clockwork struct {
	kind    string
	clock   link.Clock
	steered *link.Steered // nil: nothing is steered
	bound   int64         // ns that gPTP and the gate clock may differ by
	last    atomic.Pointer[gptp.RelationChanged]
}

// scheduleHorizon is for how long, in ns, a new schedule must stay within the
// bound if neither clock changes its rate.
const scheduleHorizon = 10_000_000_000

// openClock makes the clock that the configuration names.
func openClock(c config.GPTP, ports []config.Port) (*clockwork, error) {
	w := &clockwork{kind: c.Clock.Kind, bound: int64(c.GateOffsetBound)}
	switch c.Clock.Kind {
	case "virtual":
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_TAI, &now); err != nil {
			return nil, fmt.Errorf("read CLOCK_TAI: %w", err)
		}
		v, err := link.NewVirtual(now.Nano(), int64(c.Clock.PPM*1000), int64(c.Clock.Offset))
		if err != nil {
			return nil, err
		}
		w.clock = v
	case "system":
		s, err := link.NewSystemClock(0)
		if err != nil {
			return nil, err
		}
		w.clock = s
		if c.Clock.Steer {
			w.steered = s
		}
	case "phc":
		p, err := link.OpenPHC(ports[0].Ifname, 0)
		if err != nil {
			return nil, err
		}
		w.clock = p
		if c.Clock.Steer {
			w.steered = p.Steered
		}
	default:
		return nil, fmt.Errorf("clock kind %q is not known", c.Clock.Kind)
	}
	return w, nil
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
	case !r.Synced:
		return fmt.Errorf("gPTP is not synchronized to grand master %s", r.GrandMaster)
	}
	return nil
}

// toGate converts a base time for the data plane. In this version every port
// runs on the same gate clock.
func (w *clockwork) toGate(_ tsn.Port, p tsn.PTPTime) (int64, error) {
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

// relation takes what gPTP measured; it steers the kernel's clock only if the
// configuration says so.
func (w *clockwork) relation(r gptp.RelationChanged, log *slog.Logger) {
	w.last.Store(&r)
	if w.steered == nil || w.synced() != nil {
		return
	}
	if _, err := w.steered.Steer(r.Relation); err != nil {
		log.Warn("clock not steered", "err", err)
	}
}
