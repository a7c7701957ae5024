package qbvbench

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"tsnswitch/qbv/instances"
	"tsnswitch/qbv/synth"
)

var (
	tsnkit  = flag.String("tsnkit", "", "checkout of tsnkit to compare with")
	budget  = flag.Duration("budget", 150*time.Second, "CPU time of each of its methods for each problem")
	setList = flag.String("sets", "A,B,C,X", "sets of problems")
	only    = flag.String("only", "", "names of the problems to run, of all in the sets")
	peers   = flag.String("peers", "dt,ls,ls_tb,smt_wa,smt_pr", "methods of tsnkit")
	python  = flag.String("python", "/usr/bin/python3", "with networkx, pandas, numpy, z3")
)

func specs() (out []instances.Spec) {
	all := map[string]func() []instances.Spec{"A": instances.SetA, "B": instances.SetB, "C": instances.SetC, "X": instances.SetX}
	for name := range strings.SplitSeq(*setList, ",") {
		if all[name] != nil {
			out = append(out, all[name]()...)
		}
	}
	if *only != "" {
		names := strings.Split(*only, ",")
		out = slices.DeleteFunc(out, func(s instances.Spec) bool { return !slices.Contains(names, s.Name()) })
	}
	return out
}

// BenchmarkCompare prints the table. It is one run, however long it takes.
func BenchmarkCompare(b *testing.B) {
	debug.SetGCPercent(synth.GCPercent) // as tsnctl has it
	contenders := []Contender{Ours(), Plain()}
	if *tsnkit == "" {
		b.Log("no tsnkit to compare with: name a checkout with TSNKIT=dir (its methods want python3 with networkx, pandas, numpy and z3)")
	} else {
		if text, err := exec.Command(*python, "-c", "import networkx, pandas, numpy, z3").CombinedOutput(); err != nil {
			b.Fatalf("%s with networkx, pandas, numpy and z3: %v\n%s", *python, err, text)
		}
		for method := range strings.SplitSeq(*peers, ",") {
			contenders = append(contenders, Peer(*tsnkit, method, *python, *budget))
		}
	}
	for range b.N {
		Compare(b.Context(), os.Stderr, specs(), contenders)
	}
}

// What first fit finds is valid, whichever way the deadline is counted, and it
// leaves tight problems open: that is what it is for.
func TestFirstFit(t *testing.T) {
	open := 0
	for _, spec := range append(instances.SetB(), instances.SetC()[:4]...) {
		o := Plain().Solve(context.Background(), spec.Problem())
		if o.Claims != o.Strict {
			t.Errorf("%s: %+v", spec.Name(), o)
		}
		open += count(!o.Claims)
	}
	if open == 0 {
		t.Error("first fit solves all: the tight set is not")
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	Compare(context.Background(), &b, instances.SetA()[:2], []Contender{Ours(), Plain()})
	if !strings.Contains(b.String(), "\nall  first fit        2/2") {
		t.Error(b.String())
	}
}
