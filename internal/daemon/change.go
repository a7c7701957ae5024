package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv"
)

const (
	// awaitSlack is how long after its base time a schedule may take to be
	// seen running everywhere before the conductor calls it failed.
	awaitSlack = 5 * time.Second
	// autoConfirm is from base time to T, ns, of what the conductor confirms itself.
	autoConfirm = 15_000_000_000
	// keepMargin is the most, ns, from the last vote to keep to T.
	keepMargin = 5_000_000_000
	// minConfirm and maxConfirm bound what a person may ask for, ns.
	minConfirm = 5_000_000_000
	maxConfirm = 24 * 3600 * 1_000_000_000
	// clockSlack is how far, ns, two systems' clocks may seem apart beside
	// their bounds: the answer takes its time, and is read late.
	clockSlack = 1_000_000
)

// A telling passes progress on, with the time since the call began.
type telling func(node, step, format string, a ...any)

func tellTo(progress func(api.Progress)) telling {
	start := time.Now()
	return func(node, step, format string, a ...any) {
		progress(api.Progress{Node: node, Step: step, Text: fmt.Sprintf(format, a...), Elapsed: time.Since(start).Nanoseconds()})
	}
}

// apply plans, changes the gates of all systems at one base time, waits until the
// kernels run the plan and compares. Without a time to confirm in, it confirms.
func (c *conductor) apply(ctx context.Context, r api.ApplyRequest, progress func(api.Progress)) (*api.Schedule, error) {
	say := tellTo(progress)
	if r.Confirm != 0 && (r.Confirm < minConfirm || r.Confirm > maxConfirm) {
		return nil, api.Errorf(api.CodeBadRequest, "a time of %v to confirm in is outside %v..%v", time.Duration(r.Confirm), time.Duration(minConfirm), time.Duration(maxConfirm))
	}
	if err := c.settled(ctx); err != nil {
		return nil, err
	}
	p, err := c.compute(ctx, r.PlanRequest, say)
	if err == nil {
		err = accepted(p.result.Warnings, r.Accept)
	}
	if err != nil {
		return nil, err
	}
	scheduled := 0
	for _, s := range p.result.Streams {
		if s.Scheduled {
			scheduled++
		}
	}
	say(c.name, "plan", "%d of %d streams fit, %d ports, cycle %v", scheduled, len(p.result.Streams), len(p.result.Ports), time.Duration(p.result.CycleTime))
	p.result.Warnings = nil // they have been accepted
	c.include(ctx, p)
	if err := c.begin(ctx, p, r, say); err != nil {
		return nil, err
	}
	if err := c.await(ctx, p, say); err != nil {
		return nil, within(err, "all go back%s", c.in(ctx, p.made.RevertAt))
	}
	p.result.State = api.ScheduleRunning
	if err := c.keep(p.made, p.result); err != nil {
		return nil, err
	}
	if r.Confirm == 0 {
		return p.result, c.confirm(ctx, c.target(), say)
	}
	p.result.Trial = c.trialOf(ctx, p.result)
	say(c.name, "confirm", "all go back%s unless it is confirmed (tsnctl schedule confirm)", c.in(ctx, p.made.RevertAt))
	return p.result, nil
}

// settled is nil if no change is on its way any more.
func (c *conductor) settled(ctx context.Context) error {
	if c.mem.Conductor == nil || !c.mem.Conductor.Open {
		return nil
	}
	if _, err := c.settle(ctx); err != nil {
		return err
	}
	if m := c.mem.Conductor; m != nil && m.Open {
		return api.Errorf(api.CodeConflict, "schedule %s is not confirmed: confirm it or roll it back first (tsnctl schedule confirm, tsnctl schedule rollback)", m.Schedule.ID)
	}
	return nil
}

