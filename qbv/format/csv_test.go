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

const topoCSV = `link,q_num,rate,t_proc,t_prop
"(0, 1)",8,1,2000,0
"(1, 0)",8,1,2000,0
"(1, 2)",8,0.1,2000,50
"(2, 1)",1,2.5,2000,0
"(1, 3)",8,1,0,0
`

const taskCSV = `stream,src,dst,size,period,deadline,jitter
0,0,[2],100,400000,300000,300000
5,0,"[2, 3]",200,800000,800000,0
`

func read(topo, task string) (*schedule.Problem, error) {
	p, err := ReadTopology("topo.csv", []byte(topo))
	if err != nil {
		return nil, err
	}
	p.Streams, err = ReadStreams("task.csv", []byte(task), p)
	return p, err
}

func TestReadPair(t *testing.T) {
	p, err := read(topoCSV, taskCSV)
	if err != nil {
		t.Fatal(err)
	}
	want := &schedule.Problem{
		Nodes: []schedule.Node{{Name: "0"}, {Name: "1", Bridge: true}, {Name: "2"}, {Name: "3"}},
		Links: []schedule.Link{
			{From: 0, To: 1, Rate: tsn.Gbps, ProcessingDelay: 2000, Queues: 8, Scheduled: 0xfe},
			{From: 1, To: 0, Rate: tsn.Gbps, ProcessingDelay: 2000, Queues: 8, Scheduled: 0xfe},
			{From: 1, To: 2, Rate: 100 * tsn.Mbps, ProcessingDelay: 2000, PropagationDelay: 50, Queues: 8, Scheduled: 0xfe},
			{From: 2, To: 1, Rate: 2500 * tsn.Mbps, ProcessingDelay: 2000, Queues: 1, Scheduled: 1},
			{From: 1, To: 3, Rate: tsn.Gbps, Queues: 8, Scheduled: 0xfe},
		},
		Streams: []schedule.Stream{
			{ID: 0, Talker: 0, Listeners: []schedule.NodeID{2}, Size: 100, Period: 400000, Deadline: 300000, Jitter: 300000},
			{ID: 5, Talker: 0, Listeners: []schedule.NodeID{2, 3}, Size: 200, Period: 800000, Deadline: 800000, Jitter: 1},
		},
	}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
}

// The same pair, as other programs may write it.
func TestReadPairVariants(t *testing.T) {
	want, err := read(topoCSV, taskCSV)
	if err != nil {
		t.Fatal(err)
	}
	crlf := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	for name, in := range map[string][2]string{
		"CRLF":            {crlf(topoCSV), crlf(taskCSV)},
		"BOM":             {"\ufeff" + topoCSV, "\ufeff" + taskCSV},
		"no quotes":       {strings.ReplaceAll(topoCSV, `"`, ""), strings.ReplaceAll(taskCSV, `"`, "")},
		"spaces":          {strings.ReplaceAll(topoCSV, ",", " , "), strings.ReplaceAll(taskCSV, ",", ", ")},
		"no last newline": {strings.TrimSpace(topoCSV), strings.TrimSpace(taskCSV)},
		"empty lines":     {strings.ReplaceAll(topoCSV, "\n", "\n\n"), strings.ReplaceAll(taskCSV, "\n", "\n\n")},
		"numbers with .0": {strings.ReplaceAll(topoCSV, "2000", "2000.0"), strings.ReplaceAll(taskCSV, "00000,", "00000.0,")},
		"id":              {topoCSV, strings.Replace(taskCSV, "stream,", "id,", 1)},
		"capitals":        {strings.Replace(topoCSV, "link,", "Link,", 1), strings.Replace(taskCSV, "src", "SRC", 1)},
		"a number alone":  {topoCSV, strings.Replace(taskCSV, "[2]", "2", 1)},
		"other brackets":  {strings.NewReplacer("(", "[", ")", "]").Replace(topoCSV), strings.Replace(taskCSV, "[2]", "(2,)", 1)},
		"one more column": {"x," + strings.ReplaceAll(topoCSV, "\n\"", "\n7,\""), taskCSV},
		"column of indices": {
			"," + strings.ReplaceAll(topoCSV, "\n\"", "\n7,\""), taskCSV,
		},
	} {
		if got, err := read(in[0], in[1]); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\ngot  %+v\nwant %+v", name, err, got, want)
		}
	}
}

func TestReadPairDefaults(t *testing.T) {
	p, err := read("link\n(a b)\n", "size,period,src,dst\n64,1000000,a,b\n64,1000000,a,b\n")
	if err != nil {
		t.Fatal(err)
	}
	if l := p.Links[0]; l.Queues != 8 || l.Rate != tsn.Gbps || l.ProcessingDelay != 0 || l.PropagationDelay != 0 {
		t.Errorf("%+v", l)
	}
	if s := p.Streams[1]; s.ID != 1 || s.Deadline != s.Period || s.Jitter != 0 {
		t.Errorf("%+v", s)
	}
}

