package dataplane

import (
	"fmt"
	"strings"

	tsn "tsnswitch"
)

// Text prints the state as `bridge` and `tc` would, one line for each port,
// VLAN, entry and qdisc. It is for golden files and for people.
func (s State) Text(c *Config) string {
	var b strings.Builder
	if s.Bridge != nil {
		s.Bridge.text(&b, c)
	}
	for _, e := range s.Egress {
		e.text(&b, c)
	}
	for _, f := range s.Filters {
		fmt.Fprintf(&b, "filter %s\n", f.text(c))
	}
	for _, r := range s.Rules {
		fmt.Fprintf(&b, "filter %s\n", r.text(c))
	}
	return b.String()
}

func (br *Bridge) text(b *strings.Builder, c *Config) {
	if !br.Exists {
		fmt.Fprintf(b, "link %s does not exist\n", c.Bridge)
		return
	}
	n := map[bool]int{true: 1}
	s := br.Settings
	updown := map[bool]string{true: "up", false: "down"}[s.Up]
	fmt.Fprintf(b, "link %s %s type bridge vlan_filtering %d vlan_default_pvid %d mcast_snooping %d mcast_querier %d stp_state %d\n",
		c.Bridge, updown, n[s.VLANFiltering], s.DefaultPVID, n[s.McastSnooping], n[s.McastQuerier], n[s.STP])
	for _, v := range br.Self {
		fmt.Fprintf(b, "  vlan vid %d dev %s self\n", v, c.Bridge)
	}
	for _, p := range br.Ports {
		if !p.Enslaved {
			fmt.Fprintf(b, "link %s is not a port of %s\n", c.ifname(p.Port), c.Bridge)
			continue
		}
		fmt.Fprintf(b, "link %s master %s %s\n", c.ifname(p.Port), c.Bridge, p.Flags)
		for _, v := range p.VLANs {
			fmt.Fprintf(b, "  vlan %s\n", vlanText(c, p.Port, v))
		}
		if len(p.KeptBack) > 0 {
			fmt.Fprintf(b, "  %s\n", keptText(c, p.Port, p.KeptBack))
		}
	}
	for _, e := range br.FDB {
		fmt.Fprintf(b, "fdb %s\n", fdbText(c, e))
	}
	for _, g := range br.MDB {
		fmt.Fprintf(b, "mdb %s\n", mdbText(c, g))
	}
}

func (e *Egress) text(b *strings.Builder, c *Config) {
	dev := c.ifname(e.Port)
	if !e.Rooted {
		root := e.Root
		if root == "" {
			root = "default"
		}
		fmt.Fprintf(b, "qdisc dev %s root %s\n", dev, root)
		return
	}
	kind := "taprio"
	if e.Ungated {
		kind = "mqprio"
	}
	fmt.Fprintf(b, "qdisc dev %s root %s num_tc %d", dev, kind, c.ClassMap.Queues())
	if pc, _ := c.port(e.Port); pc.Offload != OffloadNone && !e.Ungated {
		fmt.Fprintf(b, " offload %s", pc.Offload)
	}
	b.WriteByte('\n')
	if e.Oper != nil && !e.Ungated {
		fmt.Fprintf(b, "  oper %s\n", e.Oper)
	}
	if e.Admin != nil {
		fmt.Fprintf(b, "  admin %s\n", e.Admin)
	}
	for cl, s := range e.Shapers {
		if s != (Shaper{}) {
			fmt.Fprintf(b, "  class %d %s\n", cl, s)
		}
	}
	for cl, l := range e.Launch {
		if l != (tsn.LaunchTime{}) {
			fmt.Fprintf(b, "  class %d %s\n", cl, launchText(l))
		}
	}
	for cl, n := range e.MaxSDU {
		if n > 0 {
			fmt.Fprintf(b, "  class %d max-sdu %d\n", cl, n)
		}
	}
	if e.Preemptible != ([tsn.MaxTrafficClasses]bool{}) {
		fmt.Fprintf(b, "  preemptible%s\n", classList(e.Preemptible))
	}
	if e.MACMerge != (MACMerge{}) {
		fmt.Fprintf(b, "  mac merge %s\n", e.MACMerge)
	}
	if e.Classifier {
		fmt.Fprintf(b, "filter %s\n", classifierText(c, e.Port, e.Guarded))
	}
}