// include adds the systems that run windows of the last schedule to the new
// one, if only to open their gates again. Those that cannot be asked are noted.
func (c *conductor) include(ctx context.Context, p *planned) {
	if c.mem.Conductor != nil {
		ran := slices.Clone(c.mem.Conductor.Left)
		for _, port := range c.mem.Conductor.Schedule.Ports {
			ran = append(ran, port.System)
		}
		for _, system := range ran {
			if slices.Contains(p.systems, system) || slices.Contains(p.made.Left, system) {
				continue
			}
			peer, err := c.peers.Peer(ctx, system)
			if err == nil {
				_, err = peer.ScheduleState(ctx)
			}
			if err != nil {
				p.made.Left = append(p.made.Left, system)
			} else {
				p.systems = append(p.systems, system)
			}
		}
	}
	slices.SortFunc(p.systems, func(a, b tsn.MAC) int { return slices.Compare(a[:], b[:]) })
	p.made.Systems = p.systems
}

// keep remembers a copy: what is remembered is shown to others and never
// changed in place.
func (c *conductor) keep(made conducted, s *api.Schedule) error {
	kept := *s
	kept.Ports = slices.Clone(kept.Ports)
	before := c.mem.Conductor
	made.Schedule = &kept
	c.mem.Conductor = &made
	if err := c.save(); err != nil {
		c.mem.Conductor = before
		return api.Errorf(api.CodeInternal, "schedule %s is not kept: %w", kept.ID, err)
	}
	return nil
}

// beginTries is how often a base time is chosen before giving up. Each is twice
// as far ahead as the one before: systems that are slow to take a schedule
// need it, and nobody can know how slow they are.
const beginTries = 3

// begin stages and commits the plan, at a base time that is in the result then.
func (c *conductor) begin(ctx context.Context, p *planned, r api.ApplyRequest, say telling) error {
	lead := r.LeadTime
	if lead == 0 {
		lead = c.plan.LeadTime
	}
	old := c.mem.Conductor
	p.made.CycleTime, p.made.LeadTime, p.made.Confirm, p.made.Before, p.made.Open = r.CycleTime, r.LeadTime, r.Confirm, old, true
	for try := 1; ; try++ {
		p.result.ID = c.name + "/" + strconv.FormatInt(time.Now().UnixNano(), 36)
		late, err := c.once(ctx, p, old, lead, r.Confirm, say)
		if !late || try == beginTries {
			return err
		}
		// Kernels that took the schedule cannot take another before its base time.
		say(c.name, "commit", "%v; again after the base time, further ahead", err)
		now, nerr := c.now(ctx)
		if nerr != nil {
			return err
		}
		select {
		case <-time.After(time.Duration(p.result.Base.NS - now.NS)):
		case <-ctx.Done():
			return ctx.Err()
		}
		lead *= 2
	}
}

// once stages and commits everywhere, or aborts everywhere; late is that it
// came too late for its base time. What it conducts is on disk before the first
// system can start it.
func (c *conductor) once(ctx context.Context, p *planned, old *conducted, lead, confirm int64, say telling) (late bool, err error) {
	now, err := c.now(ctx)
	if err != nil {
		return false, api.Errorf(api.CodeWrongOrder, "no common base time: %w", err)
	}
	part := p.times(now, old, lead, confirm)
	p.result.Base, p.made.KeepBy, p.made.RevertAt, p.result.State = part.Base, part.KeepBy, part.RevertAt, api.SchedulePending
	say(c.name, "commit", "base time %d ns, in %v", part.Base.NS, time.Duration(part.Base.NS-now.NS).Round(time.Millisecond))
	if err := c.stage(ctx, p, part, old, say); err != nil {
		return false, err
	}
	if err := c.keep(p.made, p.result); err != nil {
		c.abort(ctx, part.ID, p.systems)
		return false, within(err, "nothing was changed anywhere")
	}
	if err := c.commit(ctx, part.ID, p.systems, say); err != nil {
		c.mem.Conductor = old
		if serr := c.save(); serr != nil { // settle finds out that it was dropped
			return false, within(err, "%v", serr)
		}
		return api.ErrorCode(err) == api.CodeWrongOrder, err
	}
	return false, nil
}

