package config

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tsnswitch"
	"tsnswitch/qbv/schedule"
)

const planned = `name: cell
nodes:
  - {name: sw, proc: 2us, gateLimit: 64}
  - {name: plc, kind: host}
  - {name: d1, kind: host}
  - {name: d2, kind: host}
links:
  - {a: "sw:1", b: plc}
  - {a: "sw:2", b: d1, rate: 100M, prop: 50ns, guard: 0B, queues: 8, scheduled: [5, 6]}
  - {a: "sw:3", b: d2}
streams:
  - {name: axis, from: plc, to: [d1, d2], every: 1ms, size: 128B, minSize: 64B, within: 300us, jitter: 10us, release: [0s, 500us], rank: 2}
  - {name: log, from: d1, to: plc, every: 10ms, size: 1000B, pcp: 3}
  - {name: back, from: d1, to: plc, every: 1ms, size: 46B, frames: 2}
qbv: {jitter: 1us, syncError: 500ns, isolation: order, preemption: true, maxSdu: [1000B], software: false, minInterval: 2us}
`

func TestScheduleProblem(t *testing.T) {
	n, err := ParseNetwork("net.yaml", []byte(planned))
	if err != nil {
		t.Fatal(err)
	}
	checkNetwork(t, n)
	p, err := n.ScheduleProblem()
	if err != nil {
		t.Fatal(err)
	}
	link := func(from, to schedule.NodeID, port tsn.Port, proc int64, limit int) schedule.Link {
		return schedule.Link{
			From: from, To: to, FromPort: port, Rate: tsn.Gbps, PropagationDelay: 100, ProcessingDelay: proc, Queues: 5, Scheduled: 8,
			GuardOctets: 1542, Preemptible: 0b0111, MaxSDU: [8]int{1038}, Control: 4, ControlOctets: 1542, MaxEntries: limit, MinInterval: 2000,
		}
	}
	slow := func(l schedule.Link) schedule.Link {
		l.Rate, l.PropagationDelay, l.GuardOctets, l.Queues, l.Scheduled = 100*tsn.Mbps, 50, 0, 8, 0x60
		l.Preemptible = 0x8f
		return l
	}
	want := &schedule.Problem{
		Name: "cell", SyncError: 500, Jitter: 1000, Isolation: schedule.InOrder, MaxCycle: 1e9,
		Nodes: []schedule.Node{
			{Name: "sw", System: n.Nodes[0].SystemID, Bridge: true},
			{Name: "plc", System: n.Nodes[1].SystemID},
			{Name: "d1", System: n.Nodes[2].SystemID},
			{Name: "d2", System: n.Nodes[3].SystemID},
		},
		Links: []schedule.Link{
			link(0, 1, 1, 5000, 64), link(1, 0, 1, 2000, 256),
			slow(link(0, 2, 2, 5000, 64)), slow(link(2, 0, 1, 2000, 256)),
			link(0, 3, 3, 5000, 64), link(3, 0, 1, 2000, 256),
		},
		Streams: []schedule.Stream{
			{
				ID: 0, Name: "axis", StreamID: n.Streams[0].ID, Talker: 1, Listeners: []schedule.NodeID{2, 3}, Size: 170, MinSize: 106,
				Frames: 1, Period: 1e6, Deadline: 300e3, Jitter: 10e3, Release: [2]int64{0, 500e3}, Rank: 2,
			},
			{ID: 2, Name: "back", StreamID: n.Streams[2].ID, Talker: 2, Listeners: []schedule.NodeID{1}, Size: 88, Frames: 2, Period: 1e6, Deadline: 1e6},
		},
	}
	if d := cmp.Diff(want, p); d != "" {
		t.Error(d)
	}
	if a := n.Streams[0].Destination; !a.IsGroup() || n.Streams[2].Destination != n.Nodes[1].SystemID {
		t.Errorf("destinations %s, %s", a, n.Streams[2].Destination)
	}
}

