package link

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

var (
	gptpDA  = tsn.MAC(gptpGroup)
	isisDAs = []tsn.MAC{tsn.MAC(controlGroups[0]), tsn.MAC(controlGroups[1]), tsn.MAC(controlGroups[2])}
	station = tsn.MAC{2, 0, 0, 0, 0, 9}
)

func pdu(dst, src tsn.MAC, mark byte) []byte {
	return ethernet(dst, src, 46, append([]byte{0xfe, 0xfe, 0x03, 0x83, mark}, make([]byte, 41)...)...)
}

func gptpFrame(src tsn.MAC, mark byte) []byte {
	return ethernet(gptpDA, src, 0x88f7, append([]byte{0x12, mark}, make([]byte, 44)...)...)
}

// realtime is the LocalClock of the tests: the kernel's stamp as it is.
type realtime struct{}

func (realtime) Local(s Stamp) (tsn.LocalTime, bool) { return tsn.LocalTime(s.NS), !s.Hardware }
func (realtime) Gate() (GateMap, error)              { return GateMap{}, nil }

// RFC 6329 section 8: all three groups are received, also on a bridge port,
// where a socket bound to the 802.2 protocol would see none of them.
func TestControlOnBridgePort(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "peer0", "port1")
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := netlink.LinkAdd(br); err != nil {
		t.Skipf("bridge: %v", err)
	}
	setUp(t, "br0")
	must(t, netlink.LinkSetMaster(getLink(t, "port1"), getLink(t, "br0")))

	peer, bridge := newSink(), newSink()
	lp := open(t, Config{Control: peer.put, Ports: []PortConfig{{Port: 7, Ifname: "peer0", Control: true}}})
	lb := open(t, Config{Control: bridge.put, Ports: []PortConfig{{Port: 1, Ifname: "port1", Control: true}}})
	next(t, peer, linkUp)
	next(t, bridge, linkUp)

	src := macOf(t, "peer0")
	for i, da := range isisDAs {
		must(t, lp.Send(tsn.Send{Port: 7, Frame: pdu(da, src, byte(i)), Priority: 7}))
		got := next(t, bridge, always[tsn.Received])
		if got.Port != 1 || got.Stamped || !bytes.Equal(got.Frame, pdu(da, src, byte(i))) {
			t.Fatalf("to %v: got %+v", da, got)
		}
	}
	// And the other way, out of the bridge port.
	back := pdu(isisDAs[0], macOf(t, "port1"), 9)
	must(t, lb.Send(tsn.Send{Port: 1, Frame: back, Priority: 7}))
	if got := next(t, peer, always[tsn.Received]); !bytes.Equal(got.Frame, back) {
		t.Fatalf("from the bridge port: got %x", got.Frame)
	}
	c := countersOf(t, lb, 1, Control)
	if c.Received != 3 || c.Sent != 1 || c.Opens != 1 || c.DroppedOwn != 0 {
		t.Errorf("counters %+v", c)
	}
}

