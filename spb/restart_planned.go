package spb

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Planned restarts (RFC 8706 s3.2.3): a daemon says before it stops that it will
// be back, and neighbours keep the adjacency for longer than the holding time.
// Meanwhile its edge ports forward without the probes of the edge guard.

// PrepareRestart is an event: the daemon is about to restart, and the kernel
// goes on forwarding. Neighbours are asked to keep the adjacency for Time, ns, up
// to 65535 s, and not to expect echoes (PauseEcho). Zero takes it back, but for
// the echoes.
type PrepareRestart struct{ Time int64 }

// maxPlanned bounds what a neighbour can ask for: a bridge whose daemon does
// not come back is in everybody's paths for so long.
const maxPlanned = 3600 * second

// prepareRestart tells the neighbours in the same Step. It does not wait until
// they have answered: the daemon stops anyway.
func (i *Instance) prepareRestart(ev PrepareRestart) {
	i.pauseEcho()
	if i.restart.mode != running {
		return // it is in the middle of one
	}
	i.restart.planned = i.now.Add(min(max(ev.Time, 0), 65535*second))
	for _, p := range i.ports {
		if p.up {
			p.nextHello = i.now
		}
	}
}

// keepPlanned follows the PR bit of a hello that has been dealt with otherwise
// (s3.2.3 a and b).
func (i *Instance) keepPlanned(p *port, h *isispdu.IIH, r *isispdu.Restart) {
	if p.adj.state != isispdu.Up || r == nil || r.Flags&isispdu.RestartPR == 0 || r.Fields == 0 {
		p.help.planned = 0
		return
	}
	if p.help.planned == 0 {
		p.help.planned = i.now.Add(min(int64(r.RemainingTime)*second, maxPlanned))
		p.help.plannedSince = i.now
		i.notice(NoticeNeighbourRestarts, p.cfg.Port, fmt.Sprintf("%s: planned, its link stays for %d s", h.SourceID, p.help.planned.Sub(i.now)/second))
	}
	p.adj.expires = p.help.planned
	p.help.answer, p.help.answerPA = h.SourceID, true
	p.nextHello = i.now
}

// plannedEnd is when the patience with a planned restart ends because the
// fabric has changed: the neighbour cannot follow, and nobody can agree with it.
func (i *Instance) plannedEnd(p *port) tsn.Instant {
	if p.help.planned == 0 || !i.agree.pending {
		return tsn.Never
	}
	return max(i.agree.since, p.help.plannedSince).Add(i.cfg.AgreementHold)
}

func (i *Instance) expirePlanned() {
	for _, p := range i.ports {
		if i.plannedEnd(p) <= i.now {
			i.adjacencyDown(p, "restarts, and the fabric has changed meanwhile")
		}
	}
}

func (i *Instance) plannedDeadline() tsn.Instant {
	d := tsn.Never
	for _, p := range i.ports {
		d = min(d, i.plannedEnd(p))
	}
	return d
}
