package srp

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// MMRPConfig is fixed for the life of an MMRP. Zero values mean the default.
type MMRPConfig struct {
	Ports   []MMRPPort // ascending port; no others take part
	Address tsn.MAC    // that frames are sent from
	Timers  mrp.Timers // default mrp.Standard; see mrp.ProAV
	// MaxContexts is in how many VLANs, the lowest first, MMRP runs; default 16.
	MaxContexts int
	// MaxGroups is how many {group, VLAN} may be registered; default 256. A
	// registration beyond fails and goes no further.
	MaxGroups int
	Seed      uint64
}

// MMRPPort is a port's part.
type MMRPPort struct {
	Port tsn.Port
	// Shared: there may be more than one other MMRP system on the LAN.
	Shared bool
	// Restricted is Restricted_MAC_Address_Registration (10.12.2.3): nothing can be
	// registered here.
	Restricted bool
}

// SetMembers is an event of MMRP: the VLANs that each of its ports is in, whole.
// Ports that are not named are in none. A frame without a tag belongs to the
// port's PVID; MMRP's own leave with a tag unless the port is Untagged.
type SetMembers struct{ Ports []PortMembers }

// PortMembers are the VLANs of a port.
type PortMembers struct {
	Port  tsn.Port
	VLANs []tsn.PortVLAN // ascending VID
}

// RegisteredGroups is an effect of MMRP: all that is registered.
type RegisteredGroups struct {
	Groups       []RegisteredGroup // ascending VID, group
	Requirements []Requirement     // ascending VID, port
	// Full: some registration has failed because there are MaxGroups already.
	Full bool
}

// RegisteredGroup is a group address, or an individual one, that these ports want.
type RegisteredGroup struct {
	VID   tsn.VID
	Group tsn.MAC
	Ports []tsn.Port // ascending
}

// Requirement is what a port wants beside the groups that it names (10.9.3).
type Requirement struct {
	VID                           tsn.VID
	Port                          tsn.Port
	AllGroups, UnregisteredGroups bool
}

// MMRP registers group addresses and service requirements (802.1Q 10.9 to
// 10.12), in each VLAN for itself. It is a tsn.Machine.
//
//	tsn.Received{88F6}, tsn.Timeout ──┐        ┌─> tsn.Send
//	tsn.LinkChanged, SetBlocked ──────┤  MMRP  ├─> RegisteredGroups (whole)
//	SetMembers ───────────────────────┘        └─> tsn.Notice
//
// A context is a VLAN: its ports are the VLAN's members, its frames carry the
// VLAN's tag or, where the VLAN is untagged, none. In an SPB fabric the ports
// between bridges take no part: the fabric carries a group where it carries
// broadcast, and registrations keep it from edge ports that do not want it.
type MMRP struct {
	cfg      MMRPConfig
	app      *mrp.Application
	contexts []*mmrpContext // ascending VID
	members  map[tsn.Port][]tsn.PortVLAN
	up       map[tsn.Port]bool
	blocked  []tsn.Port
	told     RegisteredGroups
	full     bool
	counters MMRPCounters
	effects  []tsn.Effect
}

// MMRPCounters count frames and contexts since the construction.
type MMRPCounters struct {
	// NoContext are frames of a VLAN in which MMRP does not run on that port.
	NoContext uint64
	// Contexts that were not made, because there were MaxContexts.
	Refused uint64
}

var _ tsn.Machine = (*MMRP)(nil)

type mmrpContext struct {
	*attributeMap
	vid tsn.VID // ports of the attributeMap are those of MMRPConfig.Ports
}

// NewMMRP returns an MMRP with every port down and in no VLAN. The error says
// what in the configuration cannot be meant.
func NewMMRP(cfg MMRPConfig) (*MMRP, error) {
	if cfg.MaxContexts == 0 {
		cfg.MaxContexts = 16
	}
	if cfg.MaxGroups == 0 {
		cfg.MaxGroups = 256
	}
	for i, p := range cfg.Ports {
		if p.Port == tsn.NoPort || i > 0 && p.Port <= cfg.Ports[i-1].Port {
			return nil, fmt.Errorf("srp: MMRP port %d: ports must be ascending and start at 1", p.Port)
		}
	}
	return &MMRP{cfg: cfg, app: mrp.MMRP(), members: map[tsn.Port][]tsn.PortVLAN{}, up: map[tsn.Port]bool{}}, nil
}

// Deadline is when the next timer runs out.
func (m *MMRP) Deadline() tsn.Instant {
	d := tsn.Never
	for _, c := range m.contexts {
		d = min(d, c.deadline())
	}
	return d
}

