package srp

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// MVRPConfig is fixed for the life of an MVRP. Zero values mean the default.
type MVRPConfig struct {
	Ports   []MVRPPort // ascending port; no others take part
	Address tsn.MAC    // that frames are sent from
	Timers  mrp.Timers // default mrp.Standard; see mrp.ProAV
	// Always are VLANs that reach other systems by ports which take no part:
	// those of an SPB fabric. They are declared on every port.
	Always []tsn.VID
	// MaxVLANs is how many VLANs of the bridge may be there for registrations'
	// sake alone; default 64. A registration beyond fails and goes no further.
	MaxVLANs int
	Seed     uint64
}

// MVRPPort is a port's part, and its Administrative Controls (10.7.2, 10.7.3).
type MVRPPort struct {
	Port tsn.Port
	// Shared: there may be more than one other MVRP system on the LAN.
	Shared bool
	// Fixed are VLANs that the port is in by configuration: registered whatever is
	// said. Forbidden ones are never registered.
	Fixed, Forbidden []tsn.VID
	// Restricted is Restricted_VLAN_Registration (11.2.3.2.3): only VLANs that are
	// Fixed on some port, or among MVRPConfig.Always, can be registered.
	Restricted bool
	// Silent are VLANs that are never declared here (Non-participant).
	Silent []tsn.VID
}

// RegisteredVLANs is an effect of MVRP: all that is registered, the Fixed VLANs
// left out. These ports shall be members, tagged, as long as they are listed.
type RegisteredVLANs struct{ Ports []PortVLANs } // ascending port; ports without are absent

// PortVLANs are the VLANs that are registered on a port.
type PortVLANs struct {
	Port tsn.Port
	VIDs []tsn.VID // ascending
}

// FlushLearned is an effect of MVRP: a new declaration came in, so the topology
// behind it has changed. What the bridge has learned in the VLAN on these ports
// is to be forgotten, as after a topology change notice.
type FlushLearned struct {
	VID   tsn.VID
	Ports []tsn.Port // ascending
}

// MVRP registers VLANs (802.1Q 11.2): who declares one behind a port gets its
// frames, and all other ports of the active topology declare it in turn. It is a
// tsn.Machine.
//
//	tsn.Received{88F5}, tsn.Timeout ──┐        ┌─> tsn.Send
//	tsn.LinkChanged, SetBlocked ──────┤  MVRP  ├─> RegisteredVLANs (whole), FlushLearned
//	SetAlways ────────────────────────┘        └─> tsn.Notice
//
// In an SPB fabric the ports between bridges take no part: they carry the
// fabric's VLANs always and no other, so there is nothing to agree on, and their
// topology is no tree. An edge port is a member of a VLAN of the fabric while it
// is registered there; every edge port declares all VLANs of the fabric. Other
// VLANs connect edge ports of one bridge and go no further.
type MVRP struct {
	cfg     MVRPConfig
	vlans   *attributeMap
	told    RegisteredVLANs
	full    bool // since the last notice of it
	effects []tsn.Effect
}

var _ tsn.Machine = (*MVRP)(nil)

// SetAlways is an event of MVRP: MVRPConfig.Always from now on.
type SetAlways struct{ VIDs []tsn.VID }

// NewMVRP returns an MVRP with every port down. The error says what in the
// configuration cannot be meant.
func NewMVRP(cfg MVRPConfig) (*MVRP, error) {
	if cfg.MaxVLANs == 0 {
		cfg.MaxVLANs = 64
	}
	m := &MVRP{cfg: cfg, vlans: newAttributeMap(mrp.MVRP())}
	for i, p := range cfg.Ports {
		if p.Port == tsn.NoPort || i > 0 && p.Port <= cfg.Ports[i-1].Port {
			return nil, fmt.Errorf("srp: MVRP port %d: ports must be ascending and start at 1", p.Port)
		}
		for _, v := range slices.Concat(p.Fixed, p.Forbidden, p.Silent, cfg.Always) {
			if !v.Valid() {
				return nil, fmt.Errorf("srp: MVRP port %d: VLAN %d is outside 1..4094", p.Port, v)
			}
		}
		m.vlans.ports = append(m.vlans.ports, m.newPort(i))
	}
	for _, v := range cfg.Always {
		m.vlans.always[mrp.VIDValue(v)] = true
	}
	m.vlans.known = func(v mrp.Value) bool { _, err := mrp.ParseVID(v); return err == nil }
	m.vlans.room = m.room
	return m, nil
}

