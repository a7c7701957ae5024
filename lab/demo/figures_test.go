package main

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tsnswitch"
)

// The quantile is a sample, at least share p of all do not exceed it, and of
// no smaller sample is that true.
func TestQuantile(t *testing.T) {
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		samples := rapid.SliceOfN(rapid.Int64Range(0, 30), 1, 300).Draw(t, "samples")
		slices.Sort(samples)
		p := rapid.SampledFrom([]float64{0.01, 0.5, 0.9, 0.99, 1}).Draw(t, "p")
		got := quantile(samples, p)
		notAbove := func(x int64) (share float64) {
			for _, s := range samples {
				if s <= x {
					share++
				}
			}
			return share / float64(len(samples))
		}
		const eps = 1e-9
		if !slices.Contains(samples, got) || notAbove(got) < p-eps {
			t.Fatalf("quantile %v of %v is %d", p, samples, got)
		}
		for _, s := range samples {
			if s < got && notAbove(s) >= p+eps {
				t.Fatalf("quantile %v of %v is %d, %d would do", p, samples, got, s)
			}
		}
	})
}

// A row's figures come from its samples in any order, and a busy processor is
// told.
func TestLatencyRow(t *testing.T) {
	r := latencyRow{usage: usage{IdleCPU: cpuBound / 2}}
	r.fill([]int64{30, 10, 20, 40})
	if r.Calls != 4 || r.P50 != 20 || r.P99 != 40 || r.Max != 40 || !r.CPUBound {
		t.Errorf("%+v", r)
	}
	idle := latencyRow{usage: usage{IdleCPU: cpuBound}}
	idle.fill(nil)
	if idle.Calls != 0 || idle.Max != 0 || idle.CPUBound {
		t.Errorf("%+v", idle)
	}
}

// A wire's bucket holds 1 ms of its rate, and never less than two full frames.
func TestBucket(t *testing.T) {
	for _, c := range []struct {
		rate tsn.Rate
		want string
	}{
		{100 * tsn.Mbps, "tbf rate 100000kbit burst 12500 limit 409600 overhead 24"},
		{10 * tsn.Mbps, "tbf rate 10000kbit burst 3200 limit 409600 overhead 24"},
	} {
		if got := bucket(c.rate); got != c.want {
			t.Errorf("bucket(%v) = %q, want %q", c.rate, got, c.want)
		}
	}
}

// The processor's times of this machine grow, and the idle share is one.
func TestCPU(t *testing.T) {
	c, err := readCPU()
	if err != nil {
		t.Fatal(err)
	}
	if c.total == 0 || c.idle > c.total {
		t.Errorf("%+v", c)
	}
	share, err := cpuTimes{}.idleSince()
	if err != nil || share < 0 || share > 1 {
		t.Errorf("idle since the machine's start: %v, %v", share, err)
	}
}

// A picture with only a viewBox gets its place, any other none.
func TestEmbed(t *testing.T) {
	svg, height := embed(`<svg xmlns="x" viewBox="0 0 1000 300"><g/></svg>`, 500)
	if want := `<svg width="500" height="150" xmlns="x" `; height != 150 || !strings.HasPrefix(svg, want) {
		t.Errorf("%q, %d high", svg, height)
	}
	for _, bad := range []string{"", "<svg/>", `<svg viewBox="0 0 x y">`, `<svg viewBox="0 0 0 9">`} {
		if svg, height := embed(bad, 500); svg != "" || height != 0 {
			t.Errorf("%q: %q, %d high", bad, svg, height)
		}
	}
}

func TestMicros(t *testing.T) {
	for us, want := range map[float64]string{1: "1 us", 999: "999 us", 1500: "1.5 ms", 2e6: "2 s"} {
		if got := micros(us); got != want {
			t.Errorf("micros(%v) = %q, want %q", us, got, want)
		}
	}
}

// What the lab counts is told apart by type or length; anything is decodable
// or said not to be.
func FuzzFrameKind(f *testing.F) {
	f.Add(append(make([]byte, 12), 0x88, 0xf7))
	f.Add(append(make([]byte, 12), 0, 3, 0xfe, 0xfe, 3))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		got := frameKind(b)
		if got == "" {
			t.Error("no name")
		}
		if len(b) >= 14 && b[12] == 0x88 && b[13] == 0xf7 && got != "gptp" {
			t.Errorf("EtherType 88f7 is %q", got)
		}
	})
}
