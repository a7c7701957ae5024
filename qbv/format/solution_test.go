package format

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
)

func problem(t testing.TB) *schedule.Problem {
	p, err := read(topoCSV, taskCSV+"6,2,0,100,800000,800000,800000\n")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func solution() *schedule.Solution {
	return &schedule.Solution{
		Cycle: 800000,
		Streams: []schedule.Placement{
			{Stream: 0, Route: []schedule.LinkID{0, 2}, Starts: []int64{0, 2800}, Queues: []tsn.TrafficClass{7, 7}},
			{Stream: 1, Route: []schedule.LinkID{0, 2, 4}, Instances: []schedule.Instance{
				{K: 0, Starts: []int64{900, 20000, 4500}, Queues: []tsn.TrafficClass{7, 6, 1}},
			}},
		},
		Gates: []schedule.LinkGates{{
			Link: 0, List: tsn.GateControlList{CycleTime: 800000, Entries: []tsn.GateEntry{{Gates: 0x80, Interval: 2500}, {Gates: 0x7f, Interval: 797500}}},
			MaxSDU: [8]int{1: 1542},
		}},
		Unplaced: []schedule.Unplaced{{Stream: 2, Link: 3, Blocking: []int{0, 1}, Reason: "no room", Remedy: "a \"longer\" deadline"}},
	}
}

const solutionJSON = `{"format":"qbv-solution/1","instance":"x","cycle_ns":800000,"status":"partial","of":3,"mode":"auto","seed":1,"units":70,
"streams":[
{"id":0,"route":[[0,1],[1,2]],"starts":[0,2800],"queues":[7,7],"latency_ns":10850,"jitter_ns":0},
{"id":5,"route":[[0,1],[1,2],[1,3]],"frames":[{"k":0,"starts":[900,20000,4500],"queues":[7,6,1]}],"latency_ns":5,"jitter_ns":6}],
"gates":[
{"link":[0,1],"base_ns":0,"cycle_ns":800000,"entries":[{"mask":128,"interval_ns":2500},{"mask":127,"interval_ns":797500}],"max_sdu":[0,1542,0,0,0,0,0,0]}],
"unscheduled":[
{"id":6,"link":[2,1],"blocking":[0,5],"reason":"no room","remedy":"a \"longer\" deadline"}]}
`

func TestSolution(t *testing.T) {
	p, s := problem(t), solution()
	m := Meta{Instance: "x", Mode: "auto", Seed: 1, Units: 70, Figures: []Figures{{10850, 0}, {5, 6}}}
	if got := string(WriteSolution(p, s, m)); got != solutionJSON {
		t.Errorf("got  %s\nwant %s", got, solutionJSON)
	}
	got, meta, err := ReadSolution("s.json", []byte(solutionJSON), p)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("got  %+v\nwant %+v", got, s)
	}
	if m.Figures = nil; !reflect.DeepEqual(meta, m) {
		t.Errorf("got %+v, want %+v", meta, m)
	}
}

