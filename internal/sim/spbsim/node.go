package spbsim

import (
	"fmt"
	"slices"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
	"tsnswitch/spb/isispdu"
)

// Start-up hold of a daemon that finds a kernel in use, as tsnswitchd has it.
const startupHold = 5 * second

// AddNode adds a bridge without links and without power.
func (n *Network) AddNode(cfg spb.Config, board fake.Board) *Node {
	d := &Node{
		Name: fmt.Sprintf("b%d", len(n.Nodes)+1), id: len(n.Nodes), cfg: cfg, board: board,
		links: make([]*Link, firstFabric), deadline: tsn.Never, stations: slices.Clone(cfg.EndStations), overload: cfg.Overload,
	}
	n.macIndex(cfg.SystemID)
	for _, s := range cfg.EndStations {
		n.macIndex(s.MAC)
	}
	n.Nodes = append(n.Nodes, d)
	return d
}

// Connect adds a link that is down. The metrics are those of both ends.
func (n *Network) Connect(a, b *Node, delay int64, metricA, metricB uint32) *Link {
	l := &Link{A: End{a.id, tsn.Port(len(a.links))}, B: End{b.id, tsn.Port(len(b.links))}, Delay: delay}
	for side, d := range []*Node{a, b} {
		d.links = append(d.links, l)
		d.cfg.Ports = append(d.cfg.Ports, spb.PortConfig{Port: l.end(side).Port, Role: tsn.RoleFabric, Metric: []uint32{metricA, metricB}[side]})
	}
	n.Links = append(n.Links, l)
	return l
}

// Cable adds a cable between the empty edge ports of two nodes, unplugged.
func (n *Network) Cable(a, b *Node, delay int64) *Link {
	l := &Link{A: End{a.id, emptyPort}, B: End{b.id, emptyPort}, Delay: delay, Edge: true}
	a.links[emptyPort], b.links[emptyPort] = l, l
	n.Links = append(n.Links, l)
	return l
}

// PowerOn gives a node a kernel as it is after boot, and starts its daemon.
func (n *Network) PowerOn(d *Node) {
	if d.Power {
		return
	}
	n.Say(d.id, "power", "on")
	d.Power = true
	d.kern.boot(n, d)
	n.kernelChanged(d, nil)
	n.Start(d)
}

// PowerOff stops a node with its kernel: its links go down.
func (n *Network) PowerOff(d *Node) {
	if !d.Power {
		return
	}
	n.Say(d.id, "power", "off")
	n.Kill(d)
	d.Power = false
	for _, l := range n.Links {
		if l.A.Node == d.id || l.B.Node == d.id {
			n.SetLink(l, false)
		}
	}
	d.kern.gone()
	n.kernelChanged(d, nil)
}

// Start starts the daemon, which adopts the kernel if that is in use.
func (n *Network) Start(d *Node) {
	if d.Alive || !d.Power {
		return
	}
	cfg := d.cfg
	cfg.EndStations, cfg.Overload, cfg.Services = d.stations, d.overload, d.services
	cfg.StartupHold = 0
	if d.kern.used {
		cfg.StartupHold, cfg.Adopted = startupHold, n.adopt(d)
	}
	inst, err := spb.New(cfg)
	if err != nil {
		panic("spbsim: " + d.Name + ": " + err.Error())
	}
	n.Say(d.id, "daemon", "starts")
	d.life++
	d.Inst, d.Alive, d.busy, d.deadline = inst, true, n.now, tsn.Never
	n.step(d, tsn.Timeout{})
	n.tellDaemon(d)
	for p := stationPort; int(p) < len(d.links); p++ {
		if d.links[p] == nil || d.links[p].Up {
			n.carrier(d, p, true)
		}
	}
}

// Kill ends the daemon at once; what it was writing to the kernel is left half
// done.
func (n *Network) Kill(d *Node) {
	if !d.Alive {
		return
	}
	n.Say(d.id, "daemon", "dies")
	d.life++
	d.Alive, d.Inst = false, nil
	d.kern.abandon()
}

// SetLink cuts or mends a link. The daemons hear of it a little later.
func (n *Network) SetLink(l *Link, up bool) {
	if up && (!n.Nodes[l.A.Node].Power || !n.Nodes[l.B.Node].Power) || l.Up == up {
		return
	}
	l.Up = up
	if !up {
		l.cut++
	}
	n.Say(l.A.Node, "link", fmt.Sprintf("%s:%d-%s:%d up %t", n.Nodes[l.A.Node].Name, l.A.Port, n.Nodes[l.B.Node].Name, l.B.Port, up))
	n.linkChanged(l)
	for side := range 2 {
		end := l.end(side)
		// One change after the other, none is lost.
		l.heard[side] = max(l.heard[side], n.now.Add(n.jitter(n.Times.Carrier)))
		life := n.Nodes[end.Node].life
		n.q.at(l.heard[side], func() {
			if n.Nodes[end.Node].life == life {
				n.carrier(n.Nodes[end.Node], end.Port, up)
			}
		})
	}
}

func (n *Network) carrier(d *Node, p tsn.Port, up bool) {
	n.step(d, tsn.LinkChanged{Port: p, Up: up, Rate: tsn.Gbps})
}

