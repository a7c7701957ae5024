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
	periods []int64 // distinct; a class is an index
	class   []int32 // of each stream
	gcds    [][]int64
	cycle   int64
	limits  []limits // of each link; nil: none
	misfit  []bool   // streams whose period makes the common cycle too long
}

// manyPeriods is where a table of all pairs of periods, and rings kept up for
// each, would cost more than they save.
const manyPeriods = 64

// always is the class of what is there in each period of any stream.
const always = -1

func newModel(p *schedule.Problem) *model {
	m := &model{p: p, margin: p.SyncError + p.Jitter, cycle: 1}
	m.early = m.margin > 0
	seen := make(map[int64]int32)
	var count []int
	for i := range p.Streams {
		s := &p.Streams[i]
		m.early = m.early || s.MinSize > 0 && s.MinSize < s.Size
		c, ok := seen[s.Period]
		if !ok {
			c = m.addPeriod(s.Period)
			seen[s.Period], count = c, append(count, 0)
		}
		m.class = append(m.class, c)
		count[c]++
	}
	m.common(count)
	return m
}

// addPeriod makes a class.
func (m *model) addPeriod(period int64) int32 {
	m.periods = append(m.periods, period)
	if len(m.periods) > manyPeriods {
		m.gcds = nil
		return int32(len(m.periods) - 1)
	}
	row := make([]int64, len(m.periods))
	for c, other := range m.periods {
		row[c] = gcd(period, other)
		if c < len(m.gcds) {
			m.gcds[c] = append(m.gcds[c], row[c])
		}
	}
	m.gcds = append(m.gcds, row)
	return int32(len(m.periods) - 1)
}

// classOf is the class of a period.
func (m *model) classOf(period int64) int32 {
	if c := slices.Index(m.periods, period); c >= 0 {
		return int32(c)
	}
	return m.addPeriod(period)
}

// common finds the hyperperiod. Periods that would make it too long are left
// out, those that few streams share first.
func (m *model) common(count []int) {
	order := make([]int, len(m.periods))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(count[b], count[a]), cmp.Compare(m.periods[a], m.periods[b]))
	})
	bad := make([]bool, len(m.periods))
	for _, c := range order {
		bad[c] = !m.include(m.periods[c])
	}
	for _, c := range m.class {
		m.misfit = append(m.misfit, bad[c])
	}
}

// include makes the cycle a multiple of period, unless that is too long.
func (m *model) include(period int64) bool {
	next := period / gcd(m.cycle, period)
	if m.cycle > m.longest()/next {
		return false
	}
	m.cycle *= next
	return true
}

// longest is the limit of the hyperperiod.
func (m *model) longest() int64 {
	if m.p.MaxCycle == 0 {
		return schedule.DefaultMaxCycle
	}
	return m.p.MaxCycle
}

// gcd of the periods of two classes; with class always it is the first's period.
func (m *model) gcd(a, b int32) int64 {
	switch {
	case b == always:
		return m.periods[a]
	case m.gcds != nil:
		return m.gcds[a][b]
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
