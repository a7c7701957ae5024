package dataplane

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// Unaware writes what Kernel would write on a kernel that has bridges but no
// VLAN filtering. It is for measurements only: one network request for every
// FDB and group entry and for all flags of a port, the same reading before and
// after, but no VLAN and no queueing discipline. So that the entries of an
// address in several VLANs stay several, each is under an address of its own.
// No frame is forwarded as it should be.
type Unaware struct {
	mu      sync.Mutex
	mem     memory
	k       kernel
	state   State // VLANs and settings, which this kernel cannot hold
	aliases map[stationKey]tsn.MAC
	keys    map[tsn.MAC]stationKey // by alias
}

// OpenUnaware is Open for such a kernel.
func OpenUnaware(cfg Config) (*Unaware, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	u := &Unaware{
		k:       kernel{cfg: cfg, refused: map[tsn.Port]map[string]error{}, carrier: map[tsn.Port]uint32{}, stepped: map[tsn.Port]int64{}},
		state:   State{Bridge: &Bridge{Address: cfg.SystemID}},
		aliases: map[stationKey]tsn.MAC{}, keys: map[tsn.MAC]stationKey{},
	}
	for _, p := range cfg.Ports {
		u.k.carrier[p.Port] = 0
		u.state.Bridge.Ports = append(u.state.Bridge.Ports, BridgePort{Port: p.Port})
	}
	if err := u.k.open(); err != nil {
		return nil, err
	}
	return u, nil
}

// Close releases the sockets.
func (u *Unaware) Close() error { return u.k.close() }

// Set is Kernel.Set.
func (u *Unaware) Set(ctx context.Context, d tsn.DesiredState) (Report, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return reconcile(ctx, u, d, &u.mem, time.Now)
}

// Forget is Kernel.Forget.
func (u *Unaware) Forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.mem.valid = false
}

// Config returns the configuration.
func (u *Unaware) Config() *Config { return &u.k.cfg }

// Check knows no feature that is missing.
func (u *Unaware) Check(tsn.Port, string) error { return nil }

// GateLimits are none: there are no gates.
func (u *Unaware) GateLimits(tsn.Port) GateLimits { return GateLimits{} }

// LinkSpeed is not used.
func (u *Unaware) LinkSpeed(tsn.Port) tsn.Rate { return tsn.Gbps }

// GateNow is not used.
func (u *Unaware) GateNow(tsn.Port) (int64, error) { return 0, nil }

// alias is the address under which an entry of a VLAN is kept.
func (u *Unaware) alias(m tsn.MAC, v tsn.VID) tsn.MAC {
	key := stationKey{m, v}
	a, ok := u.aliases[key]
	if !ok {
		n := len(u.aliases)
		a = tsn.MAC{0x02 | m[0]&1, 0xee, 0, byte(n >> 16), byte(n >> 8), byte(n)}
		u.aliases[key], u.keys[a] = a, key
	}
	return a
}

// Read reads links, flags, FDB and MDB.
func (u *Unaware) Read() (State, error) {
	if err := u.k.refresh(); err != nil {
		return State{}, err
	}
	s := u.state.Clone()
	var ok bool
	if _, ok = u.k.links[u.k.cfg.Bridge]; !ok {
		s.Bridge.Exists = false
		return s, nil
	}
	return u.Reread(s, []Op{SetFDB{}, AddMDB{}})
}

