package spbsim

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/dataplane/fake"
	"tsnswitch/spb"
)

// kernel is a bridge in a kernel, and the part of the daemon that writes to
// it: one write after the other, in the order of dataplane.Plan.
type kernel struct {
	fake *fake.Kernel
	view view
	used bool // something was written since boot

	newest  *spb.Forwarding // the last one wanted
	wanted  *spb.Forwarding // the same, not begun yet
	current *spb.Forwarding // being written
	ops     []dataplane.Op  // left of it
	failed  error           // of a step of it
	failing reflect.Type    // what kind of step
	attempt uint64          // what an abandoned one planned does not happen
}

// boot gives the node an empty kernel.
func (k *kernel) boot(n *Network, d *Node) {
	c := dataplane.Config{Bridge: "br0", CreateBridge: true, ClassMap: tsn.DefaultClassMap, SystemID: d.cfg.SystemID}
	for _, p := range d.cfg.Ports {
		c.Ports = append(c.Ports, dataplane.PortConfig{Port: p.Port, Ifname: fmt.Sprintf("p%d", p.Port)})
	}
	f, err := fake.New(c, d.board)
	if err != nil {
		panic("spbsim: " + err.Error())
	}
	*k = kernel{fake: f, attempt: k.attempt + 1}
}

// gone is a kernel without power.
func (k *kernel) gone() { *k = kernel{attempt: k.attempt + 1} }

// abandon ends what is being written.
func (k *kernel) abandon() {
	k.newest, k.wanted, k.current, k.ops, k.failed, k.failing = nil, nil, nil, nil, nil, nil
	k.attempt++
}

// want is the daemon's applier: the newest state is written as soon as the
// one being written is done.
func (n *Network) want(d *Node, f spb.Forwarding) {
	n.note("forward", d.id, nil, func() string { return forwardingText(f) })
	if n.Wanted != nil {
		n.Wanted(d, f)
	}
	d.kern.newest, d.kern.wanted = &f, &f
	if d.kern.current == nil {
		n.beginWrite(d)
	}
}

func (n *Network) beginWrite(d *Node) {
	k := &d.kern
	if k.wanted == nil {
		return
	}
	k.current, k.wanted = k.wanted, nil
	n.laterWrite(d, n.Times.Begin+n.jitter(n.Times.BeginJitter), func() {
		state := n.possible(d, *k.current)
		t, err := dataplane.NewTarget(k.fake, tsn.DesiredState{Bridge: &state})
		if err != nil {
			n.endWrite(d, err)
			return
		}
		have, err := k.fake.Read()
		if err != nil {
			panic("spbsim: " + err.Error())
		}
		k.ops, _ = dataplane.Plan(have, t)
		n.nextWrite(d)
	})
}

// laterWrite does something unless the daemon dies before.
func (n *Network) laterWrite(d *Node, delay int64, do func()) {
	attempt := d.kern.attempt
	n.q.at(n.now.Add(delay), func() {
		if d.kern.attempt == attempt {
			do()
		}
	})
}

// nextWrite does the next step. A step that fails ends the state with its
// batch, that is with the steps of its kind (dataplane.Reconcile).
func (n *Network) nextWrite(d *Node) {
	k := &d.kern
	if len(k.ops) == 0 || k.failed != nil && kind(k.ops[0]) != k.failing {
		n.endWrite(d, k.failed)
		return
	}
	if n.Bulk {
		n.bulkWrite(d)
		return
	}
	n.laterWrite(d, n.Times.Write+n.jitter(n.Times.WriteJitter), func() {
		op := k.ops[0]
		k.ops = k.ops[1:]
		if err := n.write(d, op); err != nil {
			n.Counts.FailedWrites++
			n.Say(d.id, "fails", op.Text(k.fake.Config()))
			k.failed, k.failing = err, kind(op)
		} else {
			n.Say(d.id, "write", op.Text(k.fake.Config()))
			n.Counts.Writes++
			n.Counts.LastWrite = n.now
			k.used = true
			n.kernelChanged(d, op)
		}
		n.nextWrite(d)
	})
}

// bulkWrite does all steps that are left at one moment.
func (n *Network) bulkWrite(d *Node) {
	k := &d.kern
	n.laterWrite(d, n.Times.Write*int64(len(k.ops)), func() {
		for _, op := range k.ops {
			if err := n.write(d, op); err != nil {
				panic("spbsim: " + op.Text(k.fake.Config()) + ": " + err.Error())
			}
		}
		n.Counts.Writes += uint64(len(k.ops))
		n.Counts.LastWrite = n.now
		k.ops, k.used = nil, true
		n.endWrite(d, nil)
	})
}

