package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tsnswitch"
)

// Checks made after decoding. Each names the key, what is wrong with it, and
// what is allowed.

// maxPorts is what one bridge may have here; the standard's limit is 4095.
const maxPorts = 255

func (d *document) oneOf(key, v string, allowed ...string) {
	switch {
	case v == "" && d.absent(key):
		d.bad(key, "is missing; allowed: %s", strings.Join(allowed, ", "))
	case !slices.Contains(allowed, v):
		d.bad(key, "is %q; allowed: %s", v, strings.Join(allowed, ", "))
	}
}

// within checks a number, printing it and its bounds as their type prints.
func within[T cmp.Ordered](d *document, key string, v, low, high T) {
	if v < low || v > high {
		d.bad(key, "%v is outside %v..%v", v, low, high)
	}
}

func (d *document) name(key, v string) {
	switch {
	case v == "" && d.absent(key):
		d.bad(key, "is missing")
	case !nameForm.MatchString(v):
		d.bad(key, "%q is not a name: 1 to 63 letters, digits, '-', '.' or '_', a letter or digit at both ends", v)
	}
}

func (d *document) ifname(key, v string) {
	switch {
	case v == "" && d.absent(key):
		d.bad(key, "is missing")
	case !ifnameForm.MatchString(v):
		d.bad(key, "%q is not an interface name: 1 to 15 characters, no space, '/' or ':'", v)
	}
}

func (d *document) individual(key string, m tsn.MAC) {
	switch {
	case m.IsZero() && d.absent(key):
		d.bad(key, "is missing; an address like 02:00:00:00:00:01")
	case m.IsZero() || m.IsGroup():
		d.bad(key, "%s is not the address of one station; an individual address is wanted", m)
	}
}

func (d *document) vid(key string, v tsn.VID) {
	if !v.Valid() {
		d.bad(key, "%d is outside 1..4094", v)
	}
}

// unique faults the second of two equal values.
func unique[T comparable](d *document, seen map[T]string, key string, v T) {
	if first, ok := seen[v]; ok {
		d.bad(key, "%v is already that of %s", v, first)
		return
	}
	seen[v] = key
}

func (c *Daemon) check(d *document) {
	d.oneOf("role", c.Role, RoleBridge, RoleEndStation, RoleClock)
	d.name("name", c.Name)
	if !c.identifiesItself() || !c.SystemID.IsZero() {
		d.individual("systemId", c.SystemID)
	}
	if c.Role == RoleBridge && (c.SPB.Enabled || c.Bridge.Name != "") {
		d.ifname("bridge.name", c.Bridge.Name)
	} else if c.Bridge.Name != "" || c.Bridge.Create || len(c.Bridge.AssumeMissing) > 0 {
		d.bad("bridge", "this role has no bridge; remove it or set role: bridge")
	}
	if c.StateDir == "" {
		d.bad("stateDir", "is empty; a directory is wanted")
	}
	c.checkAPI(d)
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "text", "json")
	c.checkManagement(d)
	c.checkPorts(d)
	c.checkSPB(d)
	c.checkGPTP(d)
	c.QBV.check(d)
	c.checkSRP(d)
	c.Erlang.check(d)
	names := map[string]string{}
	for i, p := range c.EndStation.Peers {
		key := fmt.Sprintf("endStation.peers[%d]", i)
		d.name(key+".name", p.Name)
		unique(d, names, key+".name", p.Name)
		if !p.Address.IsValid() {
			d.bad(key+".address", "is missing")
		}
	}
	if c.Role != RoleEndStation && len(c.EndStation.Peers) > 0 {
		d.bad("endStation", "peers are those of an end station; a bridge finds its own through SPB, a clock has none")
	}
}

// identifiesItself: the address of its first interface will do.
func (c *Daemon) identifiesItself() bool {
	return c.Role == RoleClock || c.Role == RoleBridge && !c.SPB.Enabled
}

func (c *Daemon) checkAPI(d *document) {
	if n := len(c.API.Socket); n == 0 || n > 107 {
		d.bad("api.socket", "the path is %d octets long; 1..107 are allowed", n)
	}
	t := c.API.TLS
	if some, all := t != (TLS{}), t.Cert != "" && t.Key != "" && t.CA != ""; some && !all {
		d.bad("api.tls", "cert, key and ca are wanted together")
	} else if c.API.Listen.IsValid() && !all {
		d.bad("api.listen", "needs api.tls: other daemons are known by their certificates")
	}
}

func (c *Daemon) checkManagement(d *document) {
	m := c.Management
	if m.VID == 0 && !m.Address.IsValid() {
		return
	}
	if c.Role == RoleClock {
		d.bad("management", "a clock makes no VLAN device; remove it")
	}
	d.vid("management.vid", m.VID)
	d.ifname("management.device", m.Device)
	if !m.Address.IsValid() {
		d.bad("management.address", "is missing; like 10.255.0.1/24")
	}
	if c.Role == RoleBridge && !slices.ContainsFunc(c.SPB.BaseVIDs, func(b BaseVID) bool { return b.VID == m.VID }) {
		d.bad("management.vid", "%d is not one of spb.baseVids, so nothing would carry it", m.VID)
	}
}