// What the kernel filter keeps away: other LLC, other EtherTypes, tagged IS-IS,
// frames that leave. Frames with our own source address come through: the
// machine finds loops and doubles by them.
func TestControlFrames(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	own := tsn.MAC{2, 0, 0, 0, 0, 0xaa}
	rx, tx := newSink(), newSink()
	la := open(t, Config{Control: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", Control: true}}})
	lb := open(t, Config{Control: rx.put, Own: own, Ports: []PortConfig{{Port: 1, Ifname: "b", Control: true}}})
	next(t, tx, linkUp)
	next(t, rx, linkUp)

	src := macOf(t, "a")
	tagged := func(f []byte, tci ...byte) []byte { // as on the wire
		return slices.Concat(f[:12], []byte{0x81, 0}, tci, f[12:])
	}
	typed := func(typ uint16, n byte) []byte { return ethernet(isisDAs[0], src, typ, n, 0, 0, 0) }
	kept := [][]byte{
		pdu(isisDAs[0], macOf(t, "b"), 1), // the receiver's own interface
		pdu(isisDAs[0], own, 2),           // the receiver's own node
		typed(0x88b5, 3), typed(0x8902, 4),
		tagged(typed(0x88b5, 5), 0xc0, 100), tagged(typed(0x8902, 6), 0x4f, 0xfe),
		tagged(slices.Concat(typed(0x8902, 7), make([]byte, 1496)), 0, 1), // the longest
		pdu(isisDAs[0], src, 8),
	}
	dropped := [][]byte{
		ethernet(isisDAs[0], src, 46, append([]byte{0x42, 0x42, 0x03}, make([]byte, 43)...)...),
		tagged(pdu(isisDAs[0], src, 9), 0, 100), tagged(typed(0x88b6, 1), 0, 1), tagged(typed(0x0806, 1), 0, 1), tagged(tagged(typed(0x8902, 1), 0, 1), 0, 1),
	}
	for i := range max(len(kept), len(dropped)) {
		for _, list := range [][][]byte{dropped, kept} {
			if i < len(list) {
				must(t, la.Send(tsn.Send{Port: 1, Frame: list[i]}))
			}
		}
	}
	for i, want := range kept {
		if got := next(t, rx, always[tsn.Received]); !bytes.Equal(got.Frame, want) {
			t.Fatalf("frame %d: got %x, want %x", i, got.Frame[:min(24, len(got.Frame))], want[:min(24, len(want))])
		}
	}
	if c := countersOf(t, lb, 1, Control); c.DroppedOwn != 0 || c.Received != uint64(len(kept)) {
		t.Errorf("counters %+v", c)
	}
	// A frame that b itself sends through another socket is not received.
	lb2 := open(t, Config{Ports: []PortConfig{{Port: 1, Ifname: "b", Control: true}}})
	must(t, lb2.Send(tsn.Send{Port: 1, Frame: pdu(isisDAs[0], station, 4)}))
	must(t, la.Send(tsn.Send{Port: 1, Frame: pdu(isisDAs[0], src, 5)}))
	if got := next(t, rx, always[tsn.Received]); got.Frame[18] != 5 {
		t.Fatalf("frame %d came through", got.Frame[18])
	}
}

// Each kind of frame has a limit of its own: who floods CFM does not keep the
// others out.
func TestControlLimits(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx, rx := newSink(), newSink()
	la := open(t, Config{Control: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", Control: true}}})
	lb := open(t, Config{Control: rx.put, ControlLimit: Limit{Burst: 5}, Ports: []PortConfig{{Port: 1, Ifname: "b", Control: true}}})
	next(t, tx, linkUp)
	next(t, rx, linkUp)
	src := macOf(t, "a")
	for range 20 {
		must(t, la.Send(tsn.Send{Port: 1, Frame: ethernet(isisDAs[0], src, 0x8902, 0)}))
	}
	for range 5 {
		must(t, la.Send(tsn.Send{Port: 1, Frame: ethernet(isisDAs[0], src, 0x88b5, 0)}))
		must(t, la.Send(tsn.Send{Port: 1, Frame: pdu(isisDAs[0], src, 0)}))
	}
	for range 15 {
		next(t, rx, always[tsn.Received])
	}
	if c := countersOf(t, lb, 1, Control); c.Received != 15 || c.DroppedRate != 15 {
		t.Errorf("counters %+v", c)
	}
}

// Questions of hosts, ARP and neighbour discovery, come from ports that ask for
// them, and answers go back; nothing else does.
func TestNeighbours(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	rx := newSink()
	ipv6 := func(next, typ byte) []byte {
		f := ethernet(isisDAs[0], station, 0x86dd, make([]byte, 64)...)
		f[20], f[54] = next, typ
		return f
	}
	arp := ethernet(isisDAs[0], station, 0x0806, make([]byte, 46)...)
	lb := open(t, Config{Control: rx.put, Ports: []PortConfig{{Port: 3, Ifname: "b", Neighbours: true}}, Neighbours: func(p tsn.Port, f []byte) []byte {
		if p != 3 {
			t.Errorf("port %d", p)
		}
		rx.put(tsn.Received{Port: p, Frame: f})
		if f[12] == 8 {
			return pdu(isisDAs[0], station, 77) // what the other end can receive
		}
		return nil
	}})
	back := newSink()
	la := open(t, Config{Control: back.put, Ports: []PortConfig{{Port: 1, Ifname: "a", Control: true}}})
	next(t, rx, linkUp)
	next(t, back, linkUp)
	tagged := slices.Concat(arp[:12], []byte{0x81, 0, 0, 9}, arp[12:])
	for _, f := range [][]byte{
		ethernet(isisDAs[0], station, 0x0800, make([]byte, 46)...), ipv6(58, 128), ipv6(6, 135), pdu(isisDAs[0], station, 1),
		arp, ipv6(58, 135), ipv6(58, 136), tagged,
	} {
		sendRaw(t, "a", f)
	}
	for i, want := range [][]byte{arp, ipv6(58, 135), ipv6(58, 136), tagged} {
		if got := next(t, rx, always[tsn.Received]); !bytes.Equal(got.Frame, want) {
			t.Fatalf("%d: got %x", i, got.Frame)
		}
	}
	if got := next(t, back, always[tsn.Received]); got.Frame[18] != 77 {
		t.Errorf("answered with %x", got.Frame)
	}
	if c := countersOf(t, lb, 3, Neighbours); c.Received != 4 || c.Sent != 1 {
		t.Errorf("counters %+v", c)
	}
	_ = la
}

// sendRaw sends a frame of any type.
func sendRaw(t *testing.T, name string, frame []byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: getLink(t, name).Attrs().Index, Halen: 6}))
}

// The default limit is below the rate of warmUp, so tests that warm up raise it.
var noLimit = Limit{PerSecond: 1e6, Burst: 1e6}

// 802.1AS-2020 8.4.3: every event message has an ingress and an egress stamp.
// On a veth both come from one clock, so that order is all that can be said.
func TestGPTPStamps(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx, rx := newSink(), newSink()
	la := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	lb := open(t, Config{Clock: realtime{}, Timing: rx.put, GPTPLimit: noLimit, Ports: []PortConfig{{Port: 2, Ifname: "b", GPTP: true}}})
	next(t, tx, linkUp)
	next(t, rx, linkUp)

	src := macOf(t, "a")
	warmUp(t, la, rx, src)
	before := clockRealtime(t)
	const frames = 20 // all in flight at once; the even ones tagged
	for i := range frames {
		s := tsn.Send{Port: 1, Frame: gptpFrame(src, byte(i)), Priority: 7}
		if i%2 == 0 {
			s.Tag = uint64(1000 + i)
		}
		must(t, la.Send(s))
	}
	ingress := map[uint64]tsn.LocalTime{}
	for i := range frames {
		got := next(t, rx, always[tsn.Received])
		if got.Port != 2 || !got.Stamped || int(got.Frame[15]) != i {
			t.Fatalf("frame %d: got %+v", i, got)
		}
		ingress[uint64(1000+i)] = got.Ingress
	}
	after := clockRealtime(t)
	last := tsn.LocalTime(before)
	for i := 0; i < frames; i += 2 {
		got := next(t, tx, always[tsn.Sent])
		if got.Tag != uint64(1000+i) || !got.Stamped || got.Port != 1 {
			t.Fatalf("stamp of frame %d: got %+v", i, got)
		}
		// Matched to the right frame: it left after the frame before it and
		// before it arrived itself.
		if got.Egress < last || got.Egress > ingress[got.Tag] || int64(ingress[got.Tag]) > after {
			t.Errorf("frame %d: previous ingress %d, egress %d, ingress %d, read at %d", i, last, got.Egress, ingress[got.Tag], after)
		}
		last = ingress[got.Tag]
	}
	ca, cb := countersOf(t, la, 1, GPTP), countersOf(t, lb, 2, GPTP)
	if ca.Sent != cb.Received || ca.StampMissing+ca.StampLate+ca.SendFailed != 0 {
		t.Errorf("counters %+v %+v", ca, cb)
	}
}

// warmUp sends frames until one arrives with a stamp: the kernel switches
// ingress stamps on in the background when the first socket asks for them.
func warmUp(t *testing.T, l *Ports, rx sink, src tsn.MAC) {
	t.Helper()
	for range 10_000 {
		must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(src, 0)}))
		if next(t, rx, always[tsn.Received]).Stamped {
			return
		}
	}
	t.Fatal("no frame has an ingress stamp")
}

