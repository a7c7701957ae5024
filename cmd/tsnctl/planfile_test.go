package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planAnswer is what a reader of the JSON sees.
type planAnswer struct {
	CostHops   map[string]map[string][2]int `json:"cost_hops"`
	Algorithms map[string]struct {
		Parent map[string]map[string]string `json:"parent"`
	} `json:"algorithms"`
}

type planFileNode struct {
	Name     string `json:"name"`
	SysID    string `json:"sysid"`
	Priority int    `json:"priority"`
	Overload bool   `json:"overload"`
}

type planFileLink struct {
	A       string `json:"a"`
	B       string `json:"b"`
	MetricA *int   `json:"metric_a"`
	MetricB *int   `json:"metric_b"`
}

type planFile struct {
	Nodes []planFileNode `json:"nodes"`
	Links []planFileLink `json:"links"`
}

func randomPlanFile(r *rand.Rand) planFile {
	var f planFile
	n := 2 + r.IntN(5)
	for k := range n {
		f.Nodes = append(f.Nodes, planFileNode{
			fmt.Sprintf("n\"%d", k), fmt.Sprintf("02:00:00:%02x:%02x:%02x", r.IntN(256), r.IntN(256), k), r.IntN(3) * 4096, r.IntN(8) == 0,
		})
	}
	metric := func() *int {
		if r.IntN(10) == 0 {
			return nil
		}
		m := 1 + r.IntN(2)
		return &m
	}
	for range r.IntN(2*n) + n {
		a := r.IntN(n)
		b := (a + 1 + r.IntN(n-1)) % n
		f.Links = append(f.Links, planFileLink{f.Nodes[a].Name, f.Nodes[b].Name, metric(), metric()})
	}
	return f
}

// plannedPath is a path as the standard compares it: cost, hops, then the
// sorted masked BridgeIDs, here as text.
type plannedPath struct {
	cost, hops int
	pathID     []string
	nodes      []string
}

func (p *plannedPath) less(q *plannedPath) bool {
	return q == nil || slices.Compare([]int{p.cost, p.hops}, []int{q.cost, q.hops}) < 0 ||
		p.cost == q.cost && p.hops == q.hops && slices.Compare(p.pathID, q.pathID) < 0
}

// best tries every path.
func (f planFile) best(from, to string, mask byte) (best *plannedPath) {
	byName := map[string]planFileNode{}
	for _, n := range f.Nodes {
		byName[n.Name] = n
	}
	var walk func(nodes []string, cost int)
	walk = func(nodes []string, cost int) {
		at := nodes[len(nodes)-1]
		if at == to {
			p := &plannedPath{cost: cost, hops: len(nodes) - 1, nodes: slices.Clone(nodes)}
			for _, n := range nodes {
				id := fmt.Sprintf("%04x%s", byName[n].Priority, strings.ReplaceAll(byName[n].SysID, ":", ""))
				masked := ""
				for k := 0; k < len(id); k += 2 {
					var octet byte
					_, _ = fmt.Sscanf(id[k:k+2], "%02x", &octet)
					masked += fmt.Sprintf("%02x", octet^mask)
				}
				p.pathID = append(p.pathID, masked)
			}
			slices.Sort(p.pathID)
			if p.less(best) {
				best = p
			}
			return
		}
		if at != from && byName[at].Overload {
			return
		}
		for _, l := range f.Links {
			next := l.B
			if l.B == at {
				next = l.A
			} else if l.A != at {
				continue
			}
			if l.MetricA != nil && l.MetricB != nil && !slices.Contains(nodes, next) {
				walk(append(nodes, next), cost+max(*l.MetricA, *l.MetricB))
			}
		}
	}
	walk([]string{from}, 0)
	return best
}

// RFC 6329 s11/12, end to end: the file, the command line and the answer,
// against every path of small random networks.
func TestPlanFileAgainstEveryPath(t *testing.T) {
	masks := []byte{0x00, 0xFF, 0x88, 0x77, 0x44, 0x33, 0xCC, 0xBB, 0x22, 0x11, 0x66, 0x55, 0xAA, 0x99, 0xDD, 0xEE}
	r := rand.New(rand.NewPCG(1, 2))
	file := filepath.Join(t.TempDir(), "net.json")
	ties := 0
	for range 50 {
		f := randomPlanFile(r)
		got := runPlan(t, file, f)
		if len(got.CostHops) != len(f.Nodes) || len(got.Algorithms) != 16 {
			t.Fatalf("%d sources, %d algorithms", len(got.CostHops), len(got.Algorithms))
		}
		for _, from := range f.Nodes {
			for _, to := range f.Nodes {
				costHops, reached := got.CostHops[from.Name][to.Name]
				for k, mask := range masks {
					want := f.best(from.Name, to.Name, mask)
					parent, has := got.Algorithms[fmt.Sprint(k+1)].Parent[from.Name][to.Name]
					if reached != (want != nil) || has != (want != nil && want.hops > 0) {
						t.Fatalf("%+v\n%s to %s, ECT %d: %v %v, want %+v", f, from.Name, to.Name, k+1, costHops, parent, want)
					}
					if want == nil {
						continue
					}
					if costHops != [2]int{want.cost, want.hops} || has && parent != want.nodes[want.hops-1] {
						t.Fatalf("%+v\n%s to %s, ECT %d: %v %v, want %+v", f, from.Name, to.Name, k+1, costHops, parent, want)
					}
					if has && parent != got.Algorithms["1"].Parent[from.Name][to.Name] {
						ties++
					}
				}
			}
		}
	}
	if ties < 100 {
		t.Errorf("the algorithms differ in %d places only", ties)
	}
}

func runPlan(t *testing.T, file string, f planFile, args ...string) planAnswer {
	t.Helper()
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if code := run(context.Background(), append([]string{"plan", "paths", "--file", file, "--json"}, args...), &out, &errOut); code != 0 {
		t.Fatalf("exit status %d: %s", code, errOut.String())
	}
	var a planAnswer
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// --ect, --from and --to keep a part of the answer.
func TestPlanFileParts(t *testing.T) {
	f := randomPlanFile(rand.New(rand.NewPCG(3, 4)))
	for k := range f.Nodes {
		f.Nodes[k].Overload = false
	}
	file := filepath.Join(t.TempDir(), "net.json")
	whole := runPlan(t, file, f, "--ect", "0")
	a, b := f.Nodes[0].Name, f.Nodes[1].Name
	part := runPlan(t, file, f, "--ect", "3,1", "--ect", "0,3", "--from", a, "--to", b)
	if keys := slices.Sorted(maps.Keys(part.Algorithms)); !slices.Equal(keys, []string{"0", "1", "3"}) {
		t.Errorf("algorithms %v", keys)
	}
	if len(part.CostHops) != 1 || len(part.CostHops[a]) != 1 || part.CostHops[a][b] != whole.CostHops[a][b] {
		t.Errorf("%v, want only %v", part.CostHops, whole.CostHops[a][b])
	}
	if got, want := part.Algorithms["0"].Parent[a][b], whole.Algorithms["0"].Parent[a][b]; got != want || got == "" {
		t.Errorf("parent %q, want %q", got, want)
	}
}

// A network that does not fit in memory at once is planned in parts.
func TestPlanInParts(t *testing.T) {
	f := randomPlanFile(rand.New(rand.NewPCG(5, 6)))
	file := filepath.Join(t.TempDir(), "net.json")
	want := runPlan(t, file, f)
	defer func(n int) { planMemory = n }(planMemory)
	planMemory = 1
	if got := runPlan(t, file, f); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}
