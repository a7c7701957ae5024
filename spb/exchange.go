package spb

import (
	"bytes"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// exchange is the state for one neighbour.
type exchange struct {
	// Of ours: the number and digest in our hellos, and whether it was echoed.
	number uint8
	sent   agreementDigest
	valid  bool
	echoed bool
	again  tsn.Instant // repeat the hello, Never if it is not waited for
	wait   int64
	// Of theirs. foreign: hellos without a digest, or one of another convention.
	known, theirsValid, foreign bool
	theirs                      agreementDigest
	theirNumber                 uint8
	// stale counts hellos in a row that were out of turn with one number.
	stale, staleNumber uint8
}

// firstNumber differs from the echo of a neighbour that has heard nothing.
const firstNumber = 1

const (
	agreementRetry = 20 * millisecond // doubled up to the hello interval
	agreementNews  = 5 * second       // a wait that long is worth a notice
	// So many hellos in a row with a number out of turn are no longer old ones
	// that were overtaken: what we took for their number was wrong.
	maxStale = 4
)

// forgotten: the neighbour has begun a new exchange; what it said before does
// not count, and it has to hear us again.
func (x *exchange) forgotten(now tsn.Instant) {
	again := x.again
	if x.valid {
		again = now.Add(agreementRetry)
	}
	*x = exchange{number: x.number, sent: x.sent, valid: x.valid, again: again, wait: agreementRetry}
}

func newExchange() exchange { return exchange{number: firstNumber, again: tsn.Never} }

// advertiseDigest puts the digest into the hellos of a port, one number after
// the other: the next only when the last was echoed.
func (i *Instance) advertiseDigest(p *port) {
	x := &p.exchange
	if x.valid && x.sent == i.agree.digest {
		return
	}
	if x.valid && !x.echoed {
		return
	}
	if x.valid {
		x.number = (x.number + 1) & 3
	}
	x.valid, x.sent, x.echoed, x.wait = true, i.agree.digest, false, agreementRetry
	p.nextHello = i.now
	x.again = i.now.Add(x.wait)
}

// repeatDigest sends a hello again whose digest was not echoed.
func (i *Instance) repeatDigest(p *port) {
	x := &p.exchange
	if x.again > i.now {
		return
	}
	x.again = tsn.Never
	if p.adj.state == isispdu.Up && x.valid && !x.echoed && !x.foreign {
		x.wait = min(2*x.wait, i.cfg.HelloInterval)
		x.again = i.now.Add(x.wait)
		p.nextHello = i.now
	}
}

// digestTLV is what a hello of the port says.
func (i *Instance) digestTLV(p *port) isispdu.TLV {
	x := &p.exchange
	t := &isispdu.SPBDigest{Agreement: bytes.Clone(x.sent[:])}
	if x.valid {
		t.Flags = 1<<4 | x.number<<2
	}
	if x.known {
		t.Flags |= x.theirNumber
	}
	return t
}

// receiveDigest takes the neighbour's digest from a hello (RFC 6329 s13.2).
func (i *Instance) receiveDigest(p *port, tlvs []isispdu.TLV) {
	if p.adj.state != isispdu.Up {
		return
	}
	x := &p.exchange
	d, ok := findDigest(tlvs)
	valid := d != nil && d.Flags&(1<<4) != 0
	if d == nil || valid && !ok {
		x.foreign = true
		return
	}
	// Without V the neighbour has begun anew, and so will its numbers.
	x.foreign = false
	number, echo := d.Flags>>2&3, d.Flags&3
	if x.known && x.theirsValid && valid && (number-x.theirNumber)&3 > 1 {
		if x.stale++; x.staleNumber != number {
			x.stale, x.staleNumber = 1, number
		}
		if x.stale < maxStale {
			i.counters.Drops.StaleDigest++ // an old hello, overtaken on its way
			return
		}
	}
	x.stale = 0
	theirs := agreementDigest(d.Agreement)
	news := valid && (!x.known || number != x.theirNumber || theirs != x.theirs)
	if valid {
		x.known, x.theirNumber, x.theirs = true, number, theirs
	}
	x.theirsValid = valid
	if x.valid && !x.echoed && echo == x.number {
		x.echoed, x.again = true, tsn.Never
	}
	if news {
		p.nextHello = i.now // they wait for the echo
	}
}

func findDigest(tlvs []isispdu.TLV) (*isispdu.SPBDigest, bool) {
	for _, c := range isispdu.All[*isispdu.MTPortCap](tlvs) {
		if c.MT&0xfff != 0 {
			continue
		}
		if d, ok := isispdu.Find[*isispdu.SPBDigest](c.SubTLVs); ok {
			return d, len(d.Agreement) == len(agreementDigest{}) && d.Agreement[1] == digestConvention
		}
	}
	return nil, false
}

// agrees reports whether the neighbour of a port holds nothing that is not of
// our graph, and knows that we do neither.
func (i *Instance) agrees(p *port) bool {
	x := &p.exchange
	if x.foreign {
		return i.now.Sub(i.agree.since) >= i.cfg.AgreementHold
	}
	return x.known && x.theirsValid && x.theirs == i.agree.digest && x.valid && x.sent == i.agree.digest && x.echoed
}
