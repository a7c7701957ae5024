package dataplane_test

import (
	"encoding/binary"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/qbv"
	"tsnswitch/srp"
)

// TestExact measures what the kernel does with what this package programs, in
// the virtual time of the project's own kernel: there nothing is ever late, so
// that bounds are in nanoseconds and frames are counted exactly.
func TestExact(t *testing.T) {
	needs := kerneltest.Needs{
		OwnKernel: true, TimeTravel: true, Taprio: true, CBS: true, Flower: true, VLANFiltering: true,
		Timeout: time.Minute,
	}
	kerneltest.Run(t, needs, func(t *testing.T) {
		t.Run("GatePhase", precisely(testGatePhase))
		t.Run("ScheduleSwitch", precisely(testScheduleSwitch))
		t.Run("ReplaceLive", precisely(testReplaceLive))
		t.Run("ReplacePending", precisely(testReplacePending))
		t.Run("TakeBackLate", precisely(testTakeBackLate))
		t.Run("CreditBased", precisely(testCreditBased))
		t.Run("ShapedAndGated", precisely(testShapedAndGated))
		t.Run("ForwardedExactly", precisely(testForwardedExactly))
	})
}

// precisely runs a test on one thread that is woken when it asked to be: others
// allow the kernel 50 us of slack, and the garbage collector sleeps now and then.
func precisely(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		runtime.LockOSThread() // for good: the thread ends with the test
		if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		defer debug.SetGCPercent(debug.SetGCPercent(-1))
		test(t)
	}
}

// gptpAhead is how far gPTP time is ahead of the gate clock in these tests.
const gptpAhead = 37_000_012_345

// station is a port with gates, what sends through it, and its peer, which
// stamps what arrives.
type station struct {
	ns      *kerneltest.NetNS
	k       *dataplane.Kernel
	tx      [tsn.NumClasses]int // a socket for each class
	rx      int
	desired tsn.DesiredState
	egress  *tsn.PortEgress            // of the port, in desired
	frame   func(byte, tsn.PCP) []byte // with a serial octet
	due     []int64                    // when feed sent its frames, gate clock
}

// priorities are one of each class.
var priorities = [tsn.NumClasses]tsn.PCP{0, 2, 3, 6, 7}

// untagged is a frame of an end station: in a tagged one from a packet socket
// newer kernels look for the tag at the wrong place.
func untagged(n byte, _ tsn.PCP) []byte { return frame(macB, macA, 0, 0, n) }

// newStation is an end station's port p1.
func newStation(t *testing.T) *station {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	quiet(t, sw)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	s := &station{
		ns: sw,
		k: open(t, sw, dataplane.Config{
			ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: 100 * tsn.Mbps}},
			PTPToGate: func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS - gptpAhead, nil },
		}),
		rx:      stampingSocket(t, host, "h0"),
		desired: tsn.DesiredState{Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap}}},
		frame:   untagged,
	}
	s.egress = &s.desired.Egress[0]
	for c, priority := range priorities {
		s.tx[c] = socket(t, sw, "p1")
		setOption(t, s.tx[c], unix.SO_PRIORITY, int(priority))
		setOption(t, s.tx[c], unix.SO_SNDBUFFORCE, 64<<20) // a closed gate shall not block the sender
	}
	s.set(t)
	return s
}

// newTransit is port 2 of a bridge, to which a host behind port 1 sends.
func newTransit(t *testing.T) *station {
	sw := kerneltest.NewNetNS(t)
	quiet(t, sw)
	l := newLabOn(t, sw)
	cfg := realConfig()
	cfg.PTPToGate = func(_ tsn.Port, t tsn.PTPTime) (int64, error) { return t.NS - gptpAhead, nil }
	s := &station{
		ns: l.sw, k: open(t, l.sw, cfg), rx: stampingSocket(t, l.host[1], "h0"), desired: fabricState(),
		frame: func(n byte, p tsn.PCP) []byte { return frame(macB, macA, 10, p, n) },
	}
	s.egress = &s.desired.Egress[1]
	for c := range s.tx {
		s.tx[c] = socket(t, l.host[0], "h0")
		setOption(t, s.tx[c], unix.SO_SNDBUFFORCE, 64<<20)
	}
	s.set(t)
	return s
}