// Reread reads the tables that the ops are about.
func (u *Unaware) Reread(s State, ops []Op) (State, error) {
	var fdb, mdb bool
	for _, o := range ops {
		switch o.(type) {
		case SetFDB, DelFDB:
			fdb = true
		case AddMDB, DelMDB:
			mdb = true
		}
	}
	b := *s.Bridge
	s.Bridge = &b
	if err := u.k.readPorts(&b); err != nil {
		return State{}, err
	}
	b.Exists, b.Settings, b.Kernel = u.state.Bridge.Exists, u.state.Bridge.Settings, u.state.Bridge.Kernel
	b.Self = u.state.Bridge.Self
	for i := range b.Ports {
		b.Ports[i].VLANs = u.state.Bridge.Ports[i].VLANs
	}
	portOf, bridge := u.k.portOf(&b), u.k.index(tsn.NoPort)
	if fdb {
		ns, err := u.k.c.fdb()
		if err != nil {
			return State{}, err
		}
		b.FDB = nil
		for _, n := range ns {
			key, known := u.keys[n.mac]
			if p, ours := portOf[n.index]; known && ours && n.master == bridge {
				b.FDB = append(b.FDB, tsn.FDBEntry{MAC: key.mac, VID: key.vid, Port: p, Sticky: n.flags&ntfSticky != 0})
			}
		}
	}
	if mdb {
		gs, _, err := u.k.c.mdb()
		if err != nil {
			return State{}, err
		}
		b.MDB = nil
		for _, g := range gs {
			key, known := u.keys[g.mac]
			if p, ours := portOf[g.index]; known && ours && g.bridge == bridge {
				b.MDB = append(b.MDB, GroupPort{key.mac, key.vid, p})
			}
		}
	}
	s = s.Clone() // u.state is not to be sorted under our feet
	s.Sort()
	return s, nil
}

// Apply writes entries and flags, and remembers the rest.
func (u *Unaware) Apply(ctx context.Context, ops []Op) []Failure {
	var rs []request
	var of []int // the op of each request
	for i, op := range ops {
		r, err := u.request(ctx, op)
		if err != nil {
			return []Failure{{i, err}}
		}
		if r.typ != 0 {
			rs, of = append(rs, r), append(of, i)
		}
	}
	failed := map[int]error{}
	if len(rs) > 0 {
		for i, err := range u.k.c.batch(rs) {
			failed[of[i]] = err
		}
	}
	var out []Failure
	for i, op := range ops {
		if err := u.k.judge(op, failed[i]); err != nil {
			out = append(out, Failure{i, err})
			continue
		}
		op.Do(&u.state)
	}
	return out
}

func (u *Unaware) request(ctx context.Context, op Op) (request, error) {
	fdb := func(typ uint16, e tsn.FDBEntry) (request, error) {
		a := u.alias(e.MAC, e.VID)
		return fdbRequest(typ, u.k.index(e.Port), tsn.FDBEntry{MAC: a, Port: e.Port, Sticky: e.Sticky}, false)
	}
	mdb := func(typ uint16, g GroupPort) (request, error) {
		a := u.alias(g.Group, g.VID)
		return mdbRequest(typ, group{a, 0, u.k.index(g.Port), u.k.index(tsn.NoPort)})
	}
	switch o := op.(type) {
	case EnsureBridge:
		if err := u.k.c.setPlainBridge(u.k.cfg.Bridge, u.k.cfg.SystemID); err != nil {
			return request{}, err
		}
		return request{}, u.k.refresh()
	case Enslave:
		return request{}, u.k.c.enslave(u.k.index(o.Port), u.k.index(tsn.NoPort))
	case SetFlags:
		return flagsRequest(u.k.index(o.Port), o.Flags, true)
	case SetFDB:
		return fdb(unix.RTM_NEWNEIGH, o.Entry)
	case DelFDB:
		return fdb(unix.RTM_DELNEIGH, o.Entry)
	case AddMDB:
		if err := u.k.settled(ctx, o.Entry); err != nil {
			return request{}, err
		}
		return mdb(unix.RTM_NEWMDB, o.Entry)
	case DelMDB:
		u.k.emptied = time.Now()
		return mdb(unix.RTM_DELMDB, o.Entry)
	case SetVLAN, DelVLAN:
		return request{}, nil
	}
	return request{}, fmt.Errorf("step %T is not for a bridge without VLANs", op)
}
