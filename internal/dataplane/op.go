package dataplane

import (
	"fmt"
	"slices"
	"strings"

	tsn "tsnswitch"
)

// Op is one modifying step. Do is its meaning on a State; the real kernel
// performs it by one or a few netlink requests.
type Op interface {
	Do(s *State)
	// Text is the step as `bridge` or `tc` would say it.
	Text(c *Config) string
	On() tsn.Port
}

type (
	// EnsureBridge makes the bridge or corrects its settings.
	EnsureBridge struct {
		Create bool
		// Shared: it is made for others, too; VLANs: it filters them then.
		Shared, VLANs bool
	}
	// Enslave makes the port a bridge port; it starts without VLANs.
	Enslave struct{ Port tsn.Port }
	// SetFlags sets all flags of a port at once.
	SetFlags struct {
		Port  tsn.Port
		Flags Flags
	}
	// SetVLAN adds or changes a membership; NoPort is the bridge's own interface.
	SetVLAN struct {
		Port tsn.Port
		VLAN tsn.PortVLAN
	}
	// DelVLAN ends a membership.
	DelVLAN struct {
		Port tsn.Port
		VID  tsn.VID
	}
	// SetFDB adds a static entry or moves it to another port.
	SetFDB struct{ Entry tsn.FDBEntry }
	// DelFDB removes one.
	DelFDB struct{ Entry tsn.FDBEntry }
	// AgeFDB makes a static entry a learned one, seen now: where it is no longer
	// wanted on a port that learns, and is not known to be wrong.
	AgeFDB struct{ Entry tsn.FDBEntry }
	// AddMDB adds a port to a group entry.
	AddMDB struct{ Entry GroupPort }
	// DelMDB removes one.
	DelMDB struct{ Entry GroupPort }
	// InstallRoot replaces whatever is the root qdisc by a taprio with one
	// all-open entry.
	InstallRoot struct {
		Port    tsn.Port
		Classes int
		Ungated bool // mqprio instead
	}
	// InstallClassifier gives tagged frames the skb priority of their PCP, or 0
	// if it is guarded.
	InstallClassifier struct {
		Port    tsn.Port
		Guarded tsn.PrioritySet
	}
	// SetShaper makes, changes (by handle) or, if Shaper is zero, removes the
	// cbs of a class.
	SetShaper struct {
		Port   tsn.Port
		Class  tsn.TrafficClass
		Shaper Shaper
		Change bool
	}
	// SetMACMerge sets the MAC merge sublayer.
	SetMACMerge struct {
		Port     tsn.Port
		MACMerge MACMerge
	}
	// SetLaunch gives a class launch times or, if Launch is zero, ends them.
	SetLaunch struct {
		Port   tsn.Port
		Class  tsn.TrafficClass
		Launch tsn.LaunchTime
	}
	// SetSchedule replaces the schedule at its base time; Over runs until then.
	// A parked one ends the wait of another for its base time, no more.
	SetSchedule struct {
		Port        tsn.Port
		Schedule    *Schedule
		MaxSDU      [tsn.MaxTrafficClasses]uint32
		Preemptible [tsn.MaxTrafficClasses]bool
		Over        *Schedule
		Why         string // when the list itself is not new
	}
)

// On returns the port, NoPort for the bridge.
func (EnsureBridge) On() tsn.Port        { return tsn.NoPort }
func (o Enslave) On() tsn.Port           { return o.Port }
func (o SetFlags) On() tsn.Port          { return o.Port }
func (o SetVLAN) On() tsn.Port           { return o.Port }
func (o DelVLAN) On() tsn.Port           { return o.Port }
func (o SetFDB) On() tsn.Port            { return o.Entry.Port }
func (o DelFDB) On() tsn.Port            { return o.Entry.Port }
func (o AgeFDB) On() tsn.Port            { return o.Entry.Port }
func (o AddMDB) On() tsn.Port            { return o.Entry.Port }
func (o DelMDB) On() tsn.Port            { return o.Entry.Port }
func (o InstallRoot) On() tsn.Port       { return o.Port }
func (o InstallClassifier) On() tsn.Port { return o.Port }
func (o SetShaper) On() tsn.Port         { return o.Port }
func (o SetMACMerge) On() tsn.Port       { return o.Port }
func (o SetLaunch) On() tsn.Port         { return o.Port }
func (o SetSchedule) On() tsn.Port       { return o.Port }

