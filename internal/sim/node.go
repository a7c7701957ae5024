package sim

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/gptp"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/internal/node"
	"tsnswitch/qbv"
	"tsnswitch/srp"
)

// NodeConfig is a switch or an end station.
type NodeConfig struct {
	Node  node.Config // a nil SPB makes an end station
	Clock Oscillator
	Board fake.Board // the zero value is fake.Software
	// GateBound is how far, ns, gPTP and the gate clock may be apart for a
	// schedule to be taken; 0 means 1 ms.
	GateBound int64
	// FreeGates leaves the gate clock unsteered: it is LocalClock itself.
	FreeGates bool
}

// Node is one simulated switch. Its machines may be queried between Runs.
type Node struct {
	Name    string
	Timing  *node.Timing
	Control *node.Control
	Clock   Oscillator
	Kernel  *fake.Kernel
	// Desired is the last whole state that Control asked for, KernelErr what
	// became of the last attempt to make it so, Sets how many there were.
	Desired   *node.Desired
	KernelErr error
	Sets      int
	// Started says when each port's running schedule began, in true time.
	Started map[tsn.Port]Start
	// Notices counts by kind, over all lives of the node.
	Notices map[string]int

	cfg   NodeConfig
	id    int
	ports map[tsn.Port]*wire
	stock stock

	// A life begins with Start and ends with Stop.
	life     uint64
	stopped  bool
	relation *gptp.RelationChanged
	capable  map[tsn.Port]bool // as MSRP was told
	answers  map[uint64]*Answer
	timers   [2]*timer // of the machines
	tick     *timer    // tells Control the time
	apply    *timer
	hold     *hold // nil: the kernel may be touched

	gate    gateClock
	gates   *timer // next base time
	pending map[tsn.Port]int64
}

// stock is what a daemon keeps on disk.
type stock struct {
	reservations []srp.PutReservations // in the order of their owners' first
	msrp         srp.Memory
}

// Start is the beginning of a schedule on a port.
type Start struct {
	True tsn.Instant // when it was
	Base int64       // what the gate clock read
}

// Answer is a request's. Err is a *srp.Refusal, a *qbv.Refusal or nil.
type Answer struct {
	Done bool
	Err  error
}

// Add puts a node into the network and starts it; its links come with Connect.
func (n *Network) Add(name string, cfg NodeConfig) (*Node, error) {
	if n.names[name] != nil {
		return nil, fmt.Errorf("sim: node %s exists", name)
	}
	if cfg.Board.Name == "" {
		cfg.Board = fake.Software
	}
	if cfg.GateBound <= 0 {
		cfg.GateBound = 1_000_000
	}
	d := &Node{
		Name: name, Clock: cfg.Clock, Notices: map[string]int{}, Started: map[tsn.Port]Start{},
		cfg: cfg, id: len(n.nodes), ports: map[tsn.Port]*wire{}, stopped: true,
		gate: gateClock{local: cfg.Clock.At(n.now), gate: int64(cfg.Clock.At(n.now))}, pending: map[tsn.Port]int64{},
	}
	for which := range d.timers {
		d.timers[which] = newTimer(func() { n.step(d, Machine(which), tsn.Timeout{}) })
	}
	d.tick = newTimer(func() { n.tellTime(d) })
	d.apply = newTimer(func() { n.applyNow(d) })
	d.gates = newTimer(func() { n.watchGates(d) })
	if err := n.boot(d); err != nil {
		return nil, fmt.Errorf("sim: node %s: %w", name, err)
	}
	n.nodes = append(n.nodes, d)
	n.names[name] = d
	return d, n.Start(name)
}

// Stop ends a node's process: it sends and hears nothing, its kernel goes on.
func (n *Network) Stop(name string) {
	d := n.names[name]
	d.stock.msrp, _ = d.Control.SRP.Memory(d.Clock.Monotonic(n.now))
	d.stopped = true
	d.life++
	for _, t := range []*timer{d.timers[Timing], d.timers[Control], d.tick, d.apply} {
		n.q.set(t, tsn.Never)
	}
}

// startupHold is how long SPB of a restarted node listens at most before it
// says how it would forward, as in the daemon.
const startupHold = 3 * nsPerSecond

// Stopped reports whether a node is down.
func (d *Node) Stopped() bool { return d.stopped }

// Start begins a new life of a stopped node: new machines, that remember what
// a daemon keeps on disk, over the kernel as the last life left it.
func (n *Network) Start(name string) error {
	d := n.names[name]
	if !d.stopped {
		return fmt.Errorf("sim: node %s runs", name)
	}
	cfg := d.cfg.Node
	forwarding, gated := n.kernelInUse(d)
	if cfg.SPB != nil && forwarding {
		s := *cfg.SPB
		s.StartupHold, s.Adopted = startupHold, n.read(d).Bridge.Holds()
		cfg.SPB = &s
	}
	var err error
	if d.Timing, d.Control, err = node.New(cfg); err != nil {
		return fmt.Errorf("sim: node %s: %w", name, err)
	}
	d.stopped, d.relation, d.Desired, d.answers, d.capable = false, nil, nil, map[uint64]*Answer{}, map[tsn.Port]bool{}
	n.q.at(n.now, func() { n.wake(d) })
	n.q.set(d.tick, n.now.Add(nsPerSecond))
	n.adopt(d, forwarding, gated)
	return nil
}

