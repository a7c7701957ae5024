package daemon

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/node"
)

// callLimit bounds a call to another daemon: a path that has just been cut
// must not hold the operations lock for long.
const callLimit = 4 * time.Second

// fabric knows the other daemons: who and where they are, by the link-state
// database, and how to call them, over TLS. A daemon is called on the port
// that this one listens on.
type fabric struct {
	cfg     *config.Daemon
	control *loop
	machine *node.Control
	keys    *api.Keys // nil: no other daemon is talked to
	self    api.Backend

	mu      sync.Mutex
	clients map[string]*api.Client // by name and address
	// egress is the port that an end station sends by, once it said so.
	egress map[tsn.MAC]tsn.Port
}

// member is a system of the fabric that can be named.
type member struct {
	system  tsn.MAC
	name    string
	address netip.Addr // invalid: no daemon is known there
	station bool
	// bridge is the system that a station is attached to.
	bridge    tsn.MAC
	reachable bool
}

// members lists every bridge and station that SPB knows, this node included.
func (f *fabric) members(ctx context.Context) ([]member, error) {
	var out []member
	err := f.control.call(ctx, func() {
		if f.machine.SPB == nil {
			return
		}
		for _, n := range f.machine.SPB.Nodes() {
			m := member{system: n.SystemID, name: n.HostName, bridge: n.SystemID, reachable: n.Reachable}
			if len(n.Addresses) > 0 {
				m.address = n.Addresses[0]
			}
			out = append(out, m)
		}
		for _, s := range f.machine.SPB.Stations() {
			out = append(out, member{
				system: s.MAC, name: s.Name, address: s.ManagementAddress, station: true, bridge: s.Bridge, reachable: s.Reachable,
			})
		}
	})
	if err == nil && f.cfg.Role == config.RoleEndStation {
		for _, p := range f.cfg.EndStation.Peers {
			out = append(out, member{name: p.Name, address: netip.Addr(p.Address.Addr), reachable: true})
		}
	}
	return out, err
}

// member finds one by name or address; only reachable ones can be called.
func (f *fabric) member(ctx context.Context, match func(member) bool, what string) (member, error) {
	all, err := f.members(ctx)
	if err != nil {
		return member{}, err
	}
	for _, m := range all {
		if match(m) {
			return m, nil
		}
	}
	return member{}, api.Errorf(api.CodeUnknownNode, "%s is not known to the fabric (see: tsnctl spb nodes)", what)
}

func byName(name string) func(member) bool { return func(m member) bool { return m.name == name } }

func bySystem(s tsn.MAC) func(member) bool { return func(m member) bool { return m.system == s } }

// client returns the way to call a member; it connects at first use.
func (f *fabric) client(m member) (*api.Client, error) {
	switch {
	case f.keys == nil:
		return nil, api.Errorf(api.CodeUnsupported, "%s cannot be called: this daemon has no keys (api.tls)", m.name)
	case !m.address.IsValid() || m.name == "":
		return nil, api.Errorf(api.CodeUnavailable, "%s (%s) cannot be called: no management address is known", m.name, m.system)
	}
	key := m.name + " " + m.address.String()
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clients[key]
	if c == nil {
		port := f.cfg.API.Listen.Port()
		if port == 0 {
			port = config.APIPort
		}
		c = api.DialTLS(netip.AddrPortFrom(m.address, port).String(), m.name, f.keys, nil)
		f.clients[key] = c
	}
	return c, nil
}

// close ends all connections.
func (f *fabric) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.clients {
		c.Close()
	}
}

// remote returns the switch of that name.
func (f *fabric) remote(ctx context.Context, name string) (api.Switch, error) {
	if name == f.cfg.Name {
		return f.self, nil
	}
	m, err := f.member(ctx, byName(name), "node "+name)
	if err != nil {
		return nil, err
	}
	return f.client(m)
}

