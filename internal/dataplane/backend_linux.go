package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// kernel is the Backend behind Kernel; it is not safe for concurrent use.
type kernel struct {
	cfg    Config
	c      *conn
	ioctl  int      // a socket for ethtool requests
	mm     *mmConn  // nil: the kernel has no ethtool netlink
	phcs   phcFiles // clocks of ports in full offload
	probed probed

	links   map[string]link               // at the last Read
	carrier map[tsn.Port]uint32           // carrier changes when a schedule was last sent
	sentAt  map[tsn.Port]time.Time        // when that was, or Open
	stepped map[tsn.Port]int64            // the highest steppedBy since the root was made, or Open
	refused map[tsn.Port]map[string]error // what drivers have refused so far
	emptied time.Time                     // when a group last lost a port
	// In full offload: what ran before the list that waits. The kernel does not tell.
	before  map[tsn.Port]*Schedule
	soft    map[tsn.Port]bool                          // under txtime-assist: launched by the kernel
	drivers map[string]string                          // by interface
	sdu     map[tsn.Port][tsn.MaxTrafficClasses]uint32 // max-SDU as last sent
}

func (k *kernel) open() (err error) {
	if k.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket for ethtool: %w", err)
	}
	if k.c, err = dial(); err != nil {
		unix.Close(k.ioctl)
		return err
	}
	k.mm = dialMM()
	return nil
}

func (k *kernel) close() error {
	return errors.Join(k.c.Close(), unix.Close(k.ioctl), k.mm.close(), k.phcs.close())
}

// port is the configuration of a port that is known to be configured.
func (k *kernel) port(p tsn.Port) PortConfig {
	pc, _ := k.cfg.port(p)
	return pc
}

// classes numbers the classes of a port as its root does.
func (k *kernel) classes(p tsn.Port) classes {
	cl := classes{n: k.cfg.ClassMap.Classes(), order: k.probed.order, unused: k.cfg.ClassMap.Unused()}
	switch {
	case reversed(k.driver(p)):
		cl.order = LowestFirst
	case k.port(p).Offload == OffloadFull, k.port(p).Offload == Ungated:
		cl.order = HighestFirst
	}
	return cl
}

func (k *kernel) Config() *Config { return &k.cfg }

func (k *kernel) refresh() (err error) {
	if k.links, err = k.c.links(); err != nil {
		return err
	}
	for _, p := range k.cfg.Ports {
		l, ok := k.links[p.Ifname]
		if !ok {
			return fmt.Errorf("port %d: there is no interface %q here", p.Port, p.Ifname)
		}
		if _, known := k.carrier[p.Port]; !known {
			k.carrier[p.Port], k.sentAt[p.Port] = l.carrier, time.Now()
			k.wentBack(p.Port) // from now on
		}
	}
	if l, ok := k.links[k.cfg.Bridge]; ok && l.kind != "bridge" {
		return fmt.Errorf("interface %q is a %q and not a bridge", k.cfg.Bridge, l.kind)
	}
	return nil
}

// index is the interface behind a port, NoPort being the bridge.
func (k *kernel) index(p tsn.Port) int { return k.links[k.cfg.ifname(p)].index }

func (k *kernel) Read() (State, error) {
	if err := k.refresh(); err != nil {
		return State{}, err
	}
	var s State
	if k.cfg.Bridge != "" {
		b, err := k.readBridge()
		if err != nil {
			return State{}, err
		}
		s.Bridge = b
	}
	qs, err := k.c.qdiscs()
	if err != nil {
		return State{}, err
	}
	for _, p := range k.cfg.Ports {
		e, err := k.readEgress(p, qs)
		if err != nil {
			return State{}, fmt.Errorf("port %d: %w", p.Port, err)
		}
		s.Egress = append(s.Egress, e)
	}
	s.Sort()
	if err := k.readKeptBack(&s); err != nil {
		return State{}, err
	}
	if err := k.readFilters(&s); err != nil {
		return State{}, err
	}
	return s, k.readRules(&s)
}