func clockRealtime(t *testing.T) int64 { t.Helper(); return readClock(t, unix.CLOCK_REALTIME) }

// A stamp that does not come in time costs one message, never the port.
func TestGPTPLostStamp(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx := newSink()
	l := open(t, Config{
		Clock: realtime{}, Timing: tx.put, StampTimeout: 1,
		Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}},
	})
	next(t, tx, linkUp)
	// A time-out of 1 ns may still lose the race against the stamp; both
	// outcomes must answer each tag exactly once.
	const frames = 50
	seen := map[uint64]bool{}
	for i := range frames {
		must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(macOf(t, "a"), 0), Tag: uint64(i + 1)}))
		got := next(t, tx, always[tsn.Sent])
		if seen[got.Tag] || got.Tag != uint64(i+1) {
			t.Fatalf("after frame %d: %+v", i+1, got)
		}
		seen[got.Tag] = true
	}
}

// A frame that cannot be sent answers its tag, too, and the port recovers.
// Of ten frames one egress stamp is lost in the driver and one comes when it
// was given up: two messages are lost, and nothing else. The socket stays.
func TestGPTPStampFaults(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	const lost, late = 3, 6
	tx, kept := newSink(), make(chan control, 1)
	l := open(t, Config{
		Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}},
		fault: func(c control) bool {
			if c.key == late {
				kept <- c
			}
			return c.key == lost || c.key == late
		},
	})
	next(t, tx, linkUp)
	for key := range 10 {
		must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(macOf(t, "a"), 0), Tag: uint64(key + 1)}))
		got := next(t, tx, always[tsn.Sent])
		if got.Tag != uint64(key+1) || got.Stamped == (key == lost || key == late) {
			t.Fatalf("frame %d: %+v", key, got)
		}
	}
	p := l.ports[1].gptp
	p.mu.Lock()
	p.left(<-kept)
	p.mu.Unlock()
	must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(macOf(t, "a"), 0), Tag: 11}))
	if got := next(t, tx, always[tsn.Sent]); got.Tag != 11 || !got.Stamped {
		t.Errorf("after a late stamp: %+v", got)
	}
	if c := countersOf(t, l, 1, GPTP); c.StampMissing != 2 || c.StampLate != 1 || c.Opens != 1 || c.SendFailed != 0 {
		t.Errorf("counters %+v", c)
	}
}

