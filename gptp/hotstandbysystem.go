package gptp

import (
	"fmt"
	"math"

	tsn "tsnswitch"
)

// HotStandbyState is hotStandbySystemState (802.1ASdm, managed as 14.19.5).
type HotStandbyState uint8

// The states.
const (
	HotStandbyInit         HotStandbyState = iota // waits for both domains
	HotStandbyRedundant                           // both are synchronized and agree
	HotStandbyNotRedundant                        // one is, or they do not agree
	HotStandbyOutOfSync                           // neither is: the time goes on as it was
)

var hotStandbyStateNames = [...]string{"INIT", "REDUNDANT", "NOT_REDUNDANT", "OUT_OF_SYNC"}

// String gives the amendment's name.
func (s HotStandbyState) String() string { return hotStandbyStateNames[s] }

// MarshalText prints the state as String does.
func (s HotStandbyState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	// hotStandbySyncTime is 2^hotStandbySystemLogSyncTimeThresh seconds: how long
	// things must have been well before the state says so.
	hotStandbySyncTime = 1_000_000_000

	// hotStandbyInitTime is how long INIT waits for the second domain when it has
	// one. The amendment has no such limit; without it a node that starts while a
	// grand master is down would never leave INIT.
	hotStandbyInitTime = 10_000_000_000

	hotStandbyTick    = 125_000_000 // ns between looks at a phase that is being slewed
	hotStandbySlewMax = 20_000      // ppb
	hotStandbyJump    = 500         // ns of a domain's own jump that are slewed, too
	hotStandbyLeap    = 5           // times Config.StepThreshold are too far to be slewed
)

// hotStandbySystem is HotStandbySystem (802.1ASdm): it makes one time of two
// domains. That time, target, is what the edge's clocks go by. It has the
// primary's domain number whichever domain it is taken from.
//
//	primary relation   ──┐ isSynced
//	                     ├── active ── + bias, slewed to 0 ──> target
//	secondary relation ──┘ isSynced
//
// The state changes with isSynced of both and with primarySecondaryOffset,
// whose threshold is Config.StepThreshold. Domains that have one grand master
// between them are not redundant, however well they agree.
type hotStandbySystem struct {
	sys                *System
	primary, secondary *Instance

	state    HotStandbyState
	since    tsn.Instant // that the state began
	offset   int64       // primarySecondaryOffset, ns, with its sign: primary less secondary
	well     condition   // both synchronized, and they agree
	one      condition   // at least one synchronized
	disagree condition   // both synchronized, and they do not agree
	adopted  bool        // the primary has taken the secondary's time

	active *Instance
	from   tsn.ClockRelation // active's, when target was made
	target tsn.ClockRelation
	told   RelationChanged
	good   bool    // target was synchronized once: from then on it is hitless
	bias   float64 // ns that target is ahead of active
	slew   float64 // ppb that bias falls with
	next   tsn.Instant
}

// condition is something that has to last.
type condition struct {
	on    bool
	since tsn.Instant
}

func (c *condition) set(v bool, now tsn.Instant) {
	if v != c.on {
		c.on, c.since = v, now
	}
}

// lasted reports whether it has lasted that long.
func (c condition) lasted(now tsn.Instant, ns int64) bool { return c.on && now.Sub(c.since) >= ns }

// due is when it will have, or Never.
func (c condition) due(now tsn.Instant, ns int64) tsn.Instant {
	if t := c.since.Add(ns); c.on && t > now {
		return t
	}
	return tsn.Never
}

func newHotStandbySystem(s *System, c HotStandbyConfig) *hotStandbySystem {
	h := &hotStandbySystem{sys: s, primary: s.Instance(c.Primary), secondary: s.Instance(c.Secondary), next: tsn.Never}
	h.active = h.primary
	return h
}

// run looks at both domains after every event, and returns its deadline.
func (h *hotStandbySystem) run() tsn.Instant {
	now, local := h.sys.now, h.sys.localNow()
	p, q := h.primary.sync.isSynced, h.secondary.sync.isSynced
	h.offset = h.primary.slave.relation.At(local).NS - h.secondary.slave.relation.At(local).NS
	limit := h.sys.cfg.StepThreshold
	agree := h.offset <= limit && h.offset >= -limit
	h.well.set(p && q && agree && h.primary.GrandMaster() != h.secondary.GrandMaster(), now)
	h.disagree.set(p && q && !agree, now)
	h.one.set(p || q, now)
	h.enter(h.following())
	h.choose(p, q)
	h.follow(local)
	return min(h.next, h.well.due(now, hotStandbySyncTime), h.one.due(now, hotStandbySyncTime), h.one.due(now, hotStandbyInitTime))
}

