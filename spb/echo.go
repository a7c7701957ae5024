package spb

import (
	"cmp"
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
)

// Fast echo finds a link that has its carrier and loses frames, in one
// direction or both: the session of RFC 5880, asynchronous mode, between the
// two ends of a fabric link. Every frame says whom its sender hears, and within
// what time the next one comes; after Multiplier times that without a frame the
// link is lost, and the state in the next frame tells the other end, which may
// hear everything.
//
//	       +--+ heard: Down, and whom it hears
//	heard  |  | AdminDown, or silence
//	       V  |
//	      Down ──── heard: Down ────> Init
//	       ^ └───── heard: Init ───┐    │ heard: Init, Up
//	       │                       V    V
//	       └─── heard: Down ─────── Up <┘
//	            or silence: the link is lost
//
// The session starts by itself, and a link may be used before it is Up: a
// neighbour that has no echo, says so, and hellos decide as always. Once it was
// Up it is needed: after a loss the adjacency goes down at once, and what hellos
// bring up again is not used until echo has been Up for a while, or the
// neighbour says AdminDown.
//
// A machine that was not stepped in time, because the processor had other things
// to do, takes the frames that wait for it before it calls their sender silent,
// for one interval at most. Nothing helps against the same at the sender: where
// the daemon has to share a busy processor, it needs a higher priority than the
// load, or a longer interval.
//
// A daemon that is killed sends no echo, so with echo enabled its neighbours
// take its links out of use, although its bridge goes on forwarding: what echo
// gains in the detection of silent losses, a restart after a crash loses. A
// daemon that is stopped in order says AdminDown first (PauseEcho), and its
// restart goes unnoticed.

// Kinds of tsn.Notice of fast echo.
const (
	NoticeEchoLost = "echo-lost"
	NoticeEchoUp   = "echo-up"
)

// PauseEcho is an event: the daemon is about to stop. Neighbours are told not
// to expect echoes. It holds as long as the Instance lives.
type PauseEcho struct{}

// EchoConfig is fast echo on a fabric port. Zero means the default in brackets.
type EchoConfig struct {
	// Interval is between the frames of this end, ns, unless the other end takes
	// fewer [0: no echo]. A loss is found after Multiplier intervals.
	Interval   int64
	Multiplier uint8 // [3]
}

func (c EchoConfig) validate() error {
	switch {
	case c.Interval != 0 && (c.Interval < millisecond || c.Interval > 10*second):
		return fmt.Errorf("echo interval of %d ns is outside 1 ms..10 s", c.Interval)
	case c.Interval != 0 && c.Multiplier == 1:
		return fmt.Errorf("echo multiplier 1: one lost frame is not a lost link")
	}
	return nil
}

const (
	// echoSlow is between frames as long as the session is not Up.
	echoSlow = 100 * millisecond
	// echoMaxInterval bounds what a neighbour may announce.
	echoMaxInterval = 60 * second
	// After a loss echo must be Up so long before the link is used again. It
	// doubles with each loss in echoCalm.
	echoRecovery    = second
	echoMaxRecovery = 16 * second
	echoCalm        = 60 * second
)

// echo is the session of a port.
type echo struct {
	state  ctlframe.EchoState
	paused bool
	// fault says why the link must not be used; empty if it may.
	fault string

	peer     tsn.MAC // that is heard, zero: nobody
	peerPort tsn.Port
	interval int64 // ns, within which its next frame comes
	multiply uint8
	minimum  int64 // ns between frames that it takes
	last     uint32

	next     tsn.Instant // frame
	detect   tsn.Instant // silence: the link is lost
	spared   bool        // detect was put off already
	clear    tsn.Instant // the fault is over
	sequence uint32
	recovery int64
	lostAt   tsn.Instant
	lost     uint64
}

func (e *echo) init() {
	e.state, e.next, e.detect, e.clear = ctlframe.EchoDown, tsn.Never, tsn.Never, tsn.Never
}

// mismatch says why frames must not be sent over the link, "" if they may.
func (p *port) mismatch() string { return cmp.Or(p.adj.mismatch, p.echo.fault) }

