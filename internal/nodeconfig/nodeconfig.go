// Package nodeconfig turns the configuration of a daemon into that of its
// machines. The daemon and the simulator both use it, so that a simulated
// network is configured as a real one is.
//
//	config.Daemon ──> Of ──> node.Config{SPB, GPTP, QBV, SRP, ports}
package nodeconfig

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/node"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Of makes the machines' configuration. The error names the key at fault.
func Of(c *config.Daemon) (node.Config, error) {
	n := node.Config{ClassMap: c.ClassMap(), GPTP: gptpConfig(c)}
	if c.Role == config.RoleClock { // without egress
		return n, nil
	}
	n.QBV, n.SRP, n.MVRP = qbvConfig(c), srpConfig(c), mvrpConfig(c)
	n.MMRP, n.FilterUnregistered = mmrpConfig(c)
	for _, p := range c.Ports {
		n.Ports = append(n.Ports, p.Port)
		n.Classes = append(n.Classes, node.PortClasses{
			Port: p.Port, MaxSDU: p.MaxSDUs(), Preemptible: p.Preemptible(), Launch: p.LaunchTimes(), Filters: filterMode(c, p),
			FilterBurst: int64(c.QBV.FilterBurst),
		})
	}
	if c.HasFabric() {
		s, err := spbConfig(c)
		if err != nil {
			return n, err
		}
		n.SPB = &s
		if c.Management.VID != 0 {
			n.SelfVLANs = []tsn.VID{c.Management.VID}
		}
	}
	if c.Role == config.RoleBridge && !c.SPB.Enabled && c.Bridge.Name != "" {
		n.Shared = &node.SharedBridge{VIDs: classVIDs(c)}
	}
	return n, nil
}

