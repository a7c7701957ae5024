package dataplane_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// TestOffload is what needs a newer kernel than Debian's, and a device that takes
// gate lists.
func TestOffload(t *testing.T) {
	needs := kerneltest.Needs{OwnKernel: true, Taprio: true, ETF: true, CBS: true, Flower: true, VLANFiltering: true, NetDevSim: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		t.Run("Full", testFullOffload)
		t.Run("Lacking", testLacking)
		t.Run("MergeRequest", testMergeRequest)
		t.Run("TxTimeAssist", testTxTimeAssist)
		t.Run("MaxSDU", testMaxSDU)
		t.Run("ToolSees", testToolSees)
	})
}

// netdevsim makes a device with one port of 8 queues in the namespace, and the
// node of its PTP clock.
func netdevsim(t *testing.T, ns *kerneltest.NetNS, id int) (ifname string) {
	t.Helper()
	ns.Do(func() {
		if err := os.WriteFile("/sys/bus/netdevsim/new_device", fmt.Appendf(nil, "%d 1 8", id), 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { os.WriteFile("/sys/bus/netdevsim/del_device", []byte(strconv.Itoa(id)), 0) })
	h := ns.Netlink()
	ls, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range ls {
		if l.Attrs().Name != "lo" {
			ifname = l.Attrs().Name
			if err := h.LinkSetUp(l); err != nil {
				t.Fatal(err)
			}
		}
	}
	return ifname
}

// stationConfig is an end station with one port.
func stationConfig(ifname string, o dataplane.Offload) dataplane.Config {
	c := realConfig()
	c.Bridge, c.Ports = "", []dataplane.PortConfig{{Port: 1, Ifname: ifname, Rate: tsn.Gbps, Offload: o}}
	return c
}

func stationState() tsn.DesiredState {
	return tsn.DesiredState{Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap}}}
}

// gateClock reads a port's gate clock as a person would.
func gateClock(t *testing.T, k *dataplane.Kernel) int64 {
	t.Helper()
	now, err := k.GateNow(1)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func awaitOne(t *testing.T, k *dataplane.Kernel) {
	t.Helper()
	if err := k.AwaitOper(bounded(t), 1); err != nil {
		t.Fatal(err)
	}
}

func someList(base int64, n int) *tsn.GateControlList {
	g := &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: base}, CycleTime: int64(n) * 100_000, CycleTimeExtension: 50_000}
	for i := range n {
		g.Entries = append(g.Entries, tsn.GateEntry{Gates: tsn.GateMask(1<<tsn.ClassControl | i%8), Interval: 100_000})
	}
	return g
}

// A device that runs lists itself: what waits in it shows as waiting, by its own
// clock, with what runs until then; what it lacks is named.
func testFullOffload(t *testing.T) {
	ns := kerneltest.NewNetNS(t)
	k := open(t, ns, stationConfig(netdevsim(t, ns, 11), dataplane.OffloadFull))
	d := stationState()
	set(t, k, d)
	var before []tsn.GateEntry
	for _, n := range []int{2, 300} {
		g := someList(gateClock(t, k)+lead, n)
		d.Egress[0].Gates = g
		set(t, k, d)
		e := read(t, k).EgressOf(1)
		if e.Admin == nil || e.Admin.Base != g.BaseTime.NS || e.Admin.Extension != 50_000 || !slices.Equal(e.Admin.Entries, g.Entries) {
			t.Fatalf("a list of %d entries waits as %v", n, e.Admin)
		}
		if before != nil && !slices.Equal(e.Oper.Entries, before) {
			t.Errorf("until then runs %v", e.Oper)
		}
		awaitOne(t, k)
		if now := gateClock(t, k); now < g.BaseTime.NS {
			t.Errorf("operational %d ns before its base time", g.BaseTime.NS-now)
		}
		e = read(t, k).EgressOf(1)
		if e.Admin != nil || !slices.Equal(e.Oper.Entries, g.Entries) {
			t.Errorf("then runs %v", e.Oper)
		}
		before = g.Entries
		if r := set(t, k, d); len(r.Applied) != 0 {
			t.Errorf("steps %v, want none", r.Applied)
		}
	}
	if cs, err := k.Counters(); err != nil || cs[0].Gates != (dataplane.GateCounters{}) {
		t.Errorf("counters %+v, %v", cs, err)
	}
	d.Egress[0].MaxSDU[1] = 1500 // no window is long enough for that anyhow
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}
	d.Egress[0].MaxSDU[1] = 100
	_, err := k.Set(bounded(t), d)
	lacks(t, err, dataplane.FeatureMaxSDU, "queueMaxSDU")
	d.Egress[0].MaxSDU[1] = 0
	set(t, k, d)
}

