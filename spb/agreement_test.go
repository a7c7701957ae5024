package spb

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// serviceLab is a lab in which every node transmits to and receives one
// service, so that each has a group entry for every source.
func serviceLab(t testing.TB, n int, links [][2]int, change func(k int, c *Config)) *lab {
	return newLab(t, n, links, func(k int, c *Config) {
		c.Services = []Service{{ISID: testISID, VID: vidA, Transmit: true, Receive: true, Ports: []tsn.Port{edgePort}}}
		if change != nil {
			change(k, c)
		}
	})
}

const testISID = 0x10001

// group is the entry of node k for the frames of source s.
func (l *lab) group(k, s int) []tsn.Port {
	want := GroupAddress(l.nodes[s].sourceID.value, testISID)
	for _, e := range l.nodes[k].state.MDB {
		if e.VID == vidA && e.Group == want {
			return e.Ports
		}
	}
	return nil
}

// 802.1Q 28.4: the digest is the number of edges and the arithmetic sum of one
// MD5 for each, checked against an addition of any size.
func TestAgreementDigestSum(t *testing.T) {
	l := serviceLab(t, 12, random(3, 12, 9), nil)
	l.allUp()
	l.run(3 * second)
	top := &l.nodes[0].top
	sum, edges := new(big.Int), 0
	for u := range top.nodes {
		var m [12]byte
		copy(m[:], top.graph.id[u][:])
		binary.BigEndian.PutUint32(m[8:], top.nodes[u].source)
		d := md5.Sum(m[:])
		sum.Add(sum, new(big.Int).SetBytes(d[:]))
		for _, a := range top.nodes[u].addrs {
			d := claimDigest(top.graph.id[u], a)
			sum.Add(sum, new(big.Int).SetBytes(d[:]))
		}
		for _, e := range top.graph.edges[top.graph.first[u]:top.graph.first[u+1]] {
			if int(e.to) > u {
				d := top.graph.edgeDigest(int32(u), e)
				sum.Add(sum, new(big.Int).SetBytes(d[:]))
				edges++
			}
		}
	}
	got := top.digest()
	if new(big.Int).SetBytes(got[12:]).Cmp(sum) != 0 || int(binary.BigEndian.Uint16(got[2:])) != edges || got[1] != digestConvention {
		t.Errorf("%x, want %d edges, sum %x", got, edges, sum)
	}
	for k := range l.nodes {
		if d := l.nodes[k].top.digest(); d != got {
			t.Errorf("b%d has %x, b1 %x", k+1, d, got)
		}
	}
}

// The digest covers all that trees and group addresses depend on.
func TestAgreementDigestCovers(t *testing.T) {
	base := func() *topology {
		top := &topology{nodes: make([]node, 3), connected: []bool{true, true, true}}
		ids := []tsn.BridgeID{{0x80, 0, 1}, {0x80, 0, 2}, {0x80, 0, 3}}
		for u, id := range ids {
			top.nodes[u] = node{bridgeID: id, spb: true}
		}
		top.graph = graph{
			id: ids, transit: []bool{true, true, true}, first: []int32{0, 1, 3, 4},
			edges: []edge{{1, 10, 1, 2}, {0, 10, 2, 1}, {2, 20, 3, 4}, {1, 20, 4, 3}},
		}
		return top
	}
	want := base().digest()
	if base().digest() != want {
		t.Fatal("not the same twice")
	}
	for name, change := range map[string]func(*topology){
		"metric":   func(x *topology) { x.graph.edges[0].metric, x.graph.edges[1].metric = 11, 11 },
		"port":     func(x *topology) { x.graph.edges[0].port, x.graph.edges[1].farPort = 9, 9 },
		"overload": func(x *topology) { x.graph.transit[1] = false },
		"priority": func(x *topology) { x.graph.id[2][0] = 0x70 },
		"link":     func(x *topology) { x.graph.first, x.graph.edges = []int32{0, 1, 2, 2}, x.graph.edges[:2] },
		"source":   func(x *topology) { x.nodes[0].source = 7 },
		"bare":     func(x *topology) { x.nodes[0].bare = true },
		"station": func(x *topology) {
			x.nodes[0].claimSum = digestSum{}.add(claimDigest(x.graph.id[0], bMAC{mac: stationMAC(0), vid: vidA}))
		},
	} {
		x := base()
		if change(x); x.digest() == want {
			t.Errorf("%s does not change the digest", name)
		}
	}
}

