package config

import (
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/srp"
	"tsnswitch/srp/mrp"
)

// SRP is admission, and the protocols by which stations and other bridges ask
// for it.
type SRP struct {
	// MSRP takes part in the Multiple Stream Registration Protocol (802.1Q 35).
	MSRP bool `yaml:"msrp"`
	// MVRP and MMRP take part in the registration of VLANs (11.2) and of groups
	// (10.9) on edge ports.
	MVRP bool `yaml:"mvrp"`
	MMRP bool `yaml:"mmrp"`
	// MaxVLANs are there for MVRP's sake alone; MaxMMRPGroups for MMRP's.
	MaxVLANs      int `yaml:"maxVlans"`
	MaxMMRPGroups int `yaml:"maxMmrpGroups"`

	Timers     MRPTimers `yaml:"timers"`
	Classes    []SRClass `yaml:"classes,omitempty"` // nil: those of srp.DefaultSRClasses
	MaxFanIn   int       `yaml:"maxFanIn"`          // ports by which streams may come in; 0: all
	MaxStreams int       `yaml:"maxStreams"`
	// MaxTalkers is how many talkers are taken from one port; 0: MaxStreams.
	MaxTalkers int `yaml:"maxTalkers,omitempty"`
	// TalkerPruning declares talkers only where MMRP has their destination
	// registered, TalkerVLANPruning only where MVRP has their VLAN (802.1Q
	// 35.2.4.3.1); neither between bridges of the fabric.
	TalkerPruning     bool    `yaml:"talkerPruning,omitempty"`
	TalkerVLANPruning bool    `yaml:"talkerVlanPruning,omitempty"`
	MaxGroups         int     `yaml:"maxGroups"`
	MaxOwners         int     `yaml:"maxOwners"`
	Shares            Shares  `yaml:"shares"`
	StreamVID         tsn.VID `yaml:"streamVid,omitempty"` // of streams that ask for none
}

// MRPTimers are those of 802.1Q 10.7.11; 0: what the profile has.
type MRPTimers struct {
	Profile  string   `yaml:"profile"` // standard, proav
	Join     Duration `yaml:"join,omitempty"`
	Leave    Duration `yaml:"leave,omitempty"`
	LeaveAll Duration `yaml:"leaveAll,omitempty"`
	Periodic Duration `yaml:"periodic,omitempty"`
}

// timerProfiles are the words of srp.timers.profile.
var timerProfiles = map[string]mrp.Timers{"standard": mrp.Standard(), "proav": mrp.ProAV()}

// MRP returns the timers of the profile, with what the file says otherwise.
func (t MRPTimers) MRP() mrp.Timers {
	out := timerProfiles[t.Profile]
	for _, v := range []struct {
		to *int64
		d  Duration
	}{{&out.Join, t.Join}, {&out.Leave, t.Leave}, {&out.LeaveAll, t.LeaveAll}, {&out.Periodic, t.Periodic}} {
		if v.d != 0 {
			*v.to = int64(v.d)
		}
	}
	return out
}

func (t MRPTimers) check(d *document) {
	d.oneOf("srp.timers.profile", t.Profile, "standard", "proav")
	for _, v := range []struct {
		key string
		d   Duration
	}{{"join", t.Join}, {"leave", t.Leave}, {"leaveAll", t.LeaveAll}, {"periodic", t.Periodic}} {
		if v.d != 0 {
			within(d, "srp.timers."+v.key, v.d, 10e6, 3600e9)
		}
	}
	m := t.MRP()
	if m.Leave < 2*m.Join {
		d.bad("srp.timers.leave", "%v is less than twice the join time of %v: who declares again would be too late", Duration(m.Leave), Duration(m.Join))
	}
	if m.LeaveAll <= m.Leave {
		d.bad("srp.timers.leaveAll", "%v is not more than the leave time of %v", Duration(m.LeaveAll), Duration(m.Leave))
	}
}

