package dataplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// kernel is the Backend behind Kernel; it is not safe for concurrent use.
type kernel struct {
	cfg    Config
	c      *conn
	ioctl  int // a socket for ethtool requests
	cl     classes
	probed probed

	links   map[string]link               // at the last Read
	carrier map[tsn.Port]uint32           // carrier changes when a schedule was last sent
	sentAt  map[tsn.Port]time.Time        // when that was, or Open
	refused map[tsn.Port]map[string]error // what drivers have refused so far
	emptied map[emptied]time.Time         // when groups have lost a port
}

type emptied struct {
	group tsn.MAC
	vid   tsn.VID
}

func (k *kernel) open() (err error) {
	if k.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket for ethtool: %w", err)
	}
	if k.c, err = dial(); err != nil {
		unix.Close(k.ioctl)
	}
	return err
}

func (k *kernel) close() error { return errors.Join(k.c.Close(), unix.Close(k.ioctl)) }

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
	maps.DeleteFunc(k.emptied, func(_ emptied, lost time.Time) bool { return time.Since(lost) > settle })
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
	return s, nil
}

func (k *kernel) readBridge() (*Bridge, error) {
	br, ok := k.links[k.cfg.Bridge]
	b := &Bridge{Exists: ok, Settings: br.bridge}
	raw, err := k.c.bridgePorts()
	if err != nil {
		return nil, err
	}
	portOf := map[int]tsn.Port{}
	own := map[tsn.MAC]bool{br.mac: true}
	for _, p := range k.cfg.Ports {
		l := k.links[p.Ifname]
		bp := BridgePort{Port: p.Port, Enslaved: ok && l.master == br.index}
		if bp.Enslaved {
			bp.Flags, bp.VLANs = raw[l.index].flags, raw[l.index].vlans
			portOf[l.index] = p.Port
			own[l.mac] = true
			if !raw[l.index].hasLocked {
				k.refuse(p.Port, FeatureLocked, "the kernel does not know the flag (it came with 5.18)")
			}
		}
		b.Ports = append(b.Ports, bp)
	}
	if !ok {
		return b, nil
	}
	portOf[br.index] = tsn.NoPort
	for _, v := range raw[br.index].vlans {
		b.Self = append(b.Self, v.VID)
	}
	return b, k.readEntries(b, br.index, portOf, own)
}

// readEntries reads the FDB and MDB. Entries on interfaces that are not ours
// are left out, and so are learned ones; permanent entries of the addresses
// of bridge and ports are the kernel's own.
func (k *kernel) readEntries(b *Bridge, bridge int, portOf map[int]tsn.Port, own map[tsn.MAC]bool) error {
	ns, err := k.c.fdb()
	if err != nil {
		return err
	}
	for _, n := range ns {
		p, ours := portOf[n.index]
		switch e := (tsn.FDBEntry{MAC: n.mac, VID: n.vid, Port: p}); {
		case n.master != bridge || !ours || n.vid == 0:
		case n.state == unix.NUD_PERMANENT && own[n.mac]:
			e.Port = tsn.NoPort
			b.Kernel = append(b.Kernel, e)
		case n.state == unix.NUD_NOARP && p != tsn.NoPort, n.state == unix.NUD_PERMANENT && p == tsn.NoPort:
			b.FDB = append(b.FDB, e)
		}
	}
	gs, err := k.c.mdb()
	if err != nil {
		return err
	}
	for _, g := range gs {
		if p, ours := portOf[g.index]; ours && g.bridge == bridge {
			b.MDB = append(b.MDB, GroupPort{g.mac, g.vid, p})
		}
	}
	return nil
}

func (k *kernel) readEgress(p PortConfig, qs []qdisc) (Egress, error) {
	e := Egress{Port: p.Port}
	l := k.links[p.Ifname]
	for _, q := range qs {
		if q.index != l.index || q.parent != netlinkRoot || q.handle == 0 {
			continue
		}
		e.Root = q.kind
		if q.kind != "taprio" {
			continue
		}
		t, err := k.cl.decodeTaprio(q.options)
		if err != nil {
			return e, err
		}
		if e.Rooted = q.handle == rootHandle && t.Root.equal(k.cl.root(k.cfg.ClassMap, k.cfg.Offload)); e.Rooted {
			e.Root, e.Oper, e.Admin, e.MaxSDU = "", t.Oper, t.Admin, t.MaxSDU
			e.Stalled = l.carrier != k.carrier[p.Port] || k.overdue(p.Port, &e)
		}
	}
	if e.Rooted {
		if err := k.readShapers(&e, l.index, qs); err != nil {
			return e, err
		}
	}
	if !hasClsact(qs, l.index) {
		return e, nil
	}
	ok, _, _, err := k.c.filters(l.index)
	e.Classifier = ok
	return e, err
}