func TestGPTPSendFailure(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx := newSink()
	l := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	next(t, tx, linkUp)
	must(t, netlink.LinkSetDown(getLink(t, "a")))
	next(t, tx, linkDown)
	frame := gptpFrame(macOf(t, "a"), 0)
	if err := l.Send(tsn.Send{Port: 1, Frame: frame, Tag: 1}); !errors.Is(err, unix.ENETDOWN) {
		t.Errorf("Send on a link that is down: %v", err)
	}
	if got := next(t, tx, always[tsn.Sent]); got.Tag != 1 || got.Stamped {
		t.Errorf("got %+v", got)
	}
	setUp(t, "a")
	next(t, tx, linkUp)
	must(t, l.Send(tsn.Send{Port: 1, Frame: frame, Tag: 2}))
	if got := next(t, tx, always[tsn.Sent]); got.Tag != 2 || !got.Stamped {
		t.Errorf("after the link came back: %+v", got)
	}
	if c := countersOf(t, l, 1, GPTP); c.SendFailed != 1 || c.StampMissing != 1 || c.Sent != 1 {
		t.Errorf("counters %+v", c)
	}
}

// When the count of OPT_ID is in doubt the socket is replaced: what was in
// flight is answered without a stamp, what comes later is matched again.
func TestGPTPReopen(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx := newSink()
	l := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	next(t, tx, linkUp)
	frame := gptpFrame(macOf(t, "a"), 0)
	answers := map[uint64]int{}
	for tag := uint64(1); tag <= 30; tag++ {
		must(t, l.Send(tsn.Send{Port: 1, Frame: frame, Tag: tag}))
		if tag%10 == 0 {
			l.ports[1].gptp.reopen()
		}
		answers[next(t, tx, always[tsn.Sent]).Tag]++
	}
	for start := time.Now(); countersOf(t, l, 1, GPTP).Opens < 2 && time.Since(start) < patience; {
		runtime.Gosched()
	}
	must(t, l.Send(tsn.Send{Port: 1, Frame: frame, Tag: 31}))
	answers[next(t, tx, always[tsn.Sent]).Tag]++
	for tag := uint64(1); tag <= 31; tag++ {
		if answers[tag] != 1 {
			t.Errorf("tag %d was answered %d times", tag, answers[tag])
		}
	}
	if c := countersOf(t, l, 1, GPTP); c.Opens < 2 {
		t.Errorf("counters %+v", c)
	}
}