func (c *Daemon) checkPorts(d *document) {
	switch n := len(c.Ports); {
	case c.Role == RoleEndStation && n != 1:
		d.bad("ports", "an end station has one port, not %d", n)
	case n == 0 || n > maxPorts:
		d.bad("ports", "%d ports; 1..%d are allowed", n, maxPorts)
	}
	for i, f := range c.Bridge.AssumeMissing {
		d.oneOf(fmt.Sprintf("bridge.assumeMissing[%d]", i), f, "locked")
	}
	numbers, ifnames, macs := map[tsn.Port]string{}, map[string]string{}, map[tsn.MAC]string{}
	for i, p := range c.Ports {
		key := fmt.Sprintf("ports[%d]", i)
		within(d, key+".port", p.Port, 1, 4095)
		unique(d, numbers, key+".port", p.Port)
		d.ifname(key+".ifname", p.Ifname)
		unique(d, ifnames, key+".ifname", p.Ifname)
		switch {
		case c.HasFabric():
			d.oneOf(key+".role", p.Role, "fabric", "edge")
		case c.Role == RoleBridge:
			c.checkLoosePort(d, key, p)
		default:
			d.oneOf(key+".role", p.Role, c.Role)
		}
		p.check(d, key)
		c.checkGates(d, key, p)
		if len(p.Stations) > 0 && p.Role != "edge" {
			d.bad(key+".stations", "stations are behind edge ports; this one is %s", p.Role)
		}
		if p.Learn != nil && *p.Learn && (p.Role != "edge" || p.IsLocked()) {
			d.bad(key+".learn", "stations are learned on edge ports that are not locked")
		}
		within(d, key+".stations", len(p.Stations), 0, 256)
		for j, v := range p.Tagged {
			if !slices.ContainsFunc(c.SPB.BaseVIDs, func(b BaseVID) bool { return b.VID == v }) {
				d.bad(fmt.Sprintf("%s.tagged[%d]", key, j), "%d is not one of spb.baseVids, so nothing would carry it", v)
			}
		}
		for j, s := range p.Stations {
			sk := fmt.Sprintf("%s.stations[%d]", key, j)
			d.individual(sk+".mac", s.MAC)
			unique(d, macs, sk+".mac", s.MAC)
			if s.Name != "" {
				d.name(sk+".name", s.Name)
			}
		}
	}
}

// checkLoosePort: a port of a bridge without SPB, whose VLANs are the kernel's.
func (c *Daemon) checkLoosePort(d *document, key string, p Port) {
	d.oneOf(key+".role", p.Role, "edge")
	for _, k := range []struct {
		name  string
		given bool
	}{
		{"pvid", p.PVID != 0},
		{"tagged", len(p.Tagged) > 0},
		{"stations", len(p.Stations) > 0},
		{"learn", p.Learn != nil},
		{"locked", p.Locked != nil},
		{"guard", p.Guard != nil},
	} {
		if k.given {
			d.bad(key+"."+k.name, "is part of SPB, and spb.enabled is false; remove it")
		}
	}
}

func (p Port) check(d *document, key string) {
	within(d, key+".metric", p.Metric, 1, 1<<24-2)
	within(d, key+".queues", p.Queues, 0, 16)
	within(d, key+".gateLimit", p.GateLimit, 2, 4096)
	within(d, key+".neighborPropDelayThresh", p.NeighborPropDelayThresh, 0, 1e9)
	if p.PVID != 0 {
		d.vid(key+".pvid", p.PVID)
	} else if p.Untagged {
		d.bad(key+".untagged", "needs a pvid")
	}
	if p.Role == "fabric" && (p.PVID != 0 || len(p.Tagged) > 0) {
		d.bad(key, "a fabric port carries the Base VIDs and no other VLAN; remove pvid and tagged")
	}
	if e := p.Echo; e.Interval != 0 {
		within(d, key+".echo.interval", e.Interval, 1e6, 10e9)
		if e.Multiplier == 1 {
			d.bad(key+".echo.multiplier", "is 1: one lost frame is not a lost link; 2 or more, or 0 for 3")
		}
		if p.Role != "fabric" {
			d.bad(key+".echo", "is between bridges; this port is %s", p.Role)
		}
	}
	if p.Guard != nil && p.Role != "edge" {
		d.bad(key+".guard", "is for edge ports; this one is %s", p.Role)
	}
	vids := map[tsn.VID]string{}
	if p.PVID != 0 {
		vids[p.PVID] = "pvid"
	}
	for j, v := range p.Tagged {
		vk := fmt.Sprintf("%s.tagged[%d]", key, j)
		d.vid(vk, v)
		unique(d, vids, vk, v)
	}
}