// lacks wants a typed error that names the feature, and the reason.
func lacks(t *testing.T, err error, feature, why string) {
	t.Helper()
	var u *dataplane.UnsupportedError
	if !errors.As(err, &u) || u.Feature != feature || !strings.Contains(u.Why, why) {
		t.Errorf("got %v, want that %s is missing: %s", err, feature, why)
	}
}

// What a veth or this kernel has not is refused with the reason, and nothing is written.
func testLacking(t *testing.T) {
	merge := &dataplane.MACMerge{Enabled: true, Verify: true, VerifyTime: 10_000_000}
	for _, c := range []struct {
		name         string
		o            dataplane.Offload
		merge        *dataplane.MACMerge
		change       func(*tsn.PortEgress)
		feature, why string
	}{
		{"full offload", dataplane.OffloadFull, nil, nil, dataplane.FeatureOffload, "no PTP hardware clock"},
		{"preemption without offload", dataplane.OffloadNone, merge, func(e *tsn.PortEgress) { e.Preemptible[0] = true }, dataplane.FeaturePreemption, "offload is none here"},
		{"MAC merge", dataplane.OffloadNone, merge, nil, dataplane.FeatureMACMerge, "no MAC merge sublayer"},
		{"shaper under assist", dataplane.OffloadTxTime, nil, func(e *tsn.PortEgress) { e.IdleSlope[1] = tsn.Mbps }, dataplane.FeatureCBS, "never both"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			cfg := stationConfig("p1", c.o)
			cfg.Ports[0].Preemption = c.merge
			k := open(t, l.sw, cfg)
			d := stationState()
			if c.change != nil {
				c.change(&d.Egress[0])
			}
			_, err := k.Set(bounded(t), d)
			lacks(t, err, c.feature, c.why)
			if k.Writes() != 0 {
				t.Errorf("%d writes", k.Writes())
			}
		})
	}
	t.Run("preemption without MAC merge", func(t *testing.T) {
		ns := kerneltest.NewNetNS(t)
		cfg := stationConfig(netdevsim(t, ns, 12), dataplane.OffloadFull)
		cfg.Ports[0].Preemption = merge
		d := stationState()
		d.Egress[0].Preemptible[0] = true
		_, err := open(t, ns, cfg).Set(bounded(t), d)
		lacks(t, err, dataplane.FeatureMACMerge, "no MAC merge sublayer")
	})
}

// No virtual device has a MAC merge sublayer. The kernel checks the request before
// it asks the device: so its bounds show that it reads the values as they are meant.
func testMergeRequest(t *testing.T) {
	k := open(t, newLab(t).sw, stationConfig("p1", dataplane.OffloadNone))
	good := dataplane.MACMerge{Enabled: true, Verify: true, VerifyTime: 128_000_000, AddFragSize: 3}
	long, large := good, good
	long.VerifyTime += 1_000_000
	large.AddFragSize++
	isErr(t, k.SetMACMerge("p1", good), unix.EOPNOTSUPP)
	for _, m := range []dataplane.MACMerge{long, large} {
		if err := k.SetMACMerge("p1", m); !errors.Is(err, unix.ERANGE) || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("%v: got %v, want that it is out of range", m, err)
		}
	}
}