// 802.1Q 13.17, RFC 6329 s4.3: entries that change are gone before the digest
// of the new graph is told, and come only when the neighbours have told it too.
func TestWithdrawBeforeInstall(t *testing.T) {
	l := serviceLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(5 * second)
	for k := range l.nodes {
		for s := range l.nodes {
			if g := l.group(k, s); len(g) == 0 || g[0] == tsn.NoPort && k != s {
				t.Fatalf("b%d: entry for b%d is %v", k+1, s+1, g)
			}
		}
	}
	before := l.nodes[0].state
	l.nodes[0].history = nil
	cut := l.now
	l.setLink(0, false) // b1-b2
	l.run(second)
	h := l.nodes[0].history
	if len(h) < 2 {
		t.Fatalf("%d states", len(h))
	}
	// The first state holds no group port that the state before did not.
	for _, e := range h[0].State.MDB {
		old := tsn.MDBEntry{}
		for _, o := range before.MDB {
			if compareGroupEntry(o, e) == 0 {
				old = o
			}
		}
		for _, p := range e.Ports {
			if p != tsn.NoPort && !slices.Contains(old.Ports, p) {
				t.Errorf("group %s got port %d before anybody agreed", e.Group, p)
			}
		}
	}
	if flooding(h[0].State) {
		t.Error("broadcast goes on while places differ")
	}
	last := h[len(h)-1]
	if !flooding(last.State) || slices.Contains(l.group(0, 1), tsn.NoPort) {
		t.Errorf("not installed in the end: %+v", last.State)
	}
	if took := l.nodes[0].changedAt.Sub(cut); took > 20*millisecond {
		t.Errorf("installed after %d us", took/1000)
	}
	l.checkForwarding()
}

// flooding reports whether any fabric port takes part in broadcast.
func flooding(s tsn.BridgeState) bool {
	return slices.ContainsFunc(s.Ports, func(p tsn.BridgePort) bool { return p.Role == tsn.RoleFabric && p.BcastFlood })
}

// A kernel that does not answer, or refuses: its bridge never says that it has
// withdrawn anything, so the neighbours install nothing beside it.
func TestNoAnswerNoAgreement(t *testing.T) {
	for _, answer := range []string{silent, "no room"} {
		l := serviceLab(t, 3, ring(3), nil)
		l.allUp()
		l.run(5 * second)
		l.nodes[0].kernelErr = answer
		l.setLink(2, false) // b3-b1
		l.run(10 * second)
		if l.nodes[2].Agreement().Pending {
			t.Errorf("%s: b3 is no neighbour of b1 any more and waits", answer)
		}
		for k := range 2 {
			if a := l.nodes[k].Agreement(); !a.Pending {
				t.Errorf("%s: b%d: %+v", answer, k+1, a)
			}
		}
		if w := l.nodes[1].Agreement().Waiting; !slices.Equal(w, []tsn.MAC{nodeMAC(0)}) {
			t.Errorf("%s: b2 waits for %v", answer, w)
		}
		if p := l.group(1, 0); slices.Contains(p, 2) {
			t.Errorf("%s: b2 sends b1's frames on to b3", answer)
		}
		if !slices.ContainsFunc(l.log, func(s string) bool { return bytes.Contains([]byte(s), []byte(NoticeNoAgreement)) }) {
			t.Errorf("%s: nobody said so", answer)
		}
		l.nodes[0].kernelErr = ""
		l.step(0, Applied{Generation: l.nodes[0].history[len(l.nodes[0].history)-1].Generation})
		l.run(second)
		for k := range l.nodes {
			if l.nodes[k].Agreement().Pending {
				t.Errorf("%s: b%d still waits", answer, k+1)
			}
		}
		l.checkForwarding()
	}
}