// Step handles tsn.Received, tsn.LinkChanged, tsn.Timeout, SetBlocked and SetMembers.
func (m *MMRP) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	m.effects = m.effects[:0]
	switch ev := ev.(type) {
	case tsn.Received:
		m.received(now, ev)
	case tsn.Timeout:
		for _, c := range m.contexts {
			c.tick(now, func(i int, pdu []byte) { m.send(c, i, pdu) })
		}
	case tsn.LinkChanged:
		m.up[ev.Port] = ev.Up
		m.everywhere(ev.Port, func(c *mmrpContext, i int) { c.link(now, i, ev.Up && m.isMember(c, i)) })
	case SetBlocked:
		m.blocked = slices.Clone(ev.Ports)
		for _, p := range m.cfg.Ports {
			m.everywhere(p.Port, func(c *mmrpContext, i int) { c.block(now, i, slices.Contains(ev.Ports, p.Port)) })
		}
	case SetMembers:
		m.setMembers(now, ev)
	}
	for _, c := range m.contexts {
		c.retry(now)
	}
	m.tell()
	return m.effects
}

// everywhere visits a port in all contexts.
func (m *MMRP) everywhere(p tsn.Port, visit func(c *mmrpContext, i int)) {
	i := slices.IndexFunc(m.cfg.Ports, func(c MMRPPort) bool { return c.Port == p })
	if i < 0 {
		return
	}
	for _, c := range m.contexts {
		visit(c, i)
	}
}

func (m *MMRP) received(now tsn.Instant, ev tsn.Received) {
	vid, frame := untag(ev.Frame)
	pdu, ok := m.app.PDU(frame)
	if !ok {
		return
	}
	if vid == 0 {
		for _, v := range m.members[ev.Port] {
			if v.PVID {
				vid = v.VID
			}
		}
	}
	taken := false
	m.everywhere(ev.Port, func(c *mmrpContext, i int) {
		if c.vid == vid && m.isMember(c, i) {
			taken = true
			c.receive(now, i, pdu)
		}
	})
	if !taken {
		m.counters.NoContext++
	}
}

const typeTag = 0x8100

// untag takes the tag out of a frame. 0: it has none, or one that says no VLAN.
func untag(frame []byte) (tsn.VID, []byte) {
	if len(frame) < 18 || binary.BigEndian.Uint16(frame[12:]) != typeTag {
		return 0, frame
	}
	vid := tsn.VID(binary.BigEndian.Uint16(frame[14:]) & 0xfff)
	return vid, slices.Concat(frame[:12], frame[16:])
}

func (m *MMRP) send(c *mmrpContext, i int, pdu []byte) {
	p := m.cfg.Ports[i].Port
	frame := m.app.Frame(m.cfg.Address, pdu)
	if !slices.ContainsFunc(m.members[p], func(v tsn.PortVLAN) bool { return v.VID == c.vid && v.Untagged }) {
		tag := binary.BigEndian.AppendUint16([]byte{typeTag >> 8, typeTag & 0xff}, 7<<13|uint16(c.vid))
		frame = slices.Concat(frame[:12], tag, frame[12:])
	}
	m.effects = append(m.effects, tsn.Send{Port: p, Frame: frame, Priority: 7})
}

func (m *MMRP) isMember(c *mmrpContext, i int) bool {
	return slices.ContainsFunc(m.members[m.cfg.Ports[i].Port], func(v tsn.PortVLAN) bool { return v.VID == c.vid })
}

// setMembers makes and ends contexts, and the parts of ports in those that stay.
func (m *MMRP) setMembers(now tsn.Instant, ev SetMembers) {
	clear(m.members)
	var vids []tsn.VID
	for _, p := range ev.Ports {
		m.members[p.Port] = slices.Clone(p.VLANs)
		if slices.ContainsFunc(m.cfg.Ports, func(c MMRPPort) bool { return c.Port == p.Port }) {
			for _, v := range p.VLANs {
				vids = append(vids, v.VID)
			}
		}
	}
	slices.Sort(vids)
	vids = slices.Compact(vids)
	if more := len(vids) - m.cfg.MaxContexts; more > 0 {
		m.counters.Refused += uint64(more)
		vids = vids[:m.cfg.MaxContexts]
	}
	old := m.contexts
	m.contexts = nil
	for _, v := range vids {
		c := newContext(m, v)
		if i := slices.IndexFunc(old, func(c *mmrpContext) bool { return c.vid == v }); i >= 0 {
			c = old[i]
		}
		m.contexts = append(m.contexts, c)
	}
	for i, p := range m.cfg.Ports {
		m.everywhere(p.Port, func(c *mmrpContext, _ int) {
			c.block(now, i, slices.Contains(m.blocked, p.Port))
			c.link(now, i, m.up[p.Port] && m.isMember(c, i))
		})
	}
}

func newContext(m *MMRP, vid tsn.VID) *mmrpContext {
	c := &mmrpContext{attributeMap: newAttributeMap(m.app), vid: vid}
	c.known = isMMRPValue
	c.room = m.room
	for i, p := range m.cfg.Ports {
		mode := mrp.Normal
		if p.Restricted {
			mode = mrp.Forbidden
		}
		c.attributeMap.ports = append(c.attributeMap.ports, newMapPort(mrp.NewParticipant(m.app, mrp.Config{
			Timers: m.cfg.Timers, PointToPoint: !p.Shared, MaxAttributes: 2*m.cfg.MaxGroups + 2,
			Seed: m.cfg.Seed + uint64(i)<<32 + uint64(vid)<<48, Mode: func(mrp.Value) mrp.Mode { return mode },
		})))
	}
	return c
}

