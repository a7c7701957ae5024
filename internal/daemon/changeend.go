package daemon

import (
	"context"
	"strconv"
	"strings"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/qbv"
)

// How a change ends: it is kept, or all go back, and whoever was away hears of it.

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
