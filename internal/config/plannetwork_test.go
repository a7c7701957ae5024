package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePlanNetwork(t *testing.T) {
	want := &PlanNetwork{
		Nodes: []PlanNode{
			{Name: "a", SysID: SysID{2, 0, 0, 0, 0, 1}, Priority: 0x8000},
			{Name: "b", SysID: SysID{2, 0, 0, 0, 0, 2}, Priority: 0x9000, SPSourceID: 0x70001, Overload: true},
			{Name: "7", SysID: SysID{2, 0, 0, 0, 0, 3}, Priority: 4096, SPSourceID: 0x70001},
			{Name: "d", SysID: SysID{2, 0, 0, 0, 0, 4}, Priority: 0x8000, SPSourceID: 5},
		},
		Links: []PlanLink{{"a", "b", 10, 0}, {"b", "7", notAdvertised, 3}, {"7", "a", 1, notAdvertised}, {"d", "a", notAdvertised, notAdvertised}},
	}
	for name, text := range map[string]string{
		"YAML": `
nodes:
  - {name: a, sysid: 02:00:00:00:00:01}
  - {name: b, sysid: 0200.0000.0002, priority: "0x9000", spsourceid: 0x70001, overload: true}
  - {name: 7, sysid: 02-00-00-00-00-03, priority: 4096, spsourceid: 7.00.01}
  - {name: d, sysid: 020000000004, spsourceid: 5}
links:
  - {a: a, b: b, metric_a: 10, metric_b: 0}
  - {a: b, b: 7, metric_a: null, metric_b: 3}
  - {a: 7, b: a, metric_a: 1}
  - {a: d, b: a, metric_a: 16777215}
`,
		"JSON indented with tabs": `{"nodes": [
	{"name": "a", "sysid": "02:00:00:00:00:01", "priority": null, "spsourceid": null, "overload": null},
	{"name": "b", "sysid": "0200.0000.0002", "priority": "0x9000", "spsourceid": "0x70001", "overload": true},
	{"name": "7", "sysid": "02-00-00-00-00-03", "priority": 4096, "spsourceid": 458753},
	{"name": "d", "sysid": "020000000004", "spsourceid": 5}],
"links": [{"a": "a", "b": "b", "metric_a": 10, "metric_b": 0}, {"a": "b", "b": "7", "metric_a": null, "metric_b": 3},
	{"a": "7", "b": "a", "metric_a": 1, "metric_b": null}, {"a": "d", "b": "a"}]}`,
	} {
		got, err := ParsePlanNetwork("n", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

// Every fault is told with its line and key.
func TestPlanNetworkErrors(t *testing.T) {
	const good = "nodes: [{name: a, sysid: 02:00:00:00:00:01}, {name: b, sysid: 02:00:00:00:00:02}]\n"
	for text, want := range map[string]string{
		"null":                             "n: nodes: there are none",
		"nodes: []":                        "n:1: nodes: there are none",
		"nodes: [{name: a}]":               "n:1: nodes[0].sysid: is missing",
		"nodes: [{name: a, sysid: 02:00}]": "n:1: nodes[0].sysid: \"02:00\" is not a system id",
		"nodes: [{name: a, sysid: 01:00:00:00:00:01}]":                                        "is not an individual address",
		"nodes: [{sysid: 02:00:00:00:00:01}]":                                                 "n:1: nodes[0].name: is missing",
		"nodes:\n - {name: a, sysid: 02:00:00:00:00:01, priority: 65536}":                     "n:2: nodes[0].priority: \"65536\" is not a whole number in 0..65535",
		"nodes:\n - {name: a, sysid: 02:00:00:00:00:01, spsourceid: 0x100000}":                "nodes[0].spsourceid: \"0x100000\" is not an SPSourceID",
		"nodes:\n - {name: a, sysid: 02:00:00:00:00:01}\n - {name: b, sysid: 0200.0000.0001}": "n:3: nodes[1].sysid: 02:00:00:00:00:01 is already that of nodes[0].sysid",
		"nodes:\n - {name: a, sysid: 02:00:00:00:00:01}\n - {name: a, sysid: 0200.0000.0002}": "n:3: nodes[1].name: a is already that of nodes[0].name",
		good + "links: [{a: a, b: x, metric_a: 1, metric_b: 1}]":                              "n:2: links[0].b: no node is called \"x\"",
		good + "links: [{a: a, metric_a: 1}]":                                                 "n:2: links[0].b: is missing",
		good + "links: [{a: a, b: a, metric_a: 1, metric_b: 1}]":                              "n:2: links[0]: joins \"a\" to itself",
		good + "links: [{a: a, b: b, metric_a: 16777216, metric_b: 1}]":                       "n:2: links[0].metric_a: 16777216 is outside 0..16777215",
		good + "links: [{a: a, b: b, metric: 1}]":                                             "n:2: links[0].metric: unknown key; allowed here: a, b, metric_a, metric_b",
	} {
		if _, err := ParsePlanNetwork("n", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v\nwant %s", text, err, want)
		}
	}
}

// Whatever is in the file, it is refused or makes sense.
func FuzzParsePlanNetwork(f *testing.F) {
	f.Add([]byte("nodes: [{name: a, sysid: 02:00:00:00:00:01}, {name: b, sysid: 0200.0000.0002, priority: 0x9000}]\nlinks: [{a: a, b: b, metric_a: 1, metric_b: null}]\n"))
	f.Add([]byte("{\"nodes\": [{\"name\": \"a\", \"sysid\": \"020000000001\",\t\"spsourceid\": \"7.00.01\"}], \"links\": null}"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ParsePlanNetwork("n", data)
		if err != nil {
			return
		}
		names := map[string]bool{}
		for _, x := range n.Nodes {
			if x.Name == "" || names[x.Name] || x.SysID == (SysID{}) || x.SPSourceID >= 1<<20 {
				t.Errorf("%+v", x)
			}
			names[x.Name] = true
		}
		for _, l := range n.Links {
			if !names[l.A] || !names[l.B] || l.A == l.B || max(l.MetricA, l.MetricB) > notAdvertised {
				t.Errorf("%+v", l)
			}
		}
	})
}

// A file of the lab is one too: hosts and their links are left out.
func TestPlanOfLab(t *testing.T) {
	n, err := LoadPlanNetwork("../../lab/ring4.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(n.Nodes) != 4 || len(n.Links) != 4 || n.Links[0].MetricA == notAdvertised {
		t.Errorf("%+v", n)
	}
}
