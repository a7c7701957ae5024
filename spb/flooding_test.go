package spb

import (
	"math"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// ISO/IEC 10589 7.3.15.1 e): a newer LSP is stored, sent on every other
// circuit, and acknowledged where it came from.
func TestNewLSPIsFlooded(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	if got := p.lspsSent(2); len(got) != 1 || got[0].SequenceNumber != 3 {
		t.Errorf("port 2: %v", got)
	}
	if got := p.lspsSent(1); len(got) != 0 {
		t.Errorf("sent back: %v", got)
	}
	p.wait(50 * millisecond)
	if got := p.psnpSent(1); len(got) != 1 || got[0].SequenceNumber != 3 {
		t.Errorf("acknowledgement: %v", got)
	}
}

// The same again is acknowledged only; an older one is answered with ours.
func TestOldLSP(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	p.wait(50 * millisecond)
	p.receive(1, p.lsp(5, 3, "b6"))
	if len(p.lspsSent(1))+len(p.lspsSent(2)) != 0 {
		t.Errorf("duplicate was flooded: %v", p.sent)
	}
	p.wait(50 * millisecond)
	if got := p.psnpSent(1); len(got) != 1 {
		t.Errorf("acknowledgement: %v", got)
	}
	p.receive(1, p.lsp(5, 2, "old"))
	if got := p.lspsSent(1); len(got) != 1 || got[0].SequenceNumber != 3 {
		t.Errorf("answer: %v", got)
	}
}

// 7.3.15.5: an LSP is sent again until a PSNP acknowledges it.
func TestRetransmission(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.RetransmitInterval = 5 * second }).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	p.wait(5 * second)
	if got := p.lspsSent(2); len(got) != 1 {
		t.Fatalf("not sent again: %v", got)
	}
	e := p.lsp(5, 3, "b6")
	if _, err := e.Seal(); err != nil {
		t.Fatal(err)
	}
	p.receive(2, &isispdu.PSNP{Source: isispdu.MakeNodeID(nodeMAC(2)), TLVs: []isispdu.TLV{&isispdu.LSPEntries{Entries: []isispdu.LSPEntry{e.Entry()}}}})
	p.wait(20 * second)
	if got := p.lspsSent(2); len(got) != 0 {
		t.Errorf("sent after the acknowledgement: %v", got)
	}
	if n := p.inst.Counters().Retransmissions; n != 1 {
		t.Errorf("%d retransmissions", n)
	}
}

// 7.3.15.2: a CSNP that lacks what we have makes us send it; one that lists
// what we lack, or a newer one, makes us ask.
func TestCSNP(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	p.wait(50 * millisecond)
	p.receive(2, &isispdu.CSNP{Source: isispdu.MakeNodeID(nodeMAC(2)), End: isispdu.MaxLSPID, TLVs: []isispdu.TLV{&isispdu.LSPEntries{Entries: []isispdu.LSPEntry{
		{RemainingLifetime: 900, ID: isispdu.MakeLSPID(nodeMAC(5), 0), SequenceNumber: 4, Checksum: 1},
		{RemainingLifetime: 900, ID: isispdu.MakeLSPID(nodeMAC(6), 0), SequenceNumber: 9, Checksum: 1},
		{RemainingLifetime: 0, ID: isispdu.MakeLSPID(nodeMAC(7), 0), SequenceNumber: 9, Checksum: 1},
	}}}})
	if got := p.lspsSent(2); len(got) != 1 || got[0].ID.System() != nodeMAC(0) {
		t.Errorf("sent %v, want our own LSP", got)
	}
	got := p.psnpSent(2)
	if len(got) != 2 || got[0].SequenceNumber != 3 || got[1].ID.System() != nodeMAC(6) || got[1].SequenceNumber != 0 {
		t.Errorf("asked %v", got)
	}
}

// CSNPs describe a large database in ranges without a gap.
func TestCSNPRanges(t *testing.T) {
	p := newPeer(t, nil).up()
	for n := range 250 {
		p.receive(1, p.lsp(n+5, 1, "x"))
	}
	p.wait(11 * second)
	var entries, next int
	var want isispdu.LSPID
	for _, pdu := range p.sent[2] {
		c, ok := pdu.(*isispdu.CSNP)
		if !ok || entries >= 251 {
			continue
		}
		if c.Start != want {
			t.Errorf("range %d starts at %s, want %s", next, c.Start, want)
		}
		for _, e := range isispdu.All[*isispdu.LSPEntries](c.TLVs) {
			entries += len(e.Entries)
		}
		next++
		if c.End != isispdu.MaxLSPID {
			want = successor(c.End)
		}
	}
	if entries != 251 || next != 4 {
		t.Errorf("%d entries in %d CSNPs", entries, next)
	}
}

