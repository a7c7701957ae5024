package spb

import (
	"math"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// originator builds the own LSP: as many fragments as it takes.
type originator struct {
	started bool
	held    bool // nothing is originated yet: the start (restart.go) is not over

	dirty bool
	// urgent: a link of ours changed. links spaces such originations, spacing
	// all others, both from LSPHoldDown to LSPMaxHoldDown, so that stations that
	// come and go never delay the news of a link.
	urgent         bool
	spacing, links backoff
	holdUntil      tsn.Instant // no origination before, whatever they say
	refreshAt      tsn.Instant
	layout         layout
	// sequence is the last number used or seen for each own fragment.
	sequence [256]uint32
	// overtake: somebody holds another LSP of that number or a higher one, so
	// the next one goes out even if nothing changed.
	overtake [256]bool
	// Overtaking again and again means that two bridges have one system id: it
	// gets slower, so that they do not fill the network.
	lastOvertake tsn.Instant
	backoff      int64
	// blockedUntil: a sequence number ran out, start again when every copy is
	// gone (ISO/IEC 10589 7.3.16.1).
	blockedUntil tsn.Instant
}

func (o *originator) init(c *Config) {
	o.dirty = true
	o.spacing = backoff{short: c.LSPHoldDown, long: c.LSPMaxHoldDown}
	o.links = o.spacing
	o.refreshAt = tsn.Never
}

func (o *originator) uses(id isispdu.LSPID) bool {
	return id.Pseudonode() == 0 && o.layout.used[id.Fragment()]
}

// linksChanged: what the own LSP says about a link, and the graph, are to be
// made again.
func (i *Instance) linksChanged() { i.own.dirty, i.own.urgent, i.top.dirty = true, true, true }

// raise takes note of a number seen on the wire: the next one is higher.
func (o *originator) raise(id isispdu.LSPID, seq uint32) {
	if id.Pseudonode() == 0 {
		n := id.Fragment()
		o.sequence[n], o.overtake[n] = max(o.sequence[n], seq), true
	}
}

// overtake orders a new LSP with a number above seq, which p brought.
func (i *Instance) overtake(p *port, id isispdu.LSPID, seq uint32) {
	const quiet, slowest = 60 * second, 5 * second
	o := &i.own
	waiting := id.Pseudonode() == 0 && o.overtake[id.Fragment()]
	if o.raise(id, seq); waiting {
		return // another neighbour's copy: the next number will outdo it too
	}
	o.dirty = true
	if i.now.Sub(o.lastOvertake) > quiet {
		o.backoff, i.dup.fights = 0, [maxFragments]uint8{}
	}
	i.outdone(p, id)
	o.lastOvertake = i.now
	o.holdUntil = max(o.holdUntil, i.now.Add(o.backoff))
	o.backoff = min(max(2*o.backoff, i.cfg.LSPHoldDown), slowest)
}

func (i *Instance) originateDeadline() tsn.Instant {
	d := i.own.refreshAt
	if i.own.dirty {
		wait := &i.own.spacing
		if i.own.urgent {
			wait = &i.own.links
		}
		d = min(d, max(i.own.holdUntil, wait.until))
	}
	if i.own.held {
		return tsn.Never
	}
	return max(d, i.own.blockedUntil)
}

// originate rebuilds the own LSP when something changed or it is time to
// refresh. The first change after a quiet time goes out at once.
func (i *Instance) originate() {
	if i.originateDeadline() > i.now {
		return
	}
	o := &i.own
	o.started = true
	refresh := o.refreshAt <= i.now
	before := i.counters.Originations
	wait := &o.spacing
	if o.urgent {
		wait = &o.links
	}
	o.dirty, o.urgent = false, false
	fragments, fits := o.layout.arrange(i.ownTLVs(), lspRoom)
	if !fits {
		i.notice(NoticeLSPTooLarge, tsn.NoPort, "more end stations than 256 LSP fragments hold: the rest is not advertised")
	}
	for n, tlvs := range fragments {
		id := isispdu.MakeLSPID(i.cfg.SystemID, uint8(n))
		if o.layout.used[n] {
			i.originateFragment(id, tlvs, refresh)
		} else if l := i.db.lsps[id]; l != nil && !l.purged {
			i.purge(l.pdu)
		}
	}
	if i.counters.Originations != before {
		wait.run(i.now)
		o.spacing.until = max(o.spacing.until, wait.until)
	}
	if refresh || o.refreshAt == tsn.Never {
		o.refreshAt = i.now.Add(i.cfg.RefreshInterval - i.rng.below(i.cfg.RefreshInterval/10))
	}
}

// lspRoom is what an LSP has for TLVs.
const lspRoom = isispdu.ReceiveLSPBufferSize - 27 - authRoom

// originateFragment floods a fragment if its content, or the number of a copy
// seen elsewhere, makes that necessary.
func (i *Instance) originateFragment(id isispdu.LSPID, tlvs []isispdu.TLV, refresh bool) {
	n := id.Fragment()
	l := &isispdu.LSP{
		RemainingLifetime: uint16(i.cfg.MaxAge / second), ID: id,
		SequenceNumber: i.own.sequence[n], Flags: isispdu.FlagLevel1, TLVs: tlvs,
	}
	if i.over.told != "" {
		l.Flags |= isispdu.FlagOverload
	}
	if have := i.db.lsps[l.ID]; have != nil && !have.purged && !refresh && !i.own.overtake[n] && sameContent(have.raw, mustAppend(l)) {
		return
	}
	if l.SequenceNumber == math.MaxUint32 {
		i.sequenceExhausted(l)
		return
	}
	l.SequenceNumber++
	i.own.sequence[n], i.own.overtake[n] = l.SequenceNumber, false
	raw := i.encode(l)
	i.counters.Originations++
	i.store(&storedLSP{pdu: l, raw: raw, expires: i.now.Add(i.cfg.MaxAge)})
	for _, p := range i.ports {
		i.setSRM(p, l.ID, 0)
		delete(p.ssn, l.ID)
	}
}

func (i *Instance) sequenceExhausted(l *isispdu.LSP) {
	i.notice(NoticeSequenceExhausted, tsn.NoPort, l.ID.String()+": silent until every copy has aged out")
	i.purge(l)
	i.own.sequence[l.ID.Fragment()] = 0
	i.own.blockedUntil = i.now.Add(i.cfg.MaxAge + i.cfg.ZeroAgeLifetime + second)
	i.own.dirty = true
}

// ownTLVs is everything this node says about itself, topology first. The layout
// divides it into fragments.
func (i *Instance) ownTLVs() []isispdu.TLV {
	out := i.identityTLVs()
	if i.cfg.HostName != "" {
		out = append(out, &isispdu.Hostname{Name: i.cfg.HostName})
	}
	inst := &isispdu.SPBInst{
		CISTRoot:       tsn.MakeBridgeID(i.cfg.Priority, i.cfg.SystemID),
		BridgePriority: i.cfg.Priority,
		Source:         i.sourceID.value,
	}
	if i.cfg.SPSourceID == 0 {
		inst.Source |= isispdu.SourceAuto
	} else if !i.sourceID.usable() {
		inst.Source = 0
	}
	for _, b := range i.cfg.BaseVIDs {
		inst.Trees = append(inst.Trees, isispdu.MakeSPBTree(isispdu.ECTAlgorithm(b.Algorithm), b.VID))
	}
	mt := &isispdu.MTCapability{SubTLVs: []isispdu.TLV{inst}}
	if i.over.told != "" {
		mt.MT |= isispdu.MTOverload
	}
	out = append(out, mt)
	for part := range slices.Chunk(i.ownNeighbors(), 255/neighborLen) {
		out = append(out, &isispdu.ExtISReach{Neighbors: part})
	}
	stations := i.localStations()
	var addresses []isispdu.TLV
	for _, s := range stations {
		for _, b := range i.cfg.BaseVIDs {
			at := slices.IndexFunc(i.cfg.Ports, func(p PortConfig) bool { return p.Port == s.Port })
			if at < 0 || !i.carries(i.cfg.Ports[at], b.VID) || s.vids != nil && !slices.Contains(s.vids, b.VID) {
				continue // not reachable in this VLAN
			}
			addresses = append(addresses, &isispdu.SPBMSI{BMAC: s.MAC, Word: uint16(b.VID)})
		}
	}
	for part := range slices.Chunk(addresses, (255-2)/10) {
		out = append(out, &isispdu.MTCapability{SubTLVs: part})
	}
	out = append(out, i.bridgeRecord()...)
	out = append(out, i.serviceTLVs()...)
	out = append(out, stationRecords(stations)...)
	out = append(out, overloadRecord(i.over.told)...)
	return append(out, i.gen.recordTLVs()...)
}

// neighborLen is a neighbour with its two sub-TLVs.
const neighborLen = 11 + 2 + 8 + 2 + 6

// ownNeighbors lists the adjacencies that are Up, by port.
func (i *Instance) ownNeighbors() []isispdu.ExtISNeighbor {
	var out []isispdu.ExtISNeighbor
	for _, p := range i.ports {
		if (p.adj.state != isispdu.Up && p.graceUntil == 0) || p.help.suppressed {
			continue
		}
		m := p.metric()
		out = append(out, isispdu.ExtISNeighbor{
			ID: isispdu.MakeNodeID(p.adj.neighbor), Metric: min(m, isispdu.MaxMetric-1),
			SubTLVs: []isispdu.TLV{
				&isispdu.LinkIDs{Local: uint32(p.cfg.Port), Remote: p.adj.circuit},
				&isispdu.SPBMetric{Metric: m, NumPorts: 1, PortID: p.cfg.Port},
			},
		})
	}
	return out
}

// metric is the SPB link metric of a port whose adjacency is Up.
func (p *port) metric() uint32 {
	switch {
	case p.mismatch() != "":
		return isispdu.MaxMetric
	case p.cfg.Metric != 0:
		return p.cfg.Metric
	}
	return metricOf(p.rate)
}