// RFC 6329 s13.2: D echoes A. An agreement needs the echo of the number that
// the own digest has now, and a number out of turn is an old hello.
func TestExchangeNumbers(t *testing.T) {
	l := serviceLab(t, 2, line(2), nil)
	l.allUp()
	l.run(3 * second)
	n := l.nodes[0]
	p := n.port(1)
	if !n.agrees(p) {
		t.Fatal("no agreement to begin with")
	}
	hello := func(number, echo uint8) []isispdu.TLV {
		d := &isispdu.SPBDigest{Flags: 1<<4 | number<<2 | echo, Agreement: bytes.Clone(n.agree.digest[:])}
		return []isispdu.TLV{&isispdu.MTPortCap{SubTLVs: []isispdu.TLV{d}}}
	}
	number, theirs := p.exchange.number, p.exchange.theirNumber
	p.exchange.echoed = false
	n.receiveDigest(p, hello(theirs, number-1&3))
	if n.agrees(p) {
		t.Error("agreed on the echo of an older number")
	}
	stale := n.counters.Drops.StaleDigest
	for k := range maxStale - 1 {
		n.receiveDigest(p, hello(theirs-1&3, number))
		if n.agrees(p) || n.counters.Drops.StaleDigest != stale+uint64(k)+1 {
			t.Fatal("took a hello out of turn")
		}
	}
	n.receiveDigest(p, hello(theirs-1&3, number))
	if !n.agrees(p) {
		t.Error("insists on a number that the neighbour does not have")
	}
	n.receiveDigest(p, hello(theirs, number))
	if p.exchange.theirNumber != theirs {
		t.Error("a number in turn was not taken")
	}
	// A new digest of ours gets the next number only after the echo.
	n.agree.digest[31]++
	n.advertiseDigest(p)
	n.agree.digest[31]++
	n.advertiseDigest(p)
	if p.exchange.number != (number+1)&3 || p.exchange.sent == n.agree.digest {
		t.Errorf("number %d after %d without an echo", p.exchange.number, number)
	}
	n.receiveDigest(p, hello(theirs, p.exchange.number))
	n.advertiseDigest(p)
	if p.exchange.number != (number+2)&3 || p.exchange.sent != n.agree.digest {
		t.Errorf("number %d, want %d", p.exchange.number, (number+2)&3)
	}
}

// RFC 6329 s13.2: with a neighbour that has no digest there is no agreement; a
// hold time stands for it.
func TestForeignNeighbour(t *testing.T) {
	l := newLab(t, 2, line(2), nil)
	l.tap = func(from int, s tsn.Send) bool {
		if from != 1 {
			return true
		}
		_, _, b, err := isispdu.ParseFrame(s.Frame)
		if err != nil {
			t.Fatal(err)
		}
		pdu, err := isispdu.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		h, ok := pdu.(*isispdu.IIH)
		if !ok {
			return true
		}
		c, _ := isispdu.Find[*isispdu.MTPortCap](h.TLVs)
		c.SubTLVs = slices.DeleteFunc(c.SubTLVs, func(t isispdu.TLV) bool { return t.Code() == isispdu.SubSPBDigest })
		b, err = h.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		l.push(l.now.Add(wireDelay), 0, tsn.Received{Port: 1, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), b)})
		return false
	}
	l.allUp()
	l.run(900 * millisecond)
	if flooding(l.nodes[0].state) {
		t.Error("did not wait")
	}
	l.run(300 * millisecond)
	if !flooding(l.nodes[0].state) {
		t.Errorf("still waits: %+v", l.nodes[0].Agreement())
	}
}

// Strict: a unicast entry whose place changes is absent until the neighbours
// agree; otherwise it moves at once.
func TestStrictUnicast(t *testing.T) {
	for _, strict := range []bool{false, true} {
		l := newLab(t, 4, ring(4), func(_ int, c *Config) {
			if c.Strict = StrictOff; strict {
				c.Strict = StrictOn
			}
		})
		l.allUp()
		l.run(5 * second)
		l.nodes[0].history = nil
		l.setLink(0, false)
		l.run(second)
		at := tsn.NoPort
		for _, e := range l.nodes[0].history[0].State.FDB {
			if e.MAC == stationMAC(1) && e.VID == vidA {
				at = e.Port
			}
		}
		if moved := at != tsn.NoPort; moved == strict {
			t.Errorf("strict %t: port %d in the first state", strict, at)
		}
		l.checkForwarding()
	}
}