// isMMRPValue leaves out what no filtering entry can be for (10.12.1.3).
func isMMRPValue(v mrp.Value) bool {
	if v.Type == mrp.TypeServiceRequirement {
		_, err := mrp.ParseServiceRequirement(v)
		return err == nil
	}
	mac, err := mrp.ParseMAC(v)
	reserved := mac[0] == 0x01 && mac[1] == 0x80 && mac[2] == 0xc2 && mac[3] == 0 && mac[4] == 0 && mac[5] < 0x30
	return err == nil && !mac.IsZero() && mac != tsn.Broadcast && !reserved
}

// room has no limit for service requirements, of which there are two.
func (m *MMRP) room(v mrp.Value) bool {
	n := 0
	for _, c := range m.contexts {
		for v := range c.registered { // a sum: the order does not matter
			if v.Type == mrp.TypeMAC {
				n++
			}
		}
	}
	return v.Type == mrp.TypeServiceRequirement || n < m.cfg.MaxGroups
}

// NoticeGroupsFull: a registration has failed because there are MaxGroups
// already. It is told again after all of them have found room.
const NoticeGroupsFull = "groups-full"

func (m *MMRP) tell() {
	full := false
	for _, c := range m.contexts {
		c.take() // what has changed is found by comparison: contexts end, too
		full = full || len(c.waiting) > 0
	}
	now := m.registered()
	if now.Full = full; !now.equal(m.told) {
		m.effects = append(append(m.effects, groupNews(m.told, now)...), now)
		m.told = now
	}
	if full != m.full {
		if m.full = full; full {
			m.effects = append(m.effects, tsn.Notice{Kind: NoticeGroupsFull, Detail: fmt.Sprintf("more than %d groups", m.cfg.MaxGroups)})
		}
	}
}

func (r RegisteredGroups) equal(o RegisteredGroups) bool {
	return r.Full == o.Full && slices.Equal(r.Requirements, o.Requirements) && slices.EqualFunc(r.Groups, o.Groups, func(a, b RegisteredGroup) bool {
		return a.VID == b.VID && a.Group == b.Group && slices.Equal(a.Ports, b.Ports)
	})
}

func (m *MMRP) registered() (out RegisteredGroups) {
	for _, c := range m.contexts {
		reqs := map[int]*Requirement{}
		for v, ports := range c.attributeMap.registered {
			if v.Type == mrp.TypeMAC {
				mac, _ := mrp.ParseMAC(v)
				out.Groups = append(out.Groups, RegisteredGroup{c.vid, mac, m.portsOf(ports)})
				continue
			}
			for _, i := range ports {
				if reqs[i] == nil {
					reqs[i] = &Requirement{VID: c.vid, Port: m.cfg.Ports[i].Port}
				}
				all := v == mrp.AllGroups.Value()
				reqs[i].AllGroups, reqs[i].UnregisteredGroups = reqs[i].AllGroups || all, reqs[i].UnregisteredGroups || !all
			}
		}
		for i := range m.cfg.Ports {
			if r := reqs[i]; r != nil {
				out.Requirements = append(out.Requirements, *r)
			}
		}
	}
	slices.SortFunc(out.Groups, func(a, b RegisteredGroup) int {
		return cmp.Or(cmp.Compare(a.VID, b.VID), bytes.Compare(a.Group[:], b.Group[:]))
	})
	return out
}

func (m *MMRP) portsOf(indexes []int) (out []tsn.Port) {
	for _, i := range indexes {
		out = append(out, m.cfg.Ports[i].Port)
	}
	return out
}

// Registrations returns what is declared or registered, by VLAN, then port: what
// `tsnctl srp groups` shows.
func (m *MMRP) Registrations() (out []Registration) {
	for _, c := range m.contexts {
		for i, p := range m.cfg.Ports {
			for _, a := range c.attributes(i) {
				r := Registration{
					Port: p.Port, VID: c.vid, Applicant: a.Applicant, Registrar: a.Registrar,
					Declared: a.Declared, Registered: c.registeredOn(i, a.Value), Failed: slices.Contains(c.waiting, valueAt{a.Value, i}),
				}
				if p.Restricted {
					r.Mode = mrp.Forbidden
				}
				if a.Value.Type == mrp.TypeMAC {
					r.Group, _ = mrp.ParseMAC(a.Value)
				} else {
					r.Require, _ = mrp.ParseServiceRequirement(a.Value)
				}
				out = append(out, r)
			}
		}
	}
	return out
}

// MAPCounters returns the counters of registrations of all VLANs together.
func (m *MMRP) MAPCounters() (out MAPCounters) {
	for _, c := range m.contexts {
		n := &c.attributeMap.counters
		out.Registered, out.Left, out.New = out.Registered+n.Registered, out.Left+n.Left, out.New+n.New
		out.Failed, out.Unknown = out.Failed+n.Failed, out.Unknown+n.Unknown
	}
	return out
}

// Counters returns the counters of frames and contexts.
func (m *MMRP) Counters() MMRPCounters { return m.counters }