// Peer implements peers.
func (f *fabric) Peer(ctx context.Context, system tsn.MAC) (api.Peer, error) {
	if system == f.cfg.SystemID {
		return f.self, nil
	}
	m, err := f.member(ctx, bySystem(system), "system "+system.String())
	if err != nil {
		return nil, err
	}
	c, err := f.client(m)
	if err != nil {
		return nil, err
	}
	return timedPeer{c}, nil
}

// Path implements topology: SPB's path, with the talker's own port in front
// if a daemon runs there that can gate it.
func (f *fabric) Path(ctx context.Context, vid tsn.VID, from, to tsn.MAC) ([]tsn.Hop, error) {
	var hops []tsn.Hop
	var err error
	if cerr := f.control.call(ctx, func() { hops, err = f.machine.Path(vid, from, to) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, err
	}
	m, err := f.member(ctx, bySystem(from), "talker "+from.String())
	if err != nil || !m.station || !m.address.IsValid() {
		return hops, err
	}
	port, err := f.stationPort(ctx, m)
	if err != nil {
		return nil, err
	}
	return append([]tsn.Hop{{System: from, Port: port}}, hops...), nil
}

func (f *fabric) stationPort(ctx context.Context, m member) (tsn.Port, error) {
	f.mu.Lock()
	port := f.egress[m.system]
	f.mu.Unlock()
	if port != tsn.NoPort {
		return port, nil
	}
	peer, err := f.Peer(ctx, m.system)
	if err != nil {
		return 0, err
	}
	st, err := peer.Node(ctx)
	if err != nil {
		return 0, within(err, "ask talker %s for its port", m.name)
	}
	if len(st.Ports) == 0 {
		return 0, fmt.Errorf("talker %s has no port", m.name)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.egress[m.system] = st.Ports[0].Port
	return st.Ports[0].Port, nil
}

// Label implements topology.
func (f *fabric) Label(ctx context.Context, h tsn.Hop) api.PathHop {
	p := api.PathHop{Hop: h, Node: h.System.String()}
	if h.System == f.cfg.SystemID {
		p.Node, p.Ifname = f.cfg.Name, ifnameOf(f.cfg, h.Port)
	} else if m, err := f.member(ctx, bySystem(h.System), ""); err == nil && m.name != "" {
		p.Node = m.name
	}
	return p
}

// timedPeer gives every call a limit.
type timedPeer struct{ p api.Peer }

func timed[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	return call(ctx)
}

func (t timedPeer) PutReservations(ctx context.Context, r api.Reservations) error {
	_, err := timed(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, t.p.PutReservations(ctx, r) })
	return err
}

func (t timedPeer) PutProxies(ctx context.Context, p api.Proxies) error {
	_, err := timed(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, t.p.PutProxies(ctx, p) })
	return err
}

func (t timedPeer) StageSchedule(ctx context.Context, r api.StageRequest) (*api.ScheduleState, error) {
	return timed(ctx, func(ctx context.Context) (*api.ScheduleState, error) { return t.p.StageSchedule(ctx, r) })
}

func (t timedPeer) CommitSchedule(ctx context.Context, id string) (*api.ScheduleState, error) {
	return timed(ctx, func(ctx context.Context) (*api.ScheduleState, error) { return t.p.CommitSchedule(ctx, id) })
}

func (t timedPeer) TrialSchedule(ctx context.Context, r api.TrialRequest) (*api.ScheduleState, error) {
	return timed(ctx, func(ctx context.Context) (*api.ScheduleState, error) { return t.p.TrialSchedule(ctx, r) })
}

func (t timedPeer) AbortSchedule(ctx context.Context, id string) (*api.ScheduleState, error) {
	return timed(ctx, func(ctx context.Context) (*api.ScheduleState, error) { return t.p.AbortSchedule(ctx, id) })
}

func (t timedPeer) ScheduleState(ctx context.Context) (*api.ScheduleState, error) {
	return timed(ctx, t.p.ScheduleState)
}

func (t timedPeer) Node(ctx context.Context) (*api.Status, error) { return timed(ctx, t.p.Node) }

func ifnameOf(c *config.Daemon, port tsn.Port) string {
	for _, p := range c.Ports {
		if p.Port == port {
			return p.Ifname
		}
	}
	return ""
}
