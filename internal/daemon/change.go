package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
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
	patient := time.Now().Add(c.patience)
	for try := 1; ; try++ {
		p.result.ID = c.name + "/" + strconv.FormatInt(time.Now().UnixNano(), 36)
		late, err := c.once(ctx, p, old, lead, r.Confirm, say)
		var pause time.Duration
		switch {
		case late && try < beginTries:
			// Kernels that took the schedule cannot take another before its base time.
			say(c.name, "commit", "%v; again after the base time, further ahead", err)
			now, nerr := c.now(ctx)
			if nerr != nil {
				return err
			}
			pause = time.Duration(p.result.Base.NS - now.NS)
			lead *= 2
		case !late && api.ErrorCode(err) == api.CodeWrongOrder && time.Now().Before(patient):
			say(c.name, "wait", "%v", err)
			pause = clockPause
			try--
		default:
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// clockPatience is how long a schedule waits for clocks that do not agree yet:
// one that has found its grand master a moment ago may lose it once more while
// it settles. clockPause is between two tries.
const (
	clockPatience = 5 * time.Second
	clockPause    = 300 * time.Millisecond
)

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