// gPTP goes to a link-local group: a bridge port receives it too.
func TestGPTPOnBridgePort(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
		t.Skipf("bridge: %v", err)
	}
	setUp(t, "br0")
	must(t, netlink.LinkSetMaster(getLink(t, "b"), getLink(t, "br0")))
	tx, rx := newSink(), newSink()
	la := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	open(t, Config{Clock: realtime{}, Timing: rx.put, GPTPLimit: noLimit, Ports: []PortConfig{{Port: 1, Ifname: "b", GPTP: true}}})
	next(t, tx, linkUp)
	next(t, rx, linkUp)
	warmUp(t, la, rx, macOf(t, "a"))
}

// The limit acts before parsing: of a burst only as many frames pass as the
// bucket holds, and the rest is counted.
func TestRateLimit(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx, rx := newSink(), newSink()
	la := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true, Control: true}}})
	lb := open(t, Config{
		Clock: realtime{}, Timing: rx.put, GPTPLimit: Limit{PerSecond: 0, Burst: 5},
		Ports: []PortConfig{{Port: 1, Ifname: "b", GPTP: true, Control: true}},
	})
	next(t, tx, linkUp)
	next(t, rx, linkUp)
	for i := range 12 {
		must(t, la.Send(tsn.Send{Port: 1, Frame: gptpFrame(macOf(t, "a"), byte(i))}))
	}
	var c Counters
	for start := time.Now(); c.Received+c.DroppedRate < 12 && time.Since(start) < patience; runtime.Gosched() {
		c = countersOf(t, lb, 1, GPTP)
	}
	if c.Received != 5 || c.DroppedRate != 7 {
		t.Errorf("counters %+v", c)
	}
}

// A machine that is too slow loses frames in the kernel, counted there.
func TestQueueDrops(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx, rx := newSink(), newSink()
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	defer close(hold)
	slow := func(ev tsn.Event) {
		if _, ok := ev.(tsn.Received); ok {
			select {
			case held <- struct{}{}:
			default:
			}
			<-hold
		}
		rx.put(ev)
	}
	ports := func(name string) []PortConfig {
		return []PortConfig{{Port: 1, Ifname: name, GPTP: true, Control: true}}
	}
	la := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: ports("a")})
	lb := open(t, Config{Clock: realtime{}, Timing: slow, Control: slow, Ports: ports("b")})
	next(t, tx, linkUp)
	next(t, rx, linkUp)
	src := macOf(t, "a")
	send := func(frame []byte) { must(t, la.Send(tsn.Send{Port: 1, Frame: frame})) }
	send(gptpFrame(src, 0))
	<-held
	send(pdu(isisDAs[0], src, 0))
	const most = 20_000 // above any default socket buffer
	for _, proto := range []Protocol{GPTP, Control} {
		for i := 0; i < most && countersOf(t, lb, 1, proto).DroppedQueue == 0; i++ {
			if proto == GPTP {
				send(gptpFrame(src, 1))
			} else {
				send(pdu(isisDAs[0], src, 1))
			}
		}
		if c := countersOf(t, lb, 1, proto); c.DroppedQueue == 0 {
			t.Errorf("%v: %+v", proto, c)
		}
	}
}

// Carrier, rate, and an interface that is deleted and made again.
func TestLinkEvents(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	timing, control := newSink(), newSink()
	l := open(t, Config{
		Clock: realtime{}, Timing: timing.put, Control: control.put,
		Ports: []PortConfig{
			{Port: 1, Ifname: "a", GPTP: true, Control: true},
			{Port: 2, Ifname: "later", GPTP: true, Control: true, Rate: tsn.Gbps},
		},
	})
	for _, s := range []sink{timing, control} {
		if got := next(t, s, linkUp); got != (tsn.LinkChanged{Port: 1, Up: true, Rate: 10 * tsn.Gbps}) {
			t.Errorf("a veth says %+v", got)
		}
	}
	must(t, netlink.LinkSetDown(getLink(t, "b")))
	next(t, control, linkDown)
	setUp(t, "b")
	next(t, control, linkUp)

	if err := l.Send(tsn.Send{Port: 2, Frame: pdu(isisDAs[0], station, 0)}); !errors.Is(err, ErrAbsent) {
		t.Errorf("Send on an absent interface: %v", err)
	}
	addVeth(t, "later", "later-peer")
	if got := next(t, control, linkUp); got != (tsn.LinkChanged{Port: 2, Up: true, Rate: tsn.Gbps}) {
		t.Errorf("with a configured rate: %+v", got)
	}

	// Leaving a bridge looks like a deletion in netlink; it is none.
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err == nil {
		must(t, netlink.LinkSetMaster(getLink(t, "a"), getLink(t, "br0")))
		must(t, netlink.LinkSetNoMaster(getLink(t, "a")))
	}
	must(t, netlink.LinkDel(getLink(t, "a")))
	next(t, control, linkDown)
	addVeth(t, "a", "b")
	next(t, control, linkUp)
	must(t, l.Send(tsn.Send{Port: 1, Frame: pdu(isisDAs[0], macOf(t, "a"), 0)}))
	must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(macOf(t, "a"), 0), Tag: 1}))
	if got := next(t, timing, always[tsn.Sent]); !got.Stamped {
		t.Errorf("after the interface came back: %+v", got)
	}
	for _, proto := range []Protocol{Control, GPTP} {
		if c := countersOf(t, l, 1, proto); c.Opens != 2 {
			t.Errorf("%v: %d sockets opened, want 2", proto, c.Opens)
		}
	}
}

