package srp

import (
	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// MSRPStream is a stream that somebody declares by MSRP, as people are shown it.
type MSRPStream struct {
	ID         tsn.StreamID
	TalkerPort tsn.Port // NoPort: no talker, or none whose tree is known
	Talker     mrp.Talker
	// TalkerProxied: its station has not said so, PutProxies has.
	TalkerProxied bool
	Enhanced      bool      // it was declared by version 1
	MaxLatency    uint32    // ns, what the talker allows; 0: any
	Interval      int64     // ns in which MaxIntervalFrames may come, of the class or its own
	Class         uint8     // SR class, 6 for A; 0 if the priority is that of none
	Bandwidth     tsn.Rate  // kbit/s that it takes on each port
	Answer        mrp.Param // the listener declaration towards the talker
	Ports         []MSRPStreamPort
}

// MSRPStreamPort is a stream at a port by which it leaves, or would.
type MSRPStreamPort struct {
	Port     tsn.Port
	Declared mrp.Talker // meaningful if TalkerDeclared
	// TalkerDeclared, and Reserved: the listener there has the stream.
	TalkerDeclared, Reserved bool
	Since                    tsn.Instant // of the reservation
	Listener                 mrp.Param   // as it is registered
	ListenerProxied          bool        // PutProxies asks for it, beside Listener
}

// MSRPStreams returns all streams of MSRP in ascending stream id, ports ascending.
func (m *Instance) MSRPStreams() (out []MSRPStream) {
	if m.msrp == nil {
		return nil
	}
	for _, s := range m.msrp.sorted() {
		out = append(out, m.msrp.view(s))
	}
	return out
}

func (b *bridge) view(s *streamState) MSRPStream {
	v := MSRPStream{ID: s.id}
	if t, _ := b.choose(s); t != nil {
		v.TalkerPort, v.Talker, v.TalkerProxied, v.MaxLatency = b.Instance.ports[t.port].Port, t.Talker, t.proxy, t.maxLatency()
		v.Bandwidth, v.Enhanced, v.Interval = t.request().Bandwidth(), t.v1 != nil && !t.proxy, t.interval
		if c := b.class(t.DataFramePriority); c != none {
			v.Class = b.cfg.Classes[c].ID
		}
	}
	if s.answered != none {
		v.Answer = s.answer
	}
	for q := range s.out {
		o := &s.out[q]
		if o.declared.Type == 0 && o.asked() == mrp.ListenerIgnore {
			continue
		}
		p := MSRPStreamPort{
			Port: b.Instance.ports[q].Port, TalkerDeclared: o.declared.Type != 0, Reserved: o.held,
			Listener: o.heard(), ListenerProxied: o.proxy != nil,
		}
		if p.TalkerDeclared {
			p.Declared = o.said
		}
		if o.held {
			p.Since = o.since
		}
		v.Ports = append(v.Ports, p)
	}
	return v
}

// MSRPCounters count what MSRP did with streams on ports since the construction.
type MSRPCounters struct {
	Reserved, Released, Preempted uint64
	Malformed                     uint64 // attributes whose groups cannot be read
	// Failed counts, by failure code, how often a stream became one that this
	// system fails.
	Failed [32]uint64
}

// MSRPCounters returns the counters of MSRP.
func (m *Instance) MSRPCounters() MSRPCounters {
	if m.msrp == nil {
		return MSRPCounters{}
	}
	return m.msrp.counters
}

// MSRPClasses returns the SR classes of MSRP, as configured; nil without MSRP.
func (m *Instance) MSRPClasses() []SRClass {
	if m.msrp == nil {
		return nil
	}
	return append([]SRClass(nil), m.msrp.cfg.Classes...)
}

// MSRPAttributes returns what MSRP's participant of a port declares and has
// registered, ascending; nil for a port that is not one of MSRP's.
func (m *Instance) MSRPAttributes(n tsn.Port) []mrp.Attribute {
	if m.msrp == nil || m.msrp.index(n) < 0 {
		return nil
	}
	return m.msrp.ports[m.msrp.index(n)].Attributes()
}

// MSRPPort is a port's part in MSRP.
type MSRPPort struct {
	Port     tsn.Port
	Boundary []bool // by class of MSRPConfig.Classes
	// BoundaryWhy says why it is one, by class; "" where it is none.
	BoundaryWhy      []string
	Talkers, Refused int          // declared to us here, and those of them over MSRPConfig.MaxTalkers
	Domains          []mrp.Domain // that others declare
	Latency          []int64      // ns that the port adds, by class
	Version          uint8        // of MSRP, that the neighbour speaks
	Counters         mrp.Counters
}

// MSRPPorts returns the MSRP state of all ports, ascending.
func (m *Instance) MSRPPorts() (out []MSRPPort) {
	if m.msrp == nil {
		return nil
	}
	for i := range m.msrp.ports {
		p := &m.msrp.ports[i]
		v := MSRPPort{Port: m.ports[i].Port, Domains: append([]mrp.Domain(nil), p.domains...), Latency: append([]int64(nil), p.latency...), Counters: p.Counters()}
		v.Version, v.Talkers, v.Refused = p.NeighborVersion(), p.talkers, p.excess
		for c := range m.msrp.cfg.Classes {
			v.Boundary = append(v.Boundary, m.msrp.boundary(i, c))
			v.BoundaryWhy = append(v.BoundaryWhy, m.msrp.boundaryText(i, c))
		}
		out = append(out, v)
	}
	return out
}
