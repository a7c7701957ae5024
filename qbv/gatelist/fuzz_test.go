package gatelist

import (
	"math/rand/v2"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/schedule"
)

// bytesReader hands out numbers until there are no bytes left, then zeros.
type bytesReader []byte

func (b *bytesReader) next() int64 {
	if len(*b) == 0 {
		return 0
	}
	v := int64((*b)[0])
	*b = (*b)[1:]
	if v >= 0xf0 { // far out of any range
		return v<<(v&0x3f) - 1<<20
	}
	return v
}

// Any problem and any placements end in lists that add up, overflows or an error.
func FuzzBuild(f *testing.F) {
	f.Add(uint64(1), []byte{})
	f.Add(uint64(2), []byte{1, 40, 80, 120, 2, 2, 2, 3, 0, 9, 200, 7, 0xff, 0xfe, 3, 3})
	f.Fuzz(func(t *testing.T, seed uint64, data []byte) {
		r, in := rand.New(rand.NewPCG(seed, 0)), bytesReader(data)
		p := schedtest.Problem(r, 1+int(seed%6))
		for i := range p.Links {
			l := &p.Links[i]
			l.MaxEntries, l.MinInterval = int(in.next()), in.next()*16
			l.ControlOctets, l.GuardOctets = int(in.next())*8, int(in.next())*8
		}
		p.SyncError, p.Jitter = in.next(), in.next()
		var placed []schedule.Placement
		for i := range p.Streams {
			p.Streams[i].Period = 1 + in.next()*500
			pl := schedule.Placement{Stream: i, Route: schedtest.Tree(p, &p.Streams[i])}
			at := in.next() * 100
			for range pl.Route {
				pl.Starts = append(pl.Starts, at)
				pl.Queues = append(pl.Queues, tsn.TrafficClass(2+in.next()&1))
				at += in.next() * 64
			}
			placed = append(placed, pl)
		}
		gates, over, err := Build(p, placed)
		if err != nil {
			return
		}
		for _, o := range over {
			if o.Reason == "" || len(o.Streams) == 0 {
				t.Fatalf("%+v says little", o)
			}
		}
		for _, g := range gates {
			l, sum := &p.Links[g.Link], int64(0)
			for _, e := range g.List.Entries {
				if sum += e.Interval; e.Interval < max(l.MinInterval, 1) || e.Gates>>l.Queues != 0 {
					t.Fatalf("%s on %+v", &g.List, *l)
				}
			}
			if sum != g.List.CycleTime || l.MaxEntries > 0 && len(g.List.Entries) > l.MaxEntries {
				t.Fatalf("%s on %+v", &g.List, *l)
			}
		}
	})
}
