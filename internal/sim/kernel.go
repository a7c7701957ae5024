package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Times of the daemon's applier, ns.
const (
	applyTime    = 2_000_000        // the kernel takes this long
	applyRetry   = nsPerSecond      // after a failure
	applyPending = 100_000_000      // while a schedule waits for its base time
	applyCheck   = 30 * nsPerSecond // although nothing changed
)

// boot gives a node a kernel as it is after boot.
func (n *Network) boot(d *Node) (err error) {
	c := dataplane.Config{
		ClassMap: d.cfg.Node.ClassMap, PhaseTolerance: d.cfg.GateBound,
		PTPToGate: func(_ tsn.Port, p tsn.PTPTime) (int64, error) {
			if d.relation == nil {
				return 0, errors.New("gPTP has no time yet")
			}
			return d.gate.at(d.relation.Relation.LocalAt(p)), nil
		},
	}
	if s := d.cfg.Node.SPB; s != nil {
		c.Bridge, c.CreateBridge, c.SystemID = "br0", true, s.SystemID
	}
	for _, p := range d.cfg.Node.Ports {
		pc := dataplane.PortConfig{Port: p, Ifname: fmt.Sprintf("p%d", p)}
		for _, r := range d.cfg.Node.SRP.Ports {
			if r.Port == p {
				pc.Rate = r.Rate
			}
		}
		c.Ports = append(c.Ports, pc)
	}
	d.Kernel, err = fake.New(c, d.cfg.Board)
	return err
}

// kernel is the node's kernel, with its gate clock set to now.
func (n *Network) kernel(d *Node) *fake.Kernel {
	d.Kernel.Now = d.gate.at(d.Clock.At(n.now))
	return d.Kernel
}

// read returns the kernel's state; a fake kernel does not fail at it.
func (n *Network) read(d *Node) dataplane.State {
	s, err := n.kernel(d).Read()
	if err != nil {
		panic(fmt.Sprintf("sim: %s: read the kernel: %v", d.Name, err))
	}
	return s
}

// poke asks for a look at the kernel soon.
func (n *Network) poke(d *Node) {
	if at := n.now.Add(applyTime); d.apply.index < 0 || d.apply.at > at {
		n.q.set(d.apply, at)
	}
}

// applyNow makes the kernel equal to the last desired state, and tells Control
// what became of its gates.
func (n *Network) applyNow(d *Node) {
	if d.Desired == nil || d.hold != nil {
		return
	}
	want := *d.Desired
	report, err := n.kernel(d).Set(context.Background(), want.State)
	d.KernelErr = err
	d.Sets++
	for _, g := range want.Gates {
		answer := qbv.Applied{Port: g.Port, Generation: g.Generation}
		if err := portError(report, err, g.Port); err != nil {
			answer.Refused = err.Error()
		}
		n.q.at(n.now, func() { n.step(d, Control, answer) })
	}
	if want.Forwarding != 0 {
		answer := spb.Applied{Generation: want.Forwarding}
		if !report.Bridge {
			answer.Err = err.Error()
		}
		n.q.at(n.now, func() { n.step(d, Control, answer) })
	}
	if errors.Is(err, dataplane.ErrNotSupported) {
		n.q.at(n.now, func() { n.tellUnlocked(d) })
	}
	n.watchGates(d)
	next := int64(applyCheck)
	if err != nil {
		next = applyRetry
		if errors.Is(err, dataplane.ErrPending) {
			next = applyPending
		}
	}
	n.q.set(d.apply, n.now.Add(next))
}

// portError is what a Set's error means for one port: refusals concern the
// port they name, anything else concerns all.
func portError(r dataplane.Report, err error, port tsn.Port) error {
	if err == nil || len(r.Refused) == 0 || len(r.Left) > 0 {
		return err
	}
	for _, refused := range r.Refused {
		var one interface{ OnPort() tsn.Port }
		if !errors.As(refused, &one) || one.OnPort() == port {
			return refused
		}
	}
	return nil
}

// watchGates notes which schedules have begun, and waits for the next one.
func (n *Network) watchGates(d *Node) {
	s := n.read(d)
	next := tsn.Never
	for _, e := range s.Egress {
		base, waited := d.pending[e.Port]
		if e.Admin == nil {
			if waited && base <= d.Kernel.Now {
				d.Started[e.Port] = Start{True: n.now, Base: base}
			}
			delete(d.pending, e.Port)
			continue
		}
		d.pending[e.Port] = e.Admin.Base
		local := d.gate.localAt(e.Admin.Base)
		next = min(next, d.Clock.TrueTime(tsn.Instant(local.Sub(tsn.LocalTime(d.Clock.Offset)))))
	}
	n.q.set(d.gates, max(next, n.now))
}

