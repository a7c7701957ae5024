package spb

import (
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// overloadBit is what the own LSP says, in both places.
func (p *peer) overloadBit() bool {
	p.t.Helper()
	l := p.inst.db.lsps[isispdu.MakeLSPID(nodeMAC(0), 0)]
	bit := l.pdu.Flags&isispdu.FlagOverload != 0
	for _, c := range isispdu.All[*isispdu.MTCapability](l.pdu.TLVs) {
		if hasInst(c) && (c.MT&isispdu.MTOverload != 0) != bit {
			p.t.Error("the LSP header and MT-Capability do not agree")
		}
	}
	return bit
}

// SetOverload with a reason, taken back; the configured one is an ordinary
// one that the operator may take back as well.
func TestOverloadReason(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Overload, c.OverloadReason = true, "being installed" }).up()
	if s := p.inst.Status(); !p.overloadBit() || s.OverloadReason != "being installed" {
		t.Errorf("configured: bit %t, %+v", p.overloadBit(), s)
	}
	p.step(SetOverload{})
	p.wait(second)
	if s := p.inst.Status(); p.overloadBit() || s.Overload || s.OverloadReason != "" {
		t.Errorf("taken back: bit %t, %+v", p.overloadBit(), s)
	}
	p.step(SetOverload{On: true, Reason: " fan 2 failed\xff" + strings.Repeat("!", 300)})
	p.wait(second)
	if s := p.inst.Status(); !p.overloadBit() || !strings.HasPrefix(s.OverloadReason, "fan 2 failed!") || len(s.OverloadReason) > 255 {
		t.Errorf("drained: bit %t, %+v", p.overloadBit(), s)
	}
	p.step(SetOverload{On: true})
	if s := p.inst.Status(); s.OverloadReason != "asked for by the operator" {
		t.Errorf("%q", s.OverloadReason)
	}
}

// OverloadOnStartup: the bit is there from the first LSP on and goes by itself.
func TestOverloadOnStartup(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.OverloadOnStartup = 30 * second }).up()
	p.wait(29 * second)
	if !p.overloadBit() || p.inst.Status().OverloadReason != "just started" {
		t.Errorf("%+v", p.inst.Status())
	}
	p.wait(2 * second)
	if p.overloadBit() {
		t.Error("still overloaded")
	}
}

// ISO/IEC 10589 7.3.19: a database that is full sets the overload bit until
// waitingTime has passed without another LSP that does not fit.
func TestDatabaseOverload(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Caps.MaxLSPs = 2 }).up()
	p.receive(1, p.lsp(5, 1, "x"))
	if p.overloadBit() {
		t.Fatal("overloaded too early")
	}
	notices := 0
	for range 3 {
		p.receive(1, p.lsp(6, 1, "x"))
		notices += len(p.notices)
		p.wait(40 * second)
		if !p.overloadBit() {
			t.Fatal("not overloaded")
		}
		p.receive(1, p.hello(1, isispdu.Up))
		p.receive(2, p.hello(2, isispdu.Up))
	}
	if notices != 1 {
		t.Errorf("said %d times", notices)
	}
	p.wait(25 * second)
	if p.overloadBit() {
		t.Error("overloaded although everything fits")
	}
}

