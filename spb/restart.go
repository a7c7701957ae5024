package spb

import (
	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Restart signalling (RFC 8706). This file is the restarting side, tables 2 and
// 3; restart_helper.go is the neighbour's, table 1; restart_planned.go is what
// both do before.
//
//	restarting: the kernel still forwards as an earlier life left it
//	  hello RR ──T1──> hello RR ...        until RA and a whole CSNP set
//	  everything listed in the CSNPs is here, or T2: own LSP, Forwarding
//	  T3 before that: the same at once, with the overload bit until T2
//	starting: there is nothing to keep
//	  hello SA, own LSP with the overload bit, adjacency Up, T1, hello RR+SA ...
//	  synchronised, or T2: hello without SA, overload bit clear

// restartTries is how many times T1 expires before a port is left alone.
const restartTries = 5

// restartMode is the state of the whole bridge.
type restartMode uint8

const (
	running restartMode = iota
	restarting
	starting
)

func (m restartMode) String() string {
	return [...]string{"", "restarting", "starting"}[m]
}

// restart is this bridge's own start.
type restart struct {
	mode restartMode
	// t2 ends the wait for the database, t3 is when the first neighbour gives
	// this bridge up.
	t2, t3 tsn.Instant
	// planned: this daemon is about to go, and will be back by then.
	planned tsn.Instant
}

func (r *restart) String(now tsn.Instant) string {
	if r.planned > now {
		return "planned"
	}
	return r.mode.String()
}

// reacquisition is the state of a port during a start.
type reacquisition struct {
	t1    tsn.Instant // Never: cancelled or not yet begun
	tries int
	seen  bool // ADJ Seen RA
	// synchronised: a whole CSNP set came (ADJ Seen CSNP); up to csnpNext it has
	// come. requested is what it made us ask for.
	synchronised bool
	csnpNext     isispdu.LSPID
	requested    map[isispdu.LSPID]bool
}

func newReacquisition() reacquisition { return reacquisition{t1: tsn.Never} }

// lost begins again with a neighbour that is gone.
func (a *reacquisition) lost() { *a = reacquisition{t1: a.t1, tries: a.tries} }

// beginStart is the first Step.
func (i *Instance) beginStart() {
	r := &i.restart
	r.t2, r.t3 = tsn.Never, tsn.Never
	switch {
	case i.cfg.StartupHold > 0:
		r.mode, r.t2 = restarting, i.now.Add(i.cfg.StartupHold)
		i.own.held = true
		// RFC 8706 gives 65535 s; here T2 is shorter anyway.
	case i.cfg.SuppressOnStart > 0:
		r.mode, r.t2 = starting, i.now.Add(i.cfg.SuppressOnStart)
		i.over.unsynchronised = true // s3.4.1.2
	}
}

// acquire begins the signalling on a port: when the link is there (restarting)
// or the adjacency is Up (starting).
func (i *Instance) acquire(p *port, mode restartMode) {
	if i.restart.mode == mode {
		p.acq.t1, p.acq.tries = i.now.Add(i.cfg.RestartT1), 0
	}
}

// ownRestart is the TLV of a hello without acknowledgement.
func (i *Instance) ownRestart(p *port) *isispdu.Restart {
	t := &isispdu.Restart{}
	switch i.restart.mode {
	case running:
		if left := i.restart.planned.Sub(i.now); left > 0 {
			t.Flags, t.Fields, t.RemainingTime = isispdu.RestartPR, 1, uint16((left+second-1)/second)
		}
	case restarting:
		if p.acq.t1 != tsn.Never {
			t.Flags |= isispdu.RestartRR
		}
	case starting:
		t.Flags |= isispdu.RestartSA
		if p.acq.t1 != tsn.Never && p.acq.tries > 0 {
			t.Flags |= isispdu.RestartRR
		}
	}
	return t
}

// receiveRestart takes from a neighbour's hello what concerns our own start.
// r is nil if the neighbour does not know restarts.
func (i *Instance) receiveRestart(p *port, r *isispdu.Restart, tw *isispdu.ThreeWay) {
	a := &p.acq
	switch {
	case i.restart.mode == running && (r == nil || r.Flags&isispdu.RestartRA == 0):
		return
	case r == nil:
		// s3.3.1: this neighbour starts the adjacency anew and sends all it has. If
		// it has not noticed our restart, a normal hello makes it.
		if i.restart.mode == restarting && a.t1 != tsn.Never {
			p.nextHello = i.now
		}
		a.t1 = tsn.Never
	case r.Flags&isispdu.RestartRA != 0 && r.Fields == 2 && r.NeighborSystemID == i.cfg.SystemID:
		a.seen = true
		p.exchange.forgotten(i.now) // s3.2.1: it has just begun anew
		if i.restart.mode == restarting && tw.State == isispdu.Up {
			i.restart.t3 = min(i.restart.t3, i.now.Add(int64(r.RemainingTime)*second))
		}
	}
	i.reacquired(p)
}

// receiveCSNPRange takes note of how much of the neighbour's database has been
// described.
func (i *Instance) receiveCSNPRange(p *port, c *isispdu.CSNP) {
	a := &p.acq
	if a.synchronised || c.Start.Compare(a.csnpNext) > 0 || c.End.Compare(a.csnpNext) < 0 {
		return
	}
	if a.synchronised = c.End == isispdu.MaxLSPID; !a.synchronised {
		a.csnpNext = successor(c.End)
	}
	i.reacquired(p)
}

// reacquired cancels T1 when both the acknowledgement and the CSNPs are here.
func (i *Instance) reacquired(p *port) {
	if a := &p.acq; a.t1 != tsn.Never && a.seen && a.synchronised {
		a.t1 = tsn.Never
	}
}

// asRestarting tells whether a port in state Down acts as if it were
// Initializing, so that an acknowledgement brings it Up at once (s3.3.1).
func (i *Instance) asRestarting(p *port) bool {
	return i.restart.mode == restarting && p.acq.t1 != tsn.Never
}

// synchronised reports whether everything that the neighbours had when they
// described their databases is here. Ports without a neighbour count once T1
// has given them up.
func (i *Instance) synchronised() bool {
	neighbours := 0
	for _, p := range i.ports {
		if !p.up {
			continue
		}
		if p.acq.t1 != tsn.Never {
			return false
		}
		if p.adj.state != isispdu.Up {
			if i.restart.mode == starting || p.acq.tries > restartTries {
				continue
			}
			return false
		}
		neighbours++
		if !p.acq.synchronised || len(p.acq.requested) > 0 {
			return false
		}
	}
	return neighbours > 0
}

// runRestart runs the timers and ends the start when the database is
// synchronised.
func (i *Instance) runRestart() {
	r := &i.restart
	i.expirePlanned()
	if r.mode == running {
		return
	}
	for _, p := range i.ports {
		if p.acq.t1 > i.now {
			continue
		}
		p.acq.t1 = i.now.Add(i.cfg.RestartT1)
		if p.acq.tries++; p.acq.tries > restartTries {
			i.giveUp(p)
		}
		if p.up {
			p.nextHello = i.now
		}
	}
	switch {
	case r.t2 <= i.now || i.synchronised():
		i.endStart()
	case r.t3 <= i.now:
		// s3.4.1.1: too late. Say what we know, and that it is not all.
		r.t3 = tsn.Never
		i.over.unsynchronised = true
		i.own.held, i.top.holdUntil = false, i.now
		for _, p := range i.ports {
			i.giveUp(p)
			if p.up {
				p.nextHello = i.now
			}
		}
	}
}

// giveUp cancels T1. An adjacency over which the request was never answered
// starts anew: this bridge does not know what that neighbour believes.
func (i *Instance) giveUp(p *port) {
	unanswered := i.asRestarting(p) && !p.acq.seen
	if p.acq.t1 = tsn.Never; unanswered {
		i.adjacencyDown(p, "restart request not answered")
	}
}

// endStart is the end of T2.
func (i *Instance) endStart() {
	if i.restart.mode == starting {
		for _, p := range i.ports {
			if p.up {
				p.nextHello = i.now // without SA
			}
		}
	}
	for _, p := range i.ports {
		i.giveUp(p)
		p.acq.requested = nil
	}
	i.restart = restart{t2: tsn.Never, t3: tsn.Never}
	i.over.unsynchronised = false
	i.own.held = false
}

// restartDeadline is the earliest of T1, T2 and T3.
func (i *Instance) restartDeadline() tsn.Instant {
	if i.restart.mode == running {
		return i.plannedDeadline()
	}
	d := min(i.plannedDeadline(), i.restart.t2, i.restart.t3)
	for _, p := range i.ports {
		d = min(d, p.acq.t1)
	}
	return d
}