// Under txtime-assist every class has an etf. A list runs from its base time on,
// also where no frame comes by which the kernel would notice, and where another
// takes its place before one does.
func testTxTimeAssist(t *testing.T) {
	l := newLab(t)
	k := open(t, l.sw, stationConfig("p1", dataplane.OffloadTxTime))
	d := stationState()
	set(t, k, d)
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}
	again := open(t, l.sw, stationConfig("p1", dataplane.OffloadTxTime))
	set(t, again, d)
	if again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	var before []tsn.GateEntry
	for _, n := range []int{3, 5, 8} {
		g := someList(tai(t)+lead, n)
		d.Egress[0].Gates = g
		set(t, again, d)
		e := read(t, again).EgressOf(1)
		if e.Admin == nil || e.Admin.Base != g.BaseTime.NS || before != nil && !slices.Equal(e.Oper.Entries, before) {
			t.Errorf("before: admin %v, oper %v", e.Admin, e.Oper)
		}
		awaitOne(t, again)
		if now := tai(t); now < g.BaseTime.NS {
			t.Errorf("operational %d ns early", g.BaseTime.NS-now)
		}
		if e = read(t, again).EgressOf(1); e.Admin != nil || !slices.Equal(e.Oper.Entries, g.Entries) {
			t.Errorf("after: admin %v, oper %v", e.Admin, e.Oper)
		}
		if r := set(t, again, d); len(r.Applied) != 0 {
			t.Errorf("steps %v, want none", r.Applied)
		}
		before = g.Entries
	}
	other := stationConfig("p1", dataplane.OffloadTxTime)
	other.Ports[0].LaunchDelta = 200_000
	k = open(t, l.sw, other)
	set(t, k, stationState()) // another delta: the root is made anew
	if k.Writes() == 0 {
		t.Error("another delta was taken for the same")
	}
	h := l.sw.Netlink()
	p1, err := h.LinkByName("p1")
	if err != nil {
		t.Fatal(err)
	}
	qs, err := h.QdiscList(p1)
	if err != nil {
		t.Fatal(err)
	}
	etfs := 0
	for _, q := range qs {
		if q.Type() == "etf" {
			etfs++
		}
	}
	if etfs != tsn.NumClasses {
		t.Errorf("%d classes have an etf", etfs)
	}
}

// A kernel since 6.3 lowers max-SDU to what the longest window takes at the speed
// it takes the link to have. A longer one that was asked for, or none, is still
// what is wanted.
func testMaxSDU(t *testing.T) {
	l := newLab(t)
	cfg := stationConfig("p1", dataplane.OffloadNone)
	cfg.Ports[0].Rate = 100 * tsn.Gbps // so that every frame fits every window
	k := open(t, l.sw, cfg)
	d := stationState()
	set(t, k, d)
	d.Egress[0].MaxSDU = [8]uint32{0: 1500, 1: 300, 2: 2000}
	const short = 800 // ns: 1000 octets at veth's 10 Gbit/s
	d.Egress[0].Gates = &tsn.GateControlList{
		BaseTime: tsn.PTPTime{NS: tai(t) + lead}, CycleTime: 1_000_000,
		Entries: []tsn.GateEntry{{Gates: 0x1f, Interval: short}, {Gates: 0x10, Interval: 1_000_000 - short}},
	}
	set(t, k, d)
	awaitOne(t, k)
	e := read(t, k).EgressOf(1)
	if e.MaxSDU != [8]uint32{0: 1000 - 14, 1: 300, 2: 1000 - 14, 3: 1000 - 14} {
		t.Errorf("max-SDU %v", e.MaxSDU)
	}
	if r := set(t, k, d); len(r.Applied) != 0 {
		t.Errorf("steps %v, want none", r.Applied)
	}
	again := open(t, l.sw, cfg)
	if set(t, again, d); again.Writes() != 0 {
		t.Errorf("adoption wrote %d times", again.Writes())
	}
	tx, rx := socket(t, l.sw, "p1"), socket(t, l.host[0], "h0")
	long := frame(macB, macA, 0, 0, 1)
	if err := unix.SetsockoptInt(tx, unix.SOL_SOCKET, unix.SO_PRIORITY, 2); err != nil {
		t.Fatal(err)
	}
	_, _ = unix.Write(tx, append(long, make([]byte, 300)...)) // a send may tell that it was dropped
	control := socket(t, l.sw, "p1")
	if err := unix.SetsockoptInt(control, unix.SOL_SOCKET, unix.SO_PRIORITY, 7); err != nil {
		t.Fatal(err)
	}
	send(t, control, frame(macB, macA, 0, 0, 2))
	if got := receive(t, rx, 2); !slices.Equal(got, []byte{2}) {
		t.Errorf("frames %v came through, want the short one", got)
	}
	if cs, err := again.Counters(); err != nil || cs[0].Oversize != 1 {
		t.Errorf("counters %+v, %v: want one frame too long", cs, err)
	}
	d.Egress[0].MaxSDU[1] = 400
	if r := set(t, again, d); len(r.Applied) != 1 {
		t.Errorf("steps %v, want the schedule sent again with another max-SDU", r.Applied)
	}
	slow := open(t, l.sw, stationConfig("p1", dataplane.OffloadNone)) // a medium of 1 Gbit/s
	set(t, slow, d)
	awaitOne(t, slow)
	if e := read(t, slow).EgressOf(1); e.MaxSDU != [8]uint32{0: 100 - 38, 1: 100 - 38, 2: 100 - 38, 3: 100 - 38} {
		t.Errorf("max-SDU %v at a tenth of the speed", e.MaxSDU)
	}
}

