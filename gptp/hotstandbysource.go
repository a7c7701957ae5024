package gptp

import (
	"math"

	tsn "tsnswitch"
)

// The other half of hot standby (802.1ASdm): the time of one domain directed
// into the other, at a grand master, so that both agree.
//
//   - The secondary grand master goes by the primary domain while that is
//     synchronized: at once while it is INIT itself, then slewed.
//   - The primary grand master gives its own time, except that one that comes
//     back (INIT) to a secondary domain that goes on with the time it gave in an
//     earlier life takes that. It knows by this: a secondary that were new as
//     well would have come round to the primary's time within hotStandbyAdopt.

const (
	hotStandbyAdopt = 2_000_000_000 // ns of disagreement

	// directMax is the phase, ns, up to which one time is slewed to another. More
	// is left as it is and shown.
	directMax = 1_000_000
)

// direct is called before a grand master's Sync.
func (h *hotStandbySystem) direct(m *clockMasterSyncSend) {
	switch m.in {
	case h.secondary:
		h.directSecondary(m)
	case h.primary:
		if h.state == HotStandbyInit && !h.adopted && h.disagree.lasted(h.sys.now, hotStandbyAdopt) && !h.secondary.IsGrandMaster() {
			h.adopted = true
			m.adopt(h.secondary)
			m.holdover = true
		}
	}
}

func (h *hotStandbySystem) directSecondary(m *clockMasterSyncSend) {
	local := h.sys.localNow()
	from, own := h.primary.slave.relation, m.in.slave.relation
	phase := float64(from.At(local).NS - own.At(local).NS)
	switch far := math.Abs(phase); {
	case !h.primary.sync.isSynced || far > directMax && h.state != HotStandbyInit:
		m.release(h.primary.slave.holdoverRate())
	case far > m.in.slave.servo.stepThreshold && h.state == HotStandbyInit:
		m.adopt(h.primary)
		m.directed, m.holdover = true, false
	default:
		m.directed, m.holdover = true, false
		m.run(local, from.RatePPB+slewRate(phase))
	}
}

// adopt makes another domain's time this grand master's, at once.
func (m *clockMasterSyncSend) adopt(other *Instance) {
	local := m.in.sys.localNow()
	rel := tsn.ClockRelation{Local: local, PTP: other.slave.relation.At(local), RatePPB: other.slave.holdoverRate()}
	rel.PTP.Domain = m.in.cfg.Domain
	m.change(rel, local)
}

// release lets a time that was directed here go on by itself.
func (m *clockMasterSyncSend) release(ratePPB float64) {
	if m.directed {
		m.directed, m.holdover = false, true
		m.run(m.in.sys.localNow(), ratePPB)
	}
}

// run lets the time go on with another rate.
func (m *clockMasterSyncSend) run(local tsn.LocalTime, ratePPB float64) {
	c := &m.in.slave
	c.relation = tsn.ClockRelation{Local: local, PTP: c.relation.At(local), RatePPB: ratePPB}
	m.in.publish(0)
}
