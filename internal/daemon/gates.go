package daemon

import (
	"context"
	"errors"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
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
			if errors.Is(err, dataplane.ErrPending) {
				continue // the applier sets it again when that one has started
			}
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
	if e.Admin == nil && e.Shapers != [tsn.MaxTrafficClasses]dataplane.Shaper{} {
		d.applier.poke() // until now they did for the schedule before as well
	}
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
	out := &api.ScheduleState{StagedID: st.Staged, State: api.ScheduleNone, Clock: d.clockState(), Trial: d.trialView()}
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
		case st.Pending != "", d.held.Change != nil && !d.held.Change.Open() && !d.held.Change.done():
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
		case qbv.RefusedUnknownStage, qbv.RefusedNotSynced, qbv.RefusedBaseTime, qbv.RefusedAborted, qbv.RefusedTooLate:
			code = api.CodeWrongOrder
		case qbv.RefusedMalformed, qbv.RefusedUnknownPort, qbv.RefusedList:
			code = api.CodeBadRequest
		case qbv.RefusedByKernel:
			code = api.CodeInternal
		}
	}
	return api.Errorf(code, "%s: %w", node, err)
}
