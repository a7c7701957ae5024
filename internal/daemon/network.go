package daemon

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/qbv"
)

// networkRetry is when unfinished business is tried again, networkCheck when
// the network is looked at although nothing is known to have changed.
// After networkTries it is tried more seldom, until the topology changes: a
// system may be gone for good.
const (
	networkRetry = 500 * time.Millisecond
	networkTries = 20
	networkLater = 5 * time.Second
	networkCheck = 30 * time.Second
)

// networkChanged wakes keepNetwork.
func (d *Daemon) networkChanged() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// keepNetwork keeps what this node does for others fitting to the network:
// streams it owns stay on SPB's path, and a schedule it conducts is planned
// and started again when streams have moved.
func (d *Daemon) keepNetwork(ctx context.Context) {
	// What is known of the network before the kernel is released is not enough
	// to move anything.
	select {
	case <-d.applier.open:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(networkRetry) // an early look: the last run may have left something
	defer timer.Stop()
	first, tries := true, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.changed:
			tries = 0
		case <-timer.C:
		}
		unlock, err := d.lock(ctx)
		if err != nil {
			return
		}
		// A stream that cannot stand must not keep the others from their windows.
		streams := d.tendStreams(ctx, first)
		schedule := d.tendSchedule(ctx)
		demands := d.tendDemands(ctx)
		unlock()
		first = false
		tries++
		next := networkCheck
		if !streams || !schedule || !demands {
			if next = networkRetry; tries > networkTries {
				next = networkLater
			}
		}
		timer.Reset(next)
	}
}

// tendStreams says whether every stream stands and every system knows it.
func (d *Daemon) tendStreams(ctx context.Context, again bool) bool {
	if len(d.own.Owned) == 0 && len(d.own.Owed) == 0 {
		return true
	}
	for _, m := range d.keeper.reroute(ctx) {
		kind, detail := "stream-moved", fmt.Sprintf("%s %s: %d hops", m.Stream.ID, m.Stream.Name, len(m.To))
		if m.Err != nil {
			kind, detail = "stream-failed", fmt.Sprintf("%s %s: %v", m.Stream.ID, m.Stream.Name, m.Err)
		}
		d.log.Info(kind, "stream", m.Stream.ID, "detail", detail)
		d.events.add(kind, tsn.NoPort, detail)
	}
	if again || len(d.own.Owed) > 0 {
		d.keeper.resync(ctx, again)
	}
	return len(d.own.Owed) == 0 && !slices.ContainsFunc(d.own.Owned, func(o ownedStream) bool { return len(o.Path) == 0 })
}

// tendSchedule says whether the schedule fits the streams, after making it so.
func (d *Daemon) tendSchedule(ctx context.Context) bool {
	silent := d.tendSilent(ctx)
	if d.own.Conductor == nil {
		return silent
	}
	if d.own.Conductor.Open {
		return d.tendChange(ctx) && silent
	}
	streams, err := d.reservedStreams(ctx)
	if err != nil {
		d.log.Debug("schedule not looked at", "err", err)
		return false
	}
	if !d.conductor.stale(streams) {
		missing, err := d.conductor.missing(ctx)
		if err != nil || missing == "" {
			return err == nil && silent
		}
		d.log.Info("a system lost its part of the schedule", "node", missing)
	}
	// Owners move their streams at their own pace; a plan for half of the
	// move would be thrown away at once.
	for _, s := range streams {
		path, err := d.fabric.Path(ctx, s.Stream.VID, s.Stream.Talker, s.Stream.Listener)
		if err == nil && len(s.Path) > 0 && !slices.Equal(path, hopsOf(s.Path)) {
			return false
		}
	}
	c := d.own.Conductor
	_, err = d.conductor.apply(ctx, api.ApplyRequest{PlanRequest: api.PlanRequest{CycleTime: c.CycleTime}, LeadTime: c.LeadTime, Accept: true}, func(p api.Progress) {
		d.log.Info("schedule again", "node", p.Node, "step", p.Step, "text", p.Text)
	})
	if err != nil {
		d.log.Warn("schedule not renewed", "err", err)
		d.events.add("schedule-not-renewed", tsn.NoPort, err.Error())
		return false
	}
	d.events.add("schedule-renewed", tsn.NoPort, d.own.Conductor.Schedule.ID)
	return true
}