// send sends a frame of a class and so many octets.
func (s *station) send(t *testing.T, c tsn.TrafficClass, octets int) {
	t.Helper()
	f := s.frame(byte(c), priorities[c])
	send(t, s.tx[c], append(f, make([]byte, octets)...)[:octets])
}

func (s *station) set(t *testing.T) {
	t.Helper()
	set(t, s.k, s.desired)
}

// start makes list operational. It returns its base time in the gate clock,
// 100 ms ahead.
func (s *station) start(t *testing.T, list tsn.GateControlList) int64 {
	t.Helper()
	base := tai(t) + 100_000_000
	list.BaseTime.NS = base + gptpAhead
	s.egress.Gates = &list
	s.set(t)
	if err := s.k.AwaitOper(bounded(t), s.egress.Port); err != nil {
		t.Fatal(err)
	}
	sleepUntil(t, base)
	return base
}

// quiet keeps IPv6 from sending frames of its own on links made later.
func quiet(t *testing.T, ns *kerneltest.NetNS) {
	t.Helper()
	ns.Do(func() {
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
	})
}

// sleepUntil sleeps until CLOCK_TAI is at, to the nanosecond, in which
// package time is not.
func sleepUntil(t *testing.T, at int64) {
	t.Helper()
	ts := unix.NsecToTimespec(at)
	for {
		switch err := unix.ClockNanosleep(unix.CLOCK_TAI, unix.TIMER_ABSTIME, &ts, nil); err {
		case nil:
			return
		case unix.EINTR: // the runtime signals its threads
		default:
			t.Fatal(err)
		}
	}
}

func stampingSocket(t *testing.T, ns *kerneltest.NetNS, name string) int {
	t.Helper()
	fd := socket(t, ns, name)
	setOption(t, fd, unix.SO_TIMESTAMPNS, 1)
	setOption(t, fd, unix.SO_RCVBUFFORCE, 64<<20)
	return fd
}

func setOption(t *testing.T, fd, option, value int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, value); err != nil {
		t.Fatalf("socket option %d = %d: %v", option, value, err)
	}
}

// An arrival is a frame's serial octet and when it left: on a veth pair in
// virtual time the receiver's stamp, here in CLOCK_TAI.
type arrival struct {
	n  byte
	at int64
}

// arrivals returns what has arrived so far.
func arrivals(t *testing.T, fd int) (got []arrival) {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
		t.Fatal(err)
	}
	toTAI := (tai(t) - now.Nano() + 500_000_000) / 1_000_000_000 * 1_000_000_000
	buf, oob := make([]byte, 2000), make([]byte, 200)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return got
		}
		if err != nil || n < 15 {
			t.Fatalf("receive: %d octets, %v", n, err)
		}
		cs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(cs) != 1 || len(cs[0].Data) < 16 {
			t.Fatalf("no time stamp: %v, %v", cs, err)
		}
		sec, ns := binary.NativeEndian.Uint64(cs[0].Data), binary.NativeEndian.Uint64(cs[0].Data[8:])
		got = append(got, arrival{buf[14], int64(sec)*1_000_000_000 + int64(ns) + toTAI})
	}
}

