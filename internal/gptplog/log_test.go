package gptplog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"unsafe"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/record"
)

var (
	self  = gptp.ClockIdentityFromMAC(tsn.MAC{2, 0, 0, 0, 0, 1})
	other = gptp.ClockIdentityFromMAC(tsn.MAC{2, 0, 0, 0, 0, 2})
)

func follows(gm gptp.ClockIdentity) gptp.Status {
	state := gptp.TimeSynchronized
	if gm == self {
		state = gptp.TimeGrandMaster
	}
	return gptp.Status{Domains: []gptp.DomainStatus{{
		ClockIdentity: self, GrandMaster: gm, State: state,
		Ports: []gptp.PortStatus{{State: gptp.SlavePort, MeanLinkDelayNS: 1000}},
	}}}
}

func found(offset int64) gptp.RelationChanged {
	return gptp.RelationChanged{Synced: true, GrandMaster: other, OffsetNS: offset, Relation: tsn.ClockRelation{RatePPB: 1500}}
}

// fill feeds seconds of eight Syncs each; in each second one is a peak.
func fill(l *Log, seconds int) {
	l.Status(0, follows(other))
	for k := range seconds {
		for n := range 8 {
			offset := int64(n)
			if n == 3 {
				offset = -int64(1000 + k)
			}
			l.Relation(tsn.Instant(k*second+n*second/8+1), found(offset))
		}
		l.Status(tsn.Instant((k+1)*second), follows(other))
	}
}

// The last Syncs are kept one by one, and of each second before them the offset
// farthest from zero.
func TestHistory(t *testing.T) {
	l := New(Limits{Syncs: 80, Seconds: 60})
	fill(l, 100)
	w := Wall{At: 100 * second, Unix: 1_000_000 * second}
	samples, _, err := l.History(0, 0, w)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(samples); n != 50+80 {
		t.Fatalf("%d samples, want the 50 seconds before the 80 Syncs of 60", n)
	}
	first, last := samples[0], samples[len(samples)-1]
	if first.Offset != -1040 || first.Time != (1_000_000-59)*second || first.State != api.GPTPSynchronized {
		t.Errorf("first: %+v", first)
	}
	if last.Offset != 7 || last.RatePPM != 1.5 || last.MeanLinkDelay != 1000 || last.Grandmaster != other.String() {
		t.Errorf("last: %+v", last)
	}
	for k := range samples[1:] {
		if samples[k].Time >= samples[k+1].Time {
			t.Fatalf("sample %d is not before the next", k)
		}
	}
	if got, _, _ := l.History(0, 99*second, w); len(got) != 8 {
		t.Errorf("%d samples of the last second", len(got))
	}
	if _, _, err := l.History(5, 0, w); api.ErrorCode(err) != api.CodeNotFound {
		t.Errorf("a domain that is not here: %v", err)
	}
}

// A second without Syncs is a sample while this node gives the time, and none
// while Syncs are to come.
func TestSecondsWithoutSync(t *testing.T) {
	l := New(Limits{})
	l.Relation(0, gptp.RelationChanged{GrandMaster: self, Synced: true})
	l.Status(0, follows(self))
	l.Status(second, follows(other))
	st := follows(self)
	st.Domains[0].State = gptp.TimeHoldover
	l.Status(2*second, st)
	l.Relation(2*second+1, gptp.RelationChanged{GrandMaster: self, Synced: true})
	samples, _, _ := l.History(0, 0, Wall{})
	if len(samples) != 2 || samples[0].State != api.GPTPGrandMaster || samples[1].State != api.GPTPHoldover {
		t.Errorf("%+v", samples)
	}
}

// With hot standby the target's relation is told beside those of the domains,
// and is no Sync.
func TestHotStandbyTarget(t *testing.T) {
	l := New(Limits{})
	st := follows(other)
	st.HotStandby = &gptp.HotStandbyStatus{}
	l.Status(0, st)
	target := found(7)
	target.Target = true
	l.Relation(1, found(7))
	l.Relation(2, target)
	if samples, _, _ := l.History(0, 0, Wall{}); len(samples) != 1 {
		t.Errorf("%d samples", len(samples))
	}
}

