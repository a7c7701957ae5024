package spb

import (
	"net/netip"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// topology is what the database means: nodes, the graph between them, the
// trees of this bridge, and what follows for forwarding.
type topology struct {
	dirty      bool
	nextRun    tsn.Instant // not before
	hold       int64       // the hold-down after the last run
	generation uint64
	nodes      []node // ascending system id
	read       map[tsn.MAC]*readNode
	bare       bool // a node has no ingress check
	graph      graph
	trees      [17]*tree      // of this bridge, for the algorithms in use
	towards    [17][]tsn.Port // of this bridge towards each node, likewise
	cache      forestCache    // of other roots
	edgeSums   edgeSums
	roots      [17][]int32 // whose trees carry groups, ascending
	groves     [17]forest  // of these
	waited     bool        // the next run has been held down
	// wanted is what the bridge shall forward; held: not handed out yet.
	wanted          tsn.BridgeState
	streams         []StreamTree
	held, published bool
	holdUntil       tsn.Instant // StartupHold, for the first one
	connected       []bool      // node by node: joined to this one by links
	owned           map[tsn.VID][]owner
	duplicates      int // stations claimed by more than one node
}

func (t *topology) init() { t.dirty, t.held = true, true }

// node is one system, put together from its LSP fragments.
type node struct {
	system   tsn.MAC
	bridgeID tsn.BridgeID
	spb      bool // has SPB-Inst in fragment 0
	overload bool
	bare     bool   // its fabric ports have no ingress check
	why      string // of overload, as the node says
	source   uint32 // SPSourceID, 0: none
	// sourceAuto: it was chosen automatically and gives way to a configured one.
	sourceAuto bool
	services   []nodeService
	hostName   string
	addresses  []netip.Addr
	links      []halfLink
	addrs      []bMAC    // SPBM-SI, in advertised order
	claimSum   digestSum // of addrs
	records    []EndStation
	claims     map[tsn.MAC]uint32 // of learned stations; nil if there are none
}

// halfLink is one end of a link as its own system advertises it.
type halfLink struct {
	to            tsn.MAC
	metric        uint32
	port          tsn.Port
	local, remote uint32 // link identifiers; hasIDs tells whether advertised
	hasIDs        bool
}

// bMAC is an address that a node says it reaches in a VLAN.
type bMAC struct {
	mac   tsn.MAC
	vid   tsn.VID
	claim uint32 // of a learned station, 0: configured
}

// readNode is a node with the fragments that it was read from.
type readNode struct {
	node
	lsps []*storedLSP
}

// collectNodes reads the database. Nodes without a live fragment 0 do not
// count (ISO/IEC 10589 7.2.5). What has not changed is not read again.
func (i *Instance) collectNodes() []node {
	nodes := make([]node, 0, len(i.top.nodes)+1)
	known := make(map[tsn.MAC]*readNode, len(i.top.read))
	var lsps []*storedLSP
	for at := 0; at < len(i.db.order); {
		system := i.db.order[at].System()
		for lsps = lsps[:0]; at < len(i.db.order) && i.db.order[at].System() == system; at++ {
			// RFC 6329 s7: pseudonodes are ignored.
			if l := i.db.lsps[i.db.order[at]]; !l.purged && l.pdu.ID.Pseudonode() == 0 {
				lsps = append(lsps, l)
			}
		}
		if len(lsps) == 0 || lsps[0].pdu.ID.Fragment() != 0 {
			continue
		}
		r := i.top.read[system]
		if r == nil || !slices.Equal(r.lsps, lsps) {
			r = &readNode{i.readLSPs(lsps), slices.Clone(lsps)}
		}
		known[system] = r
		nodes = append(nodes, r.node)
	}
	i.top.read = known
	for k := range nodes {
		if n := &nodes[k]; n.system == i.cfg.SystemID {
			// Bad news is acted on before it may be advertised (LSPHoldDown):
			// a link that is down must not be in a path.
			n.links = slices.DeleteFunc(slices.Clone(n.links), func(h halfLink) bool {
				p := i.port(h.port)
				return p == nil || !p.inUse()
			})
		}
	}
	return nodes
}

// readLSPs puts a node together from its live fragments, ascending from 0.
func (i *Instance) readLSPs(lsps []*storedLSP) node {
	first := lsps[0].pdu
	n := node{system: first.ID.System(), overload: first.Flags&isispdu.FlagOverload != 0}
	for _, l := range lsps {
		i.readFragment(&n, l.pdu)
	}
	for k := range n.addrs {
		n.addrs[k].claim = n.claims[n.addrs[k].mac]
		n.claimSum = n.claimSum.add(claimDigest(n.bridgeID, n.addrs[k]))
	}
	slices.SortFunc(n.links, compareLinks)
	return n
}

func (i *Instance) readFragment(n *node, l *isispdu.LSP) {
	for _, t := range l.TLVs {
		switch t := t.(type) {
		case *isispdu.Hostname:
			n.hostName = t.Name
		case *isispdu.Interfaces:
			n.addresses = append(n.addresses, t.Addresses...)
		case *isispdu.ExtISReach:
			n.readNeighbors(t)
		case *isispdu.MTCapability:
			i.readCapability(n, t, l.ID.Fragment())
		case *isispdu.GenInfo:
			i.readRecords(n, t)
		}
	}
}

func (n *node) readNeighbors(t *isispdu.ExtISReach) {
	for _, nb := range t.Neighbors {
		m, ok := isispdu.Find[*isispdu.SPBMetric](nb.SubTLVs)
		// RFC 6329 s14.2: no SPB-Metric, no SPB on the adjacency.
		if !ok || m.Metric == isispdu.MaxMetric || nb.ID.Pseudonode() != 0 {
			continue
		}
		h := halfLink{to: nb.ID.System(), metric: m.Metric, port: m.PortID}
		if ids, ok := isispdu.Find[*isispdu.LinkIDs](nb.SubTLVs); ok {
			h.local, h.remote, h.hasIDs = ids.Local, ids.Remote, true
		}
		n.links = append(n.links, h)
	}
}

func (i *Instance) readCapability(n *node, t *isispdu.MTCapability, fragment uint8) {
	if t.MT&0xfff != 0 {
		return // another topology
	}
	n.overload = n.overload || t.MT&isispdu.MTOverload != 0
	for _, sub := range t.SubTLVs {
		switch sub := sub.(type) {
		case *isispdu.SPBInst:
			if fragment == 0 && !n.spb {
				n.spb, n.bridgeID = true, tsn.MakeBridgeID(sub.BridgePriority, n.system)
				if v := sub.SPSourceID(); validSource(v) {
					n.source, n.sourceAuto = v, sub.Source&isispdu.SourceAuto != 0
				}
			}
		case *isispdu.SPBMSI:
			if i.readServices(n, sub); sub.BMAC == n.system {
				continue // the bridge itself: no station
			}
			if len(n.addrs) >= i.cfg.Caps.MaxStations {
				i.counters.Drops.StationsOverCap++
				continue
			}
			n.addrs = append(n.addrs, bMAC{mac: sub.BMAC, vid: sub.BaseVID()})
		}
	}
}

func (i *Instance) readRecords(n *node, t *isispdu.GenInfo) {
	if t.Application != applicationStations {
		return
	}
	for _, r := range t.Records {
		raw := r.(*isispdu.Raw)
		if raw.Type == recordBridge && len(raw.Value) > 0 {
			n.bare = n.bare || raw.Value[0]&bridgeBare != 0
		}
		if raw.Type == recordOverload {
			var ok bool
			if n.why, ok = parseOverload(raw.Value); !ok {
				i.counters.Drops.BadRecord++
				n.why = ""
			}
		}
		if raw.Type != recordStation && raw.Type != recordLearned {
			continue // a later kind of record
		}
		s, claim, ok := parseLearned(raw)
		switch {
		case !ok:
			i.counters.Drops.BadRecord++
		case len(n.records) >= i.cfg.Caps.MaxRecords:
			i.counters.Drops.RecordsOverCap++
		default:
			if n.records = append(n.records, s); claim != 0 {
				if n.claims == nil {
					n.claims = map[tsn.MAC]uint32{}
				}
				n.claims[s.MAC] = claim
			}
		}
	}
}

// findNode returns the index of a system, or -1.
func (t *topology) findNode(sys tsn.MAC) int32 {
	want, lo, hi := numberOf(sys), 0, len(t.nodes)
	for lo < hi { // by hand: a node is too large to be passed to a function
		mid := (lo + hi) / 2
		if numberOf(t.nodes[mid].system) < want {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(t.nodes) || t.nodes[lo].system != sys {
		return -1
	}
	return int32(lo)
}