// readBack tells Control what the kernel runs on a port.
func (n *Network) readBack(d *Node, port tsn.Port) {
	s := n.read(d)
	e := s.EgressOf(port)
	if e == nil || d.relation == nil {
		return
	}
	ev := qbv.ReadBack{Port: port, Oper: d.gateList(e.Oper), Admin: d.gateList(e.Admin)}
	n.q.at(n.now, func() { n.step(d, Control, ev) })
}

// gateList converts a kernel's schedule to gPTP time; one that never closes a
// gate is none.
func (d *Node) gateList(s *dataplane.Schedule) *tsn.GateControlList {
	if s == nil || len(s.Entries) < 2 {
		return nil
	}
	return &tsn.GateControlList{
		BaseTime:  d.relation.Relation.At(d.gate.localAt(s.Base)),
		CycleTime: s.Cycle, CycleTimeExtension: s.Extension, Entries: slices.Clone(s.Entries),
	}
}

// relate takes what gPTP measured, steers the gate clock by it, and tells
// Control.
func (n *Network) relate(d *Node, r gptp.RelationChanged) {
	d.relation = &r
	if r.Synced && !d.cfg.FreeGates {
		d.gate.steer(d.Clock.At(n.now), r.Relation)
		if len(d.pending) > 0 {
			n.watchGates(d)
		}
	}
	n.q.at(n.now, func() { n.tellControl(d) })
}

func (n *Network) tellTime(d *Node) {
	n.tellControl(d)
	n.q.set(d.tick, n.now.Add(nsPerSecond))
}

func (n *Network) tellControl(d *Node) {
	if d.relation == nil {
		return
	}
	now := d.Clock.At(n.now)
	n.step(d, Control, qbv.Clock{
		Now: d.relation.Relation.At(now), Synced: d.relation.Synced,
		Exceeded: !d.gate.schedulable(now, d.relation.Relation, d.cfg.GateBound),
	})
}

// PTPNow is gPTP time as the node sees it, and whether it is synchronized.
func (n *Network) PTPNow(d *Node) (tsn.PTPTime, bool) {
	if d.relation == nil {
		return tsn.PTPTime{}, false
	}
	return d.relation.Relation.At(d.Clock.At(n.now)), d.relation.Synced
}

// hold is a restarted node that must not take its ignorance for the truth:
// the kernel stays as it is until this life wants the same, or the limit.
type hold struct {
	until tsn.Instant
	gated bool // a schedule runs that has not been adopted yet
}

const (
	holdLimit = 15 * nsPerSecond
	holdLook  = 100_000_000
)

// kernelInUse looks for the work of an earlier life.
func (n *Network) kernelInUse(d *Node) (forwarding, gated bool) {
	s := n.read(d)
	for _, e := range s.Egress {
		gated = gated || e.Oper != nil && len(e.Oper.Entries) > 1
	}
	return s.Bridge != nil && s.Bridge.Exists && len(s.Bridge.FDB) > 0, gated
}

// adopt begins a life over the kernel that another one left.
func (n *Network) adopt(d *Node, forwarding, gated bool) {
	d.hold = nil
	if forwarding || gated {
		d.hold = &hold{until: n.now.Add(holdLimit), gated: gated}
	}
	life := d.life
	n.q.at(n.now, func() { n.lookHold(d, life) })
}

// lookHold gives the machines what was on disk, and ends the hold when the
// kernel is as they want it.
func (n *Network) lookHold(d *Node, life uint64) {
	if d.life != life {
		return
	}
	restored := n.restore(d)
	if d.hold == nil {
		return
	}
	if d.hold.gated && (d.schedulable(n.now) || n.now >= d.hold.until) {
		d.hold.gated = false
		for _, p := range d.cfg.Node.Ports {
			n.readBack(d, p)
		}
	} else if n.now >= d.hold.until || restored && !d.hold.gated && n.asDesired(d) {
		d.hold = nil
		n.poke(d)
		return
	}
	n.q.at(n.now.Add(holdLook), func() { n.lookHold(d, life) })
}

// restore reports whether Control holds every reservation of the stock.
func (n *Network) restore(d *Node) bool {
	all := true
	for _, put := range slices.Clone(d.stock.reservations) {
		held := slices.ContainsFunc(d.Control.SRP.Streams(), func(s srp.StreamState) bool { return s.Owner == put.Owner })
		if !held && len(put.Reservations) > 0 {
			n.step(d, Control, put)
			all = false
		}
	}
	return all
}

func (n *Network) asDesired(d *Node) bool {
	if d.Desired == nil {
		return false
	}
	left, err := n.kernel(d).Diff(d.Desired.State)
	return err == nil && len(left) == 0
}

// schedulable reports whether a schedule can be based on the node's time.
func (d *Node) schedulable(now tsn.Instant) bool {
	return d.relation != nil && d.relation.Synced && d.gate.schedulable(d.Clock.At(now), d.relation.Relation, d.cfg.GateBound)
}