// tellUnlocked tells Control which ports' driver refuses the ingress check.
func (n *Network) tellUnlocked(d *Node) {
	var ports []tsn.Port
	for _, f := range d.Kernel.Features() {
		if f.Name == dataplane.FeatureLocked && f.State == dataplane.FeatureMissing {
			ports = append(ports, f.Port)
		}
	}
	if len(ports) > 0 {
		n.step(d, Control, node.SetUnlocked{Ports: ports})
	}
}

// wake is the first step of both machines, and what the sockets tell at once.
func (n *Network) wake(d *Node) {
	n.step(d, Timing, tsn.Timeout{})
	n.step(d, Control, tsn.Timeout{})
	if len(d.stock.msrp.Registrations) > 0 {
		n.step(d, Control, srp.Restore{Memory: d.stock.msrp})
	}
	n.tellUnlocked(d)
	for _, p := range d.cfg.Node.Ports {
		if w := d.ports[p]; w != nil && w.up {
			n.carrier(d, p)
		}
	}
}

func (d *Node) machine(which Machine) tsn.Machine {
	if which == Timing {
		return d.Timing
	}
	return d.Control
}

// step gives an event to a machine, notes it in the trace, and carries out
// what the machine asks for.
func (n *Network) step(d *Node, which Machine, ev tsn.Event) {
	if d.stopped {
		return
	}
	s := Step{Node: d, Machine: which, Now: d.Clock.Monotonic(n.now), Event: ev}
	given := ev
	if r, ok := ev.(tsn.Received); ok { // from here on the machine's own
		r.Frame = slices.Clone(r.Frame)
		given = r
	}
	s.Effects = d.machine(which).Step(s.Now, given)
	n.note(s)
	if n.OnStep != nil {
		n.OnStep(s)
	}
	for _, e := range s.Effects {
		n.effect(d, which, ev, e)
	}
	n.q.set(d.timers[which], max(n.now, d.Clock.TrueTime(d.machine(which).Deadline())))
}

// effect is the daemon's table of effects.
func (n *Network) effect(d *Node, which Machine, ev tsn.Event, e tsn.Effect) {
	switch e := e.(type) {
	case tsn.Send:
		n.send(d, which, e)
	case tsn.Notice:
		d.Notices[e.Kind]++
		if e.Kind == gptp.NoticeAsCapable || e.Kind == gptp.NoticeNotAsCapable {
			n.tellCapable(d)
		}
	case gptp.RelationChanged:
		if e.Target {
			n.relate(d, e)
		}
	case node.Desired:
		d.Desired = &e
		n.poke(d)
	case srp.Result:
		d.remember(ev, e)
		d.answer(e.RequestID, e.Err, e.Err == nil)
	case qbv.Result:
		d.answer(e.RequestID, e.Err, e.Err == nil)
	case qbv.VerifyGates:
		n.readBack(d, e.Port)
	}
}

// tellCapable tells MSRP which ports keep time, as far as that is news.
func (n *Network) tellCapable(d *Node) {
	for _, ev := range node.ASCapable(d.Timing.Status()) {
		if d.capable[ev.Port] != ev.Capable {
			d.capable[ev.Port] = ev.Capable
			n.step(d, Control, ev)
		}
	}
}

// Ask gives a node a request and returns where its answer will appear.
func (n *Network) Ask(name string, request func(id uint64) tsn.Event) *Answer {
	d, a := n.names[name], &Answer{}
	n.requests++
	id := n.requests
	n.q.at(n.now, func() {
		d.answers[id] = a
		n.step(d, Control, request(id))
	})
	return a
}

func (d *Node) answer(id uint64, err error, ok bool) {
	if a := d.answers[id]; a != nil {
		a.Done = true
		if !ok {
			a.Err = err
		}
		delete(d.answers, id)
	}
}

// remember keeps a set of reservations that was taken.
func (d *Node) remember(ev tsn.Event, r srp.Result) {
	put, ok := ev.(srp.PutReservations)
	if !ok || put.Dry || r.Err != nil {
		return
	}
	i := slices.IndexFunc(d.stock.reservations, func(p srp.PutReservations) bool { return p.Owner == put.Owner })
	if i < 0 {
		d.stock.reservations = append(d.stock.reservations, put)
		return
	}
	d.stock.reservations[i] = put
}
