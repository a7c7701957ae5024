package spb

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"tsnswitch/spb/isispdu"
)

// RFC 5303 s3.2: the state table, every cell, from the outside.
func TestThreeWayTable(t *testing.T) {
	const (
		down = isispdu.Down
		init = isispdu.Initializing
		up   = isispdu.Up
	)
	for _, c := range []struct{ own, received, want isispdu.ThreeWayState }{
		{down, down, init},
		{down, init, up},
		{down, up, down},
		{init, down, init},
		{init, init, up},
		{init, up, up},
		{up, down, init},
		{up, init, up},
		{up, up, up},
	} {
		p := newPeer(t, nil)
		switch c.own {
		case init:
			p.receive(1, p.hello(1, down))
		case up:
			p.receive(1, p.hello(1, init))
		}
		if s := p.inst.Neighbours()[0].State; s != c.own.String() {
			t.Fatalf("start: %s, want %s", s, c.own)
		}
		p.receive(1, p.hello(1, c.received))
		if s := p.inst.Neighbours()[0].State; s != c.want.String() {
			t.Errorf("%s receives %s: %s, want %s", c.own, c.received, s, c.want)
		}
		// Every change of state is told to the neighbour at once.
		told := false
		for _, pdu := range p.sent[1] {
			if h, ok := pdu.(*isispdu.IIH); ok {
				tw, _ := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
				told = tw.State == c.want
			}
		}
		if told != (c.own != c.want) {
			t.Errorf("%s receives %s: hello sent %t", c.own, c.received, told)
		}
	}
}

// RFC 5303 s3.2: a hello that names another neighbour or circuit is dropped;
// RFC 6329 s7: so is one without TLV 240; ISO/IEC 10589 8.2.5.2: area, level.
func TestHelloRefused(t *testing.T) {
	threeWay := func(h *isispdu.IIH) *isispdu.ThreeWay {
		tw, _ := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
		return tw
	}
	for name, c := range map[string]struct {
		damage  func(*isispdu.IIH)
		counter func(*DropCounters) uint64
	}{
		"other system":  {func(h *isispdu.IIH) { threeWay(h).NeighborSystemID = nodeMAC(9) }, func(d *DropCounters) uint64 { return d.NotForUs }},
		"other circuit": {func(h *isispdu.IIH) { threeWay(h).NeighborCircuitID = 9 }, func(d *DropCounters) uint64 { return d.NotForUs }},
		"no three-way":  {func(h *isispdu.IIH) { threeWay(h).Fields = 0 }, func(d *DropCounters) uint64 { return d.NoThreeWay }},
		"no holding":    {func(h *isispdu.IIH) { h.HoldingTime = 0 }, func(d *DropCounters) uint64 { return d.NoThreeWay }},
		"level 2":       {func(h *isispdu.IIH) { h.CircuitType = isispdu.CircuitLevel2 }, func(d *DropCounters) uint64 { return d.AreaMismatch }},
		"other area":    {func(h *isispdu.IIH) { h.TLVs[0] = &isispdu.AreaAddresses{Areas: [][]byte{{1}}} }, func(d *DropCounters) uint64 { return d.AreaMismatch }},
		"our system id": {func(h *isispdu.IIH) { h.SourceID = nodeMAC(0) }, func(d *DropCounters) uint64 { return d.DuplicateSystem }},
	} {
		p := newPeer(t, nil)
		h := p.hello(1, isispdu.Initializing)
		c.damage(h)
		p.receive(1, h)
		drops := p.inst.Counters().Drops
		if s := p.inst.Neighbours()[0].State; s != "Down" || c.counter(&drops) != 1 {
			t.Errorf("%s: %s, counters %+v", name, s, drops)
		}
	}
}

