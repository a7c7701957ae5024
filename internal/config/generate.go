package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"tsnswitch"
)

// Dirs are where a generated daemon keeps its files; empty means the default.
type Dirs struct {
	Run   string // the socket
	State string
	Keys  string // NAME.pem, NAME-key.pem, ca.pem; empty: no TLS
}

// Ifname is the name of port p's interface in generated configurations.
func Ifname(p tsn.Port) string { return fmt.Sprintf("p%d", p) }

// DaemonConfig returns what the daemon of that node runs with. The same
// network gives the same answer.
func (n *Network) DaemonConfig(node string, dirs Dirs) (*Daemon, error) {
	x := n.Node(node)
	if x == nil {
		return nil, fmt.Errorf("network: there is no node %q", node)
	}
	c := DefaultDaemon()
	c.Name, c.SystemID = x.Name, x.SystemID
	if dirs.Run != "" {
		c.API.Socket = filepath.Join(dirs.Run, "tsnswitchd.sock")
	}
	if dirs.State != "" {
		c.StateDir = dirs.State
	}
	if dirs.Keys != "" {
		file := func(name string) string { return filepath.Join(dirs.Keys, name) }
		c.API.TLS = TLS{Cert: file(node + ".pem"), Key: file(node + "-key.pem"), CA: file("ca.pem")}
	}
	f := n.Fabric
	c.Management = Management{
		VID:     f.ManagementVID,
		Address: Prefix{netip.PrefixFrom(x.Management.Addr, f.ManagementNet.Bits())},
	}
	c.SRP.StreamVID = f.StreamVID
	c.SPB.Priority, c.SPB.Area, c.SPB.HelloInterval = x.Priority, f.Area, f.HelloInterval
	c.QBV.Jitter, c.QBV.LeadTime = n.QBV.Jitter, n.QBV.LeadTime
	n.gptpOf(x, &c)
	if x.Kind == KindHost {
		c.Role = RoleEndStation
		c.EndStation.Peers = n.peersOf(node)
	} else {
		c.Role = RoleBridge
		c.Bridge = Bridge{Name: "br0", Create: true}
		c.SPB.BaseVIDs, c.SPB.Auth = slices.Clone(f.BaseVIDs), f.Auth
	}
	c.Ports = n.portsOf(x)
	c.resolve()
	d := &document{file: "daemon of " + node, lines: map[string]int{}}
	c.check(d)
	if err := d.err(); err != nil {
		return nil, err
	}
	return &c, nil
}

// gptpOf makes the wanted node win the best master clock algorithm, and keeps
// hosts out of it.
func (n *Network) gptpOf(x *Node, c *Daemon) {
	g := &c.GPTP
	g.SyncReceiptTimeout = n.GPTP.SyncReceiptTimeout
	g.NeighborPropDelayThresh, g.GateOffsetBound = n.GPTP.NeighborPropDelayThresh, n.GPTP.GateOffsetBound
	if x.Kind == KindHost {
		g.Priority1 = 255
	}
	if x.Name == n.GPTP.GrandMaster {
		g.Priority1 = 245
	}
	e := n.GPTP.Clocks[x.Name]
	g.Clock.Offset, g.Clock.PPM = e.Offset, e.PPM
}

func (n *Network) peersOf(node string) []NamedAddr {
	var out []NamedAddr
	for _, x := range n.Nodes {
		if x.Name != node {
			out = append(out, NamedAddr{x.Name, x.Management})
		}
	}
	return out
}

// portsOf returns the node's ports, ascending.
func (n *Network) portsOf(x *Node) []Port {
	var out []Port
	for _, l := range n.Links {
		end, other := l.A, l.B
		if other.Node == x.Name {
			end, other = l.B, l.A
		}
		if end.Node != x.Name {
			continue
		}
		p := Port{
			Port: end.Port, Ifname: Ifname(end.Port), Role: "fabric",
			Rate: l.Rate, Metric: l.Metric, Queues: x.Queues, GateLimit: x.GateLimit,
			GPTP: PortGPTP{Enabled: true},
		}
		far := n.Node(other.Node)
		switch {
		case x.Kind == KindHost:
			p.Role = RoleEndStation
		case far.Kind == KindHost:
			p.Role, p.PVID, p.Untagged = "edge", n.Fabric.DataVID, true
			for _, b := range n.Fabric.BaseVIDs {
				if b.VID != p.PVID {
					p.Tagged = append(p.Tagged, b.VID)
				}
			}
			p.Stations = []Station{{MAC: far.SystemID, Name: far.Name, Address: far.Management}}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Port) int { return int(a.Port) - int(b.Port) })
	return out
}
