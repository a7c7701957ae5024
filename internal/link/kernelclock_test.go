package link

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/kerneltest"
)

// A kernel that is steered for real, in a guest whose clock is nobody else's:
// a step of 1000 s and 400 ppm, and LocalClock notices neither.
func TestSteerKernelClock(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a User-mode Linux kernel")
	}
	kerneltest.Run(t, kerneltest.Needs{VLANFiltering: true}, func(t *testing.T) {
		if !kerneltest.Inside() {
			t.Skip("a guest kernel: this would step the machine's own clock")
		}
		steerKernelClock(t)
	})
}

func steerKernelClock(t *testing.T) {
	const step, ppb = int64(1000e9), int64(400_000)
	c, err := NewSystemClock()
	must(t, err)
	begin := sampleClocks(t, c)
	rel := tsn.ClockRelation{Local: begin.local, PTP: tsn.PTPTime{NS: begin.tai + step}, RatePPB: float64(ppb)}

	tick := time.NewTicker(100 * time.Millisecond) // the time that passes is what is measured
	defer tick.Stop()
	for i := range 20 {
		phase, err := c.Steer(rel)
		must(t, err)
		if want := (1 - min(int64(i), 1)) * step; phase < want-1e9 || phase > want+1e9 {
			t.Fatalf("phase error %d ns in call %d, want about %d", phase, i, want)
		}
		<-tick.C
	}
	end := sampleClocks(t, c)

	elapsed := end.raw - begin.raw
	gained := end.tai - begin.tai - step - elapsed
	want := elapsed * ppb / 1e9
	slipped := end.local.Sub(begin.local) - elapsed
	// Besides what the readings leave open: the kernel adjusts at its next
	// tick, and the machine below may adjust its own clock by tens of ppm.
	bound := begin.width + end.width + want/4
	t.Logf("in %d ns CLOCK_TAI gained %d ns (want %d), LocalClock slipped %d ns; readings are good to %d ns",
		elapsed, gained, want, slipped, begin.width+end.width)
	if d := gained - want; d < -bound || d > bound {
		t.Errorf("CLOCK_TAI gained %d ns in %d ns, want %d", gained, elapsed, want)
	}
	if slipped < -bound || slipped > bound {
		t.Errorf("LocalClock moved by %d ns against the oscillator", slipped)
	}
	freq, err := systemClock.frequency()
	must(t, err)
	if want := c.account.last().freq; freq != want {
		t.Errorf("the kernel's frequency is %d, the account says %d", freq, want)
	}
}

// clocks are readings of one moment, known to width ns.
type clocks struct {
	raw, tai, width int64
	local           tsn.LocalTime
}

// sampleClocks reads between two readings of the oscillator, as often as it
// takes for one pair to lie close together.
func sampleClocks(t *testing.T, c *Steered) clocks {
	t.Helper()
	best := clocks{width: 1 << 62}
	for range 50 {
		before := readClock(t, unix.CLOCK_MONOTONIC_RAW)
		tai := readClock(t, unix.CLOCK_TAI)
		after := readClock(t, unix.CLOCK_MONOTONIC_RAW)
		if width := after - before; width < best.width {
			c.mu.Lock()
			best = clocks{raw: before + width/2, tai: tai, width: width, local: c.account.toLocal(tai - c.above)}
			c.mu.Unlock()
		}
	}
	return best
}

func readClock(t *testing.T, id int32) int64 {
	t.Helper()
	var ts unix.Timespec
	must(t, unix.ClockGettime(id, &ts))
	return ts.Nano()
}
