package srp

import (
	"cmp"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// A bridge that starts again knows nothing, while its neighbours and its kernel go
// on as it left them. Registered again one by one, streams would find room in
// another order than before, and some would lose theirs; and until the trees are
// known again nothing would be declared at all. So a bridge may be given what it
// remembers:
//
//	Memory ─> Restore ─> all ports that were in use are up, or restoreWait is over
//	  ─> registrations, then the streams that were held, the oldest first,
//	     then all others ─> first PDUs, which ask neighbours to declare again
//
// What they do not declare within a leave time is over then.

// Memory is what a bridge remembers of MSRP.
type Memory struct {
	Registrations []RememberedValue // ascending port, then in the order of values
	Held          []HeldPort        // the oldest first
	Trees         []Tree            // as they were told, ascending
	Capable       []SetASCapable    // ascending port
}

// RememberedValue is a value that the neighbours on a port declare.
type RememberedValue struct {
	Port   tsn.Port
	Type   uint8
	Octets []byte
	Param  mrp.Param
}

// HeldPort is a stream that a port has bandwidth for.
type HeldPort struct {
	StreamID tsn.StreamID
	Port     tsn.Port
	Age      int64 // ns
	Latency  uint32
}

// Restore is an event, the first: what an earlier run remembered.
type Restore struct{ Memory Memory }

// restoreWait is how long links may take to be told, ns.
const restoreWait = 500_000_000

// restoring is a Restore that waits for links.
type restoring struct {
	Memory
	until tsn.Instant
}

// Memory returns what is to be remembered, and a number that is another one when
// that may be different.
func (m *Instance) Memory(now tsn.Instant) (Memory, uint64) {
	if m.msrp == nil {
		return Memory{}, 0
	}
	return m.msrp.memory(now), m.msrp.remembered
}

// MemoryChanged returns the number alone.
func (m *Instance) MemoryChanged() uint64 {
	if m.msrp == nil {
		return 0
	}
	return m.msrp.remembered
}

func (b *bridge) memory(now tsn.Instant) (out Memory) {
	if b.restoring != nil {
		return b.restoring.Memory
	}
	for i := range b.ports {
		p, n := &b.ports[i], b.Instance.ports[i].Port
		for _, a := range p.Attributes() {
			if a.Registered {
				out.Registrations = append(out.Registrations, RememberedValue{n, a.Value.Type, []byte(a.Value.Octet), a.Param})
			}
		}
		if b.cfg.ASCapable {
			out.Capable = append(out.Capable, SetASCapable{n, p.capable, p.delay})
		}
	}
	for _, s := range b.sorted() {
		for q, o := range s.out {
			if o.held {
				out.Held = append(out.Held, HeldPort{s.id, b.Instance.ports[q].Port, now.Sub(o.since), o.latency})
			}
		}
	}
	slices.SortStableFunc(out.Held, func(x, y HeldPort) int { return cmp.Compare(y.Age, x.Age) })
	for _, t := range b.trees {
		out.Trees = append(out.Trees, t)
	}
	slices.SortFunc(out.Trees, func(x, y Tree) int { return compareTreeKeys(x.TreeKey, y.TreeKey) })
	return out
}

// restore takes what an earlier run remembered, unless this one has begun.
func (b *bridge) restore(m Memory) {
	if slices.ContainsFunc(b.ports, func(p bridgePort) bool { return p.started }) {
		return
	}
	b.restoring = &restoring{m, b.now.Add(restoreWait)}
}

// ready reports whether all ports that were in use are up.
func (r *restoring) ready(ports []port) bool {
	return !slices.ContainsFunc(r.Registrations, func(x RememberedValue) bool {
		return slices.ContainsFunc(ports, func(p port) bool { return p.Port == x.Port && !p.up })
	})
}

// resume begins where the earlier run has ended.
func (b *bridge) resume() {
	r := b.restoring
	b.restoring = nil
	for _, c := range r.Capable {
		b.setCapable(c)
	}
	if len(b.trees) == 0 {
		b.setTrees(SetTrees{r.Trees})
	}
	for i := range b.ports {
		if p := &b.Instance.ports[i]; p.up {
			for _, x := range r.Registrations {
				if x.Port == p.Port {
					b.indicated(i, b.ports[i].Restore(b.now, mrp.Value{Type: x.Type, Octet: string(x.Octets)}, x.Param))
				}
			}
			b.start(i)
		}
	}
	for _, h := range r.Held {
		s, q := b.streams[h.StreamID], b.index(h.Port)
		if s == nil || q < 0 {
			continue
		}
		b.evaluate(s)
		if o := &s.out[q]; o.held {
			o.since, o.latency = b.now.Add(-h.Age), max(o.latency, h.Latency)
		}
	}
	b.touchAll()
}
