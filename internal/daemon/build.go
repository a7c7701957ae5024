package daemon

import (
	"encoding/binary"
	"hash/fnv"
	"net"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/link"
	"tsnswitch/internal/node"
	"tsnswitch/internal/nodeconfig"
)

// The configuration's types end here: each core and edge gets its own.

// identify gives a clock that was not told its systemId the address of its
// first interface, or if that has none yet, one made from its name.
func identify(c *config.Daemon) {
	if !c.SystemID.IsZero() {
		return
	}
	for _, p := range c.Ports {
		if i, err := net.InterfaceByName(p.Ifname); err == nil && len(i.HardwareAddr) == 6 {
			if m := tsn.MAC(i.HardwareAddr); !m.IsZero() && !m.IsGroup() {
				c.SystemID = m
				return
			}
		}
	}
	h := fnv.New64a()
	h.Write([]byte(c.Name))
	binary.BigEndian.PutUint32(c.SystemID[2:], uint32(h.Sum64()))
	c.SystemID[0] = 0x02 // locally administered
}

// owned is what one daemon alone may have: what it programs or, of a clock,
// speaks on.
func owned(c *config.Daemon, plane dataplane.Config) dataplane.Config {
	if c.Role == config.RoleClock {
		for _, p := range c.Ports {
			plane.Ports = append(plane.Ports, dataplane.PortConfig{Port: p.Port, Ifname: p.Ifname})
		}
	}
	return plane
}

// nodeConfig makes the machines' configuration. adopted is what the kernel
// still forwards as an earlier run left it, nil for nothing.
func nodeConfig(c *config.Daemon, adopted *tsn.BridgeState) (node.Config, error) {
	n, err := nodeconfig.Of(c)
	if err == nil && n.SPB != nil {
		n.SPB.Parallel = onAllCores
		if adopted != nil {
			n.SPB.StartupHold, n.SPB.Adopted = startupHold, adopted
		}
	}
	return n, err
}

// startupHold is how long SPB of a restarted daemon listens before it says
// how it would forward, ns.
const startupHold = 3_000_000_000

func planConfig(c *config.Daemon) planSettings {
	return planSettings{
		GuardOctets: int(c.QBV.GuardOctets), SyncError: config.SyncError, Jitter: int64(c.QBV.Jitter),
		MinInterval: int64(c.QBV.MinInterval), MaxCycle: int64(c.QBV.MaxCycle), MaxEntries: 256,
		LeadTime: int64(c.QBV.LeadTime),
	}
}

func dataplaneConfig(c *config.Daemon, w *clockwork) dataplane.Config {
	d := dataplane.Config{
		Bridge: c.Bridge.Name, CreateBridge: c.Bridge.Create, SystemID: c.SystemID,
		ClassMap: c.ClassMap(), PTPToGate: w.toGateOf(c), PhaseTolerance: w.bound,
		AssumeMissing: c.Bridge.AssumeMissing,
	}
	if c.Role == config.RoleClock {
		return d
	}
	for _, p := range c.Ports {
		d.NumQueues = max(d.NumQueues, p.Queues)
		d.Ports = append(d.Ports, portConfig(c, p))
	}
	return d
}

// offloads are the words of ports[].offload.
var offloads = map[string]dataplane.Offload{
	config.OffloadNone: dataplane.OffloadNone, config.OffloadTxTime: dataplane.OffloadTxTime, config.OffloadFull: dataplane.OffloadFull,
	config.OffloadUngated: dataplane.Ungated,
}

func portConfig(c *config.Daemon, p config.Port) dataplane.PortConfig {
	out := dataplane.PortConfig{
		Port: p.Port, Ifname: p.Ifname, Rate: tsn.Rate(p.Rate),
		Offload: offloads[c.OffloadOf(p)], LaunchDelta: int64(p.LaunchDelta),
	}
	if m := p.Preemption; m != nil {
		out.Preemption = &dataplane.MACMerge{Enabled: true, Verify: m.Verify, VerifyTime: int64(m.VerifyTime), AddFragSize: m.AddFragSize}
	}
	return out
}

func linkConfig(c *config.Daemon, w *clockwork) link.Config {
	l := link.Config{Clock: w.clock, Own: c.SystemID, Realtime: c.GPTP.Realtime, Collects: true}
	for _, p := range c.Ports {
		l.Ports = append(l.Ports, link.PortConfig{
			Port: p.Port, Ifname: p.Ifname, Rate: tsn.Rate(p.Rate), Control: c.HasFabric(), MRP: c.SRP.MSRP || c.TakesMVRP(p) || c.TakesMMRP(p),
			GPTP:       c.GPTP.Enabled && p.GPTP.Enabled,
			Neighbours: c.HasFabric() && p.Role == "edge" && c.SPB.NeighbourProxy != "off",
		})
	}
	return l
}
