package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/link"
)

// kernelClock notes what is asked of it.
type kernelClock struct {
	asked   []string
	refuse  error
	changed bool
}

func (k *kernelClock) Local(link.Stamp) (tsn.LocalTime, bool) { return 0, false }
func (k *kernelClock) Others() link.Others                    { return link.Others{Steps: 1, Rates: 2} }

func (k *kernelClock) Watch() (bool, error) {
	c := k.changed
	k.changed = false
	return c, nil
}

func (k *kernelClock) Steer(r tsn.ClockRelation) (int64, error) {
	k.asked = append(k.asked, fmt.Sprint("steer ", r.PTP.NS))
	return 0, k.refuse
}

func (k *kernelClock) SetTAIOffset(ns int64) error {
	k.asked = append(k.asked, fmt.Sprint("tai ", ns))
	return k.refuse
}

func (k *kernelClock) Gate() (link.GateMap, error) {
	return link.GateMap{Local: 5, Gate: 7, RatePPB: 9}, nil
}

// A node follows whoever is grand master, goes on by the time it took over, and
// leaves its clock alone while that is what it gives others.
func TestSteering(t *testing.T) {
	own, other := gptp.ClockIdentity{1}, gptp.ClockIdentity{2}
	k := &kernelClock{}
	w := &clockwork{kind: "system", own: own, clock: k, steered: k, steer: true, kick: make(chan struct{}, 1)}
	log, now := slog.New(slog.DiscardHandler), time.Unix(1000, 0)
	for _, c := range []struct {
		what string
		r    gptp.RelationChanged
		want string
	}{
		{"grand master from the start", gptp.RelationChanged{GrandMaster: own, Synced: true}, ""},
		{"another, not known yet", gptp.RelationChanged{GrandMaster: other}, ""},
		{"another", gptp.RelationChanged{GrandMaster: other, Synced: true}, "steer 1"},
		{"that tells UTC", gptp.RelationChanged{GrandMaster: other, Synced: true, UtcOffset: 37}, "tai 37000000000 steer 1"},
		{"that is lost", gptp.RelationChanged{GrandMaster: own}, "steer 1"},
		{"taken over", gptp.RelationChanged{GrandMaster: own, Synced: true, UtcOffset: 37}, "steer 1"},
		{"a third, not known yet", gptp.RelationChanged{GrandMaster: gptp.ClockIdentity{3}}, ""},
	} {
		c.r.Relation.PTP.NS = 1
		if !w.relation(c.r) && c.what != "that tells UTC" {
			t.Errorf("%s: is no news", c.what)
		}
		k.asked = nil
		w.follow(now, log)
		if got := strings.Join(k.asked, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// Without CAP_SYS_TIME the clock is unsteered, which status says; nothing ends,
// nothing fills the log, and the kernel is asked again only now and then.
func TestSteeringRefused(t *testing.T) {
	k := &kernelClock{refuse: fmt.Errorf("steer: %w", unix.EPERM)}
	w := &clockwork{kind: "system", clock: k, steered: k, steer: true, kick: make(chan struct{}, 1)}
	var text strings.Builder
	log, now := slog.New(slog.NewTextHandler(&text, nil)), time.Unix(1000, 0)
	w.relation(gptp.RelationChanged{GrandMaster: gptp.ClockIdentity{2}, Synced: true})
	for range 100 {
		w.follow(now, log)
		now = now.Add(steerInterval)
	}
	if n := len(k.asked); n < 5 || n > 6 {
		t.Errorf("asked %d times in 50 s", n)
	}
	if n := strings.Count(text.String(), "\n"); n != 1 {
		t.Errorf("%d lines in the log", n)
	}
	got := w.trouble()
	if len(got) != 1 || !strings.Contains(got[0], "the system clock is not steered") || !strings.Contains(got[0], "not permitted") || w.isSteered() {
		t.Errorf("%q", got)
	}
	k.refuse = nil
	w.follow(now.Add(steerRetry), log)
	if len(w.trouble()) != 0 || !w.isSteered() {
		t.Errorf("%q after it was allowed", w.trouble())
	}
}

// Another program that adjusts the clock: gPTP gets the clock's new relation,
// and status says who is not alone.
func TestSteeringDisturbed(t *testing.T) {
	k := &kernelClock{}
	w := &clockwork{kind: "system", clock: k, steered: k, steer: true}
	log := slog.New(slog.DiscardHandler)
	if src := w.watch(time.Now(), log); src != nil || len(w.trouble()) != 0 {
		t.Errorf("%+v, %q", src, w.trouble())
	}
	k.changed = true
	src := w.watch(time.Now(), log)
	if src == nil || src.Relation.Local != 5 || src.Relation.PTP.NS != 7 || src.Relation.RatePPB != 9 {
		t.Errorf("%+v", src)
	}
	if got := w.trouble(); len(got) != 1 || !strings.Contains(got[0], "another program adjusts the system clock: 1 steps, 2 changes of rate") {
		t.Errorf("%q", got)
	}
}

// A schedule needs a gPTP time that is good and a gate clock that is near it.
func TestSchedulable(t *testing.T) {
	k := &kernelClock{}
	w := &clockwork{clock: k, bound: 100, kick: make(chan struct{}, 1)}
	if err := w.schedulable(); !errors.Is(err, errNoTime) {
		t.Error(err)
	}
	r := gptp.RelationChanged{Relation: tsn.ClockRelation{Local: 5, PTP: tsn.PTPTime{NS: 7}, RatePPB: 9}}
	w.relation(r)
	if err := w.schedulable(); err == nil || !strings.Contains(err.Error(), "not synchronized") {
		t.Error(err)
	}
	r.Synced = true
	w.relation(r)
	if err := w.schedulable(); err != nil {
		t.Error(err)
	}
	r.Relation.PTP.NS += 101
	w.relation(r)
	var far *link.GateOffsetError
	if err := w.schedulable(); !errors.As(err, &far) || far.Offset != 101 {
		t.Error(err)
	}
}

// While time is lost or wrong a new schedule is refused, and status says why;
// one that only opens gates needs no time.
func TestScheduleRefused(t *testing.T) {
	k := &kernelClock{}
	w := &clockwork{clock: k, bound: 100, kick: make(chan struct{}, 1)}
	d := &Daemon{cfg: &config.Daemon{Name: "b1", Role: config.RoleBridge}, clock: w, timing: newDirectLoop("t", nil, link.Now, nil, 0), ports: &link.Ports{}}
	r := gptp.RelationChanged{Relation: tsn.ClockRelation{Local: 5, PTP: tsn.PTPTime{NS: 7}, RatePPB: 9}}
	for _, c := range []struct {
		what string
		set  func()
		want string
	}{
		{"none yet", func() {}, "gPTP has no time yet"},
		{"lost", func() { w.relation(r) }, "gPTP is not synchronized"},
		{"wrong", func() { r.Synced = true; r.Relation.PTP.NS += 101; w.relation(r) }, "the gate clock is 101ns behind gPTP"},
	} {
		c.set()
		_, err := d.StageSchedule(t.Context(), api.StageRequest{ID: "x", Ports: []api.PortGates{{Port: 1, Gates: &tsn.GateControlList{}}}})
		if api.ErrorCode(err) != api.CodeWrongOrder || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if text := strings.Join(d.timeDegraded(gptp.Status{}), "\n"); !strings.Contains(text, "no new schedule is taken: "+c.want) {
			t.Errorf("%s: status says %q", c.what, text)
		}
	}
}

// A port whose device runs the gates by a clock that gPTP does not follow gets
// no base times; the others do.
func TestOtherGateClock(t *testing.T) {
	c := config.DefaultDaemon()
	c.Ports = []config.Port{{Port: 1, Ifname: "p1"}, {Port: 2, Ifname: "p2", Offload: config.OffloadFull}}
	w, err := openClock(&c)
	if err != nil {
		t.Fatal(err)
	}
	to := w.toGateOf(&c)
	if _, err := to(1, tsn.PTPTime{}); !errors.Is(err, errNoTime) {
		t.Errorf("port 1: %v", err)
	}
	if _, err := to(2, tsn.PTPTime{}); err == nil || !strings.Contains(err.Error(), "the gates of p2 go by its PTP clock") {
		t.Errorf("port 2: %v", err)
	}
}

// What the configuration says of a port reaches the data plane.
func TestPortConfig(t *testing.T) {
	c := config.DefaultDaemon()
	c.QBV.Offload = config.OffloadTxTime
	got := portConfig(&c, config.Port{Port: 1, Ifname: "p1", LaunchDelta: 5000})
	if want := (dataplane.PortConfig{Port: 1, Ifname: "p1", Offload: dataplane.OffloadTxTime, LaunchDelta: 5000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	p := config.Port{Port: 2, Ifname: "p2", Offload: config.OffloadFull, Preemption: &config.Preemption{Verify: true, VerifyTime: 20e6, AddFragSize: 2}}
	got = portConfig(&c, p)
	if want := (dataplane.MACMerge{Enabled: true, Verify: true, VerifyTime: 20_000_000, AddFragSize: 2}); got.Offload != dataplane.OffloadFull || *got.Preemption != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