// Events of other domains are left out, those of links are in.
func TestEventsOfADomain(t *testing.T) {
	l := New(Limits{Events: 3})
	l.Status(0, follows(other))
	for k, e := range []api.Event{{Kind: "old"}, {Kind: "grand-master"}, {Kind: "grand-master", Domain: 20}, {Kind: "link-down"}} {
		l.Event(tsn.Instant(k), e)
	}
	_, events, _ := l.History(0, 0, Wall{Unix: 100})
	if fmt.Sprint(events) != fmt.Sprint([]api.Event{{Kind: "grand-master", Time: 101}, {Kind: "link-down", Time: 103}}) {
		t.Errorf("%v", events)
	}
}

// A watcher gets what comes after it began, each once, in order.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Limits{})
		fill(l, 2)
		ctx, cancel := context.WithCancel(t.Context())
		var got []api.GPTPUpdate
		var err error
		go func() {
			err = l.Watch(ctx, 0, func() Wall { return Wall{} }, func(u api.GPTPUpdate) error { got = append(got, u); return nil })
		}()
		synctest.Wait()
		l.Event(2*second+1, api.Event{Kind: "sync-timeout"})
		l.Relation(2*second+2, found(42))
		l.Relation(2*second+3, found(43))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if len(got) != 3 || got[0].Event == nil || got[1].Sample.Offset != 42 || got[2].Sample.Offset != 43 || !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %+v", err, got)
		}
	})
}

// The API's words for states are the machine's.
func TestStates(t *testing.T) {
	for s, want := range map[gptp.TimeState]string{
		gptp.TimeFreeRunning: api.GPTPFreeRunning, gptp.TimeAcquiring: api.GPTPAcquiring, gptp.TimeSynchronized: api.GPTPSynchronized,
		gptp.TimeHoldover: api.GPTPHoldover, gptp.TimeGrandMaster: api.GPTPGrandMaster,
	} {
		if s.String() != want {
			t.Errorf("%s, the API says %s", s, want)
		}
	}
}

// The size that doc.go states.
func TestMemory(t *testing.T) {
	if n := unsafe.Sizeof(sample{}); n*(2400+3600) > 240_000 {
		t.Errorf("a sample takes %d octets", n)
	}
}

// A recorded run, replayed, has the samples and events of the run.
func TestReplay(t *testing.T) {
	cfg := gptp.DefaultConfig(tsn.MAC{2, 0, 0, 0, 0, 1}, 1)
	path := filepath.Join(t.TempDir(), "timing.jsonl")
	rec, err := record.Create(record.Config{Path: path, Machine: "timing"})
	if err != nil {
		t.Fatal(err)
	}
	const begin = 7 * second
	rec.Record(begin, tsn.LinkChanged{Port: 1, Up: true})
	for k := range 50 {
		rec.Record(begin+tsn.Instant(k)*second/10, tsn.Timeout{})
	}
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	trace, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Replay(bytes.NewReader(trace), cfg, "b1")
	if err != nil {
		t.Fatal(err)
	}
	samples, _, err := l.History(0, 0, Wall{})
	if err != nil || len(samples) != 5 || samples[0].Time != 0 || samples[4].State != api.GPTPGrandMaster || samples[4].Grandmaster != self.String() {
		t.Errorf("%v: %+v", err, samples)
	}
	// A trace that ends within a line, as after a crash, is good up to there.
	l, err = Replay(bytes.NewReader(trace[:len(trace)-3]), cfg, "b1")
	if !errors.Is(err, record.ErrTruncated) {
		t.Errorf("truncated: %v", err)
	}
	if samples, _, _ := l.History(0, 0, Wall{}); len(samples) != 5 {
		t.Errorf("%d samples before the end", len(samples))
	}
}
