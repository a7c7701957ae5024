package spb

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// restartSent lists the restart TLVs of the hellos sent on a port.
func (p *peer) restartSent(port tsn.Port) (out []*isispdu.Restart) {
	for _, pdu := range p.sent[port] {
		if h, ok := pdu.(*isispdu.IIH); ok {
			r, ok := isispdu.Find[*isispdu.Restart](h.TLVs)
			if !ok {
				p.t.Error("RFC 8706 s3.2: the TLV MUST be in all hellos")
				continue
			}
			out = append(out, r)
		}
	}
	return out
}

func flagsOf(list []*isispdu.Restart) (out []uint8) {
	for _, r := range list {
		out = append(out, r.Flags)
	}
	return out
}

// restartHello is a hello of the neighbour on a port with a restart TLV.
func (p *peer) restartHello(port tsn.Port, state isispdu.ThreeWayState, r isispdu.Restart) *isispdu.IIH {
	h := p.hello(port, state)
	for k, t := range h.TLVs {
		if _, ok := t.(*isispdu.Restart); ok {
			h.TLVs[k] = &r
		}
	}
	return h
}

func (p *peer) ack(port tsn.Port, remaining uint16) *isispdu.IIH {
	return p.restartHello(port, isispdu.Up, isispdu.Restart{
		Flags: isispdu.RestartRA, Fields: 2, RemainingTime: remaining, NeighborSystemID: nodeMAC(0),
	})
}

func (p *peer) csnp(port tsn.Port, from, to isispdu.LSPID, entries ...isispdu.LSPEntry) *isispdu.CSNP {
	return &isispdu.CSNP{
		Source: isispdu.MakeNodeID(nodeMAC(int(port))), Start: from, End: to,
		TLVs: []isispdu.TLV{&isispdu.LSPEntries{Entries: entries}},
	}
}

// RFC 8706 s3.2.1 a: a restart request keeps the adjacency Up whatever the
// three-way TLV says; only the first one refreshes the holding time, and a hello
// without RR ends Restart mode.
func TestHelperKeepsAdjacency(t *testing.T) {
	p := newPeer(t, nil).up()
	rr := p.restartHello(1, isispdu.Initializing, isispdu.Restart{Flags: isispdu.RestartRR})
	rr.HoldingTime = 3
	tw, _ := isispdu.Find[*isispdu.ThreeWay](rr.TLVs)
	tw.Fields, tw.ExtendedLocalCircuitID = 1, 9 // it knows nothing about us, and numbers its ports anew
	before := p.inst.Counters()
	p.receive(1, rr)
	n := p.inst.Neighbours()[0]
	if n.State != "Up" || n.HoldRemainNS != 3*second || n.RemotePort != 9 || !n.Restarting {
		t.Errorf("after the first: %+v", n)
	}
	p.wait(2 * second)
	p.receive(1, rr)
	if n := p.inst.Neighbours()[0]; n.State != "Up" || n.HoldRemainNS != second {
		t.Errorf("after the second: %+v", n)
	}
	c := p.inst.Counters()
	if c.AdjacencyChanges != before.AdjacencyChanges || c.RestartsHelped != 1 {
		t.Errorf("%+v", c)
	}
	p.receive(1, p.hello(1, isispdu.Up)) // restart mode ends, so
	p.receive(1, rr)                     // the next request refreshes again
	if n := p.inst.Neighbours()[0]; n.HoldRemainNS != 3*second {
		t.Errorf("after another restart: %+v", n)
	}
	p.wait(4 * second)
	if n := p.inst.Neighbours()[0]; n.State != "Down" {
		t.Errorf("a neighbour that does not complete its restart: %+v", n)
	}
}

// s3.2.1 b and c: at once a hello with RA, the remaining time and what is
// known about the adjacency, then CSNPs, and all LSPs once these had time to be
// answered.
func TestHelperAnswers(t *testing.T) {
	p := newPeer(t, nil).up()
	rr := p.restartHello(1, isispdu.Down, isispdu.Restart{Flags: isispdu.RestartRR})
	rr.HoldingTime = 25
	p.receive(1, rr)
	if len(p.sent[1]) < 2 {
		t.Fatalf("sent %v", p.sent[1])
	}
	h, ok := p.sent[1][0].(*isispdu.IIH)
	if !ok {
		t.Fatal("the hello does not come first")
	}
	tw, _ := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
	if tw.State != isispdu.Up || tw.Fields != 3 || tw.NeighborSystemID != nodeMAC(1) || tw.NeighborCircuitID != 7 {
		t.Errorf("%s", tw)
	}
	if r := p.restartSent(1)[0]; *r != (isispdu.Restart{Flags: isispdu.RestartRA, Fields: 2, RemainingTime: 25, NeighborSystemID: nodeMAC(1)}) {
		t.Errorf("%s", r)
	}
	if c, ok := p.sent[1][1].(*isispdu.CSNP); !ok || c.End != isispdu.MaxLSPID {
		t.Errorf("then %v", p.sent[1][1])
	}
	p.wait(syncDelay)
	if got := p.lspsSent(1); len(got) != 1 {
		t.Errorf("LSPs %v", got)
	}
	p.wait(2 * second)
	for _, f := range flagsOf(p.restartSent(1)) {
		if f != 0 {
			t.Errorf("acknowledged again: flags %x", f)
		}
	}
}