func (c *Daemon) checkSPB(d *document) {
	s := c.SPB
	c.checkAreas(d)
	d.oneOf("spb.strict", s.Strict, "auto", "on", "off")
	d.oneOf("spb.neighbourProxy", s.NeighbourProxy, "auto", "on", "off")
	within(d, "spb.overloadOnStart", s.OverloadOnStart, 0, 3600e9)
	within(d, "spb.suppressOnStart", s.SuppressOnStart, 0, 3600e9)
	within(d, "spb.restartTime", s.RestartTime, 0, 3600e9)
	if s.CompatIPv4 && !c.Management.Address.Addr().Is4() {
		d.bad("spb.compatIPv4", "needs an IPv4 management.address: neighbours reject hellos without one")
	}
	if n := len(s.OverloadReason); n > 200 {
		d.bad("spb.overloadReason", "has %d octets, at most 200 are told to others", n)
	}
	c.checkServices(d)
	g := s.EdgeGuard
	within(d, "spb.edgeGuard.interval", g.Interval, 10e6, 60e9)
	within(d, "spb.edgeGuard.fastInterval", g.FastInterval, 1e6, 10e9)
	within(d, "spb.edgeGuard.listenProbes", g.ListenProbes, 1, 100)
	within(d, "spb.edgeGuard.holdIntervals", g.HoldIntervals, 1, 100)
	within(d, "spb.helloInterval", s.HelloInterval, 100e6, 60e9)
	within(d, "spb.helloMultiplier", s.HelloMultiplier, 2, 100)
	within(d, "spb.maxNodes", s.MaxNodes, 2, 4096)
	s.Auth.check(d, "spb.auth")
	if n := len(s.BaseVIDs); c.HasFabric() {
		within(d, "spb.baseVids", n, 1, 16)
	}
	vids := map[tsn.VID]string{}
	for i, b := range s.BaseVIDs {
		key := fmt.Sprintf("spb.baseVids[%d]", i)
		d.vid(key+".vid", b.VID)
		unique(d, vids, key+".vid", b.VID)
		within(d, key+".ect", b.ECT, 0, 16)
	}
}

// checkAreas: one area in spb.area, or up to three in spb.areas.
func (c *Daemon) checkAreas(d *document) {
	const form = "%q is not an area address: 1 to 13 octets in hexadecimal, like 49.0001"
	s := c.SPB
	if !areaForm.MatchString(s.Area) {
		d.bad("spb.area", form, s.Area)
	}
	if s.Area != "" && len(s.Areas) > 0 {
		d.bad("spb.areas", "and spb.area name the same; remove one of them")
	}
	within(d, "spb.areas", len(s.Areas), 0, 3)
	seen := map[string]string{}
	for i, a := range s.Areas {
		key := fmt.Sprintf("spb.areas[%d]", i)
		if a == "" || !areaForm.MatchString(a) {
			d.bad(key, form, a)
		}
		unique(d, seen, key, strings.ToLower(strings.ReplaceAll(a, ".", "")))
	}
}

func (c *Daemon) checkServices(d *document) {
	type service struct {
		isid uint32
		vid  tsn.VID
	}
	within(d, "spb.services", len(c.SPB.Services), 0, 1024)
	seen := map[service]string{}
	for i, s := range c.SPB.Services {
		key := fmt.Sprintf("spb.services[%d]", i)
		within(d, key+".isid", s.ISID, 256, 1<<24-2)
		if !slices.ContainsFunc(c.SPB.BaseVIDs, func(b BaseVID) bool { return b.VID == s.VID }) {
			d.bad(key+".vid", "%d is not one of spb.baseVids", s.VID)
		}
		if first, ok := seen[service{s.ISID, s.VID}]; ok {
			d.bad(key, "is that of %s again: the same I-SID and VLAN", first)
		}
		seen[service{s.ISID, s.VID}] = key
		if len(s.Ports) > 0 && !s.Receive {
			d.bad(key+".ports", "are where received frames go, and receive is false")
		}
		for j, n := range s.Ports {
			if !slices.ContainsFunc(c.Ports, func(p Port) bool { return p.Port == n && p.Role == "edge" }) {
				d.bad(fmt.Sprintf("%s.ports[%d]", key, j), "%d is not an edge port of this bridge", n)
			}
		}
	}
}

func (q QBV) check(d *document) {
	within(d, "qbv.guardOctets", q.GuardOctets, 0, 16384)
	within(d, "qbv.jitter", q.Jitter, 0, 10e6)
	within(d, "qbv.minInterval", q.MinInterval, 0, 10e6)
	within(d, "qbv.maxCycle", q.MaxCycle, 10e3, 10e9)
	within(d, "qbv.classes", q.Classes, tsn.NumClasses-1, tsn.NumClasses)
	d.oneOf("qbv.offload", q.Offload, OffloadNone, OffloadTxTime, OffloadFull, OffloadUngated)
	within(d, "qbv.filterMargin", q.FilterMargin, 0, 100e6)
	if q.Filters != "" {
		d.oneOf("qbv.filters", q.Filters, FilterOff, FilterPolice, FilterGate)
	}
	within(d, "qbv.filterBurst", q.FilterBurst, 0, 1e9)
	within(d, "qbv.leadTime", q.LeadTime, 100e6, 60e9)
}
