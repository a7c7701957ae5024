package dataplane_test

import (
	"testing"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// 802.1Q 8.6.8.2 on a port that never has gates: shapers under mqprio come,
// change and go, are adopted, and give a class its idle slope; what needs gates
// is refused.
func testUngated(t *testing.T) {
	sw, host := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	quiet(t, sw)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: sw, Name: "p1"}, kerneltest.End{NS: host, Name: "h0"})
	awaitUp(t, sw, "p1")
	cfg := dataplane.Config{ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: 100 * tsn.Mbps, Offload: dataplane.Ungated}}}
	k := open(t, sw, cfg)
	s := &station{
		ns: sw, k: k, rx: stampingSocket(t, host, "h0"),
		desired: tsn.DesiredState{Egress: []tsn.PortEgress{{Port: 1, ClassMap: tsn.DefaultClassMap}}},
		frame:   untagged,
	}
	s.egress = &s.desired.Egress[0]
	for _, slope := range []tsn.Rate{0, 20 * tsn.Mbps, 10 * tsn.Mbps, 0, 20 * tsn.Mbps} {
		s.egress.IdleSlope[tsn.ClassSRA] = slope
		s.set(t)
		e := read(t, k).Egress[0]
		if !e.Rooted || !e.Ungated || tsn.Rate(e.Shapers[tsn.ClassSRA].IdleSlope) != slope {
			t.Errorf("slope %s: %+v", slope, e)
		}
		again := open(t, sw, cfg)
		set(t, again, s.desired)
		if again.Writes() > 0 {
			t.Errorf("slope %s: adoption wrote %d times", slope, again.Writes())
		}
	}
	for c, priority := range priorities {
		s.tx[c] = socket(t, sw, "p1")
		setOption(t, s.tx[c], unix.SO_PRIORITY, int(priority))
	}
	const octets, frames = 1500, 100
	from := tai(t) + 1_000_000
	for i := range int64(frames) { // a quarter more than the slope
		sleepUntil(t, from+i*480_000)
		s.send(t, tsn.ClassSRA, octets)
		s.send(t, tsn.ClassBestEffort, 64)
	}
	sleepUntil(t, from+1_000_000_000)
	var first, last int64
	var count [tsn.NumClasses]int
	for _, a := range arrivals(t, s.rx) {
		if count[a.n]++; tsn.TrafficClass(a.n) == tsn.ClassSRA {
			if last = a.at; first == 0 {
				first = a.at
			}
		}
	}
	rate := float64(frames-1) * octets * 8 * 1e6 / float64(last-first)
	t.Logf("%d frames, %.0f kbit/s, idle slope 20000", count[tsn.ClassSRA], rate)
	if count[tsn.ClassSRA] != frames || count[tsn.ClassBestEffort] != frames || rate < 19_800 || rate > 20_200 {
		t.Errorf("%v frames, %.0f kbit/s", count, rate)
	}
	s.egress.Gates = &tsn.GateControlList{CycleTime: 1000, Entries: []tsn.GateEntry{{Interval: 1000}}}
	_, err := k.Set(bounded(t), s.desired)
	isErr(t, err, dataplane.ErrInvalid)
}