// SRClass is a stream reservation class (802.1Q 34.5).
type SRClass struct {
	Class    string   `yaml:"class"` // A, B
	Priority tsn.PCP  `yaml:"priority"`
	VID      tsn.VID  `yaml:"vid"`      // SR_PVID, which end stations send in unless told otherwise
	Interval Duration `yaml:"interval"` // class measurement interval
}

// srClassIDs are the words of srp.classes[].class (802.1Q table 35-7).
var srClassIDs = map[string]uint8{"A": 6, "B": 5}

// SRClasses returns the classes in force.
func (s SRP) SRClasses() []srp.SRClass {
	if s.Classes == nil {
		return srp.DefaultSRClasses()
	}
	var out []srp.SRClass
	for _, c := range s.Classes {
		out = append(out, srp.SRClass{ID: srClassIDs[c.Class], Priority: c.Priority, VID: c.VID, Interval: int64(c.Interval)})
	}
	return out
}

func (c *Daemon) checkSRP(d *document) {
	s := c.SRP
	within(d, "srp.maxFanIn", s.MaxFanIn, 0, maxPorts)
	within(d, "srp.maxStreams", s.MaxStreams, 1, 65536)
	within(d, "srp.maxTalkers", s.MaxTalkers, 0, s.MaxStreams)
	within(d, "srp.maxGroups", s.MaxGroups, 1, 65536)
	within(d, "srp.maxOwners", s.MaxOwners, 1, 4096)
	within(d, "srp.shares.sr", s.Shares.SR, 0, 100)
	within(d, "srp.shares.srB", s.Shares.SRB, 0, max(0, 100-s.Shares.SR))
	within(d, "srp.shares.scheduled", s.Shares.Scheduled, 0, 100)
	within(d, "srp.shares.total", s.Shares.Total, 0, 100)
	if s.StreamVID != 0 {
		d.vid("srp.streamVid", s.StreamVID)
	}
	s.Timers.check(d)
	s.checkClasses(d)
	c.checkRegistrations(d)
	if s.TalkerPruning && !s.MMRP {
		d.bad("srp.talkerPruning", "without srp.mmrp nobody can register a group, and no talker would be offered")
	}
	if s.TalkerVLANPruning && !s.MVRP {
		d.bad("srp.talkerVlanPruning", "without srp.mvrp nobody can register a VLAN")
	}
	if !s.MSRP {
		return
	}
	if c.Role != RoleBridge {
		d.bad("srp.msrp", "is for bridges; this role is %s", c.Role)
	}
	c.checkClassVLANs(d)
}

func (s SRP) checkClasses(d *document) {
	if s.Classes != nil {
		within(d, "srp.classes", len(s.Classes), 1, len(srClassIDs))
	}
	names, priorities := map[string]string{}, map[tsn.PCP]string{}
	for i, c := range s.Classes {
		key := fmt.Sprintf("srp.classes[%d]", i)
		d.oneOf(key+".class", c.Class, "A", "B")
		unique(d, names, key+".class", c.Class)
		unique(d, priorities, key+".priority", c.Priority)
		if class := tsn.DefaultClassMap[min(c.Priority, 7)]; c.Priority > 7 || class != tsn.ClassSRA && class != tsn.ClassSRB {
			d.bad(key+".priority", "%d is not one of streams with a class bound: 2, 3", c.Priority)
		}
		d.vid(key+".vid", c.VID)
		within(d, key+".interval", c.Interval, 10e3, 1e9)
	}
}

// checkClassVLANs: stations put their streams into the VLAN of the class.
func (c *Daemon) checkClassVLANs(d *document) {
	if !c.SPB.Enabled {
		return
	}
	for i, k := range c.SRP.SRClasses() {
		if slices.ContainsFunc(c.SPB.BaseVIDs, func(b BaseVID) bool { return b.VID == k.VID }) {
			continue
		}
		if c.SRP.Classes == nil {
			d.bad("srp.msrp", "VLAN %d of the SR classes is not one of spb.baseVids, so nothing would carry their streams; add it there or name another in srp.classes", k.VID)
			return
		}
		d.bad(fmt.Sprintf("srp.classes[%d].vid", i), "%d is not one of spb.baseVids, so nothing would carry the streams of the class", k.VID)
	}
}
