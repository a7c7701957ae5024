package link

import "tsnswitch"

// freqUnit is the kernel's unit of frequency, 2^-16 ppm: a clock adjusted by
// f runs at 1 + f/freqUnit of its oscillator.
const freqUnit = 65_536_000_000

// account remembers what was done to a steered clock, so that its readings
// can be turned back into those of the oscillator under it, which nobody
// steers: LocalClock. It is exact integer arithmetic and knows no kernel.
//
//	reading   ──────┐step
//	                └────/────    slope 1+f/freqUnit, changed by setFrequency
//	LocalTime ───────────────     slope 1, continuous
type account struct {
	segments []segment // oldest first, never empty
}

// segment is the time from one adjustment to the next.
type segment struct {
	from  int64 // the reading at its start
	local tsn.LocalTime
	freq  int64 // in freqUnit
	back  bool  // it began with a step back
}

// maxSegments keeps enough past for stamps that are still on their way.
const maxSegments = 16

// newAccount starts a clock that reads reading, and already runs at freq, at local.
func newAccount(reading int64, local tsn.LocalTime, freq int64) account {
	return account{segments: []segment{{from: reading, local: local, freq: freq}}}
}

func (a *account) last() segment { return a.segments[len(a.segments)-1] }

// setFrequency records that from reading on the clock runs at freq.
func (a *account) setFrequency(reading, freq int64) {
	a.push(segment{from: reading, local: a.last().toLocal(reading), freq: freq})
}

// step records that the clock jumped by ns when it read reading.
func (a *account) step(reading, ns int64) {
	s := a.last()
	a.push(segment{from: reading + ns, local: s.toLocal(reading), freq: s.freq, back: ns < 0})
}

func (a *account) push(s segment) {
	if len(a.segments) == maxSegments {
		a.segments = append(a.segments[:0], a.segments[1:]...)
	}
	a.segments = append(a.segments, s)
}

// toLocal converts a reading, also one from before the last adjustment. After
// a step back the readings of the repeated time are taken as the newer ones.
func (a *account) toLocal(reading int64) tsn.LocalTime {
	for i := len(a.segments) - 1; i > 0; i-- {
		if a.segments[i].from <= reading {
			return a.segments[i].toLocal(reading)
		}
	}
	return a.segments[0].toLocal(reading)
}

// stepBack is the index of the last segment that began with a step back, 0 if
// none is remembered.
func (a *account) stepBack() int {
	for i := len(a.segments) - 1; i > 0; i-- {
		if a.segments[i].back {
			return i
		}
	}
	return 0
}

// beforeStep converts a reading from before segment i.
func (a *account) beforeStep(i int, reading int64) tsn.LocalTime {
	past := account{segments: a.segments[:i]}
	return past.toLocal(reading)
}

// gate is the map that holds since the last adjustment.
func (a *account) gate(reading int64) GateMap {
	s := a.last()
	return GateMap{Local: s.toLocal(reading), Gate: reading, RatePPB: float64(s.freq) / (freqUnit / 1e9)}
}

func (s segment) toLocal(reading int64) tsn.LocalTime {
	d := reading - s.from
	return s.local + tsn.LocalTime(d-mulDiv(d, s.freq, freqUnit+s.freq))
}

// correction is what one call of Steer does to a clock.
type correction struct {
	step int64 // ns, 0 for none
	freq int64 // in freqUnit
}

// correctionTime is how long a small phase error takes to be worked off. The
// relation is filtered by gPTP already, so there is no second filter here.
const correctionTime = 4_000_000_000

// plan is the control law: run at gPTP's rate, plus what works off the phase
// error within correctionTime; an error above stepAbove is stepped instead.
// maxPPB is the clock's limit.
func plan(phase int64, ratePPB float64, stepAbove, maxPPB int64) correction {
	var c correction
	if max(phase, -phase) > stepAbove {
		c.step, phase = phase, 0
	}
	limit := float64(maxPPB)
	ppb := ratePPB + float64(phase)*1e9/correctionTime
	c.freq = int64(max(-limit, min(limit, ppb)) * (freqUnit / 1e9))
	return c
}