// Reread reads the tables that the ops are about. Leaving a VLAN takes FDB
// entries away.
func (k *kernel) Reread(s State, ops []Op) (State, error) {
	var ports, fdb, mdb, filters, rules bool
	for _, o := range ops {
		switch o.(type) {
		case SetFlags:
			ports = true
		case SetVLAN, DelVLAN:
			ports, fdb = true, true
		case SetFDB, DelFDB, AgeFDB:
			fdb = true
		case AddMDB, DelMDB:
			mdb = true
		case SetFilter, DelFilter:
			filters = true
		case SetRule, DelRule:
			rules = true
		default:
			return k.Read()
		}
	}
	if filters {
		if err := k.readFilters(&s); err != nil {
			return State{}, err
		}
	}
	if rules {
		if err := k.readRules(&s); err != nil {
			return State{}, err
		}
	}
	if s.Bridge == nil {
		return s, nil
	}
	b := *s.Bridge
	s.Bridge = &b
	if ports {
		if err := k.readPorts(&b); err != nil {
			return State{}, err
		}
	}
	if fdb {
		if err := k.readFDB(&b); err != nil {
			return State{}, err
		}
	}
	if mdb {
		if err := k.readMDB(&b); err != nil {
			return State{}, err
		}
	}
	s.Sort()
	return s, nil
}

func (k *kernel) readBridge() (*Bridge, error) {
	br, ok := k.links[k.cfg.Bridge]
	b := &Bridge{Exists: ok, Address: br.mac, Settings: br.bridge}
	if !ok {
		b.Address = k.cfg.SystemID // which it will have
	}
	if err := k.readPorts(b); err != nil || !ok {
		return b, err
	}
	if err := k.readFDB(b); err != nil {
		return nil, err
	}
	return b, k.readMDB(b)
}

// readPorts reads flags and VLANs.
func (k *kernel) readPorts(b *Bridge) error {
	br, ok := k.links[k.cfg.Bridge]
	raw, err := k.c.bridgePorts()
	if err != nil {
		return err
	}
	old := b.Ports
	b.Ports, b.Self = nil, nil
	for _, p := range k.cfg.Ports {
		l := k.links[p.Ifname]
		bp := BridgePort{Port: p.Port, Enslaved: ok && l.master == br.index}
		if i := slices.IndexFunc(old, func(o BridgePort) bool { return o.Port == p.Port }); i >= 0 {
			bp.KeptBack, bp.OddFilter = old[i].KeptBack, old[i].OddFilter // of another table
		}
		if bp.Enslaved {
			bp.Flags, bp.VLANs = raw[l.index].flags, raw[l.index].vlans
			if !raw[l.index].hasLocked {
				k.refuse(p.Port, FeatureLocked, "the kernel does not know the flag (it came with 5.18)")
			}
		}
		b.Ports = append(b.Ports, bp)
	}
	if ok {
		for _, v := range raw[br.index].vlans {
			b.Self = append(b.Self, v.VID)
		}
	}
	return nil
}

// portOf finds our enslaved ports, and the bridge as NoPort, by interface index.
func (k *kernel) portOf(b *Bridge) map[int]tsn.Port {
	of := map[int]tsn.Port{k.index(tsn.NoPort): tsn.NoPort}
	for _, p := range b.Ports {
		if p.Enslaved {
			of[k.index(p.Port)] = p.Port
		}
	}
	return of
}

// readFDB reads static entries. Entries on interfaces that are not ours are
// left out, and so are learned ones; permanent entries of the addresses of
// bridge and ports are the kernel's own.
func (k *kernel) readFDB(b *Bridge) error {
	ns, err := k.c.fdb()
	if err != nil {
		return err
	}
	bridge, portOf := k.index(tsn.NoPort), k.portOf(b)
	own := map[tsn.MAC]bool{k.links[k.cfg.Bridge].mac: true}
	for _, p := range b.Ports {
		if p.Enslaved {
			own[k.links[k.cfg.ifname(p.Port)].mac] = true
		}
	}
	b.FDB, b.Kernel = nil, nil
	for _, n := range ns {
		p, ours := portOf[n.index]
		switch e := (tsn.FDBEntry{MAC: n.mac, VID: n.vid, Port: p}); {
		case n.master != bridge || !ours || n.vid == 0:
		case n.state == unix.NUD_PERMANENT && own[n.mac]:
			e.Port = tsn.NoPort
			b.Kernel = append(b.Kernel, e)
		case n.state == unix.NUD_NOARP && p != tsn.NoPort, n.state == unix.NUD_PERMANENT && p == tsn.NoPort:
			e.Sticky = n.flags&ntfSticky != 0
			b.FDB = append(b.FDB, e)
		}
	}
	return nil
}

