package config

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"tsnswitch"
)

// maxNodes bounds a network; addresses count to it.
const maxNodes = 4096

// resolve fills in what the document left out.
func (n *Network) resolve() {
	n.resolveNodes()
	n.resolvePorts()
	f := &n.Fabric
	if len(f.BaseVIDs) == 0 {
		for _, v := range []tsn.VID{f.DataVID, f.StreamVID, f.ManagementVID} {
			if !slices.Contains(f.BaseVIDs, BaseVID{v, 1}) {
				f.BaseVIDs = append(f.BaseVIDs, BaseVID{v, 1})
			}
		}
	}
	if n.GPTP.GrandMaster == "" {
		if i := slices.IndexFunc(n.Nodes, func(x Node) bool { return x.Kind == KindBridge }); i >= 0 {
			n.GPTP.GrandMaster = n.Nodes[i].Name
		}
	}
	n.resolveStreams()
}

func (n *Network) resolveNodes() {
	bridges, hosts := 0, 0
	f := n.Fabric
	set := func(a *Addr, net Prefix, i int) {
		if !a.IsValid() {
			a.Addr = nth(net.Prefix, i)
		}
	}
	for i := range n.Nodes {
		x := &n.Nodes[i]
		if x.Kind != KindHost {
			bridges++
			if x.SystemID.IsZero() {
				x.SystemID = numbered(0, bridges)
			}
			set(&x.Management, f.ManagementNet, bridges)
			continue
		}
		hosts++
		if x.SystemID.IsZero() {
			x.SystemID = numbered(1, hosts)
		}
		middle := 1 << min(16, max(0, f.ManagementNet.Addr().BitLen()-f.ManagementNet.Bits()-1))
		set(&x.Management, f.ManagementNet, middle+hosts)
		set(&x.Data, f.DataNet, hosts)
		set(&x.Stream, f.StreamNet, hosts)
	}
}

// numbered is the n-th default address of a kind: locally administered.
func numbered(kind byte, n int) tsn.MAC {
	return tsn.MAC{2, 0, 0, kind, byte(n >> 8), byte(n)}
}

