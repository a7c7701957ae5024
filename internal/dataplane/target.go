package dataplane

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Target is a validated desired state, in gate clock time.
type Target struct {
	State
	Role    map[tsn.Port]tsn.PortRole // looked up only, never ranged over
	Owned   []tsn.VID                 // ascending
	Shared  bool                      // see over
	Gates   []GateTarget              // beside State.Egress, same order
	Filters []FilterTarget            // by port, then stream; State.Filters is not used
	Classes int
	Tol     int64 // phase tolerance, ns
	shaping map[tsn.Port]shaping
}

// GateTarget is what Plan needs to know of time on one port.
type GateTarget struct {
	Now int64 // gate clock
	// ReadBack is the limit of that name.
	ReadBack int
	// Offloaded: the device has the gates.
	Offloaded bool
	// Err says why base times cannot be computed, or what else is against the
	// list; a port that needs a new schedule is then refused, everything else
	// goes on.
	Err error
}

// Rooms that a schedule change needs: a base time nearer than minLead cannot
// be programmed in time; a schedule that is only sent again begins restartLead
// after now.
const (
	minLead     = 1_000_000
	restartLead = 20_000_000
)

// NewTarget validates a desired state against the configuration and what the
// kernel can do, and converts base times. Every fault found is reported.
func NewTarget(k Backend, d tsn.DesiredState) (*Target, error) {
	t := &Target{Classes: k.Config().ClassMap.Classes(), Tol: k.Config().tolerance(), shaping: map[tsn.Port]shaping{}}
	errs := slices.Concat(t.bridge(k, d.Bridge), t.egress(k, d.Egress), t.filters(k, d.Filters), t.rules(k, d.Priorities))
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.Sort()
	return t, nil
}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, a...))
}

func (t *Target) bridge(k Backend, d *tsn.BridgeState) (errs []error) {
	c := k.Config()
	if (d == nil) != (c.Bridge == "") {
		return []error{invalid("bridge %q is configured but the state has a bridge: %t", c.Bridge, d != nil)}
	}
	if d == nil {
		return nil
	}
	t.Shared = d.Shared
	if err := k.Check(tsn.NoPort, FeatureVLANFiltering); err != nil && !t.Shared {
		errs = append(errs, err)
	}
	t.Bridge = &Bridge{Exists: true, Settings: wantedSettings, Self: slices.Clone(d.SelfVLANs), FDB: slices.Clone(d.FDB)}
	t.Owned = slices.Clone(d.OwnedVIDs)
	for _, p := range d.Ports {
		errs = append(errs, t.bridgePort(k, p)...)
	}
	errs = append(errs, checkKeptBack(d.KeptBack)...)
	// A configured port that the state does not name carries nothing.
	for _, pc := range c.Ports {
		if t.Bridge.port(pc.Port) == nil {
			t.Bridge.Ports = append(t.Bridge.Ports, BridgePort{
				Port: pc.Port, Enslaved: true,
				Flags: Flags{Locked: !t.Shared && k.Check(pc.Port, FeatureLocked) == nil},
			})
		}
	}
	for i := range t.Bridge.Ports {
		if k.Check(t.Bridge.Ports[i].Port, FeatureKeepBack) == nil {
			t.Bridge.Ports[i].KeptBack = slices.Clone(d.KeptBack)
		}
	}
	errs = append(errs, t.entries(k, d)...)
	if !t.Shared && k.Check(tsn.NoPort, FeatureMDB) == nil { // without it nothing can keep them back
		t.keepBack(d.KeptBack)
	}
	return errs
}

func (t *Target) bridgePort(k Backend, p tsn.BridgePort) (errs []error) {
	c := k.Config()
	if _, ok := c.port(p.Port); !ok {
		return []error{invalid("port %d is not configured", p.Port)}
	}
	if t.Bridge.port(p.Port) != nil {
		return []error{invalid("port %d appears twice", p.Port)}
	}
	f := Flags{p.Locked, p.Learning, p.Flood, p.McastFlood, p.BcastFlood}
	if p.Locked {
		if err := k.Check(p.Port, FeatureLocked); err != nil {
			errs = append(errs, err)
		}
	}
	if p.Role == tsn.RoleFabric && !f.Locked && f.floods() {
		errs = append(errs, invalid("port %d: a fabric port that floods without the ingress check (locked) makes a loop; switch its flooding off", p.Port))
	}
	pvid := false
	for i, v := range p.VLANs {
		if !v.VID.Valid() || i > 0 && p.VLANs[i-1].VID >= v.VID {
			errs = append(errs, invalid("port %d: VLAN %d is outside 1..4094 or out of order", p.Port, v.VID))
		}
		if v.PVID && pvid {
			errs = append(errs, invalid("port %d: VLAN %d is a second PVID", p.Port, v.VID))
		}
		pvid = pvid || v.PVID
	}
	t.Bridge.Ports = append(t.Bridge.Ports, BridgePort{Port: p.Port, Enslaved: true, Flags: f, VLANs: slices.Clone(p.VLANs)})
	return errs
}