// A bridge whose driver has no ingress check gets no broadcast from anybody,
// and makes the unicast of the whole fabric strict. A port of it that leads to
// no adjacency is in no VLAN.
func TestBareBridge(t *testing.T) {
	l := newLab(t, 4, ring(4), nil)
	l.allUp()
	l.run(2 * second)
	l.step(1, SetUnlocked{Ports: []tsn.Port{1, 2, edgePort}})
	l.run(2 * second)
	for k, want := range map[int][]tsn.Port{0: {2}, 2: {2}, 3: {1, 2}} {
		var got []tsn.Port
		for _, p := range l.nodes[k].state.Ports {
			if p.Role == tsn.RoleFabric && p.BcastFlood {
				got = append(got, p.Port)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("b%d floods on %v, want %v", k+1, got, want)
		}
		if !l.nodes[k].Agreement().Strict {
			t.Errorf("b%d is not strict", k+1)
		}
	}
	l.setLink(0, false)
	l.run(2 * second)
	if p := l.nodes[1].bridgePort(1); len(p.VLANs) != 0 {
		t.Errorf("%+v", p)
	}
	if p := l.nodes[1].bridgePort(2); len(p.VLANs) != 2 {
		t.Errorf("%+v", p)
	}
}

// A port without the ingress check opens when the neighbour has agreed on a
// graph with the link in it: what it says of another graph is not enough, since
// it may still send by the trees of that.
func TestBarePortOpensByAgreement(t *testing.T) {
	l := newLab(t, 2, line(2), nil)
	l.allUp()
	l.step(1, SetUnlocked{Ports: []tsn.Port{1}})
	l.run(5 * second)
	if l.nodes[1].closed(1) {
		t.Fatal("closed although all agree")
	}
	l.setLink(0, false)
	l.run(5 * second)
	far := l.nodes[0]
	far.agree.digest[20] ^= 1 // and nothing makes it compute another
	far.top.nextRun = l.now.Add(2 * second)
	l.setLink(0, true)
	l.run(second)
	if x := &l.nodes[1].ports[0].exchange; !x.known || !x.theirsValid || !slices.Contains(l.nodes[1].linkPorts(), 1) {
		t.Fatalf("nothing was said: %+v", x)
	}
	if !l.nodes[1].closed(1) {
		t.Error("open without agreement")
	}
	l.run(5 * second)
	if l.nodes[1].closed(1) {
		t.Error("closed although all agree")
	}
}

// What an earlier life left in the kernel stays as far as it is right.
func TestAdoptedState(t *testing.T) {
	l := serviceLab(t, 4, ring(4), func(_ int, c *Config) { c.StartupHold = 3 * second })
	l.allUp()
	l.run(5 * second)
	kernel := cloneState(l.nodes[2].state)
	wrong := slices.IndexFunc(kernel.FDB, func(e tsn.FDBEntry) bool { return e.MAC == nodeMAC(0) && e.VID == vidA })
	kernel.FDB[wrong].Port = 3 - kernel.FDB[wrong].Port
	l.nodes[2].cfg.Adopted = &kernel
	l.nodes[2].history = nil
	l.start(2)
	for side := range 2 {
		l.step(2, tsn.LinkChanged{Port: l.links[1+side].port[1-side], Up: true, Rate: tsn.Gbps})
	}
	l.run(4 * second)
	first := l.nodes[2].history[0].State
	for _, e := range first.MDB {
		stands := !slices.Equal(e.Ports, []tsn.Port{tsn.NoPort})
		own := e.Group == GroupAddress(l.nodes[0].sourceID.value, testISID)
		if stands == own {
			t.Errorf("first state: group %s of b1 (%t) has %v", e.Group, own, e.Ports)
		}
	}
	if flooding(first) {
		t.Error("first state: broadcast goes on although a place was wrong")
	}
	if fmt.Sprint(l.group(2, 0)) == fmt.Sprint([]tsn.Port{tsn.NoPort}) {
		t.Error("the wrong place was not repaired")
	}
	l.checkForwarding()
}

// A station that moves to another bridge: its entries are gone everywhere
// before they come back towards the new place, and nothing else is disturbed.
func TestMovedStationWaits(t *testing.T) {
	l := newLab(t, 5, line(5), nil)
	l.allUp()
	l.run(5 * second)
	moved := stationMAC(0)
	for k := range l.nodes {
		l.nodes[k].history = nil
	}
	l.step(0, SetEndStations{})
	l.step(4, SetEndStations{Stations: []EndStation{
		{MAC: moved, Port: emptyPort, Name: "h1"}, {MAC: stationMAC(4), Port: edgePort, Name: "h5"},
	}})
	l.run(2 * second)
	for k := 1; k < 4; k++ {
		gone := false
		for _, f := range l.nodes[k].history {
			at := tsn.NoPort
			for _, e := range f.State.FDB {
				if e.MAC == moved && e.VID == vidA {
					at = e.Port
				}
			}
			towards := l.nodes[k].fdbPort(vidA, nodeMAC(4))
			if at == towards && !gone {
				t.Errorf("b%d: the entry moved at once", k+1)
			}
			gone = gone || at == tsn.NoPort
			if !flooding(f.State) {
				t.Errorf("b%d: broadcast of all others stopped", k+1)
			}
		}
		if !gone || l.nodes[k].fdbPort(vidA, moved) != l.nodes[k].fdbPort(vidA, nodeMAC(4)) {
			t.Errorf("b%d: gone %t, now at %d", k+1, gone, l.nodes[k].fdbPort(vidA, moved))
		}
	}
	l.unicast(vidA, 1, stationMAC(1), moved)
}