// Do makes the bridge as this switch needs it.
func (o EnsureBridge) Do(s *State) {
	s.Bridge.Exists, s.Bridge.Settings = true, wantedSettings
	if o.Shared {
		s.Bridge.Settings.VLANFiltering, s.Bridge.Settings.DefaultPVID = o.VLANs, 1
	}
}

// newPortFlags are the kernel's for a new bridge port.
var newPortFlags = Flags{Learning: true, Flood: true, McastFlood: true, BcastFlood: true}

// Do models the kernel's defaults for a new bridge port.
func (o Enslave) Do(s *State) {
	p := s.Bridge.port(o.Port)
	*p = BridgePort{
		Port: o.Port, Enslaved: true, KeptBack: p.KeptBack,
		Flags: newPortFlags,
	}
}

// Do sets the flags.
func (o SetFlags) Do(s *State) { s.Bridge.port(o.Port).Flags = o.Flags }

// Do adds or changes the membership; a new PVID ends the old one. In a VLAN
// of its own the kernel makes the entry of the bridge's address.
func (o SetVLAN) Do(s *State) {
	if o.Port == tsn.NoPort {
		s.Bridge.Kernel = append(s.Bridge.Kernel, tsn.FDBEntry{MAC: s.Bridge.Address, VID: o.VLAN.VID})
		s.Bridge.Self = append(s.Bridge.Self, o.VLAN.VID)
		slices.Sort(s.Bridge.Self)
		return
	}
	p := s.Bridge.port(o.Port)
	p.VLANs = slices.DeleteFunc(p.VLANs, func(v tsn.PortVLAN) bool { return v.VID == o.VLAN.VID })
	for i := range p.VLANs {
		p.VLANs[i].PVID = p.VLANs[i].PVID && !o.VLAN.PVID
	}
	p.VLANs = append(p.VLANs, o.VLAN)
	s.Sort()
}

// Do ends the membership.
func (o DelVLAN) Do(s *State) {
	if o.Port == tsn.NoPort {
		s.Bridge.Self = slices.DeleteFunc(s.Bridge.Self, func(v tsn.VID) bool { return v == o.VID })
		return
	}
	p := s.Bridge.port(o.Port)
	p.VLANs = slices.DeleteFunc(p.VLANs, func(v tsn.PortVLAN) bool { return v.VID == o.VID })
}

// Do adds or moves the entry.
func (o SetFDB) Do(s *State) {
	i, ok := slices.BinarySearchFunc(s.Bridge.FDB, o.Entry, compareFDB)
	if ok {
		s.Bridge.FDB[i] = o.Entry
		return
	}
	s.Bridge.FDB = slices.Insert(s.Bridge.FDB, i, o.Entry)
}

// Do removes the entry.
func (o DelFDB) Do(s *State) {
	if i, ok := slices.BinarySearchFunc(s.Bridge.FDB, o.Entry, compareFDB); ok {
		s.Bridge.FDB = slices.Delete(s.Bridge.FDB, i, i+1)
	}
}

// Do takes the entry out of the static ones; learned ones are not in a State.
func (o AgeFDB) Do(s *State) { DelFDB(o).Do(s) }

// Do adds the port to the group.
func (o AddMDB) Do(s *State) {
	if i, ok := slices.BinarySearchFunc(s.Bridge.MDB, o.Entry, compareGroup); !ok {
		s.Bridge.MDB = slices.Insert(s.Bridge.MDB, i, o.Entry)
	}
}

// Do removes the port from the group. When any port of an L2 group goes, the
// kernel takes the bridge itself out of it too (it takes the group for a
// source-specific one, which only ports can have joined).
func (o DelMDB) Do(s *State) {
	s.Bridge.MDB = slices.DeleteFunc(s.Bridge.MDB, func(g GroupPort) bool {
		return g == o.Entry || g == GroupPort{o.Entry.Group, o.Entry.VID, tsn.NoPort}
	})
}

