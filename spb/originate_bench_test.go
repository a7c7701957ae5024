package spb

import (
	"fmt"
	"testing"

	tsn "tsnswitch"
)

// BenchmarkOriginate is a link that goes down and up beside many stations: the
// time until the own LSP and everything else that follows is out of Step.
func BenchmarkOriginate(b *testing.B) {
	for _, stations := range []int{0, 400, 4000} {
		b.Run(fmt.Sprintf("stations=%d", stations), func(b *testing.B) {
			p := newPeer(b, func(c *Config) { c.EndStations = manyStations(stations) }).up()
			p.wait(10 * second)
			n := p.inst.counters.Originations
			for k := 0; b.Loop(); k++ {
				p.now = p.now.Add(10 * second)
				p.inst.port(2).cfg.Metric = uint32(1 + k%2)
				p.inst.own.dirty = true
				p.inst.Step(p.now, tsn.Timeout{})
			}
			b.ReportMetric(float64(p.inst.counters.Originations-n)/float64(b.N), "fragments/op")
		})
	}
}