func (m *MVRP) newPort(i int) mapPort {
	c := m.cfg.Ports[i]
	p := newMapPort(mrp.NewParticipant(m.vlans.app, mrp.Config{
		Timers: m.cfg.Timers, PointToPoint: !c.Shared, MaxAttributes: m.maxAttributes(), Seed: m.cfg.Seed + uint64(i)<<32,
		Mode: func(v mrp.Value) mrp.Mode { return m.mode(i, v) },
	}))
	for _, v := range c.Fixed {
		p.fixed[mrp.VIDValue(v)] = true
	}
	for _, v := range c.Silent {
		p.silent[mrp.VIDValue(v)] = true
	}
	return p
}

// mode is the Registrar's Administrative Control of a VLAN on a port.
func (m *MVRP) mode(i int, v mrp.Value) mrp.Mode {
	c := &m.cfg.Ports[i]
	vid, err := mrp.ParseVID(v)
	switch {
	case err != nil:
		return mrp.Normal // it is counted where it is indicated
	case slices.Contains(c.Forbidden, vid):
		return mrp.Forbidden
	case slices.Contains(c.Fixed, vid):
		return mrp.Fixed
	case c.Restricted && !m.static(vid):
		return mrp.Forbidden
	}
	return mrp.Normal
}

// Registrable reports whether a VLAN can be registered on a port.
func (m *MVRP) Registrable(p tsn.Port, vid tsn.VID) bool {
	i := m.index(p)
	return i >= 0 && m.mode(i, mrp.VIDValue(vid)) != mrp.Forbidden
}

func (m *MVRP) static(vid tsn.VID) bool {
	return slices.Contains(m.cfg.Always, vid) ||
		slices.ContainsFunc(m.cfg.Ports, func(p MVRPPort) bool { return slices.Contains(p.Fixed, vid) })
}

// room counts VLANs that are not there by configuration anyway.
func (m *MVRP) room(v mrp.Value) bool {
	vid, _ := mrp.ParseVID(v)
	if m.static(vid) {
		return true
	}
	n := 0
	for v := range m.vlans.registered { // a sum: the order does not matter
		if vid, _ := mrp.ParseVID(v); !m.static(vid) {
			n++
		}
	}
	return n < m.cfg.MaxVLANs
}

// maxAttributes has room for what is declared and for as much that others declare.
func (m *MVRP) maxAttributes() int {
	n := len(m.cfg.Always)
	for _, p := range m.cfg.Ports {
		n += len(p.Fixed) + len(p.Forbidden)
	}
	return min(2*(n+m.cfg.MaxVLANs), 4096)
}

// Deadline is when the next timer runs out.
func (m *MVRP) Deadline() tsn.Instant { return m.vlans.deadline() }

// Step handles tsn.Received, tsn.LinkChanged, tsn.Timeout, SetBlocked and SetAlways.
func (m *MVRP) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	m.effects = m.effects[:0]
	switch ev := ev.(type) {
	case tsn.Received:
		if pdu, ok := m.vlans.app.PDU(ev.Frame); ok && m.index(ev.Port) >= 0 {
			m.vlans.receive(now, m.index(ev.Port), pdu)
		}
	case tsn.Timeout:
		m.vlans.tick(now, func(i int, pdu []byte) {
			m.effects = append(m.effects, tsn.Send{Port: m.cfg.Ports[i].Port, Frame: m.vlans.app.Frame(m.cfg.Address, pdu), Priority: 7})
		})
	case tsn.LinkChanged:
		if i := m.index(ev.Port); i >= 0 {
			m.vlans.link(now, i, ev.Up)
		}
	case SetBlocked:
		for i, p := range m.cfg.Ports {
			m.vlans.block(now, i, slices.Contains(ev.Ports, p.Port))
		}
	case SetAlways:
		m.setAlways(now, ev.VIDs)
	}
	m.vlans.retry(now)
	m.tell()
	return m.effects
}

func (m *MVRP) setAlways(now tsn.Instant, vids []tsn.VID) {
	m.cfg.Always = slices.Clone(vids)
	var values []mrp.Value
	for _, v := range vids {
		values = append(values, mrp.VIDValue(v))
	}
	m.vlans.declareAlways(now, values)
}