// Do leaves a running all-open schedule and nothing else.
func (o InstallRoot) Do(s *State) {
	e := s.EgressOf(o.Port)
	*e = Egress{Port: o.Port, Rooted: true, Classifier: e.Classifier, Guarded: e.Guarded, Hook: e.Hook, Ungated: o.Ungated, MACMerge: e.MACMerge, Oper: AllOpen(o.Classes)}
}

// Do sets the classifier.
func (o InstallClassifier) Do(s *State) {
	e := s.EgressOf(o.Port)
	e.Classifier, e.Guarded, e.Hook = true, o.Guarded, true
}

// Do sets the class's shaper. A class holds one of shaper and launch times.
func (o SetShaper) Do(s *State) {
	e := s.EgressOf(o.Port)
	e.Shapers[o.Class], e.Launch[o.Class] = o.Shaper, tsn.LaunchTime{}
}

// Do sets the class's launch times.
func (o SetLaunch) Do(s *State) {
	e := s.EgressOf(o.Port)
	e.Shapers[o.Class], e.Launch[o.Class] = Shaper{}, o.Launch
}

// Do sets the sublayer.
func (o SetMACMerge) Do(s *State) { s.EgressOf(o.Port).MACMerge = o.MACMerge }

// Do makes the schedule the admin one; time makes it the oper one.
func (o SetSchedule) Do(s *State) {
	e := s.EgressOf(o.Port)
	e.Admin, e.MaxSDU, e.Preemptible, e.Stalled = o.Schedule, o.MaxSDU, o.Preemptible, false
	e.dropParked()
}

// Text prints the op.
func (o EnsureBridge) Text(c *Config) string {
	verb := "set"
	if o.Create {
		verb = "add"
	}
	switch {
	case o.Shared && o.VLANs:
		return fmt.Sprintf("link add %s up type bridge vlan_filtering 1", c.Bridge)
	case o.Shared:
		return fmt.Sprintf("link add %s up type bridge", c.Bridge)
	}
	return fmt.Sprintf("link %s %s up type bridge vlan_filtering 1 vlan_default_pvid 0 mcast_snooping 1 mcast_querier 0 stp_state 0", verb, c.Bridge)
}

// Text prints the op.
func (o Enslave) Text(c *Config) string {
	return fmt.Sprintf("link set %s master %s", c.ifname(o.Port), c.Bridge)
}

// Text prints the op.
func (o SetFlags) Text(c *Config) string {
	return fmt.Sprintf("bridge link set dev %s %s", c.ifname(o.Port), o.Flags)
}

func (f Flags) String() string {
	on := func(b bool) string {
		if b {
			return "on"
		}
		return "off"
	}
	return fmt.Sprintf("locked %s learning %s flood %s mcast_flood %s bcast_flood %s",
		on(f.Locked), on(f.Learning), on(f.Flood), on(f.McastFlood), on(f.BcastFlood))
}

// Text prints the op.
func (o SetVLAN) Text(c *Config) string {
	return "bridge vlan add " + vlanText(c, o.Port, o.VLAN)
}

func vlanText(c *Config, p tsn.Port, v tsn.PortVLAN) string {
	s := fmt.Sprintf("vid %d dev %s", v.VID, c.ifname(p))
	if v.PVID {
		s += " pvid"
	}
	if v.Untagged {
		s += " untagged"
	}
	if p == tsn.NoPort {
		s += " self"
	}
	return s
}

// Text prints the op.
func (o DelVLAN) Text(c *Config) string {
	return "bridge vlan del " + vlanText(c, o.Port, tsn.PortVLAN{VID: o.VID})
}

// Text prints the op.
func (o SetFDB) Text(c *Config) string { return "bridge fdb replace " + fdbText(c, o.Entry) }

// Text prints the op.
func (o DelFDB) Text(c *Config) string { return "bridge fdb del " + fdbText(c, o.Entry) }

// Text prints the op.
func (o AgeFDB) Text(c *Config) string {
	return fmt.Sprintf("bridge fdb replace %s dev %s vlan %d master dynamic", o.Entry.MAC, c.ifname(o.Entry.Port), o.Entry.VID)
}

func fdbText(c *Config, e tsn.FDBEntry) string {
	kind := "master static"
	if e.Sticky {
		kind = "sticky master static"
	}
	if e.Port == tsn.NoPort {
		kind = "self local"
	}
	return fmt.Sprintf("%s dev %s vlan %d %s", e.MAC, c.ifname(e.Port), e.VID, kind)
}

