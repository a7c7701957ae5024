package gptptest

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"tsnswitch/internal/kerneltest"
)

// Networks of daemons alone, with clocks of their own over the clock of the
// kernel: what a clock is off the grand master's is known exactly.

// chainOf makes n namespaces in a row: p2 of each is joined to p1 of the next.
func chainOf(t testing.TB, n int) (row []*kerneltest.NetNS, ports [][]string) {
	t.Helper()
	for i := range n {
		row, ports = append(row, kerneltest.NewNetNS(t)), append(ports, []string{"p1", "p2"})
		if i > 0 {
			wire(t, row[i-1], "p2", row[i], "p1")
		}
	}
	ports[0], ports[n-1] = []string{"p2"}, []string{"p1"}
	return row, ports
}

// daemons starts a chain of daemons, no two clocks alike; the first is grand
// master.
func daemons(t testing.TB, n int, extra string) (chain []*daemon) {
	t.Helper()
	row, ports := chainOf(t, n)
	for i := range n {
		// Offsets of minutes, rates within 100 ppm.
		own := fmt.Sprintf("  clock: {kind: virtual, offset: %ds, ppm: %d}\n", 60*i, (i*37)%200-100)
		if i == 0 {
			own = "  priority1: 100\n  clock: {kind: virtual, ppm: -30}\n"
		}
		chain = append(chain, startDaemon(t, row[i], options{system: i + 1, ports: ports[i], gptp: own + extra}))
	}
	return chain
}

// settled waits until every daemon follows the first.
func settled(t testing.TB, chain []*daemon) {
	t.Helper()
	for i, d := range chain {
		await(t, fmt.Sprintf("number %d follows", i), d.follows(chain[0].id))
	}
}

// Nine daemons, eight hops: each is one step further from the grand master than
// the one before it, and has its time.
func TestEightHops(t *testing.T) {
	need(t)
	t.Parallel()
	chain := daemons(t, 9, busy)
	c := startCapture(t, chain[8].ns, "p1")
	settled(t, chain)
	await(t, "Syncs at the end", func() bool { return len(c.all()) > 60 })
	for i, d := range chain {
		s := d.status()
		if int(s.StepsRemoved) != i || len(s.Path) != i+1 || s.Path[0].Identity != chain[0].id || s.Path[i].Identity != d.id {
			t.Errorf("number %d: %d steps, path %v", i, s.StepsRemoved, s.Path)
		}
		near(t, fmt.Sprintf("true error after %d hops", i), d.error()-chain[0].error())
	}
}

// hotStandby starts the grand masters A of domain 0 and B of domain 20 with S
// between them, the ports of all configured: B is a slave of A through S, until
// A is gone (802.1ASdm).
func hotStandby(t testing.TB) (a, s, b *daemon) {
	t.Helper()
	row, ports := chainOf(t, 3)
	const common = "  externalPortConfiguration: true\n  domains: [{domain: 20, externalPortConfiguration: true}]\n" +
		"  hotStandby: {primary: 0, secondary: 20}\n"
	start := func(i int, ppm int, states ...string) *daemon {
		return startDaemon(t, row[i], options{
			system: i + 1, ports: ports[i], states: states,
			gptp: common + fmt.Sprintf("  clock: {kind: virtual, ppm: %d}\n", ppm),
		})
	}
	return start(0, 0, "{0: master, 20: slave}"),
		start(1, 60, "{0: slave, 20: master}", "{0: master, 20: slave}"),
		start(2, -40, "{0: slave, 20: master}")
}

// With a hot standby the time of S goes on when its grand master dies.
func TestHotStandby(t *testing.T) {
	need(t)
	t.Parallel()
	a, s, b := hotStandby(t)
	startCapture(t, s.ns, "p1")
	startCapture(t, s.ns, "p2")
	await(t, "S has the time of both", s.standsBy("REDUNDANT", 0))
	near(t, "true error", s.error())
	a.kill()
	await(t, "S goes by B", s.standsBy("NOT_REDUNDANT", 20))
	near(t, "true error without A", s.error())
	for _, x := range s.status().Domains {
		if x.Domain == 20 && (!x.Synchronized || x.Grandmaster != b.id) {
			t.Errorf("%+v", x)
		}
	}
}

// standsBy reports whether the hot standby system is in a state and goes by a domain.
func (d *daemon) standsBy(state string, active uint8) func() bool {
	return func() bool {
		h := d.status().HotStandby
		return h != nil && h.State == state && h.Active == active
	}
}

var soak = flag.Duration("soak", 0, "how long TestSoak runs; 0: not at all")

// A soak: eight hops where every relay loses one frame in twenty on each interface, each
// way, and one relay after the other is killed and started again. Each time all
// follow again. How far the last is off then, and how a relay has grown, is told.
func TestSoak(t *testing.T) {
	need(t)
	if *soak == 0 {
		t.Skip("takes as long as -soak says: make soak-gptp")
	}
	chain := daemons(t, 9, "")
	settled(t, chain)
	for _, d := range chain[1:8] {
		for _, p := range []string{"p1", "p2"} {
			loseFrames(t, d.ns, p, 5)
		}
	}
	before := residentMB(t, chain[4].cmd.Process.Pid)
	for end, round := time.Now().Add(*soak), 0; time.Now().Before(end); round++ {
		victim := chain[1+round%7]
		victim.kill()
		victim.start()
		settled(t, chain)
		truth, _ := sample(chain[8], chain[0].error, 20*time.Second)
		t.Logf("round %d: after 8 hops rms %.0f ns, p99 %.0f ns; lost: %d Follow_Ups, %d responses at the end", round,
			truth.rms(), truth.p99(), chain[8].counter("gptp_lost_follow_ups"), chain[8].counter("gptp_lost_responses"))
		near(t, "true error at the end", chain[8].error()-chain[0].error())
	}
	t.Logf("resident memory of a relay: %.1f MB, %.1f MB at first", residentMB(t, chain[4].cmd.Process.Pid), before)
}
