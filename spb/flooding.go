package spb

import (
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

const (
	// syncDelay gives the neighbour's CSNP the time to say what it has, before
	// everything is sent to a new neighbour.
	syncDelay = 20 * millisecond
	// At most burst LSPs leave a port within burstGap, so that a large
	// database does not overrun the neighbour's receive queue.
	burst    = 32
	burstGap = millisecond
)

// srmFlag is a set SRMflag (ISO/IEC 10589 7.3.15.5).
type srmFlag struct {
	due  tsn.Instant
	sent bool // and not acknowledged
}

// setSRM marks an LSP to be sent on a port after delay.
func (i *Instance) setSRM(p *port, id isispdu.LSPID, delay int64) {
	if p.adj.state != isispdu.Up {
		return
	}
	if p.srm == nil {
		p.srm = map[isispdu.LSPID]srmFlag{}
	}
	p.srm[id] = srmFlag{due: i.now.Add(delay)}
	p.srmDue = min(p.srmDue, i.now.Add(delay))
}

// setSSN marks an LSP to be listed in a PSNP on a port after delay.
func (i *Instance) setSSN(p *port, id isispdu.LSPID, delay int64) {
	if p.adj.state != isispdu.Up {
		return
	}
	if p.ssn == nil {
		p.ssn = map[isispdu.LSPID]tsn.Instant{}
	}
	if due, ok := p.ssn[id]; !ok || due > i.now.Add(delay) {
		p.ssn[id] = i.now.Add(delay)
		p.ssnDue = min(p.ssnDue, i.now.Add(delay))
	}
}

// synchronise starts a new adjacency (ISO/IEC 10589 7.3.17): describe the
// whole database, and mark everything to be sent.
func (i *Instance) synchronise(p *port) {
	p.nextCSNP = i.now
	for _, id := range i.db.order {
		i.setSRM(p, id, syncDelay)
	}
}

// flood sends what is due on every port. Hellos go out first, so that the
// neighbour is up when the first LSP arrives.
func (i *Instance) flood() {
	for _, p := range i.ports {
		if p.adj.state != isispdu.Up {
			continue
		}
		if p.nextCSNP <= i.now {
			i.sendCSNPs(p)
			p.nextCSNP = i.now.Add(i.cfg.CSNPInterval - i.rng.below(i.cfg.CSNPInterval/10))
		}
		i.sendLSPs(p)
		i.sendDuePSNP(p)
	}
}

// floodDeadline is when flood may have something to do on p.
func (p *port) floodDeadline() tsn.Instant { return min(max(p.srmDue, p.sendAfter), p.ssnDue) }

func (i *Instance) sendLSPs(p *port) {
	if max(p.srmDue, p.sendAfter) > i.now {
		return
	}
	var due []isispdu.LSPID
	p.srmDue = tsn.Never
	for id, f := range p.srm {
		if f.due <= i.now {
			due = append(due, id)
		} else {
			p.srmDue = min(p.srmDue, f.due)
		}
	}
	slices.SortFunc(due, isispdu.LSPID.Compare)
	if len(due) > burst {
		due = due[:burst]
		p.sendAfter = i.now.Add(burstGap)
		p.srmDue = p.sendAfter
	}
	for _, id := range due {
		l := i.db.lsps[id]
		if l == nil {
			delete(p.srm, id)
			continue
		}
		if p.srm[id].sent {
			i.counters.Retransmissions++
		}
		isispdu.SetRemainingLifetime(l.raw, l.lifetime(i.now))
		i.counters.Sent.LSP++
		i.send(p, l.raw)
		// 7.3.15.5: the flag stays until the LSP is acknowledged.
		p.srm[id] = srmFlag{due: i.now.Add(i.cfg.RetransmitInterval), sent: true}
		p.srmDue = min(p.srmDue, i.now.Add(i.cfg.RetransmitInterval))
	}
}

// sendDuePSNP sends acknowledgements and requests, entry by entry: an LSP that we do not have is
// listed with sequence number 0.
func (i *Instance) sendDuePSNP(p *port) {
	if p.ssnDue > i.now {
		return
	}
	p.ssnDue = tsn.Never
	if len(p.ssn) == 0 {
		return // taken back meanwhile
	}
	ids := make([]isispdu.LSPID, 0, len(p.ssn))
	for id := range p.ssn {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, isispdu.LSPID.Compare)
	entries := make([]isispdu.LSPEntry, len(ids))
	for n, id := range ids {
		entries[n] = isispdu.LSPEntry{ID: id}
		if l := i.db.lsps[id]; l != nil {
			entries[n] = l.entry(i.now)
		}
	}
	clear(p.ssn)
	i.sendPSNP(p, entries)
}

// snpEntries is how many LSP entries fit one SNP with full TLVs.
const snpEntries = (isispdu.ReceiveLSPBufferSize - 33 - authRoom) / (2 + 16*isispdu.MaxEntries) * isispdu.MaxEntries

func entryTLVs(entries []isispdu.LSPEntry) []isispdu.TLV {
	var out []isispdu.TLV
	for part := range slices.Chunk(entries, isispdu.MaxEntries) {
		out = append(out, &isispdu.LSPEntries{Entries: part})
	}
	return out
}

func (i *Instance) sendPSNP(p *port, entries []isispdu.LSPEntry) {
	for part := range slices.Chunk(entries, snpEntries) {
		i.counters.Sent.PSNP++
		i.send(p, i.encode(&isispdu.PSNP{Source: isispdu.MakeNodeID(i.cfg.SystemID), TLVs: entryTLVs(part)}))
	}
}

// sendCSNPs describes the database in consecutive ranges that together cover
// every LSP ID (7.3.15.3).
func (i *Instance) sendCSNPs(p *port) {
	var start isispdu.LSPID
	rest := i.db.order
	for {
		n := min(len(rest), snpEntries)
		entries := make([]isispdu.LSPEntry, n)
		for k, id := range rest[:n] {
			entries[k] = i.db.lsps[id].entry(i.now)
		}
		rest = rest[n:]
		end := isispdu.MaxLSPID
		if len(rest) > 0 {
			end = entries[n-1].ID
		}
		i.counters.Sent.CSNP++
		i.send(p, i.encode(&isispdu.CSNP{
			Source: isispdu.MakeNodeID(i.cfg.SystemID), Start: start, End: end, TLVs: entryTLVs(entries),
		}))
		if len(rest) == 0 {
			return
		}
		start = successor(end)
	}
}

// successor is the next LSP ID; the caller knows that there is one.
func successor(id isispdu.LSPID) isispdu.LSPID {
	for k := len(id) - 1; k >= 0; k-- {
		id[k]++
		if id[k] != 0 {
			break
		}
	}
	return id
}

// receiveCSNP is ISO/IEC 10589 7.3.15.2 b) for a complete SNP.
func (i *Instance) receiveCSNP(p *port, c *isispdu.CSNP) {
	if c.Source.System() != p.adj.neighbor {
		i.counters.Drops.SNPSource++
		return
	}
	listed := map[isispdu.LSPID]bool{}
	for _, t := range isispdu.All[*isispdu.LSPEntries](c.TLVs) {
		for _, e := range t.Entries {
			listed[e.ID] = true
			i.receiveEntry(p, e)
		}
	}
	i.receiveCSNPRange(p, c)
	from, _ := slices.BinarySearchFunc(i.db.order, c.Start, isispdu.LSPID.Compare)
	for _, id := range i.db.order[from:] {
		if id.Compare(c.End) > 0 {
			break
		}
		if !listed[id] && !i.db.lsps[id].purged {
			i.answer(p, id)
		}
	}
}

// receivePSNP is the same for a partial SNP.
func (i *Instance) receivePSNP(p *port, s *isispdu.PSNP) {
	if s.Source.System() != p.adj.neighbor {
		i.counters.Drops.SNPSource++
		return
	}
	for _, t := range isispdu.All[*isispdu.LSPEntries](s.TLVs) {
		for _, e := range t.Entries {
			i.receiveEntry(p, e)
		}
	}
}

// receiveEntry compares one line of an SNP with the database.
func (i *Instance) receiveEntry(p *port, e isispdu.LSPEntry) {
	have := i.db.lsps[e.ID]
	if have == nil {
		if e.RemainingLifetime != 0 && e.SequenceNumber != 0 && len(i.db.order) < i.cfg.Caps.MaxLSPs {
			i.request(p, e.ID)
		}
		return
	}
	switch have.compare(e) {
	case same:
		delete(p.srm, e.ID)
	case older:
		delete(p.ssn, e.ID)
		i.answer(p, e.ID)
	case newer:
		delete(p.srm, e.ID)
		i.request(p, e.ID)
	case confused:
		if e.ID.System() == i.cfg.SystemID {
			i.overtake(p, e.ID, e.SequenceNumber)
			return
		}
		i.purge(have.pdu)
	}
}

// answer sends an LSP that the neighbour lacks, unless it is on its way
// already: a CSNP, a request and an older copy may all ask for it.
func (i *Instance) answer(p *port, id isispdu.LSPID) {
	if f := p.srm[id]; !f.sent || f.due.Sub(i.now) < i.cfg.RetransmitInterval-syncDelay {
		i.setSRM(p, id, 0)
	}
}

// request asks for an LSP that the neighbour has.
func (i *Instance) request(p *port, id isispdu.LSPID) {
	i.setSSN(p, id, 0)
	if i.restart.mode == running || len(p.acq.requested) >= i.cfg.Caps.MaxLSPs {
		return
	}
	if p.acq.requested == nil {
		p.acq.requested = map[isispdu.LSPID]bool{}
	}
	p.acq.requested[id] = true
}
