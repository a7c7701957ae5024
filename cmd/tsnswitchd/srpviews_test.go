package main

import (
	"slices"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// What a daemon says of streams is what its stations see; a stream that is asked
// for on behalf of a silent station outlives a daemon that is killed.
func TestSRPViews(t *testing.T) {
	s := newSRPOnly(t, "srp: {msrp: true}", nil)
	s.reserve()
	big := s.wish(2, 1000, 1)
	s.stations[0].Talk(big)
	s.until(1, "that the second does not fit", func(n srptest.Seen) bool { return n.Talkers[big.StreamID].Failed })
	ctx := t.Context()
	v, err := s.client.FindStreams(ctx, api.StreamQuery{})
	if err != nil || len(v) != 2 {
		t.Fatalf("%v: %+v", err, v)
	}
	if got := v[0]; got.State != api.StreamReserved || got.Talker == nil || got.Talker.Ifname != "p1" || got.Latency != 446_000 || got.Class != "A" {
		t.Errorf("%+v", got)
	}
	if got := v[1]; got.State != api.StreamOffered || got.Failure != tsn.FailureClassBandwidth || got.FailureAt != "sw" {
		t.Errorf("%+v", got)
	}
	w, err := s.client.ExplainStream(ctx, big.StreamID.String())
	if err != nil || len(w.Reasons) != 1 || len(w.Reasons[0].Ports) != 1 {
		t.Fatalf("%v: %+v", err, w)
	}
	if p := w.Reasons[0].Ports[0]; !p.Here || p.Needed != 66688 || p.Available != 57976 || len(p.Holders) != 1 || p.Holders[0].Stream != v[0].Stream.ID {
		t.Errorf("%+v", p)
	}
	if d, err := s.client.Declarations(ctx, api.DeclarationQuery{Port: 2}); err != nil || !slices.ContainsFunc(d, func(d api.Declaration) bool {
		return d.Attribute == "talker failed" && d.Declared && strings.HasPrefix(d.Value, big.StreamID.String())
	}) {
		t.Errorf("%v: %+v", err, d)
	}

	// Station 1 has a camera beside it that speaks nothing.
	m, err := s.client.RequestStream(ctx, api.DemandRequest{
		Name: "cam", Talker: "02:00:00:00:00:99@sw:1", Listeners: []string{"02:00:00:00:00:98@sw:2"}, Class: "B", Rank: 1, MaxFrameSize: 100, MaxIntervalFrames: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	id := m.Stream.ID
	offered := func(n srptest.Seen) bool { t, ok := n.Talkers[id]; return ok && !t.Failed }
	s.until(1, "the silent talker", offered)
	s.until(0, "the silent listener", func(n srptest.Seen) bool { return n.Listeners[id] == mrp.ListenerReady })
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.done
	s.start()
	s.eventually("asked for after a restart", func() bool {
		v, err := s.client.FindStreams(ctx, api.StreamQuery{Stream: "cam"})
		return err == nil && v[0].State == api.StreamReserved && v[0].Bridges[0].In.Proxied
	})
	if _, err := s.client.WithdrawStream(ctx, "cam"); err != nil {
		t.Fatal(err)
	}
	s.until(1, "the end of the silent talker", func(n srptest.Seen) bool { return !offered(n) })
}
