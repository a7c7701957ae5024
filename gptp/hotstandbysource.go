package gptp

import (
	"math"

	tsn "tsnswitch"
)

// The other half of hot standby (802.1ASdm): the time of one domain directed
// into the other, at a grand master, so that both agree.
//
//   - The secondary grand master goes by the primary domain while that is
//     synchronized: at once while it is INIT itself, then slewed. A primary that
//     comes back is far off at first: it is given hotStandbyPatience, and
//     hotStandbySplit before the secondary's time is stepped to it.
//   - The primary grand master gives its own time, except that one that comes
//     back (INIT) to a secondary domain that goes on with the time it gave in an
//     earlier life takes that. It knows by this: a secondary that were new as
//     well would have come round to the primary's time within hotStandbyAdopt.

const (
	hotStandbyAdopt    = 2_000_000_000 // ns of disagreement
	hotStandbyPatience = 5_000_000_000

	// directMax is the phase, ns, up to which one time is slewed to another.
	// More than that for hotStandbySplit is two networks that ran for long without
	// each other: one step, told to everybody, is better than two times for ever.
	directMax       = 100_000
	hotStandbySplit = 10_000_000_000

	// directSlewMax is the rate, ppb, that takes it away: a change that no servo
	// behind the grand master loses its hold by.
	directSlewMax = 1000
)

// direct is called before a grand master's Sync.
func (h *hotStandbySystem) direct(m *clockMasterSyncSend) {
	switch m.in {
	case h.secondary:
		h.directSecondary(m)
	case h.primary:
		h.directPrimary(m)
	}
}

// directPrimary takes the secondary's time, once. Where the two agree that is
// no leap, but the rate of a time that has been going on.
func (h *hotStandbySystem) directPrimary(m *clockMasterSyncSend) {
	far := h.disagree.lasted(h.sys.now, hotStandbyAdopt)
	if h.state != HotStandbyInit || h.adopted || !h.well.on && !far || h.secondary.IsGrandMaster() {
		return
	}
	h.adopted = true
	m.adopt(h.secondary)
	m.holdover = far
}

func (h *hotStandbySystem) directSecondary(m *clockMasterSyncSend) {
	local := h.sys.localNow()
	from, own := h.primary.slave.relation, m.in.slave.relation
	phase := float64(from.At(local).NS - own.At(local).NS)
	far := math.Abs(phase)
	disagree := far > float64(h.sys.cfg.StepThreshold)
	switch {
	case !h.primary.sync.isSynced:
		m.release()
	case disagree && h.state == HotStandbyInit:
		m.adopt(h.primary)
		m.follow(h.primary)
	case far > directMax && h.disagree.lasted(h.sys.now, hotStandbySplit):
		m.adopt(h.primary)
		m.follow(h.primary)
	case far > directMax, disagree && !h.disagree.lasted(h.sys.now, hotStandbyPatience):
		m.release()
	case m.directed, disagree, h.state == HotStandbyInit, h.primary.IsGrandMaster(), h.well.lasted(h.sys.now, hotStandbySyncTime):
		m.follow(h.primary)
		m.run(local, from.RatePPB+slewRate(phase, directSlewMax))
	}
}

// adopt makes another domain's time this grand master's, at once.
func (m *clockMasterSyncSend) adopt(other *Instance) {
	local := m.in.sys.localNow()
	rel := tsn.ClockRelation{Local: local, PTP: other.slave.relation.At(local), RatePPB: other.slave.holdoverRate()}
	rel.PTP.Domain = m.in.cfg.Domain
	m.change(rel, local)
}

// follow says that the time is another domain's, and remembers its mean rate:
// when that domain is lost, the last thing it did may have been a leap.
func (m *clockMasterSyncSend) follow(other *Instance) {
	m.directed, m.holdover = true, false
	m.directedRate = other.slave.holdoverRate()
}

// release lets a time that was directed here go on by itself.
func (m *clockMasterSyncSend) release() {
	if m.directed {
		m.directed, m.holdover = false, true
		m.run(m.in.sys.localNow(), m.directedRate)
	}
}

// run lets the time go on with another rate.
func (m *clockMasterSyncSend) run(local tsn.LocalTime, ratePPB float64) {
	c := &m.in.slave
	c.relation = tsn.ClockRelation{Local: local, PTP: c.relation.At(local), RatePPB: ratePPB}
	m.in.publish(0)
}
