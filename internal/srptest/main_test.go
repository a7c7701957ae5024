package srptest

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/config"
	"tsnswitch/internal/daemon"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// envRun makes the test binary be tsnswitchd with the configuration that it
// names: what is tested is what runs.
const envRun = "SRPTEST_TSNSWITCHD"

func TestMain(m *testing.M) {
	if file := os.Getenv(envRun); file != "" {
		os.Exit(runDaemon(file))
	}
	flag.Parse()
	// These tests wait more than they work: they need no processor each.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	os.Exit(kerneltest.Main(m))
}

func runDaemon(file string) int {
	cfg, err := config.LoadDaemon(file)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		err = daemon.Run(ctx, cfg, daemon.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// patience is how long anything may take: the peers are slow, and the machine
// may be busy.
const patience = 60 * time.Second

// need skips a test that cannot run here, and names what is missing; tools are
// programs, each with the Debian package that brings it.
func need(t testing.TB, tools ...[2]string) {
	t.Helper()
	if testing.Short() {
		t.Skip("real links take seconds: left out with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("root is missing: network namespaces are made")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool[0]); err != nil {
			t.Skipf("%s is missing: install the Debian package %s", tool[0], tool[1])
		}
	}
}

// open starts a Station in a namespace.
func open(t testing.TB, ns *kerneltest.NetNS, ifname string, cfg avbstation.StationConfig) *avbstation.Station {
	t.Helper()
	var s *avbstation.Station
	var err error
	ns.Do(func() { s, err = avbstation.Open(ifname, cfg) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// until waits for what a Station is told.
func until(t testing.TB, s *avbstation.Station, what string, ok func(avbstation.Seen) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Until(ctx, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// classAB are the domains of an end station that has both classes.
var classAB = []mrp.Domain{{ClassID: 6, Priority: 3, VID: 2}, {ClassID: 5, Priority: 2, VID: 2}}

// stream is the talker of a class A stream of a Station: frames of that many octets.
func stream(s *avbstation.Station, unique byte, octets uint16) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(s.MAC, uint16(unique)), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, s.MAC[5], unique}, VID: 2,
		MaxFrameSize: octets, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

// short is a code for too little bandwidth: in all, or of the class.
func short(c tsn.FailureCode) bool {
	return c == tsn.FailureBandwidth || c == tsn.FailureClassBandwidth
}
