package spb

import (
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
	"tsnswitch/spb/isispdu"
)

// peer drives one instance by hand: fabric ports 1 and 2, with neighbours that
// exist only in the test.
type peer struct {
	t    testing.TB
	inst *Instance
	now  tsn.Instant
	// of the last step
	sent    map[tsn.Port][]isispdu.PDU
	notices []tsn.Notice
	state   *tsn.BridgeState
}

func peerConfig() Config {
	return Config{
		SystemID: nodeMAC(0), Priority: 0x8000, HostName: "b1", BaseVIDs: []BaseVID{{vidA, 1}},
		Ports:     []PortConfig{{Port: 1, Role: tsn.RoleFabric}, {Port: 2, Role: tsn.RoleFabric}, {Port: edgePort}},
		EdgeGuard: EdgeGuardConfig{Interval: -1},
	}
}

func newPeer(t testing.TB, change func(*Config)) *peer {
	cfg := peerConfig()
	if change != nil {
		change(&cfg)
	}
	inst, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, inst: inst}
	p.step(tsn.Timeout{})
	p.step(tsn.LinkChanged{Port: 1, Up: true, Rate: tsn.Gbps})
	p.step(tsn.LinkChanged{Port: 2, Up: true, Rate: tsn.Gbps})
	return p
}

func (p *peer) step(ev tsn.Event) {
	p.t.Helper()
	p.sent, p.notices = map[tsn.Port][]isispdu.PDU{}, nil
	p.follow(ev)
}

// follow is step, and then the kernel's answers.
func (p *peer) follow(ev tsn.Event) {
	p.t.Helper()
	var answers []Applied
	for _, e := range p.inst.Step(p.now, ev) {
		switch e := e.(type) {
		case tsn.Send:
			if _, typ, _, err := ctlframe.ParseEther(e.Frame); err == nil && typ > 1500 {
				continue
			}
			_, _, b, err := isispdu.ParseFrame(e.Frame)
			if err != nil {
				p.t.Fatal(err)
			}
			pdu, err := isispdu.Parse(b)
			if err != nil {
				p.t.Fatal(err)
			}
			if _, ok := pdu.(*isispdu.LSP); ok && !isispdu.ChecksumOK(b) {
				p.t.Fatal("LSP with a wrong checksum")
			}
			p.sent[e.Port] = append(p.sent[e.Port], pdu)
		case tsn.Notice:
			p.notices = append(p.notices, e)
		case Forwarding:
			p.state = &e.State
			answers = append(answers, Applied{Generation: e.Generation})
		}
	}
	for _, a := range answers {
		p.follow(a)
	}
}

// wait moves time to at least now+ns, stepping at every deadline, and keeps
// everything that was sent meanwhile.
func (p *peer) wait(ns int64) {
	p.t.Helper()
	until := p.now.Add(ns)
	all := map[tsn.Port][]isispdu.PDU{}
	for p.inst.Deadline() <= until {
		p.now = max(p.now, p.inst.Deadline())
		p.step(tsn.Timeout{})
		for port, s := range p.sent {
			all[port] = append(all[port], s...)
		}
	}
	p.now, p.sent = until, all
}

// receive hands the instance a PDU of the neighbour on a port.
func (p *peer) receive(port tsn.Port, pdu isispdu.PDU) {
	p.t.Helper()
	var b []byte
	var err error
	if l, ok := pdu.(*isispdu.LSP); ok {
		b, err = l.Seal()
	} else {
		b, err = pdu.Append(nil)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.step(tsn.Received{Port: port, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(int(port)), b)})
}

// hello is what the neighbour on a port sends in a state. Its own config is
// ours with another system id, so everything fits.
func (p *peer) hello(port tsn.Port, state isispdu.ThreeWayState) *isispdu.IIH {
	cfg := peerConfig()
	cfg.SystemID = nodeMAC(int(port))
	other, err := New(cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	h := other.makeIIH(other.port(1))
	tw, _ := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
	tw.State, tw.ExtendedLocalCircuitID = state, 7
	if state != isispdu.Down {
		tw.Fields, tw.NeighborSystemID, tw.NeighborCircuitID = 3, nodeMAC(0), uint32(port)
	}
	h.HoldingTime = 60000
	return h
}

// up brings the adjacencies of both ports up and lets the flooding settle.
func (p *peer) up() *peer {
	p.t.Helper()
	for port := tsn.Port(1); port <= 2; port++ {
		p.receive(port, p.hello(port, isispdu.Initializing))
		if s := p.inst.Neighbours()[port-1].State; s != "Up" {
			p.t.Fatalf("port %d is %s", port, s)
		}
	}
	p.wait(200 * millisecond)
	for _, port := range p.inst.ports { // the neighbours have everything
		clear(port.srm)
	}
	return p
}

// lsp is an LSP of another node in the network.
func (p *peer) lsp(node int, seq uint32, name string) *isispdu.LSP {
	return &isispdu.LSP{
		RemainingLifetime: 1000, ID: isispdu.MakeLSPID(nodeMAC(node), 0), SequenceNumber: seq, Flags: isispdu.FlagLevel1,
		TLVs: []isispdu.TLV{&isispdu.Hostname{Name: name}},
	}
}

// lspsSent lists what was sent on a port by LSP ID and sequence number.
func (p *peer) lspsSent(port tsn.Port) []isispdu.LSPEntry {
	var out []isispdu.LSPEntry
	for _, pdu := range p.sent[port] {
		if l, ok := pdu.(*isispdu.LSP); ok {
			out = append(out, l.Entry())
		}
	}
	return out
}

// psnpSent lists the entries of all PSNPs sent on a port.
func (p *peer) psnpSent(port tsn.Port) []isispdu.LSPEntry {
	var out []isispdu.LSPEntry
	for _, pdu := range p.sent[port] {
		if s, ok := pdu.(*isispdu.PSNP); ok {
			for _, t := range isispdu.All[*isispdu.LSPEntries](s.TLVs) {
				out = append(out, t.Entries...)
			}
		}
	}
	return out
}

func (p *peer) stored(node int) (LSPInfo, bool) {
	for _, d := range p.inst.Database() {
		if d.ID == isispdu.MakeLSPID(nodeMAC(node), 0) {
			return d, true
		}
	}
	return LSPInfo{}, false
}
