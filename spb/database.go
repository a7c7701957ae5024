package spb

import (
	"bytes"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// database is the link-state database (ISO/IEC 10589 7.3.16).
type database struct {
	lsps    map[isispdu.LSPID]*storedLSP
	order   []isispdu.LSPID // ascending
	nextAge tsn.Instant
}

// storedLSP is one LSP fragment. raw is what was received, so that flooding
// passes on every octet but the lifetime.
type storedLSP struct {
	pdu *isispdu.LSP
	raw []byte
	// expires is when the lifetime reaches zero; for a purge, when the header is
	// forgotten (ZeroAgeLifetime).
	expires tsn.Instant
	purged  bool
}

func (d *database) init() {
	d.lsps = map[isispdu.LSPID]*storedLSP{}
	d.nextAge = tsn.Never
}

func (d *database) put(l *storedLSP) {
	id := l.pdu.ID
	if _, ok := d.lsps[id]; !ok {
		at, _ := slices.BinarySearchFunc(d.order, id, isispdu.LSPID.Compare)
		d.order = slices.Insert(d.order, at, id)
	}
	d.lsps[id] = l
	d.nextAge = min(d.nextAge, l.expires)
}

func (d *database) remove(id isispdu.LSPID) {
	delete(d.lsps, id)
	if at, ok := slices.BinarySearchFunc(d.order, id, isispdu.LSPID.Compare); ok {
		d.order = slices.Delete(d.order, at, at+1)
	}
}

// lifetime is the RemainingLifetime to send, in seconds; a live LSP never
// says 0, which would be a purge.
func (l *storedLSP) lifetime(now tsn.Instant) uint16 {
	if l.purged {
		return 0
	}
	return uint16(min(max((l.expires.Sub(now)+second-1)/second, 1), 65535))
}

func (l *storedLSP) entry(now tsn.Instant) isispdu.LSPEntry {
	e := l.pdu.Entry()
	e.RemainingLifetime = l.lifetime(now)
	return e
}

// order is the outcome of comparing a received description with ours.
type order uint8

const (
	older order = iota
	same
	newer
	confused // same sequence number, other content (7.3.16.2)
)

// compare tells what e is compared to the stored LSP (7.3.16.1).
func (l *storedLSP) compare(e isispdu.LSPEntry) order {
	purge := e.RemainingLifetime == 0
	switch seq := l.pdu.SequenceNumber; {
	case e.SequenceNumber > seq:
		return newer
	case e.SequenceNumber < seq:
		return older
	case purge && !l.purged:
		return newer
	case !purge && l.purged:
		return older
	case !purge && e.Checksum != l.pdu.Checksum:
		return confused
	}
	return same
}

// receiveLSP is ISO/IEC 10589 7.3.15.1 on a point-to-point circuit.
func (i *Instance) receiveLSP(p *port, l *isispdu.LSP, raw []byte) {
	c := &i.counters.Drops
	purge := l.RemainingLifetime == 0
	if !isispdu.ChecksumOK(raw) && (!purge || l.Checksum != 0) {
		c.BadChecksum++
		return
	}
	if l.SequenceNumber == 0 || len(raw) > isispdu.ReceiveLSPBufferSize || livePurgeOriginator(l) {
		c.BadLSP++
		return
	}
	if purge {
		i.counters.Purges++
	}
	for _, q := range i.ports {
		delete(q.acq.requested, l.ID)
	}
	if l.ID.System() == i.cfg.SystemID && !(purge && i.db.lsps[l.ID] == nil) {
		i.receiveOwnLSP(p, l, raw)
		return
	}
	have := i.db.lsps[l.ID]
	if have == nil {
		i.receiveUnknownLSP(p, l, raw)
		return
	}
	switch have.compare(l.Entry()) {
	case newer:
		i.acceptLSP(p, l, raw)
	case same:
		delete(p.srm, l.ID)
		i.setSSN(p, l.ID, i.cfg.AckDelay)
	case older:
		i.answer(p, l.ID)
		delete(p.ssn, l.ID)
	case confused:
		i.purge(have.pdu)
	}
}

// receiveCopy acknowledges an LSP that is octet for octet the one we have, but
// for the lifetime, without decoding it: in a meshed network most are. With
// authentication every copy is verified, so none is taken here.
func (i *Instance) receiveCopy(p *port, b []byte) bool {
	const lifetime, id = 10, 12 // offsets
	if p.adj.state != isispdu.Up || len(b) < 27 || b[4]&0x1f != byte(isispdu.TypeL1LSP) || i.auth.lsp.signer != nil {
		return false
	}
	have := i.db.lsps[isispdu.LSPID(b[id:])]
	if have == nil || have.purged || have.pdu.ID.System() == i.cfg.SystemID || len(b) < len(have.raw) ||
		b[lifetime]|b[lifetime+1] == 0 ||
		!bytes.Equal(b[:lifetime], have.raw[:lifetime]) || !bytes.Equal(b[id:len(have.raw)], have.raw[id:]) {
		return false
	}
	i.counters.Received.LSP++
	for _, q := range i.ports {
		delete(q.acq.requested, have.pdu.ID)
	}
	delete(p.srm, have.pdu.ID)
	i.setSSN(p, have.pdu.ID, i.cfg.AckDelay)
	return true
}

func (i *Instance) receiveUnknownLSP(p *port, l *isispdu.LSP, raw []byte) {
	switch {
	case l.RemainingLifetime == 0:
		// 7.3.16.4: acknowledge a purge of what we do not have, keep nothing.
		i.sendPSNP(p, []isispdu.LSPEntry{l.Entry()})
	case len(i.db.order) >= i.cfg.Caps.MaxLSPs:
		i.databaseFull(p, l.ID)
	default:
		i.acceptLSP(p, l, raw)
	}
}

// acceptLSP stores a newer LSP and floods it on every other circuit.
func (i *Instance) acceptLSP(p *port, l *isispdu.LSP, raw []byte) {
	// RFC 7987: the lifetime on the wire is not protected, so a small one must
	// not make the LSP die early here.
	life := max(int64(l.RemainingLifetime)*second, i.cfg.MaxAge)
	i.checkLifetime(p, l)
	s := &storedLSP{pdu: l, raw: bytes.Clone(raw), expires: i.now.Add(life), purged: l.RemainingLifetime == 0}
	if s.purged {
		s.expires = i.now.Add(i.cfg.ZeroAgeLifetime)
	}
	i.store(s)
	for _, q := range i.ports {
		if q == p {
			delete(q.srm, l.ID)
			i.setSSN(q, l.ID, i.cfg.AckDelay)
		} else {
			i.setSRM(q, l.ID, 0)
			delete(q.ssn, l.ID)
		}
	}
}

// checkLifetime reports a lifetime that was probably damaged on the way
// (RFC 7987 s3.2): no LSP arrives new and nearly dead over an old adjacency.
func (i *Instance) checkLifetime(p *port, l *isispdu.LSP) {
	life := int64(l.RemainingLifetime) * second
	if life > 0 && life < i.cfg.ZeroAgeLifetime && i.now.Sub(p.adj.since) >= i.cfg.ZeroAgeLifetime {
		i.counters.CorruptLifetimes++
		i.notice(NoticeCorruptLifetime, p.cfg.Port, fmt.Sprintf("LSP %s came with %d s to live", l.ID, l.RemainingLifetime))
	}
}

// store puts an LSP into the database and asks for an SPF run if more than the
// sequence number and records of other cores changed.
func (i *Instance) store(s *storedLSP) {
	old := i.db.lsps[s.pdu.ID]
	if old == nil || old.purged != s.purged || !sameContent(old.raw, s.raw) {
		i.top.dirty = i.gen.lspChanged(old, s) || i.top.dirty
	}
	i.db.put(s)
}

// receiveOwnLSP handles an LSP that claims to come from us: one of an earlier
// life, or a purge of a live one (7.3.16.1, 7.3.16.4).
func (i *Instance) receiveOwnLSP(p *port, l *isispdu.LSP, raw []byte) {
	if !i.own.started {
		// Of an earlier life. As long as nobody hears otherwise, it stands.
		i.own.raise(l.ID, l.SequenceNumber)
		i.own.layout.learn(l.ID.Fragment(), l.TLVs)
		i.recallSourceID(l)
		return
	}
	have := i.db.lsps[l.ID]
	if have == nil || have.purged {
		if have != nil && have.compare(l.Entry()) != newer {
			if have.compare(l.Entry()) == older {
				i.answer(p, l.ID)
			} else {
				delete(p.srm, l.ID)
				i.setSSN(p, l.ID, i.cfg.AckDelay)
			}
			return
		}
		if i.own.uses(l.ID) {
			i.overtake(p, l.ID, l.SequenceNumber)
			return
		}
		i.own.raise(l.ID, l.SequenceNumber)
		i.purge(l)
		return
	}
	switch have.compare(l.Entry()) {
	case newer, confused:
		if i.dup.why == "" { // otherwise it is known why
			i.notice(NoticeOwnLSPNewer, p.cfg.Port, l.ID.String())
		}
		i.overtake(p, l.ID, l.SequenceNumber)
	case same:
		delete(p.srm, l.ID)
		i.setSSN(p, l.ID, i.cfg.AckDelay)
	case older:
		i.answer(p, l.ID)
		delete(p.ssn, l.ID)
	}
}

// purge replaces an LSP by its header with lifetime zero and floods that on
// every circuit (7.3.16.4, RFC 6233 s3).
func (i *Instance) purge(l *isispdu.LSP) {
	i.counters.Purges++
	head := &isispdu.LSP{Header: l.Header, ID: l.ID, SequenceNumber: l.SequenceNumber, Flags: l.Flags, TLVs: i.purgeTLVs()}
	raw := i.encode(head)
	i.store(&storedLSP{pdu: head, raw: raw, expires: i.now.Add(i.cfg.ZeroAgeLifetime), purged: true})
	for _, q := range i.ports {
		i.setSRM(q, l.ID, 0)
		delete(q.ssn, l.ID)
	}
}

// ageDatabase purges what has reached age MaxAge and forgets what has been
// purged for ZeroAgeLifetime.
func (i *Instance) ageDatabase() {
	if i.now < i.db.nextAge {
		return
	}
	for _, id := range slices.Clone(i.db.order) {
		l := i.db.lsps[id]
		switch {
		case l.expires > i.now:
		case l.purged:
			i.db.remove(id)
			for _, p := range i.ports {
				delete(p.srm, id)
				delete(p.ssn, id)
			}
		default:
			i.purge(l.pdu)
		}
	}
	i.db.nextAge = tsn.Never
	for _, l := range i.db.lsps {
		i.db.nextAge = min(i.db.nextAge, l.expires)
	}
}
