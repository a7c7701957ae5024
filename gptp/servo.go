package gptp

import (
	"math"
	"slices"

	tsn "tsnswitch"
)

// The servo. It is a PI controller on the relation: a Sync that finds the
// clock off by e moves its phase by alpha*e and its rate by beta*e per interval
// since the last Sync. Gains start high and fall with the number of Syncs as
// those of a least squares line over k samples do,
//
//	alpha = 2(2k-1) / k(k+1)     beta = 6 / k(k+1)
//
// which is the fastest lock that noise allows. k stops where the noise left over
// is as large as what an oscillator that drifts by servoDrift is missed by,
//
//	2*spread/sqrt(k) = servoDrift*k*k*T*T/6
//
// Hardware stamps show a drift within a second, which a line lags behind: 0.7 us
// at 1 ppm/s. There the gains are those of a parabola over k samples, and the
// drift is a third state, the rate's own rate:
//
//	alpha = 3(3k*k-3k+2) / k(k+1)(k+2)   beta = 18(2k-1) / k(k+1)(k+2)   gamma = 60 / k(k+1)(k+2)
//
// Should e lean to one side all the same (the oscillator does what it did not do
// before), k shrinks until it does not.
const (
	servoAcquire = 3     // Syncs that agree set the phase
	servoFirstK  = 4     // where k begins
	servoLeastK  = 8     // to what it shrinks, and from where on there is a third state
	servoQuietK  = 16    // k with little noise, in Syncs
	servoMostK   = 128   // and with any
	servoNoisy   = 300.0 // ns of noise, more is a host's stamps and no drift is seen in it
	servoDrift   = 20.0  // ns/s/s, that of an oscillator in a room
	servoSettled = 8     // k from which the clock counts as synced

	servoWindow    = 16      // innovations that noise is judged by
	servoSlack     = 500     // ns that are never an outlier
	servoLean      = 50      // ns that are never a lean
	servoOutlier   = 5       // standard deviations that are an outlier
	servoNear      = 2       // and that three Syncs together may be off by
	servoAgree     = 4       // outliers in a row that agree are the truth
	servoPatience  = 16      // and that many are if they do not: 2 s
	servoMaxRate   = 900e3   // ppb
	servoMaxDrift  = 10e3    // ns/s/s
	servoMeanCount = 64      // Syncs the holdover rate is taken over
	statWindow     = 128     // Syncs the status figures are taken over
	maxInnovation  = 1 << 62 // ns; offsets beyond are held here
)

type servo struct {
	stepThreshold float64

	acquired  bool
	everSet   bool // the phase was set at least once
	firsts    []servoSample
	k         int
	rateK     int           // what k was before the phase, but not the rate, became unknown
	drift     float64       // of the rate, ns/s/s; 0 with much noise
	rejected  int           // in a row
	outliers  []servoSample // the last of those, at most servoAgree
	recent    []float64
	spread    float64 // of recent, as a standard deviation
	scratch   []float64
	meanRate  float64
	meanCount int

	stats offsetStats
}

type servoSample struct {
	local tsn.LocalTime
	ptp   tsn.PTPTime
}

type servoResult struct {
	relation tsn.ClockRelation
	changed  bool
	stepped  bool
	offset   int64 // own time less the grand master's, before correction
}

// acquire makes the servo look anew where the grand master's time is; the
// relation stands until it knows.
func (s *servo) acquire() {
	s.acquired, s.firsts, s.rejected, s.outliers = false, s.firsts[:0], 0, s.outliers[:0]
}

// settled reports whether the relation is worth its name.
func (s *servo) settled() bool {
	return s.acquired && s.k >= servoSettled
}

// sample takes what a Sync said: at local it was ptp, and the grand master runs
// ratePPB faster than LocalClock.
func (s *servo) sample(rel tsn.ClockRelation, local tsn.LocalTime, ptp tsn.PTPTime, ratePPB float64) servoResult {
	if !s.acquired {
		return s.first(rel, local, ptp, ratePPB)
	}
	dt := max(-servoLongest, min(float64(local.Sub(rel.Local))*1e-9, servoLongest))
	bend := s.drift * dt * dt / 2 // what the relation, which is a line, leaves out
	e := innovation(rel, local, ptp) - bend
	s.scratch = append(s.scratch[:0], s.recent...)
	mid, spread := medianSpread(s.scratch)
	limit := servoOutlier*spread + servoSlack
	if len(s.recent) < servoWindow/2 {
		limit = max(limit, s.stepThreshold) // a few that happen to be close say little of noise
	}
	if math.Abs(e-mid) > limit {
		return s.outlier(rel, servoSample{local, ptp}, ratePPB, limit)
	}
	s.rejected, s.outliers, s.spread = 0, s.outliers[:0], spread
	s.remember(e)
	s.stats.add(int64(-e))
	s.lengthen(mid, dt)
	alpha, beta, gamma := s.gains()
	rate := rel.RatePPB
	if dt > servoShortest {
		rate = clampRate(rate + s.drift*dt + beta*e/dt)
		s.drift = max(-servoMaxDrift, min(s.drift+gamma*e/(dt*dt), servoMaxDrift))
	}
	s.averageRate(rate, dt)
	return servoResult{
		relation: tsn.ClockRelation{Local: local, PTP: rel.At(local).Add(int64(math.Round(bend + alpha*e))), RatePPB: rate},
		changed:  true, offset: int64(-e),
	}
}