// 7.3.16.4: a purge replaces the LSP, is flooded, and is forgotten after
// ZeroAgeLifetime; a purge of what we do not have is acknowledged only.
func TestPurge(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	purge := &isispdu.LSP{ID: isispdu.MakeLSPID(nodeMAC(5), 0), SequenceNumber: 3, Flags: isispdu.FlagLevel1}
	p.receive(1, purge)
	if got := p.lspsSent(2); len(got) != 1 || got[0].RemainingLifetime != 0 {
		t.Errorf("flooded %v", got)
	}
	if d, ok := p.stored(5); !ok || d.RemainingLifetime != 0 {
		t.Errorf("%+v", d)
	}
	p.wait(61 * second)
	if _, ok := p.stored(5); ok {
		t.Error("still there after ZeroAgeLifetime")
	}
	p.receive(1, purge)
	if got := p.psnpSent(1); len(got) != 1 || len(p.lspsSent(2)) != 0 {
		t.Errorf("acknowledged %v, flooded %v", got, p.lspsSent(2))
	}
	if _, ok := p.stored(5); ok {
		t.Error("a purge of an unknown LSP was kept")
	}
}

// 7.3.16.2: the same sequence number with other content ends that LSP.
func TestConfusion(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(5, 3, "b6"))
	p.receive(2, p.lsp(5, 3, "other"))
	if d, _ := p.stored(5); d.RemainingLifetime != 0 {
		t.Errorf("%+v", d)
	}
}

// RFC 7987: a small lifetime on the wire does not make an LSP die early.
func TestRemainingLifetime(t *testing.T) {
	p := newPeer(t, nil).up()
	l := p.lsp(5, 3, "b6")
	l.RemainingLifetime = 1
	p.receive(1, l)
	p.wait(1190 * second)
	if d, ok := p.stored(5); !ok || d.RemainingLifetime == 0 {
		t.Errorf("%+v", d)
	}
	p.wait(11 * second)
	if d, ok := p.stored(5); !ok || d.RemainingLifetime != 0 {
		t.Errorf("after MaxAge: %+v", d)
	}
}

// 7.3.16.1: our own LSP with a higher number is overtaken; an own fragment
// that we do not use is purged; a purge of our LSP is answered by a newer one.
func TestOwnLSP(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(0, 500, "earlier life"))
	if got := p.lspsSent(1); len(got) != 1 || got[0].SequenceNumber != 501 {
		t.Errorf("overtaken by %v", got)
	}
	frag := p.lsp(0, 7, "earlier life")
	frag.ID = isispdu.MakeLSPID(nodeMAC(0), 9)
	p.receive(1, frag)
	if got := p.lspsSent(1); len(got) != 1 || got[0].ID != frag.ID || got[0].RemainingLifetime != 0 {
		t.Errorf("unused fragment: %v", got)
	}
	p.wait(100 * millisecond)
	p.receive(1, &isispdu.LSP{ID: isispdu.MakeLSPID(nodeMAC(0), 0), SequenceNumber: 501, Flags: isispdu.FlagLevel1})
	p.wait(100 * millisecond)
	if got := p.lspsSent(1); len(got) != 1 || got[0].SequenceNumber != 502 || got[0].RemainingLifetime == 0 {
		t.Errorf("purged: %v", got)
	}
}

// 7.3.16.1: when the numbers run out the node is silent until all copies are gone.
func TestSequenceExhausted(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receive(1, p.lsp(0, math.MaxUint32, "earlier life"))
	if d, _ := p.stored(0); d.RemainingLifetime != 0 {
		t.Errorf("%+v", d)
	}
	p.wait(1262 * second)
	if d, ok := p.stored(0); !ok || d.RemainingLifetime == 0 || d.SequenceNumber != 1 {
		t.Errorf("%+v", d)
	}
}

// LSPHoldDown: the first change is flooded at once, the next ones together.
func TestLSPHoldDown(t *testing.T) {
	p := newPeer(t, nil).up()
	before := p.inst.Counters().Originations
	for n := range 10 {
		p.step(SetOverload{On: n%2 == 0})
	}
	if n := p.inst.Counters().Originations - before; n != 1 {
		t.Errorf("%d LSPs at once", n)
	}
	p.wait(second)
	if n := p.inst.Counters().Originations - before; n != 2 {
		t.Errorf("%d LSPs in all", n)
	}
}