// overdue reports an admin schedule that should have started long ago. One
// with a base time in the past starts within a cycle of being sent.
func (k *kernel) overdue(p tsn.Port, e *Egress) bool {
	if e.Admin == nil || time.Since(k.sentAt[p]) < overdueAfter {
		return false
	}
	now, err := k.GateNow(p)
	return err == nil && now-e.Admin.Base > int64(overdueAfter)
}

// overdueAfter is beyond the longest cycle taprio takes, which a change of
// schedules may have to wait for.
const overdueAfter = 5 * time.Second

func (k *kernel) readShapers(e *Egress, index int, qs []qdisc) (err error) {
	for _, q := range qs {
		for c := range tsn.TrafficClass(k.cl.n) {
			if q.index != index || q.kind != "cbs" || q.parent != k.cbsParent(c) {
				continue
			}
			if e.Shapers[c], err = decodeCBS(q.options); err != nil {
				return fmt.Errorf("class %d: cbs options: %w", c, err)
			}
		}
	}
	return nil
}

// parent names the class as a class of the root.
func (k *kernel) parent(c tsn.TrafficClass) uint32 { return uint32(rootHandle | (k.cl.tc(c) + 1)) }

// cbsParent is where the cbs of a class hangs.
func (k *kernel) cbsParent(c tsn.TrafficClass) uint32 {
	if k.cfg.Offload == OffloadFull {
		return k.parent(c)
	}
	return uint32(prioHandle+int(c)<<16) | 1
}

const netlinkRoot = 0xffffffff // TC_H_ROOT

// classOf tells the class of which q is the child of our root.
func (k *kernel) classOf(q qdisc, index int) (tsn.TrafficClass, bool) {
	queue := int(q.parent&0xffff) - 1
	if q.index != index || q.parent&0xffff0000 != rootHandle || queue < 0 || queue >= k.cl.n {
		return 0, false
	}
	return k.cl.class(queue), true
}

func hasClsact(qs []qdisc, index int) bool {
	return slices.ContainsFunc(qs, func(q qdisc) bool { return q.index == index && q.kind == "clsact" })
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
	if why := k.probed.missing[feature]; why != "" {
		return &UnsupportedError{feature, p, why}
	}
	if feature == FeatureQueues {
		want := max(k.cl.n, k.cfg.NumQueues)
		if have := k.links[k.cfg.ifname(p)].txQueues; have < want {
			return &UnsupportedError{feature, p, fmt.Sprintf("%s has %d transmit queues, %d are needed", k.cfg.ifname(p), have, want)}
		}
	}
	return nil
}

// GateLimits: taprio refuses entries shorter than a minimum frame takes.
func (k *kernel) GateLimits(p tsn.Port) GateLimits {
	l := SoftwareGates
	l.MinInterval = max(l.MinInterval, k.LinkSpeed(p).TransmitTime(60))
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
	if k.cfg.Offload == OffloadFull {
		return 0, errors.New("the port's PTP clock is not known here (Config.GateNow)")
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

func (k *kernel) Apply(ctx context.Context, op Op) error {
	switch o := op.(type) {
	case EnsureBridge:
		if err := k.c.setBridge(k.cfg.Bridge, k.cfg.SystemID, o.Create); err != nil {
			return err
		}
		return k.refresh()
	case Enslave:
		return k.c.enslave(k.index(o.Port), k.index(tsn.NoPort))
	case SetFlags:
		return k.setFlags(o)
	case SetVLAN:
		return k.c.vlan(unix.RTM_SETLINK, k.index(o.Port), o.VLAN, o.Port == tsn.NoPort)
	case DelVLAN:
		return k.c.vlan(unix.RTM_DELLINK, k.index(o.Port), tsn.PortVLAN{VID: o.VID}, o.Port == tsn.NoPort)
	case SetFDB:
		return k.c.setFDB(unix.RTM_NEWNEIGH, k.index(o.Entry.Port), o.Entry)
	case DelFDB:
		return k.c.setFDB(unix.RTM_DELNEIGH, k.index(o.Entry.Port), o.Entry)
	case AddMDB:
		return k.addMDB(ctx, k.group(o.Entry), o.Entry.Port == tsn.NoPort)
	case DelMDB:
		k.emptied[emptied{o.Entry.Group, o.Entry.VID}] = time.Now()
		return k.c.setMDB(unix.RTM_DELMDB, k.group(o.Entry))
	case InstallRoot:
		return k.installRoot(ctx, o.Port)
	case InstallClassifier:
		return k.installClassifier(o.Port)
	case SetShaper:
		return k.setShaper(o)
	case SetSchedule:
		return k.setSchedule(o)
	}
	return fmt.Errorf("step %T is not known", op)
}

func (k *kernel) group(g GroupPort) group {
	return group{g.Group, g.VID, k.index(g.Port), k.index(tsn.NoPort)}
}

// settle is longer than the two timer ticks in which a kernel takes down a
// group that has lost its last port. There is no event to wait for instead.
const settle = 25 * time.Millisecond

// addMDB adds a port, or the bridge itself, to a group. The kernel takes a
// group that has lost its last port down a tick later, and then the bridge's
// own part in it goes even if it was added in between: so let it do that first.
func (k *kernel) addMDB(ctx context.Context, g group, self bool) error {
	if lost, ok := k.emptied[emptied{g.mac, g.vid}]; self && ok {
		err := poll(ctx, func() (bool, error) { return time.Since(lost) > settle, nil })
		if err != nil {
			return err
		}
	}
	err := k.c.setMDB(unix.RTM_NEWMDB, g)
	if self && errors.Is(err, unix.EEXIST) {
		return nil // a kernel that kept it
	}
	return err
}

// setFlags names the flag if a driver refuses it: it is the one that switch
// chips lack.
func (k *kernel) setFlags(o SetFlags) error {
	err := k.c.setFlags(k.index(o.Port), o.Flags, k.refused[o.Port][FeatureLocked] == nil)
	if o.Flags.Locked && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)) {
		return k.refuse(o.Port, FeatureLocked, "the driver refuses it: "+err.Error())
	}
	return err
}

