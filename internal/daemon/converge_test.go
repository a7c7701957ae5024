package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/link"
	"tsnswitch/internal/node"
	"tsnswitch/spb"
)

// The network of BenchmarkConverge: a ring of ten bridges, each with a chord to
// the opposite one, on real veth pairs. Each bridge has an end station and a
// part in a service of two Base VIDs, so that a cut moves unicast and group
// entries.
const (
	convergeBridges = 10
	portNext        = tsn.Port(1)
	portPrevious    = tsn.Port(2)
	portOpposite    = tsn.Port(3)
	portStation     = tsn.Port(4)
)

// A swift is a bridge as the daemon runs it: control loop, sockets, link
// events, applier and kernel. It has no timing loop and no management.
type swift struct {
	ns      *kerneltest.NetNS
	machine *node.Control
	control *loop
	ports   *link.Ports
	applier *applier
	plane   interface {
		plane
		Close() error
	}

	mu     sync.Mutex
	wrote  time.Time // the last kernel entry
	steps  int       // kernel entries so far
	active time.Time // the last desired state, or the last attempt
	failed error
}

// BenchmarkConverge measures from the loss of a link's carrier to the last
// kernel entry that any bridge writes because of it; a cut is one iteration.
//
//	make bench-converge
//
// On a kernel with VLAN filtering it is the switch's own data plane. Elsewhere
// it is dataplane.Unaware, as the name of the benchmark says: as many entries,
// without VLANs.
func BenchmarkConverge(b *testing.B) {
	why, err := kerneltest.Missing(kerneltest.Needs{})
	if err != nil || why != "" {
		b.Skipf("%s %v", why, err)
	}
	kind := "vlan-aware"
	if why, err := kerneltest.Missing(kerneltest.Needs{VLANFiltering: true}); err != nil || why != "" {
		kind = "vlan-unaware-fdb"
	}
	b.Run(kind, func(b *testing.B) { converge(b, kind == "vlan-aware") })
}

