package dataplane_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/txtime"
)

const launchDelta = 100_000

// newTalker is a station whose scheduled class has launch times.
func newTalker(t *testing.T, l tsn.LaunchTime) *station {
	s := newStation(t)
	s.egress.Launch[tsn.ClassScheduled] = l
	s.set(t)
	if err := s.k.AwaitOper(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := txtime.Enable(s.tx[tsn.ClassScheduled], l.Deadline); err != nil {
		t.Fatal(err)
	}
	return s
}

// launch sends frame n of the scheduled class to leave at that time.
func (s *station) launch(t *testing.T, n byte, at int64) {
	t.Helper()
	f := frame(macB, macA, 0, 0, n)
	err := unix.Sendmsg(s.tx[tsn.ClassScheduled], f, txtime.Control(at), nil, 0)
	if err != nil && err != unix.ENOBUFS { // which says that the queue dropped it
		t.Fatal(err)
	}
}

func (s *station) reports(t *testing.T) []txtime.Report {
	t.Helper()
	r, err := txtime.Reports(s.tx[tsn.ClassScheduled])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Frames leave in the order of their launch times, each delta before its own,
// and hold nothing up that is not theirs.
func testLaunchOrder(t *testing.T) {
	s := newTalker(t, tsn.LaunchTime{Delta: launchDelta})
	const ms = 1_000_000
	now := tai(t)
	want := map[byte]int64{}
	for n, at := range []int64{7 * ms, 3 * ms, 5 * ms} {
		s.launch(t, byte(10+n), now+at)
		want[byte(10+n)] = now + at - launchDelta
	}
	before := tai(t)
	s.send(t, tsn.ClassBestEffort, 64)
	after := tai(t)
	sleepUntil(t, now+20*ms)
	var order []byte
	for _, a := range arrivals(t, s.rx) {
		order = append(order, a.n)
		if at, launched := want[a.n]; launched && (a.at < at || a.at > at+10_000) {
			t.Errorf("frame %d left %d ns after launch time less delta", a.n, a.at-at)
		} else if !launched && (a.at < before || a.at > after) {
			t.Errorf("best effort left %d ns after it was sent", a.at-before)
		}
	}
	if !slices.Equal(order, []byte{0, 11, 12, 10}) || len(s.reports(t)) > 0 {
		t.Errorf("frames left in the order %v; reports %v", order, s.reports(t))
	}
}

// With Deadline they leave at once.
func testLaunchDeadline(t *testing.T) {
	s := newTalker(t, tsn.LaunchTime{Delta: launchDelta, Deadline: true})
	now := tai(t)
	for n := range byte(3) {
		s.launch(t, n, now+50_000_000+int64(n))
	}
	sleepUntil(t, now+10_000_000)
	if got := arrivals(t, s.rx); len(got) != 3 {
		t.Errorf("%v left at once", got)
	}
}

// What cannot leave in time is dropped, counted, and told to its talker.
func testLaunchLate(t *testing.T) {
	s := newTalker(t, tsn.LaunchTime{Delta: launchDelta})
	now := tai(t)
	late := now - 1000
	s.launch(t, 1, late)
	if d := cmp.Diff([]txtime.Report{{Launch: late}}, s.reports(t)); d != "" {
		t.Errorf("a launch time in the past: -want +got\n%s", d)
	}
	plain := socket(t, s.ns, "p1")
	setOption(t, plain, unix.SO_PRIORITY, 6)
	_ = unix.Send(plain, frame(macB, macA, 0, 0, 2), 0) // without a launch time: dropped

	// A gate that is shut when the time has come.
	base := tai(t) + 100_000_000
	missed := base + 300_000
	s.launch(t, 3, missed)
	open, shut := allOpen, allOpen&^(1<<tsn.ClassScheduled)
	s.egress.Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: base + gptpAhead}, CycleTime: 1_000_000,
		Entries: []tsn.GateEntry{{Gates: shut, Interval: 900_000}, {Gates: open, Interval: 100_000}},
	}
	s.set(t)
	sleepUntil(t, base+5_000_000)
	if d := cmp.Diff([]txtime.Report{{Launch: missed, Missed: true}}, s.reports(t)); d != "" {
		t.Errorf("a gate shut at the launch time: -want +got\n%s", d)
	}
	// taprio looks at launch times too: none outside the class's windows gets in.
	next := base + ((tai(t)-base)/1_000_000+5)*1_000_000
	s.launch(t, 4, next+500_000)
	s.launch(t, 5, next+1_050_000)
	s.launch(t, 6, next+950_000) // delta before it the gate is shut
	sleepUntil(t, next+5_000_000)
	got := arrivals(t, s.rx)
	if len(got) != 1 || got[0].n != 6 || got[0].at < next+900_000 || got[0].at > next+910_000 {
		t.Errorf("%v left, want frame 6 as the gate opens, at %d", got, next+900_000)
	}
	cs, err := s.k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	// The class: late, plain, missed; the root: outside the windows.
	if c := cs[0]; c.Class[tsn.ClassScheduled].Dropped != 3 || c.Dropped != 5 || len(s.reports(t)) > 0 {
		t.Errorf("the class dropped %d, the port %d", c.Class[tsn.ClassScheduled].Dropped, c.Dropped)
	}
}

