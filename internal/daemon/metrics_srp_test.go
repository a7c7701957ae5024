package daemon

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
	"tsnswitch/internal/dataplane"
)

// Every metric of SRP passes the registry's checks; classes, codes and states
// are labels.
func TestSRPMetrics(t *testing.T) {
	f := apitest.New("b1")
	f.Views = apitest.MSRPStreams()
	v, err := f.SRP(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	streams, err := f.FindStreams(t.Context(), api.StreamQuery{})
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(gatherer(func(out chan<- prometheus.Metric) { collectSRP(out, v, streams) }))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, m := range families {
		byName[m.GetName()] = m
	}
	for name, n := range map[string]int{
		"srp_reserved_total": 1, "srp_failed_total": 1, "srp_application": 3, "srp_class_free_bits_per_second": 6, "srp_boundary": 6,
		"mrp_total": 4, "srp_streams": 2 * len(streamStates),
	} {
		if m := byName["tsnswitch_"+name]; m == nil || len(m.GetMetric()) != n {
			t.Errorf("%s: %v, want %d", name, m, n)
		}
	}
	for _, m := range byName["tsnswitch_srp_streams"].GetMetric() {
		state, source := "", ""
		for _, l := range m.GetLabel() {
			if l.GetName() == "state" {
				state = l.GetValue()
			} else {
				source = l.GetValue()
			}
		}
		want := map[string]float64{"reserved": 1, "partly": 1, "awaited": 1}[state]
		if source != api.SourceMSRP {
			want = 0
		}
		if m.GetGauge().GetValue() != want {
			t.Errorf("%s %s: %v", source, state, m)
		}
	}
	doc, err := os.ReadFile("../../docs/srp.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range byName {
		if !strings.Contains(string(doc), name) {
			t.Errorf("docs/srp.md does not say what %s is", name)
		}
	}
}

// What the kernel lacks is named only if it matters.
func TestSRPDegraded(t *testing.T) {
	features := []dataplane.Feature{
		{Name: dataplane.FeatureCBS, Port: 2, State: dataplane.FeatureMissing, Why: "no sch_cbs"},
		{Name: dataplane.FeatureCBS, Port: 3, State: dataplane.FeatureMissing, Why: "no sch_cbs"},
		{Name: dataplane.FeatureVLANFiltering, State: dataplane.FeatureMissing, Why: "not built"},
		{Name: dataplane.FeatureTaprio, State: dataplane.FeatureMissing, Why: "not built"},
		{Name: dataplane.FeatureMDB, State: dataplane.FeatureOK},
	}
	got := strings.Join(srpDegraded(features, true), "\n")
	want := `ports 2, 3: streams of SR classes are admitted but not shaped, so the bound of their class does not hold (cbs is missing: no sch_cbs)
VLANs are not kept apart, so streams go to ports outside of theirs (vlan-filtering is missing: not built)`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := srpDegraded(features, false); got != nil {
		t.Errorf("without MSRP: %q", got)
	}
}
