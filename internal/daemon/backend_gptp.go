package daemon

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/gptplog"
	"tsnswitch/internal/link"
	"tsnswitch/internal/node"
	"tsnswitch/srp"
)

// timingEffect carries out what the timing machine asks for, in its loop, where
// nothing may wait: frames go out; for all else there is tellTiming.
func (d *Daemon) timingEffect(e tsn.Effect) {
	if s, ok := e.(tsn.Send); ok {
		d.effect(e)
		for _, sent := range d.ports.Collect(s.Port, nil) {
			d.timing.direct.after = append(d.timing.direct.after, sent)
		}
		return
	}
	t := timingNews{at: d.timing.now(), effect: e}
	if r, ok := e.(gptp.RelationChanged); ok && r.Target {
		t.relation = d.clock.relation(r)
	}
	select {
	case d.timingNews <- t:
	default:
		d.timing.dropped.Add(1)
	}
}

// timingNews is an effect of the timing machine that is no frame.
type timingNews struct {
	at       tsn.Instant
	effect   tsn.Effect
	relation bool // news for the control machine
}

// timingNewsQueue is for some seconds of several domains.
const timingNewsQueue = 1024

// tellTiming tells others, and the gPTP log, what the timing machine found.
func (d *Daemon) tellTiming(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case t := <-d.timingNews:
			switch e := t.effect.(type) {
			case tsn.Notice:
				if ev, ok := d.notice(e); ok {
					d.gptpLog.Event(t.at, ev)
				}
				if e.Kind == gptp.NoticeAsCapable || e.Kind == gptp.NoticeNotAsCapable {
					d.tellCapable()
				}
			case gptp.RelationChanged:
				d.gptpLog.Relation(t.at, e)
			}
			if t.relation {
				d.tellControl()
			}
		}
	}
}

// capable remembers what MSRP was told of gPTP.
type capable struct {
	mu   sync.Mutex
	told map[tsn.Port]srp.SetASCapable
	// grace: until then a port that is not capable yet is no news. MSRP goes by
	// what the run before knew.
	grace time.Time
}

// tell posts what has changed. A link delay alone is no news: MSRP takes it when
// the port becomes capable, and its jitter matters to nobody.
func (c *capable) tell(st gptp.Status, post func(tsn.Event)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range node.ASCapable(st) {
		old, told := c.told[ev.Port]
		if !told && !ev.Capable && time.Now().Before(c.grace) {
			continue
		}
		if !told || old.Capable != ev.Capable {
			c.told[ev.Port] = ev
			post(ev)
		}
	}
}

func (d *Daemon) tellCapable() {
	var st gptp.Status
	if d.timing.call(context.Background(), func() { st = d.gptp.Status() }) == nil {
		d.capable.tell(st, d.control.post)
	}
}

