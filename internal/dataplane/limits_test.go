package dataplane

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	tsn "tsnswitch"
)

// Each limit of the kernel and of devices is refused with its own reason.
func TestGateLimits(t *testing.T) {
	list := func(cycle int64, intervals ...int64) *tsn.GateControlList {
		l := &tsn.GateControlList{CycleTime: cycle}
		for _, ns := range intervals {
			l.Entries = append(l.Entries, tsn.GateEntry{Interval: ns})
		}
		return l
	}
	many := func(n int) *tsn.GateControlList { return list(int64(n)*1000, make1000(n)...) }
	extended := list(1000, 1000)
	extended.CycleTimeExtension = 5
	negative := list(1000, 1000)
	negative.CycleTimeExtension = -1
	lan := SoftwareGates.within(LAN966xGates)
	for _, c := range []struct {
		name  string
		l     GateLimits
		speed tsn.Rate
		list  *tsn.GateControlList
		want  string
	}{
		{"fine", SoftwareGates, tsn.Gbps, list(1000, 480, 520), ""},
		{"none", SoftwareGates, tsn.Gbps, list(0), "without entries"},
		{"read back", SoftwareGates, tsn.Gbps, many(801), "could not be read back"},
		{"device room", SoftwareGates.within(FelixGates), tsn.Gbps, many(64), "limit is 63: the device has room"},
		{"link speed", SoftwareGates, 10 * tsn.Mbps, list(1000, 1000), "48000 ns of a minimum frame at the link's 10 Mbit/s"},
		{"device's shortest", lan, tsn.Gbps, list(1500, 500, 1000), "the device's shortest, 1000 ns"},
		{"device's longest", lan, tsn.Gbps, list(1_000_000_001, 1_000_000_001), "the device's longest"},
		{"zero", SoftwareGates, tsn.Gbps, list(1000, 0, 1000), "no time"},
		{"32 bits", SoftwareGates, tsn.Gbps, list(1<<32, 1<<32), "32 bits"},
		{"sum", SoftwareGates, tsn.Gbps, list(2000, 1000), "together"},
		{"cycle", SoftwareGates, tsn.Gbps, list(1<<31, 1<<31), "the kernel's longest, 2147483647"},
		{"no extension", lan, tsn.Gbps, extended, "cannot extend"},
		{"extension", SoftwareGates, tsn.Gbps, extended, ""},
		{"negative extension", SoftwareGates, tsn.Gbps, negative, "negative"},
	} {
		got := strings.Join(c.l.refuse(c.list, c.speed), "; ")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func make1000(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = 1000
	}
	return out
}

// The tighter of two bounds holds, and no bound is none.
func TestLimitsWithin(t *testing.T) {
	if got := SoftwareGates.within(GateLimits{}); got != SoftwareGates {
		t.Errorf("within no bounds: %+v", got)
	}
	got := SoftwareGates.within(LAN966xGates)
	want := GateLimits{Entries: 256, MinInterval: 1000, MaxInterval: 1_000_000_000, MaxCycle: 1<<31 - 1, NoExtension: true, ReadBack: readBack, Table: 256}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// The longest time a gate stays open, also over the end of the cycle, against
// one that walks two cycles.
func TestLongestOpen(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &Schedule{}
		for range rapid.IntRange(1, 8).Draw(rt, "entries") {
			e := tsn.GateEntry{Gates: tsn.GateMask(rapid.IntRange(0, 1).Draw(rt, "open")), Interval: rapid.Int64Range(1, 9).Draw(rt, "interval")}
			s.Entries = append(s.Entries, e)
			s.Cycle += e.Interval
		}
		var want, open int64
		for range 2 {
			for _, e := range s.Entries {
				open += e.Interval
				if !e.Gates.Has(0) {
					open = 0
				}
				want = max(want, open)
			}
		}
		if want = min(want, s.Cycle); s.longestOpen(0) != want {
			rt.Fatalf("%v: %d, want %d", s, s.longestOpen(0), want)
		}
	})
}

// What was read back otherwise than sent is named: which entry, wanted, got.
func TestDifference(t *testing.T) {
	list := func(n int) *Schedule {
		s := &Schedule{Cycle: 1000}
		for i := range n {
			s.Entries = append(s.Entries, tsn.GateEntry{Gates: tsn.GateMask(i), Interval: 10})
		}
		return s
	}
	other := list(3)
	other.Entries[1].Interval++
	long, extended := list(3), list(3)
	long.Cycle, extended.Extension = 2000, 7
	for _, c := range []struct {
		name string
		got  *Schedule
		want *DifferenceError
	}{
		{"the same", list(3), nil},
		{"cut", list(2), &DifferenceError{What: "entry 2 of 3", Wanted: "S 02 10", Got: "none"}},
		{"longer", list(4), &DifferenceError{What: "entry 3 of 3", Wanted: "none", Got: "S 03 10"}},
		{"other", other, &DifferenceError{What: "entry 1 of 3", Wanted: "S 01 10", Got: "S 01 11"}},
		{"cycle", long, &DifferenceError{What: "cycle", Wanted: "1000 ns", Got: "2000 ns"}},
		{"extension", extended, &DifferenceError{What: "cycle time extension", Wanted: "0 ns", Got: "7 ns"}},
		{"none", nil, &DifferenceError{What: "schedule", Wanted: list(3).String(), Got: "none"}},
	} {
		if got := list(3).against(c.got); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	d := &DifferenceError{Port: 2, What: "entry 32 of 40", Wanted: "S 02 10", Got: "none"}
	if want := "port 2: the kernel took the schedule and holds another: entry 32 of 40: wanted S 02 10, got none"; d.Error() != want {
		t.Errorf("%v", d)
	}
}

// The port of a DSA switch belongs to a driver called dsa; its device says more.
func TestDriverOf(t *testing.T) {
	for _, c := range [][3]string{{"dsa", "mscc_felix", "mscc_felix"}, {"igc", "igc", "igc"}, {"veth", "", "veth"}, {"", "lan966x-switch", "lan966x-switch"}, {"dsa", "", "dsa"}} {
		if got := driverOf(c[0], c[1]); got != c[2] {
			t.Errorf("%q, %q: %q", c[0], c[1], got)
		}
	}
}