// RFC 6329 s13: without NLPID C1, with another MCID or another ECT algorithm,
// the adjacency comes up but its metric is infinite and it carries nothing.
func TestSPBMismatch(t *testing.T) {
	for name, damage := range map[string]func(*isispdu.IIH){
		"nlpid": func(h *isispdu.IIH) { h.TLVs[1] = &isispdu.Protocols{NLPIDs: []byte{0xcc}} },
		"mcid": func(h *isispdu.IIH) {
			c, _ := isispdu.Find[*isispdu.MTPortCap](h.TLVs)
			c.SubTLVs[0] = &isispdu.SPBMCID{}
		},
		"ect": func(h *isispdu.IIH) {
			c, _ := isispdu.Find[*isispdu.MTPortCap](h.TLVs)
			c.SubTLVs[1] = &isispdu.SPBBVID{Tuples: []isispdu.BVIDTuple{isispdu.MakeBVIDTuple(isispdu.ECTAlgorithm(2), vidA, true)}}
		},
	} {
		p := newPeer(t, nil)
		h := p.hello(1, isispdu.Initializing)
		damage(h)
		p.receive(1, h)
		n := p.inst.Neighbours()[0]
		if n.State != "Up" || n.Metric != isispdu.MaxMetric || n.Mismatch == "" {
			t.Errorf("%s: %+v", name, n)
		}
		if p.inst.top.wanted.Ports[0].BcastFlood {
			t.Errorf("%s: broadcast goes over the link", name)
		}
		p.receive(1, p.hello(1, isispdu.Up)) // put right
		if n := p.inst.Neighbours()[0]; n.Metric != 20000 || n.Mismatch != "" {
			t.Errorf("%s, put right: %+v", name, n)
		}
	}
}

// A neighbour that is replaced by another goes through Down.
func TestNeighborReplaced(t *testing.T) {
	p := newPeer(t, nil).up()
	h := p.hello(1, isispdu.Up)
	h.SourceID = nodeMAC(50)
	p.receive(1, h)
	if s := p.inst.Neighbours()[0].State; s != "Down" {
		t.Errorf("state %s: Up heard from a stranger", s)
	}
	h = p.hello(1, isispdu.Initializing)
	h.SourceID = nodeMAC(50)
	p.receive(1, h)
	if n := p.inst.Neighbours()[0]; n.State != "Up" || n.SystemID != nodeMAC(50) {
		t.Errorf("%+v", n)
	}
}

// Hellos come every interval less at most a quarter, and carry the holding time.
func TestHelloTimer(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.HelloInterval, c.HoldMultiplier = 400*millisecond, 4 })
	p.wait(10 * second)
	n := len(p.sent[1])
	if n < 25 || n > 34 {
		t.Errorf("%d hellos in 10 s", n)
	}
	if h := p.sent[1][0].(*isispdu.IIH); h.HoldingTime != 2 { // 1.6 s, rounded up
		t.Errorf("holding time %d", h.HoldingTime)
	}
}

// Carrier loss is acted on in the same Step: new LSP on the other port, new
// forwarding state.
func TestLinkDownAtOnce(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(5 * second)
	before := l.nodes[0].Counters().Sent.LSP
	l.log = nil
	l.setLink(0, false) // b1 port 1
	if n := l.nodes[0].Counters().Sent.LSP - before; n != 1 || l.nodes[0].bridgePort(1).BcastFlood {
		t.Errorf("%d LSPs sent, port %+v", n, l.nodes[0].bridgePort(1))
	}
	if len(l.log) != 2 || !strings.Contains(l.log[0], "b1 "+NoticeAdjacencyDown+" port 1") {
		t.Errorf("%q", l.log)
	}
}

// ISO/IEC 10589 8.2.3: hellos are padded to the largest frame until the
// adjacency is Up, with room for authentication. Without the option they are not.
func TestHelloPadding(t *testing.T) {
	size := func(p *peer) int {
		for _, pdu := range p.sent[1] {
			if h, ok := pdu.(*isispdu.IIH); ok {
				return len(mustAppend(h))
			}
		}
		t.Fatal("no hello")
		return 0
	}
	for _, on := range []bool{false, true} {
		p := newPeer(t, func(c *Config) { c.HelloPadding = on })
		p.wait(second)
		down := size(p)
		p.receive(1, p.hello(1, isispdu.Initializing))
		if up := size(p); up > 400 || (down > 400) != on || (on && (down < isispdu.MaxPDU-authRoom-1 || down > isispdu.MaxPDU-authRoom)) {
			t.Errorf("padding %t: %d octets, %d when Up", on, down, up)
		}
	}
}

// CompatIPv4: NLPID CC beside C1, and no sense without an IPv4 address.
func TestCompatIPv4(t *testing.T) {
	p := newPeer(t, func(c *Config) {
		c.CompatIPv4, c.ManagementAddresses = true, []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	})
	h := p.inst.makeIIH(p.inst.port(1))
	if n, _ := isispdu.Find[*isispdu.Protocols](h.TLVs); !bytes.Equal(n.NLPIDs, []byte{0xc1, 0xcc}) {
		t.Errorf("%s", n)
	}
	cfg := peerConfig()
	cfg.CompatIPv4 = true
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "IPv4 management address") {
		t.Errorf("%v", err)
	}
}