// tendChange says whether the change that this node conducts has ended. It
// confirms what no person was to confirm: the last run may not have come to it.
func (d *Daemon) tendChange(ctx context.Context) bool {
	c := d.own.Conductor
	done, err := d.conductor.settle(ctx)
	if err == nil && !done && c.Confirm == 0 {
		err = d.conductor.confirm(ctx, d.conductor.target(), func(string, string, string, ...any) {})
	}
	if err != nil {
		d.log.Debug("schedule not settled yet", "err", err)
	}
	if c == d.own.Conductor {
		return false
	}
	d.log.Info("the change of the schedule has ended", "schedule", c.Schedule.ID, "kept", d.own.Conductor != nil && d.own.Conductor.Schedule.ID == c.Schedule.ID)
	for _, s := range d.own.Silent {
		d.events.add("schedule-silent", tsn.NoPort, d.conductor.nameOf(ctx, s)+" has not said how the change to "+c.Schedule.ID+" ended")
	}
	d.networkChanged() // streams may have moved meanwhile
	return true
}

// tendSilent says whether every system has been heard since the last change.
func (d *Daemon) tendSilent(ctx context.Context) bool {
	return len(d.own.Silent) == 0 || len(d.conductor.listen(ctx)) == 0
}

// adopted is what the kernel did when this run began.
type adopted struct {
	forwarding bool // there are entries of an earlier run
	bridge     *tsn.BridgeState
	gated      bool // a schedule runs
}

// inFabric reports whether some port is in a VLAN of the fabric: a bridge that
// knows of no other still forwards between its edge ports.
func (d *Daemon) inFabric(ports []dataplane.BridgePort) bool {
	for _, p := range ports {
		for _, v := range p.VLANs {
			if slices.ContainsFunc(d.cfg.SPB.BaseVIDs, func(b config.BaseVID) bool { return b.VID == v.VID }) {
				return true
			}
		}
	}
	return false
}

// kernelInUse looks for the work of an earlier run.
func (d *Daemon) kernelInUse() (a adopted, err error) {
	have, err := d.kernel.Read()
	if err != nil {
		return a, fmt.Errorf("read the kernel: %w", err)
	}
	if d.loose() {
		a.forwarding = reservesInKernel(have)
	} else if a.forwarding = have.Bridge != nil && have.Bridge.Exists && (len(have.Bridge.FDB) > 0 || d.inFabric(have.Bridge.Ports)); a.forwarding {
		a.bridge = have.Bridge.Holds()
	}
	for _, e := range have.Egress {
		a.gated = a.gated || e.Oper != nil && len(e.Oper.Entries) > 1
	}
	return a, nil
}