// s3.2.1, last paragraph: without an adjacency that is Up the request is an
// ordinary hello, acknowledged all the same.
func TestHelperWithoutAdjacency(t *testing.T) {
	p := newPeer(t, nil)
	p.receive(1, p.restartHello(1, isispdu.Initializing, isispdu.Restart{Flags: isispdu.RestartRR}))
	if s := p.inst.Neighbours()[0].State; s != "Up" {
		t.Errorf("state %s", s)
	}
	if r := p.restartSent(1); len(r) == 0 || r[0].Flags != isispdu.RestartRA || r[0].NeighborSystemID != nodeMAC(1) {
		t.Errorf("%v", r)
	}
	if n := p.inst.Counters().RestartsHelped; n != 0 {
		t.Errorf("%d restarts helped", n)
	}
}

// s3.2: flags that do not go together are ignored.
func TestRestartFlagsInvalid(t *testing.T) {
	for flags := range uint8(32) {
		p := newPeer(t, nil).up()
		h := p.restartHello(1, isispdu.Down, isispdu.Restart{Flags: flags, Fields: 2, RemainingTime: 5, NeighborSystemID: nodeMAC(0)})
		p.receive(1, h)
		want := "Initializing" // what an ordinary hello in state Down leads to
		if flags == isispdu.RestartRR || flags == isispdu.RestartRR|isispdu.RestartSA {
			want = "Up"
		}
		if s := p.inst.Neighbours()[0].State; s != want {
			t.Errorf("flags %05b: %s, want %s", flags, s, want)
		}
	}
}

// s3.2.2: an adjacency with SA is neither advertised nor used until a hello
// without it comes.
func TestSuppress(t *testing.T) {
	p := newPeer(t, nil)
	p.receive(1, p.restartHello(1, isispdu.Initializing, isispdu.Restart{Flags: isispdu.RestartSA}))
	p.receive(2, p.hello(2, isispdu.Initializing))
	p.wait(200 * millisecond)
	links := func() int {
		return len(p.inst.ownNeighbors())
	}
	if n := p.inst.Neighbours()[0]; n.State != "Up" || !n.Suppressed || links() != 1 || p.inst.port(1).inUse() {
		t.Errorf("%+v, %d links", n, links())
	}
	p.receive(1, p.hello(1, isispdu.Up))
	if n := p.inst.Neighbours()[0]; n.State != "Up" || n.Suppressed || links() != 2 || !p.inst.port(1).inUse() {
		t.Errorf("released: %+v, %d links", n, links())
	}
	p.receive(1, p.restartHello(1, isispdu.Up, isispdu.Restart{Flags: isispdu.RestartSA}))
	if links() != 1 {
		t.Errorf("suppressed again: %d links", links())
	}
	p.step(tsn.LinkChanged{Port: 1})
	p.step(tsn.LinkChanged{Port: 1, Up: true})
	p.receive(1, p.hello(1, isispdu.Initializing))
	if links() != 2 {
		t.Errorf("a new adjacency: %d links", links())
	}
}

func restartingPeer(t testing.TB) *peer {
	return newPeer(t, func(c *Config) { c.StartupHold = 10 * second })
}

// s3.3.1: a restarting node asks at once, as if Initializing, again every T1,
// and stops after some tries.
func TestRestartAsks(t *testing.T) {
	p := restartingPeer(t)
	h, _ := p.sent[2][0].(*isispdu.IIH)
	if h == nil {
		t.Fatal("no hello when the link came up")
	}
	tw, _ := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
	if r := p.restartSent(2); tw.State != isispdu.Initializing || r[0].Flags != isispdu.RestartRR {
		t.Errorf("%s %s", tw, r[0])
	}
	p.wait(1499 * millisecond)
	for _, f := range flagsOf(p.restartSent(1)) {
		if f != isispdu.RestartRR {
			t.Errorf("flags %x while T1 runs", f)
		}
	}
	if n := len(p.restartSent(1)); n < 4 {
		t.Errorf("asked %d times", n)
	}
	p.wait(5 * second)
	for _, f := range flagsOf(p.restartSent(1))[1:] {
		if f != 0 {
			t.Errorf("flags %x after T1 gave up", f)
		}
	}
	if len(p.inst.Database()) != 0 || p.state != nil {
		t.Error("alone, but said something before T2")
	}
	p.wait(5 * second)
	if len(p.inst.Database()) != 1 || p.state == nil {
		t.Error("nothing after T2")
	}
}