// installRoot ends with the all-open schedule running, since one that is
// replaced before its start makes the next start at the wrong time.
func (k *kernel) installRoot(ctx context.Context, p tsn.Port) error {
	index := k.index(p)
	qs, err := k.c.qdiscs()
	if err != nil {
		return err
	}
	for _, q := range qs {
		if q.index == index && q.parent == netlinkRoot && q.handle == rootHandle {
			if err := k.c.delQdisc(index, netlinkRoot); err != nil {
				return fmt.Errorf("removing the old root: %w", err)
			}
		}
	}
	root := k.cl.root(k.cfg.ClassMap, k.cfg.Offload)
	err = k.c.setQdisc(netlink.Create|netlink.Replace, index, rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		k.cl.encodeTaprio(ae, root, false, AllOpen(k.cl.n), nil)
	})
	if err != nil {
		if k.cfg.Offload == OffloadFull && errors.Is(err, unix.EOPNOTSUPP) {
			return k.refuse(p, FeatureOffload, err.Error())
		}
		return err
	}
	k.sent(p)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return poll(ctx, func() (bool, error) { return k.operational(p) })
}

// sent remembers the link's history, to see later that it was down.
func (k *kernel) sent(p tsn.Port) {
	if ls, err := k.c.links(); err == nil {
		k.carrier[p], k.sentAt[p] = ls[k.cfg.ifname(p)].carrier, time.Now()
	}
}

func (k *kernel) operational(p tsn.Port) (bool, error) {
	pc, ok := k.cfg.port(p)
	if !ok {
		return false, fmt.Errorf("port %d is not configured", p)
	}
	qs, err := k.c.qdiscs()
	if err != nil {
		return false, err
	}
	e, err := k.readEgress(pc, qs)
	return e.Admin == nil, err
}

func (k *kernel) installClassifier(p tsn.Port) error {
	qs, err := k.c.qdiscs()
	if err != nil {
		return err
	}
	index, found, has := k.index(p), 0, hasClsact(qs, k.index(p))
	if has {
		if _, found, _, err = k.c.filters(index); err != nil {
			return err
		}
	}
	return k.c.setFilters(index, found, has)
}

func (k *kernel) setShaper(o SetShaper) error {
	index, handle := k.index(o.Port), uint32(cbsHandle+int(o.Class)<<16)
	switch {
	case o.Shaper == (Shaper{}):
		return k.c.setPfifo(index, k.parent(o.Class))
	case o.Change: // by handle alone, see the package documentation
		return k.c.setQdisc(0, index, handle, 0, "cbs", encodeCBS(o.Shaper))
	case k.cfg.Offload == OffloadNone:
		if err := k.c.setPrio(index, uint32(prioHandle+int(o.Class)<<16), k.parent(o.Class)); err != nil {
			return fmt.Errorf("prio above cbs: %w", err)
		}
	}
	return k.c.setQdisc(netlink.Create|netlink.Replace, index, handle, k.cbsParent(o.Class), "cbs", encodeCBS(o.Shaper))
}

func (k *kernel) setSchedule(o SetSchedule) error {
	var sdu *[tsn.MaxTrafficClasses]uint32
	if k.probed.missing[FeatureMaxSDU] == "" {
		sdu = &o.MaxSDU
	}
	root := k.cl.root(k.cfg.ClassMap, k.cfg.Offload)
	err := k.c.setQdisc(netlink.Replace, k.index(o.Port), rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		k.cl.encodeTaprio(ae, root, true, o.Schedule, sdu)
	})
	if err == nil {
		k.sent(o.Port)
	}
	return err
}