// echoLink starts the session with the link, and forgets it with it.
func (i *Instance) echoLink(p *port) {
	e := &p.echo
	sequence, lost, recovery, lostAt, paused := e.sequence, e.lost, e.recovery, e.lostAt, e.paused
	*e = echo{sequence: sequence, lost: lost, recovery: recovery, lostAt: lostAt, paused: paused}
	e.init()
	if p.up && p.cfg.Echo.Interval != 0 {
		e.next = i.now
	}
}

// runEcho makes what is due happen on every port.
func (i *Instance) runEcho() {
	for _, p := range i.ports {
		e := &p.echo
		if e.detect <= i.now && !e.spared && i.now.Sub(i.ctl.stepped) > p.cfg.Echo.Interval*3/2 {
			i.counters.Control.EchoStalls++
			e.spared, e.detect = true, i.now.Add(p.cfg.Echo.Interval)
		}
		if e.detect <= i.now {
			i.counters.Control.EchoTimeouts++
			e.peer, e.peerPort, e.detect = tsn.MAC{}, tsn.NoPort, tsn.Never
			i.setEcho(p, ctlframe.EchoDown, "no echo from the neighbour")
		}
		if e.clear <= i.now {
			e.fault, e.clear = "", tsn.Never
			i.linksChanged()
		}
		if e.next <= i.now {
			i.sendEcho(p)
		}
	}
	i.ctl.stepped = i.now
}

func (i *Instance) echoDeadline() tsn.Instant {
	d := tsn.Never
	for _, p := range i.ports {
		d = min(d, p.echo.next, p.echo.detect, p.echo.clear)
	}
	return d
}

// setEcho changes the state of a session. why is for the case that it was Up.
func (i *Instance) setEcho(p *port, s ctlframe.EchoState, why string) {
	e := &p.echo
	was := e.state
	if was == s {
		return
	}
	e.state, e.next = s, i.now // at once, with the new interval
	switch {
	case s == ctlframe.EchoUp:
		i.notice(NoticeEchoUp, p.cfg.Port, e.peer.String())
		if e.fault != "" {
			e.clear = i.now.Add(e.recovery)
		}
	case was == ctlframe.EchoUp && why != "":
		e.lost++
		e.recovery = min(2*e.recovery, echoMaxRecovery)
		if e.recovery == 0 || i.now.Sub(e.lostAt) > echoCalm {
			e.recovery = echoRecovery
		}
		e.lostAt, e.clear, e.fault = i.now, tsn.Never, "echo lost: "+why
		i.notice(NoticeEchoLost, p.cfg.Port, why)
		i.adjacencyDown(p, e.fault)
		if p.graceUntil != 0 {
			i.endGrace(p)
		}
	case was == ctlframe.EchoUp: // in order
		e.clear = tsn.Never
	}
}

// txInterval is how often this end sends now.
func (p *port) txInterval() int64 {
	e := &p.echo
	if e.state == ctlframe.EchoUp && !e.paused {
		return max(p.cfg.Echo.Interval, e.minimum)
	}
	return max(p.cfg.Echo.Interval, echoSlow)
}

func (i *Instance) sendEcho(p *port) {
	e := &p.echo
	interval := p.txInterval()
	f := &ctlframe.Echo{
		State: e.state, Multiplier: p.cfg.Echo.Multiplier, Port: p.cfg.Port, HeardID: e.peer, HeardPort: e.peerPort,
		Interval: uint32(interval / 1000), MinReceive: uint32(p.cfg.Echo.Interval / 1000), Sequence: e.sequence,
	}
	if e.paused || p.cfg.Echo.Interval == 0 {
		f.State = ctlframe.EchoAdminDown
	}
	e.sequence++
	i.counters.Control.EchoSent++
	i.effects = append(i.effects, tsn.Send{Port: p.cfg.Port, Frame: f.Append(nil, i.cfg.SystemID), Priority: 7})
	e.next = tsn.Never
	if p.cfg.Echo.Interval != 0 { // RFC 5880 s6.8.7: up to 25 % earlier
		e.next = i.now.Add(interval - i.rng.below(interval/4))
	}
}