// s3.3.1: RA brings the adjacency Up at once; T1 ends only with the
// acknowledgement and a whole CSNP set, in either order.
func TestRestartReacquires(t *testing.T) {
	low, high := isispdu.MakeLSPID(nodeMAC(5), 0), isispdu.MaxLSPID
	for name, steps := range map[string][]func(p *peer){
		"RA first": {
			func(p *peer) { p.receive(1, p.ack(1, 3)) },
			func(p *peer) { p.receive(1, p.csnp(1, isispdu.LSPID{}, low)) },
			func(p *peer) { p.receive(1, p.csnp(1, successor(low), high)) },
		},
		"CSNPs first": {
			func(p *peer) { p.receive(1, p.hello(1, isispdu.Up)) },
			func(p *peer) { p.receive(1, p.csnp(1, isispdu.LSPID{}, high)) },
			func(p *peer) { p.receive(1, p.ack(1, 3)) },
		},
	} {
		p := restartingPeer(t)
		for k, step := range steps {
			if p.inst.port(1).acq.t1 == tsn.Never {
				t.Fatalf("%s: T1 was cancelled before step %d", name, k)
			}
			step(p)
			if s := p.inst.Neighbours()[0].State; s != "Up" {
				t.Errorf("%s, step %d: %s", name, k, s)
			}
		}
		if p.inst.port(1).acq.t1 != tsn.Never {
			t.Errorf("%s: T1 still runs", name)
		}
	}
	// A gap is no whole set.
	p := restartingPeer(t)
	p.receive(1, p.ack(1, 3))
	p.receive(1, p.csnp(1, successor(low), high))
	if p.inst.port(1).acq.t1 == tsn.Never {
		t.Error("T1 was cancelled by the second half of a set")
	}
}

// s3.3.1: a neighbour that does not know restarts has not noticed: a normal
// hello in state Down makes it begin anew.
func TestRestartBesideOldNeighbour(t *testing.T) {
	p := restartingPeer(t)
	h := p.hello(1, isispdu.Up)
	h.TLVs = h.TLVs[:len(h.TLVs)-1]
	if _, ok := isispdu.Find[*isispdu.Restart](h.TLVs); ok {
		t.Fatal("the TLV is elsewhere")
	}
	p.receive(1, h)
	sent, _ := p.sent[1][0].(*isispdu.IIH)
	tw, _ := isispdu.Find[*isispdu.ThreeWay](sent.TLVs)
	if r := p.restartSent(1); tw.State != isispdu.Down || r[0].Flags != 0 || p.inst.Neighbours()[0].State != "Down" {
		t.Errorf("%s %s", tw, r[0])
	}
}

// s3.4: the database is synchronised when everything listed has come; only
// then own LSPs and forwarding follow, and own LSPs of the life before are
// kept, not purged.
func TestRestartSynchronises(t *testing.T) {
	p := restartingPeer(t)
	old := p.lsp(0, 40, "b1")
	other := p.lsp(5, 3, "b6")
	if _, err := old.Seal(); err != nil {
		t.Fatal(err)
	}
	for port := tsn.Port(1); port <= 2; port++ {
		p.receive(port, p.ack(port, 30))
		p.receive(port, p.csnp(port, isispdu.LSPID{}, isispdu.MaxLSPID, old.Entry(), isispdu.LSPEntry{RemainingLifetime: 900, ID: other.ID, SequenceNumber: 3, Checksum: 5}))
		if len(p.psnpSent(port)) != 2 {
			t.Errorf("port %d: asked for %v", port, p.psnpSent(port))
		}
	}
	p.receive(1, old)
	if len(p.lspsSent(1))+len(p.lspsSent(2)) != 0 || p.state != nil {
		t.Error("spoke before everything had come")
	}
	if s := p.inst.Status(); s.Restart != "restarting" {
		t.Errorf("%+v", s)
	}
	p.receive(2, other)
	if got := p.lspsSent(2); len(got) == 0 || got[0].SequenceNumber != 41 {
		t.Errorf("own LSP: %v", got)
	}
	if s := p.inst.Status(); s.Restart != "" || s.Overload {
		t.Errorf("%+v", s)
	}
}

