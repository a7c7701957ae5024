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
	Max        int64   `json:"maxus"`
	FloodSent  uint64  `json:"floodFramesSent"`
	FloodLoss  uint64  `json:"wireDrops"`
	Loaded     bool    `json:"loaded"`
	LinkUse    float64 `json:"sharedLinkUse"` // share of the line rate used on the shared link
	IdleCPU    float64 `json:"idleCpu"`
	CPUBound   bool    `json:"cpuBound"`
	Connection string  `json:"connection"`
}

const cpuBound = 0.20

// fill computes the figures of the row from its samples.
func (r *latencyRow) fill(samples []int64) {
	slices.Sort(samples)
	r.Micros, r.Calls = samples, len(samples)
	r.P50, r.P99 = quantile(samples, 0.50), quantile(samples, 0.99)
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

// print writes the table in 80 columns.
func (t *latencyTable) print(w io.Writer) {
	fmt.Fprintf(w, "   Round trip of a small gen_server call, us; every wire %s\n", t.LineRate)
	fmt.Fprintf(w, "   %-25s %5s %7s %7s %7s %5s %5s\n", "", "calls", "p50", "p99", "max", "idle", "link")
	for _, r := range t.Rows {
		mark := ""
		if r.CPUBound {
			mark = " CPU-bound"
		}
		fmt.Fprintf(w, "   %-25s %5d %7d %7d %7d %4.0f%% %4.0f%%%s\n", r.Name, r.Calls, r.P50, r.P99, r.Max, 100*r.IdleCPU, 100*r.LinkUse, mark)
		if r.Loaded && r.LinkUse < linkFull {
			fmt.Fprintf(w, "   %-25s the flood did not fill the shared link\n", "")
		}
	}
}

// cpuBoundRows says whether the table should be measured again, slower.
func (t *latencyTable) cpuBoundRows() (n int) {
	for _, r := range t.Rows {
		if r.CPUBound {
			n++
		}
	}
	return n
}
