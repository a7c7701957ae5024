package daemon

import (
	"context"
	"fmt"
	"sync"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/spb"
)

// An inbox takes the effects that answer one request, which may be many. The
// loop that puts them in never waits.
type inbox struct {
	mu   sync.Mutex
	list []tsn.Effect
	more chan struct{} // one slot: there is something in list
}

func (b *inbox) put(e tsn.Effect) {
	b.mu.Lock()
	b.list = append(b.list, e)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *inbox) take() []tsn.Effect {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}

// deliver passes an answer on to who asked; nobody may be waiting any more.
func (d *Daemon) deliver(id uint64, e tsn.Effect) {
	d.answersMu.Lock()
	b := d.inboxes[id]
	d.answersMu.Unlock()
	if b != nil {
		b.put(e)
	}
}

// converse steps the control machine with a request and gives each of its
// answers to each, which says when it has all. Who leaves early, cancels.
func (d *Daemon) converse(ctx context.Context, start func(id uint64) tsn.Event, each func(tsn.Effect) (done bool, err error)) error {
	d.answersMu.Lock()
	d.requests++
	id, b := d.requests, &inbox{more: make(chan struct{}, 1)}
	if d.inboxes == nil {
		d.inboxes = map[uint64]*inbox{}
	}
	d.inboxes[id] = b
	d.answersMu.Unlock()
	defer func() {
		d.answersMu.Lock()
		delete(d.inboxes, id)
		d.answersMu.Unlock()
	}()
	if err := d.control.call(ctx, func() { d.control.step(start(id)) }); err != nil {
		return err
	}
	for {
		for _, e := range b.take() {
			done, err := each(e)
			if err != nil {
				d.control.post(spb.CancelPing{RequestID: id})
			}
			if done || err != nil {
				return err
			}
		}
		select {
		case <-b.more:
		case <-d.control.done:
			return errLoopEnded
		case <-ctx.Done():
			d.control.post(spb.CancelPing{RequestID: id})
			return ctx.Err()
		}
	}
}

// reach resolves the far end of a ping or trace and checks that there is a
// path to it.
func (d *Daemon) reach(ctx context.Context, who string, vlan *tsn.VID) (member, error) {
	if err := d.needSPB(); err != nil {
		return member{}, err
	}
	m, err := d.resolve(ctx, who)
	if err != nil {
		return m, err
	}
	if *vlan == 0 {
		*vlan = d.cfg.SPB.BaseVIDs[0].VID
		for _, b := range d.cfg.SPB.BaseVIDs {
			*vlan = min(*vlan, b.VID)
		}
	}
	if cerr := d.control.call(ctx, func() { _, err = d.machine.Path(*vlan, d.cfg.SystemID, m.system) }); cerr != nil {
		return m, cerr
	}
	if err != nil {
		return m, api.Errorf(api.CodeNotFound, "%w", err)
	}
	return m, nil
}

// Ping implements api.Switch.
func (d *Daemon) Ping(ctx context.Context, r api.PingRequest, reply func(api.PingReply) error) (*api.PingSummary, error) {
	m, err := d.reach(ctx, r.To, &r.VLAN)
	if err != nil {
		return nil, err
	}
	out := &api.PingSummary{To: r.To, VLAN: r.VLAN}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	err = d.converse(ctx, func(id uint64) tsn.Event {
		return spb.Ping{
			RequestID: id, To: m.system, VID: r.VLAN, Count: r.Count, IntervalNS: r.Interval, TimeoutNS: r.Timeout, Size: r.Size,
		}
	}, func(e tsn.Effect) (bool, error) {
		switch e := e.(type) {
		case spb.PingReply:
			return false, reply(api.PingReply{Sequence: e.Sequence, From: e.From, Name: names[e.From], Lost: e.Lost, RTT: e.RTTNS})
		case spb.PingDone:
			if e.Err != "" {
				return true, api.Errorf(api.CodeBadRequest, "%s", e.Err)
			}
			out.Target, out.Name, out.Sent, out.Received = e.Target, names[e.Target], e.Sent, e.Received
			out.Min, out.Avg, out.Max = e.MinNS, e.AvgNS, e.MaxNS
			return true, nil
		}
		return false, nil
	})
	return out, err
}

