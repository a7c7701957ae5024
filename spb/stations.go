package spb

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"

	tsn "tsnswitch"
)

// Learned stations: the kernel learns an address on an edge port, the driver
// says so, and the bridge claims it as it would a configured one.
//
//	StationSeen ──> claim ──> own LSP: SPBM-SI, and record 4 with the claim's number
//	                  ^                     │
//	StationGone ──> withdrawn <── a newer claim in another bridge's LSP
//
// A claim is numbered above all that are known for the address (as the MAC
// mobility of RFC 7432 s7.7). So when a host moves, the bridge that saw it last
// has it, and the one before withdraws until it sees it again. A configured
// station is a claim without a number; it beats the others and never moves. An
// address that moves too often stays where it is for a while (RFC 7432 s15.1).
//
// At its own bridge a learned station has no static entry: the kernel's own
// one forwards to it, and ages.

// Events.
type (
	// StationSeen says that frames from MAC come in on an edge port that learns,
	// and again when that changed. Address is an IP address of it, if known.
	StationSeen struct {
		MAC     tsn.MAC
		VID     tsn.VID
		Port    tsn.Port
		Address netip.Addr
	}
	// StationGone takes a StationSeen back: the entry has aged or moved.
	StationGone struct {
		MAC  tsn.MAC
		VID  tsn.VID
		Port tsn.Port
	}
)

// Kinds of tsn.Notice of learned stations.
const (
	NoticeStationRefused  = "station-refused"
	NoticeStationFlapping = "station-flapping"
	NoticeStationsFull    = "stations-full"
)

const (
	// An address may move maxMoves times within moveWindow, then it is frozen.
	maxMoves   = 5
	moveWindow = 10 * second
	freezeTime = 30 * second
	maxMovers  = 1024 // addresses whose moves are counted
)

// learned is a station on an edge port of this bridge.
type learned struct {
	mac     tsn.MAC
	port    tsn.Port
	vids    []tsn.VID // ascending
	address netip.Addr
	claim   uint32 // 0: not claimed, for the reason in refusal
	refusal string
	retry   tsn.Instant // 0: not frozen
}

// mover counts the moves of an address between bridges.
type mover struct {
	moves       int
	from, until tsn.Instant // of the window, of being frozen
}

// stations are the learned ones.
type stations struct {
	byMAC     map[tsn.MAC]*learned
	count     map[tsn.Port]int
	movers    map[tsn.MAC]mover
	nextRetry tsn.Instant
	// reviewed is the generation of the topology that all were compared with.
	reviewed uint64
	// foreign is the best claim of another bridge to each address, in the
	// generation indexed.
	foreign map[tsn.MAC]foreignClaim
	indexed uint64
	// Notices already given.
	full    bool
	refused tsn.MAC
}

type foreignClaim struct {
	claim    uint32
	bridgeID tsn.BridgeID
}

func (s *stations) init() {
	s.byMAC, s.count, s.movers = map[tsn.MAC]*learned{}, map[tsn.Port]int{}, map[tsn.MAC]mover{}
	s.nextRetry = tsn.Never
}

// compareClaims orders the better claim first: one without a number, then the
// highest number, then the lowest BridgeID.
func compareClaims(a, b foreignClaim) int {
	if a.claim != b.claim && (a.claim == 0 || b.claim == 0) {
		return cmp.Compare(a.claim, b.claim)
	}
	return cmp.Or(cmp.Compare(b.claim, a.claim), slices.Compare(a.bridgeID[:], b.bridgeID[:]))
}

// indexClaims finds the best claim of others to every address.
func (i *Instance) indexClaims() {
	t, s := &i.top, &i.ctl.stations
	if s.indexed == t.generation {
		return
	}
	s.indexed = t.generation
	s.foreign = map[tsn.MAC]foreignClaim{}
	for k, n := range t.nodes {
		if !n.spb || n.system == i.cfg.SystemID || !t.connected[k] {
			continue
		}
		for _, a := range n.addrs {
			f := foreignClaim{a.claim, n.bridgeID}
			if have, ok := s.foreign[a.mac]; !ok || compareClaims(f, have) < 0 {
				s.foreign[a.mac] = f
			}
		}
	}
}

