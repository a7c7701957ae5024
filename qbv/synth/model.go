package synth

import (
	"cmp"
	"slices"

	"tsnswitch/qbv/schedule"
)

// model is a Problem made ready: its distinct periods, their common cycle, and
// the streams left out because their periods have none.
type model struct {
	p       *schedule.Problem
	margin  int64
	early   bool    // frames may be early: residences are longer than windows
	periods []int64 // distinct, ascending
	class   []int32 // of each stream, index into periods
	gcds    []int64 // of each two classes, if there are few
	cycle   int64
	misfit  []bool // streams whose period makes the common cycle too long
}

// manyPeriods is where a table of all pairs of periods, and a timeline kept up
// for each, would cost more than they save.
const manyPeriods = 64

// always is the class of what is there in each period of any stream.
const always = -1

func newModel(p *schedule.Problem) *model {
	m := &model{p: p, margin: p.SyncError + p.Jitter, class: make([]int32, len(p.Streams)), misfit: make([]bool, len(p.Streams))}
	m.early = m.margin > 0 || p.SyncError > 0
	for i := range p.Streams {
		s := &p.Streams[i]
		m.early = m.early || s.MinSize > 0 && s.MinSize < s.Size
		m.periods = append(m.periods, s.Period)
	}
	slices.Sort(m.periods)
	m.periods = slices.Compact(m.periods)
	count := make([]int, len(m.periods))
	for i := range p.Streams {
		c, _ := slices.BinarySearch(m.periods, p.Streams[i].Period)
		m.class[i] = int32(c)
		count[c]++
	}
	m.common(count)
	if n := len(m.periods); n <= manyPeriods {
		m.gcds = make([]int64, n*n)
		for i := range m.gcds {
			m.gcds[i] = gcd(m.periods[i/n], m.periods[i%n])
		}
	}
	return m
}

// common finds the hyperperiod. Periods that would make it too long are left
// out, those that few streams share first.
func (m *model) common(count []int) {
	limit := m.p.MaxCycle
	if limit == 0 {
		limit = schedule.DefaultMaxCycle
	}
	order := make([]int, len(m.periods))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(count[b], count[a]) })
	m.cycle = 1
	bad := make([]bool, len(m.periods))
	for _, c := range order {
		if next := m.periods[c] / gcd(m.cycle, m.periods[c]); m.cycle <= limit/next {
			m.cycle *= next
		} else {
			bad[c] = true
		}
	}
	for i, c := range m.class {
		m.misfit[i] = bad[c]
	}
}

// gcd of the periods of two classes; of class always it is the other's period.
func (m *model) gcd(a, b int32) int64 {
	switch {
	case b == always:
		return m.periods[a]
	case m.gcds != nil:
		return m.gcds[int(a)*len(m.periods)+int(b)]
	}
	return gcd(m.periods[a], m.periods[b])
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func mod(a, m int64) int64 {
	if a %= m; a < 0 {
		a += m
	}
	return a
}
