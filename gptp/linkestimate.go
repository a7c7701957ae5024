package gptp

import (
	"math"
	"slices"

	tsn "tsnswitch"
)

// linkWindow is how many exchanges meanLinkDelay is taken over.
const linkWindow = 16

const (
	// maxRatePPM is further than two oscillators of gPTP (+-100 ppm each) can be
	// apart, with room for noise; cumulativeScaledRateOffset holds 976.
	maxRatePPM = 900
	// peerJump, in ns, is a change between the two clocks that no noise explains:
	// the neighbour restarted or was stepped.
	peerJump = 10_000_000
	// delaySlack, in ns, is never called an outlier.
	delaySlack = 100
	// minRateSamples make a slope.
	minRateSamples = 3
)

// exchange is one complete measurement: request out t1 and in t2, response out
// t3 and in t4; t1 and t4 by LocalClock, t2 and t3 by the neighbour's.
type exchange struct {
	t1, t4 tsn.LocalTime
	t2, t3 int64
	corr   float64 // correctionFields of both answers, ns, as in 11.2.19.3.4
}

// linkEstimate turns exchanges into neighborRateRatio and meanLinkDelay. It is
// made for stamps with outliers of milliseconds among noise of a microsecond:
// exchanges whose delay stands out do not count for the rate, and the delay is
// the mean of the middle half of the window.
type linkEstimate struct {
	window     []exchange // oldest first
	rateRatio  float64    // neighbour's frequency over LocalClock's (11.2.13.9)
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
	if n := len(l.window); n > 0 {
		last := l.window[n-1]
		own, other := float64(x.t4.Sub(last.t4)), float64(x.t3)-float64(last.t3)
		if math.Abs(other-own) > peerJump+own*maxRatePPM*1e-6 {
			l.window = l.window[:0]
		}
	}
	if len(l.window) == linkWindow {
		l.window = slices.Delete(l.window, 0, 1)
	}
	l.window = append(l.window, x)
	l.estimateRate(l.window[max(0, len(l.window)-rateWindow):])
	l.meanDelay = l.midmean()
}

// delay is meanLinkDelay of one exchange (equation 16-1).
func (l *linkEstimate) delay(x exchange) float64 {
	own := float64(x.t4.Sub(x.t1))
	return (own + own*(l.rateRatio-1) - float64(x.t3-x.t2) - x.corr) / 2
}

// estimateRate fits a line to (t4, t3), first through all, then through those
// exchanges whose delay is like the others'.
func (l *linkEstimate) estimateRate(w []exchange) {
	if len(w) < minRateSamples {
		return
	}
	if !l.rateValid {
		l.setRate(slope(w, func(exchange) bool { return true }))
	}
	l.scratch = l.scratch[:0]
	for _, x := range w {
		l.scratch = append(l.scratch, l.delay(x))
	}
	mid, spread := medianSpread(l.scratch)
	limit := 3*spread + delaySlack
	l.setRate(slope(w, func(x exchange) bool { return math.Abs(l.delay(x)-mid) <= limit }))
}

func (l *linkEstimate) setRate(ratio float64) {
	l.outOfRange = math.Abs(ratio-1) > maxRatePPM*1e-6
	if ratio != 0 && !l.outOfRange {
		l.rateRatio, l.rateValid = ratio, true
	}
}

// slope is the least squares slope of t3 over t4, 0 if it takes fewer than
// minRateSamples.
func slope(w []exchange, use func(exchange) bool) float64 {
	first := w[0]
	var n, sx, sz, sxx, sxz float64
	for _, x := range w {
		if !use(x) {
			continue
		}
		// z is how far the neighbour runs ahead: small, so nothing is lost.
		d := x.t4.Sub(first.t4)
		t, z := float64(d)*1e-9, float64(x.t3-first.t3-d)+x.corr-first.corr
		n, sx, sz, sxx, sxz = n+1, sx+t, sz+z, sxx+t*t, sxz+t*z
	}
	det := n*sxx - sx*sx
	if n < minRateSamples || det <= 0 {
		return 0
	}
	return 1 + (n*sxz-sx*sz)/det*1e-9
}

// midmean is the mean of the middle half of the window's delays.
func (l *linkEstimate) midmean() float64 {
	l.scratch = l.scratch[:0]
	for _, x := range l.window {
		l.scratch = append(l.scratch, l.delay(x))
	}
	slices.Sort(l.scratch)
	cut := len(l.scratch) / 4
	mid := l.scratch[cut : len(l.scratch)-cut]
	sum := 0.0
	for _, d := range mid {
		sum += d
	}
	return sum / float64(len(mid))
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
