package gptp

import (
	"math"
	"slices"

	tsn "tsnswitch"
)

// linkWindow is how many exchanges meanLinkDelay is taken over, and maxRateWindow
// how many neighborRateRatio may be: a link keeps its length, an oscillator does
// not keep its frequency.
const linkWindow, maxRateWindow = 32, 16

const (
	// maxRatePPM is further than two oscillators of gPTP (+-100 ppm each) can be
	// apart, with room for noise; cumulativeScaledRateOffset holds 976.
	maxRatePPM = 900
	// peerJump, in ns, is a change between the two clocks that no noise explains:
	// the neighbour restarted or was stepped.
	peerJump = 10_000_000
	// delaySlack, in ns, is never called an outlier.
	delaySlack = 100
	// fewDelays are too few for a mean.
	fewDelays = 8
	// minRateSamples make a slope, minDriftSamples a curve.
	minRateSamples, minDriftSamples = 3, 5
	// driftEvidence is how many standard deviations a curvature must be from none
	// to be believed.
	driftEvidence = 6
	// maxDriftAge, in seconds, is how long a drift is carried on: a corner of
	// temperature would otherwise be overrun while exchanges are lost. The other
	// bound, for the past, is further than any window that has a drift.
	maxDriftAge, minDriftAge = 2, -64
)

// exchange is one complete measurement: request out t1 and in t2, response out
// t3 and in t4; t1 and t4 by LocalClock, t2 and t3 by the neighbour's.
type exchange struct {
	t1, t4 tsn.LocalTime
	t2, t3 int64
	corr   float64 // correctionFields of both answers, ns, as in 11.2.19.3.4
	delay  float64 // by the rate ratio of then
}

// linkEstimate turns exchanges into neighborRateRatio and meanLinkDelay. It is
// made for stamps with outliers of milliseconds among noise of a microsecond:
// exchanges whose delay stands out do not count for the rate, and the delay is
// the mean of the middle half of the window.
//
// Two oscillators that drift apart by 2 ppm/s (Annex B) would make a slope over
// 8 s wrong by 8 ppm at its end, 80 ns in every relay of 10 ms residence. So a
// parabola is fitted where the stamps are good enough to show one, and the ratio
// is that at the moment it is used for.
type linkEstimate struct {
	window     []exchange // oldest first
	rateRatio  float64    // neighbour's frequency over LocalClock's (11.2.13.9)
	drift      float64    // of rateRatio, per second; 0 unless it is plain to see
	rateAt     tsn.LocalTime
	rateValid  bool
	outOfRange bool    // the slope was one that cannot be
	meanDelay  float64 // ns of the neighbour's clock (10.2.5.8)
	scratch    []float64
}

func (l *linkEstimate) reset() {
	*l = linkEstimate{window: l.window[:0], rateRatio: 1, scratch: l.scratch[:0]}
}

// add takes a complete exchange into the window.
func (l *linkEstimate) add(x exchange, rateWindow int) {
	if n := len(l.window); n > 0 && x.jumpedSince(l.window[n-1]) {
		l.window = l.window[:0]
	}
	if len(l.window) == linkWindow {
		l.window = slices.Delete(l.window, 0, 1)
	}
	l.window = append(l.window, x)
	l.estimateRate(l.window[max(0, len(l.window)-rateWindow):])
	l.meanDelay = l.midmean()
}

// jumpedSince reports whether the neighbour's clock was set between two
// exchanges: that moves both its times, while a late stamp spoils one of four.
func (x exchange) jumpedSince(last exchange) bool {
	out := float64(x.t2) - float64(last.t2) - float64(x.t1.Sub(last.t1))
	back := float64(x.t3) - float64(last.t3) - float64(x.t4.Sub(last.t4))
	limit := peerJump + float64(x.t4.Sub(last.t4))*maxRatePPM*1e-6
	return min(out, back) > limit || max(out, back) < -limit
}

// ratio is neighborRateRatio at a LocalTime about now.
func (l *linkEstimate) ratio(at tsn.LocalTime) float64 {
	age := float64(at.Sub(l.rateAt)) * 1e-9
	return l.rateRatio + l.drift*max(minDriftAge, min(age, maxDriftAge))
}

// setDelays is meanLinkDelay of each exchange (equation 16-1).
func (l *linkEstimate) setDelays(w []exchange) {
	for i := range w {
		x := &w[i]
		own := float64(x.t4.Sub(x.t1))
		x.delay = (own + own*(l.ratio(x.t4)-1) - float64(x.t3-x.t2) - x.corr) / 2
	}
}