func (t *Target) entries(k Backend, d *tsn.BridgeState) (errs []error) {
	for _, v := range append(slices.Clone(d.OwnedVIDs), d.SelfVLANs...) {
		if !v.Valid() {
			errs = append(errs, invalid("VLAN %d is outside 1..4094", v))
		}
	}
	known := func(p tsn.Port) bool {
		_, ok := k.Config().port(p)
		return ok || p == tsn.NoPort
	}
	for i := range t.Bridge.FDB {
		if e := &t.Bridge.FDB[i]; e.Port == tsn.NoPort {
			e.Sticky = false // such an entry never moves
		}
	}
	for i, e := range d.FDB {
		switch {
		case e.MAC.IsGroup() || e.MAC.IsZero():
			errs = append(errs, invalid("FDB entry %s vlan %d: not an individual address", e.MAC, e.VID))
		case !known(e.Port):
			errs = append(errs, invalid("FDB entry %s vlan %d: port %d is not configured", e.MAC, e.VID, e.Port))
		case !slices.Contains(d.OwnedVIDs, e.VID):
			errs = append(errs, invalid("FDB entry %s: VLAN %d is not in OwnedVIDs", e.MAC, e.VID))
		case !t.Bridge.member(e.Port, e.VID):
			errs = append(errs, invalid("FDB entry %s vlan %d: port %d (0 is the bridge itself) is not in the VLAN, and the kernel refuses such entries", e.MAC, e.VID, e.Port))
		case i > 0 && compareFDB(d.FDB[i-1], e) >= 0:
			errs = append(errs, invalid("FDB entry %s vlan %d is double or out of order", e.MAC, e.VID))
		}
	}
	if len(d.MDB) > 0 {
		if err := k.Check(tsn.NoPort, FeatureMDB); err != nil {
			errs = append(errs, err)
		}
	}
	seen := groupSet{}
	for _, e := range d.MDB {
		switch {
		case !e.Group.IsGroup() || e.Group == tsn.Broadcast:
			errs = append(errs, invalid("MDB entry %s vlan %d: not a multicast group", e.Group, e.VID))
		case IsControlGroup(e.Group):
			errs = append(errs, invalid("MDB entry %s vlan %d: frames to this group are never forwarded", e.Group, e.VID))
		case isIPGroup(e.Group):
			errs = append(errs, invalid("MDB entry %s vlan %d: the kernel keys IP groups by IP address; choose another group address", e.Group, e.VID))
		case !slices.Contains(d.OwnedVIDs, e.VID):
			errs = append(errs, invalid("MDB entry %s: VLAN %d is not in OwnedVIDs", e.Group, e.VID))
		case len(e.Ports) == 0:
			errs = append(errs, invalid("MDB entry %s vlan %d: no ports", e.Group, e.VID))
		}
		for _, p := range e.Ports {
			g := GroupPort{e.Group, e.VID, p}
			if !known(p) {
				errs = append(errs, invalid("MDB entry %s vlan %d: port %d is not configured", e.Group, e.VID, p))
			}
			if !seen.add(g) {
				errs = append(errs, invalid("MDB entry %s vlan %d port %d is double", e.Group, e.VID, p))
			}
			t.Bridge.MDB = append(t.Bridge.MDB, g)
		}
	}
	return errs
}

type groupSet map[GroupPort]bool

func (s groupSet) add(g GroupPort) (fresh bool) {
	fresh = !s[g]
	s[g] = true
	return fresh
}

// isIPGroup tells the groups that IPv4 and IPv6 map to. Frames of those
// protocols are looked up by IP address, so an L2 entry would not act on them.
// Other frames sent to such an address do match one, but nobody means that.
func isIPGroup(m tsn.MAC) bool {
	return m[0] == 0x01 && m[1] == 0x00 && m[2] == 0x5e && m[3] < 0x80 || m[0] == 0x33 && m[1] == 0x33
}

func (t *Target) egress(k Backend, d []tsn.PortEgress) (errs []error) {
	for _, e := range d {
		if _, ok := k.Config().port(e.Port); !ok {
			errs = append(errs, invalid("egress of port %d: not configured", e.Port))
			continue
		}
		if t.EgressOf(e.Port) != nil {
			errs = append(errs, invalid("egress of port %d appears twice", e.Port))
			continue
		}
		errs = append(errs, t.egressPort(k, e)...)
	}
	slices.SortFunc(t.Egress, func(a, b Egress) int { return int(a.Port) - int(b.Port) })
	for _, e := range t.Egress {
		t.Gates = append(t.Gates, gateNow(k, e.Port))
	}
	for i := range t.Egress {
		t.convert(k, i, d)
	}
	return append(errs, t.checkTable(k)...)
}

