package pathplan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/qbv/schedule"
	"tsnswitch/qbv/synth"
)

const ms = 1_000_000

func bridge(n int) tsn.MAC { return tsn.MAC{2, 0, 0, 0, 0, byte(n)} }
func host(n int) tsn.MAC   { return tsn.MAC{2, 0, 0, 0, 1, byte(n)} }

func name(m tsn.MAC) string { return fmt.Sprintf("%c%d", "bh"[m[4]], m[5]) }

// line is n bridges in a row at 100 Mbit/s, with a host at each end: port 1
// leads on, port 2 back.
func line(n int) (links []Link) {
	add := func(from tsn.MAC, port tsn.Port, to tsn.MAC) {
		links = append(links, Link{
			From: tsn.Hop{System: from, Port: port}, To: to, Rate: 100 * tsn.Mbps, ProcessingDelay: 2000, MaxEntries: 256, Software: true,
		})
	}
	at := func(i int) tsn.MAC {
		switch {
		case i == 0:
			return host(1)
		case i > n:
			return host(2)
		}
		return bridge(i)
	}
	for i := range n + 1 {
		add(at(i), 1, at(i+1))
		add(at(i+1), 2, at(i))
	}
	return links
}

// stream goes along the whole line.
func stream(n, unique int, interval int64) Stream {
	s := Stream{Stream: tsn.Stream{
		ID: tsn.MakeStreamID(host(1), uint16(unique)), Name: fmt.Sprintf("s%d", unique), Talker: host(1), Listener: host(2), DestinationAddress: host(2),
		VID: 101, PCP: 6, Interval: interval, MaxFrameSize: 200, MaxIntervalFrames: 1, MaxLatency: interval,
	}}
	s.Path = append(s.Path, tsn.Hop{System: host(1), Port: 1})
	for i := range n {
		s.Path = append(s.Path, tsn.Hop{System: bridge(i + 1), Port: 1})
	}
	return s
}

var settings = Settings{GuardOctets: tsn.MaxFrameOctets, SyncError: 1000}

