package mrp

import tsn "tsnswitch"

// periodic is the PeriodicTransmission state machine (802.1Q table 10-6), for
// applications that have one.
type periodic struct {
	active bool
	timer  tsn.Instant
}

func (p *periodic) enable(now tsn.Instant, every int64) {
	p.active, p.timer = true, now.Add(every)
}
