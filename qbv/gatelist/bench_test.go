package gatelist

import (
	"fmt"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

// lanes is 10,000 streams on 300 links: 50 lines of six links, each with 40
// streams every ms and 160 every 4 ms, 320 windows in a cycle.
func lanes() (*schedule.Problem, []schedule.Placement) {
	p := &schedule.Problem{}
	var placed []schedule.Placement
	for lane := range 50 {
		first := schedule.NodeID(len(p.Nodes))
		var route []schedule.LinkID
		for h := range 7 {
			p.Nodes = append(p.Nodes, schedule.Node{Bridge: h > 0 && h < 6})
			if h > 0 {
				route = append(route, schedule.LinkID(len(p.Links)))
				at := first + schedule.NodeID(h)
				p.Links = append(p.Links, schedule.Link{
					From: at - 1, To: at, Rate: tsn.Gbps, ProcessingDelay: 2000, Queues: 8, Scheduled: 0xc0, GuardOctets: 300,
				})
			}
		}
		for i := range 200 {
			s := schedule.Stream{ID: lane*200 + i, Talker: first, Listeners: []schedule.NodeID{first + 6}, Size: 84 + i%50, Period: 1e6, Deadline: 1e6}
			start := int64(i) * 12_500
			if i >= 40 {
				s.Period = 4e6
				start = int64(i-40)/40*1e6 + 500_000 + int64(i-40)%40*12_500
			}
			pl := schedule.Placement{Stream: len(p.Streams), Route: route}
			for range route {
				pl.Starts = append(pl.Starts, start)
				pl.Queues = append(pl.Queues, 6+tsn.TrafficClass(i%7/6))
				start += tsn.Gbps.TransmitTime(s.Size) + 2000
			}
			p.Streams, placed = append(p.Streams, s), append(placed, pl)
		}
	}
	return p, placed
}

func BenchmarkBuild10000(b *testing.B) {
	for _, limit := range []int{0, 256, 64} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			p, placed := lanes()
			for i := range p.Links {
				p.Links[i].MaxEntries = limit
			}
			b.ReportAllocs()
			for b.Loop() {
				gates, over, err := Build(p, placed)
				if err != nil || len(gates)+len(over) != len(p.Links) {
					b.Fatal(err, len(gates), len(over))
				}
				b.ReportMetric(float64(len(over)), "overflows")
			}
		})
	}
}

// One link of a running network, as when a stream is added.
func BenchmarkBuildLink(b *testing.B) {
	p, placed := lanes()
	for b.Loop() {
		if _, _, err := BuildLink(p, 3, placed[:200]); err != nil {
			b.Fatal(err)
		}
	}
}