// ISO/IEC 10589 7.1.5, 8.2.5.2: several area addresses, one in common is
// enough, all are told.
func TestAreas(t *testing.T) {
	a, b, c := []byte{0x49, 0, 1}, []byte{0x49, 0, 2}, []byte{0x49, 0, 3}
	for _, theirs := range [][][]byte{{a}, {c, b}, {c}} {
		p := newPeer(t, func(cfg *Config) { cfg.AreaAddresses = [][]byte{a, b} })
		h := p.hello(1, isispdu.Initializing)
		h.TLVs[0] = &isispdu.AreaAddresses{Areas: theirs}
		p.receive(1, h)
		want := "Up"
		if len(theirs) == 1 && theirs[0][2] == 3 {
			want = "Down"
		}
		if s := p.inst.Neighbours()[0].State; s != want {
			t.Errorf("neighbour in %x: %s, want %s", theirs, s, want)
		}
		l := p.inst.db.lsps[isispdu.MakeLSPID(nodeMAC(0), 0)]
		if got, _ := isispdu.Find[*isispdu.AreaAddresses](l.pdu.TLVs); len(got.Areas) != 2 {
			t.Errorf("LSP says %s", got)
		}
	}
	for name, areas := range map[string][][]byte{
		"four": {a, b, c, {1}}, "twice": {a, b, a}, "empty": {a, {}}, "long": {make([]byte, 14)},
	} {
		cfg := peerConfig()
		cfg.AreaAddresses = areas
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "area address") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two bridges with one system id as neighbours: both say so, once, and in
// Status as long as it lasts.
func TestDuplicateNeighbour(t *testing.T) {
	l := newLab(t, 2, line(2), func(k int, c *Config) { c.SystemID = nodeMAC(0) })
	l.allUp()
	l.run(30 * second)
	for k, n := range l.nodes {
		if why := n.Status().DuplicateSystem; !strings.Contains(why, "port 1") || n.Counters().Drops.DuplicateSystem < 10 {
			t.Errorf("b%d: %q, %+v", k+1, why, n.Counters().Drops)
		}
	}
	if n := strings.Count(strings.Join(l.log, "\n"), NoticeDuplicateSystem); n != 2 {
		t.Errorf("said %d times:\n%s", n, strings.Join(l.log, "\n"))
	}
	l.setLink(0, false)
	l.run(125 * second)
	if why := l.nodes[0].Status().DuplicateSystem; why != "" {
		t.Errorf("two minutes later: %q", why)
	}
}

// LSPHoldDown to LSPMaxHoldDown: the first change goes out at once, then the
// wait doubles as long as changes keep coming, and starts anew after quiet.
func TestLSPBackoff(t *testing.T) {
	p := newPeer(t, nil).up()
	p.wait(10 * second)
	var at []int64
	start, last := p.now, p.inst.Counters().Originations
	for n := 0; p.now < start.Add(10*second); n++ {
		p.step(SetEndStations{Stations: manyStations(n % 7)})
		if c := p.inst.Counters().Originations; c != last {
			at, last = append(at, p.now.Sub(start)/millisecond), c
		}
		p.now = p.now.Add(10 * millisecond)
	}
	want := []int64{10, 60, 160, 360, 760, 1560, 2560, 3560}
	for k, w := range want {
		if k >= len(at) || at[k] != w {
			t.Fatalf("LSPs after %v ms, want %v...", at, want)
		}
	}
	p.wait(5 * second)
	before := p.inst.Counters().Originations
	p.step(SetOverload{On: true})
	if p.inst.Counters().Originations != before+1 {
		t.Error("not at once after a quiet time")
	}
}

// Stations that come and go all the time do not delay what is said about a
// link, and links that flap are slowed down by themselves.
func TestLSPBackoffOfLinks(t *testing.T) {
	p := newPeer(t, nil).up()
	p.wait(10 * second)
	for n := range 500 {
		p.step(SetEndStations{Stations: manyStations(n % 7)})
		p.now = p.now.Add(10 * millisecond)
	}
	if left := p.inst.own.spacing.until.Sub(p.now); left < 200*millisecond {
		t.Fatalf("the churn is held down for %d ms only", left/millisecond)
	}
	before := p.inst.Counters().Originations
	p.step(tsn.LinkChanged{Port: 1})
	if len(p.lspsSent(2)) == 0 {
		t.Error("the loss of a link was not told at once")
	}
	for range 500 { // one more adjacency change every 10 ms
		p.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
		p.receive(1, p.hello(1, isispdu.Initializing))
		p.now = p.now.Add(10 * millisecond)
		p.step(tsn.LinkChanged{Port: 1})
	}
	if n := p.inst.Counters().Originations - before; n > 12 {
		t.Errorf("%d LSPs in 5 s", n)
	}
}

// RFC 7987 s3.2: an LSP that comes nearly dead over an adjacency that is old
// enough is reported, and lives on.
func TestCorruptLifetime(t *testing.T) {
	p := newPeer(t, nil).up()
	l := p.lsp(5, 1, "x")
	l.RemainingLifetime = 59
	p.receive(1, l)
	if p.inst.Counters().CorruptLifetimes != 0 {
		t.Error("reported on a young adjacency")
	}
	p.wait(61 * second)
	l.SequenceNumber = 2
	p.receive(1, l)
	if p.inst.Counters().CorruptLifetimes != 1 || len(p.notices) != 1 || p.notices[0].Kind != NoticeCorruptLifetime || p.notices[0].Port != tsn.Port(1) {
		t.Errorf("%d, %v", p.inst.Counters().CorruptLifetimes, p.notices)
	}
}

// Why a bridge is overloaded is known at every node, and gone with it.
func TestOverloadReasonSpreads(t *testing.T) {
	l := newLab(t, 3, line(3), nil)
	l.allUp()
	l.run(2 * second)
	says := func(want string) {
		t.Helper()
		l.run(second)
		for k, n := range l.nodes {
			if got := n.Nodes()[0]; got.OverloadReason != want || got.Overload != (want != "") {
				t.Errorf("b%d knows of b1: %t %q, want %q", k+1, got.Overload, got.OverloadReason, want)
			}
		}
	}
	says("")
	l.step(0, SetOverload{On: true, Reason: "fan 2 failed"})
	says("fan 2 failed")
	l.step(0, SetOverload{On: true, Reason: strings.Repeat("ö", 300)})
	says(strings.Repeat("ö", maxReason/2))
	l.step(0, SetOverload{})
	says("")
	for _, v := range [][]byte{{0xff}, make([]byte, maxReason+1)} {
		if why, ok := parseOverload(v); ok {
			t.Errorf("%x is %q", v, why)
		}
	}
	l.checkForwarding()
}