// Every reason to drop has its counter, and nothing else changes.
func TestDrops(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.Caps.MaxLSPs = 3 }).up()
	digest := p.inst.DatabaseDigest()
	sealed := func(l *isispdu.LSP) []byte {
		b, err := l.Seal()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	frame := func(src tsn.MAC, pdu []byte) []byte { return isispdu.AppendFrame(nil, isispdu.AllISs, src, pdu) }
	good := sealed(p.lsp(5, 3, "b6"))
	badSum := append([]byte{}, good...)
	badSum[len(badSum)-1] ^= 1
	lan, _ := (&isispdu.Other{Kind: isispdu.TypeL1LANIIH, Fixed: make([]byte, 19)}).Append(nil)
	noType := append([]byte{}, good...)
	noType[4] = 21
	short := frame(nodeMAC(1), good)
	csnp, _ := (&isispdu.CSNP{Source: isispdu.MakeNodeID(nodeMAC(40))}).Append(nil)
	for name, c := range map[string]struct {
		port    tsn.Port
		frame   []byte
		counter func(*DropCounters) *uint64
	}{
		"edge port":  {edgePort, short, func(d *DropCounters) *uint64 { return &d.NotFabricPort }},
		"truncated":  {1, short[:40], func(d *DropCounters) *uint64 { return &d.Malformed }},
		"garbage":    {1, frame(nodeMAC(1), []byte{0x83, 1}), func(d *DropCounters) *uint64 { return &d.Malformed }},
		"LAN hello":  {1, frame(nodeMAC(1), lan), func(d *DropCounters) *uint64 { return &d.Unsupported }},
		"PDU 21":     {1, frame(nodeMAC(1), noType), func(d *DropCounters) *uint64 { return &d.Unsupported }},
		"own source": {1, frame(nodeMAC(0), good), func(d *DropCounters) *uint64 { return &d.OwnFrame }},
		"checksum":   {1, frame(nodeMAC(1), badSum), func(d *DropCounters) *uint64 { return &d.BadChecksum }},
		"sequence 0": {1, frame(nodeMAC(1), sealed(p.lsp(5, 0, "b6"))), func(d *DropCounters) *uint64 { return &d.BadLSP }},
		"SNP source": {1, frame(nodeMAC(1), csnp), func(d *DropCounters) *uint64 { return &d.SNPSource }},
	} {
		before := p.inst.Counters().Drops
		p.step(tsn.Received{Port: c.port, Frame: c.frame})
		after := p.inst.Counters().Drops
		*c.counter(&before)++
		if before != after {
			t.Errorf("%s: counters\n%+v, want\n%+v", name, after, before)
		}
	}
	if p.inst.DatabaseDigest() != digest {
		t.Error("the database changed")
	}
	for n := range 4 { // own LSP + 2 fit
		p.receive(1, p.lsp(5+n, 1, "x"))
	}
	if c := p.inst.Counters().Drops; c.DatabaseFull != 2 || p.inst.Status().LSPs != 3 {
		t.Errorf("%d dropped, %d kept", c.DatabaseFull, p.inst.Status().LSPs)
	}
	p.step(tsn.LinkChanged{Port: 1, Up: false})
	p.step(tsn.LinkChanged{Port: 1, Up: true})
	p.step(tsn.Received{Port: 1, Frame: short})
	if n := p.inst.Counters().Drops.NoAdjacency; n != 1 {
		t.Errorf("%d LSPs dropped before Up", n)
	}
}

// A copy of what we have does the same whether it is recognised by its octets
// or decoded: it acknowledges, and is acknowledged. With any other octet it is
// no copy.
func TestCopy(t *testing.T) {
	p := newPeer(t, nil).up()
	l := p.lsp(5, 3, "b6")
	raw, err := l.Seal()
	if err != nil {
		t.Fatal(err)
	}
	frame := func(b []byte) tsn.Received {
		return tsn.Received{Port: 2, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(2), b)}
	}
	p.receive(1, l) // is flooded to port 2
	if len(p.inst.port(2).srm) != 1 {
		t.Fatalf("port 2: %v", p.inst.port(2).srm)
	}
	for at := range raw {
		b := append([]byte{}, raw...)
		b[at] ^= 0x40
		if copied := p.inst.receiveCopy(p.inst.port(2), b); copied != (at == 10 || at == 11) {
			t.Errorf("octet %d changed: a copy %t", at, copied)
		}
	}
	p = newPeer(t, nil).up()
	p.receive(1, l)
	isispdu.SetRemainingLifetime(raw, 17)
	p.step(frame(append(raw, 0, 0))) // with padding of the medium
	p.wait(50 * millisecond)
	if got := p.psnpSent(2); len(got) != 1 || got[0].SequenceNumber != 3 || len(p.inst.port(2).srm) != 0 {
		t.Errorf("acknowledged %v, flags %v", got, p.inst.port(2).srm)
	}
	if c := p.inst.Counters(); c.Received.LSP != 2 || c.Drops != (DropCounters{}) {
		t.Errorf("%+v %+v", c.Received, c.Drops)
	}
	isispdu.SetRemainingLifetime(raw, 0)
	p.step(frame(raw)) // a purge is news
	if d, _ := p.stored(5); d.RemainingLifetime != 0 {
		t.Errorf("%+v", d)
	}
}