// Silence makes a link lose frames from one side, or from none.
func (n *Network) Silence(l *Link, fromA, fromB bool) {
	l.Silent = [2]bool{fromA, fromB}
	n.Say(l.A.Node, "silent", fmt.Sprintf("%s-%s %t %t", n.Nodes[l.A.Node].Name, n.Nodes[l.B.Node].Name, fromA, fromB))
	n.linkChanged(l)
}

// step gives an event to a daemon. One step follows the other; its effects
// come when the CPU is done with it.
func (n *Network) step(d *Node, ev tsn.Event) {
	if !d.Alive {
		return
	}
	n.Counts.Steps++
	start := max(n.now, d.busy)
	n.noteEvent(d, ev)
	var effects []tsn.Effect
	step := func() { effects = d.Inst.Step(start, ev) }
	cost := n.Times.Step
	if n.Cost != nil {
		cost = n.Cost(d, step)
	} else {
		cost += n.jitter(n.Times.StepJitter)
		step()
	}
	d.busy = start.Add(cost)
	if n.checker != nil && len(effects) > 0 {
		n.checker.sends(d)
	}
	life := d.life
	if len(effects) > 0 {
		effects = slices.Clone(effects)
		n.q.at(d.busy, func() {
			if d.life == life {
				n.effects(d, effects)
			}
		})
	}
	n.arm(d)
}

func (n *Network) arm(d *Node) {
	at := max(d.Inst.Deadline(), d.busy)
	if at >= tsn.Never || at == d.deadline {
		return
	}
	d.deadline = at
	life := d.life
	n.q.at(at, func() {
		if d.life != life || d.deadline != at {
			return // moved
		}
		d.deadline = tsn.Never
		n.step(d, tsn.Timeout{})
	})
}

func (n *Network) noteEvent(d *Node, ev tsn.Event) {
	switch ev := ev.(type) {
	case tsn.Received:
		n.note("receive", d.id, ev.Frame, func() string { return fmt.Sprintf("port %d %s", ev.Port, frameText(ev.Frame)) })
	case tsn.Timeout:
		n.note("timeout", d.id, nil, func() string { return "" })
	default:
		n.Say(d.id, "event", fmt.Sprintf("%T%+v", ev, ev))
	}
}

func (n *Network) effects(d *Node, effects []tsn.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case tsn.Send:
			n.transmit(d, e)
		case spb.Forwarding:
			n.want(d, e)
		case tsn.Notice:
			n.note("notice", d.id, []byte(e.Kind), func() string { return fmt.Sprintf("%s port %d %s", e.Kind, e.Port, e.Detail) })
		}
	}
}

// transmit puts a control frame on a link.
func (n *Network) transmit(d *Node, s tsn.Send) {
	if int(s.Port) >= len(d.links) || d.links[s.Port] == nil {
		return // an edge port
	}
	l := d.links[s.Port]
	side := l.side(d.id, s.Port)
	n.Counts.Frames++
	wild := n.Wild && !l.Edge
	if !l.carries(side) || wild && n.chance(n.Times.LossPerMille) {
		n.Counts.Lost++
		return
	}
	to, cut := l.end(1-side), l.cut
	deliver := func(at tsn.Instant) {
		n.q.at(at, func() {
			if l.cut == cut {
				n.step(n.Nodes[to.Node], tsn.Received{Port: to.Port, Frame: slices.Clone(s.Frame)})
			}
		})
	}
	at := n.now.Add(l.Delay + n.jitter(n.Times.FrameJitter))
	if wild && n.chance(n.Times.DuplicatePerMille) {
		n.Counts.Duplicated++
		deliver(at.Add(n.jitter(n.Times.ReorderBy)))
	}
	if wild && n.chance(n.Times.ReorderPerMille) {
		n.Counts.Reordered++
		deliver(at.Add(n.jitter(n.Times.ReorderBy)))
		return
	}
	l.last[side] = max(l.last[side], at)
	deliver(l.last[side])
}

// frameText names a control frame in traces.
func frameText(b []byte) string {
	_, _, pdu, err := isispdu.ParseFrame(b)
	if err != nil {
		return fmt.Sprintf("% x", b[:min(len(b), 32)])
	}
	p, err := isispdu.Parse(pdu)
	if err != nil {
		return err.Error()
	}
	switch p := p.(type) {
	case *isispdu.IIH:
		if t, ok := isispdu.Find[*isispdu.ThreeWay](p.TLVs); ok {
			return fmt.Sprintf("IIH %s %s%s", p.SourceID, t.State, digestText(p.TLVs))
		}
		return "IIH " + p.SourceID.String()
	case *isispdu.LSP:
		return fmt.Sprintf("LSP %s %d life %d", p.ID, p.SequenceNumber, p.RemainingLifetime)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", p), "*isispdu.")
}

// digestText is the agreement part of a hello: number, echo, end of the digest.
func digestText(tlvs []isispdu.TLV) string {
	for _, c := range isispdu.All[*isispdu.MTPortCap](tlvs) {
		if d, ok := isispdu.Find[*isispdu.SPBDigest](c.SubTLVs); ok && len(d.Agreement) > 4 {
			return fmt.Sprintf(" V%d A%d D%d %x", d.Flags>>4&1, d.Flags>>2&3, d.Flags&3, d.Agreement[len(d.Agreement)-4:])
		}
	}
	return ""
}
