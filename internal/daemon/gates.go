package daemon

import (
	"context"
	"errors"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
	"tsnswitch/qbv"
	"tsnswitch/spb"
)

// applied tells the control machine what became of its gates and of the
// bridge.
func (d *Daemon) applied(want node.Desired, r dataplane.Report, err error) {
	if errors.Is(err, dataplane.ErrNotSupported) {
		d.tellUnlocked()
	}
	for _, g := range want.Gates {
		answer := qbv.Applied{Port: g.Port, Generation: g.Generation}
		if err := portError(r, err, g.Port); err != nil {
			answer.Refused = err.Error()
		}
		d.control.post(answer)
	}
	if want.Forwarding != 0 {
		answer := spb.Applied{Generation: want.Forwarding}
		if !r.Bridge {
			answer.Err = err.Error()
		}
		d.control.post(answer)
	}
}

// tellUnlocked tells the control machine which ports have no ingress check,
// so that it asks for what the kernel can do.
func (d *Daemon) tellUnlocked() {
	var ports []tsn.Port
	for _, f := range d.kernel.Features() {
		if f.Name == dataplane.FeatureLocked && f.State == dataplane.FeatureMissing {
			ports = append(ports, f.Port)
		}
	}
	d.tellNeighbours(ports)
	if len(ports) > 0 {
		d.control.post(node.SetUnlocked{Ports: ports})
	}
}

// portError is what a Set's error means for one port: refusals concern the
// port they name, anything else concerns all.
func portError(r dataplane.Report, err error, port tsn.Port) error {
	if err == nil {
		return nil
	}
	if len(r.Refused) == 0 || len(r.Left) > 0 {
		return err
	}
	for _, refused := range r.Refused {
		var one interface{ OnPort() tsn.Port }
		if !errors.As(refused, &one) || one.OnPort() == port {
			return refused
		}
	}
	return nil
}

// readBack tells the control machine what the kernel runs on a port.
func (d *Daemon) readBack(port tsn.Port) {
	have, err := d.kernel.Read()
	if err != nil {
		d.log.Warn("gates not read back", "port", port, "err", err)
		return
	}
	e := have.EgressOf(port)
	if e == nil { // no interface, so no gate is closed there
		d.control.post(qbv.ReadBack{Port: port})
		return
	}
	oper, err1 := d.gateList(e.Oper)
	admin, err2 := d.gateList(e.Admin)
	if err1 != nil || err2 != nil {
		d.log.Warn("gates not read back", "port", port, "err", err1)
		return
	}
	d.control.post(qbv.ReadBack{Port: port, Oper: oper, Admin: admin})
}

// gateList converts a kernel's schedule to gPTP time; one that never closes a
// gate is none.
func (d *Daemon) gateList(s *dataplane.Schedule) (*tsn.GateControlList, error) {
	if s == nil || len(s.Entries) < 2 {
		return nil, nil
	}
	base, err := d.clock.fromGate(s.Base)
	if err != nil {
		return nil, err
	}
	return &tsn.GateControlList{BaseTime: base, CycleTime: s.Cycle, CycleTimeExtension: s.Extension, Entries: slices.Clone(s.Entries)}, nil
}

// StageSchedule implements api.Peer: lists for some ports, all gates open on
// the others.
func (d *Daemon) StageSchedule(ctx context.Context, id string, ports []api.PortGates) (*api.ScheduleState, error) {
	if d.cfg.Role == config.RoleClock {
		return nil, api.Errorf(api.CodeUnsupported, "%s is a clock: it has no gates", d.cfg.Name)
	}
	if err := d.clock.schedulable(); err != nil && closes(ports) {
		return nil, api.Errorf(api.CodeWrongOrder, "%s takes no schedule: %w", d.cfg.Name, err)
	}
	stage := qbv.Stage{ID: id}
	for _, p := range d.cfg.Ports {
		stage.Lists = append(stage.Lists, qbv.PortList{Port: p.Port})
	}
	for _, g := range ports {
		i := slices.IndexFunc(stage.Lists, func(l qbv.PortList) bool { return l.Port == g.Port })
		if i < 0 {
			return nil, api.Errorf(api.CodeNotFound, "%s has no port %d", d.cfg.Name, g.Port)
		}
		stage.Lists[i].List = g.Gates
	}
	err := d.ask(ctx, func(rid uint64) tsn.Event { stage.RequestID = rid; return stage })
	if err != nil {
		return nil, gateError(d.cfg.Name, err)
	}
	d.heldMu.Lock()
	d.staged = &heldSchedule{ID: id, Ports: ports}
	d.heldMu.Unlock()
	return d.ScheduleState(ctx)
}