// checkTable adds up the lists of ports that share a table.
func (t *Target) checkTable(k Backend) []error {
	sum, table := 0, 0
	for _, e := range t.Egress {
		if l := k.GateLimits(e.Port); l.Table > 0 {
			sum, table = sum+len(e.Admin.Entries), l.Table
		}
	}
	if table > 0 && sum > table {
		return []error{invalid("the gate lists of all ports have %d entries, the device has room for %d", sum, table)}
	}
	return nil
}

func gateNow(k Backend, p tsn.Port) GateTarget {
	now, err := k.GateNow(p)
	if err != nil {
		err = fmt.Errorf("port %d: gate clock: %w", p, err)
	}
	pc, _ := k.Config().port(p)
	return GateTarget{Now: now, ReadBack: k.GateLimits(p).ReadBack, Offloaded: pc.Offload == OffloadFull, Err: err}
}

// convert puts the base time of one port's list into gate clock time.
func (t *Target) convert(k Backend, i int, d []tsn.PortEgress) {
	e, g := &t.Egress[i], &t.Gates[i]
	for _, pe := range d {
		if pe.Port != e.Port || pe.Gates == nil || g.Err != nil {
			continue
		}
		f := k.Config().PTPToGate
		if f == nil {
			g.Err = fmt.Errorf("port %d: no relation between gPTP time and the gate clock", e.Port)
			continue
		}
		base, err := f(e.Port, pe.Gates.BaseTime)
		if err != nil {
			g.Err = fmt.Errorf("port %d: gPTP time to gate clock: %w", e.Port, err)
			continue
		}
		e.Admin.Base = base
		if _, err := t.shaping[e.Port].under(e.Admin); err != nil {
			g.Err = &LimitError{e.Port, err.Error()}
		}
	}
}

func (t *Target) egressPort(k Backend, e tsn.PortEgress) (errs []error) {
	c := k.Config()
	n := c.ClassMap.Classes()
	if e.ClassMap != c.ClassMap {
		errs = append(errs, invalid("port %d: the class map is fixed at start and cannot be changed", e.Port))
	}
	pc, _ := c.port(e.Port)
	root := FeatureTaprio
	if pc.Offload == Ungated {
		root = FeatureMQPrio
		errs = append(errs, checkUngated(e)...)
	}
	for _, f := range []string{root, FeatureQueues, FeatureClassifier} {
		if err := k.Check(e.Port, f); err != nil {
			errs = append(errs, err)
		}
	}
	want := Egress{Port: e.Port, Rooted: true, Classifier: true, MaxSDU: e.MaxSDU, Preemptible: e.Preemptible, Admin: AllOpen(n)}
	if pc.Preemption != nil {
		want.MACMerge = *pc.Preemption
	}
	for _, f := range neededBy(e, pc) {
		if err := check(k, pc, f); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, checkPreemption(e, pc)...)
	want.Launch, want.Ungated = e.Launch, pc.Offload == Ungated
	errs = append(errs, checkLaunch(e, pc, n)...)
	if e.Gates != nil {
		errs = append(errs, checkGates(k, e.Port, e.Gates)...)
		want.Admin = &Schedule{Base: e.Gates.BaseTime.NS, Cycle: e.Gates.CycleTime, Extension: e.Gates.CycleTimeExtension}
		for _, g := range e.Gates.Entries {
			want.Admin.Entries = append(want.Admin.Entries, tsn.GateEntry{Gates: g.Gates&allGates(n) | c.ClassMap.Unused(), Interval: g.Interval})
		}
	}
	sh := shaping{idle: e.IdleSlope, frame: e.MaxFrame, speed: k.LinkSpeed(e.Port), offload: pc.Offload == OffloadFull}
	sh.rate = cmp.Or(pc.Rate, sh.speed)
	if pc.Offload != OffloadFull && k.Check(e.Port, FeatureMaxSDU) == nil { // a device knows what fits its windows
		want.limitSDU(e.Gates.QueueMaxSDU(sh.rate, k.GateLimits(e.Port).PerEntry))
	}
	for cl := range tsn.TrafficClass(n) {
		if c.ClassMap.Unused().Has(cl) {
			want.MaxSDU[cl], want.Preemptible[cl] = 0, false
		}
	}
	errs = append(errs, checkShapers(k, e, pc, n)...)
	if _, err := sh.under(); err != nil {
		errs = append(errs, invalid("port %d %v", e.Port, err))
	}
	t.shaping[e.Port] = sh
	t.Egress = append(t.Egress, want)
	return errs
}