// classVIDs are the VLANs of the SR classes, ascending.
func classVIDs(c *config.Daemon) (out []tsn.VID) {
	if !c.SRP.MSRP {
		return nil
	}
	for _, k := range c.SRP.SRClasses() {
		out = append(out, k.VID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// filterMode: streams are filtered where they come from stations.
func filterMode(c *config.Daemon, p config.Port) node.FilterMode {
	switch {
	case p.Role != "edge":
		return node.FilterOff
	case c.FilterMode() == config.FilterGate:
		return node.FilterGate
	case c.FilterMode() == config.FilterPolice:
		return node.FilterPolice
	}
	return node.FilterOff
}

// fragmentsPerNode is what a node may bring on average: one for itself, and
// more for many stations.
const fragmentsPerNode = 4

// strictModes are the words of spb.strict.
var strictModes = map[string]spb.StrictMode{"auto": spb.StrictAuto, "on": spb.StrictOn, "off": spb.StrictOff}

func spbConfig(c *config.Daemon) (spb.Config, error) {
	s := spb.Config{
		SystemID: c.SystemID, Priority: c.SPB.Priority, HostName: c.Name,
		HelloInterval: int64(c.SPB.HelloInterval), HoldMultiplier: uint16(c.SPB.HelloMultiplier),
		Caps: spb.Caps{MaxLSPs: c.SPB.MaxNodes * fragmentsPerNode}, Seed: seedOf(c),
		AreaAddresses: c.SPB.AreaAddresses(), SPSourceID: uint32(c.SPB.SPSourceID), Strict: strictModes[c.SPB.Strict],
		Overload: c.SPB.Overload, OverloadReason: c.SPB.OverloadReason, OverloadOnStartup: int64(c.SPB.OverloadOnStart),
		SuppressOnStart: int64(c.SPB.SuppressOnStart), HelloPadding: c.SPB.HelloPadding, CompatIPv4: c.SPB.CompatIPv4,
		EdgeGuard: spb.EdgeGuardConfig{
			Interval: int64(c.SPB.EdgeGuard.Interval), FastInterval: int64(c.SPB.EdgeGuard.FastInterval),
			ListenProbes: c.SPB.EdgeGuard.ListenProbes, HoldIntervals: c.SPB.EdgeGuard.HoldIntervals, FabricID: c.SPB.EdgeGuard.FabricID,
		},
	}
	for _, v := range c.SPB.Services {
		s.Services = append(s.Services, spb.Service{ISID: v.ISID, VID: v.VID, Transmit: v.Transmit, Receive: v.Receive, Ports: v.Ports})
	}
	// Before any time in the configuration; the daemon says what is now.
	s.Authentication, _ = Keys(c.SPB.Auth, time.Time{})
	if a := c.Management.Address; a.IsValid() {
		s.ManagementAddresses = []netip.Addr{a.Addr()}
	}
	for _, b := range c.SPB.BaseVIDs {
		s.BaseVIDs = append(s.BaseVIDs, spb.BaseVID{VID: b.VID, Algorithm: b.ECT})
	}
	for _, p := range c.Ports {
		s.Ports = append(s.Ports, spb.PortConfig{
			Port: p.Port, Role: p.PortRole(), Metric: p.Metric, PVID: p.PVID, Untagged: p.Untagged, Tagged: p.Tagged,
			Locked: p.Role == "edge" && p.IsLocked(), Unguarded: !p.IsGuarded(), Learn: p.Learns(),
			Echo: spb.EchoConfig{Interval: int64(p.Echo.Interval), Multiplier: p.Echo.Multiplier},
		})
		for _, st := range p.Stations {
			s.EndStations = append(s.EndStations, spb.EndStation{MAC: st.MAC, Port: p.Port, Name: st.Name, ManagementAddress: st.Address.Addr})
		}
	}
	return s, nil
}

func qbvConfig(c *config.Daemon) qbv.AdminConfig {
	const minLead = 200_000_000
	q := qbv.AdminConfig{BaseTolerance: int64(c.GPTP.GateOffsetBound), MinLead: min(minLead, int64(c.QBV.LeadTime)/2)}
	for _, p := range c.Ports {
		lim := qbv.SoftwareLimits(tsn.Rate(p.Rate))
		lim.MaxEntries = p.GateLimit
		if c.QBV.MinInterval > 0 {
			lim.MinInterval = int64(c.QBV.MinInterval)
		}
		q.Ports = append(q.Ports, qbv.AdminPort{Port: p.Port, Limits: lim, Software: c.OffloadOf(p) == config.OffloadNone})
	}
	return q
}

func srpConfig(c *config.Daemon) srp.Config {
	s := srp.Config{
		ClassMap:  c.ClassMap(),
		SRPercent: c.SRP.Shares.SR, SRBPercent: c.SRP.Shares.SRB, ScheduledPercent: c.SRP.Shares.Scheduled, TotalPercent: c.SRP.Shares.Total,
		MaxStreams: c.SRP.MaxStreams, MaxGroups: c.SRP.MaxGroups, MaxOwners: c.SRP.MaxOwners,
	}
	for _, p := range c.Ports {
		port := srp.PortConfig{Port: p.Port, Rate: tsn.Rate(p.Rate)}
		if c.HasFabric() && p.PortRole() == tsn.RoleFabric { // bridges of this kind, where MVRP and MMRP take no part
			port.Version, port.NoPruning = 1, true
		}
		s.Ports = append(s.Ports, port)
	}
	if c.SRP.MSRP {
		s.MSRP = &srp.MSRPConfig{
			BridgeID: tsn.MakeBridgeID(c.SPB.Priority, c.SystemID), Classes: c.SRP.SRClasses(), Timers: c.SRP.Timers.MRP(),
			ASCapable: c.GPTP.Enabled, Trees: c.HasFabric(), MaxFanIn: c.SRP.MaxFanIn, MaxTalkers: c.SRP.MaxTalkers,
			TalkerPruning: c.SRP.TalkerPruning, TalkerVLANPruning: c.SRP.TalkerVLANPruning, Seed: seedOf(c),
		}
	}
	return s
}

// mvrpConfig and mmrpConfig are nil without edge ports that take part. The
// management's VLAN is nobody's to register.
func mvrpConfig(c *config.Daemon) *srp.MVRPConfig {
	m := &srp.MVRPConfig{Address: c.SystemID, Timers: c.SRP.Timers.MRP(), MaxVLANs: c.SRP.MaxVLANs, Seed: seedOf(c)}
	for _, b := range c.SPB.BaseVIDs {
		if c.HasFabric() && b.VID != c.Management.VID {
			m.Always = append(m.Always, b.VID)
		}
	}
	for _, p := range c.Ports {
		if !c.TakesMVRP(p) {
			continue
		}
		x := srp.MVRPPort{Port: p.Port, Restricted: p.MVRP.Restricted, Silent: p.MVRP.Silent, Forbidden: slices.Clone(p.MVRP.Forbidden)}
		if c.HasFabric() {
			x.Fixed = c.FixedVLANs(p)
		}
		if v := c.Management.VID; v != 0 && !slices.Contains(x.Fixed, v) && !slices.Contains(x.Forbidden, v) {
			x.Forbidden = append(x.Forbidden, v)
		}
		m.Ports = append(m.Ports, x)
	}
	if m.Ports == nil {
		return nil
	}
	return m
}

func mmrpConfig(c *config.Daemon) (m *srp.MMRPConfig, filter []tsn.Port) {
	m = &srp.MMRPConfig{Address: c.SystemID, Timers: c.SRP.Timers.MRP(), MaxGroups: c.SRP.MaxMMRPGroups, Seed: seedOf(c)}
	for _, p := range c.Ports {
		if c.TakesMMRP(p) {
			m.Ports = append(m.Ports, srp.MMRPPort{Port: p.Port, Restricted: p.MMRP.Restricted})
			if p.MMRP.Filter {
				filter = append(filter, p.Port)
			}
		}
	}
	if m.Ports == nil {
		return nil, nil
	}
	return m, filter
}

// seedOf makes the machines' randomness differ between nodes and between
// starts only by what is configured: the same node repeats itself.
func seedOf(c *config.Daemon) uint64 {
	h := fnv.New64a()
	h.Write(c.SystemID[:])
	return h.Sum64()
}