// closes reports whether lists close a gate; those that only open gates need
// no common time.
func closes(ports []api.PortGates) bool {
	return slices.ContainsFunc(ports, func(p api.PortGates) bool { return p.Gates != nil })
}

// CommitSchedule implements api.Peer. The promise is on disk before the
// kernel is told.
func (d *Daemon) CommitSchedule(ctx context.Context, id string, base tsn.PTPTime) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	if d.staged == nil || d.staged.ID != id {
		return nil, api.Errorf(api.CodeWrongOrder, "%s has no schedule %s staged", d.cfg.Name, id)
	}
	if err := d.clock.schedulable(); err != nil && closes(d.staged.Ports) {
		return nil, api.Errorf(api.CodeWrongOrder, "%s commits no schedule: %w", d.cfg.Name, err)
	}
	before := d.held.Schedule
	next := *d.staged
	next.Base = base
	d.held.Schedule = &next
	if err := d.heldStore.save(d.held); err != nil {
		d.held.Schedule = before
		return nil, api.Errorf(api.CodeInternal, "%s: schedule %s was not committed: %w", d.cfg.Name, id, err)
	}
	err := d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Commit{RequestID: rid, ID: id, Base: base} })
	if err != nil {
		d.held.Schedule = before
		if serr := d.heldStore.save(d.held); serr != nil {
			d.log.Warn("state not put back", "err", serr)
		}
		return nil, gateError(d.cfg.Name, err)
	}
	d.staged, d.replaced = nil, before
	return d.scheduleState(ctx)
}

// AbortSchedule implements api.Peer; an unknown id is no error. One that was
// committed and has not started is taken back, from the kernel too.
func (d *Daemon) AbortSchedule(ctx context.Context, id string) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	err := d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Abort{RequestID: rid, ID: id} })
	switch h := d.held.Schedule; {
	case err != nil:
		d.log.Debug("abort", "id", id, "err", err)
	case d.staged != nil && d.staged.ID == id:
		d.staged = nil
	case h != nil && h.ID == id:
		d.held.Schedule, d.replaced = d.replaced, nil
		if err := d.heldStore.save(d.held); err != nil {
			d.log.Warn("state not saved", "err", err)
		}
		if err := d.applier.settle(ctx); err != nil {
			d.log.Warn("not all is taken back yet", "id", id, "err", err)
		}
	}
	return d.scheduleState(ctx)
}

// ScheduleState implements api.Peer.
func (d *Daemon) ScheduleState(ctx context.Context) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	return d.scheduleState(ctx)
}

// scheduleState needs the held lock.
func (d *Daemon) scheduleState(ctx context.Context) (*api.ScheduleState, error) {
	var st qbv.Status
	if err := d.control.call(ctx, func() { st = d.machine.QBV.Status() }); err != nil {
		return nil, err
	}
	out := &api.ScheduleState{StagedID: st.Staged, State: api.ScheduleNone}
	if st.Staged != "" {
		out.State = api.ScheduleStaged
	}
	differ := false
	for _, p := range st.Ports {
		s := api.PortSchedule{
			PathHop: api.PathHop{Hop: tsn.Hop{System: d.cfg.SystemID, Port: p.Port}, Node: d.cfg.Name, Ifname: ifnameOf(d.cfg, p.Port)},
			Admin:   p.Admin, Oper: p.Oper, ConfigPending: p.ConfigPending,
		}
		switch {
		case p.ConfigPending:
			s.Reason = "waiting for the base time (" + p.Phase + ")"
		case p.Admin.String() != p.Oper.String():
			s.Reason, differ = "the kernel runs other gates", true
		}
		out.Ports = append(out.Ports, s)
	}
	if h := d.held.Schedule; h != nil {
		out.RunningID, out.Base = h.ID, h.Base
		switch {
		case st.Pending != "":
			out.State = api.SchedulePending
		case !differ:
			out.State = api.ScheduleRunning
		}
	}
	return out, nil
}

func gateError(node string, err error) error {
	code := api.CodeInternal
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		code = api.CodeCanceled
	}
	if r := (*qbv.Refusal)(nil); errors.As(err, &r) {
		switch code = api.CodeRefused; r.Kind {
		case qbv.RefusedBusy:
			code = api.CodeConflict
		case qbv.RefusedUnknownStage, qbv.RefusedNotSynced, qbv.RefusedBaseTime, qbv.RefusedAborted:
			code = api.CodeWrongOrder
		case qbv.RefusedMalformed, qbv.RefusedUnknownPort, qbv.RefusedList:
			code = api.CodeBadRequest
		case qbv.RefusedByKernel:
			code = api.CodeInternal
		}
	}
	return api.Errorf(code, "%s: %w", node, err)
}
