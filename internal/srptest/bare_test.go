package srptest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// bare is a bridge that has nothing but SRP: the cores, and a socket on each port.
type bare struct {
	conns    []*packet.Conn // port 1 first
	events   chan tsn.Event
	calls    chan func()
	start    time.Time
	machines []tsn.Machine

	// Owned by the loop.
	msrp     *srp.Instance
	vlans    srp.RegisteredVLANs
	groups   srp.RegisteredGroups
	reserved srp.Reserved
	frames   []onWire
	changed  func()
}

// onWire is a frame that a bare bridge has sent or received.
type onWire struct {
	at    time.Duration
	port  tsn.Port
	out   bool
	frame []byte
}

// bareConfig is what tests want otherwise.
type bareConfig struct {
	timers mrp.Timers
	shared bool // LANs with several other systems
}

// startBare starts one on interfaces of a namespace, ports 1, 2 ..., all of 100
// Mbit/s.
func startBare(t testing.TB, ns *kerneltest.NetNS, c bareConfig, ifnames ...string) *bare {
	t.Helper()
	b := &bare{events: make(chan tsn.Event, 64), calls: make(chan func()), start: time.Now()}
	b.cores(t, c, len(ifnames))
	quit, done := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	for i, name := range ifnames {
		var err error
		ns.Do(func() {
			var ifi *net.Interface
			if ifi, err = net.InterfaceByName(name); err != nil {
				return
			}
			var c *packet.Conn
			if c, err = avbstation.Socket(ifi, []*mrp.Application{mrp.MSRP(), mrp.MVRP(), mrp.MMRP()}); err == nil {
				b.conns = append(b.conns, c)
			}
		})
		if err != nil {
			t.Fatalf("socket on %s: %v", name, err)
		}
		readers.Go(func() { b.read(b.conns[i], tsn.Port(i+1), quit) })
	}
	go b.loop(quit, done)
	t.Cleanup(func() {
		close(quit)
		<-done
		for _, c := range b.conns {
			c.Close()
		}
		readers.Wait()
	})
	for i := range ifnames {
		b.events <- tsn.LinkChanged{Port: tsn.Port(i + 1), Up: true, Rate: 100 * tsn.Mbps}
	}
	return b
}

// bareAddress is what a bare bridge sends from.
var bareAddress = tsn.MAC{2, 0, 0, 0, 0xb, 1}

// cores makes the machines.
func (b *bare) cores(t testing.TB, c bareConfig, ports int) {
	t.Helper()
	cfg := srp.Config{MSRP: &srp.MSRPConfig{BridgeID: tsn.MakeBridgeID(0x8000, bareAddress), Timers: c.timers}}
	mv, mm := srp.MVRPConfig{Address: bareAddress, Timers: c.timers}, srp.MMRPConfig{Address: bareAddress, Timers: c.timers}
	for i := range ports {
		p := tsn.Port(i + 1)
		cfg.Ports = append(cfg.Ports, srp.PortConfig{Port: p, Shared: c.shared})
		mv.Ports = append(mv.Ports, srp.MVRPPort{Port: p, Shared: c.shared})
		mm.Ports = append(mm.Ports, srp.MMRPPort{Port: p, Shared: c.shared})
	}
	var errs [3]error
	var m [2]tsn.Machine
	b.msrp, errs[0] = srp.New(cfg)
	m[0], errs[1] = srp.NewMVRP(mv)
	m[1], errs[2] = srp.NewMMRP(mm)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	b.machines = append([]tsn.Machine{b.msrp}, m[:]...)
}

func (b *bare) read(c *packet.Conn, port tsn.Port, quit chan struct{}) {
	for {
		frame := make([]byte, 2048)
		n, _, err := c.ReadFrom(frame)
		if err != nil {
			return
		}
		select {
		case b.events <- tsn.Received{Port: port, Frame: frame[:n]}:
		case <-quit:
			return
		}
	}
}

func (b *bare) loop(quit, done chan struct{}) {
	defer close(done)
	for {
		d := tsn.Never
		for _, m := range b.machines {
			d = min(d, m.Deadline())
		}
		timer := time.NewTimer(time.Until(b.start.Add(time.Duration(min(d, b.now()+1<<40)))))
		select {
		case ev := <-b.events:
			if r, ok := ev.(tsn.Received); ok {
				b.frames = append(b.frames, onWire{time.Since(b.start), r.Port, false, r.Frame})
			}
			b.step(ev)
		case <-timer.C:
			b.step(tsn.Timeout{})
		case f := <-b.calls:
			f()
		case <-quit:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (b *bare) now() tsn.Instant { return tsn.Instant(time.Since(b.start)) }

func (b *bare) step(ev tsn.Event) {
	for _, m := range b.machines {
		for _, e := range m.Step(b.now(), ev) {
			if e, ok := e.(tsn.Send); ok {
				c := b.conns[e.Port-1]
				_, _ = c.WriteTo(e.Frame, &packet.Addr{HardwareAddr: e.Frame[:6]}) // what is lost is said again
				b.frames = append(b.frames, onWire{time.Since(b.start), e.Port, true, e.Frame})
			}
			b.effect(e)
		}
	}
	if b.changed != nil {
		b.changed()
	}
}

// effect keeps desired state.
func (b *bare) effect(e tsn.Effect) {
	switch e := e.(type) {
	case srp.Reserved:
		b.reserved = e
	case srp.RegisteredVLANs:
		b.vlans = e
	case srp.RegisteredGroups:
		b.groups = e
	}
}

// do runs f in the loop.
func (b *bare) do(f func()) {
	ran := make(chan struct{})
	b.calls <- func() { f(); close(ran) }
	<-ran
}

// until waits until ok, which runs in the loop after each event.
func (b *bare) until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	met := make(chan struct{})
	b.do(func() {
		b.changed = func() {
			if ok() {
				b.changed = nil
				close(met)
			}
		}
		b.changed()
	})
	select {
	case <-met:
	case <-time.After(patience):
		var state any
		b.do(func() { b.changed, state = nil, []any{b.msrp.MSRPStreams(), b.msrp.MSRPPorts(), b.vlans, b.groups} })
		t.Fatalf("%s: %+v", what, state)
	}
}

// group reports whether an entry for a destination exists, and on which ports. It runs in the loop.
func (b *bare) group(vid tsn.VID, da tsn.MAC) []tsn.Port {
	for _, e := range b.reserved.MDB {
		if e.VID == vid && e.Group == da {
			return e.Ports
		}
	}
	return nil
}
