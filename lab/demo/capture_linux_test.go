package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/kerneltest"
)

// envDir hands the directory of programs and captures from the test on the
// host to the same test in the guest.
const envDir = "TSN_LAB_TEST_DIR"

// testDir returns that directory. On the host it is made, with the programs.
func testDir(t *testing.T, programs ...string) string {
	t.Helper()
	if dir := os.Getenv(envDir); dir != "" {
		return dir
	}
	dir := t.TempDir()
	t.Setenv(envDir, dir)
	for _, p := range programs {
		build := exec.Command("go", "build", "-trimpath", "-o", dir, "tsnswitch/"+p)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("go build %s: %v\n%s", p, err, out)
		}
	}
	return dir
}

// TestCapture runs the line of three bridges, cuts one of its links and mends
// it, and has tshark read what passed one fabric link and one host's: every
// PDU that the fabric needs is there, and no frame is malformed.
func TestCapture(t *testing.T) {
	if testing.Short() {
		t.Skip("a lab takes half a minute")
	}
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is missing: install the Debian package tshark")
	}
	dir := testDir(t, "cmd/tsnswitchd", "cmd/tsnctl")
	fabric, host := filepath.Join(dir, "fabric.pcap"), filepath.Join(dir, "host.pcap")
	kerneltest.Run(t, kerneltest.Needs{Taprio: true, VLANFiltering: true, Timeout: 100 * time.Second}, func(t *testing.T) {
		if err := captureLine(t, dir, fabric, host); err != nil {
			t.Fatal(err)
		}
	})
	if kerneltest.Inside() {
		return // tshark is quicker outside
	}
	gptp := []string{
		"gPTP Sync", "gPTP Pdelay_Req", "gPTP Pdelay_Resp", "gPTP Follow_Up", "gPTP Pdelay_Resp_Follow_Up", "gPTP Announce",
	}
	isis := []string{"IS-IS P2P Hello", "IS-IS L1 LSP", "IS-IS L1 CSNP", "IS-IS L1 PSNP"}
	for file, want := range map[string][]string{fabric: append(isis, gptp...), host: gptp} {
		seen := decode(t, tshark, file)
		t.Logf("%s: %v", filepath.Base(file), seen)
		for _, kind := range want {
			if seen[kind] == 0 {
				t.Errorf("%s: no %s among %v", filepath.Base(file), kind, seen)
			}
		}
	}
}

// captureLine captures on a fabric port and on a host's port of the line.
func captureLine(t *testing.T, dir, fabricFile, hostFile string) error {
	network, err := config.LoadNetwork("../line3.yaml")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	l := &lab{
		fabric: &fabric{opt: options{out: dir, bin: dir}, net: network, rate: tsn.Rate(network.Links[0].Rate)},
		report: &report{ReadBack: map[string]string{}, out: t.Output()},
	}
	defer l.close()
	if err := l.report.step(ctx, 0, "build", l.stepBuild); err != nil {
		return errors.Join(err, l.alive())
	}
	b1, b2 := l.node("b1"), l.node("b2")
	cut := l.fabricLinks()[0] // b1 to b2
	for _, p := range []struct {
		n            *labNode
		ifname, file string
	}{{b2, config.Ifname(cut.B.Port), fabricFile}, {b1, b1.ports[len(b1.ports)-1].Ifname, hostFile}} {
		tap, err := p.n.space.openTap(p.ifname, p.file)
		if err != nil {
			return err
		}
		defer tap.close()
	}
	if err := l.report.step(ctx, 1, "gPTP", l.stepGPTP); err != nil {
		return errors.Join(err, l.alive())
	}
	if err := l.report.step(ctx, 2, "cut", func(ctx context.Context, s *stepReport) error { return cutAndMend(ctx, l, s, cut) }); err != nil {
		return errors.Join(err, l.alive())
	}
	return l.report.step(ctx, 3, "SPB", l.stepSPB)
}

// cutAndMend pulls a link's plug at its first end until the bridge there has
// noticed, and puts it in again. The other end, where the tap listens, only
// loses its carrier: a socket on an interface that goes down ends.
func cutAndMend(ctx context.Context, l *lab, s *stepReport, cut config.Link) error {
	adjacencies := func(want int) error {
		return s.wait(ctx, fmt.Sprintf("%d adjacencies at %s", want, cut.A.Node), 30*time.Second, func(ctx context.Context) (string, bool, error) {
			up := 0
			ns, err := l.node(cut.A.Node).client.Neighbours(ctx)
			if err != nil {
				return err.Error(), false, l.alive()
			}
			for _, n := range ns {
				if n.State == "Up" {
					up++
				}
			}
			return fmt.Sprint(up), up == want, l.alive()
		})
	}
	plug := func(set func(netlink.Link) error) error {
		a, _ := l.ends(cut)
		return a.space.inside(func() error {
			link, err := netlink.LinkByName(a.ifname)
			if err != nil {
				return err
			}
			return set(link)
		})
	}
	for _, step := range []func() error{
		func() error { return adjacencies(1) },
		func() error { return plug(netlink.LinkSetDown) },
		func() error { return adjacencies(0) },
		func() error { return plug(netlink.LinkSetUp) },
		func() error { return adjacencies(1) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// decode counts the PDUs of a capture by their names in the standards, and
// fails the test for every frame that tshark has a complaint of.
func decode(t *testing.T, tshark, file string) map[string]int {
	t.Helper()
	names := map[string]string{
		"isis 17": "IS-IS P2P Hello", "isis 18": "IS-IS L1 LSP", "isis 24": "IS-IS L1 CSNP", "isis 26": "IS-IS L1 PSNP",
		"ptp 0": "gPTP Sync", "ptp 2": "gPTP Pdelay_Req", "ptp 3": "gPTP Pdelay_Resp", "ptp 8": "gPTP Follow_Up",
		"ptp 10": "gPTP Pdelay_Resp_Follow_Up", "ptp 11": "gPTP Announce", "ptp 12": "gPTP Signaling",
	}
	run := func(args ...string) string {
		cmd := exec.Command(tshark, append([]string{"-n", "-r", file}, args...)...)
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tshark -r %s: %v: %s", filepath.Base(file), err, errs.String())
		}
		return string(out)
	}
	if bad := run("-Y", "_ws.malformed || _ws.expert.severity == error", "-V"); bad != "" {
		t.Errorf("%s: tshark complains of\n%.4000s", filepath.Base(file), bad)
	}
	seen := map[string]int{}
	fields := run("-T", "fields", "-E", "separator=/t", "-e", "isis.type", "-e", "ptp.v2.messagetype")
	for line := range strings.Lines(fields) {
		isis, ptp, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		switch {
		case isis != "":
			seen[name(names, "isis", isis)]++
		case ptp != "":
			seen[name(names, "ptp", ptp)]++
		default:
			seen["other"]++
		}
	}
	return seen
}

// name looks a PDU type up, which tshark prints in decimal or in hexadecimal.
func name(names map[string]string, protocol, kind string) string {
	var n int
	if _, err := fmt.Sscanf(kind, "%v", &n); err != nil {
		return protocol + " " + kind
	}
	if s, ok := names[fmt.Sprintf("%s %d", protocol, n)]; ok {
		return s
	}
	return fmt.Sprintf("%s %d", protocol, n)
}