// 802.1Q 8.6.8.4: frames of each class leave in their windows only, and the
// first as soon as the window opens.
func testGatePhase(t *testing.T) {
	for _, cycle := range []int64{1_000_000, 100_000} {
		windows := []tsn.GateEntry{
			{Gates: 1 << tsn.ClassControl, Interval: cycle * 2 / 10},
			{Gates: 1 << tsn.ClassScheduled, Interval: cycle * 3 / 10},
			{Gates: 1 << tsn.ClassSRA, Interval: cycle * 1 / 10},
			{Gates: 1 << tsn.ClassSRB, Interval: cycle * 1 / 10},
			{Gates: 1 << tsn.ClassBestEffort, Interval: cycle * 3 / 10},
		}
		s := newStation(t)
		base := s.start(t, tsn.GateControlList{CycleTime: cycle, Entries: windows})
		// The steps are coprime to the cycle: frames come at every phase.
		const steps = 500
		for i := range int64(steps) {
			sleepUntil(t, base+i*cycle*37/1000)
			for c := range tsn.TrafficClass(tsn.NumClasses) {
				s.send(t, c, 64)
			}
		}
		sleepUntil(t, base+(steps*37/1000+2)*cycle)

		var count [tsn.NumClasses]int
		var first, last [tsn.NumClasses]int64 // phase
		for _, a := range arrivals(t, s.rx) {
			phase := (a.at - base) % cycle
			if count[a.n]++; count[a.n] == 1 {
				first[a.n] = phase
			}
			first[a.n], last[a.n] = min(first[a.n], phase), max(last[a.n], phase)
		}
		start := int64(0)
		for _, w := range windows {
			for c := range tsn.TrafficClass(tsn.NumClasses) {
				if !w.Gates.Has(c) {
					continue
				}
				t.Logf("cycle %d: class %d: %d frames at %d..%d, window %d..%d", cycle, c, count[c], first[c], last[c], start, start+w.Interval)
				if count[c] != steps {
					t.Errorf("cycle %d: class %d: %d of %d frames came", cycle, c, count[c], steps)
				}
				if first[c] < start || first[c] > start+1000 || last[c] >= start+w.Interval {
					t.Errorf("cycle %d: class %d left at phases %d..%d, its window is %d..%d", cycle, c, first[c], last[c], start, start+w.Interval)
				}
			}
			start += w.Interval
		}
	}
}

// 802.1Q 8.6.9: the new list begins at its base time. Software taprio is early
// by the old list's last entry, which qbv.ForSoftwareTaprio makes short; that
// it is early by the whole of a long one shows the measurement at work.
func testScheduleSwitch(t *testing.T) {
	const cycle, guard = 1_000_000, 20_000
	const least = 1000
	oldClass, newClass := tsn.ClassBestEffort, tsn.ClassScheduled
	gates := func(c tsn.TrafficClass) tsn.GateMask { return 1<<tsn.ClassControl | 1<<c }
	whole := tsn.GateControlList{CycleTime: cycle, Entries: []tsn.GateEntry{{Gates: gates(oldClass), Interval: cycle}}}
	short := tsn.GateControlList{CycleTime: cycle, Entries: []tsn.GateEntry{
		{Gates: gates(oldClass) | 1<<tsn.ClassSRA, Interval: cycle - least*3/2},
		{Gates: gates(oldClass), Interval: least * 3 / 2},
	}}
	extended := *qbv.ForSoftwareTaprio(&whole, guard)
	extended.CycleTimeExtension = guard
	for _, c := range []struct {
		name  string
		old   *tsn.GateControlList
		early int64 // ns
	}{
		{"guard of the least interval", qbv.ForSoftwareTaprio(&whole, least), least},
		{"guard of 20 us", qbv.ForSoftwareTaprio(&whole, guard), guard},
		{"short last entry", qbv.ForSoftwareTaprio(&short, least), least * 3 / 2},
		{"without a guard", &whole, cycle},
		// Which ForSoftwareTaprio takes away: the kernel does not prolong the last
		// entry, but changes at the start of one that could be so.
		{"cycle time extension", &extended, cycle},
	} {
		s := newStation(t)
		s.start(t, *c.old)
		base := qbv.NextBase(s.egress.Gates, tsn.PTPTime{NS: tai(t) + gptpAhead + 50_000_000})
		s.egress.Gates = &tsn.GateControlList{BaseTime: base, CycleTime: cycle, Entries: []tsn.GateEntry{{Gates: gates(newClass), Interval: cycle}}}
		s.set(t)
		at := base.NS - gptpAhead
		// What the new list lets go waits for it; what the old one does comes
		// as often as clock and sender allow, around the time to look at.
		const step, frames = 200, 400
		sleepUntil(t, at-c.early-step*frames)
		s.send(t, newClass, 64)
		for i := range int64(frames) {
			sleepUntil(t, at-c.early+(i-frames/2)*step)
			s.send(t, oldClass, 64)
		}
		sleepUntil(t, at+2*cycle)
		var lastOld, firstNew int64
		for _, a := range arrivals(t, s.rx) {
			switch tsn.TrafficClass(a.n) {
			case oldClass:
				lastOld = a.at
			case newClass:
				if firstNew == 0 {
					firstNew = a.at
				}
			}
		}
		t.Logf("%s: last frame of the old class %d ns, first of the new %d ns before the base time", c.name, at-lastOld, at-firstNew)
		const tolerance = 1000 // reading the clock takes a quarter of it
		if early := at - firstNew; early > c.early || early < c.early-tolerance {
			t.Errorf("%s: the new list began %d ns early, want %d", c.name, early, c.early)
		}
		if early := at - lastOld; early > c.early+tolerance || early < c.early {
			t.Errorf("%s: the old list ended %d ns early, want %d", c.name, early, c.early)
		}
	}
}