// following is the state that follows the present one.
func (h *hotStandbySystem) following() HotStandbyState {
	now := h.sys.now
	switch {
	case h.state == HotStandbyRedundant && h.well.on:
	case h.well.lasted(now, hotStandbySyncTime):
		return HotStandbyRedundant
	case h.state == HotStandbyInit:
		if h.one.lasted(now, hotStandbyInitTime) {
			return HotStandbyNotRedundant
		}
	case !h.one.on:
		return HotStandbyOutOfSync
	case h.state == HotStandbyRedundant || h.one.lasted(now, hotStandbySyncTime):
		return HotStandbyNotRedundant
	}
	return h.state
}

func (h *hotStandbySystem) enter(s HotStandbyState) {
	if s == h.state {
		return
	}
	h.state, h.since = s, h.sys.now
	h.sys.emit(tsn.Notice{Kind: NoticeHotStandby, Detail: s.String()})
}

// choose takes the one domain that is synchronized; of two the primary, unless
// that would be a leap.
func (h *hotStandbySystem) choose(p, q bool) {
	to := h.active
	switch {
	case p && !q, p && (h.state == HotStandbyInit || h.state == HotStandbyRedundant):
		to = h.primary
	case q && !p:
		to = h.secondary
	}
	if to == h.active {
		return
	}
	local := h.sys.localNow()
	h.active, h.from = to, to.slave.relation
	if ahead := h.target.At(local).NS - h.from.At(local).NS; !h.carry(float64(ahead)) && h.good {
		h.sys.emit(tsn.Notice{Kind: NoticeStep, Detail: fmt.Sprintf("%d ns", -ahead)})
	}
}

// carry makes the difference from active to target a bias, which slewing takes
// away, if the time so far was worth keeping and is not too far.
func (h *hotStandbySystem) carry(bias float64) bool {
	h.bias, h.slew = 0, 0
	if h.good && math.Abs(bias) <= hotStandbyLeap*float64(h.sys.cfg.StepThreshold) {
		h.bias = bias
		return true
	}
	return false
}

// follow makes target of active's relation and tells the edge.
func (h *hotStandbySystem) follow(local tsn.LocalTime) {
	rel, synced := h.active.slave.relation, h.active.sync.isSynced
	if rel != h.from || h.sys.now >= h.next || synced != h.told.Synced || h.active.GrandMaster() != h.told.GrandMaster || h.active.cfg.Domain != h.told.Domain {
		h.advance(rel, local, synced)
		h.publish(synced)
	}
	h.good = h.good || synced
}

// advance lets the slewing of the time since the last look count, takes a jump
// of active's up into bias, and finds the rate to slew with from here.
func (h *hotStandbySystem) advance(rel tsn.ClockRelation, local tsn.LocalTime, synced bool) {
	h.bias -= h.slew * float64(local.Sub(h.target.Local)) * 1e-9
	if jump := float64(rel.At(local).NS - h.from.At(local).NS); math.Abs(jump) > hotStandbyJump {
		h.carry(h.bias - jump)
	}
	h.from = rel
	if h.slew = 0; synced && math.Abs(h.bias) >= 1 {
		h.slew = slewRate(h.bias, hotStandbySlewMax)
	}
	h.target = tsn.ClockRelation{Local: local, PTP: rel.At(local).Add(int64(math.Round(h.bias))), RatePPB: rel.RatePPB - h.slew}
	h.target.PTP.Domain = h.primary.cfg.Domain
	h.next = tsn.Never
	if h.slew != 0 {
		h.next = h.sys.now.Add(hotStandbyTick)
	}
}

// slewRate takes a phase away with a time constant of a second, in ppb.
func slewRate(phase, limit float64) float64 { return max(-limit, min(limit, phase)) }

func (h *hotStandbySystem) publish(synced bool) {
	h.told = RelationChanged{
		Domain: h.active.cfg.Domain, Target: true, Relation: h.target, Synced: synced,
		GrandMaster: h.active.GrandMaster(), OffsetNS: h.active.slave.servo.stats.last, UtcOffset: h.active.utcOffset(),
	}
	h.sys.emit(h.told)
}
