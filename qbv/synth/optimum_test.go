package synth

import (
	"math/rand/v2"
	"slices"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// tick is the grid of the tiny problems: all sizes, periods and delays are
// multiples of it, so whatever can be scheduled can be on the grid.
const tick = 1000

// tiny is a problem of two bridges in a row with two stations at each, small
// enough to try everything.
func tiny(r *rand.Rand) *schedule.Problem {
	p := &schedule.Problem{}
	for i := range 6 {
		p.Nodes = append(p.Nodes, schedule.Node{Bridge: i < 2})
	}
	for _, ends := range [][2]schedule.NodeID{{2, 0}, {3, 0}, {0, 1}, {1, 4}, {1, 5}} {
		p.Links = append(p.Links, schedule.Link{
			From: ends[0], To: ends[1], Rate: tsn.Gbps, Queues: 2, Scheduled: []tsn.GateMask{2, 3}[r.IntN(2)],
		})
	}
	periods := [][]int64{{5, 5}, {4, 8}, {6, 6}, {6, 4}}[r.IntN(4)]
	for i := range 3 + r.IntN(2) {
		s := schedule.Stream{
			ID: i, Talker: schedule.NodeID(2 + r.IntN(2)), Listeners: []schedule.NodeID{schedule.NodeID(4 + r.IntN(2))},
			Size: tick / 8 * (1 + r.IntN(2)), Period: periods[r.IntN(2)] * tick,
		}
		s.Deadline = 3*int64(s.Size)*8 + r.Int64N(3)*tick
		p.Streams = append(p.Streams, s)
	}
	return p
}

// oracle tries every start on the grid and every queue, strictly periodic, one
// stream after the other.
type oracle struct {
	p     *schedule.Problem
	cycle int64
	mode  Mode
	s     *schedule.Solution
}

func (o *oracle) solves(i int) bool {
	if i == len(o.p.Streams) {
		return true
	}
	s := &o.p.Streams[i]
	route := []schedule.LinkID{schedule.LinkID(s.Talker - 2), 2, schedule.LinkID(s.Listeners[0] - 1)}
	tx, slack := int64(s.Size)*8, s.Deadline-int64(s.Size)*24
	if o.mode == NoWait {
		slack = 0
	}
	for first := int64(0); first < s.Period; first += tick {
		for a := int64(0); a <= slack; a += tick {
			for b := int64(0); a+b <= slack; b += tick {
				for q := range tsn.TrafficClass(4) { // nobody waits on the first link
					queues := []tsn.TrafficClass{1, q & 1, q >> 1}
					if a+b == 0 && q != 3 { // without waiting one queue does
						continue
					}
					o.s.Streams = append(o.s.Streams[:i], schedule.Placement{
						Stream: i, Route: route, Queues: queues,
						Starts: []int64{first, first + tx + a, first + 2*tx + a + b},
					})
					if o.holds(i) && o.solves(i+1) {
						return true
					}
				}
			}
		}
	}
	return false
}

// holds looks at the first streams only.
func (o *oracle) holds(i int) bool {
	part := *o.p
	part.Streams = part.Streams[:i+1]
	return check(&part, &schedule.Solution{Cycle: o.cycle, Streams: o.s.Streams[:i+1]}) == nil
}

// Whatever trying everything finds on tiny problems is found, in each mode.
func TestOptimum(t *testing.T) {
	found, not := map[Mode]int{}, 0
	for seed := range uint64(60) {
		p := tiny(rand.New(rand.NewPCG(seed, 2)))
		for _, mode := range []Mode{NoWait, Auto} {
			pl, err := New(p, Options{Mode: mode})
			if err != nil {
				t.Fatal(err)
			}
			pl.Run(1_000_000)
			s := pl.Solution()
			o := oracle{p: p, cycle: s.Cycle, mode: mode, s: &schedule.Solution{}}
			if !o.solves(0) {
				not++
				continue
			}
			found[mode]++
			if len(s.Unplaced) > 0 {
				pl.Run(100_000_000)
				s = pl.Solution()
			}
			mustHold(t, p, s)
			strict := !slices.ContainsFunc(s.Streams, func(at schedule.Placement) bool { return at.Instances != nil })
			if len(s.Unplaced) > 0 || !strict {
				t.Errorf("seed %d, mode %d: there is a strictly periodic schedule, got %+v", seed, mode, s)
			}
		}
	}
	t.Logf("%d without waiting, %d with, %d not at all", found[NoWait], found[Auto], not)
	if found[Auto] <= found[NoWait] || not == 0 {
		t.Error("the problems are all alike")
	}
}
