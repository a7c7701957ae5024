package spb

import (
	"fmt"
	"net/netip"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// adjacency is the point-to-point adjacency of a port. state is the
// adjacencyThreeWayState of RFC 5303 s3.2; Down means that there is none.
type adjacency struct {
	state    isispdu.ThreeWayState
	neighbor tsn.MAC
	circuit  uint32 // neighbour's extended local circuit id: its port
	expires  tsn.Instant
	since    tsn.Instant
	// mismatch says why SPB does not use the link; empty if it does.
	mismatch  string
	addresses []netip.Addr
}

// action is a cell of the table of RFC 5303 s3.2.
type action uint8

const (
	actInitialize action = iota
	actUp
	actDown
	actAccept
)

// threeWayAction[own state][received state].
var threeWayAction = [3][3]action{
	isispdu.Down:         {isispdu.Down: actInitialize, isispdu.Initializing: actUp, isispdu.Up: actDown},
	isispdu.Initializing: {isispdu.Down: actInitialize, isispdu.Initializing: actUp, isispdu.Up: actUp},
	isispdu.Up:           {isispdu.Down: actInitialize, isispdu.Initializing: actAccept, isispdu.Up: actAccept},
}

// receiveIIH is ISO/IEC 10589 8.2.5.2 with RFC 5303 s3.2.
func (i *Instance) receiveIIH(p *port, h *isispdu.IIH) {
	c := &i.counters.Drops
	tw, ok := isispdu.Find[*isispdu.ThreeWay](h.TLVs)
	r := restartOf(h.TLVs)
	switch {
	case h.CircuitType&isispdu.CircuitLevel1 == 0 || !i.areaMatches(h.TLVs):
		c.AreaMismatch++
		return
	case h.SourceID == i.cfg.SystemID:
		i.duplicateHello(p)
		return
	case !ok || tw.Fields < 1 || h.HoldingTime == 0 || h.SourceID.IsGroup() || h.SourceID.IsZero():
		// RFC 6329 s7: the three-way handshake is mandatory.
		c.NoThreeWay++
		return
	case i.helpRestart(p, h, r, tw):
		return
	case tw.Fields >= 2 && tw.NeighborSystemID != i.cfg.SystemID,
		tw.Fields >= 3 && tw.NeighborCircuitID != uint32(p.cfg.Port):
		c.NotForUs++
		return
	}
	if p.adj.state != isispdu.Down && (p.adj.neighbor != h.SourceID || p.adj.circuit != tw.ExtendedLocalCircuitID) {
		i.adjacencyDown(p, "neighbour changed to "+h.SourceID.String())
	}
	i.receiveRestart(p, r, tw)
	was := p.adj.state
	if was == isispdu.Down && i.asRestarting(p) {
		was = isispdu.Initializing
	}
	i.suppress(p, r)
	switch threeWayAction[was][tw.State] {
	case actInitialize:
		i.setAdjacency(p, isispdu.Initializing, h, tw)
	case actUp:
		i.setAdjacency(p, isispdu.Up, h, tw)
	case actAccept:
		i.setAdjacency(p, was, h, tw)
	case actDown:
		i.adjacencyDown(p, "neighbour restarted")
	}
	i.keepPlanned(p, h, r)
	i.receiveDigest(p, h.TLVs)
}

// setAdjacency takes over what the hello says.
func (i *Instance) setAdjacency(p *port, state isispdu.ThreeWayState, h *isispdu.IIH, tw *isispdu.ThreeWay) {
	was, a := p.adj, &p.adj
	a.state, a.neighbor, a.circuit = state, h.SourceID, tw.ExtendedLocalCircuitID
	a.expires = i.now.Add(int64(h.HoldingTime) * second)
	a.mismatch = i.spbMismatch(h.TLVs)
	a.addresses = addressesOf(h.TLVs)
	if was.state != state {
		a.since = i.now
		p.nextHello = i.now // at once: the handshake takes round trips, not hello intervals
	}
	switch {
	case was.state == isispdu.Up && state != isispdu.Up:
		p.exchange = newExchange()
		i.notice(NoticeAdjacencyDown, p.cfg.Port, a.neighbor.String()+": neighbour restarted")
		i.adjacencyLost(p)
		if i.cfg.RestartGrace > 0 {
			// The link carries frames all the time, and the neighbour's
			// forwarding outlives its daemon: say nothing to the network yet.
			p.graceUntil = i.now.Add(i.cfg.RestartGrace)
		}
	case was.state != isispdu.Up && state == isispdu.Up:
		i.notice(NoticeAdjacencyUp, p.cfg.Port, a.neighbor.String())
		p.graceUntil = 0
		i.acquire(p, starting)
		i.counters.AdjacencyChanges++
		i.synchronise(p)
		i.linksChanged()
	}
	if state == isispdu.Up && a.mismatch != was.mismatch {
		if a.mismatch != "" {
			i.notice(NoticeSPBMismatch, p.cfg.Port, a.neighbor.String()+": "+a.mismatch)
		}
		i.linksChanged()
	}
}

// adjacencyDown forgets the neighbour of a port.
func (i *Instance) adjacencyDown(p *port, why string) {
	if p.adj.state == isispdu.Down {
		return
	}
	was := p.adj
	p.exchange = newExchange()
	p.adj = adjacency{state: isispdu.Down, expires: tsn.Never, since: i.now}
	p.nextHello = i.now
	if p.graceUntil != 0 {
		i.endGrace(p)
	}
	if was.state == isispdu.Up {
		i.notice(NoticeAdjacencyDown, p.cfg.Port, was.neighbor.String()+": "+why)
		i.adjacencyLost(p)
	}
}

func (i *Instance) adjacencyLost(p *port) {
	i.counters.AdjacencyChanges++
	p.srm, p.ssn, p.srmDue, p.ssnDue = nil, nil, tsn.Never, tsn.Never
	p.help = helper{}
	p.acq.lost()
	p.nextCSNP = tsn.Never
	i.linksChanged()
}

// inUse: frames may be sent over the link.
func (p *port) inUse() bool {
	return (p.adj.state == isispdu.Up || p.graceUntil != 0) && p.mismatch() == "" && !p.help.suppressed
}

func (i *Instance) endGrace(p *port) {
	p.graceUntil = 0
	i.linksChanged()
}

func (i *Instance) expireAdjacencies() {
	for _, p := range i.ports {
		if p.graceUntil != 0 && p.graceUntil <= i.now {
			i.endGrace(p)
		}
		if p.adj.state != isispdu.Down && p.adj.expires <= i.now {
			i.adjacencyDown(p, "holding time expired")
		}
	}
}

// hello sends what is due. The next one comes after the interval less up to
// 25 % of jitter (ISO/IEC 10589 10.1).
func (i *Instance) hello() {
	for _, p := range i.ports {
		i.repeatDigest(p)
		if !p.up || p.nextHello > i.now {
			continue
		}
		i.counters.Sent.IIH++
		i.send(p, i.encode(i.makeIIH(p)))
		p.help.answer = tsn.MAC{}
		p.nextHello = i.now.Add(i.cfg.HelloInterval - i.rng.below(i.cfg.HelloInterval/4))
	}
}

func (i *Instance) makeIIH(p *port) *isispdu.IIH {
	tw := &isispdu.ThreeWay{State: p.adj.state, Fields: 1, ExtendedLocalCircuitID: uint32(p.cfg.Port)}
	if p.adj.state == isispdu.Down && i.asRestarting(p) {
		tw.State = isispdu.Initializing // RFC 8706 s3.3.1
	}
	if p.adj.state != isispdu.Down {
		tw.Fields, tw.NeighborSystemID, tw.NeighborCircuitID = 3, p.adj.neighbor, p.adj.circuit
	}
	bvid := &isispdu.SPBBVID{}
	for _, b := range i.cfg.BaseVIDs {
		bvid.Tuples = append(bvid.Tuples, isispdu.MakeBVIDTuple(isispdu.ECTAlgorithm(b.Algorithm), b.VID, true))
	}
	h := &isispdu.IIH{
		Header:      isispdu.Header{},
		CircuitType: isispdu.CircuitLevel1, SourceID: i.cfg.SystemID,
		HoldingTime: uint16(i.cfg.holdingTime()), LocalCircuitID: uint8(p.cfg.Port),
		TLVs: i.identityTLVs(),
	}
	h.TLVs = append(h.TLVs, tw, &isispdu.MTPortCap{SubTLVs: []isispdu.TLV{&isispdu.SPBMCID{MCID: i.mcid, AuxMCID: i.mcid}, bvid, i.digestTLV(p)}}, i.restartTLV(p))
	if i.cfg.HelloPadding && p.adj.state != isispdu.Up {
		pad(h)
	}
	return h
}

// identityTLVs are those that hellos and LSP fragment 0 have in common.
func (i *Instance) identityTLVs() []isispdu.TLV {
	out := []isispdu.TLV{
		&isispdu.AreaAddresses{Areas: i.cfg.AreaAddresses},
		i.protocols(),
	}
	v4, v6 := &isispdu.Interfaces{}, &isispdu.Interfaces{V6: true}
	for _, a := range i.cfg.ManagementAddresses {
		if a = a.Unmap().WithZone(""); a.Is4() {
			v4.Addresses = append(v4.Addresses, a)
		} else {
			v6.Addresses = append(v6.Addresses, a)
		}
	}
	for _, t := range []*isispdu.Interfaces{v4, v6} {
		if len(t.Addresses) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// areaMatches: level 1 neighbours share an area address (ISO/IEC 10589 8.2.5.2).
func (i *Instance) areaMatches(tlvs []isispdu.TLV) bool {
	for _, t := range isispdu.All[*isispdu.AreaAddresses](tlvs) {
		for _, a := range t.Areas {
			if slices.ContainsFunc(i.cfg.AreaAddresses, func(own []byte) bool { return slices.Equal(a, own) }) {
				return true
			}
		}
	}
	return false
}

// spbMismatch says why SPB must not use a link to the sender of this hello
// (RFC 6329 s13), or "".
func (i *Instance) spbMismatch(tlvs []isispdu.TLV) string {
	nlpid := false
	for _, t := range isispdu.All[*isispdu.Protocols](tlvs) {
		nlpid = nlpid || slices.Contains(t.NLPIDs, isispdu.NLPIDSPB)
	}
	if !nlpid {
		return "neighbour does not announce SPB (NLPID c1)"
	}
	theirs := map[tsn.VID]isispdu.ECT{}
	for _, cap := range isispdu.All[*isispdu.MTPortCap](tlvs) {
		if m, ok := isispdu.Find[*isispdu.SPBMCID](cap.SubTLVs); ok && m.MCID != i.mcid && m.AuxMCID != i.mcid {
			return "MST configuration (MCID) differs: the sets of base VIDs are not the same"
		}
		for _, b := range isispdu.All[*isispdu.SPBBVID](cap.SubTLVs) {
			for _, t := range b.Tuples {
				theirs[t.BaseVID()] = t.ECT
			}
		}
	}
	for _, b := range i.cfg.BaseVIDs {
		if e, ok := theirs[b.VID]; !ok || e != isispdu.ECTAlgorithm(b.Algorithm) {
			return fmt.Sprintf("base VID %d: neighbour runs ECT %s (announced: %t), we run %s",
				b.VID, e, ok, isispdu.ECTAlgorithm(b.Algorithm))
		}
	}
	return ""
}

func addressesOf(tlvs []isispdu.TLV) []netip.Addr {
	var out []netip.Addr
	for _, t := range isispdu.All[*isispdu.Interfaces](tlvs) {
		out = append(out, t.Addresses...)
	}
	return out
}
