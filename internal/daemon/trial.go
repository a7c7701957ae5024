package daemon

import (
	"context"
	"slices"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/qbv"
)

// This system's part in a change of the whole network's gates. What decides is
// qbv.Trial; here its record goes to disk before anybody hears of it, the
// lists go to the control machine, and the others are asked.

// heldChange is the last change of the schedule and how far it is.
type heldChange struct {
	qbv.Trial
	New heldSchedule `json:"new"`
	// Old is what all systems go back to if it is not kept, Before what ran
	// here when it was staged: a system that was away may have run something else.
	Old    heldSchedule  `json:"old"`
	Before *heldSchedule `json:"before,omitempty"`
}

// pastChange is how an older change ended, for a system that was away.
type pastChange struct {
	ID    string         `json:"id"`
	Phase qbv.TrialPhase `json:"phase"`
}

// maxPast bounds what is remembered of older changes.
const maxPast = 16

// trialRetry is when a trial is looked at again that cannot go on.
const trialRetry = 500 * time.Millisecond

// done reports whether the change has ended and nothing is left to do.
func (c *heldChange) done() bool {
	return !c.Open() && (c.Restored || c.Phase == qbv.TrialConfirmed)
}

// forgetStage drops what was staged when the last run ended: its lists are
// not checked any more, and its conductor shall be told so.
func (m *heldMemory) forgetStage() {
	if c := m.Change; c != nil && c.Phase == qbv.TrialStaged {
		m.Change = c.with(c.Restore())
	}
}

// with returns a copy of c with another Trial.
func (c heldChange) with(t qbv.Trial) *heldChange {
	c.Trial = t
	return &c
}

// StageSchedule implements api.Peer: lists for some ports, all gates open on
// the others.
func (d *Daemon) StageSchedule(ctx context.Context, r api.StageRequest) (*api.ScheduleState, error) {
	if d.cfg.Role == config.RoleClock {
		return nil, api.Errorf(api.CodeUnsupported, "%s is a clock: it has no gates", d.cfg.Name)
	}
	if err := d.clock.schedulable(); err != nil && closes(r.Ports) {
		return nil, api.Errorf(api.CodeWrongOrder, "%s takes no schedule: %w", d.cfg.Name, err)
	}
	next := &heldChange{
		Trial: qbv.Trial{
			ID: r.ID, Systems: r.Systems, StartBy: r.StartBy, Base: r.Base, KeepBy: r.KeepBy, RevertAt: r.RevertAt, Phase: qbv.TrialStaged,
		},
		New: heldSchedule{ID: r.ID, Base: r.Base, Ports: r.Ports},
		Old: heldSchedule{ID: r.OldID, Ports: r.Old},
	}
	if err := next.Validate(d.cfg.SystemID); err != nil {
		return nil, gateError(d.cfg.Name, err)
	}
	lists, err := d.lists(r.Ports)
	if err != nil {
		return nil, err
	}
	if _, err := d.lists(r.Old); err != nil {
		return nil, err
	}
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	switch c := d.held.Change; {
	case c == nil || c.Phase == qbv.TrialStaged || c.done():
	case c.Open():
		return nil, api.Errorf(api.CodeConflict, "%s: schedule %s is not confirmed: confirm it or roll it back first", d.cfg.Name, c.ID)
	default:
		return nil, api.Errorf(api.CodeConflict, "%s: schedule %s was %s, and the kernel has not taken what ran before", d.cfg.Name, c.ID, c.Phase)
	}
	err = d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Stage{RequestID: rid, ID: r.ID, Lists: lists} })
	if err != nil {
		return nil, gateError(d.cfg.Name, err)
	}
	next.Before = d.held.Schedule
	before, past := d.held.Change, d.held.Past
	d.remember(next)
	if err := d.heldStore.save(d.held); err != nil {
		d.held.Change, d.held.Past = before, past
		_ = d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Abort{RequestID: rid, ID: r.ID} })
		return nil, api.Errorf(api.CodeInternal, "%s: schedule %s was not staged: %w", d.cfg.Name, r.ID, err)
	}
	d.trialChanged()
	return d.scheduleState(ctx)
}

// remember makes next the change that is in progress.
func (d *Daemon) remember(next *heldChange) {
	if c := d.held.Change; c != nil && c.ID != next.ID {
		past := append(slices.Clone(d.held.Past), pastChange{c.ID, c.Phase})
		d.held.Past = past[max(len(past)-maxPast, 0):]
	}
	d.held.Change = next
}