// s3.4.1.1: T3, the least of the neighbours' remaining times, ends the silence
// with the overload bit set until T2.
func TestRestartT3(t *testing.T) {
	p := restartingPeer(t)
	p.receive(1, p.ack(1, 4))
	p.receive(2, p.ack(2, 6))
	p.receive(2, p.csnp(2, isispdu.LSPID{}, isispdu.MaxLSPID))
	p.wait(3900 * millisecond)
	if len(p.inst.Database()) != 0 {
		t.Fatal("too early")
	}
	p.wait(200 * millisecond)
	if len(p.inst.Database()) != 1 || !p.overloadBit() || p.state == nil {
		t.Errorf("after T3: %d LSPs, state %v", len(p.inst.Database()), p.state)
	}
	for _, f := range flagsOf(p.restartSent(1)) {
		if f != 0 {
			t.Errorf("flags %x after T3", f)
		}
	}
	p.wait(6 * second)
	if p.overloadBit() {
		t.Error("overloaded after T2")
	}
}

// s3.3.2, s3.4.1.2: a starting node asks its neighbours to hold the link back
// and sets the overload bit until it is synchronised.
func TestStarting(t *testing.T) {
	p := newPeer(t, func(c *Config) { c.SuppressOnStart = 10 * second })
	if r := p.restartSent(2); len(r) != 1 || r[0].Flags != isispdu.RestartSA || !p.overloadBit() {
		t.Errorf("%v, overload %t", r, p.overloadBit())
	}
	p.receive(1, p.hello(1, isispdu.Initializing))
	if r := p.restartSent(1); len(r) == 0 || r[0].Flags != isispdu.RestartSA {
		t.Errorf("when Up: %v", r)
	}
	p.receive(1, p.csnp(1, isispdu.LSPID{}, isispdu.MaxLSPID))
	p.wait(310 * millisecond)
	if f := flagsOf(p.restartSent(1)); len(f) == 0 || f[len(f)-1] != isispdu.RestartSA|isispdu.RestartRR {
		t.Errorf("when T1 expires: %x", f)
	}
	p.receive(1, p.ack(1, 30))
	if f := flagsOf(p.restartSent(1)); len(f) == 0 || f[len(f)-1] != 0 {
		t.Errorf("synchronised: %x", f)
	}
	p.wait(second)
	if p.overloadBit() || p.inst.Status().Restart != "" {
		t.Errorf("synchronised: overload %t, %+v", p.overloadBit(), p.inst.Status())
	}
	// T2 ends it without a neighbour's help.
	p = newPeer(t, func(c *Config) { c.SuppressOnStart = 2 * second })
	p.receive(1, p.hello(1, isispdu.Initializing))
	p.wait(2100 * millisecond)
	if p.overloadBit() || p.inst.Status().Restart != "" {
		t.Errorf("T2: overload %t, %+v", p.overloadBit(), p.inst.Status())
	}
}

// A whole network in which every bridge restarts in turn, and every tenth frame from
// and to it is lost: no adjacency changes at a neighbour.
func TestRestartInNetwork(t *testing.T) {
	for seed := range uint64(10) {
		l := newLab(t, 6, random(seed, 6, 4), func(_ int, c *Config) { c.StartupHold = 3 * second })
		l.allUp()
		l.run(5 * second)
		l.checkForwarding()
		r := prng{seed}
		for k := range l.nodes {
			l.tap = func(from int, s tsn.Send) bool {
				to, _, _ := l.peer(from, s.Port)
				return (from != k && to != k) || r.below(10) > 0
			}
			changes := l.changesBut(k)
			l.start(k)
			for _, link := range l.links {
				for side := range 2 {
					if link.node[side] == k {
						l.step(k, tsn.LinkChanged{Port: link.port[side], Up: true, Rate: tsn.Gbps})
					}
				}
			}
			l.run(2 * second)
			l.tap = nil
			l.run(3 * second)
			if got := l.changesBut(k); got != changes {
				t.Errorf("seed %d: %d adjacency changes while b%d restarted", seed, got-changes, k+1)
			}
		}
		l.run(12 * second)
		l.sameDatabases()
		l.checkForwarding()
	}
}

// changesBut counts the adjacency changes of all nodes but one.
func (l *lab) changesBut(k int) (n uint64) {
	for j, node := range l.nodes {
		if j != k {
			n += node.Counters().AdjacencyChanges
		}
	}
	return n
}
