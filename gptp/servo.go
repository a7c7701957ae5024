package gptp

import (
	"math"

	tsn "tsnswitch"
)

// The servo. It is a PI controller on the relation: a Sync that finds the
// clock off by e moves its phase by alpha*e and its rate by beta*e per interval
// since the last Sync. Both gains start high and fall with the number of Syncs
// as those of a least squares line over k samples do,
//
//	alpha = 2(2k-1) / k(k+1)     beta = 6 / k(k+1)
//
// which is the fastest lock that noise allows; k stops at a length that depends
// on the noise seen, so that the clock can follow a drifting oscillator.
const (
	servoAcquire = 3 // Syncs whose median sets the phase
	servoFirstK  = 4
	servoQuietK  = 16   // longest memory with little noise, in Syncs
	servoNoisyK  = 32   // and with more than
	servoNoisy   = 300  // ns of noise, a host's stamps,
	servoBusyK   = 64   // and with more than
	servoBusy    = 2000 // ns, a busy host's
	servoSettled = 8    // k from which the clock counts as synced, with little noise;
	servoCalmed  = 16   // with more

	servoWindow    = 16      // innovations that noise is judged by
	servoSlack     = 500     // ns that are never an outlier
	servoOutlier   = 5       // standard deviations that are
	servoPatience  = 16      // outliers in a row that are the truth: 2 s
	servoMaxRate   = 900e3   // ppb
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
	rejected  int // in a row
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
	s.acquired, s.firsts, s.rejected = false, s.firsts[:0], 0
}

// settled reports whether the relation is worth its name.
func (s *servo) settled() bool {
	return s.acquired && (s.k >= servoCalmed || s.k >= servoSettled && s.spread <= servoNoisy)
}

// sample takes what a Sync said: at local it was ptp, and the grand master runs
// ratePPB faster than LocalClock.
func (s *servo) sample(rel tsn.ClockRelation, local tsn.LocalTime, ptp tsn.PTPTime, ratePPB float64) servoResult {
	e := innovation(rel, local, ptp)
	if !s.acquired {
		return s.first(rel, local, ptp, ratePPB)
	}
	s.scratch = append(s.scratch[:0], s.recent...)
	mid, spread := medianSpread(s.scratch)
	if math.Abs(e-mid) > servoOutlier*spread+servoSlack {
		s.stats.outliers++
		if s.rejected++; s.rejected >= servoPatience {
			s.acquire()
		}
		return servoResult{offset: int64(-e)}
	}
	s.rejected, s.spread = 0, spread
	s.remember(e)
	s.stats.add(int64(-e))
	s.k = min(s.k+1, memory(spread))
	k := float64(s.k)
	alpha, beta := 2*(2*k-1)/(k*(k+1)), 6/(k*(k+1))
	rate := rel.RatePPB
	if dt := float64(local.Sub(rel.Local)) * 1e-9; dt > 0.001 {
		rate = clampRate(rate + beta*e/dt)
	}
	s.averageRate(rate)
	return servoResult{
		relation: tsn.ClockRelation{Local: local, PTP: rel.At(local).Add(int64(math.Round(alpha * e))), RatePPB: rate},
		changed:  true, offset: int64(-e),
	}
}

// memory is how many Syncs the servo goes by, given the noise.
func memory(spread float64) int {
	switch {
	case spread > servoBusy:
		return servoBusyK
	case spread > servoNoisy:
		return servoNoisyK
	}
	return servoQuietK
}

// first collects the Syncs whose median sets the phase. The rate is the
// measured one the first time and after a step, else the one it had.
func (s *servo) first(rel tsn.ClockRelation, local tsn.LocalTime, ptp tsn.PTPTime, ratePPB float64) servoResult {
	s.firsts = append(s.firsts, servoSample{local, ptp})
	if len(s.firsts) < servoAcquire {
		return servoResult{}
	}
	next := tsn.ClockRelation{Local: local, PTP: rel.At(local), RatePPB: rel.RatePPB}
	e := s.firstError(rel)
	far := !s.everSet || math.Abs(e) > s.stepThreshold
	if far {
		// Far away the old rate would skew the older Syncs of the three.
		next = tsn.ClockRelation{Local: local, PTP: ptp, RatePPB: clampRate(ratePPB)}
		next.PTP = next.PTP.Add(int64(math.Round(s.firstError(next))))
		s.k, s.meanCount = servoFirstK, 0
	} else {
		next.PTP = next.PTP.Add(int64(math.Round(e)))
		s.k = servoCalmed
	}
	s.recent = s.recent[:0]
	for _, f := range s.firsts {
		s.remember(innovation(next, f.local, f.ptp))
	}
	stepped := far && s.everSet
	s.acquire()
	s.acquired, s.everSet = true, true
	return servoResult{relation: next, changed: true, stepped: stepped, offset: int64(-e)}
}

func (s *servo) firstError(rel tsn.ClockRelation) float64 {
	s.scratch = s.scratch[:0]
	for _, f := range s.firsts {
		s.scratch = append(s.scratch, innovation(rel, f.local, f.ptp))
	}
	return median(s.scratch)
}

func (s *servo) remember(e float64) {
	if len(s.recent) == servoWindow {
		copy(s.recent, s.recent[1:])
		s.recent = s.recent[:servoWindow-1]
	}
	s.recent = append(s.recent, e)
}

// averageRate keeps the rate to hold over with: a plain mean at first, then an
// exponential one.
func (s *servo) averageRate(rate float64) {
	if s.k < servoQuietK {
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