// lists are those of every port of this node; the ports that are not given
// open their gates.
func (d *Daemon) lists(ports []api.PortGates) ([]qbv.PortList, error) {
	var out []qbv.PortList
	for _, p := range d.cfg.Ports {
		out = append(out, qbv.PortList{Port: p.Port})
	}
	for _, g := range ports {
		i := slices.IndexFunc(out, func(l qbv.PortList) bool { return l.Port == g.Port })
		if i < 0 {
			return nil, api.Errorf(api.CodeNotFound, "%s has no port %d", d.cfg.Name, g.Port)
		}
		if g.Gates != nil && d.cfg.OffloadOf(d.cfg.Ports[i]) == config.OffloadUngated {
			return nil, api.Errorf(api.CodeRefused, "%s: port %d is configured to be ungated (offload)", d.cfg.Name, g.Port)
		}
		out[i].List = g.Gates
	}
	return out, nil
}

// closes reports whether lists close a gate; those that only open gates need
// no common time.
func closes(ports []api.PortGates) bool {
	return slices.ContainsFunc(ports, func(p api.PortGates) bool { return p.Gates != nil })
}

// change is the change of that id; it needs the held lock.
func (d *Daemon) change(id string) *heldChange {
	if c := d.held.Change; c != nil && c.ID == id {
		return c
	}
	return nil
}

// voteTime is gPTP time for a vote to start. Who only opens gates votes in time
// even without one.
func (d *Daemon) voteTime(c *heldChange) (tsn.PTPTime, error) {
	now, err := d.clock.now()
	if err != nil && !closes(c.New.Ports) {
		return c.StartBy.Add(-1), nil
	}
	return now, err
}

// putChange makes next the state of the change and keeps it on disk, or
// changes nothing. It needs the held lock.
func (d *Daemon) putChange(next *heldChange) error {
	before := d.held
	d.held.Change = next
	switch {
	case next.Takes():
		if !before.Change.Takes() { // else a kernel may have lost it since
			d.held.Schedule = &next.New
		}
	case next.Phase != qbv.TrialStaged:
		d.held.Schedule = next.restored()
	}
	if err := d.heldStore.save(d.held); err != nil {
		d.held = before
		return api.Errorf(api.CodeInternal, "%s: schedule %s stays as it was: %w", d.cfg.Name, next.ID, err)
	}
	d.trialChanged()
	return nil
}

// restored is what runs here after the change came to nothing; nil is all gates open.
func (c *heldChange) restored() *heldSchedule {
	if c.Phase == qbv.TrialDropped {
		return c.Before
	}
	if c.Old.ID == "" {
		return nil
	}
	old := c.Old
	old.Base = c.RevertAt
	return &old
}

// CommitSchedule implements api.Peer. The vote is on disk before the kernel is
// told.
func (d *Daemon) CommitSchedule(ctx context.Context, id string) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	c := d.change(id)
	switch {
	case c == nil || c.Phase == qbv.TrialDropped:
		return nil, api.Errorf(api.CodeWrongOrder, "%s has no schedule %s staged", d.cfg.Name, id)
	case c.Takes():
		return d.scheduleState(ctx)
	}
	if err := d.clock.schedulable(); err != nil && closes(c.New.Ports) {
		return nil, api.Errorf(api.CodeWrongOrder, "%s commits no schedule: %w", d.cfg.Name, err)
	}
	now, err := d.voteTime(c)
	if err != nil {
		return nil, api.Errorf(api.CodeWrongOrder, "%s: %w", d.cfg.Name, err)
	}
	t, err := c.Commit(now)
	if err != nil {
		return nil, gateError(d.cfg.Name, err)
	}
	if err := d.putChange(c.with(t)); err != nil {
		return nil, err
	}
	err = d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Commit{RequestID: rid, ID: id, Base: c.Base} })
	if err != nil { // the machine has put back what it changed
		d.goBack(ctx, c.with(c.Restore()))
		if now, terr := d.clock.now(); terr == nil && now.NS >= c.StartBy.NS {
			return nil, api.Errorf(api.CodeWrongOrder, "%s: the kernel did not take it before its base time: %w", d.cfg.Name, err)
		}
		return nil, gateError(d.cfg.Name, err)
	}
	return d.scheduleState(ctx)
}

// AbortSchedule implements api.Peer; an unknown id is no error. What was
// committed is taken back while votes to start are taken.
func (d *Daemon) AbortSchedule(ctx context.Context, id string) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	c := d.change(id)
	if c == nil || !c.Open() {
		return d.scheduleState(ctx)
	}
	now, err := d.voteTime(c)
	if err != nil && c.Phase != qbv.TrialStaged {
		return nil, api.Errorf(api.CodeWrongOrder, "%s: %w", d.cfg.Name, err)
	}
	t, err := c.Abort(now)
	if err != nil {
		return nil, gateError(d.cfg.Name, err)
	}
	d.goBack(ctx, c.with(t))
	return d.scheduleState(ctx)
}

