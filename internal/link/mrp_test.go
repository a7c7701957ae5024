package link

import (
	"bytes"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"tsnswitch"
)

var mrpDAs = map[uint16]tsn.MAC{
	typeMSRP: {0x01, 0x80, 0xc2, 0, 0, 0x0e}, typeMMRP: {0x01, 0x80, 0xc2, 0, 0, 0x20}, typeMVRP: {0x01, 0x80, 0xc2, 0, 0, 0x21},
}

func mrpPDU(typ uint16, src tsn.MAC, mark byte) []byte {
	return ethernet(mrpDAs[typ], src, typ, 0, mark)
}

// MRPDUs of the three applications come in from the port of a bridge and from a
// plain interface, and go out; what has a tag, or our own address, does not.
func TestMRP(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
		t.Skipf("bridge: %v", err)
	}
	setUp(t, "br0")
	must(t, netlink.LinkSetMaster(getLink(t, "b"), getLink(t, "br0")))
	system := tsn.MAC{2, 0, 0, 0, 0, 0xaa}
	plain, bridged := newSink(), newSink()
	la := open(t, Config{Control: plain.put, Ports: []PortConfig{{Port: 1, Ifname: "a", MRP: true}}})
	lb := open(t, Config{Control: bridged.put, Own: system, Ports: []PortConfig{{Port: 2, Ifname: "b", MRP: true, Control: true}}})
	next(t, plain, linkUp)
	next(t, bridged, linkUp)
	src := macOf(t, "a")
	for _, typ := range []uint16{typeMSRP, typeMVRP, typeMMRP} {
		tagged := mrpPDU(typ, src, 1)
		tagged = slices.Concat(tagged[:12], []byte{0x81, 0, 0xe0, 5}, tagged[12:])
		sendRaw(t, "a", tagged)
		if typ == typeMMRP { // of a VLAN of its own, and answered there
			if got := next(t, bridged, always[tsn.Received]); !bytes.Equal(got.Frame, tagged) {
				t.Fatalf("%04x with a tag: %x", typ, got.Frame)
			}
			b := macOf(t, "b")
			back := slices.Concat(tagged[:6], b[:], tagged[12:])
			must(t, lb.Send(tsn.Send{Port: 2, Frame: back, Priority: 7}))
			if got := next(t, plain, always[tsn.Received]); !bytes.Equal(got.Frame, back) {
				t.Fatalf("%04x with a tag: %x", typ, got.Frame)
			}
		}
		for _, own := range []tsn.MAC{system, macOf(t, "b")} {
			must(t, la.Send(tsn.Send{Port: 1, Frame: mrpPDU(typ, own, 2)}))
		}
		want := mrpPDU(typ, src, 3)
		must(t, la.Send(tsn.Send{Port: 1, Frame: want, Priority: 7}))
		if got := next(t, bridged, always[tsn.Received]); got.Port != 2 || !bytes.Equal(got.Frame, want) {
			t.Fatalf("%04x: %x", typ, got.Frame)
		}
		back := mrpPDU(typ, macOf(t, "b"), 4)
		must(t, lb.Send(tsn.Send{Port: 2, Frame: back, Priority: 7}))
		if got := next(t, plain, always[tsn.Received]); !bytes.Equal(got.Frame, back) {
			t.Fatalf("%04x: %x", typ, got.Frame)
		}
	}
	if c := countersOf(t, lb, 2, MRP); c.Received != 4 || c.DroppedOwn != 6 || c.Sent != 4 {
		t.Errorf("counters %+v", c)
	}
	if c := countersOf(t, lb, 2, Control); c.Received != 0 {
		t.Errorf("of the control socket: %+v", c)
	}
}

// A flood of one application does not keep the others out, nor the same one
// from another station.
func TestMRPLimits(t *testing.T) {
	ownNetNS(t)
	addVeth(t, "a", "b")
	tx, rx := newSink(), newSink()
	la := open(t, Config{Control: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", MRP: true}}})
	lb := open(t, Config{Control: rx.put, MRPLimit: Limit{Burst: 5}, Ports: []PortConfig{{Port: 1, Ifname: "b", MRP: true}}})
	next(t, tx, linkUp)
	next(t, rx, linkUp)
	src := macOf(t, "a")
	for range 20 {
		must(t, la.Send(tsn.Send{Port: 1, Frame: mrpPDU(typeMSRP, src, 0)}))
	}
	for range 5 {
		must(t, la.Send(tsn.Send{Port: 1, Frame: mrpPDU(typeMSRP, tsn.MAC{2, 0, 0, 0, 0, 9}, 1)}))
		must(t, la.Send(tsn.Send{Port: 1, Frame: mrpPDU(typeMVRP, src, 2)}))
		must(t, la.Send(tsn.Send{Port: 1, Frame: mrpPDU(typeMMRP, src, 3)}))
	}
	for range 20 {
		next(t, rx, always[tsn.Received])
	}
	if c := countersOf(t, lb, 1, MRP); c.Received != 20 || c.DroppedRate != 15 {
		t.Errorf("counters %+v", c)
	}
}