// nth returns the address n after the start of the network, or none if that
// is outside.
func nth(p netip.Prefix, n int) netip.Addr {
	if !p.IsValid() {
		return netip.Addr{}
	}
	b := p.Masked().Addr().AsSlice()
	last := b[len(b)-4:]
	binary.BigEndian.PutUint32(last, binary.BigEndian.Uint32(last)+uint32(n))
	a, _ := netip.AddrFromSlice(b)
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

// resolvePorts gives each end without port its node's lowest free one, in the
// order of the links.
func (n *Network) resolvePorts() {
	used := map[End]bool{}
	for _, l := range n.Links {
		used[l.A], used[l.B] = true, true
	}
	next := map[string]tsn.Port{}
	for i := range n.Links {
		for _, e := range []*End{&n.Links[i].A, &n.Links[i].B} {
			if e.Port != tsn.NoPort {
				continue
			}
			e.Port = max(1, next[e.Node])
			for used[*e] {
				e.Port++
			}
			next[e.Node] = e.Port + 1
			used[*e] = true
		}
	}
}

func (n *Network) resolveStreams() {
	taken := map[tsn.StreamID]bool{}
	for _, s := range n.Streams {
		taken[s.ID] = true
	}
	groups := 0
	for i := range n.Streams {
		s := &n.Streams[i]
		if s.Within == 0 {
			s.Within = s.Every
		}
		if s.VLAN == 0 {
			s.VLAN = n.Fabric.StreamVID
		}
		if s.Destination.IsZero() {
			s.Destination = n.destination(s, &groups)
		}
		if from := n.Node(s.From); from != nil && s.ID == (tsn.StreamID{}) {
			for u := uint16(1); taken[s.ID]; u++ {
				s.ID = tsn.MakeStreamID(from.SystemID, u)
			}
			taken[s.ID] = true
		}
	}
}

// destination is the listener's address, or for several the next of the group
// addresses that IEEE 1722 annex B leaves to administrators.
func (n *Network) destination(s *StreamSpec, groups *int) tsn.MAC {
	if len(s.To) > 1 && *groups < 256 {
		*groups++
		return tsn.MAC{0x91, 0xe0, 0xf0, 0x00, 0xfe, byte(*groups - 1)}
	}
	if len(s.To) == 1 {
		if to := n.Node(s.To[0]); to != nil {
			return to.SystemID
		}
	}
	return tsn.MAC{}
}

func (n *Network) check(d *document) {
	n.checkNodes(d)
	n.checkLinks(d)
	n.checkQBV(d)
	n.checkFabric(d)
	n.checkStreams(d)
	g := n.GPTP
	within(d, "gptp.neighborPropDelayThresh", g.NeighborPropDelayThresh, 0, 1e9)
	within(d, "gptp.gateOffsetBound", g.GateOffsetBound, 1, 1e9)
	if g.GrandMaster != "" && n.Node(g.GrandMaster) == nil {
		d.bad("gptp.grandMaster", "there is no node %q", g.GrandMaster)
	}
	for _, name := range sortedKeys(g.Clocks) {
		key := "gptp.clocks." + name
		if n.Node(name) == nil {
			d.bad(key, "there is no node %q", name)
		}
		within(d, key+".ppm", g.Clocks[name].PPM, -500, 500)
		within(d, key+".offset", g.Clocks[name].Offset, -Duration(math.MaxInt64/4), Duration(math.MaxInt64/4))
	}
	if n.Lab.Cut != "" && n.CutLink() < 0 {
		d.bad("lab.cut", "there is no link %q; write its nodes, like b1-b2", n.Lab.Cut)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (n *Network) checkNodes(d *document) {
	within(d, "nodes", len(n.Nodes), 1, maxNodes)
	names, ids, addrs := map[string]string{}, map[tsn.MAC]string{}, map[netip.Addr]string{}
	for i, x := range n.Nodes {
		key := fmt.Sprintf("nodes[%d]", i)
		d.name(key+".name", x.Name)
		unique(d, names, key+".name", x.Name)
		d.oneOf(key+".kind", x.Kind, KindBridge, KindHost)
		if !x.SystemID.IsZero() {
			d.individual(key+".systemId", x.SystemID)
			unique(d, ids, key+".systemId", x.SystemID)
		}
		within(d, key+".proc", x.Proc, 0, 1e9)
		within(d, key+".queues", x.Queues, 1, 16)
		within(d, key+".gateLimit", x.GateLimit, 2, 4096)
		for _, a := range []struct {
			key  string
			addr Addr
		}{{"management", x.Management}, {"data", x.Data}, {"stream", x.Stream}} {
			if a.addr.IsValid() {
				unique(d, addrs, key+"."+a.key, a.addr.Addr)
			}
		}
		if !x.Management.IsValid() && len(d.errs) == 0 {
			d.bad(key+".management", "fabric.managementNet %s is too small for this many nodes; use a shorter prefix", n.Fabric.ManagementNet)
		}
	}
}

func (n *Network) checkLinks(d *document) {
	within(d, "links", len(n.Links), 0, 16*maxNodes)
	ends, count := map[End]string{}, map[string]int{}
	for i, l := range n.Links {
		key := fmt.Sprintf("links[%d]", i)
		for _, e := range []struct {
			key string
			end End
		}{{key + ".a", l.A}, {key + ".b", l.B}} {
			if n.Node(e.end.Node) == nil {
				d.bad(e.key, "there is no node %q", e.end.Node)
			}
			if e.end.Port != tsn.NoPort {
				unique(d, ends, e.key, e.end)
			}
			count[e.end.Node]++
		}
		if l.A.Node == l.B.Node {
			d.bad(key, "joins %s to itself", l.A.Node)
		}
		within(d, key+".rate", l.Rate, Rate(tsn.Mbps), Rate(1000*tsn.Gbps))
		within(d, key+".prop", l.Prop, 0, 1e9)
		within(d, key+".metric", l.Metric, 1, 1<<24-1)
	}
	for i, x := range n.Nodes {
		key := fmt.Sprintf("nodes[%d]", i)
		if x.Kind == KindHost && count[x.Name] != 1 {
			d.bad(key, "host %s has %d links; it needs one, to a bridge", x.Name, count[x.Name])
		}
		within(d, key+" (its ports)", count[x.Name], 0, maxPorts)
	}
}

func (n *Network) checkFabric(d *document) {
	f := n.Fabric
	if !areaForm.MatchString(f.Area) {
		d.bad("fabric.area", "%q is not an area address: 1 to 13 octets in hexadecimal, like 49.0001", f.Area)
	}
	f.Auth.check(d, "fabric.auth")
	within(d, "fabric.helloInterval", f.HelloInterval, 100e6, 60e9)
	vids := map[tsn.VID]string{}
	for i, b := range f.BaseVIDs {
		key := fmt.Sprintf("fabric.baseVids[%d]", i)
		d.vid(key+".vid", b.VID)
		unique(d, vids, key+".vid", b.VID)
		within(d, key+".ect", b.ECT, 0, 16)
	}
	for _, v := range []struct {
		key string
		vid tsn.VID
	}{{"dataVid", f.DataVID}, {"streamVid", f.StreamVID}, {"managementVid", f.ManagementVID}} {
		if _, ok := vids[v.vid]; !ok && len(f.BaseVIDs) > 0 {
			d.bad("fabric."+v.key, "%d is not one of fabric.baseVids", v.vid)
		}
	}
	for _, p := range []struct {
		key string
		net Prefix
	}{{"dataNet", f.DataNet}, {"streamNet", f.StreamNet}, {"managementNet", f.ManagementNet}} {
		if p.net.IsValid() && p.net.Masked() != p.net.Prefix {
			d.bad("fabric."+p.key, "%s has bits after its length; the network is %s", p.net, p.net.Masked())
		}
	}
}

func (n *Network) checkStreams(d *document) {
	within(d, "streams", len(n.Streams), 0, 65536)
	names, ids := map[string]string{}, map[tsn.StreamID]string{}
	for i, s := range n.Streams {
		key := fmt.Sprintf("streams[%d]", i)
		d.name(key+".name", s.Name)
		unique(d, names, key+".name", s.Name)
		hosts := true
		if len(s.To) == 0 {
			d.bad(key+".to", "is missing; a host, or a list of hosts")
			hosts = false
		}
		ends := []struct{ key, name string }{{key + ".from", s.From}}
		for k, to := range s.To {
			ends = append(ends, struct{ key, name string }{fmt.Sprintf("%s.to[%d]", key, k), to})
			if slices.Contains(s.To[:k], to) || to == s.From {
				d.bad(ends[k+1].key, "%q is there twice, or is the talker", to)
				hosts = false
			}
		}
		if len(s.To) == 1 {
			ends[1].key = key + ".to"
		}
		for _, e := range ends {
			if x := n.Node(e.name); x == nil || x.Kind != KindHost {
				d.bad(e.key, "%q is not a host of this network", e.name)
				hosts = false
			}
		}
		s.checkPlan(d, key)
		if s.Every == 0 {
			d.bad(key+".every", "is missing; like 10ms")
			continue
		}
		if s.Size == 0 {
			d.bad(key+".size", "is missing; octets of each frame's data, like 128B")
			continue
		}
		if s.ID != (tsn.StreamID{}) {
			unique(d, ids, key+".id", s.ID)
		}
		if !hosts || len(d.errs) > 0 {
			continue
		}
		if err := n.tsnStream(s).Validate(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				d.fault(d.lines[key], key, "%s", line)
			}
		}
		if !slices.ContainsFunc(n.Fabric.BaseVIDs, func(b BaseVID) bool { return b.VID == s.VLAN }) {
			d.bad(key+".vlan", "%d is not one of fabric.baseVids", s.VLAN)
		}
	}
}
