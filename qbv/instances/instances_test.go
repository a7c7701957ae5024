package instances

import (
	"reflect"
	"testing"

	"tsnswitch/qbv/schedule"
)

func all() []Spec {
	var out []Spec
	for _, set := range [][]Spec{SetA(), SetB(), SetC(), SetX()} {
		out = append(out, set...)
	}
	return out
}

// Every problem is one, and the same each time.
func TestSets(t *testing.T) {
	names := map[string]bool{}
	for _, s := range all() {
		p := s.Problem()
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if len(p.Streams) != s.Streams || names[p.Name] {
			t.Errorf("%s: %d streams, or there twice", p.Name, len(p.Streams))
		}
		names[p.Name] = true
		if !reflect.DeepEqual(p, s.Problem()) {
			t.Errorf("%s differs from one time to the next", p.Name)
		}
		if s.Streams <= 500 {
			busiest(t, p)
		}
	}
}

// busiest prints how full the shortest paths make the fullest link.
func busiest(t *testing.T, p *schedule.Problem) {
	m := &maker{p: p, next: make([][]schedule.NodeID, len(p.Nodes))}
	to := map[[2]schedule.NodeID]int{}
	for i, l := range p.Links {
		m.next[l.From] = append(m.next[l.From], l.To)
		to[[2]schedule.NodeID{l.From, l.To}] = i
	}
	load := make([]float64, len(p.Links))
	most := 0.0
	for _, s := range p.Streams {
		for at := s.Listeners[0]; at != s.Talker; {
			for _, n := range m.next[at] {
				if m.distance(s.Talker, n) == m.distance(s.Talker, at)-1 {
					l := to[[2]schedule.NodeID{n, at}]
					load[l] += float64(p.Links[l].Rate.TransmitTime(s.Size)) / float64(s.Period)
					most, at = max(most, load[l]), n
					break
				}
			}
		}
	}
	t.Logf("%s: %d links, busiest %.2f", p.Name, len(p.Links), most)
	if most > 1 {
		t.Errorf("%s: more than a link can carry", p.Name)
	}
}

func TestShapes(t *testing.T) {
	for shape, want := range map[Shape][2]int{ // of nine bridges: directed links, stations
		Line: {2 * (8 + 9), 9}, Ring: {2 * (9 + 9), 9}, Tree: {2 * (8 + 10), 10},
		Mesh: {2 * (9 + 3 + 9), 9}, Mesh2D: {2 * (12 + 8), 8}, Full: {2 * (36 + 9), 9},
	} {
		p := Spec{Shape: shape, Bridges: 9}.Problem()
		if got := [2]int{len(p.Links), len(p.Nodes) - 9}; got != want {
			t.Errorf("%s: %v, want %v", shape, got, want)
		}
	}
}

func TestMulticast(t *testing.T) {
	p := Spec{Shape: Ring, Bridges: 5, Streams: 50, Periods: oneSlow, Sizes: small, Slack: tight, Listeners: 3}.Problem()
	count := map[int]int{}
	for _, s := range p.Streams {
		count[len(s.Listeners)]++
	}
	if len(count) != 3 || p.Validate() != nil {
		t.Error(count, p.Validate())
	}
}
