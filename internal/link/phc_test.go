package link

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/kerneltest"
)

// A PHC as netdevsim has one: opened through its interface, read, steered.
// It stamps no frames and does not compare itself with the system clock, so
// that much stays unproven without hardware.
func TestPHC(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a User-mode Linux kernel")
	}
	kerneltest.Run(t, kerneltest.Needs{NetDevSim: true}, func(t *testing.T) {
		p, err := OpenPHC(newNetDevSim(t))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skipf("device node of the PHC: %v", err)
		}
		must(t, err)
		defer p.Close()
		before, err := p.Gate()
		must(t, err)
		local, ok := p.Local(Stamp{NS: before.Gate, Hardware: true})
		if !ok || local != before.Local {
			t.Fatalf("stamp %d is local %d, %v; Gate says %+v", before.Gate, local, ok, before)
		}
		const step, ppb = int64(1000e9), 50_000
		rel := tsn.ClockRelation{Local: before.Local, PTP: tsn.PTPTime{NS: before.Gate + step}, RatePPB: ppb}
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for i := range 3 {
			phase, err := p.Steer(rel)
			must(t, err)
			if want := (1 - min(int64(i), 1)) * step; phase < want-1e9 || phase > want+1e9 {
				t.Fatalf("phase error %d ns in call %d, want about %d", phase, i, want)
			}
			<-tick.C
		}
		after, err := p.Gate()
		must(t, err)
		elapsed := after.Local.Sub(before.Local)
		// By the account: 50 ppm of a fraction of a second is below 1 ms.
		if gained := after.Gate - before.Gate - step - elapsed; gained < 0 || gained > 1e6 {
			t.Errorf("the PHC gained %d ns in %d ns", gained, elapsed)
		}
		if elapsed < 100e6 || elapsed > 60e9 {
			t.Errorf("LocalClock went on by %d ns in about 150 ms", elapsed)
		}
		if _, ok := p.Local(Stamp{NS: 1}); ok {
			t.Log("this kernel's PHC compares itself with the system clock")
		}
	})
}

// newNetDevSim makes a simulated device and returns its interface.
func newNetDevSim(t *testing.T) string {
	t.Helper()
	had := map[string]bool{}
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		had[l.Attrs().Name] = true
	}
	must(t, os.WriteFile("/sys/bus/netdevsim/new_device", []byte("7 1"), 0))
	t.Cleanup(func() { os.WriteFile("/sys/bus/netdevsim/del_device", []byte("7"), 0) })
	links, err = netlink.LinkList()
	must(t, err)
	for _, l := range links {
		if !had[l.Attrs().Name] {
			return l.Attrs().Name
		}
	}
	t.Fatal("netdevsim made no interface")
	return ""
}
