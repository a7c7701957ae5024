package synth

import (
	"math/rand/v2"
	"reflect"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// source gives numbers from octets, then zeros.
type source []byte

func (s *source) n(most int64) int64 {
	v := int64(0)
	for range 3 {
		if len(*s) > 0 {
			v, *s = v<<8|int64((*s)[0]), (*s)[1:]
		}
	}
	return v % (most + 1)
}

// strange is a problem that need not make sense.
func strange(data []byte) *schedule.Problem {
	s := source(data)
	p := &schedule.Problem{SyncError: s.n(2000), Jitter: s.n(2000), Isolation: schedule.Isolation(s.n(1)), MaxCycle: s.n(1 << 40)}
	nodes := 2 + s.n(6)
	for range nodes {
		p.Nodes = append(p.Nodes, schedule.Node{Bridge: s.n(3) > 0})
	}
	other := func(n int64) int64 { return (n + 1 + s.n(nodes-2)) % nodes }
	for range s.n(24) {
		from, queues := s.n(nodes-1), 1+s.n(7)
		p.Links = append(p.Links, schedule.Link{
			From: schedule.NodeID(from), To: schedule.NodeID(other(from)), Rate: tsn.Rate(1000 * (1 + s.n(100_000))),
			PropagationDelay: s.n(1 << 20), ProcessingDelay: s.n(1 << 30), Queues: int(queues), Scheduled: tsn.GateMask(1 + s.n(1<<queues-2)),
			GuardOctets: int(s.n(2000)), Control: tsn.TrafficClass(s.n(8)), ControlOctets: int(s.n(20) / 20 * s.n(2000)),
			MaxEntries: int(s.n(40)), MinInterval: s.n(2000), Software: s.n(1) == 1,
		})
	}
	for i := range s.n(12) {
		talker, size := s.n(nodes-1), 1+s.n(2000)
		x := schedule.Stream{
			ID: int(i), Talker: schedule.NodeID(talker), Size: int(size), MinSize: int(s.n(size)), Frames: int(s.n(5)),
			Period: 1 + s.n(1<<22), Deadline: 1 + s.n(1<<24), Jitter: s.n(1000), Rank: int(s.n(2)), Listeners: []schedule.NodeID{schedule.NodeID(other(talker))},
		}
		if n := schedule.NodeID(other(talker)); n != x.Listeners[0] {
			x.Listeners = append(x.Listeners, n)
		}
		if s.n(3) > 0 {
			x.Period = x.Period/100_000*100_000 + 100_000
		}
		x.Release = [2]int64{s.n(x.Period - 1), 0}
		p.Streams = append(p.Streams, x)
	}
	return p
}

// No problem makes the scheduler panic or run on, and what comes out holds.
func FuzzSolve(f *testing.F) {
	valid := 0
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 3))
		data := make([]byte, 1500)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		f.Add(data)
		if strange(data).Validate() == nil {
			valid++
		}
	}
	if valid < 10 {
		f.Fatalf("%d seeds are valid problems", valid)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := strange(data)
		if s, _, err := Solve(p, Options{Units: 100_000}); err == nil {
			mustHold(t, p, s)
		}
	})
}

// The same problem, options and units give the same schedule, in one go or in
// several; another seed may give another.
func TestDeterminism(t *testing.T) {
	for _, spec := range instances.SetB()[8:] {
		p := spec.Problem()
		want := mustSolve(t, p, Options{Seed: 7, Units: 1_000_000})
		pl, err := New(p, Options{Seed: 7})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			pl.Run(100_000)
		}
		if got := pl.Solution(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: a search in ten parts found another schedule", spec.Name())
		}
	}
}

// However little is spent, the streams are all accounted for.
func TestUnits(t *testing.T) {
	p := schedtest.Problem(rand.New(rand.NewPCG(1, 1)), 20)
	for units := int64(1); units < 100_000; units *= 3 {
		s, spent, err := Solve(p, Options{Units: units})
		if err != nil {
			t.Fatal(err)
		}
		mustHold(t, p, s)
		if spent.Placed < len(s.Streams) || spent.Units < units && len(s.Unplaced) > 0 && units < 1000 {
			t.Errorf("%d units: %+v", units, spent)
		}
	}
}