// times chooses the base time, on the end of a cycle of the old schedule where
// there is one, and T at the end of a cycle of the new.
func (p *planned) times(now tsn.PTPTime, old *conducted, lead, confirm int64) api.StageRequest {
	base, cycle := now.Add(lead), max(p.result.CycleTime, 1)
	if old != nil && old.Schedule.CycleTime > 0 {
		base = qbv.NextBase(&tsn.GateControlList{BaseTime: old.Schedule.Base, CycleTime: old.Schedule.CycleTime}, base)
	} else {
		base.NS += (cycle - base.NS%cycle) % cycle
	}
	if confirm == 0 {
		confirm = autoConfirm
	}
	revertAt := base.Add((confirm + cycle - 1) / cycle * cycle)
	margin := max(min(confirm/4, keepMargin), qbv.MinKeepMargin)
	return api.StageRequest{
		ID: p.result.ID, Systems: p.systems,
		StartBy: base.Add(-lead / 4), Base: base, KeepBy: revertAt.Add(-margin), RevertAt: revertAt,
	}
}

// everywhere calls all systems at once and returns their answers.
func (c *conductor) everywhere(ctx context.Context, systems []tsn.MAC, call func(context.Context, tsn.MAC, api.Peer) (*api.ScheduleState, error)) ([]*api.ScheduleState, []error) {
	states, errs := make([]*api.ScheduleState, len(systems)), make([]error, len(systems))
	var calls sync.WaitGroup
	for i, system := range systems {
		calls.Go(func() {
			peer, err := c.peers.Peer(ctx, system)
			if err == nil {
				states[i], err = call(ctx, system, peer)
			}
			errs[i] = err
		})
	}
	calls.Wait()
	return states, errs
}

func (c *conductor) nameOf(ctx context.Context, system tsn.MAC) string {
	return c.topo.Label(ctx, tsn.Hop{System: system}).Node
}

// gatesAt are the lists of one system in a schedule.
func gatesAt(s *api.Schedule, system tsn.MAC) []api.PortGates {
	var lists []api.PortGates
	for _, port := range s.Ports {
		if port.System == system {
			lists = append(lists, api.PortGates{Port: port.Port, Gates: port.Admin, Arrivals: arrivalsAt(s, port)})
		}
	}
	return lists
}

func (c *conductor) stage(ctx context.Context, p *planned, part api.StageRequest, old *conducted, say telling) error {
	asked := time.Now()
	now, err := c.now(ctx)
	if err != nil {
		return api.Errorf(api.CodeWrongOrder, "no common base time: %w", err)
	}
	states, errs := c.everywhere(ctx, p.systems, func(ctx context.Context, system tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		r := part
		r.Ports = gatesAt(p.result, system)
		if old != nil {
			r.OldID, r.Old = old.Schedule.ID, gatesAt(old.Schedule, system)
		}
		return peer.StageSchedule(ctx, r)
	})
	took := time.Since(asked).Nanoseconds()
	var first *api.ScheduleState // of those whose gates close
	for i, system := range p.systems {
		node, lists, err := c.nameOf(ctx, system), gatesAt(p.result, system), errs[i]
		if err == nil && len(lists) > 0 {
			if first == nil {
				first = states[i]
			}
			err = clocksAgree(node, states[i].Clock, first.Clock, now, took)
		}
		if err != nil {
			c.abort(ctx, part.ID, p.systems)
			return within(err, "%s does not take its part, nothing was changed anywhere", node)
		}
		say(node, "stage", "%d gate lists staged", len(lists))
	}
	return nil
}

// clocksAgree compares the clock of a system with another's, and with the time
// here: it was read between now and took ns later.
func clocksAgree(node string, s, other api.ClockState, now tsn.PTPTime, took int64) error {
	slack := s.OffsetBound + clockSlack
	switch {
	case s.Trouble != "":
		return api.Errorf(api.CodeWrongOrder, "the clock of %s is not fit for a schedule: %s", node, s.Trouble)
	case s.Domain != other.Domain || s.GrandMaster != other.GrandMaster || s.Domain != now.Domain:
		return api.Errorf(api.CodeWrongOrder, "%s follows grand master %s in gPTP domain %d, others follow %s in domain %d", node, s.GrandMaster, s.Domain, other.GrandMaster, other.Domain)
	case s.Now < now.NS-slack || s.Now > now.NS+took+slack:
		return api.Errorf(api.CodeWrongOrder, "the clock of %s is %v from the time here", node, time.Duration(s.Now-now.NS))
	}
	return nil
}