// reserve returns the egress of port 1 that streams of classes A and B lead to,
// so many of each, with frames of so many octets of data.
func reserve(t *testing.T, a, b int, octets uint16) (e tsn.PortEgress) {
	t.Helper()
	m, err := srp.New(srp.Config{Ports: []srp.PortConfig{{Port: 1, Rate: 100 * tsn.Mbps}}})
	if err != nil {
		t.Fatal(err)
	}
	m.Step(0, tsn.LinkChanged{Port: 1, Up: true, Rate: 100 * tsn.Mbps})
	put := srp.PutReservations{RequestID: 1, Owner: "o", Generation: 1}
	for i := range byte(a + b) {
		s := tsn.Stream{
			ID: tsn.StreamID{2, 0, 0, 0, 0, 1, 0, i}, Talker: macA, Listener: macB, DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0, i},
			VID: 2, PCP: 3, Interval: 1_000_000, MaxFrameSize: octets, MaxIntervalFrames: 1, MaxLatency: 2_000_000,
		}
		if int(i) >= a {
			s.PCP, s.Interval = 2, 2_000_000
		}
		put.Reservations = append(put.Reservations, tsn.Reservation{Stream: s, Ports: []tsn.Port{1}})
	}
	for _, e := range m.Step(0, put) {
		switch e := e.(type) {
		case srp.Result:
			if e.Err != nil {
				t.Fatal(e.Err)
			}
		case srp.Reserved:
			return tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap, IdleSlope: e.Slopes[0].IdleSlope, MaxFrame: e.Slopes[0].MaxFrame}
		}
	}
	t.Fatal("nothing was reserved")
	return e
}