// logTime tells the gPTP log, once a second, what cannot be seen from Syncs.
func (d *Daemon) logTime(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var st gptp.Status
		if d.timing.call(ctx, func() { st = d.gptp.Status() }) != nil {
			return
		}
		d.gptpLog.Status(d.timing.now(), st)
		d.capable.tell(st, d.control.post)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func wall() gptplog.Wall { return gptplog.Wall{At: link.Now(), Unix: time.Now().UnixNano()} }

// domainOf is the domain that a query is about.
func (d *Daemon) domainOf(ctx context.Context, q api.GPTPQuery) (n uint8, err error) {
	if q.Domain != nil {
		return *q.Domain, nil
	}
	err = d.timing.call(ctx, func() { n = d.gptp.Status().Target().Domain })
	return n, err
}

// GPTPHistory implements api.Switch.
func (d *Daemon) GPTPHistory(ctx context.Context, q api.GPTPQuery) (*api.GPTPHistory, error) {
	n, err := d.domainOf(ctx, q)
	if err != nil {
		return nil, err
	}
	w, since := wall(), tsn.Instant(0)
	if q.Back > 0 {
		since = w.At.Add(-q.Back)
	}
	h := &api.GPTPHistory{Node: d.cfg.Name, Domain: n}
	h.Samples, h.Events, err = d.gptpLog.History(n, since, w)
	return h, err
}

// WatchGPTP implements api.Switch.
func (d *Daemon) WatchGPTP(ctx context.Context, q api.GPTPQuery, emit func(api.GPTPUpdate) error) error {
	n, err := d.domainOf(ctx, q)
	if err != nil {
		return err
	}
	return d.gptpLog.Watch(ctx, n, wall, emit)
}

// GPTP implements api.Switch.
func (d *Daemon) GPTP(ctx context.Context) (*api.GPTPStatus, error) {
	var s gptp.Status
	if err := d.timing.call(ctx, func() { s = d.gptp.Status() }); err != nil {
		return nil, err
	}
	return d.gptpView(s, d.clockNames(ctx)), nil
}

// gptpView puts what the machine says into words and names.
func (d *Daemon) gptpView(s gptp.Status, names map[gptp.ClockIdentity]string) *api.GPTPStatus {
	gate, err := d.clock.gate()
	view := gptpViewer{names: names, ifname: func(p tsn.Port) string { return ifnameOf(d.cfg, p) }, stamps: d.stamping, now: d.timing.now()}
	if err == nil {
		view.gateOffset, view.gateInBound = -gate.Offset(), gate.Check(d.clock.bound, 0) == nil
	}
	out := &api.GPTPStatus{
		Node: d.cfg.Name, Clock: d.clock.kind, Steered: d.clock.isSteered(), Now: gate.PTP,
		GPTPDomain: view.domain(s.Target()), Degraded: d.timeDegraded(s),
	}
	if h := s.HotStandby; h != nil {
		out.HotStandby = &api.GPTPHotStandby{
			State: h.State.String(), StateFor: max(view.now.Sub(h.Since), 0), Primary: h.Primary, Secondary: h.Secondary, Active: h.Active,
			PrimarySynced: h.PrimarySynced, SecondarySynced: h.SecondarySynced,
			Offset: h.PrimarySecondaryOffsetNS, OffsetThresh: h.PrimarySecondaryOffsetLimit, Slewing: h.SlewingNS,
		}
	}
	for _, v := range s.Domains {
		out.Domains = append(out.Domains, view.domain(v))
	}
	return out
}

// stamping says who stamps the frames of a port, and why. Without an interface
// it is what the clock would need.
func (d *Daemon) stamping(p tsn.Port) link.Stamping {
	if s, ok := d.ports.Stamping(p); ok {
		return s
	}
	return link.Stamping{Hardware: d.clock.kind == "phc"}
}

// timeDegraded says in sentences what is wrong with time.
func (d *Daemon) timeDegraded(s gptp.Status) []string {
	var out []string
	for _, v := range s.Domains {
		in := ""
		if len(s.Domains) > 1 {
			in = fmt.Sprintf(" in domain %d", v.Domain)
		}
		if v.State == gptp.TimeHoldover {
			out = append(out, fmt.Sprintf("the time%s is held over: the grand master is gone, its last good rate goes on", in))
		}
		for _, p := range v.Ports {
			if p.Up && !p.AsCapable && p.AsCapableReason != gptp.ReasonDisabled {
				g := portView(p, d.stamping(p.Port))
				out = append(out, fmt.Sprintf("port %d is not asCapable%s: %s: %s", p.Port, in, g.Reason, g.Explanation))
			}
		}
	}
	if h := s.HotStandby; h != nil && h.State != gptp.HotStandbyRedundant {
		out = append(out, fmt.Sprintf("hot standby is %s: primary domain %d %s, secondary domain %d %s",
			h.State, h.Primary, syncedWord(h.PrimarySynced), h.Secondary, syncedWord(h.SecondarySynced)))
	}
	if err := d.clock.schedulable(); err != nil && d.cfg.Role != config.RoleClock {
		out = append(out, "no new schedule is taken: "+err.Error())
	} else if err := d.clock.synced(); err != nil {
		out = append(out, err.Error())
	}
	if err := d.starved(); err != nil {
		out = append(out, "gPTP is not real-time: "+strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return append(out, d.clock.trouble()...)
}

func syncedWord(ok bool) string {
	if ok {
		return "is synchronized"
	}
	return "is not synchronized"
}

// gptpViewer makes views of domains from what the machine does not know.
type gptpViewer struct {
	names       map[gptp.ClockIdentity]string
	ifname      func(tsn.Port) string
	stamps      func(tsn.Port) link.Stamping
	now         tsn.Instant
	gateOffset  int64
	gateInBound bool
}

func (w gptpViewer) domain(s gptp.DomainStatus) api.GPTPDomain {
	d := api.GPTPDomain{
		Domain: s.Domain, State: s.State.String(), StateFor: max(w.now.Sub(s.Since), 0), ClockIdentity: s.ClockIdentity.String(),
		Grandmaster: s.GrandMaster.String(), GrandmasterName: w.names[s.GrandMaster], IsGrandmaster: s.IsGM,
		Synchronized: s.Synced, NotSyncedReason: s.NotSyncedReason, Holdover: s.State == gptp.TimeHoldover, HoldoverRatePPM: s.HoldoverRatePPB / 1000,
		ExternalPortConfiguration: s.ExternalPortConfiguration, StepsRemoved: s.StepsRemoved,
		Offset: s.Offset.LastNS, OffsetRMS: s.Offset.RMSNS, OffsetMax: s.Offset.MaxNS, OffsetWindow: s.Offset.Window, Outliers: s.Offset.Outliers,
		RatePPM: s.Relation.RatePPB / 1000, CurrentUtcOffset: s.CurrentUtcOffset, CurrentUtcOffsetValid: s.CurrentUtcOffsetValid,
		TimeSource: s.TimeSource, GmTimeBaseIndicator: s.GmTimeBaseIndicator, LastGmPhaseChange: s.LastGmPhaseChangeNS,
		Path: []api.GPTPClock{},
	}
	for _, id := range s.PathTrace {
		d.Path = append(d.Path, api.GPTPClock{Identity: id.String(), Name: w.names[id]})
	}
	for _, p := range s.Ports {
		g := portView(p, w.stamps(p.Port))
		g.Ifname, g.NeighborName, g.GateOffset, g.GateInBound = w.ifname(p.Port), w.names[p.Neighbor.Clock], w.gateOffset, w.gateInBound
		d.Ports = append(d.Ports, g)
	}
	return d
}

// portView is a port but for what is around it.
func portView(p gptp.PortStatus, stamps link.Stamping) api.GPTPPort {
	who := "software"
	if stamps.Hardware {
		who = "hardware"
	}
	g := api.GPTPPort{
		Port: p.Port, Up: p.Up, MasterOnly: p.MasterOnly, State: p.State.String(), AsCapable: p.AsCapable, Neighbor: p.NeighborIdentity,
		MeanLinkDelay: int64(p.MeanLinkDelayNS), NeighborPropDelayThresh: p.ThresholdNS,
		NeighborRateRatioPPM: (p.NeighborRateRatio - 1) * 1e6, Stamps: who, StampsWhy: stamps.Why, Counters: map[string]uint64{},
		NeighborGptpCapable: p.NeighborGptpCapable, CommonLinkDelay: p.CommonLinkDelay, PdelayResumesIn: p.PdelayResumesInNS,
		Intervals: api.GPTPIntervals{
			Sync: intervalView(p.Intervals.Sync), Announce: intervalView(p.Intervals.Announce),
			PdelayReq: intervalView(p.Intervals.PdelayReq), GptpCapable: intervalView(p.Intervals.GptpCapable),
		},
	}
	if !p.AsCapable {
		g.Reason = p.AsCapableReason.String()
		g.Explanation = g.Explain()
	}
	for _, c := range flatten("", p.Counters) {
		g.Counters[c.name[1:]] = c.value
	}
	return g
}

func intervalView(v gptp.IntervalStatus) api.GPTPInterval {
	ns := func(log int8) int64 { return int64(math.Ldexp(1e9, int(log))) }
	i := api.GPTPInterval{Current: ns(v.CurrentLog), Configured: ns(v.InitialLog)}
	if v.Stopped {
		i.Current = 0
	}
	return i
}

// clockNames are the nodes of the fabric by the clock identity that is made
// from their address.
func (d *Daemon) clockNames(ctx context.Context) map[gptp.ClockIdentity]string {
	names := map[gptp.ClockIdentity]string{}
	members, err := d.fabric.members(ctx)
	if err != nil {
		d.log.Debug("clocks have no names", "err", err)
	}
	for _, m := range members {
		if !m.system.IsZero() {
			names[gptp.ClockIdentityFromMAC(m.system)] = m.name
		}
	}
	names[gptp.ClockIdentityFromMAC(d.cfg.SystemID)] = d.cfg.Name
	return names
}

// clockName is the name of the node with that clock, or else the identity.
func (d *Daemon) clockName(ctx context.Context, id gptp.ClockIdentity) string {
	if name := d.clockNames(ctx)[id]; name != "" {
		return name
	}
	return id.String()
}