func (k *kernel) readMDB(b *Bridge) error {
	gs, _, err := k.c.mdb()
	if err != nil {
		return err
	}
	portOf := k.portOf(b)
	b.MDB = nil
	for _, g := range gs {
		if p, ours := portOf[g.index]; ours && g.bridge == k.index(tsn.NoPort) {
			b.MDB = append(b.MDB, GroupPort{g.mac, g.vid, p})
		}
	}
	return nil
}

func (k *kernel) refuse(p tsn.Port, feature, why string) error {
	if k.refused[p] == nil {
		k.refused[p] = map[string]error{}
	}
	err := &UnsupportedError{feature, p, why}
	k.refused[p][feature] = err
	return err
}

func (k *kernel) Check(p tsn.Port, feature string) error {
	if err := k.refused[p][feature]; err != nil {
		return err
	}
	if p != tsn.NoPort && slices.Contains(k.cfg.AssumeMissing, feature) {
		return &UnsupportedError{feature, p, "the configuration takes it to be missing"}
	}
	if why := k.probed.missing[feature]; why != "" {
		return &UnsupportedError{feature, p, why}
	}
	switch feature {
	case FeatureOffload:
		return k.checkOffload(p)
	case FeatureMACMerge:
		return k.checkMACMerge(p)
	case FeatureQueues:
		want := max(k.cfg.ClassMap.Queues(), k.cfg.NumQueues)
		if have := k.links[k.cfg.ifname(p)].txQueues; have < want {
			return &UnsupportedError{feature, p, fmt.Sprintf("%s has %d transmit queues, %d are needed", k.cfg.ifname(p), have, want)}
		}
	}
	return nil
}

// GateLimits: taprio refuses entries shorter than a minimum frame takes; a
// device in full offload has its own limits, too.
func (k *kernel) GateLimits(p tsn.Port) GateLimits {
	l := SoftwareGates
	if k.port(p).Offload == OffloadFull {
		l = l.within(driverGates[k.driver(p)])
	}
	l.MinInterval = max(l.MinInterval, k.LinkSpeed(p).TransmitTime(minFrame))
	l.PerEntry = k.port(p).Offload == OffloadNone && k.probed.missing[FeaturePreemption] != "" // one release apart
	return l
}

// LinkSpeed is what taprio and cbs take for the link's rate: 10 Mbit/s if the
// driver tells none.
func (k *kernel) LinkSpeed(p tsn.Port) tsn.Rate {
	if s := linkSpeed(k.ioctl, k.cfg.ifname(p)); s > 0 {
		return s
	}
	return 10 * tsn.Mbps
}

func (k *kernel) GateNow(p tsn.Port) (int64, error) {
	if k.cfg.GateNow != nil {
		return k.cfg.GateNow(p)
	}
	if k.port(p).Offload == OffloadFull {
		return k.phcs.now(k.ioctl, k.cfg.ifname(p))
	}
	return taiNow()
}

func taiNow() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_TAI, &ts); err != nil {
		return 0, fmt.Errorf("CLOCK_TAI: %w", err)
	}
	return ts.Nano(), nil
}

// Apply sends steps of bridge entries, flags and VLANs together; any other step
// is alone in its batch.
func (k *kernel) Apply(ctx context.Context, ops []Op) []Failure {
	var rs []request
	for i, op := range ops {
		r, err := k.request(ctx, op)
		if err == nil && r.typ == 0 {
			err = k.apply(ctx, op)
		}
		if err != nil {
			return []Failure{{i, err}}
		}
		if r.typ != 0 {
			rs = append(rs, r)
		}
	}
	var out []Failure
	failed := map[int]error{}
	if len(rs) > 0 {
		failed = k.c.batch(rs)
	}
	for i, op := range ops {
		if err := k.judge(op, failed[i]); err != nil {
			out = append(out, Failure{i, err})
		}
	}
	return out
}

