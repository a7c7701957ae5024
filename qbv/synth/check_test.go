package synth

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/verify"
)

// use is one time that a stream has a link or a queue to itself.
type use struct {
	from, to int64
	stream   int
}

// check writes every transmission of a solution out and returns the first
// thing that breaks a rule of package schedule.
func check(p *schedule.Problem, s *schedule.Solution) error {
	margin := p.SyncError + p.Jitter
	links := make([][]use, len(p.Links))
	queues := map[[2]int][]use{}
	seen := map[int]bool{}
	for _, pl := range s.Streams {
		st := &p.Streams[pl.Stream]
		if why := p.RouteFault(st, pl.Route); why != "" || seen[pl.Stream] || s.Cycle%st.Period != 0 {
			return fmt.Errorf("stream %d: %s, twice or not in the cycle", pl.Stream, why)
		}
		seen[pl.Stream] = true
		for k := int64(0); k < s.Cycle/st.Period; k++ {
			starts, qs := pl.Starts, pl.Queues
			shift := k * st.Period
			if pl.Instances != nil {
				starts, qs, shift = pl.Instances[k].Starts, pl.Instances[k].Queues, 0
			}
			if rel := starts[0] + shift - k*st.Period; rel < st.Release[0] || rel >= st.Period || st.Release[1] > 0 && rel > st.Release[1] {
				return fmt.Errorf("stream %d, period %d starts at %d", pl.Stream, k, rel)
			}
			early := make([]int64, len(pl.Route))
			pace := make([]int64, len(pl.Route))
			for h, id := range pl.Route {
				l := &p.Links[id]
				tx := l.Rate.TransmitTime(st.Size)
				arrive, lead := starts[h], margin
				pace[h] = tx
				for j, up := range pl.Route[:h] {
					if u := &p.Links[up]; u.To == l.From {
						arrive = starts[j] + u.Rate.TransmitTime(st.Size) + u.PropagationDelay + u.ProcessingDelay
						lead, pace[h] = margin+p.SyncError+early[j], max(tx, pace[j])
						early[h] = early[j]
					}
				}
				if st.MinSize > 0 {
					early[h] += tx - l.Rate.TransmitTime(st.MinSize)
				}
				end := starts[h] + int64(max(st.Frames, 1)-1)*pace[h] + tx
				if starts[h] < arrive {
					return fmt.Errorf("stream %d leaves hop %d at %d before it is there at %d", pl.Stream, h, starts[h], arrive)
				}
				if !l.Scheduled.Has(qs[h]) {
					return fmt.Errorf("stream %d is in queue %d", pl.Stream, qs[h])
				}
				if slices.Contains(st.Listeners, l.To) && end+l.PropagationDelay-starts[0]+2*margin > st.Deadline {
					return fmt.Errorf("stream %d is too late", pl.Stream)
				}
				links[id] = append(links[id], use{starts[h] - margin + shift, end + margin + shift, pl.Stream})
				key := [2]int{int(id), int(qs[h])}
				queues[key] = append(queues[key], use{arrive - lead + shift, end + margin + shift, pl.Stream})
			}
		}
	}
	for id, uses := range links {
		if err := overlap(uses, s.Cycle); err != nil {
			return fmt.Errorf("%s: windows: %v", p.LinkName(schedule.LinkID(id)), err)
		}
		l := &p.Links[id]
		for _, u := range uses {
			if l.Software && mod(u.from, s.Cycle)+u.to-u.from+max(l.MinInterval, 1) > s.Cycle {
				return fmt.Errorf("%s: window of stream %d at the end of the cycle", p.LinkName(schedule.LinkID(id)), u.stream)
			}
		}
	}
	for key, uses := range queues {
		if err := overlap(uses, s.Cycle); err != nil {
			return fmt.Errorf("link %d queue %d: residences: %v", key[0], key[1], err)
		}
	}
	for _, u := range s.Unplaced {
		if seen[u.Stream] || u.Reason == "" {
			return fmt.Errorf("stream %d is placed and not, or has no reason", u.Stream)
		}
		seen[u.Stream] = true
	}
	if len(seen) != len(p.Streams) {
		return fmt.Errorf("%d of %d streams", len(seen), len(p.Streams))
	}
	return nil
}

func overlap(uses []use, cycle int64) error {
	var flat []use
	for _, u := range uses {
		x, n := mod(u.from, cycle), u.to-u.from
		if n > cycle {
			return fmt.Errorf("stream %d takes more than the cycle", u.stream)
		}
		flat = append(flat, use{x, min(x+n, cycle), u.stream})
		if x+n > cycle {
			flat = append(flat, use{0, x + n - cycle, u.stream})
		}
	}
	slices.SortFunc(flat, func(a, b use) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(flat); i++ {
		if flat[i].from < flat[i-1].to {
			return fmt.Errorf("streams %d and %d overlap at %d", flat[i-1].stream, flat[i].stream, flat[i].from)
		}
	}
	return nil
}

// mustSolve solves and checks.
func mustSolve(t testing.TB, p *schedule.Problem, o Options) *schedule.Solution {
	t.Helper()
	s, _, err := Solve(p, o)
	if err != nil {
		t.Fatal(err)
	}
	mustHold(t, p, s)
	return s
}

// mustHold checks a solution twice over.
func mustHold(t testing.TB, p *schedule.Problem, s *schedule.Solution) {
	t.Helper()
	if err := check(p, s); err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
	r, err := verify.Check(p, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		t.Fatalf("%s: %v", p.Name, err)
	}
}