// estimateRate fits t3 over t4, first to all, then to those exchanges whose
// delay is like the others'.
func (l *linkEstimate) estimateRate(w []exchange) {
	if len(w) >= minRateSamples {
		if !l.rateValid {
			l.setRate(w, fit(w, math.Inf(-1), math.Inf(1)))
			l.rateValid = false // one of them may be late by milliseconds
			l.setDelays(w)
		}
		l.setDelays(w[len(w)-1:])
		mid, spread := medianSpread(l.delays(w))
		limit := 3*spread + delaySlack
		l.setRate(w, fit(w, mid-limit, mid+limit))
	}
	l.setDelays(w)
}

// setRate takes a fit as the rate at the end of w.
func (l *linkEstimate) setRate(w []exchange, f rateFit) {
	l.outOfRange = math.Abs(f.rate) > maxRatePPM*1e3
	if f.ok && !l.outOfRange {
		l.rateRatio, l.drift, l.rateValid = 1+f.rate*1e-9, f.drift*1e-9, true
		l.rateAt = w[len(w)-1].t4
	}
}

// delays are those of w, in scratch.
func (l *linkEstimate) delays(w []exchange) []float64 {
	l.scratch = l.scratch[:0]
	for _, x := range w {
		l.scratch = append(l.scratch, x.delay)
	}
	return l.scratch
}

// rateFit is how the neighbour's clock runs against LocalClock at the end of a
// window: faster by rate, ns/s, and more so by drift, ns/s, every second.
type rateFit struct {
	rate, drift float64
	ok          bool
}

// fit is the least squares parabola of t3-t4 over t4, or the line if there is no
// evidence of a curve, through the exchanges with a delay of low to high. It
// goes by polynomials that are orthogonal on the points, so that the line is
// there before the parabola is.
func fit(w []exchange, low, high float64) (f rateFit) {
	var t, z [maxRateWindow]float64
	n, first, last := 0, w[0], w[len(w)-1]
	for _, x := range w {
		if x.delay >= low && x.delay <= high {
			// z is how far the neighbour runs ahead: small, so nothing is lost.
			t[n] = float64(x.t4.Sub(last.t4)) * 1e-9
			z[n] = float64(x.t3-first.t3-x.t4.Sub(first.t4)) + x.corr - first.corr
			n++
		}
	}
	if n < minRateSamples {
		return f
	}
	return fitPoints(t[:n], z[:n])
}

// fitPoints is fit at t = 0.
func fitPoints(t, z []float64) (f rateFit) {
	n := float64(len(t))
	mt, mz := mean(t), mean(z)
	var s2, s3, sz float64 // moments about the means
	for i := range t {
		d := t[i] - mt
		s2, s3, sz = s2+d*d, s3+d*d*d, sz+d*(z[i]-mz)
	}
	if s2 <= 0 {
		return f
	}
	f.rate, f.ok = sz/s2, true
	skew, level := s3/s2, s2/n // the parabola is d*d - skew*d - level
	var qq, qz, rest float64
	for i := range t {
		d := t[i] - mt
		q := d*d - skew*d - level
		off := z[i] - mz - f.rate*d
		qq, qz, rest = qq+q*q, qz+q*off, rest+off*off
	}
	if len(t) < minDriftSamples || qq <= 0 {
		return f
	}
	curve := qz / qq
	if noise := max(0, rest-curve*qz) / (n - 3); curve*qz > driftEvidence*driftEvidence*noise {
		f.rate += curve * (-2*mt - skew)
		f.drift = 2 * curve
	}
	return f
}

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x
	}
	return m / float64(len(v))
}

// midmean is the mean of the middle half of the window's delays, or the median
// of few: a quarter of those can be no more than one.
func (l *linkEstimate) midmean() float64 {
	d := l.delays(l.window)
	slices.Sort(d)
	cut := len(d) / 4
	if len(d) < fewDelays {
		cut = (len(d) - 1) / 2
	}
	return mean(d[cut : len(d)-cut])
}

// medianSpread returns the median of v and the median distance from it, scaled
// to the standard deviation of a normal distribution. It sorts v.
func medianSpread(v []float64) (mid, spread float64) {
	mid = median(v)
	for i := range v {
		v[i] = math.Abs(v[i] - mid)
	}
	return mid, 1.4826 * median(v)
}

func median(v []float64) float64 {
	slices.Sort(v)
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