// 802.1Q 8.6.8.2: what is reserved is what an overloaded class gets, classes A
// and B at once, also when it changes; the kernel has the credits of L.3.1.
func testCreditBased(t *testing.T) {
	s := newStation(t)
	const octets, steps, every = 1500, 1000, 200_000
	both := []tsn.TrafficClass{tsn.ClassSRA, tsn.ClassSRB}
	for _, streams := range [][2]int{{2, 1}, {1, 5}} {
		*s.egress = reserve(t, streams[0], streams[1], octets-14)
		s.set(t)
		checkCredits(t, *s.egress, read(t, s.k).EgressOf(1).Shapers)
		from := tai(t) + 1_000_000
		sent := [tsn.NumClasses]int{}
		// A quarter more than the slopes, for a fifth of a second.
		for i := range int64(steps) {
			sleepUntil(t, from+i*every)
			for _, c := range both {
				if due := int64(s.egress.IdleSlope[c]) * 5 / 4 * (every / 1000) * i / 8 / octets / 1000; int64(sent[c]) <= due {
					s.send(t, c, octets)
					sent[c]++
				}
			}
		}
		sleepUntil(t, from+1_000_000_000)
		count, first, last := [tsn.NumClasses]int{}, [tsn.NumClasses]int64{}, [tsn.NumClasses]int64{}
		for _, a := range arrivals(t, s.rx) {
			if count[a.n]++; count[a.n] == 1 {
				first[a.n] = a.at
			}
			last[a.n] = a.at
		}
		for _, c := range both {
			if count[c] != sent[c] || count[c] < 2 {
				t.Errorf("class %d: %d of %d frames came", c, count[c], sent[c])
				continue
			}
			got := float64(count[c]-1) * octets * 8 * 1e6 / float64(last[c]-first[c]) // kbit/s
			want := float64(s.egress.IdleSlope[c])
			t.Logf("class %d: %d frames, %.0f kbit/s, idle slope %.0f", c, count[c], got, want)
			if got < 0.99*want || got > 1.01*want {
				t.Errorf("class %d: %.0f kbit/s, the idle slope is %.0f", c, got, want)
			}
		}
	}
}

// checkCredits computes them for port 1 of a station, of 100 Mbit/s on a link
// that says 10 Gbit/s, in whole numbers: hiCredit up, loCredit away from zero.
func checkCredits(t *testing.T, e tsn.PortEgress, got [tsn.MaxTrafficClasses]dataplane.Shaper) {
	t.Helper()
	const rate, speed, other = 100_000, 10_000_000, 1542
	up := func(a, b int64) int64 { return (a + b - 1) / b }
	a, b := int64(e.IdleSlope[tsn.ClassSRA]), int64(e.IdleSlope[tsn.ClassSRB])
	frameA, frameB := int64(e.MaxFrame[tsn.ClassSRA]), int64(e.MaxFrame[tsn.ClassSRB])
	want := [tsn.MaxTrafficClasses]dataplane.Shaper{
		tsn.ClassSRA: {IdleSlope: int32(a), SendSlope: int32(a - speed), HiCredit: int32(up(a*other, rate)), LoCredit: int32(-up((speed-a)*frameA, speed))},
		tsn.ClassSRB: {
			IdleSlope: int32(b), SendSlope: int32(b - speed),
			HiCredit: int32(up(b*(other*rate+frameA*(rate-a)), rate*(rate-a))), LoCredit: int32(-up((speed-b)*frameB, speed)),
		},
	}
	if got != want || frameA != 1528 {
		t.Errorf("shapers %+v, want %+v, frames of %d octets", got, want, frameA)
	}
}

// 802.1Q 8.6.6: a forwarded frame is queued in the class of its priority, and
// none is lost, doubled or made up.
func testForwardedExactly(t *testing.T) {
	sw := kerneltest.NewNetNS(t)
	quiet(t, sw)
	l := newLabOn(t, sw)
	k := open(t, l.sw, realConfig())
	set(t, k, fabricState())
	a, b := socket(t, l.host[0], "h0"), stampingSocket(t, l.host[1], "h0")
	sleepUntil(t, tai(t)+10_000_000)
	var frames [8]uint64
	var want [tsn.MaxTrafficClasses]uint64
	for pcp := range tsn.PCP(8) {
		for range 10 + pcp {
			send(t, a, frame(macB, macA, 10, pcp, byte(pcp)))
			frames[pcp]++
			want[tsn.DefaultClassMap[pcp]]++
		}
	}
	sleepUntil(t, tai(t)+10_000_000)
	cs, err := k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	var got, came [8]uint64
	for c, n := range cs[1].Class {
		got[c] = n.Frames
	}
	for _, f := range arrivals(t, b) {
		came[f.n]++
	}
	if cs[1].Port != 2 || got != want || cs[1].Priority != frames || came != frames {
		t.Errorf("port %d: classes %v, want %v; priorities %v at the port, %v behind it, want %v",
			cs[1].Port, got, want, cs[1].Priority, came, frames)
	}
}