// servoShortest and servoLongest, in seconds, bound the interval between Syncs
// that the servo reckons with.
const servoShortest, servoLongest = 0.001, 64

// quiet reports whether the stamps are good enough to see a drift.
func (s *servo) quiet() bool { return s.spread <= servoNoisy && s.k >= servoLeastK }

// gains are those of the fit over the last k Syncs; those of the rate, of as many
// as the rate is known from.
func (s *servo) gains() (alpha, beta, gamma float64) {
	k, r := float64(s.k), float64(max(s.k, s.rateK))
	if !s.quiet() {
		s.drift = 0
		return 2 * (2*k - 1) / (k * (k + 1)), 6 / (r * (r + 1)), 0
	}
	d := r * (r + 1) * (r + 2)
	return 3 * (3*k*k - 3*k + 2) / (k * (k + 1) * (k + 2)), 18 * (2*r - 1) / d, 60 / d
}

// lengthen lets k grow to what the noise asks for, or shrink if the last
// innovations lean to one side.
func (s *servo) lengthen(mid, dt float64) {
	want := servoQuietK
	if !s.quiet() && dt > servoShortest {
		want = max(servoQuietK, min(int(math.Pow(12*s.spread/(servoDrift*dt*dt), 0.4)), servoMostK))
	}
	switch {
	case len(s.recent) == servoWindow && math.Abs(mid) > s.spread+servoLean:
		s.k, s.rateK = max(min(s.k, want)*7/8, servoLeastK), 0
	case s.k < want:
		s.k++
	case s.k > want:
		s.k--
	}
}

// outlier takes a Sync that is not believed. Several in a row that lie on a line
// which a clock can follow are no outliers: the grand master's time or somebody's
// rate jumped. Stamps that come late out of a stalled host lie on none, or on one
// that is far too steep.
func (s *servo) outlier(rel tsn.ClockRelation, x servoSample, ratePPB, limit float64) servoResult {
	s.stats.outliers++
	s.rejected++
	if len(s.outliers) == servoAgree {
		s.outliers = append(s.outliers[:0], s.outliers[1:]...)
	}
	s.outliers = append(s.outliers, x)
	if s.agree(rel, limit) {
		truth := append([]servoSample(nil), s.outliers[servoAgree-servoAcquire:]...)
		s.acquire()
		s.firsts = append(s.firsts, truth[:servoAcquire-1]...)
		r := s.first(rel, x.local, x.ptp, ratePPB)
		s.k, s.rateK = servoFirstK, 0
		return r
	}
	if s.rejected >= servoPatience {
		s.acquire()
	}
	return servoResult{offset: int64(-innovation(rel, x.local, x.ptp))}
}

// agree reports whether the last outliers lie on a line, to within limit.
func (s *servo) agree(rel tsn.ClockRelation, limit float64) bool {
	if len(s.outliers) < servoAgree {
		return false
	}
	at := func(i int) (t, e float64) {
		x := s.outliers[i]
		return float64(x.local.Sub(s.outliers[0].local)), innovation(rel, x.local, x.ptp)
	}
	_, first := at(0)
	end, last := at(servoAgree - 1)
	if end <= 0 || math.Abs(last-first) > limit+end*servoMaxRate*1e-9 {
		return false
	}
	for i := 1; i < servoAgree-1; i++ {
		if t, e := at(i); math.Abs(e-first-(last-first)*t/end) > limit {
			return false
		}
	}
	return true
}