func plan(t *testing.T, r Running, links []Link, streams ...Stream) *Plan {
	t.Helper()
	n, err := New(settings, name, links, streams)
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Search(r, synth.Options{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Every hop of a stream's way gets its gates and its window; the windows come
// one after the other, and the latency is what they say.
func TestPlan(t *testing.T) {
	p := plan(t, Running{}, line(3), stream(3, 1, 2*ms))
	ports := p.Ports()
	if len(ports) != 4 || p.Solution.Cycle != 2*ms {
		t.Fatalf("%d ports", len(ports))
	}
	var last Window
	for _, h := range p.Net.streams[0].Path {
		i := slices.IndexFunc(ports, func(x Port) bool { return x.Hop == h })
		w := ports[i].Windows[0]
		if len(ports[i].Windows) != 1 || w.Start != w.Open+1000 || w.End != w.Close-1000 || w.Start < last.End || w.Period != 2*ms {
			t.Errorf("%+v after %+v", w, last)
		}
		if l := ports[i].List; l.CycleTime != 2*ms || !slices.ContainsFunc(l.Entries, func(e tsn.GateEntry) bool { return e.Gates.Has(tsn.ClassControl) }) {
			t.Errorf("%s", &l)
		}
		last = w
	}
	o := p.Outcomes()[0]
	if !o.Placed || o.Latency < last.End-last.Start || o.Latency > 2*ms {
		t.Errorf("%+v", o)
	}
}

// The order in which a network is given does not matter.
func TestPlanOrder(t *testing.T) {
	links, streams := line(4), []Stream{stream(4, 1, ms), stream(4, 2, 2*ms), stream(4, 3, 4*ms)}
	want := plan(t, Running{}, links, streams...)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		r.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
		r.Shuffle(len(streams), func(i, j int) { streams[i], streams[j] = streams[j], streams[i] })
		if got := plan(t, Running{}, links, streams...); !reflect.DeepEqual(got.Solution, want.Solution) || !reflect.DeepEqual(got.Ports(), want.Ports()) {
			t.Fatal("another plan")
		}
	}
}

// What runs stays as it is when streams come, go and change, also when the
// cycle gets longer; what has changed itself finds another place.
func TestRunningStays(t *testing.T) {
	links := line(3)
	streams := []Stream{stream(3, 4, 2*ms), stream(3, 6, 2*ms), stream(3, 8, 2*ms)}
	running := plan(t, Running{}, links, streams...).Running()
	streams[1].Stream.MaxFrameSize = 300
	after := plan(t, running, links, append(streams, stream(3, 1, 4*ms), stream(3, 9, 8*ms))...)
	if after.Solution.Cycle != 8*ms || len(after.Solution.Streams) != 5 {
		t.Fatalf("cycle %d, %d streams", after.Solution.Cycle, len(after.Solution.Streams))
	}
	for _, p := range after.Running().Streams {
		i := slices.IndexFunc(running.Streams, func(q Placed) bool { return q.Stream == p.Stream })
		if i >= 0 && !reflect.DeepEqual(running.Streams[i], p) {
			t.Errorf("%s moved from %v to %v", p.Stream.Name, running.Streams[i].Starts, p.Starts)
		}
	}
	fewer := plan(t, after.Running(), links, streams[0])
	if !reflect.DeepEqual(fewer.Running().Streams[0], running.Streams[0]) {
		t.Error("s4 moved when others went")
	}
}

// What links that have become slower, or faster, do not let stay is planned
// anew.
func TestRunningOnOtherLinks(t *testing.T) {
	for _, rate := range []tsn.Rate{10 * tsn.Mbps, tsn.Gbps} {
		links := line(3)
		streams := []Stream{stream(3, 4, 20*ms), stream(3, 6, 20*ms)}
		running := plan(t, Running{}, links, streams...).Running()
		for i := range links {
			links[i].Rate = rate
		}
		after := plan(t, running, links, streams...)
		for _, o := range after.Outcomes() {
			if !o.Placed {
				t.Errorf("%v: %s", rate, o.Reason)
			}
		}
	}
}

// Instances of a cycle are written out for one that is a multiple of it.
func TestRepeat(t *testing.T) {
	in := []schedule.Instance{{K: 0, Starts: []int64{5, 7}}, {K: 1, Starts: []int64{16, 18}}}
	got := repeat(in, 20, 40)
	if len(got) != 4 || got[3].K != 3 || !slices.Equal(got[3].Starts, []int64{36, 38}) || in[1].Starts[0] != 16 {
		t.Errorf("%v", got)
	}
}

// A stream without a place says why, and the others have theirs.
func TestNoPlace(t *testing.T) {
	tight := stream(3, 2, 2*ms)
	tight.Stream.MaxLatency = 10_000
	p := plan(t, Running{}, line(3), stream(3, 1, 2*ms), tight)
	o := p.Outcomes()
	if !o[0].Placed || o[1].Placed || o[1].Reason == "" || o[0].Reason != "" {
		t.Errorf("%+v", o)
	}
	t.Log(o[1].Reason)
}

func TestNewRefuses(t *testing.T) {
	for want, spoil := range map[string]func(*Stream){
		"priority 3 is in class":                      func(s *Stream) { s.Stream.PCP = 3 },
		"it has no path":                              func(s *Stream) { s.Path = nil },
		"hop 2: no link leads from 02:00:00:00:00:01": func(s *Stream) { s.Path[1].Port = 7 },
		"hop 1: no link leads":                        func(s *Stream) { s.Path = slices.Delete(s.Path, 1, 2) },
		"to 02:00:00:00:01:09":                        func(s *Stream) { s.Stream.Listener = host(9) },
	} {
		s := stream(3, 1, ms)
		spoil(&s)
		if _, err := New(settings, name, line(3), []Stream{s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A schedule of others is proven like our own.
func TestProveRefuses(t *testing.T) {
	p := plan(t, Running{}, line(3), stream(3, 1, 2*ms))
	s := *p.Solution
	s.Streams = slices.Clone(s.Streams)
	s.Streams[0].Starts = slices.Clone(s.Streams[0].Starts)
	s.Streams[0].Starts[2]--
	if _, err := p.Net.Prove(&s); err == nil || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("%v", err)
	}
}
