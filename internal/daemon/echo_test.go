package daemon

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/link"
	"tsnswitch/internal/node"
	"tsnswitch/spb"
)

// echoEnd is one bridge of BenchmarkEchoLoss, without a kernel to program.
type echoEnd struct {
	machine *node.Control
	control *loop
	ports   *link.Ports
	lost    chan time.Time
}

// BenchmarkEchoLoss measures from the moment when a link swallows all frames,
// with its carrier up, until both ends have it out of use; echo has 10 ms and a
// multiplier of 3. The link is two veth pairs with a plain bridge between, which
// loses one of its ports. false-alarms are losses without one.
func BenchmarkEchoLoss(b *testing.B) {
	if why, err := kerneltest.Missing(kerneltest.Needs{}); err != nil || why != "" {
		b.Skipf("%s %v", why, err)
	}
	var ends [2]*echoEnd
	middle := kerneltest.NewNetNS(b)
	h := middle.Netlink()
	mask := uint16(1 << 14) // 01-80-C2-00-00-0E crosses it: it is a cable
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, GroupFwdMask: &mask}
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	check(h.LinkAdd(br))
	check(h.LinkSetUp(br))
	for n, name := range []string{"m0", "m1"} {
		ns := kerneltest.NewNetNS(b)
		kerneltest.VethPair(b, 1, kerneltest.End{NS: ns, Name: "p1"}, kerneltest.End{NS: middle, Name: name})
		ends[n] = newEchoEnd(b, ns, byte(n+1))
	}
	plug := func(in bool) {
		m, err := h.LinkByName("m1")
		check(err)
		if in {
			check(h.LinkSetMaster(m, br))
		} else {
			check(h.LinkSetNoMaster(m))
		}
	}
	m0, err := h.LinkByName("m0")
	check(err)
	check(h.LinkSetMaster(m0, br))
	plug(true)
	ctx, cancel := context.WithCancel(b.Context())
	var running sync.WaitGroup
	for _, e := range ends {
		running.Go(func() { e.control.run(ctx) })
	}
	b.Cleanup(func() {
		cancel()
		for _, e := range ends {
			e.ports.Close()
		}
		running.Wait()
	})
	var took []time.Duration
	alarms := 0
	for range b.N {
		for _, e := range ends {
			e.untilUsed(b)
		}
		time.Sleep(2 * time.Second)
		for _, e := range ends {
			for len(e.lost) > 0 {
				<-e.lost
				alarms++
			}
			e.untilUsed(b)
		}
		cut := time.Now()
		plug(false)
		last := cut
		for _, e := range ends {
			select {
			case at := <-e.lost:
				if at.After(last) {
					last = at
				}
			case <-time.After(10 * time.Second):
				b.Fatal("the loss is not found")
			}
		}
		took = append(took, last.Sub(cut))
		plug(true)
	}
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(at(50), "ms-p50")
	b.ReportMetric(at(99), "ms-p99")
	b.ReportMetric(float64(alarms), "false-alarms")
	b.ReportMetric(0, "ns/op")
}

func newEchoEnd(b *testing.B, ns *kerneltest.NetNS, n byte) *echoEnd {
	e := &echoEnd{lost: make(chan time.Time, 100)}
	cfg := spb.Config{
		SystemID: sys(n), Seed: uint64(n), BaseVIDs: []spb.BaseVID{{VID: 101, Algorithm: 1}},
		Ports: []spb.PortConfig{{Port: 1, Role: tsn.RoleFabric, Echo: spb.EchoConfig{Interval: 10_000_000}}},
	}
	var err error
	if e.machine, err = node.NewControl(node.Config{SPB: &cfg, ClassMap: tsn.DefaultClassMap}); err != nil {
		b.Fatal(err)
	}
	e.control = newLoop("control", e.machine, link.Now, e.effect)
	lc := link.Config{
		Own: sys(n), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Control: e.control.post,
		Ports: []link.PortConfig{{Port: 1, Ifname: "p1", Rate: tsn.Gbps, Control: true}},
	}
	ns.Do(func() {
		if e.ports, err = link.Open(lc); err != nil {
			b.Fatal(err)
		}
	})
	return e
}

func (e *echoEnd) effect(x tsn.Effect) {
	switch x := x.(type) {
	case tsn.Send:
		_ = e.ports.Send(x) // a link that is down takes nothing
	case tsn.Notice:
		if x.Kind == spb.NoticeEchoLost {
			e.lost <- time.Now()
		}
	case node.Desired:
		go e.control.post(spb.Applied{Generation: x.Forwarding})
	}
}

// untilUsed waits until the link is in use, with its echo.
func (e *echoEnd) untilUsed(b *testing.B) {
	b.Helper()
	var last []spb.Neighbour
	for range 3000 {
		if err := e.control.call(b.Context(), func() { last = e.machine.SPB.Neighbours() }); err != nil {
			b.Fatal(err)
		}
		if n := last[0]; n.State == "Up" && n.Mismatch == "" && n.Echo.State == "Up" {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("the link does not come into use: %+v", last)
}