// commit makes all systems vote to start. One that does not, or does not
// answer, makes all others take it back.
func (c *conductor) commit(ctx context.Context, id string, systems []tsn.MAC, say telling) error {
	_, errs := c.everywhere(ctx, systems, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.CommitSchedule(ctx, id)
	})
	for i, system := range systems {
		node := c.nameOf(ctx, system)
		if errs[i] != nil {
			c.abort(ctx, id, systems)
			return within(errs[i], "%s did not commit; all systems were told to take it back", node)
		}
		say(node, "commit", "committed")
	}
	c.tell(ctx, id, systems, api.TrialStarted)
	return nil
}

// tell brings news to all; who does not hear it will ask.
func (c *conductor) tell(ctx context.Context, id string, systems []tsn.MAC, step string) (deaf []string) {
	_, errs := c.everywhere(ctx, systems, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.TrialSchedule(ctx, api.TrialRequest{ID: id, Step: step})
	})
	for i, err := range errs {
		if err != nil {
			deaf = append(deaf, c.nameOf(ctx, systems[i]))
		}
	}
	return deaf
}

func (c *conductor) abort(ctx context.Context, id string, systems []tsn.MAC) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	c.everywhere(ctx, systems, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.AbortSchedule(ctx, id) // who cannot be told asks the others
	})
}

// await looks at every system until its kernel runs the schedule, and checks
// that it is the one that was planned.
func (c *conductor) await(ctx context.Context, p *planned, say func(node, step, format string, a ...any)) error {
	now, err := c.now(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.result.Base.NS-now.NS, 0))+awaitSlack)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for _, system := range p.systems {
		node := c.topo.Label(ctx, tsn.Hop{System: system}).Node
		peer, err := c.peers.Peer(ctx, system)
		if err != nil {
			return err
		}
		for {
			state, err := peer.ScheduleState(ctx)
			if err != nil {
				return within(err, "ask %s for its schedule", node)
			}
			if state.State == api.ScheduleRunning && state.RunningID == p.result.ID {
				if err := p.compare(node, system, state); err != nil {
					return err
				}
				say(node, "verify", "admin is oper, read back from the kernel")
				break
			}
			select {
			case <-ctx.Done():
				return api.Errorf(api.CodeInternal, "%s has not started schedule %s: it says %s", node, p.result.ID, describe(state))
			case <-look.C:
			}
		}
	}
	return nil
}

// A target is a change that is to be confirmed or rolled back.
type target struct {
	id                     string
	systems                []tsn.MAC
	base, keepBy, revertAt tsn.PTPTime
	cycle                  int64
}

// target is what this node conducts.
func (c *conductor) target() target {
	m := c.mem.Conductor
	return target{m.Schedule.ID, m.Systems, m.Schedule.Base, m.KeepBy, m.RevertAt, m.Schedule.CycleTime}
}

// confirm makes all systems vote to keep what they run. If one does not, or
// does not answer, the others take their votes back, so that all go back
// at T unless it is confirmed in another attempt.
func (c *conductor) confirm(ctx context.Context, t target, say telling) error {
	now, err := c.now(ctx)
	if err != nil {
		return api.Errorf(api.CodeWrongOrder, "whether there is time to confirm is not known: %w", err)
	}
	ballot := c.name + "/" + strconv.FormatInt(time.Now().UnixNano(), 36)
	// Half of the time that is left to vote, so that votes can be taken back in
	// the other: who does not answer must not leave others in doubt.
	vote, cancel := context.WithTimeout(ctx, time.Duration(t.keepBy.NS-now.NS)/2)
	err = c.all(vote, t, api.TrialRequest{ID: t.id, Step: api.TrialPrepare, Ballot: ballot})
	cancel()
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = c.all(ctx, t, api.TrialRequest{ID: t.id, Step: api.TrialWithdraw, Ballot: ballot}) // who is not told asks
		return within(err, "not all have agreed to keep %s; try again, or all go back%s", t.id, c.in(ctx, t.revertAt))
	}
	for _, system := range t.systems {
		say(c.nameOf(ctx, system), "confirm", "will not go back")
	}
	if deaf := c.tell(ctx, t.id, t.systems, api.TrialConfirmed); len(deaf) > 0 {
		say(c.name, "confirm", "confirmed; %s will ask", strings.Join(deaf, ", "))
	} else {
		say(c.name, "confirm", "confirmed everywhere")
	}
	return c.ended(t, api.PhaseConfirmed)
}

