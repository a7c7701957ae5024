package kerneltest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// The whole way: taprio on a veth pair of 8 queues, wherever this test is started.
// The needs are what Debian's package has: a probe that is wrong about one would skip
// the test.
func TestRunTaprio(t *testing.T) {
	needs := Needs{
		Taprio: true, CBS: true, ETF: true, MQPrio: true, Flower: true,
		VLANFiltering: true, VLANDevices: true, MST: true,
	}
	Run(t, needs, func(t *testing.T) {
		if err := Probe("no such thing"); err == nil || errors.As(err, new(*MissingError)) {
			t.Errorf("an unknown feature: %v", err)
		}
		tc, err := exec.LookPath("tc")
		if err != nil {
			t.Skip("tc is missing: install the Debian package iproute2")
		}
		a, b := NewNetNS(t), NewNetNS(t)
		VethPair(t, 8, End{a, "p0"}, End{b, "p1"})
		a.Do(func() {
			args := strings.Fields("qdisc replace dev p0 root handle 100: taprio num_tc 2" +
				" map 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 queues 1@0 1@1 base-time 0" +
				" sched-entry S 01 300000 sched-entry S 02 700000 flags 0x0 clockid CLOCK_TAI")
			if out, err := exec.Command(tc, args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			out, err := exec.Command(tc, "qdisc", "show", "dev", "p0").CombinedOutput()
			if err != nil || !strings.Contains(string(out), "qdisc taprio 100: root") {
				t.Fatalf("%v: %s", err, out)
			}
		})
	})
}

func TestOwnKernel(t *testing.T) {
	Run(t, Needs{OwnKernel: true, ActGate: true, NetDevSim: true, MST: true}, func(*testing.T) {})
}

// Under time travel an hour of sleep is over at once, and as long as asked. (The
// sleep of package time is up to 0.1 s longer: it waits in epoll, whose timer Linux
// may delay by a thousandth.)
func TestTimeTravel(t *testing.T) {
	Run(t, Needs{TimeTravel: true, Timeout: 30 * time.Second}, func(t *testing.T) {
		before := time.Now()
		hour := unix.NsecToTimespec(int64(time.Hour))
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &hour, nil); err != nil {
			t.Fatal(err)
		}
		if over := time.Since(before) - time.Hour; over < 0 || over > time.Millisecond {
			t.Errorf("an hour of sleep took %v too long", over)
		}
	})
}

// A namespace has only what was put in it, the caller is back in his own after Do,
// and a veth pair connects two.
func TestNetNS(t *testing.T) {
	Run(t, Needs{}, func(t *testing.T) {
		a, b := NewNetNS(t), NewNetNS(t)
		VethPair(t, 4, End{a, "left"}, End{b, "right"})
		names := func() (all []string) {
			links, err := netlink.LinkList()
			if err != nil {
				t.Error(err)
			}
			for _, l := range links {
				if n := l.Attrs().Name; n == "lo" || n == "left" || n == "right" {
					all = append(all, n)
				}
			}
			return all
		}
		home := names()
		var inA, inB, back []string
		a.Do(func() {
			inA = names()
			b.Do(func() { inB = names() })
			back = names()
		})
		want := [][]string{{"lo", "left"}, {"lo", "right"}, {"lo", "left"}, home}
		if d := cmp.Diff(want, [][]string{inA, inB, back, names()}); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		link, err := b.Netlink().LinkByName("right")
		if err != nil {
			t.Fatal(err)
		}
		if n := link.Attrs().NumTxQueues; n != 4 { // a kernel for one CPU does not tell the other number
			t.Errorf("%d transmit queues, want 4", n)
		}
	})
}

// A test that fails in a namespace leaves its thread clean for the next.
func TestDoEndsGoroutine(t *testing.T) {
	Run(t, Needs{}, func(t *testing.T) {
		ns := NewNetNS(t)
		threadNS := func() string {
			s, err := os.Readlink("/proc/thread-self/ns/net")
			if err != nil {
				t.Error(err)
			}
			return s
		}
		home := threadNS()
		func() {
			defer func() { _ = recover() }()
			ns.Do(func() { panic("in the namespace") })
		}()
		if got := threadNS(); got != home {
			t.Errorf("left in %s, came from %s", got, home)
		}
	})
}

// The guest's verdict on the test itself, not on its parts, is what counts, and a
// skip in the guest hands its reason out.
func TestEchoVerdict(t *testing.T) {
	for _, c := range []struct{ name, in, verdict, reason string }{
		{"pass", "=== RUN   TestX\n--- PASS: TestX (0.1s)\nPASS\n", "PASS", ""},
		{"skip", "=== RUN   TestX\n    x_test.go:3: tc is missing\n--- SKIP: TestX (0.1s)\nPASS\n", "SKIP", "x_test.go:3: tc is missing"},
		{"part skipped", "--- PASS: TestX (0.1s)\n    --- SKIP: TestX/a (0.0s)\nPASS\n", "PASS", ""},
		{"other test", "--- PASS: TestXY (0.1s)\nPASS\n", "", ""},
		{"no test", "testing: warning: no tests to run\nPASS\n", "", ""},
		{"no newline at the end", "--- FAIL: TestX (0.1s)", "FAIL", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &echo{log: func(...any) {}, name: "TestX"}
			for _, b := range []byte(c.in) { // in the smallest pieces
				_, _ = e.Write([]byte{b})
			}
			e.flush()
			if e.verdict != c.verdict || c.verdict == "SKIP" && e.reason != c.reason {
				t.Errorf("verdict %q, reason %q", e.verdict, e.reason)
			}
		})
	}
}

func TestGuestFlags(t *testing.T) {
	if got := guestFlags("TestA/b.c", time.Minute, false)[:3]; !cmp.Equal(got, []string{
		`-test.run=^TestA$/^b\.c$`, "-test.v=true", "-test.timeout=1m0s",
	}) {
		t.Errorf("%q", got)
	}
	if got := guestFlags("TestA", time.Minute, true)[2]; got != "-test.timeout=0s" {
		t.Errorf("a limit in virtual time: %q", got)
	}
}

func TestMergeProfiles(t *testing.T) {
	own := filepath.Join(t.TempDir(), "cover.out")
	for name, text := range map[string]string{
		own:                        "mode: set\na.go:1.1,2.2 1 0\n",
		guestProfile(own, "TestA"): "mode: set\na.go:1.1,2.2 1 1\n",
		guestProfile(own, "B/c d"): "mode: set\na.go:3.1,4.2 1 1\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := mergeProfiles(own); err != nil {
		t.Fatal(err)
	}
	got, _ := os.ReadFile(own)
	want := "mode: set\na.go:1.1,2.2 1 0\na.go:3.1,4.2 1 1\na.go:1.1,2.2 1 1\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	if left, _ := filepath.Glob(own + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
