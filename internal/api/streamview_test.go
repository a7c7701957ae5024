package api_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
)

// What several bridges say of streams is one view of each, in whatever order
// they say it.
func TestMergeStreams(t *testing.T) {
	want := `02-00-00-00-01-09:0001 reserved 474000 b1:3 -> b1:4 ready b3:3 ready | b1 b2 b3
02-00-00-00-01-09:0002 partly 158000 insufficient bandwidth at b2 b1:3 -> b1:4 ready b3:3 asking failed | b1 b2 b3
02-00-00-00-01-0a:0001 awaited 0 -> b3:3 asking failed | b3
`
	for range 20 {
		views := apitest.MSRPStreams()
		rand.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
		if got := mergedText(api.MergeStreams(views)); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
	}
}

func mergedText(views []api.StreamView) string {
	var b strings.Builder
	for _, v := range views {
		fmt.Fprintf(&b, "%s %s %d", v.Stream.ID, v.State, v.Latency)
		if v.Failure != tsn.FailureNone {
			fmt.Fprintf(&b, " %s at %s", v.Failure, v.FailureAt)
		}
		if v.Talker != nil {
			fmt.Fprintf(&b, " %s:%d", v.Talker.Node, v.Talker.Port)
		}
		b.WriteString(" ->")
		for _, l := range v.Listeners {
			fmt.Fprintf(&b, " %s:%d %s", l.Node, l.Port, l.Text)
		}
		b.WriteString(" |")
		for _, at := range v.Bridges {
			b.WriteString(" " + at.Node)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// States that one bridge alone tells.
func TestStatesOfMSRPStreams(t *testing.T) {
	in := &api.StreamPort{Port: 1, Edge: true, Talker: api.TalkerAdvertise}
	refused := &api.StreamPort{Port: 1, Edge: true, Talker: api.TalkerFailed, Failure: 8, Text: "no", FailureAt: "x"}
	out := func(talker, listener string, reserved bool) []api.StreamPort {
		p := api.StreamPort{Port: 2, Edge: true, Talker: talker, Listener: listener, Reserved: reserved, Latency: 9}
		if talker == api.TalkerFailed {
			p.Failure, p.Text, p.FailureAt = 1, "full", "b1"
		}
		return []api.StreamPort{p}
	}
	for name, c := range map[string]struct {
		at   api.StreamAt
		want string
	}{
		"reserved":       {api.StreamAt{In: in, Out: out("advertise", "ready", true)}, "reserved 0 "},
		"no listener":    {api.StreamAt{In: in, Out: out("advertise", "", false)}, "offered 0 no listener asks for it"},
		"failed, unseen": {api.StreamAt{In: in, Out: out("failed", "", false)}, "offered 1 full"},
		"failed":         {api.StreamAt{In: in, Out: out("failed", "asking failed", false)}, "failed 1 full"},
		"failed before":  {api.StreamAt{In: refused}, "offered 8 no"},
		"not yet":        {api.StreamAt{In: in, Out: out("advertise", "ready", false)}, "failed 0 the listener has not been answered yet"},
		"no talker":      {api.StreamAt{Out: out("", "ready", false)}, "awaited 0 a listener asks for it, no talker offers it"},
	} {
		v := api.MergeStreams([]api.StreamView{{Source: api.SourceMSRP, Bridges: []api.StreamAt{c.at}}})[0]
		if got := fmt.Sprintf("%s %d %s", v.State, v.Failure, v.Reason); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A keeper's word on a managed stream wins over that of bridges on its path,
// which come in the order of the path.
func TestMergeManaged(t *testing.T) {
	s := apitest.Stream(1)
	at := func(n byte) api.StreamView {
		return api.StreamView{
			StreamState: api.StreamState{Stream: s, Owner: "b1", State: api.StreamReserved}, Source: api.SourceManaged,
			Bridges: []api.StreamAt{{Node: "b" + string('0'+rune(n)), System: apitest.MAC(n)}},
		}
	}
	keeper := api.StreamView{StreamState: api.StreamState{Stream: s, Owner: "b1", State: api.StreamReserved, Reason: "unscheduled", Path: apitest.PathAB()}, Source: api.SourceManaged}
	v := api.MergeStreams([]api.StreamView{at(3), at(2), keeper, at(1)})
	if got, want := mergedText(v), "02-00-00-00-01-01:0001 reserved 0 -> b3:3 reserved | b1 b2 b3\n"; got != want || v[0].Reason != "unscheduled" {
		t.Errorf("%q, want %q; %q", got, want, v[0].Reason)
	}
}