func (m *MVRP) index(n tsn.Port) int {
	return slices.IndexFunc(m.cfg.Ports, func(p MVRPPort) bool { return p.Port == n })
}

// tell emits what has changed.
func (m *MVRP) tell() {
	changes := m.vlans.take()
	for _, c := range changes {
		if c.kind == mrp.IndicateNew {
			m.flush(c.valueAt)
		}
	}
	if len(changes) > 0 {
		if now := m.registered(); !slices.EqualFunc(now.Ports, m.told.Ports, equalPortVLANs) {
			m.effects = append(append(m.effects, vlanNews(m.told, now)...), now)
			m.told = now
		}
	}
	if full := len(m.vlans.waiting) > 0; full != m.full {
		if m.full = full; full {
			w := m.vlans.waiting[0]
			vid, _ := mrp.ParseVID(w.value)
			m.effects = append(m.effects, tsn.Notice{
				Kind: NoticeVLANsFull, Port: m.cfg.Ports[w.port].Port, Detail: fmt.Sprintf("VLAN %d is one more than %d", vid, m.cfg.MaxVLANs),
			})
		}
	}
}

// NoticeVLANsFull: a registration has failed because there are MaxVLANs already.
// It is told again after all of them have found room.
const NoticeVLANsFull = "vlans-full"

func equalPortVLANs(a, b PortVLANs) bool { return a.Port == b.Port && slices.Equal(a.VIDs, b.VIDs) }

func (m *MVRP) flush(at valueAt) {
	vid, _ := mrp.ParseVID(at.value)
	f := FlushLearned{VID: vid}
	for i, p := range m.cfg.Ports {
		if i != at.port {
			f.Ports = append(f.Ports, p.Port)
		}
	}
	m.effects = append(m.effects, f)
}

func (m *MVRP) registered() (out RegisteredVLANs) {
	for i, p := range m.cfg.Ports {
		if vids := m.vids(i); len(vids) > 0 {
			out.Ports = append(out.Ports, PortVLANs{p.Port, vids})
		}
	}
	return out
}

func (m *MVRP) vids(i int) (out []tsn.VID) {
	for v, ports := range m.vlans.registered {
		if slices.Contains(ports, i) {
			vid, _ := mrp.ParseVID(v)
			out = append(out, vid)
		}
	}
	slices.Sort(out)
	return out
}

// Registration is a value at a port as people are shown it: of MVRP a VLAN, of
// MMRP a group address or service requirement in a VLAN.
type Registration struct {
	Port      tsn.Port
	VID       tsn.VID
	Group     tsn.MAC                // of MMRP, unless it is a
	Require   mrp.ServiceRequirement // service requirement
	Mode      RegistrationMode
	Applicant string // "VO" ... "LO"
	Registrar string // "MT", "IN", "LV"
	// Declared: this system says here that it is wanted elsewhere. Registered:
	// somebody wants it here, or it is Fixed. Failed: there was no room for it.
	Declared, Registered, Failed bool
}

// RegistrationMode is a Registrar's Administrative Control.
type RegistrationMode = mrp.Mode

// Registrations returns what is declared or registered, by port, then VLAN. It
// is what `tsnctl srp vlans` shows.
func (m *MVRP) Registrations() (out []Registration) {
	for i, p := range m.cfg.Ports {
		for _, a := range m.vlans.attributes(i) {
			vid, err := mrp.ParseVID(a.Value)
			if err != nil {
				continue
			}
			out = append(out, Registration{
				Port: p.Port, VID: vid, Mode: m.mode(i, a.Value), Applicant: a.Applicant, Registrar: a.Registrar,
				Declared: a.Declared, Registered: m.vlans.registeredOn(i, a.Value), Failed: slices.Contains(m.vlans.waiting, valueAt{a.Value, i}),
			})
		}
	}
	return out
}

// MAPCounters returns the counters of registrations, PortCounters those of PDUs
// by port of the configuration.
func (m *MVRP) MAPCounters() MAPCounters { return m.vlans.counters }

// PortCounters returns the counters of each port, in the order of MVRPConfig.Ports.
func (m *MVRP) PortCounters() (out []mrp.Counters) {
	for i := range m.vlans.ports {
		out = append(out, m.vlans.ports[i].Counters())
	}
	return out
}
