package link

import (
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tsnswitch"
)

// mulDiv agrees with arithmetic that cannot overflow.
func TestMulDiv(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64().Draw(t, "a")
		b := rapid.Int64Range(-maxVirtualPPB, maxVirtualPPB).Draw(t, "b")
		c := rapid.Int64Range(maxVirtualPPB, 2e9).Draw(t, "c")
		// Round half away from zero: (2|ab|+c) / 2c, then the sign.
		p := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		q := new(big.Int).Abs(p)
		q.Lsh(q, 1).Add(q, big.NewInt(c)).Quo(q, big.NewInt(2*c))
		if p.Sign() < 0 {
			q.Neg(q)
		}
		if got := mulDiv(a, b, c); !q.IsInt64() || got != q.Int64() {
			t.Fatalf("mulDiv(%d, %d, %d) = %d, want %v", a, b, c, got, q)
		}
	})
}

// A virtual clock is affine, monotonic, and its inverse is exact to 1 ns.
func TestVirtualClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := rapid.Int64Range(0, 2e18).Draw(t, "epoch")
		ppb := rapid.Int64Range(-maxVirtualPPB, maxVirtualPPB).Draw(t, "ppb")
		offset := rapid.Int64Range(-1e18, 1e18).Draw(t, "offset")
		v, err := NewVirtual(epoch, ppb, offset)
		if err != nil {
			t.Fatal(err)
		}
		tai := epoch + rapid.Int64Range(-1e17, 1e17).Draw(t, "elapsed")
		l := v.TAIToLocal(tai)
		if back := v.LocalToTAI(l); back < tai-1 || back > tai+1 {
			t.Fatalf("TAI %d -> local %d -> TAI %d", tai, l, back)
		}
		if v.TAIToLocal(epoch) != tsn.LocalTime(epoch+offset) {
			t.Fatal("at the epoch the rate has built up no offset")
		}
		step := rapid.Int64Range(1, 1e12).Draw(t, "step")
		grown := v.TAIToLocal(tai+step).Sub(l) - step - mulDiv(step, ppb, 1e9)
		if grown < -1 || grown > 1 {
			t.Fatalf("%d ns later the rate is off by %d ns", step, grown)
		}
		if v.TAIToLocal(tai+step) < l {
			t.Fatal("runs backwards")
		}
	})
}

// A rate that drifts: the reading is its integral, the inverse is exact to 1 ns,
// and the drift ends at 500 ppm.
func TestVirtualDrift(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := rapid.Int64Range(0, 2e18).Draw(t, "epoch")
		ppb := rapid.Int64Range(-200_000, 200_000).Draw(t, "ppb")
		drift := rapid.Int64Range(-10_000, 10_000).Draw(t, "drift")
		v, err := NewVirtual(epoch, ppb, 0)
		if err != nil {
			t.Fatal(err)
		}
		v.Drift(float64(drift))
		tai := epoch + rapid.Int64Range(-1e12, 1e15).Draw(t, "elapsed")
		l := v.TAIToLocal(tai)
		if back := v.LocalToTAI(l); back < tai-1 || back > tai+1 {
			t.Fatalf("TAI %d -> local %d -> TAI %d", tai, l, back)
		}
		// Over a short while the clock gains what its rate says.
		const while = int64(1e7)
		gained := v.TAIToLocal(tai+while).Sub(l) - while
		want := float64(while) * v.rate(tai+while/2) * 1e-9
		if d := float64(gained) - want; d < -2 || d > 2 {
			t.Fatalf("gained %d ns, want %.1f", gained, want)
		}
		if r := v.rate(tai); r < -maxDriftPPB-1 || r > maxDriftPPB+1 {
			t.Fatalf("the rate is %f ppb", r)
		}
	})
}

func TestVirtualIdentity(t *testing.T) {
	v, err := NewVirtual(0, 0, 0)
	must(t, err)
	offset, err := TAIOffset()
	must(t, err)
	if l, ok := v.Local(Stamp{NS: 1_700_000_000_123_456_789}); !ok || int64(l) != 1_700_000_000_123_456_789+offset {
		t.Errorf("identity gives %d, %v", l, ok)
	}
	if _, ok := v.Local(Stamp{NS: 1, Hardware: true}); ok {
		t.Error("a software clock converts a hardware stamp")
	}
	if _, err := NewVirtual(0, maxVirtualPPB+1, 0); err == nil {
		t.Error("any rate is taken")
	}
	// Software stamps, through the clock, lie on the clock that gates run on.
	before, err := v.Gate()
	must(t, err)
	l, _ := v.Local(Stamp{NS: clockRealtime(t)})
	after, err := v.Gate()
	must(t, err)
	if int64(l) < before.Gate || int64(l) > after.Gate {
		t.Errorf("CLOCK_TAI %d, stamp %d, CLOCK_TAI %d", before.Gate, l, after.Gate)
	}
}