func (i *Instance) stationSeen(ev StationSeen) {
	c, s := &i.counters.Control, &i.ctl.stations
	at := slices.IndexFunc(i.cfg.Ports, func(p PortConfig) bool { return p.Port == ev.Port })
	if at < 0 || !i.cfg.Ports[at].Learn || !slices.ContainsFunc(i.cfg.BaseVIDs, func(b BaseVID) bool { return b.VID == ev.VID }) {
		c.StationsIgnored++
		return
	}
	if ev.MAC.IsGroup() || ev.MAC.IsZero() {
		c.StationsRefused++
		return
	}
	i.indexClaims()
	if why := i.mustNotMove(ev.MAC, ev.Port); why != "" && s.byMAC[ev.MAC] == nil {
		i.refuseStation(ev.MAC, ev.Port, why)
	}
	l := s.byMAC[ev.MAC]
	if (l == nil || l.port != ev.Port) && s.count[ev.Port] >= i.cfg.Caps.MaxLearned {
		c.StationsOverCap++
		if !s.full {
			i.notice(NoticeStationsFull, ev.Port, fmt.Sprintf("more than %d stations: the rest is not reachable from other bridges", i.cfg.Caps.MaxLearned))
		}
		s.full = true
		return
	}
	if l == nil {
		l = &learned{mac: ev.MAC, port: ev.Port}
		s.byMAC[ev.MAC] = l
		s.count[ev.Port]++
	}
	if l.port != ev.Port { // within the bridge: the claim stays
		s.count[l.port]--
		s.count[ev.Port]++
		l.port, l.vids = ev.Port, nil
		c.StationMoves++
		i.probeSoon(ev.Port)
		i.own.dirty = true
	}
	if k, known := slices.BinarySearch(l.vids, ev.VID); !known {
		l.vids = slices.Insert(l.vids, k, ev.VID)
		i.own.dirty, i.ctl.edgesChanged = true, true
	}
	if ev.Address.IsValid() && ev.Address != l.address {
		l.address = ev.Address
		i.own.dirty = true
	}
	i.claimStation(l)
}

// mustNotMove says why nobody may claim an address seen on a port.
func (i *Instance) mustNotMove(mac tsn.MAC, port tsn.Port) string {
	if mac == i.cfg.SystemID || i.top.findNode(mac) >= 0 {
		return "the address of a bridge of the fabric is used behind an edge port"
	}
	k, ok := slices.BinarySearchFunc(i.stations, mac, func(s EndStation, m tsn.MAC) int { return compareMAC(s.MAC, m) })
	switch {
	case ok && i.stations[k].Port != port:
		return fmt.Sprintf("it is configured on port %d", i.stations[k].Port)
	case ok:
		return "configured"
	}
	if f, ok := i.ctl.stations.foreign[mac]; ok && f.claim == 0 {
		return fmt.Sprintf("it is configured at bridge %s", f.bridgeID.System())
	}
	return ""
}

// refuseStation tells about an address in the wrong place, once in a row.
func (i *Instance) refuseStation(mac tsn.MAC, port tsn.Port, why string) {
	if why == "configured" {
		return
	}
	i.counters.Control.StationsRefused++
	if i.ctl.stations.refused != mac {
		i.notice(NoticeStationRefused, port, mac.String()+": "+why)
	}
	i.ctl.stations.refused = mac
}

// claimStation claims a station that has just been seen, or says why not.
func (i *Instance) claimStation(l *learned) {
	s := &i.ctl.stations
	if why := i.mustNotMove(l.mac, l.port); why != "" {
		i.disclaim(l, why)
		return
	}
	f, elsewhere := s.foreign[l.mac]
	own := foreignClaim{l.claim, tsn.MakeBridgeID(i.cfg.Priority, i.cfg.SystemID)}
	switch {
	case l.claim != 0 && (!elsewhere || compareClaims(own, f) < 0):
		return
	case elsewhere:
		if until := i.countMove(l); until > i.now {
			i.disclaim(l, "moves too often")
			l.retry, s.nextRetry = until, min(s.nextRetry, until)
			return
		}
		i.counters.Control.StationMoves++
		i.probeSoon(l.port)
	}
	l.claim = uint32(min(uint64(f.claim)+1, math.MaxUint32))
	l.refusal, l.retry = "", 0
	i.own.dirty, i.ctl.edgesChanged = true, true
}

func (i *Instance) disclaim(l *learned, why string) {
	if l.claim != 0 {
		i.own.dirty, i.ctl.edgesChanged = true, true
	}
	l.claim, l.refusal, l.retry = 0, why, 0
}

// countMove counts a move between bridges and returns until when the address
// is frozen, 0 if it is not.
func (i *Instance) countMove(l *learned) tsn.Instant {
	s := &i.ctl.stations
	m, known := s.movers[l.mac]
	if m.until > i.now {
		return m.until
	}
	if !known && len(s.movers) >= maxMovers {
		maps.DeleteFunc(s.movers, func(_ tsn.MAC, m mover) bool { return max(m.until, m.from.Add(moveWindow)) <= i.now })
		if len(s.movers) >= maxMovers {
			return 0
		}
	}
	if m.until != 0 || i.now.Sub(m.from) > moveWindow {
		m = mover{from: i.now}
	}
	if m.moves++; m.moves > maxMoves {
		m.until = i.now.Add(freezeTime)
		i.counters.Control.StationsFlapping++
		i.notice(NoticeStationFlapping, l.port, l.mac.String()+" moves between bridges all the time: two stations with one address, or a loop")
	}
	s.movers[l.mac] = m
	return m.until
}