// toolQdisc is what `tc -j -d qdisc show` prints of a taprio. With a list that
// waits iproute2 6.1 prints no JSON.
type toolQdisc struct {
	Options struct {
		TC        int         `json:"tc"`
		Map       []int       `json:"map"`
		ClockID   string      `json:"clockid"`
		Base      int64       `json:"base_time"`
		Cycle     int64       `json:"cycle_time"`
		Extension int64       `json:"cycle_time_extension"`
		Schedule  []toolEntry `json:"schedule"`
	} `json:"options"`
}

type toolEntry struct {
	Index    int    `json:"index"`
	Cmd      string `json:"cmd"`
	Mask     string `json:"gatemask"`
	Interval int64  `json:"interval"`
}

// What this package reads back is what iproute2 reads.
func testToolSees(t *testing.T) {
	tool, err := exec.LookPath("tc")
	if err != nil {
		t.Skip("tc is missing: install the Debian package iproute2")
	}
	l := newLab(t)
	k := open(t, l.sw, stationConfig("p1", dataplane.OffloadNone))
	d := stationState()
	d.Egress[0].Gates = someList(tai(t)+lead, 40)
	set(t, k, d)
	awaitOne(t, k)
	var out []byte
	l.sw.Do(func() { out, err = exec.Command(tool, "-j", "-d", "qdisc", "show", "dev", "p1", "root").Output() })
	var qs []toolQdisc
	if err = errors.Join(err, json.Unmarshal(out, &qs)); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	e, o := read(t, k).EgressOf(1), qs[0].Options
	if o.TC != tsn.NumClasses || o.ClockID != "TAI" || o.Base != e.Oper.Base || o.Cycle != e.Oper.Cycle || o.Extension != e.Oper.Extension {
		t.Errorf("tc has %+v, want %v", o, e.Oper)
	}
	order, _ := k.Order()
	for priority, class := range tsn.DefaultClassMap {
		if o.Map[priority] != kernelClass(order, int(class)) {
			t.Errorf("tc has the map %v", o.Map)
		}
	}
	sameEntries(t, order, o.Schedule, e.Oper)
}

// kernelClass is the kernel's number of a class.
func kernelClass(order dataplane.Order, class int) int {
	if order == dataplane.LowestFirst {
		return tsn.NumClasses - 1 - class
	}
	return class
}

func sameEntries(t *testing.T, order dataplane.Order, got []toolEntry, want *dataplane.Schedule) {
	t.Helper()
	if len(got) != len(want.Entries) {
		t.Fatalf("tc has %d entries, want %d", len(got), len(want.Entries))
	}
	for i, g := range got {
		mask, err := strconv.ParseUint(strings.TrimPrefix(g.Mask, "0x"), 16, 32)
		w := want.Entries[i]
		for c := range tsn.NumClasses {
			if w.Gates.Has(tsn.TrafficClass(c)) != (mask>>kernelClass(order, c)&1 == 1) {
				t.Errorf("entry %d: tc has %+v, want %+v", i, g, w)
			}
		}
		if err != nil || g.Index != i || g.Interval != w.Interval || g.Cmd != "S" {
			t.Errorf("entry %d: tc has %+v (%v), want %+v", i, g, err, w)
		}
	}
}
