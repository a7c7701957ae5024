package spb

import (
	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// helper is what a port keeps about the restart of its neighbour (RFC 8706
// s3.2, table 1).
type helper struct {
	// helping is "Restart mode": the holding time runs out unless the neighbour
	// completes its restart.
	helping bool
	// suppressed: the neighbour is starting, the adjacency is not advertised and
	// not used.
	suppressed bool
	// planned, if not zero, is when a planned restart must be over; see
	// restart_planned.go.
	planned, plannedSince tsn.Instant
	// answer is whom the next hello acknowledges, zero: nobody; with PA or RA.
	answer   tsn.MAC
	answerPA bool
}

// restartOf finds the TLV of a hello. One with flags that do not go together is
// ignored as if it had none set (s3.2); nil means that there is no TLV.
func restartOf(tlvs []isispdu.TLV) *isispdu.Restart {
	r, ok := isispdu.Find[*isispdu.Restart](tlvs)
	if !ok {
		return nil
	}
	switch r.Flags & (isispdu.RestartRR | isispdu.RestartRA | isispdu.RestartSA | isispdu.RestartPR | isispdu.RestartPA) {
	case 0, isispdu.RestartRR, isispdu.RestartSA, isispdu.RestartRR | isispdu.RestartSA, isispdu.RestartPR:
		return r
	case isispdu.RestartRA, isispdu.RestartPA:
		if r.Fields >= 1 {
			return r
		}
	}
	return &isispdu.Restart{}
}

// helpRestart handles the RR bit. It reports true if the adjacency was kept and
// the hello has been dealt with (s3.2.1 a to c).
func (i *Instance) helpRestart(p *port, h *isispdu.IIH, r *isispdu.Restart, tw *isispdu.ThreeWay) bool {
	if r == nil || r.Flags&isispdu.RestartRR == 0 {
		p.help.helping = false
		return false
	}
	p.help.answer, p.help.answerPA, p.help.planned = h.SourceID, false, 0
	p.nextHello = i.now
	if p.adj.state != isispdu.Up || p.adj.neighbor != h.SourceID {
		return false // as always, but acknowledged
	}
	if !p.help.helping {
		p.help.helping = true
		i.counters.RestartsHelped++
		p.adj.expires = i.now.Add(int64(h.HoldingTime) * second)
		i.notice(NoticeNeighbourRestarts, p.cfg.Port, h.SourceID.String())
	}
	if p.adj.circuit != tw.ExtendedLocalCircuitID {
		p.adj.circuit = tw.ExtendedLocalCircuitID
		i.linksChanged()
	}
	p.exchange = newExchange() // what it has agreed to it has forgotten
	i.suppress(p, r)
	i.synchronise(p)
	return true
}

// suppress follows the SA bit (s3.2.2).
func (i *Instance) suppress(p *port, r *isispdu.Restart) {
	if was, on := p.help.suppressed, r != nil && r.Flags&isispdu.RestartSA != 0; on != was {
		p.help.suppressed = on
		i.linksChanged()
	}
}

// restartTLV is what the next hello of a port says. It must be in every hello
// of a system that knows restarts.
func (i *Instance) restartTLV(p *port) *isispdu.Restart {
	if p.help.answer.IsZero() {
		return i.ownRestart(p)
	}
	left := min(max(p.adj.expires.Sub(i.now), 0)/second, 65535)
	if p.adj.state == isispdu.Down {
		left = 0
	}
	flag := uint8(isispdu.RestartRA)
	if p.help.answerPA {
		flag = isispdu.RestartPA
	}
	return &isispdu.Restart{
		Flags: flag, Fields: 2, RemainingTime: uint16(left), NeighborSystemID: p.help.answer,
	}
}