// hold decides when the kernel may be touched for the first time. A fresh
// kernel at once; one that an earlier run left forwarding only when this run
// has learnt enough: it wants the same, or it has wanted something else for
// changeAfter, which a restart beside an unchanged fabric does not; in any
// case when holdLimit has passed.
func (d *Daemon) hold(ctx context.Context) {
	defer d.applier.release()
	gated := d.adopted.gated
	d.heldMu.Lock()
	pending := slices.Clone(d.held.Reservations)
	d.heldMu.Unlock()
	if !gated {
		d.forgetSchedule()
	}
	if !d.adopted.forwarding && !gated {
		d.applier.release()
		d.keepRestoring(ctx, pending)
		return
	}
	d.log.Info("adopting the kernel's state", "gated", gated)
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	limit := time.NewTimer(holdLimit)
	defer limit.Stop()
	var known time.Time // when all was known that the kernel shall be
	var changes []dataplane.Change
	for {
		pending = d.restore(ctx, pending)
		if gated && d.clock.schedulable() == nil {
			for _, p := range d.cfg.Ports {
				d.readBack(p.Port)
			}
			gated = false
		} else if want, _ := d.applier.state(); want != nil && len(pending) == 0 && !gated {
			left, err := d.kernel.Diff(want.State)
			if err == nil && len(left) == 0 {
				d.log.Info("adopted: the kernel is as desired")
				d.events.add("adopted", tsn.NoPort, "the kernel was left untouched")
				return
			}
			changes = left
			if known.IsZero() {
				known = time.Now()
			} else if time.Since(known) >= changeAfter {
				d.log.Info("the network is not as the last run left it", "changes", fmt.Sprint(changes))
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			d.log.Warn("the network is not as the last run left it; the kernel will be changed")
			if gated {
				d.keepGates()
			}
			return
		case <-look.C:
		}
	}
}

// keepGates takes the gates that were promised for those that run, although
// without gPTP time they cannot be compared: better gates that nobody can
// check than none.
func (d *Daemon) keepGates() {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	if d.held.Schedule == nil {
		return
	}
	for _, g := range d.held.Schedule.Ports {
		if g.Gates == nil {
			continue
		}
		list := *g.Gates
		list.BaseTime = d.held.Schedule.Base.Add(list.BaseTime.NS)
		d.control.post(qbv.ReadBack{Port: g.Port, Oper: &list})
	}
}

// forgetSchedule drops the promise of a schedule that no kernel runs any more:
// the machine was restarted. Whoever conducts it notices and starts it again.
func (d *Daemon) forgetSchedule() {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	if d.held.Schedule == nil {
		return
	}
	gates := slices.ContainsFunc(d.held.Schedule.Ports, func(p api.PortGates) bool { return p.Gates != nil })
	if !gates {
		return
	}
	d.log.Warn("the kernel lost its gates", "schedule", d.held.Schedule.ID)
	d.held.Schedule = nil
	d.tellStreamGates()
	if err := d.heldStore.save(d.held); err != nil {
		d.log.Warn("state not saved", "err", err)
	}
}

// keepRestoring puts back what others held here, as links come up; after
// holdLimit it is left to the owners, who have noticed that this node was away.
func (d *Daemon) keepRestoring(ctx context.Context, pending []api.Reservations) {
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	limit := time.NewTimer(holdLimit)
	defer limit.Stop()
	for {
		if pending = d.restore(ctx, pending); len(pending) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-limit.C:
			for _, p := range pending {
				d.log.Warn("reservations not restored", "owner", p.Owner, "streams", len(p.Reservations))
			}
			return
		case <-look.C:
		}
	}
}

// restore gives the reservation table what others hold here, as far as links
// are up; what is refused is returned.
func (d *Daemon) restore(ctx context.Context, pending []api.Reservations) []api.Reservations {
	var left []api.Reservations
	for _, p := range pending {
		err := d.putReservations(ctx, p)
		if api.ErrorCode(err) == api.CodeConflict {
			continue // its owner has sent a newer set since
		}
		if err != nil {
			d.log.Debug("reservation not restored yet", "owner", p.Owner, "err", err)
			left = append(left, p)
		}
	}
	return left
}

// tellTime keeps the control machine's idea of gPTP time fresh.
func (d *Daemon) tellTime(ctx context.Context) {
	if d.cfg.Role == config.RoleClock {
		return // nothing there goes by it
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			d.tellControl()
		}
	}
}

func (d *Daemon) tellControl() {
	g, err := d.clock.gate()
	if err != nil {
		return
	}
	d.control.post(qbv.Clock{
		Now: g.PTP, Synced: d.clock.last.Load().Synced, Exceeded: g.Check(d.clock.bound, scheduleHorizon) != nil,
	})
}

// scheduleTime is gPTP time if a schedule may be based on it.
func (d *Daemon) scheduleTime(context.Context) (tsn.PTPTime, error) {
	if err := d.clock.schedulable(); err != nil {
		return tsn.PTPTime{}, err
	}
	return d.clock.now()
}