// limitSDU keeps frames out that fit no window of their class: software would
// leave them in front of their queue for ever.
func (e *Egress) limitSDU(fits [tsn.MaxTrafficClasses]uint32) {
	for c, n := range fits {
		if n > 0 && (e.MaxSDU[c] == 0 || n < e.MaxSDU[c]) {
			e.MaxSDU[c] = n
		}
	}
}

func checkShapers(k Backend, e tsn.PortEgress, pc PortConfig, n int) (errs []error) {
	for cl, slope := range e.IdleSlope {
		switch {
		case slope == 0:
		case cl >= n:
			errs = append(errs, invalid("port %d class %d: the class map has %d classes", e.Port, cl, n))
		case e.ClassMap.Unused().Has(tsn.TrafficClass(cl)):
			errs = append(errs, invalid("port %d class %d: no priority is of this class", e.Port, cl))
		default:
			if err := check(k, pc, FeatureCBS); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// excluded says why a port that runs its gates in one mode cannot have a feature,
// whatever kernel and device could; "" if it can.
func (p PortConfig) excluded(feature string) string {
	switch {
	case feature == FeatureCBS && p.Offload == OffloadTxTime:
		return "under txtime-assist every class has an etf, and a class has a shaper or an etf, never both"
	case feature == FeaturePreemption && p.Offload != OffloadFull:
		return fmt.Sprintf("only a device in full offload interrupts frames; offload is %s here", p.Offload)
	}
	return ""
}

func check(k Backend, p PortConfig, feature string) error {
	if why := p.excluded(feature); why != "" {
		return &UnsupportedError{feature, p.Port, why}
	}
	return k.Check(p.Port, feature)
}

// neededBy lists features, beyond those of every port, that a port relies on.
func neededBy(e tsn.PortEgress, pc PortConfig) (names []string) {
	need := func(cond bool, feature string) {
		if cond {
			names = append(names, feature)
		}
	}
	need(pc.Offload == OffloadFull, FeatureOffload)
	need(pc.Offload == OffloadTxTime || e.Launch != [tsn.MaxTrafficClasses]tsn.LaunchTime{}, FeatureLaunchTime)
	need(e.MaxSDU != [tsn.MaxTrafficClasses]uint32{}, FeatureMaxSDU)
	need(e.Preemptible != [tsn.MaxTrafficClasses]bool{}, FeaturePreemption)
	need(pc.Preemption != nil, FeatureMACMerge)
	return names
}

// checkUngated refuses what only taprio has.
func checkUngated(e tsn.PortEgress) (errs []error) {
	refuse := func(wanted bool, what string) {
		if wanted {
			errs = append(errs, invalid("port %d: %s, and the port is configured to be ungated", e.Port, what))
		}
	}
	refuse(e.Gates != nil, "gates")
	refuse(e.MaxSDU != [tsn.MaxTrafficClasses]uint32{}, "max-sdu")
	return errs
}

func checkLaunch(e tsn.PortEgress, pc PortConfig, n int) (errs []error) {
	for c, l := range e.Launch {
		var why string
		switch {
		case l == tsn.LaunchTime{}:
		case c >= n:
			why = fmt.Sprintf("the class map has %d classes", n)
		case l.Delta <= 0 || l.Delta > maxDelta:
			why = fmt.Sprintf("a delta of %d ns is outside 1..%d", l.Delta, int64(maxDelta))
		case e.IdleSlope[c] != 0:
			why = "a class has a shaper or launch times, never both"
		case pc.Offload == OffloadTxTime:
			why = "under txtime-assist every class has its launch times already"
		}
		if why != "" {
			errs = append(errs, invalid("port %d class %d: launch times: %s", e.Port, c, why))
		}
	}
	return errs
}

// checkPreemption: fragments need a sublayer that is told to send them, and a
// frame that is express for somebody.
func checkPreemption(e tsn.PortEgress, pc PortConfig) (errs []error) {
	if e.Preemptible == ([tsn.MaxTrafficClasses]bool{}) {
		return nil
	}
	if pc.Preemption == nil || !pc.Preemption.Enabled {
		errs = append(errs, invalid("port %d: preemptible classes, and the MAC merge sublayer is not enabled", e.Port))
	}
	return errs
}

func checkGates(k Backend, p tsn.Port, l *tsn.GateControlList) (errs []error) {
	for _, why := range k.GateLimits(p).refuse(l, k.LinkSpeed(p)) {
		errs = append(errs, invalid("port %d gates: %s", p, why))
	}
	return errs
}
