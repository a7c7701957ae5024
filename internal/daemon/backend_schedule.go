package daemon

import (
	"context"
	"slices"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
)

// PlanSchedule implements api.Switch.
func (d *Daemon) PlanSchedule(ctx context.Context, r api.PlanRequest) (*api.Schedule, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.PlanSchedule(ctx, r)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	p, err := d.conductor.compute(ctx, r, func(string, string, string, ...any) {})
	if err != nil {
		return nil, err
	}
	return p.result, nil
}

// ApplySchedule implements api.Switch; the daemon that is asked conducts the
// schedule from then on.
func (d *Daemon) ApplySchedule(ctx context.Context, r api.ApplyRequest, progress func(api.Progress)) (*api.Schedule, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.ApplySchedule(ctx, r, progress)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := d.conductor.apply(ctx, r, progress)
	if err == nil {
		d.events.add("schedule-applied", tsn.NoPort, s.ID)
	}
	return s, err
}

// ConfirmSchedule implements api.Switch.
func (d *Daemon) ConfirmSchedule(ctx context.Context, progress func(api.Progress)) (*api.Schedule, error) {
	return d.decide(ctx, api.Switch.ConfirmSchedule, d.conductor.confirm, progress)
}

// RollBackSchedule implements api.Switch.
func (d *Daemon) RollBackSchedule(ctx context.Context, progress func(api.Progress)) (*api.Schedule, error) {
	return d.decide(ctx, api.Switch.RollBackSchedule, d.conductor.rollBack, progress)
}

// decide confirms or rolls back the change that this node takes part in or
// conducts, or has its conductor do it.
func (d *Daemon) decide(
	ctx context.Context, there func(api.Switch, context.Context, func(api.Progress)) (*api.Schedule, error),
	here func(context.Context, target, telling) error, progress func(api.Progress),
) (*api.Schedule, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return there(gw, ctx, progress)
	}
	unlock, err := d.lock(ctx)
	if err != nil {
		return nil, err
	}
	t, ok := d.openChange()
	if ok {
		err = here(ctx, t, tellTo(progress))
	}
	unlock()
	switch {
	case err != nil:
		return nil, err
	case ok:
		return d.ShowSchedule(ctx)
	case !fromPeer(ctx):
		for _, name := range d.conductors(ctx) {
			if sw, err := d.fabric.remote(ctx, name); err == nil && name != d.cfg.Name {
				if s, err := timed(ctx, sw.ShowSchedule); err == nil && s.Trial.Open() {
					return there(sw, ctx, progress)
				}
			}
		}
	}
	return nil, api.Errorf(api.CodeWrongOrder, "no schedule waits to be confirmed or rolled back")
}

// openChange is the change that may yet be rolled back; it needs the
// operations lock.
func (d *Daemon) openChange() (target, bool) {
	d.heldMu.Lock()
	c := d.held.Change
	d.heldMu.Unlock()
	if m := d.own.Conductor; m != nil && m.Open && (c == nil || !c.Open() || c.ID == m.Schedule.ID) {
		return d.conductor.target(), true
	}
	if c == nil || !c.Open() {
		return target{}, false
	}
	t := target{id: c.ID, systems: c.Systems, base: c.Base, keepBy: c.KeepBy, revertAt: c.RevertAt, cycle: 1}
	for _, p := range c.New.Ports {
		if p.Gates != nil {
			t.cycle = max(t.cycle, p.Gates.CycleTime)
		}
	}
	return t, true
}

// ShowSchedule implements api.Switch: the network's schedule, wherever it is
// conducted, with what the ports of this node run.
func (d *Daemon) ShowSchedule(ctx context.Context) (*api.Schedule, error) {
	st, err := d.ScheduleState(ctx)
	if err != nil {
		return nil, err
	}
	s := d.runningSchedule(ctx)
	if s == nil {
		s = &api.Schedule{ID: st.RunningID, State: st.State, Base: st.Base, Ports: st.Ports}
	}
	switch {
	case st.Trial != nil && st.Trial.ID == s.ID:
		s.Trial = st.Trial
	case d.view.Load().conducted != nil && s.Trial == nil:
		s.Trial = d.conductor.trialOf(ctx, s)
	}
	for _, x := range d.view.Load().silent {
		s.Silent = append(s.Silent, d.conductor.nameOf(ctx, x))
	}
	return s, nil
}

// runningSchedule finds the schedule that this node takes part in, or that it
// conducts without; nil if there is none or its conductor does not answer.
func (d *Daemon) runningSchedule(ctx context.Context) *api.Schedule {
	if s := d.view.Load().conducted; s != nil {
		out := *s
		out.State = d.scheduleStateOf(ctx, &out)
		return &out
	}
	for _, conductor := range d.conductors(ctx) {
		if conductor == d.cfg.Name || fromPeer(ctx) {
			continue
		}
		if sw, err := d.fabric.remote(ctx, conductor); err == nil {
			if s, err := timed(ctx, sw.ShowSchedule); err == nil && s.ID != "" {
				return s
			}
		}
	}
	return nil
}

// conductors names who may conduct: from the id of the schedule this node
// runs, or, if it runs none, every bridge.
func (d *Daemon) conductors(ctx context.Context) []string {
	d.heldMu.Lock()
	held := d.held.Schedule
	d.heldMu.Unlock()
	if held != nil {
		name, _, _ := strings.Cut(held.ID, "/")
		return []string{name}
	}
	members, err := d.fabric.members(ctx)
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range members {
		if !m.station && m.reachable {
			out = append(out, m.name)
		}
	}
	return out
}

// scheduleStateOf asks this node's own part; a conductor without one trusts
// what it saw when it applied the schedule.
func (d *Daemon) scheduleStateOf(ctx context.Context, s *api.Schedule) string {
	if !slices.ContainsFunc(s.Ports, func(p api.PortSchedule) bool { return p.System == d.cfg.SystemID }) {
		return api.ScheduleRunning
	}
	if st, err := d.ScheduleState(ctx); err == nil && st.RunningID == s.ID {
		return st.State
	}
	return s.State
}