func converge(b *testing.B, aware bool) {
	all := newSwifts(b, aware)
	rest(b, all, 30*time.Second)
	r := rand.New(rand.NewPCG(1, 2))
	var took, cpu []time.Duration
	var steps int
	b.ResetTimer()
	for range b.N {
		time.Sleep(forgetTime)
		s := all[r.IntN(len(all))]
		port := tsn.Port(1 + r.IntN(3))
		before, work := total(all), cpuTime(b)
		cut := time.Now()
		setLink(b, s, port, false)
		rest(b, all, 10*time.Second)
		last := cut
		for _, s := range all {
			s.mu.Lock()
			if s.wrote.After(last) {
				last = s.wrote
			}
			s.mu.Unlock()
		}
		took, cpu = append(took, last.Sub(cut)), append(cpu, cpuTime(b)-work)
		steps += total(all) - before
		setLink(b, s, port, true)
		rest(b, all, 10*time.Second)
	}
	b.StopTimer()
	slices.Sort(took)
	slices.Sort(cpu)
	at := func(d []time.Duration, p int) float64 { return float64(d[(len(d)-1)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(at(took, 50), "ms-p50")
	b.ReportMetric(at(took, 99), "ms-p99")
	b.ReportMetric(at(took, 100), "ms-max")
	b.ReportMetric(at(cpu, 50), "ms-cpu-p50") // of all ten bridges, idle protocol work included
	b.ReportMetric(float64(steps)/float64(b.N), "entries/cut")
	b.ReportMetric(0, "ns/op")
}

func total(all []*swift) (n int) {
	for _, s := range all {
		s.mu.Lock()
		n += s.steps
		s.mu.Unlock()
	}
	return n
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func setLink(b *testing.B, s *swift, p tsn.Port, up bool) {
	h := s.ns.Netlink()
	l, err := h.LinkByName(fmt.Sprintf("p%d", p))
	if err == nil && up {
		err = h.LinkSetUp(l)
	} else if err == nil {
		err = h.LinkSetDown(l)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// quietTime is how long nothing may have happened before a network is said to
// have converged. It is longer than the longest timer that delays a step.
const quietTime = 400 * time.Millisecond

// forgetTime before a cut is longer than any back-off remembers: what is
// measured is a link that fails, not one that flaps.
const forgetTime = 2100 * time.Millisecond

// rest waits until no bridge wants anything new of its kernel any more.
func rest(b *testing.B, all []*swift, limit time.Duration) {
	b.Helper()
	begun := time.Now()
	for {
		last := begun
		for _, s := range all {
			s.mu.Lock()
			if s.active.After(last) {
				last = s.active
			}
			s.mu.Unlock()
		}
		if time.Since(last) > quietTime {
			break
		}
		if time.Since(begun) > limit {
			b.Fatal("the network does not come to rest")
		}
		time.Sleep(quietTime / 10)
	}
	for i, s := range all {
		s.mu.Lock()
		if s.failed != nil {
			b.Errorf("bridge %d: %v", i, s.failed)
		}
		s.mu.Unlock()
	}
}

func newSwifts(b *testing.B, aware bool) []*swift {
	var all []*swift
	hosts := kerneltest.NewNetNS(b)
	for i := range convergeBridges {
		s := &swift{ns: kerneltest.NewNetNS(b)}
		all = append(all, s)
		kerneltest.VethPair(b, 1, kerneltest.End{NS: s.ns, Name: "p4"}, kerneltest.End{NS: hosts, Name: fmt.Sprintf("h%d", i)})
	}
	for i, s := range all {
		next := all[(i+1)%convergeBridges]
		kerneltest.VethPair(b, 1, kerneltest.End{NS: s.ns, Name: "p1"}, kerneltest.End{NS: next.ns, Name: "p2"})
		if i < convergeBridges/2 {
			kerneltest.VethPair(b, 1, kerneltest.End{NS: s.ns, Name: "p3"}, kerneltest.End{NS: all[i+convergeBridges/2].ns, Name: "p3"})
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	for i, s := range all {
		s.start(b, byte(i+1), aware)
		running.Go(func() { s.control.run(ctx) })
		running.Go(func() { s.applier.run(ctx) })
	}
	b.Cleanup(func() {
		cancel()
		for _, s := range all {
			s.ports.Close()
		}
		running.Wait()
		for _, s := range all {
			s.plane.Close()
		}
	})
	return all
}

func (s *swift) start(b *testing.B, n byte, aware bool) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := spb.Config{
		SystemID: sys(n), HostName: fmt.Sprintf("b%d", n), Seed: uint64(n),
		BaseVIDs:    []spb.BaseVID{{VID: 101, Algorithm: 1}, {VID: 102, Algorithm: 2}},
		EndStations: []spb.EndStation{{MAC: station(n), Port: portStation}},
		Services: []spb.Service{
			{ISID: 1000, VID: 101, Transmit: true, Receive: true, Ports: []tsn.Port{portStation}},
			{ISID: 1000, VID: 102, Transmit: true, Receive: true, Ports: []tsn.Port{portStation}},
		},
	}
	dp := dataplane.Config{Bridge: "br0", CreateBridge: true, SystemID: sys(n), ClassMap: tsn.DefaultClassMap}
	lc := link.Config{Own: sys(n), Logger: log}
	for _, p := range []tsn.Port{portNext, portPrevious, portOpposite, portStation} {
		role := tsn.RoleFabric
		if p == portStation {
			role = tsn.RoleEdge
		}
		name := fmt.Sprintf("p%d", p)
		cfg.Ports = append(cfg.Ports, spb.PortConfig{Port: p, Role: role})
		dp.Ports = append(dp.Ports, dataplane.PortConfig{Port: p, Ifname: name})
		lc.Ports = append(lc.Ports, link.PortConfig{Port: p, Ifname: name, Rate: tsn.Gbps, Control: true})
	}
	var err error
	if s.machine, err = node.NewControl(node.Config{SPB: &cfg, ClassMap: tsn.DefaultClassMap}); err != nil {
		b.Fatal(err)
	}
	s.control = newLoop("control", s.machine, link.Now, s.effect)
	noTime := func() (tsn.PTPTime, error) { return tsn.PTPTime{}, fmt.Errorf("no gPTP here") }
	s.ns.Do(func() {
		if aware {
			s.plane, err = dataplane.Open(dp)
		} else {
			s.plane, err = dataplane.OpenUnaware(dp)
		}
		if err != nil {
			b.Fatal(err)
		}
		s.applier = newApplier(s.plane, log, noTime, s.applied)
		s.applier.release()
		lc.Control = s.linkEvent
		if s.ports, err = link.Open(lc); err != nil {
			b.Fatal(err)
		}
	})
}

func (s *swift) effect(e tsn.Effect) {
	switch e := e.(type) {
	case tsn.Send:
		_ = s.ports.Send(e) // a link that is down takes nothing
	case node.Desired:
		s.touch(0, nil, time.Time{})
		s.applier.set(e)
	}
}

func (s *swift) linkEvent(ev tsn.Event) {
	s.control.post(ev)
	if _, ok := ev.(tsn.LinkChanged); ok {
		time.AfterFunc(lookAfter, s.applier.poke)
	}
}

func (s *swift) applied(want node.Desired, r dataplane.Report, err error) {
	if len(r.Applied) > 0 || err != nil {
		s.touch(len(r.Applied), err, r.Wrote)
	}
	answer := spb.Applied{Generation: want.Forwarding}
	if !r.Bridge {
		answer.Err = err.Error()
	}
	s.control.post(answer)
}

func (s *swift) touch(steps int, err error, wrote time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active, s.failed = time.Now(), err
	s.steps += steps
	if wrote.After(s.wrote) {
		s.wrote = wrote
	}
}