func kind(op dataplane.Op) reflect.Type { return reflect.TypeOf(op) }

func (n *Network) write(d *Node, op dataplane.Op) error {
	if n.Wild && n.chance(n.Times.WriteFailurePerMill) {
		return errors.New("the kernel was told to fail here")
	}
	if f := d.kern.fake.Apply(context.Background(), []dataplane.Op{op}); len(f) > 0 {
		return f[0].Err
	}
	return nil
}

// endWrite tells the daemon how it went. After a failure the same state is
// tried again, or the newest by then.
func (n *Network) endWrite(d *Node, err error) {
	k := &d.kern
	done := *k.current
	k.current, k.ops, k.failed, k.failing = nil, nil, nil, nil
	n.written(d, done, err)
	if k.wanted != nil {
		n.beginWrite(d)
		return
	}
	if err != nil {
		n.laterWrite(d, n.Times.RetryAfterFailure, func() {
			if k.current == nil {
				k.wanted = k.newest
				n.beginWrite(d)
			}
		})
	}
}

// forwardingText is for traces.
func forwardingText(f spb.Forwarding) string {
	s := fmt.Sprintf("%d FDB, %d MDB entries, flooding ports", len(f.State.FDB), len(f.State.MDB))
	for _, p := range f.State.Ports {
		if p.BcastFlood {
			s += fmt.Sprintf(" %d", p.Port)
		}
	}
	return s
}

// view is a kernel's bridge in a form that is quick to walk.
type view struct {
	flags  []dataplane.Flags // by port
	member [][]bool          // by VLAN index and port
	fdb    [][]tsn.Port      // by VLAN index and address index
	mdb    map[groupKey][]tsn.Port
}

type groupKey struct {
	vid   int // index
	group tsn.MAC
}

// look reads the kernel.
func (n *Network) look(d *Node) {
	v := view{mdb: map[groupKey][]tsn.Port{}}
	defer func() { d.kern.view = v }()
	v.flags = make([]dataplane.Flags, len(d.links))
	for range n.vids {
		v.member = append(v.member, make([]bool, len(d.links)))
		v.fdb = append(v.fdb, make([]tsn.Port, len(n.macs)))
	}
	if d.kern.fake == nil {
		return
	}
	s, err := d.kern.fake.Read()
	if err != nil {
		panic("spbsim: " + err.Error())
	}
	for _, p := range s.Bridge.Ports {
		v.flags[p.Port] = p.Flags
		for _, m := range p.VLANs {
			if k := slices.Index(n.vids, m.VID); k >= 0 {
				v.member[k][p.Port] = true
			}
		}
	}
	for _, e := range s.Bridge.FDB {
		if k := slices.Index(n.vids, e.VID); k >= 0 {
			if m, ok := n.index[e.MAC]; ok && m < len(v.fdb[k]) {
				v.fdb[k][m] = e.Port
			}
		}
	}
	for _, g := range s.Bridge.MDB {
		if k := slices.Index(n.vids, g.VID); k >= 0 {
			key := groupKey{k, g.Group}
			v.mdb[key] = append(v.mdb[key], g.Port)
		}
	}
}

// flow is what frames have in common: where they come from and go to.
type flow struct {
	vid   int // index
	src   int // address index
	dst   int // address index, -1 for a group
	group tsn.MAC
}

// accepts is the ingress side of the bridge: VLAN and `locked`.
func (v *view) accepts(in tsn.Port, f *flow) bool {
	return v.member[f.vid][in] && (!v.flags[in].Locked || v.fdb[f.vid][f.src] == in)
}

// out appends the ports a frame that was accepted leaves by.
func (v *view) out(ports []tsn.Port, in tsn.Port, f *flow) []tsn.Port {
	member := v.member[f.vid]
	if f.dst >= 0 {
		if p := v.fdb[f.vid][f.dst]; p != tsn.NoPort && p != in && member[p] {
			ports = append(ports, p)
		}
		return ports
	}
	flooded := func(g dataplane.Flags) bool { return g.McastFlood }
	if f.group == tsn.Broadcast {
		flooded = func(g dataplane.Flags) bool { return g.BcastFlood }
	} else if to, known := v.mdb[groupKey{f.vid, f.group}]; known {
		for _, p := range to {
			if p != tsn.NoPort && p != in && member[p] {
				ports = append(ports, p)
			}
		}
		return ports
	}
	for p := range v.flags {
		if tsn.Port(p) != in && member[p] && flooded(v.flags[p]) {
			ports = append(ports, tsn.Port(p))
		}
	}
	return ports
}