// Events that the kernel dropped are made good: after a lost subscription the
// links are read again, and followed again.
func TestLinkEventsLost(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	deaf := make(chan netlink.LinkUpdate)
	calls := 0
	control := newSink()
	open(t, Config{
		Control: control.put, Ports: []PortConfig{{Port: 1, Ifname: "a", Control: true}},
		subscribe: func() (chan netlink.LinkUpdate, func(), error) {
			if calls++; calls == 1 {
				return deaf, func() {}, nil
			}
			return subscribe()
		},
	})
	next(t, control, linkUp)
	must(t, netlink.LinkSetDown(getLink(t, "b")))
	close(deaf)
	next(t, control, linkDown)
	setUp(t, "b")
	next(t, control, linkUp)
}

func TestSendRefuses(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	l := open(t, Config{Ports: []PortConfig{{Port: 1, Ifname: "a", Control: true}}})
	for name, s := range map[string]tsn.Send{
		"unknown port": {Port: 9, Frame: pdu(isisDAs[0], station, 0)},
		"short frame":  {Port: 1, Frame: make([]byte, 13)},
		"long frame":   {Port: 1, Frame: make([]byte, 1515)},
		"gPTP not on":  {Port: 1, Frame: gptpFrame(station, 0)},
		"EtherType":    {Port: 1, Frame: ethernet(station, station, 0x0800, make([]byte, 46)...)},
		"IS-IS tagged": {Port: 1, Frame: pdu(isisDAs[0], station, 0), Tag: 1},
	} {
		if err := l.Send(s); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no number":   {Ports: []PortConfig{{Ifname: "a"}}},
		"no name":     {Ports: []PortConfig{{Port: 1}}},
		"port twice":  {Ports: []PortConfig{{Port: 1, Ifname: "a"}, {Port: 1, Ifname: "b"}}},
		"name twice":  {Ports: []PortConfig{{Port: 1, Ifname: "a"}, {Port: 2, Ifname: "a"}}},
		"needs clock": {Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}},
	} {
		if _, err := Open(cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// How long a tagged frame takes from Send to its Sent event.
func BenchmarkSendToSent(b *testing.B) {
	ownNetNS(b)
	addVeth(b, "a", "b")
	tx := newSink()
	l, err := Open(Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	must(b, err)
	defer l.Close()
	next(b, tx, linkUp)
	frame := gptpFrame(macOf(b, "a"), 0)
	tag := uint64(0)
	for b.Loop() {
		tag++
		must(b, l.Send(tsn.Send{Port: 1, Frame: frame, Priority: 7, Tag: tag}))
		if got := next(b, tx, always[tsn.Sent]); !got.Stamped {
			b.Fatal("no stamp")
		}
	}
}

// A socket that was opened, or left, on a link that was down reports that
// once to the first sender, even if the link is up by then.
func TestRetryDown(t *testing.T) {
	for _, tc := range []struct {
		answers []error
		calls   int
		want    error
	}{
		{[]error{nil}, 1, nil},
		{[]error{unix.ENETDOWN, nil}, 2, nil},
		{[]error{unix.ENETDOWN, unix.ENETDOWN}, 2, unix.ENETDOWN},
		{[]error{unix.ENOBUFS}, 1, unix.ENOBUFS}, // may have spent an OPT_ID
	} {
		calls := 0
		err := retryDown(func() error { calls++; return tc.answers[calls-1] })
		if calls != tc.calls || !errors.Is(err, tc.want) {
			t.Errorf("%v: %d calls, %v", tc.answers, calls, err)
		}
	}
}
