package uml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDeps(t *testing.T) {
	deps := parseDeps("kernel/net/sched/sch_etf.ko:\nkernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz kernel/net/llc/llc-x.ko\njunk\n")
	want := map[string]module{
		"sch_etf": {path: "kernel/net/sched/sch_etf.ko"},
		"8021q":   {path: "kernel/net/8021q/8021q.ko.xz", needs: []string{"mrp", "llc_x"}},
	}
	if d := cmp.Diff(want, deps, cmp.AllowUnexported(module{})); d != "" {
		t.Error(d)
	}
}

// Whatever the text, names are fit to be looked up: no folder, no suffix, no dash.
func FuzzParseDeps(f *testing.F) {
	f.Add("kernel/net/sched/sch_etf.ko:\nkernel/net/8021q/8021q.ko.xz: kernel/net/802/mrp.ko.xz kernel/net/llc/llc-x.ko\n")
	f.Add("a: b: c\n:\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		for name, m := range parseDeps(text) {
			for _, n := range append(m.needs, name) {
				if strings.ContainsAny(n, "-.") || strings.Contains(n, "/") && n != "/" {
					t.Errorf("module name %q", n)
				}
			}
		}
	})
}

func TestLastWins(t *testing.T) {
	got := lastWins([]string{"A=1", "B=2", "A=3", "C", "B="})
	if d := cmp.Diff([]string{"A=3", "B=", "C"}, got); d != "" {
		t.Error(d)
	}
}