// in is " in 12s", or "" without gPTP time.
func (c *conductor) in(ctx context.Context, at tsn.PTPTime) string {
	now, err := c.now(ctx)
	if err != nil {
		return ""
	}
	return " in " + time.Duration(at.NS-now.NS).Round(time.Second).String()
}

// rollBack makes sure that the change cannot be kept, and then that all go
// back sooner than they would. If one cannot be told, all go back at T.
func (c *conductor) rollBack(ctx context.Context, t target, say telling) error {
	if err := c.all(ctx, t, api.TrialRequest{ID: t.id, Step: api.TrialBar}); err != nil {
		return within(err, "not all can go back now; unless it is confirmed, they do%s", c.in(ctx, t.revertAt))
	}
	now, err := c.now(ctx)
	if err != nil {
		return api.Errorf(api.CodeWrongOrder, "no common time to go back; all do at gPTP time %d ns: %w", t.revertAt.NS, err)
	}
	at := qbv.NextBase(&tsn.GateControlList{BaseTime: t.base, CycleTime: max(t.cycle, 1)}, latest(now, t.base).Add(c.plan.LeadTime))
	if at.NS < t.revertAt.NS {
		if err := c.all(ctx, t, api.TrialRequest{ID: t.id, Step: api.TrialAdvance, At: at}); err != nil {
			_ = c.all(context.WithoutCancel(ctx), t, api.TrialRequest{ID: t.id, Step: api.TrialAdvance, At: t.revertAt})
			return within(err, "not all can go back sooner; all do%s", c.in(ctx, t.revertAt))
		}
		t.revertAt = at
	}
	say(c.name, "revert", "all go back%s", c.in(ctx, t.revertAt))
	return c.awaitReturn(ctx, t, say)
}

func latest(a, b tsn.PTPTime) tsn.PTPTime {
	if b.NS > a.NS {
		return b
	}
	return a
}

// all calls every system, and returns the first error with its place.
func (c *conductor) all(ctx context.Context, t target, r api.TrialRequest) error {
	_, errs := c.everywhere(ctx, t.systems, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.TrialSchedule(ctx, r)
	})
	for i, err := range errs {
		if err != nil {
			return within(err, "%s", c.nameOf(ctx, t.systems[i]))
		}
	}
	return nil
}

// awaitReturn waits until every kernel runs what ran before.
func (c *conductor) awaitReturn(ctx context.Context, t target, say telling) error {
	now, err := c.now(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(t.revertAt.NS-now.NS, 0))+awaitSlack)
	defer cancel()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for _, system := range t.systems {
		for node := c.nameOf(ctx, system); ; {
			peer, err := c.peers.Peer(ctx, system)
			if err != nil {
				return err
			}
			st, err := peer.ScheduleState(ctx)
			if err != nil {
				return within(err, "ask %s for its schedule", node)
			}
			if st.RunningID != t.id && st.State != api.SchedulePending {
				say(node, "revert", "runs %s, read back from the kernel", orNone(st.RunningID))
				break
			}
			select {
			case <-ctx.Done():
				return api.Errorf(api.CodeInternal, "%s has not gone back from %s: it says %s", node, t.id, describe(st))
			case <-look.C:
			}
		}
	}
	return c.ended(t, api.PhaseReverted)
}

func orNone(id string) string {
	if id == "" {
		return "no schedule"
	}
	return id
}

