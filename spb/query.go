package spb

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// The queries read the state between two Steps and change nothing. Their
// results are sorted, plain and the caller's own.

// Neighbour is the adjacency of one fabric port.
type Neighbour struct {
	Port         tsn.Port   `json:"port"`
	LinkUp       bool       `json:"linkUp"`
	State        string     `json:"state"` // Up, Initializing, Down
	SystemID     tsn.MAC    `json:"systemId"`
	HostName     string     `json:"hostName,omitempty"`
	RemotePort   uint32     `json:"remotePort"` // extended circuit id of the neighbour
	Metric       uint32     `json:"metric"`     // announced; 0 unless Up
	HoldRemainNS int64      `json:"holdRemainNs"`
	SinceNS      int64      `json:"sinceNs"` // Instant of the last change of state
	Mismatch     string     `json:"mismatch,omitempty"`
	Echo         EchoStatus `json:"echo"`
	// Restarting: it restarts and is waited for. Suppressed: it has just started
	// and asked for its link not to be used yet (RFC 8706).
	Restarting bool         `json:"restarting,omitempty"`
	Suppressed bool         `json:"suppressed,omitempty"`
	Addresses  []netip.Addr `json:"addresses,omitempty"`
}

// Neighbours lists the fabric ports, ascending.
func (i *Instance) Neighbours() []Neighbour {
	out := make([]Neighbour, 0, len(i.ports))
	for _, p := range i.ports {
		n := Neighbour{Port: p.cfg.Port, LinkUp: p.up, State: p.adj.state.String(), SinceNS: int64(p.adj.since), Echo: p.echoStatus()}
		if p.adj.state != isispdu.Down {
			n.SystemID, n.RemotePort, n.Mismatch = p.adj.neighbor, p.adj.circuit, p.mismatch()
			n.Restarting, n.Suppressed = p.help.helping || p.help.planned != 0, p.help.suppressed
			n.HoldRemainNS = p.adj.expires.Sub(i.now)
			n.Addresses = slices.Clone(p.adj.addresses)
			if k := i.top.findNode(p.adj.neighbor); k >= 0 {
				n.HostName = i.top.nodes[k].hostName
			}
		}
		if p.adj.state == isispdu.Up {
			n.Metric = p.metric()
		}
		out = append(out, n)
	}
	return out
}

// LSPInfo is one fragment in the database.
type LSPInfo struct {
	ID                isispdu.LSPID `json:"id"`
	SequenceNumber    uint32        `json:"sequenceNumber"`
	Checksum          uint16        `json:"checksum"`
	RemainingLifetime uint16        `json:"remainingLifetime"` // seconds; 0: purged
	Octets            int           `json:"octets"`
	HostName          string        `json:"hostName,omitempty"`
	Overload          bool          `json:"overload,omitempty"`
	Lines             []string      `json:"lines"` // one for each TLV
}

// Database lists the link-state database by LSP ID.
func (i *Instance) Database() []LSPInfo {
	out := make([]LSPInfo, 0, len(i.db.order))
	for _, id := range i.db.order {
		l := i.db.lsps[id]
		info := LSPInfo{
			ID: id, SequenceNumber: l.pdu.SequenceNumber, Checksum: l.pdu.Checksum, RemainingLifetime: l.lifetime(i.now),
			Octets: len(l.raw), Overload: l.pdu.Flags&isispdu.FlagOverload != 0, Lines: make([]string, 0, len(l.pdu.TLVs)),
		}
		if k := i.top.findNode(id.System()); k >= 0 {
			info.HostName = i.top.nodes[k].hostName
		}
		for _, t := range l.pdu.TLVs {
			info.Lines = append(info.Lines, tlvLine(t))
		}
		out = append(out, info)
	}
	return out
}

// DatabaseDigest is equal on two nodes if and only if (but for a collision of
// SHA-256) they hold the same live LSPs: ID, sequence number and checksum.
func (i *Instance) DatabaseDigest() [32]byte {
	var b []byte
	for _, id := range i.db.order {
		if l := i.db.lsps[id]; !l.purged {
			b = append(b, id[:]...)
			b = binary.BigEndian.AppendUint32(b, l.pdu.SequenceNumber)
			b = binary.BigEndian.AppendUint16(b, l.pdu.Checksum)
		}
	}
	return sha256.Sum256(b)
}

