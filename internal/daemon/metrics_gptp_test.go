package daemon

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/link"
)

type gatherer func(chan<- prometheus.Metric)

func (gatherer) Describe(chan<- *prometheus.Desc)       {}
func (g gatherer) Collect(out chan<- prometheus.Metric) { g(out) }

// viewOf is a view of a node with two domains, one port each way.
func viewOf(t *testing.T) *api.GPTPStatus {
	t.Helper()
	cfg := gptp.DefaultConfig(tsn.MAC{2, 0, 0, 0, 0, 1}, 1, 2)
	cfg.Domains = []gptp.DomainConfig{{}, {Domain: 20}}
	sys, err := gptp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	sys.Step(0, tsn.LinkChanged{Port: 1, Up: true})
	w := gptpViewer{names: map[gptp.ClockIdentity]string{cfg.ClockIdentity: "b1"}, ifname: func(tsn.Port) string { return "eth" }, stamps: func(tsn.Port) link.Stamping { return link.Stamping{} }}
	st := sys.Status()
	g := &api.GPTPStatus{Node: "b1", HotStandby: &api.GPTPHotStandby{State: "INIT"}, GPTPDomain: w.domain(st.Target())}
	for _, d := range st.Domains {
		g.Domains = append(g.Domains, w.domain(d))
	}
	return g
}

// Every metric of every domain and port passes the registry's checks: no name
// with two sets of labels, none twice; every counter of the core is there.
func TestGPTPMetrics(t *testing.T) {
	g := viewOf(t)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(gatherer(func(out chan<- prometheus.Metric) { collectGPTP(out, g) }))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	for name, n := range map[string]int{
		"offset_seconds": 2, "grandmaster_info": 2, "state": 10, "as_capable": 4, "port_state": 16, "messages_total": 4 * 14,
		"dropped_total": 4 * len(gptpDrops), "lost_transmit_stamps_total": 4, "sync_receipt_timeouts_total": 4, "clock_steered": 1, "hot_standby_state": len(standbyStates),
	} {
		if f := byName["tsnswitch_gptp_"+name]; f == nil || len(f.GetMetric()) != n {
			t.Errorf("%s: %d, want %d", name, len(f.GetMetric()), n)
		}
	}
	left := len(g.Ports[0].Counters)
	for name := range g.Ports[0].Counters {
		if strings.HasPrefix(name, "rx_") || strings.HasPrefix(name, "tx_") || byName["tsnswitch_gptp_"+name+"_total"] != nil {
			left--
		}
	}
	if left != len(gptpDrops) {
		t.Errorf("%d counters are no metric of their own, want the %d drops", left, len(gptpDrops))
	}
}

// Every reason that the core knows is explained.
func TestReasonsAreExplained(t *testing.T) {
	for r := gptp.ReasonNone; !strings.HasPrefix(r.String(), "reason "); r++ {
		p := portView(gptp.PortStatus{AsCapableReason: r}, link.Stamping{})
		if r != gptp.ReasonNone && (p.Explanation == "" || p.Explanation == p.Reason) {
			t.Errorf("%s is not explained", r)
		}
	}
}

// docs/gptp.md has every metric, state and reason.
func TestGPTPDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/gptp.md")
	if err != nil {
		t.Fatal(err)
	}
	want := append(slices.Concat(gptpStates[3:4], gptpDrops), "REDUNDANT", "NOT_REDUNDANT", "OUT_OF_SYNC")
	for r := gptp.ReasonLinkDown; !strings.HasPrefix(r.String(), "reason "); r++ {
		want = append(want, "`"+r.String()+"`")
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(gatherer(func(out chan<- prometheus.Metric) { collectGPTP(out, viewOf(t)) }))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		name := strings.TrimPrefix(f.GetName(), "tsnswitch_gptp_")
		counter, _ := strings.CutSuffix(name, "_total")
		if _, ofPort := viewOf(t).Ports[0].Counters[counter]; !ofPort { // the document has a rule for those
			want = append(want, "`"+name+"`")
		}
	}
	for _, w := range want {
		if !strings.Contains(string(text), w) {
			t.Errorf("%s is missing", w)
		}
	}
}