// Trace implements api.Switch.
func (d *Daemon) Trace(ctx context.Context, r api.TraceRequest, hop func(api.TraceHop) error) (*api.TraceSummary, error) {
	m, err := d.reach(ctx, r.To, &r.VLAN)
	if err != nil {
		return nil, err
	}
	out := &api.TraceSummary{To: r.To, VLAN: r.VLAN}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	err = d.converse(ctx, func(id uint64) tsn.Event {
		return spb.Trace{RequestID: id, To: m.system, VID: r.VLAN, Tries: r.Tries, TimeoutNS: r.Timeout}
	}, func(e tsn.Effect) (bool, error) {
		switch e := e.(type) {
		case spb.TraceHop:
			return false, hop(api.TraceHop{
				Hop: e.Hop, System: e.System, Name: names[e.System], Port: e.Port, Answered: e.Answered, Tries: e.Tries, RTT: e.RTTNS,
			})
		case spb.TraceDone:
			if e.Err != "" {
				return true, api.Errorf(api.CodeBadRequest, "%s", e.Err)
			}
			out.Target, out.Name, out.Hops, out.Reached = e.Target, names[e.Target], e.Hops, e.Reached
			if !e.Reached {
				out.After = nameOr(names[e.After], e.After)
			}
			return true, nil
		}
		return false, nil
	})
	return out, err
}

// systemNames are the host names of the fabric's bridges.
func (d *Daemon) systemNames(ctx context.Context) (map[tsn.MAC]string, error) {
	var names map[tsn.MAC]string
	err := d.control.call(ctx, func() { names = d.machine.SPB.HostNames() })
	return names, err
}

// drainMemory is the last word of an operator on transit through this bridge;
// it wins over the configuration.
type drainMemory struct {
	Set    bool   `json:"set"`
	On     bool   `json:"on"`
	Reason string `json:"reason,omitempty"`
}

func (m drainMemory) apply(c *spb.Config) {
	if m.Set {
		c.Overload, c.OverloadReason = m.On, m.Reason
	}
}

// Drain implements api.Switch.
func (d *Daemon) Drain(ctx context.Context, r api.DrainRequest) (*api.Drained, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	d.drainMu.Lock()
	defer d.drainMu.Unlock()
	if err := d.drainStore.save(drainMemory{Set: true, On: r.On, Reason: r.Reason}); err != nil {
		return nil, api.Errorf(api.CodeInternal, "nothing was changed: %w", err)
	}
	out := &api.Drained{Node: d.cfg.Name}
	err := d.control.call(ctx, func() {
		d.control.step(spb.SetOverload{On: r.On, Reason: r.Reason})
		s := d.machine.SPB.Status()
		out.Overload, out.Reason = s.Overload, s.OverloadReason
	})
	if err != nil {
		return nil, err
	}
	kind := "drained"
	if !r.On {
		kind = "drain-ended"
	}
	d.log.Info(kind, "reason", r.Reason)
	d.events.add(kind, tsn.NoPort, fmt.Sprintf("overload %t: %s", out.Overload, out.Reason))
	return out, nil
}

// Services implements api.Switch.
func (d *Daemon) Services(ctx context.Context) (*api.Services, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	out := &api.Services{Node: d.cfg.Name, Services: []api.Service{}}
	err = d.control.call(ctx, func() {
		for _, s := range d.machine.SPB.Services() {
			v := api.Service{ISID: s.ISID, VLAN: s.VID, Transmit: s.Transmit, Receive: s.Receive, Ports: s.Ports, Replicate: s.Replicate}
			if !s.Group.IsZero() {
				v.Group = s.Group.String()
			}
			for _, r := range s.Receivers {
				v.Receivers = append(v.Receivers, api.ServiceBridge{System: r, Name: names[r]})
			}
			for _, g := range s.Sources {
				v.Sources = append(v.Sources, api.ServiceBridge{System: g.System, Name: names[g.System], Group: g.Group.String()})
			}
			out.Services = append(out.Services, v)
		}
	})
	return out, err
}