// Node is one system of the region.
type Node struct {
	SystemID  tsn.MAC      `json:"systemId"`
	BridgeID  string       `json:"bridgeId"` // 8000.020000000001; empty without SPB
	HostName  string       `json:"hostName,omitempty"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Reachable bool         `json:"reachable"`
	Overload  bool         `json:"overload,omitempty"`
	// OverloadReason is what the node says about it; it need not say anything.
	OverloadReason string       `json:"overloadReason,omitempty"`
	EndStations    []EndStation `json:"endStations"`
	Links          []Link       `json:"links"`
}

// Link is a link in use, seen from the node that holds it.
type Link struct {
	Neighbour  tsn.MAC  `json:"neighbour"`
	Port       tsn.Port `json:"port"`
	RemotePort tsn.Port `json:"remotePort"`
	Metric     uint32   `json:"metric"` // the larger of both ends'
}

// Nodes lists every system in the database, ascending. Of parallel links it
// shows the one in use.
func (i *Instance) Nodes() []Node {
	t := &i.top
	var dist []distance
	if self := t.findNode(i.cfg.SystemID); self >= 0 {
		dist = t.graph.shortest(self).dist
	}
	out := make([]Node, 0, len(t.nodes))
	for k, n := range t.nodes {
		d := Node{
			SystemID: n.system, HostName: n.hostName, Addresses: slices.Clone(n.addresses), Overload: n.overload, OverloadReason: n.why,
			Reachable: dist != nil && dist[k] != unreachable, EndStations: append([]EndStation{}, n.records...), Links: []Link{},
		}
		if n.spb {
			d.BridgeID = n.bridgeID.String()
		}
		for _, e := range t.graph.edges[t.graph.first[k]:t.graph.first[k+1]] {
			d.Links = append(d.Links, Link{t.nodes[e.to].system, e.port, e.farPort, e.metric})
		}
		out = append(out, d)
	}
	return out
}

// HostNames are the names of the systems in the database; who has none is not
// in it.
func (i *Instance) HostNames() map[tsn.MAC]string {
	out := make(map[tsn.MAC]string, len(i.top.nodes))
	for k := range i.top.nodes {
		if n := &i.top.nodes[k]; n.hostName != "" {
			out[n.system] = n.hostName
		}
	}
	return out
}

// Station is an end station somewhere in the region.
type Station struct {
	EndStation
	Bridge     tsn.MAC `json:"bridge"`
	BridgeName string  `json:"bridgeName,omitempty"`
	Reachable  bool    `json:"reachable"`
}

// Stations lists the end stations that nodes describe in records, by address
// and then by BridgeID; the first of an address is its owner.
func (i *Instance) Stations() []Station {
	out := []Station{}
	nodes := i.Nodes()
	slices.SortStableFunc(nodes, func(a, b Node) int {
		switch {
		case a.BridgeID < b.BridgeID:
			return -1
		case a.BridgeID > b.BridgeID:
			return 1
		}
		return 0
	})
	for _, n := range nodes {
		for _, s := range n.EndStations {
			out = append(out, Station{EndStation: s, Bridge: n.SystemID, BridgeName: n.HostName, Reachable: n.Reachable})
		}
	}
	slices.SortStableFunc(out, func(a, b Station) int { return compareMAC(a.MAC, b.MAC) })
	return out
}

// Status is the summary of an instance.
type Status struct {
	SystemID     tsn.MAC   `json:"systemId"`
	BridgeID     string    `json:"bridgeId"`
	HostName     string    `json:"hostName,omitempty"`
	BaseVIDs     []BaseVID `json:"baseVids"`
	FabricPorts  int       `json:"fabricPorts"`
	Adjacencies  int       `json:"adjacencies"` // Up
	LSPs         int       `json:"lsps"`        // live fragments
	NodesKnown   int       `json:"nodesKnown"`
	NodesReached int       `json:"nodesReached"`
	Links        int       `json:"links"`
	FDBEntries   int       `json:"fdbEntries"`
	Duplicates   int       `json:"duplicateStations"`
	Generation   uint64    `json:"generation"` // of the last TopologyChanged
	Overload     bool      `json:"overload,omitempty"`
	// OverloadReason lists why, DuplicateSystem says why another bridge is
	// believed to have our system id.
	Restart         string `json:"restart,omitempty"` // starting, restarting, planned
	OverloadReason  string `json:"overloadReason,omitempty"`
	DuplicateSystem string `json:"duplicateSystem,omitempty"`
}

// Status returns the summary.
func (i *Instance) Status() Status {
	t := &i.top
	s := Status{
		SystemID: i.cfg.SystemID, BridgeID: tsn.MakeBridgeID(i.cfg.Priority, i.cfg.SystemID).String(), HostName: i.cfg.HostName,
		BaseVIDs: slices.Clone(i.cfg.BaseVIDs), FabricPorts: len(i.ports), NodesKnown: len(t.nodes),
		Links: len(t.graph.edges) / 2, Duplicates: t.duplicates, Generation: t.generation,
		Restart: i.restart.String(i.now), Overload: i.over.told != "", OverloadReason: i.over.told, DuplicateSystem: i.dup.why,
	}
	for _, p := range i.ports {
		if p.adj.state == isispdu.Up {
			s.Adjacencies++
		}
	}
	for _, l := range i.db.lsps {
		if !l.purged {
			s.LSPs++
		}
	}
	s.FDBEntries = len(t.wanted.FDB)
	if tr := t.trees[i.cfg.BaseVIDs[0].Algorithm]; tr != nil {
		s.NodesReached = len(tr.settled)
	}
	return s
}
