package main

import (
	"fmt"
	"io"
	"slices"

	"tsnswitch"
)

// A latencyTable is round-trip times of the same call under different loads,
// all over the same wires at one line rate.
type latencyTable struct {
	LineRate tsn.Rate      `json:"lineRateKbps"`
	Rows     []*latencyRow `json:"rows"`
	// Ratios are what the flood does to each connection.
	Ratios []latencyRatio `json:"ratios"`
}

// A latencyRatio is a connection's figures beside the flood over those without.
type latencyRatio struct {
	Connection string  `json:"connection"`
	P50        float64 `json:"p50"`
	P99        float64 `json:"p99"`
	P999       float64 `json:"p999"`
}

// A latencyRow is one measurement. IdleCPU is the share of the machine that
// nobody used meanwhile: below cpuBound the figures say more about the
// processor than about the network.
type latencyRow struct {
	Name       string  `json:"name"`
	Calls      int     `json:"calls"`
	Micros     []int64 `json:"rttMicros"`
	P50        int64   `json:"p50us"`
	P99        int64   `json:"p99us"`
	P999       int64   `json:"p999us"`
	Max        int64   `json:"maxus"`
	Loaded     bool    `json:"loaded"`
	CPUBound   bool    `json:"cpuBound"`
	Connection string  `json:"connection"`
	usage
}

const cpuBound = 0.20

// fill computes the figures of the row from its samples.
func (r *latencyRow) fill(samples []int64) {
	slices.Sort(samples)
	r.Micros, r.Calls = samples, len(samples)
	r.P50, r.P99, r.P999 = quantile(samples, 0.50), quantile(samples, 0.99), quantile(samples, 0.999)
	if len(samples) > 0 {
		r.Max = samples[len(samples)-1]
	}
	r.CPUBound = r.IdleCPU < cpuBound
}

// quantile is the smallest sample that at least share p of all do not exceed.
func quantile(sorted []int64, p float64) int64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// compare fills in the ratios.
func (t *latencyTable) compare() {
	for _, flood := range t.Rows {
		for _, idle := range t.Rows {
			if flood.Loaded && !idle.Loaded && idle.Connection == flood.Connection && idle.P50 > 0 {
				over := func(a, b int64) float64 { return float64(a) / float64(b) }
				t.Ratios = append(t.Ratios, latencyRatio{flood.Connection, over(flood.P50, idle.P50), over(flood.P99, idle.P99), over(flood.P999, idle.P999)})
			}
		}
	}
}

// print writes the table in 80 columns.
func (t *latencyTable) print(w io.Writer) {
	fmt.Fprintf(w, "   Round trip of a small gen_server call, us; every wire %s\n", t.LineRate)
	fmt.Fprintf(w, "   %-25s %5s %6s %6s %6s %6s %4s %4s\n", "", "calls", "p50", "p99", "p99.9", "max", "idle", "link")
	for _, r := range t.Rows {
		mark := ""
		if r.CPUBound {
			mark = " CPU"
		}
		fmt.Fprintf(w, "   %-25s %5d %6d %6d %6d %6d %3.0f%% %3.0f%%%s\n", r.Name, r.Calls, r.P50, r.P99, r.P999, r.Max, 100*r.IdleCPU, 100*r.LinkUse, mark)
		if r.Loaded && r.LinkUse < linkFull {
			fmt.Fprintf(w, "   %-25s the flood did not fill the shared link\n", "")
		}
	}
	for _, r := range t.Ratios {
		fmt.Fprintf(w, "   beside the flood, %s: p50 %.1f, p99 %.1f, p99.9 %.1f times idle's\n", r.Connection, r.P50, r.P99, r.P999)
	}
}