func (i *Instance) stationGone(ev StationGone) {
	l := i.ctl.stations.byMAC[ev.MAC]
	if l == nil || l.port != ev.Port {
		return
	}
	k, known := slices.BinarySearch(l.vids, ev.VID)
	if !known {
		return
	}
	l.vids = slices.Delete(l.vids, k, k+1)
	if l.claim != 0 {
		i.own.dirty, i.ctl.edgesChanged = true, true
	}
	if len(l.vids) == 0 {
		i.forgetStation(l)
	}
}

func (i *Instance) forgetStation(l *learned) {
	s := &i.ctl.stations
	delete(s.byMAC, l.mac)
	s.count[l.port]--
	s.full = false
	if l.claim != 0 {
		i.own.dirty, i.ctl.edgesChanged = true, true
	}
}

// forgetPort forgets what was learned on a port that lost its link.
func (i *Instance) forgetPort(port tsn.Port) {
	for _, l := range i.ctl.stations.sorted() {
		if l.port == port {
			i.forgetStation(l)
		}
	}
}

func (s *stations) sorted() []*learned {
	return slices.SortedFunc(maps.Values(s.byMAC), func(a, b *learned) int { return compareMAC(a.mac, b.mac) })
}

// reviewStations compares all learned stations with what others claim, if that
// may have changed, and retries those that were frozen.
func (i *Instance) reviewStations() {
	s := &i.ctl.stations
	if len(s.byMAC) == 0 || s.reviewed == i.top.generation && s.nextRetry > i.now {
		return
	}
	s.reviewed = i.top.generation
	i.indexClaims()
	s.nextRetry = tsn.Never
	own := foreignClaim{bridgeID: tsn.MakeBridgeID(i.cfg.Priority, i.cfg.SystemID)}
	for _, l := range s.sorted() {
		f, elsewhere := s.foreign[l.mac]
		own.claim = l.claim
		why := i.mustNotMove(l.mac, l.port)
		switch {
		case why != "":
			if l.refusal != why {
				i.refuseStation(l.mac, l.port, why)
			}
			i.disclaim(l, why)
		case elsewhere && l.claim != 0 && compareClaims(f, own) < 0:
			i.disclaim(l, "seen later at bridge "+f.bridgeID.System().String())
		case l.claim == 0 && (!elsewhere || l.retry != 0 && l.retry <= i.now):
			i.claimStation(l)
		}
		if l.retry != 0 {
			s.nextRetry = min(s.nextRetry, l.retry)
		}
	}
}

// stationsDeadline: a review that is due is a step of its own.
func (i *Instance) stationsDeadline() tsn.Instant {
	s := &i.ctl.stations
	switch {
	case len(s.byMAC) == 0:
		return tsn.Never
	case s.reviewed != i.top.generation:
		return i.now.Add(1)
	}
	return s.nextRetry
}

// localStation is a station that this node says it reaches.
type localStation struct {
	EndStation
	vids  []tsn.VID // nil: all that the port carries
	claim uint32    // 0: configured
}

// localStations lists them, ascending.
func (i *Instance) localStations() []localStation {
	var out []localStation
	for _, s := range i.stations {
		if !i.edgeHides(s.Port) {
			out = append(out, localStation{EndStation: s})
		}
	}
	for _, l := range i.ctl.stations.byMAC {
		if l.claim != 0 && !i.edgeHides(l.port) {
			s := EndStation{MAC: l.mac, Port: l.port, ManagementAddress: l.address, Learned: true}
			out = append(out, localStation{s, l.vids, l.claim})
		}
	}
	slices.SortFunc(out, func(a, b localStation) int { return compareMAC(a.MAC, b.MAC) })
	return out
}

// learnedHere: the kernel's own entry leads to the station in this VLAN.
func (i *Instance) learnedHere(mac tsn.MAC, vid tsn.VID) bool {
	l := i.ctl.stations.byMAC[mac]
	if l == nil || l.claim == 0 {
		return false
	}
	_, ok := slices.BinarySearch(l.vids, vid)
	return ok
}

// LearnedStation is a station that was seen on an edge port of this bridge.
type LearnedStation struct {
	MAC     tsn.MAC    `json:"mac"`
	Port    tsn.Port   `json:"port"`
	VIDs    []tsn.VID  `json:"vids"`
	Address netip.Addr `json:"address,omitzero"`
	Claim   uint32     `json:"claim"` // 0: not advertised
	Refusal string     `json:"refusal,omitempty"`
}

// LearnedStations lists them by address.
func (i *Instance) LearnedStations() []LearnedStation {
	out := []LearnedStation{}
	for _, l := range i.ctl.stations.sorted() {
		out = append(out, LearnedStation{l.mac, l.port, slices.Clone(l.vids), l.address, l.claim, l.refusal})
	}
	return out
}