// goBack puts a change that came to nothing on disk, and what ran before into
// the kernel. If the disk is full it goes back all the same, and a restart
// comes to the same end again. What the kernel refuses is tried again
// (tendTrial). It needs the held lock.
func (d *Daemon) goBack(ctx context.Context, next *heldChange) {
	if next.Phase != d.held.Change.Phase { // else it has been tried
		if err := d.putChange(next); err != nil {
			d.log.Warn("state not saved", "err", err)
			d.held.Change, d.held.Schedule = next, next.restored()
		}
	}
	if next.Restored { // it was staged only
		_ = d.ask(ctx, func(rid uint64) tsn.Event { return qbv.Abort{RequestID: rid, ID: next.ID} })
		return
	}
	old := next.restored()
	if old == nil {
		old = &heldSchedule{}
	}
	lists, err := d.lists(old.Ports)
	if err == nil {
		base := next.RestoreAt(old.Base)
		err = d.ask(ctx, func(rid uint64) tsn.Event {
			return qbv.Restore{RequestID: rid, ID: old.ID, Lists: lists, Base: base}
		})
	}
	if err != nil {
		d.log.Warn("the gates of before are not back yet", "schedule", old.ID, "err", err)
		return
	}
	d.log.Info("the gates go back", "from", next.ID, "to", old.ID, "phase", next.Phase)
	d.events.add("schedule-"+string(next.Phase), tsn.NoPort, next.ID)
	t := next.Trial
	t.Restored = true
	if err := d.putChange(next.with(t)); err != nil {
		d.log.Warn("state not saved", "err", err)
		d.held.Change = next.with(t)
	}
	d.networkChanged()
}

// TrialSchedule implements api.Peer.
func (d *Daemon) TrialSchedule(ctx context.Context, r api.TrialRequest) (*api.ScheduleState, error) {
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	c := d.change(r.ID)
	if c == nil {
		return d.pastTrial(r)
	}
	now, err := d.clock.now()
	if err != nil && r.Step != api.TrialStarted && r.Step != api.TrialConfirmed && r.Step != api.TrialBar {
		return nil, api.Errorf(api.CodeWrongOrder, "%s: %w", d.cfg.Name, err)
	}
	t, answer, err := d.trialStep(ctx, c, r, now)
	if err != nil {
		return nil, err
	}
	if changed := c.with(t); t.Phase != c.Phase || t.Barred != c.Barred || t.RevertAt != c.RevertAt || len(t.Ballots) != len(c.Ballots) {
		if !t.Open() && t.Phase == qbv.TrialDropped {
			d.goBack(ctx, changed)
		} else if err := d.putChange(changed); err != nil {
			if t.Phase != qbv.TrialConfirmed {
				return nil, err
			}
			d.log.Warn("state not saved", "err", err) // a restart asks again
			d.held.Change = changed
		}
		if t.Phase == qbv.TrialConfirmed {
			d.confirmed(t.ID)
		}
	}
	st, err := d.scheduleState(ctx)
	if err == nil && r.Step == api.TrialAsk {
		st.Trial.Phase, st.Trial.Final = string(answer.Phase), answer.Final
	}
	return st, err
}

func (d *Daemon) trialStep(ctx context.Context, c *heldChange, r api.TrialRequest, now tsn.PTPTime) (t qbv.Trial, a qbv.TrialAnswer, err error) {
	switch r.Step {
	case api.TrialPrepare:
		var st *api.ScheduleState
		if st, err = d.scheduleState(ctx); err != nil {
			return t, a, err
		}
		if c.Open() && (st.State != api.ScheduleRunning || st.RunningID != c.ID) {
			return t, a, api.Errorf(api.CodeWrongOrder, "%s does not run %s: it says %s", d.cfg.Name, c.ID, describe(st))
		}
		t, err = c.Prepare(now, r.Ballot)
	case api.TrialWithdraw:
		t, err = c.Withdraw(now, r.Ballot)
	case api.TrialStarted:
		t, err = c.Tell(qbv.TrialStarted)
	case api.TrialConfirmed:
		t, err = c.Tell(qbv.TrialConfirmed)
	case api.TrialAsk:
		t, a = c.Ask(d.cfg.SystemID, now)
	case api.TrialBar:
		t, err = c.Bar()
	case api.TrialAdvance:
		t, err = c.Advance(now, r.At)
	default:
		return t, a, api.Errorf(api.CodeBadRequest, "step %q is not known", r.Step)
	}
	if err != nil {
		err = gateError(d.cfg.Name, err)
	}
	return t, a, err
}

// pastTrial answers for a change that has been overtaken.
func (d *Daemon) pastTrial(r api.TrialRequest) (*api.ScheduleState, error) {
	i := slices.IndexFunc(d.held.Past, func(p pastChange) bool { return p.ID == r.ID })
	if i < 0 || r.Step != api.TrialAsk {
		return nil, api.Errorf(api.CodeNotFound, "%s knows no schedule %s", d.cfg.Name, r.ID)
	}
	return &api.ScheduleState{Trial: &api.Trial{ID: r.ID, Phase: string(d.held.Past[i].Phase), Final: true}}, nil
}