func TestReadPairErrors(t *testing.T) {
	row := func(s string) string { return strings.SplitAfterN(taskCSV, "\n", 2)[0] + s }
	link := func(s string) string { return strings.SplitAfterN(topoCSV, "\n", 2)[0] + s }
	for want, in := range map[string][2]string{
		"topo.csv: is empty":                    {"", ""},
		"topo.csv: has no link":                 {"link\n", ""},
		`topo.csv:1: there is no column "link"`: {"rate\n1\n", ""},
		`topo.csv:1: column "rat" is not known; known are link,q_num,rate`: {"link,rat\n", ""},
		`topo.csv:1: column "rate" is there twice`:                         {"link,rate,rate\n", ""},
		`topo.csv:2: rate "x": is not a rate`:                              {link(`"(0, 1)",8,x,0,0`), ""},
		`topo.csv:2: rate "NaN"`:                                           {link(`"(0, 1)",8,NaN,0,0`), ""},
		`topo.csv:2: rate "0"`:                                             {link(`"(0, 1)",8,0,0,0`), ""},
		`topo.csv:2: q_num 9: is outside 1..8`:                             {link(`"(0, 1)",9,1,0,0`), ""},
		`topo.csv:2: t_proc "1.5": is not a whole number`:                  {link(`"(0, 1)",8,1,1.5,0`), ""},
		`topo.csv:2: link 0 (0-1): a delay`:                                {link(`"(0, 1)",8,1,0,-1`), ""},
		`topo.csv:2: link "(0, 1, 2)": is not two nodes`:                   {link(`"(0, 1, 2)",8,1,0,0`), ""},
		`topo.csv:2: link 0 (0-0): does not join`:                          {link(`"(0, 0)",8,1,0,0`), ""},
		`topo.csv:2: has 3 columns; 5 are wanted`:                          {link(`"(0, 1)",8,1`), ""},
		`topo.csv:4: link (0,1): is on line 2 already`:                     {link("\"(0, 1)\",8,1,0,0\n\"(1, 0)\",8,1,0,0\n\"(0,1)\",8,1,0,0\n"), ""},
		`topo.csv:3: a quote or bracket is not closed`:                     {link("\"(0, 1)\",8,1,0,0\n\"(1, 0),8,1,0,0\n"), ""},
		`task.csv:2: src "9": there is no node 9 in the topology`:          {topoCSV, row("0,9,[2],1,1,1,1")},
		`task.csv:2: dst "[2,9]": there is no node 9`:                      {topoCSV, row("0,0,[2,9],1,1,1,1")},
		`task.csv:2: dst "[]": names no node`:                              {topoCSV, row("0,0,[],1,1,1,1")},
		`task.csv:2: src "[0,2]": is not one node`:                         {topoCSV, row("0,[0,2],3,1,1,1,1")},
		`task.csv:2: size 0: is outside`:                                   {topoCSV, row("0,0,2,0,1,1,1")},
		`task.csv:2: jitter -5: is negative`:                               {topoCSV, row("0,0,2,1,1,1,-5")},
		`task.csv:2: stream -1: is outside`:                                {topoCSV, row("-1,0,2,1,1,1,1")},
		`task.csv:2: stream 0: period, deadline or jitter is outside`:      {topoCSV, row("0,0,2,1,0,1,1")},
		`task.csv:3: stream 1: a listener does not exist, is named`:        {topoCSV, row("0,0,2,1,1,1,1\n1,0,[2 2],1,1,1,1")},
		`task.csv:3: stream 0: is on line 2 already`:                       {topoCSV, row("0,0,2,1,1,1,1\n0,0,2,1,1,1,1")},
		`task.csv:2: period "soon": is not a whole number`:                 {topoCSV, row("0,0,2,1,soon,1,1")},
		`task.csv:2: period "9223372036854775808": is not`:                 {topoCSV, row("0,0,2,1,9223372036854775808,1,1")},
		`task.csv:1: there is no column "dst"`:                             {topoCSV, "stream,src,size,period\n"},
	} {
		_, err := read(in[0], in[1])
		if e := (*Error)(nil); err == nil || !errors.As(err, &e) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// What is read can be written, and reads the same.
func FuzzPair(f *testing.F) {
	f.Add([]byte(topoCSV), []byte(taskCSV))
	f.Add([]byte("link\n(a b)\n"), []byte("size,period,src,dst\n64,1000000,a,b\n"))
	f.Add([]byte("link,rate\n\"((0,1\",1\n"), []byte("stream,src,dst\n\n"))
	f.Fuzz(func(t *testing.T, topo, task []byte) {
		p, err := read(string(topo), string(task))
		if err != nil {
			return
		}
		again, err := read(string(WriteTopology(p)), string(WriteStreams(p)))
		if err != nil {
			for _, n := range p.Nodes {
				if strings.ContainsAny(n.Name, "()[]{},;\"'\ufeff# \t\r\n") {
					return // a name that only a quoted cell can hold
				}
			}
			t.Fatalf("%v\n%s%s", err, WriteTopology(p), WriteStreams(p))
		}
		if a, b := WriteTopology(p), WriteTopology(again); !bytes.Equal(a, b) {
			t.Errorf("%s\n%s", a, b)
		}
	})
}