// Text prints the op.
func (o AddMDB) Text(c *Config) string { return "bridge mdb add " + mdbText(c, o.Entry) }

// Text prints the op.
func (o DelMDB) Text(c *Config) string { return "bridge mdb del " + mdbText(c, o.Entry) }

func mdbText(c *Config, e GroupPort) string {
	return fmt.Sprintf("dev %s port %s grp %s vid %d permanent", c.Bridge, c.ifname(e.Port), e.Group, e.VID)
}

// Text prints the op.
func (o InstallRoot) Text(c *Config) string {
	if o.Ungated {
		return fmt.Sprintf("tc qdisc replace dev %s root mqprio num_tc %d hw 0", c.ifname(o.Port), c.ClassMap.Queues())
	}
	return fmt.Sprintf("tc qdisc replace dev %s root taprio num_tc %d all-open", c.ifname(o.Port), c.ClassMap.Queues())
}

// Text prints the op.
func (o InstallClassifier) Text(c *Config) string {
	return "tc filter replace " + classifierText(c, o.Port, o.Guarded)
}

func classifierText(c *Config, p tsn.Port, guarded tsn.PrioritySet) string {
	s := fmt.Sprintf("dev %s egress flower vlan_prio 0..7 skbedit priority 0..7", c.ifname(p))
	if guarded != 0 {
		s += fmt.Sprintf(" (0 of %s)", guarded)
	}
	return s
}

// Text prints the op.
func (o SetShaper) Text(c *Config) string {
	if o.Shaper == (Shaper{}) {
		return fmt.Sprintf("tc qdisc replace dev %s class %d pfifo", c.ifname(o.Port), o.Class)
	}
	verb := "replace"
	if o.Change {
		verb = "change"
	}
	return fmt.Sprintf("tc qdisc %s dev %s class %d %s", verb, c.ifname(o.Port), o.Class, o.Shaper)
}

// Text prints the op.
func (o SetLaunch) Text(c *Config) string {
	if o.Launch == (tsn.LaunchTime{}) {
		return fmt.Sprintf("tc qdisc replace dev %s class %d pfifo", c.ifname(o.Port), o.Class)
	}
	return fmt.Sprintf("tc qdisc replace dev %s class %d %s", c.ifname(o.Port), o.Class, launchText(o.Launch))
}

func launchText(l tsn.LaunchTime) string {
	s := fmt.Sprintf("etf clockid CLOCK_TAI delta %d", l.Delta)
	if l.Deadline {
		s += " deadline_mode"
	}
	return s
}

func (s Shaper) String() string {
	return fmt.Sprintf("cbs idleslope %d sendslope %d hicredit %d locredit %d", s.IdleSlope, s.SendSlope, s.HiCredit, s.LoCredit)
}

// Text prints the op.
func (o SetMACMerge) Text(c *Config) string {
	return fmt.Sprintf("ethtool --set-mm %s %s", c.ifname(o.Port), o.MACMerge)
}

// Text prints the op.
func (o SetSchedule) Text(c *Config) string {
	s := fmt.Sprintf("tc qdisc replace dev %s taprio %s", c.ifname(o.Port), o.Schedule)
	for cl, n := range o.MaxSDU {
		if n > 0 {
			s += fmt.Sprintf(" max-sdu %d:%d", cl, n)
		}
	}
	if o.Preemptible != ([tsn.MaxTrafficClasses]bool{}) {
		s += " preemptible" + classList(o.Preemptible)
	}
	if o.Why != "" {
		s += " (" + o.Why + ")"
	}
	return s
}

// classList prints the numbers of the classes that are set, a space before each.
func classList(set [tsn.MaxTrafficClasses]bool) (s string) {
	for c, in := range set {
		if in {
			s += fmt.Sprintf(" %d", c)
		}
	}
	return s
}

// String prints a schedule in tc's words, gates by class.
func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "base-time %d cycle-time %d", s.Base, s.Cycle)
	if s.Extension != 0 {
		fmt.Fprintf(&b, " cycle-time-extension %d", s.Extension)
	}
	for _, e := range s.Entries {
		b.WriteString(" " + entryText(e))
	}
	return b.String()
}
