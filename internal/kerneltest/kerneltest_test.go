package kerneltest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// The whole way: taprio on a veth pair of 8 queues, wherever this test is started.
func TestRunTaprio(t *testing.T) {
	Run(t, Needs{Taprio: true, VLANFiltering: true}, func(t *testing.T) {
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
