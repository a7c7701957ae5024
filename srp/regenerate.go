package srp

import (
	"slices"

	"tsnswitch"
)

// Boundaries is an effect: at these ports, ascending, the SR domain ends for
// frames that come in with these priorities, which are to be regenerated
// (802.1Q 6.9.4). No other port has any. Beside what boundary says, a port is
// one whose neighbour has declared no domain for silence: it has no part in MSRP.
type Boundaries struct{ Ports []PortBoundary }

// PortBoundary is one of the ports.
type PortBoundary struct {
	Port       tsn.Port
	Priorities tsn.PrioritySet
}

// silence is for how long, in ns, a neighbour may be silent before its frames
// lose their priority: a station declares within JoinTime of the link coming up,
// and answers as fast when a bridge has restarted.
const silence = 3_000_000_000

// silentFrom is when a port becomes one of a silent neighbour, or Never.
func (p *bridgePort) silentFrom() tsn.Instant {
	if !p.started || len(p.domains) > 0 {
		return tsn.Never
	}
	return p.startedAt.Add(silence)
}

func (b *bridge) boundaries() (out []PortBoundary) {
	for i := range b.ports {
		p, set := &b.ports[i], tsn.PrioritySet(0)
		for k, c := range b.cfg.Classes {
			if p.started && (b.boundary(i, k) || b.now >= p.silentFrom()) {
				set |= 1 << c.Priority
			}
		}
		if set != 0 {
			out = append(out, PortBoundary{b.Instance.ports[i].Port, set})
		}
	}
	return out
}

// tellBoundaries emits them if they have changed.
func (b *bridge) tellBoundaries() {
	if now := b.boundaries(); !slices.Equal(now, b.bounds) {
		b.bounds = now
		b.emit(Boundaries{slices.Clone(now)})
	}
}

// nextSilence is when the next port becomes silent.
func (b *bridge) nextSilence() tsn.Instant {
	next := tsn.Never
	for i := range b.ports {
		if at := b.ports[i].silentFrom(); at > b.now {
			next = min(next, at)
		}
	}
	return next
}

// TalkerPort is the port by which a stream of MSRP comes in, NoPort if none does.
func (m *Instance) TalkerPort(id tsn.StreamID) tsn.Port {
	if m.msrp == nil {
		return tsn.NoPort
	}
	s := m.msrp.streams[id]
	if s == nil || s.in == none {
		return tsn.NoPort
	}
	return m.ports[s.in].Port
}