// Others write less, more, and in another order.
func TestForeignSolution(t *testing.T) {
	p := problem(t)
	got, _, err := ReadSolution("s.json", []byte(`{"streams": [{"queues": [7], "starts": [5], "route": [["2", 1]], "id": 6, "note": {"a": [1]}}],
		"solver": {"name": "x", "time": 1.5}, "gates": null, "cycle_ns": 800000, "format": "qbv-solution/1"}`), p)
	if err != nil {
		t.Fatal(err)
	}
	want := &schedule.Solution{Cycle: 800000, Streams: []schedule.Placement{
		{Stream: 2, Route: []schedule.LinkID{3}, Starts: []int64{5}, Queues: []tsn.TrafficClass{7}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// A running schedule may have streams that are gone.
func TestRunning(t *testing.T) {
	p := problem(t)
	text := strings.NewReplacer(`{"id":5`, `{"id":50`, `"blocking":[0,5]`, `"blocking":[0,50]`).Replace(solutionJSON)
	s, gone, err := ReadRunning("s.json", []byte(text), p)
	if err != nil {
		t.Fatal(err)
	}
	want := solution()
	want.Streams, want.Unplaced[0].Blocking = want.Streams[:1], []int{0}
	if !reflect.DeepEqual(s, want) || !reflect.DeepEqual(gone, []int{50}) {
		t.Errorf("got  %+v %v\nwant %+v", s, gone, want)
	}
	if _, gone, err = ReadRunning("s.json", []byte(strings.Replace(cyclicJSON, `"id":6`, `"id":60`, 1)), p); err != nil || !reflect.DeepEqual(gone, []int{60}) {
		t.Error(gone, err)
	}
	if got := WriteSolution(p, want, Meta{Units: -1, Moved: []int{0}}); !bytes.Contains(got, []byte(`"of":3,"moved":[0],`)) {
		t.Errorf("%s", got)
	}
}

const cyclicJSON = `{"format":"qbv-solution/1","instance":"x","cycle_ns":800000,"status":"complete","of":3,
"streams":[
{"id":0,"route":[[0,1],[1,2]],"starts":[0,2800],"queues":[7,7]}],
"gates":[],
"cyclic":{"cycle_ns":100000,"windows":[
{"link":[0,1],"queues":[6,5],"offset_ns":4000,"length_ns":50000},
{"link":[2,1],"queues":[0,0],"offset_ns":0,"length_ns":10}],
"streams":[
{"id":5,"route":[[0,1],[1,2],[1,3]],"start":2,"latency_ns":254000,"best_ns":90000},
{"id":6,"route":[[2,1],[1,0]],"start":0,"latency_ns":5,"best_ns":4}]},
"unscheduled":[]}
`

// Cyclic queuing and forwarding has a section of its own.
func TestCyclic(t *testing.T) {
	p := problem(t)
	s, m, err := ReadSolution("s.json", []byte(cyclicJSON), p)
	if err != nil {
		t.Fatal(err)
	}
	want := &schedule.Cyclic{
		CycleTime: 100000,
		Windows: []schedule.CyclicWindow{
			{Link: 0, Queues: [2]tsn.TrafficClass{6, 5}, Offset: 4000, Length: 50000},
			{Link: 3, Length: 10},
		},
		Streams: []schedule.CyclicStream{
			{Stream: 1, Route: []schedule.LinkID{0, 2, 4}, Start: 2, Worst: 254000, Best: 90000},
			{Stream: 2, Route: []schedule.LinkID{3, 1}, Worst: 5, Best: 4},
		},
	}
	if !reflect.DeepEqual(s.Cyclic, want) {
		t.Errorf("got %+v", s.Cyclic)
	}
	if got := string(WriteSolution(p, s, m)); got != cyclicJSON {
		t.Errorf("got  %s\nwant %s", got, cyclicJSON)
	}
	for from, to := range map[string]string{
		`[6,5]`: `[6]`, `[0,0]`: `[0,8]`, `"id":5`: `"id":0`, `"id":6`: `"id":7`, `{"link":[2,1]`: `{"link":[2,9]`, `[[2,1],[1,0]]`: `[[2,1],[9,0]]`,
	} {
		_, _, err := ReadSolution("s.json", []byte(strings.Replace(cyclicJSON, from, to, 1)), p)
		if e := (*Error)(nil); !errors.As(err, &e) || !e.Mismatch || !strings.Contains(err.Error(), "cyclic") {
			t.Errorf("%s -> %s: %v", from, to, err)
		}
	}
}

// Two cables between the same bridges: the egress port tells which.
func TestParallelLinks(t *testing.T) {
	p := &schedule.Problem{
		Nodes:   []schedule.Node{{Name: "a"}, {Name: "b"}},
		Links:   []schedule.Link{{From: 0, To: 1, FromPort: 1}, {From: 0, To: 1, FromPort: 2}, {From: 1, To: 0, FromPort: 1}},
		Streams: []schedule.Stream{{Name: "s"}},
	}
	s := &schedule.Solution{Cycle: 1, Streams: []schedule.Placement{{Route: []schedule.LinkID{1, 2}, Starts: []int64{0, 0}, Queues: []tsn.TrafficClass{0, 0}}}}
	text := WriteSolution(p, s, Meta{Units: -1})
	if !bytes.Contains(text, []byte(`"name":"s","route":[["a:2","b"],["b","a"]]`)) {
		t.Errorf("%s", text)
	}
	if got, _, err := ReadSolution("f", text, p); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%v %+v", err, got)
	}
	_, _, err := ReadSolution("f", bytes.Replace(text, []byte("a:2"), []byte("a"), 1), p)
	if err == nil || !strings.Contains(err.Error(), "there are 2 links [a,b]") {
		t.Error(err)
	}
}

func TestReadSolutionErrors(t *testing.T) {
	p := problem(t)
	for _, c := range []struct {
		from, to, want string
		mismatch       bool
	}{
		{solutionJSON, "", "s.json:1: not JSON: it ends too early", false},
		{solutionJSON, "[]", "s.json:1: [ is not the {", false},
		{"qbv-solution/1", "qbv-solution/2", `s.json:1: the format is "qbv-solution/2"`, false},
		{`"cycle_ns":800000,"status"`, `"status"`, `s.json:1: there is no "cycle_ns"`, false},
		{`"seed"`, `"mode"`, `s.json:1: "mode" is there twice`, false},
		{`"starts":[0,2800]`, `"starts":[0,2800.5]`, "s.json:3: starts: is number 2800.5", false},
		{`"starts":[0,2800]`, `"begins":[0,2800]`, "s.json:3: stream 0: has to have starts or frames", false},
		{`"id":5,`, `"id":"5",`, "s.json:4: id: is string", false},
		{`{"id":5,`, `{`, "s.json:4: a stream without id", false},
		{`{"k":0,`, `{`, "s.json:4: stream 5: frame 0: has no k", false},
		{`[[0,1],[1,2]]`, `[[0,1],[1]]`, "s.json:3: stream 0: route: a link of 1 nodes", false},
		{`[[0,1],[1,2]]`, `[[0,1],[1,-2]]`, "s.json:3: -2 is not a node", false},
		{`"mask":128,`, ``, "s.json:6: gates of link [0,1]: entry 0 has to have mask", false},
		{"}]}\n", "}]}]", "s.json:8: not JSON: invalid character ']'", false},
		{"}]}\n", "}", "s.json:8: not JSON: it ends too early", false},
		{`"starts":[0,2800]`, `"starts":[0]`, "s.json:3: stream 0: a route of 2 links with 1 starts", true},
		{`"queues":[7,7]`, `"queues":[7,8]`, "s.json:3: stream 0: queue 8 is outside", true},
		{`[[0,1],[1,2]]`, `[[0,1],[1,9]]`, "s.json:3: stream 0: route: there is no link [1,9]", true},
		{`"id":5,`, `"id":9,`, "s.json:4: there is no stream 9", true},
		{`"id":6,`, `"id":5,`, "s.json:8: unscheduled: stream 5 is there twice", true},
		{`"blocking":[0,5]`, `"blocking":[0,4]`, "s.json:8: unscheduled: there is no stream 4", true},
		{`"mask":128`, `"mask":256`, "s.json:6: gates of link [0,1]: entry 0: mask 256", true},
	} {
		if !strings.Contains(solutionJSON, c.from) {
			t.Fatalf("no %s", c.from)
		}
		_, _, err := ReadSolution("s.json", []byte(strings.Replace(solutionJSON, c.from, c.to, 1)), p)
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Error(), c.want) || e.Mismatch != c.mismatch {
			t.Errorf("%s -> %s: got  %v\nwant %s", c.from, c.to, err, c.want)
		}
	}
}

func FuzzReadSolution(f *testing.F) {
	f.Add([]byte(solutionJSON))
	f.Add([]byte(`{"format":"qbv-solution/1","cycle_ns":1,"streams":[{"id":6,"route":[[2,1]],"starts":[5],"queues":[7]}]}`))
	f.Add([]byte(cyclicJSON))
	p := problem(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, m, err := ReadSolution("f", data, p)
		if err != nil {
			if e := (*Error)(nil); !errors.As(err, &e) || e.Line > 1+bytes.Count(data, []byte("\n")) {
				t.Fatal(err)
			}
			return
		}
		text := WriteSolution(p, s, m)
		again, m2, err := ReadSolution("f", text, p)
		if err != nil || !bytes.Equal(text, WriteSolution(p, again, m2)) {
			t.Fatalf("%v\n%s", err, text)
		}
	})
}