// Launch times come and go beside shapers, are read back and adopted, and a
// talker finds them.
func testLaunchSet(t *testing.T) {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	cfg := dataplane.Config{ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: 100 * tsn.Mbps}}}
	cfg.PTPToGate = func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS, nil }
	k := open(t, sw, cfg)
	e := tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap}
	launch := tsn.LaunchTime{Delta: launchDelta}
	for _, c := range []struct {
		name   string
		slope  tsn.Rate
		launch tsn.LaunchTime
	}{
		{"nothing", 0, tsn.LaunchTime{}},
		{"launch times", 0, launch},
		{"another delta", 0, tsn.LaunchTime{Delta: 2 * launchDelta, Deadline: true}},
		{"a shaper instead", 10 * tsn.Mbps, tsn.LaunchTime{}},
		{"launch times again", 0, launch},
		{"and not", 0, tsn.LaunchTime{}},
	} {
		e.IdleSlope[tsn.ClassScheduled], e.Launch[tsn.ClassScheduled] = c.slope, c.launch
		d := tsn.DesiredState{Egress: []tsn.PortEgress{e}}
		set(t, k, d)
		if err := k.AwaitOper(bounded(t), 1); err != nil {
			t.Fatal(err)
		}
		writes := k.Writes()
		set(t, k, d)
		k.Forget()
		set(t, k, d)
		have := read(t, k).Egress[0]
		if k.Writes() != writes || have.Launch[tsn.ClassScheduled] != c.launch || (have.Shapers[tsn.ClassScheduled] != dataplane.Shaper{}) != (c.slope > 0) {
			t.Errorf("%s: %+v, %d more writes", c.name, have, k.Writes()-writes)
		}
		sw.Do(func() {
			q, err := txtime.QueueOf("p1", 6)
			t.Logf("%s: %+v, %v", c.name, q, err)
			if (err == nil) != (c.launch != tsn.LaunchTime{}) || q.Delta != c.launch.Delta || q.Deadline != c.launch.Deadline {
				t.Errorf("%s: a talker finds %+v, %v", c.name, q, err)
			}
		})
	}
	e.Gates = &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: tai(t) + lead}}
	for i := range 300 {
		e.Gates.Entries = append(e.Gates.Entries, tsn.GateEntry{Gates: tsn.GateMask(i%2*7 | 8), Interval: 10_000})
		e.Gates.CycleTime += 10_000
	}
	e.IdleSlope, e.Launch[tsn.ClassScheduled] = [8]tsn.Rate{}, launch
	set(t, k, tsn.DesiredState{Egress: []tsn.PortEgress{e}})
	sw.Do(func() {
		if q, err := txtime.QueueOf("p1", 6); err != nil || q.Delta != launchDelta {
			t.Errorf("behind a list of 300 entries: %+v, %v", q, err)
		}
	})
	e.IdleSlope[tsn.ClassScheduled] = tsn.Mbps
	_, err := k.Set(bounded(t), tsn.DesiredState{Egress: []tsn.PortEgress{e}})
	isErr(t, err, dataplane.ErrInvalid)
}

// A frame that waits for its launch time holds up no other class, whichever the
// kernel serves first.
func testLaunchHolds(t *testing.T) {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	k := open(t, sw, dataplane.Config{ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: 100 * tsn.Mbps}}})
	e := tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap}
	e.Launch[tsn.ClassScheduled].Delta = 500_000_000 // a busy machine is late, too
	set(t, k, tsn.DesiredState{Egress: []tsn.PortEgress{e}})
	if err := k.AwaitOper(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
	s := &station{rx: socket(t, host, "h0"), frame: untagged}
	for c, priority := range priorities {
		s.tx[c] = socket(t, sw, "p1")
		setOption(t, s.tx[c], unix.SO_PRIORITY, int(priority))
	}
	if err := txtime.Enable(s.tx[tsn.ClassScheduled], false); err != nil {
		t.Fatal(err)
	}
	at := tai(t) + 1_000_000_000
	s.launch(t, 9, at)
	for c := range tsn.TrafficClass(tsn.NumClasses) {
		if c != tsn.ClassScheduled {
			s.send(t, c, 64)
			receive(t, s.rx, byte(c))
			t.Logf("class %d came %d us before the launch time", c, (at-tai(t))/1000)
		}
	}
	receive(t, s.rx, 9)
}