// request makes the request of a step that can be in a batch; of any other its
// type is 0.
func (k *kernel) request(ctx context.Context, op Op) (request, error) {
	switch o := op.(type) {
	case SetFlags:
		return flagsRequest(k.index(o.Port), o.Flags, k.refused[o.Port][FeatureLocked] == nil)
	case SetVLAN:
		return vlanRequest(unix.RTM_SETLINK, k.index(o.Port), o.VLAN, o.Port == tsn.NoPort)
	case DelVLAN:
		return vlanRequest(unix.RTM_DELLINK, k.index(o.Port), tsn.PortVLAN{VID: o.VID}, o.Port == tsn.NoPort)
	case SetFDB:
		return fdbRequest(unix.RTM_NEWNEIGH, k.index(o.Entry.Port), o.Entry, false)
	case AgeFDB:
		return fdbRequest(unix.RTM_NEWNEIGH, k.index(o.Entry.Port), tsn.FDBEntry{MAC: o.Entry.MAC, VID: o.Entry.VID, Port: o.Entry.Port}, true)
	case DelFDB:
		return fdbRequest(unix.RTM_DELNEIGH, k.index(o.Entry.Port), o.Entry, false)
	case AddMDB:
		if err := k.settled(ctx, o.Entry); err != nil {
			return request{}, err
		}
		return mdbRequest(unix.RTM_NEWMDB, k.group(o.Entry))
	case DelMDB:
		k.emptied = time.Now()
		return mdbRequest(unix.RTM_DELMDB, k.group(o.Entry))
	case KeepBack:
		return keepBackRequest(k.index(o.Port), o.Frames)
	case SetFilter:
		return setFilterRequest(k.index(o.Filter.Port), o.Filter)
	case DelFilter:
		return delFilterRequest(k.index(o.Filter.Port), o.Filter)
	case SetRule:
		return ruleRequest(k.index(o.Rule.Port), o.Rule)
	case DelRule:
		return delRuleRequest(k.index(o.Rule.Port), o.Rule)
	}
	return request{}, nil
}

// judge is what a failure means for a step.
func (k *kernel) judge(op Op, err error) error {
	switch o := op.(type) {
	case AddMDB:
		if o.Entry.Port == tsn.NoPort && errors.Is(err, unix.EEXIST) {
			return nil // a kernel that kept it; see settled
		}
	case SetFlags: // it is the flag that switch chips lack
		if o.Flags.Locked && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) && k.enslaved(o.Port) {
			return k.refuse(o.Port, FeatureLocked, "the driver refuses it: "+err.Error())
		}
	}
	return err
}

// enslaved looks whether the port is still the bridge's; others can take it out.
func (k *kernel) enslaved(p tsn.Port) bool {
	return k.refresh() == nil && k.links[k.cfg.ifname(p)].master == k.index(tsn.NoPort)
}

// apply does a step that is not for batches.
func (k *kernel) apply(ctx context.Context, op Op) error {
	switch o := op.(type) {
	case EnsureBridge:
		if o.Shared {
			if err := k.c.addSharedBridge(k.cfg.Bridge, k.cfg.SystemID, o.VLANs); err != nil {
				return err
			}
			return k.refresh()
		}
		if err := k.c.setBridge(k.cfg.Bridge, k.cfg.SystemID, o.Create); err != nil {
			return err
		}
		return k.refresh()
	case Enslave:
		return k.c.enslave(k.index(o.Port), k.index(tsn.NoPort))
	case InstallRoot:
		return k.installRoot(ctx, o.Port)
	case SetMACMerge:
		return k.mm.set(k.cfg.ifname(o.Port), o.MACMerge)
	case InstallClassifier:
		return k.installClassifier(o)
	case InstallHook:
		return k.c.installHook(k.index(o.Port))
	case SetShaper:
		return k.setShaper(o)
	case SetLaunch:
		return k.setLaunch(o)
	case SetSchedule:
		return k.setSchedule(o)
	}
	return fmt.Errorf("step %T is not known", op)
}

func (k *kernel) group(g GroupPort) group {
	return group{g.Group, g.VID, k.index(g.Port), k.index(tsn.NoPort)}
}

// settle is longer than the two timer ticks in which a kernel takes down a
// group that has lost its last port.
const (
	settle     = 25 * time.Millisecond
	settlePoll = time.Millisecond
)

// settled waits until the bridge itself can be added to a group. The kernel
// takes a group that has lost its last port down at the next tick of its timer,
// and then the bridge's own part in it goes even if it was added in between: so
// let it do that first. Until then a listing shows the group without members.
func (k *kernel) settled(ctx context.Context, g GroupPort) error {
	if g.Port != tsn.NoPort || time.Since(k.emptied) > settle {
		return nil
	}
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for {
		if _, empty, err := k.c.mdb(); err != nil || empty == 0 || time.Since(k.emptied) > settle {
			k.emptied = time.Time{}
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