// first collects the Syncs that set the phase: three that agree, by the middle
// one. Over relays with a host's stamps one Sync in six can be late. The rate is
// the measured one the first time and after a step, else the one it had.
func (s *servo) first(rel tsn.ClockRelation, local tsn.LocalTime, ptp tsn.PTPTime, ratePPB float64) servoResult {
	s.firsts = append(s.firsts, servoSample{local, ptp})
	if len(s.firsts) < servoAcquire {
		return servoResult{}
	}
	next := tsn.ClockRelation{Local: local, PTP: rel.At(local), RatePPB: rel.RatePPB}
	e, agree := s.firstError(rel)
	shift, offset := e, int64(-e)
	far := !s.everSet || math.Abs(e) > s.stepThreshold
	if far {
		// Far away the old rate would skew the older Syncs.
		next = tsn.ClockRelation{Local: local, PTP: ptp, RatePPB: clampRate(ratePPB)}
		shift, agree = s.firstError(next)
	}
	if !agree && len(s.firsts) < servoPatience {
		return servoResult{}
	}
	switch {
	case far:
		s.k, s.rateK, s.meanCount, s.recent = servoFirstK, 0, 0, s.recent[:0]
	case math.Abs(e) <= servoNear*s.spread:
		shift = 0 // it is the same time: three Syncs know it no better than the relation
	default:
		s.rateK = max(s.k, s.rateK)
		s.k = servoFirstK
	}
	next.PTP = next.PTP.Add(int64(math.Round(shift)))
	s.drift = 0
	for _, f := range s.firsts {
		s.remember(innovation(next, f.local, f.ptp))
	}
	stepped := far && s.everSet
	s.acquire()
	s.acquired, s.everSet = true, true
	return servoResult{relation: next, changed: true, stepped: stepped, offset: offset}
}

// firstError is what has to be added to rel by the three of firsts that are
// closest to each other, and whether they are close.
func (s *servo) firstError(rel tsn.ClockRelation) (e float64, agree bool) {
	s.scratch = s.scratch[:0]
	for _, f := range s.firsts {
		s.scratch = append(s.scratch, innovation(rel, f.local, f.ptp))
	}
	slices.Sort(s.scratch)
	best := math.Inf(1)
	for i := servoAcquire - 1; i < len(s.scratch); i++ {
		if width := s.scratch[i] - s.scratch[i-servoAcquire+1]; width < best {
			best, e = width, s.scratch[i-servoAcquire/2]
		}
	}
	return e, best <= s.stepThreshold
}

func (s *servo) remember(e float64) {
	if len(s.recent) == servoWindow {
		copy(s.recent, s.recent[1:])
		s.recent = s.recent[:servoWindow-1]
	}
	s.recent = append(s.recent, e)
}

// averageRate keeps the rate to hold over with: a plain mean at first, then an
// exponential one. Where the oscillator is seen to drift the newest rate is best.
func (s *servo) averageRate(rate, dt float64) {
	noise := s.spread * math.Sqrt(720/math.Pow(float64(s.k), 5)) / (dt * dt) // of drift, from a fit
	if math.Abs(s.drift) > servoDrift+4*noise {
		s.meanCount, s.meanRate = 1, rate
		return
	}
	if max(s.k, s.rateK) < servoQuietK {
		return
	}
	s.meanCount = min(s.meanCount+1, servoMeanCount)
	if s.meanCount == 1 {
		s.meanRate = rate
	}
	s.meanRate += (rate - s.meanRate) / float64(s.meanCount)
}

// innovation is what has to be added to rel to agree with a Sync, ns.
func innovation(rel tsn.ClockRelation, local tsn.LocalTime, ptp tsn.PTPTime) float64 {
	e := float64(ptp.NS) - float64(rel.At(local).NS)
	if math.Abs(e) < 1<<50 {
		e = float64(ptp.NS - rel.At(local).NS) // exact
	}
	return max(-maxInnovation, min(maxInnovation, e))
}

func clampRate(ppb float64) float64 { return max(-servoMaxRate, min(servoMaxRate, ppb)) }

// offsetStats keeps the last offsets for status.
type offsetStats struct {
	last     int64
	ring     [statWindow]int64
	count    int // since start
	outliers uint64
}

func (o *offsetStats) add(v int64) {
	o.last = v
	o.ring[o.count%statWindow] = v
	o.count++
}

// window returns rms and largest magnitude over the last n Syncs.
func (o *offsetStats) window() (n int, rms float64, largest int64) {
	n = min(o.count, statWindow)
	for _, v := range o.ring[:n] {
		rms += float64(v) * float64(v)
		largest = max(largest, max(v, -v))
	}
	if n > 0 {
		rms = math.Sqrt(rms / float64(n))
	}
	return n, rms, largest
}