// ended notes how the change that this node conducts has ended.
func (c *conductor) ended(t target, phase string) error {
	m := c.mem.Conductor
	if m == nil || m.Schedule.ID != t.id || !m.Open {
		return nil // another conducts it, and will ask
	}
	was := *m
	was.RevertAt = t.revertAt
	switch {
	case phase == api.PhaseConfirmed:
		kept := was
		kept.Open, kept.Before = false, nil
		c.mem.Conductor = &kept
	case was.Before == nil:
		c.mem.Conductor = nil
	default:
		c.mem.Conductor = was.Before.again(was, phase)
	}
	if err := c.save(); err != nil {
		c.mem.Conductor = m
		return api.Errorf(api.CodeInternal, "schedule %s is %s, but that was not kept: %w", t.id, phase, err)
	}
	return nil
}

// again is the schedule of before once more, after next was rolled back or never
// started. What a person has not confirmed was not wanted: nothing is planned
// for the same streams until somebody asks.
func (m conducted) again(next conducted, phase string) *conducted {
	s := *m.Schedule
	if phase == api.PhaseReverted {
		s.Base = next.RevertAt
		if next.Confirm != 0 {
			m.Planned = next.Planned
		}
	}
	m.Schedule = &s
	return &m
}

// settle asks how the change that this node conducts has ended, and reports
// whether it has. Those that do not say are noted, and asked again.
func (c *conductor) settle(ctx context.Context) (done bool, err error) {
	m, t := c.mem.Conductor, c.target()
	states, errs := c.everywhere(ctx, m.Systems, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.TrialSchedule(ctx, api.TrialRequest{ID: m.Schedule.ID, Step: api.TrialAsk})
	})
	phase := ""
	var silent []tsn.MAC
	for i, st := range states {
		switch {
		case api.ErrorCode(errs[i]) == api.CodeNotFound: // it has forgotten; others have not
		case errs[i] != nil || st.Trial == nil:
			silent = append(silent, m.Systems[i])
		case st.Trial.Phase == api.PhaseConfirmed:
			phase = api.PhaseConfirmed
		case phase == "" && st.Trial.Final && (st.Trial.Phase == api.PhaseDropped || st.Trial.Phase == api.PhaseReverted):
			if phase = st.Trial.Phase; st.Trial.RevertAt.NS != 0 {
				t.revertAt = st.Trial.RevertAt
			}
		}
	}
	if phase == "" || phase == api.PhaseReverted && c.ahead(ctx, t.revertAt) {
		return false, nil
	}
	c.mem.Silent = silent
	return true, c.ended(t, phase)
}

// ahead reports whether a time is still to come, as far as that is known.
func (c *conductor) ahead(ctx context.Context, at tsn.PTPTime) bool {
	now, err := c.now(ctx)
	return err == nil && now.NS < at.NS
}

// listen asks systems that did not say how a change ended whether they are
// back, and returns the names of those that are not.
func (c *conductor) listen(ctx context.Context) (silent []string) {
	_, errs := c.everywhere(ctx, c.mem.Silent, func(ctx context.Context, _ tsn.MAC, peer api.Peer) (*api.ScheduleState, error) {
		return peer.ScheduleState(ctx)
	})
	var left []tsn.MAC
	for i, err := range errs {
		if err != nil {
			left = append(left, c.mem.Silent[i])
			silent = append(silent, c.nameOf(ctx, c.mem.Silent[i]))
		}
	}
	if len(left) < len(c.mem.Silent) {
		c.mem.Silent = left
		_ = c.save() // it is asked again
	}
	return silent
}

// trialOf is how the change to a schedule stands, by the first of its systems
// that tells.
func (c *conductor) trialOf(ctx context.Context, s *api.Schedule) *api.Trial {
	for i, port := range s.Ports {
		if i > 0 && s.Ports[i-1].System == port.System {
			continue
		}
		if peer, err := c.peers.Peer(ctx, port.System); err == nil {
			if st, err := peer.ScheduleState(ctx); err == nil && st.Trial != nil && st.Trial.ID == s.ID {
				return st.Trial
			}
		}
	}
	return nil
}