// Without a word about schedules a network has what the daemons have.
func TestScheduleProblemDefaults(t *testing.T) {
	n, err := LoadNetwork("../../lab/line3.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.ScheduleProblem()
	if err != nil {
		t.Fatal(err)
	}
	l := p.Links[0]
	if l.Queues != 5 || l.Scheduled != 8 || l.GuardOctets != 1542 || l.ControlOctets != 1542 || l.MinInterval != l.Rate.TransmitTime(60) || !l.Software {
		t.Errorf("%+v", l)
	}
}

func TestLoadStreams(t *testing.T) {
	n, err := ParseNetwork("net.yaml", []byte(planned))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.LoadStreams("s.yaml", []byte("streams:\n  - {name: x, from: d1, to: d2, every: 2ms, size: 100B}\n")); err != nil {
		t.Fatal(err)
	}
	if len(n.Streams) != 1 || n.Streams[0].Within != 2e6 || !reflect.DeepEqual(n.Streams[0].To, Listeners{"d2"}) {
		t.Errorf("%+v", n.Streams)
	}
	for want, doc := range map[string]string{
		`s.yaml:3: streams[0].from: "d9" is not a host`:         "streams:\n  - name: x\n    from: d9\n    to: d2\n    every: 2ms\n    size: 100B\n",
		"s.yaml:2: nodes: unknown key; allowed here: streams":   "streams: []\nnodes: []\n",
		`s.yaml:1: streams[0].to[1]: "d2" is there twice`:       "streams: [{name: x, from: d1, to: [d2, d2], every: 2ms, size: 100B}]\n",
		"s.yaml:1: streams[0].to: is missing":                   "streams: [{name: x, from: d1, every: 2ms, size: 100B}]\n",
		"s.yaml:1: streams[0].to: is keys with values; one":     "streams: [{name: x, from: d1, to: {a: d2}, every: 2ms, size: 100B}]\n",
		"s.yaml:1: streams[0].release: 1ms..3ms is not within":  "streams: [{name: x, from: d1, to: d2, every: 2ms, size: 100B, release: [1ms, 3ms]}]\n",
		"s.yaml:1: streams[0].release: has 1 times":             "streams: [{name: x, from: d1, to: d2, every: 2ms, size: 100B, release: [1ms]}]\n",
		"s.yaml:1: streams[0].minSize: 200B is outside 0B..100": "streams: [{name: x, from: d1, to: d2, every: 2ms, size: 100B, minSize: 200B}]\n",
	} {
		if err := n.LoadStreams("s.yaml", []byte(doc)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestScheduleErrors(t *testing.T) {
	for want, change := range map[string][2]string{
		`net.yaml:15: qbv.isolation: is "none"; allowed: frame, order`:      {"isolation: order", "isolation: none"},
		"net.yaml:9: links[1].scheduled[1]: 8 is outside 0..7":              {"[5, 6]", "[5, 8]"},
		"net.yaml:9: links[1].scheduled: 0 is outside 1..8":                 {"[5, 6]", "[]"},
		"net.yaml:9: links[1].guard: 70000B is outside":                     {"guard: 0B", "guard: 70000B"},
		"net.yaml:15: qbv.maxSdu[0]: 70000B is outside":                     {"[1000B]", "[70000B]"},
		"net.yaml:15: qbv.queues: 9 is outside 1..8":                        {"software: false", "queues: 9"},
		"net.yaml:15: qbv.control.queue: 5 is outside 0..4":                 {"software: false", "control: {queue: 5}"},
		`net.yaml:9: links[1].scheduled[0]: "high" is not a whole number`:   {"[5, 6]", "[high]"},
		"net.yaml:15: qbv.syncError: -500ns is outside 0s..1s":              {"syncError: 500ns", "syncError: -500ns"},
		`net.yaml:12: streams[0].to[1]: "sw" is not a host of this network`: {"[d1, d2]", "[d1, sw]"},
	} {
		_, err := ParseNetwork("net.yaml", []byte(strings.Replace(planned, change[0], change[1], 1)))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// Whatever the files say, it is an error with file and line, or a problem.
func FuzzScheduleProblem(f *testing.F) {
	f.Add([]byte(planned), []byte("streams:\n  - {name: x, from: d1, to: d2, every: 2ms, size: 100B}\n"))
	f.Add([]byte(planned), []byte("streams: [{name: x, from: d1, to: [d2, plc], every: 1s, size: 1500B, frames: 1024, release: [0s, 1ms]}]\n"))
	f.Fuzz(func(t *testing.T, topo, streams []byte) {
		n, err := ParseNetwork("net.yaml", topo)
		if err != nil {
			return
		}
		if _, err := n.ScheduleProblem(); err != nil && !strings.Contains(err.Error(), "stream") && !strings.Contains(err.Error(), "link") {
			t.Errorf("%v\n%s", err, topo)
		}
		if err := n.LoadStreams("s.yaml", streams); err != nil {
			if !strings.HasPrefix(err.Error(), "s.yaml:") {
				t.Errorf("%v\n%s", err, streams)
			}
			return
		}
		_, _ = n.ScheduleProblem()
	})
}