// The map for gates is the clock's own inverse.
func TestVirtualGateMap(t *testing.T) {
	v, err := NewVirtual(1_000, 250_000, 5_000_000_000)
	must(t, err)
	m, err := v.Gate()
	must(t, err)
	same := tsn.ClockRelation{Local: m.Local, PTP: tsn.PTPTime{NS: int64(m.Local)}} // gPTP is LocalClock
	r := RelateGate(same, m)
	for _, d := range []int64{0, 1e9, -1e9, 1e12} {
		got := r.PTPToGate(tsn.PTPTime{NS: int64(m.Local) + d})
		want := v.LocalToTAI(m.Local + tsn.LocalTime(d))
		if diff := got - want; diff < -1 || diff > 1 {
			t.Errorf("%d ns away: %d, want %d", d, got, want)
		}
	}
}

// 802.1Q 8.6.9.4: a base time in gPTP becomes one on the gate clock; the
// oracle is the composition of the two affine maps.
func TestGateRelation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rel := tsn.ClockRelation{
			Local:   tsn.LocalTime(rapid.Int64Range(0, 1e18).Draw(t, "local")),
			PTP:     tsn.PTPTime{NS: rapid.Int64Range(0, 1e18).Draw(t, "ptp"), Domain: 3},
			RatePPB: rapid.Float64Range(-200_000, 200_000).Draw(t, "gptp rate"),
		}
		m := GateMap{
			Local:   rel.Local + tsn.LocalTime(rapid.Int64Range(-1e9, 1e9).Draw(t, "age")),
			Gate:    rapid.Int64Range(0, 1e18).Draw(t, "gate"),
			RatePPB: rapid.Float64Range(-200_000, 200_000).Draw(t, "gate rate"),
		}
		r := RelateGate(rel, m)
		p := r.PTP.Add(rapid.Int64Range(-1e11, 1e11).Draw(t, "ahead"))
		l := rel.LocalAt(p)
		want := m.Gate + l.Sub(m.Local) + roundScaled(l.Sub(m.Local), m.RatePPB)
		if d := r.PTPToGate(p) - want; d < -3 || d > 3 {
			t.Fatalf("PTPToGate is %d ns from the composed maps", d)
		}
		if d := r.GateToPTP(r.PTPToGate(p)).NS - p.NS; d < -1 || d > 1 {
			t.Fatalf("round trip is %d ns off", d)
		}
		if r.GateToPTP(r.Gate) != r.PTP {
			t.Fatal("domain or reference lost")
		}
		horizon := rapid.Int64Range(0, 1e11).Draw(t, "horizon")
		later := r.PTP.Add(horizon)
		if d := later.NS - r.PTPToGate(later) - r.Offset() - r.Drift(horizon); d < -1 || d > 1 {
			t.Fatalf("Drift is %d ns off", d)
		}
	})
}

func TestGateCheck(t *testing.T) {
	r := GateRelation{PTP: tsn.PTPTime{NS: 1000}, Gate: 400, RatePPB: -100}
	if err := r.Check(600, 0); err != nil {
		t.Errorf("600 ns apart, 600 allowed: %v", err)
	}
	var e *GateOffsetError
	if err := r.Check(599, 0); !errors.As(err, &e) || e.Offset != 600 {
		t.Errorf("600 ns apart, 599 allowed: %v", err)
	}
	// 100 ppb behind for 1 s: 100 ns more.
	if err := r.Check(699, 1e9); !errors.As(err, &e) || e.Drift != 100 {
		t.Errorf("700 ns apart after 1 s, 699 allowed: %v", err)
	}
	if err := (GateRelation{Gate: 600}).Check(599, 0); err == nil {
		t.Error("a gate clock that is ahead passes")
	}
}

