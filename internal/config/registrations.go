package config

import (
	"fmt"
	"slices"

	"tsnswitch"
)

// PortMVRP is an edge port's part in MVRP.
type PortMVRP struct {
	Enabled *bool `yaml:"enabled,omitempty"` // nil: yes
	// Forbidden VLANs are never registered here, Silent ones never declared. With
	// Restricted nobody makes a VLAN that no configuration names.
	Forbidden  []tsn.VID `yaml:"forbidden,omitempty,flow"`
	Silent     []tsn.VID `yaml:"silent,omitempty,flow"`
	Restricted bool      `yaml:"restricted,omitempty"`
}

// PortMMRP is an edge port's part in MMRP.
type PortMMRP struct {
	Enabled    *bool `yaml:"enabled,omitempty"`    // nil: yes
	Restricted bool  `yaml:"restricted,omitempty"` // nothing is registered here
	// Filter keeps groups from the port that nobody has registered there, unless
	// somebody there has asked for them.
	Filter bool `yaml:"filter,omitempty"`
}

// TakesMVRP and TakesMMRP report whether a port takes part.
func (c *Daemon) TakesMVRP(p Port) bool {
	return c.SRP.MVRP && p.Role == "edge" && (p.MVRP.Enabled == nil || *p.MVRP.Enabled)
}

// TakesMMRP is TakesMVRP for MMRP.
func (c *Daemon) TakesMMRP(p Port) bool {
	return c.SRP.MMRP && p.Role == "edge" && (p.MMRP.Enabled == nil || *p.MMRP.Enabled)
}

// FixedVLANs are those that an edge port is in by configuration, ascending.
func (c *Daemon) FixedVLANs(p Port) []tsn.VID {
	out := slices.Clone(p.Tagged)
	if p.Tagged == nil {
		for _, b := range c.SPB.BaseVIDs {
			out = append(out, b.VID)
		}
	}
	if p.PVID != 0 {
		out = append(out, p.PVID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (c *Daemon) checkRegistrations(d *document) {
	s := c.SRP
	within(d, "srp.maxVlans", s.MaxVLANs, 1, 256)
	within(d, "srp.maxMmrpGroups", s.MaxMMRPGroups, 1, 1024)
	if s.MVRP && c.Role != RoleBridge {
		d.bad("srp.mvrp", "is for bridges; this role is %s", c.Role)
	}
	if s.MMRP && c.Role != RoleBridge {
		d.bad("srp.mmrp", "is for bridges; this role is %s", c.Role)
	}
	for i, p := range c.Ports {
		key := fmt.Sprintf("ports[%d]", i)
		m := p.MVRP
		if p.Role != "edge" && (m.Enabled != nil || m.Restricted || m.Forbidden != nil || m.Silent != nil) {
			d.bad(key+".mvrp", "is for edge ports; this one is %s, and in the VLANs of the fabric", p.Role)
		}
		if p.Role != "edge" && p.MMRP != (PortMMRP{}) {
			d.bad(key+".mmrp", "is for edge ports; this one is %s", p.Role)
		}
		c.checkVLANList(d, key+".mvrp.silent", m.Silent, nil)
		c.checkVLANList(d, key+".mvrp.forbidden", m.Forbidden, c.FixedVLANs(p))
	}
}

// checkVLANList: each once, and none of those that the port is in anyway.
func (c *Daemon) checkVLANList(d *document, key string, list, fixed []tsn.VID) {
	seen := map[tsn.VID]string{}
	for j, v := range list {
		vk := fmt.Sprintf("%s[%d]", key, j)
		d.vid(vk, v)
		unique(d, seen, vk, v)
		if slices.Contains(fixed, v) {
			d.bad(vk, "the port is in VLAN %d by its configuration", v)
		}
	}
}