func (d *Daemon) confirmed(id string) {
	d.log.Info("schedule confirmed", "schedule", id)
	d.events.add("schedule-confirmed", tsn.NoPort, id)
	d.networkChanged()
}

// trialChanged wakes keepTrial. It needs the held lock.
func (d *Daemon) trialChanged() {
	d.tellStreamGates()
	select {
	case d.trialNews <- struct{}{}:
	default:
	}
}

// keepTrial does what the change in progress needs done at its time: it asks the
// others how it ended, and goes back.
func (d *Daemon) keepTrial(ctx context.Context) {
	select {
	case <-d.applier.open: // before that the kernel's gates are not known
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.trialNews:
		case <-timer.C:
		}
		timer.Reset(d.tendTrial(ctx))
	}
}

// tendTrial says when to look again. gPTP time may be set, so not in long.
func (d *Daemon) tendTrial(ctx context.Context) time.Duration {
	d.heldMu.Lock()
	c := d.held.Change
	d.heldMu.Unlock()
	if c == nil || c.done() {
		return time.Hour // until it changes
	}
	now, err := d.clock.now()
	if err != nil {
		return trialRetry
	}
	action, next := c.Due(now)
	switch action {
	case qbv.TrialAsk:
		d.learn(ctx, c)
	case qbv.TrialRestore:
		d.heldMu.Lock()
		if d.held.Change == c {
			d.goBack(ctx, c.with(c.Restore()))
		}
		d.heldMu.Unlock()
		return trialRetry
	case qbv.TrialIdle:
	}
	return min(max(time.Duration(next.NS-now.NS), time.Millisecond), time.Second)
}

// learn asks the other systems how a change ended.
func (d *Daemon) learn(ctx context.Context, c *heldChange) {
	answers := d.askOthers(ctx, c)
	d.heldMu.Lock()
	defer d.heldMu.Unlock()
	now, err := d.clock.now()
	if err != nil || d.held.Change != c { // it has changed meanwhile
		return
	}
	t := c.Count(now, answers)
	switch {
	case t.Phase == qbv.TrialDropped:
		d.goBack(ctx, c.with(t))
	case t.Phase != c.Phase || t.Barred != c.Barred:
		d.log.Info("learned from the others", "schedule", c.ID, "phase", t.Phase, "reverts", t.Barred)
		if err := d.putChange(c.with(t)); err != nil {
			d.log.Warn("state not saved", "err", err)
			d.held.Change = c.with(t)
		}
		if t.Phase == qbv.TrialConfirmed {
			d.confirmed(c.ID)
		}
	}
}

// askLimit bounds a round of questions.
const askLimit = time.Second

// askOthers asks every other system, all at once.
func (d *Daemon) askOthers(ctx context.Context, c *heldChange) []qbv.TrialAnswer {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	answers := make([]qbv.TrialAnswer, len(c.Systems))
	var calls sync.WaitGroup
	for i, system := range c.Systems {
		if system == d.cfg.SystemID {
			continue
		}
		calls.Go(func() {
			peer, err := d.fabric.Peer(ctx, system)
			if err != nil {
				return
			}
			if st, err := peer.TrialSchedule(ctx, api.TrialRequest{ID: c.ID, Step: api.TrialAsk}); err == nil && st.Trial != nil {
				answers[i] = qbv.TrialAnswer{System: system, Phase: qbv.TrialPhase(st.Trial.Phase), Final: st.Trial.Final}
			}
		})
	}
	calls.Wait()
	return slices.DeleteFunc(answers, func(a qbv.TrialAnswer) bool { return a.Phase == "" })
}

// trialView is the last change as others see it; it needs the held lock.
func (d *Daemon) trialView() *api.Trial {
	c := d.held.Change
	if c == nil {
		return nil
	}
	v := &api.Trial{ID: c.ID, Phase: string(c.Phase), RevertAt: c.RevertAt, Text: string(c.Phase), Systems: c.Systems}
	if now, err := d.clock.now(); err == nil && c.Open() {
		v.RevertIn, v.Text, v.Doubt = c.RevertAt.NS-now.NS, c.Text(now), c.InDoubt(now)
	}
	return v
}

// clockState says whose time this system's gates follow.
func (d *Daemon) clockState() api.ClockState {
	s := api.ClockState{OffsetBound: d.clock.bound}
	if r := d.clock.last.Load(); r != nil {
		s.GrandMaster = r.GrandMaster.String()
	}
	now, err := d.clock.now()
	s.Domain, s.Now = now.Domain, now.NS
	if err == nil {
		err = d.clock.schedulable()
	}
	if err != nil {
		s.Trouble = err.Error()
	}
	return s
}