// Without a PTP hardware clock the error says so.
func TestNoHardware(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	if _, err := OpenPHC("a"); !errors.Is(err, ErrNoPHC) {
		t.Errorf("OpenPHC: %v", err)
	}
	if s := StampingOf("a", realtime{}); s.Hardware || s.String() != "software: LocalClock is not a PTP hardware clock" {
		t.Errorf("stamps of a veth: %v", s)
	}
	if s := StampingOf("absent", realtime{}); s.Hardware || !strings.Contains(s.Why, "no such device") {
		t.Errorf("stamps of nothing: %v", s)
	}
	l, err := Open(Config{Clock: ptp{realtime{}, 0}, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}, {Port: 2, Ifname: "absent", GPTP: true}}})
	must(t, err)
	defer l.Close()
	if s, ok := l.Stamping(1); !ok || s.Hardware || s.Why != ErrNoHardwareStamps.Error() {
		t.Errorf("a port without hardware stamps has %v, %t", s, ok)
	}
	if s, ok := l.Stamping(2); ok {
		t.Errorf("a port without an interface has %v", s)
	}
	if _, err := ethtoolRate("absent"); err == nil {
		t.Error("an absent interface has a rate")
	}
	must(t, netlink.LinkDel(getLink(t, "a")))
}

// ptp is a clock that claims to be a PTP hardware clock.
type ptp struct {
	Clock
	index int
}

func (p ptp) Index() int { return p.index }

// Hardware stamps are taken where they are those of LocalClock, software stamps
// everywhere else, and each says why.
func TestStamping(t *testing.T) {
	full := unix.EthtoolTsInfo{
		So_timestamping: unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE,
		Tx_types:        1 << unix.HWTSTAMP_TX_ON, Rx_filters: 1 << unix.HWTSTAMP_FILTER_ALL, Phc_index: 3,
	}
	for _, c := range []struct {
		info  unix.EthtoolTsInfo
		clock Clock
		want  string
	}{
		{full, ptp{index: 3}, "hardware: by /dev/ptp3, which is LocalClock"},
		{full, ptp{index: 4}, "software: interface stamps by /dev/ptp3, and LocalClock is /dev/ptp4"},
		{full, realtime{}, "software: LocalClock is not a PTP hardware clock"},
		{unix.EthtoolTsInfo{Phc_index: -1}, ptp{}, "software: interface cannot stamp gPTP frames in hardware"},
	} {
		if got := stamping(&c.info, c.clock).String(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestChooseHardwareStamps(t *testing.T) {
	all := uint32(unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE)
	on := uint32(1 << unix.HWTSTAMP_TX_ON)
	filters := func(f ...int) (bits uint32) {
		for _, f := range f {
			bits |= 1 << f
		}
		return bits
	}
	for _, tc := range []struct {
		name string
		info unix.EthtoolTsInfo
		want int32 // -1: refused
	}{
		{"narrow", unix.EthtoolTsInfo{So_timestamping: all, Tx_types: on, Rx_filters: filters(unix.HWTSTAMP_FILTER_ALL, unix.HWTSTAMP_FILTER_PTP_V2_L2_EVENT)}, unix.HWTSTAMP_FILTER_PTP_V2_L2_EVENT},
		{"all frames only", unix.EthtoolTsInfo{So_timestamping: all, Tx_types: on, Rx_filters: filters(unix.HWTSTAMP_FILTER_ALL)}, unix.HWTSTAMP_FILTER_ALL},
		{"UDP only", unix.EthtoolTsInfo{So_timestamping: all, Tx_types: on, Rx_filters: filters(unix.HWTSTAMP_FILTER_PTP_V2_L4_EVENT)}, -1},
		{"no transmit", unix.EthtoolTsInfo{So_timestamping: all, Rx_filters: filters(unix.HWTSTAMP_FILTER_ALL)}, -1},
		{"software", unix.EthtoolTsInfo{Tx_types: on, Rx_filters: filters(unix.HWTSTAMP_FILTER_ALL)}, -1},
	} {
		cfg, err := chooseHardwareStamps(&tc.info)
		if (err != nil) != (tc.want < 0) || (err == nil && (cfg.Rx_filter != tc.want || cfg.Tx_type != unix.HWTSTAMP_TX_ON)) {
			t.Errorf("%s: %+v, %v", tc.name, cfg, err)
		}
	}
}

// The comparison with the shortest bracket counts; nonsense does not.
func TestBestOffset(t *testing.T) {
	at := func(ns int64) unix.PtpClockTime {
		return unix.PtpClockTime{Sec: ns / 1e9, Nsec: uint32(ns % 1e9)}
	}
	got, err := bestOffset([][3]unix.PtpClockTime{
		{at(1000), at(9999), at(5000)},
		{at(6000), at(7_000_000_100), at(6200)}, // 7 s - 6 us apart
		{at(8000), at(1), at(7000)},             // system clock stepped back
	})
	if err != nil || got != 7_000_000_100-6100 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := bestOffset(nil); err == nil {
		t.Error("an offset out of nothing")
	}
}

func TestNowIsMonotonic(t *testing.T) {
	last := Now()
	for range 1000 {
		now := Now()
		if now < last || now == tsn.Instant(math.MaxInt64) {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
}