func (i *Instance) pauseEcho() {
	for _, p := range i.ports {
		if !p.up || p.cfg.Echo.Interval == 0 || p.echo.paused {
			continue
		}
		p.echo.paused = true
		p.echo.detect = tsn.Never
		i.setEcho(p, ctlframe.EchoDown, "")
		for range 3 { // none comes again to make up for a lost one
			i.sendEcho(p)
		}
	}
}

// receiveEcho is RFC 5880 s6.8.6.
func (i *Instance) receiveEcho(in tsn.Port, h ctlframe.Header, f *ctlframe.Echo) {
	c := &i.counters.Control
	p := i.port(in)
	if p == nil || !p.up || h.Src == i.cfg.SystemID || h.Src.IsGroup() || h.Src.IsZero() || h.VID != 0 {
		c.EchoIgnored++
		return
	}
	c.EchoReceived++
	e := &p.echo
	if p.cfg.Echo.Interval == 0 || e.paused {
		if f.State != ctlframe.EchoAdminDown && i.now.Sub(e.lostAt) >= echoSlow {
			e.lostAt = i.now // at most one answer in echoSlow
			i.sendEcho(p)
		}
		return
	}
	if !e.peer.IsZero() && (e.peer != h.Src || e.peerPort != f.Port) {
		i.setEcho(p, ctlframe.EchoDown, "another neighbour answers: "+h.Src.String())
	} else if e.peer == h.Src && f.Sequence-e.last < 1<<31 && f.Sequence != e.last {
		c.EchoMissing += uint64(f.Sequence - e.last - 1)
	}
	e.peer, e.peerPort, e.last = h.Src, f.Port, f.Sequence
	e.interval, e.multiply = min(int64(f.Interval)*1000, echoMaxInterval), f.Multiplier
	e.minimum = min(int64(f.MinReceive)*1000, echoMaxInterval)
	e.detect, e.spared = i.now.Add(int64(e.multiply)*e.interval), false
	hears := f.HeardID == i.cfg.SystemID && f.HeardPort == p.cfg.Port
	switch {
	case f.State == ctlframe.EchoAdminDown:
		i.echoNotWanted(p)
	case f.State == ctlframe.EchoDown && e.state == ctlframe.EchoUp:
		i.setEcho(p, ctlframe.EchoDown, "the neighbour hears none of ours")
	case f.State == ctlframe.EchoDown:
		i.setEcho(p, ctlframe.EchoInit, "")
	case !hears: // it is in a session with somebody else
		i.setEcho(p, ctlframe.EchoDown, "the neighbour hears another one")
	case e.state == ctlframe.EchoInit, e.state == ctlframe.EchoDown && f.State == ctlframe.EchoInit:
		i.setEcho(p, ctlframe.EchoUp, "")
	}
}

// echoNotWanted: the neighbour has no echo, or is about to restart.
func (i *Instance) echoNotWanted(p *port) {
	e := &p.echo
	i.setEcho(p, ctlframe.EchoDown, "")
	e.detect = tsn.Never
	if e.fault != "" {
		e.fault, e.clear = "", tsn.Never
		i.linksChanged()
	}
}

// EchoStatus is the fast echo of a fabric port.
type EchoStatus struct {
	State      string `json:"state"` // Down, Init, Up; AdminDown: off, or paused
	Fault      string `json:"fault,omitempty"`
	IntervalNS int64  `json:"intervalNs"` // between own frames
	DetectNS   int64  `json:"detectNs"`   // silence that means a loss, 0 unless Up
	Losses     uint64 `json:"losses"`
}

func (p *port) echoStatus() EchoStatus {
	e := &p.echo
	s := EchoStatus{State: e.state.String(), Fault: e.fault, Losses: e.lost}
	if p.cfg.Echo.Interval == 0 || e.paused {
		s.State = ctlframe.EchoAdminDown.String()
		return s
	}
	s.IntervalNS = p.txInterval()
	if e.state == ctlframe.EchoUp {
		s.DetectNS = int64(e.multiply) * e.interval
	}
	return s
}
