package spb

import (
	"cmp"
	"errors"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Events beside tsn.Received, tsn.LinkChanged and tsn.Timeout.
type (
	// SetEndStations replaces the list of attached end stations. A list that
	// does not validate is refused with a Notice and changes nothing.
	SetEndStations struct{ Stations []EndStation }
	// SetOverload asks others to stop or resume transit through this bridge.
	// Reason is for people, shown in Status; it takes the place of
	// Config.OverloadReason.
	SetOverload struct {
		On     bool
		Reason string
	}
	// SetUnlocked tells which ports turned out to have no ingress check, all of
	// them (see BridgePort.Locked).
	SetUnlocked struct{ Ports []tsn.Port }
	// Applied answers a Forwarding: the kernel holds what it asked for, with all
	// before it, or Err says why not. What is not answered is not relied on.
	Applied struct {
		Generation uint64
		Err        string
	}
)

// Effects beside tsn.Send and tsn.Notice.
type (
	// Forwarding is the whole bridge state wanted now; sent when it changes.
	// The driver answers it with Applied.
	Forwarding struct {
		Generation uint64
		State      tsn.BridgeState
		Streams    []StreamTree // of SetStreamRoots, ascending VID, talker
	}
	// TopologyChanged says that Path and Tree may answer differently. It comes
	// after the Forwarding of the same change.
	TopologyChanged struct{ Generation uint64 }
)

// Kinds of tsn.Notice.
const (
	NoticeAdjacencyUp       = "adjacency-up"
	NoticeAdjacencyDown     = "adjacency-down"
	NoticeSPBMismatch       = "spb-mismatch"
	NoticeDuplicateSystem   = "duplicate-system-id"
	NoticeDuplicateStation  = "duplicate-station"
	NoticeDatabaseFull      = "database-full"
	NoticeCorruptLifetime   = "corrupt-lifetime"
	NoticeNeighbourRestarts = "neighbour-restarts"
	NoticeOwnLSPNewer       = "own-lsp-newer"
	NoticeLSPTooLarge       = "own-lsp-too-large"
	NoticeSequenceExhausted = "sequence-exhausted"
	NoticeBadEndStations    = "end-stations-refused"
	NoticeBadServices       = "services-refused"
	NoticeNoAgreement       = "no-agreement"
	NoticeSourceID          = "source-id"
	NoticeAuthentication    = "authentication-failed"
	NoticeBadKeys           = "keys-refused"
)

// Instance is the IS-IS-SPB process of one bridge. It is a tsn.Machine.
type Instance struct {
	cfg      Config
	rng      prng
	now      tsn.Instant
	started  bool
	effects  []tsn.Effect
	counters Counters

	ports    []*port // ascending
	stations []EndStation
	mcid     isispdu.MCID

	auth    authenticator
	db      database
	own     originator
	over    overload
	dup     duplicate
	restart restart
	top     topology
	gen     geninfo
	ctl     control

	services    []Service    // ascending VID, I-SID
	streamRoots []StreamRoot // ascending
	sourceID    sourceID
	unlocked    []tsn.Port // ascending
	edgeVLANs   map[tsn.Port][]tsn.VID
	algorithms  []uint8 // in use, in the order of Base VIDs
	agree       agreement
}

// port is a fabric port with its adjacency and its flooding state.
type port struct {
	cfg      PortConfig
	up       bool
	rate     tsn.Rate
	adj      adjacency
	echo     echo
	exchange exchange

	nextHello, nextCSNP tsn.Instant
	// srm holds when an LSP is due to be sent (ISO/IEC 10589 SRMflag), ssn when
	// it is due in a PSNP (SSNflag). An absent key is a clear flag.
	srm map[isispdu.LSPID]srmFlag
	ssn map[isispdu.LSPID]tsn.Instant
	// srmDue and ssnDue are not after the first of them.
	srmDue, ssnDue tsn.Instant
	// graceUntil, if not zero: the neighbour restarted, the link stays in use.
	graceUntil tsn.Instant
	acq        reacquisition
	help       helper
	// sendAfter spaces bursts of LSPs.
	sendAfter tsn.Instant
	// authNotice is when a failed authentication may be told again.
	authNotice tsn.Instant
}

// New checks cfg and returns an Instance with every port down. The first Step
// sends the LSP into the own database and the first Forwarding.
func New(cfg Config) (*Instance, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	i := &Instance{cfg: cfg, rng: prng{cfg.Seed}, mcid: makeMCID(cfg.BaseVIDs)}
	i.setStations(cfg.EndStations)
	i.setServices(cfg.Services)
	i.sourceID.value = cfg.firstSourceID()
	for _, b := range cfg.BaseVIDs {
		if !slices.Contains(i.algorithms, b.Algorithm) {
			i.algorithms = append(i.algorithms, b.Algorithm)
		}
	}
	for _, p := range cfg.Ports {
		if p.Role == tsn.RoleFabric {
			i.ports = append(i.ports, &port{cfg: p, adj: adjacency{state: isispdu.Down, expires: tsn.Never}, exchange: newExchange(), nextHello: tsn.Never, nextCSNP: tsn.Never, srmDue: tsn.Never, ssnDue: tsn.Never, acq: newReacquisition()})
		}
	}
	i.auth.set(cfg.Authentication)
	i.db.init()
	i.own.init(&i.cfg)
	i.setOverload(SetOverload{On: cfg.Overload, Reason: cfg.OverloadReason})
	i.top.init()
	i.initGuard()
	for _, p := range i.ports {
		p.echo.init()
	}
	i.ctl.stations.init()
	return i, nil
}

// Step handles tsn.Received, tsn.LinkChanged, tsn.Timeout, SetEndStations and
// SetOverload; see tsn.Machine.
func (i *Instance) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	if i.now = max(now, i.now); !i.started {
		i.started = true
		i.top.holdUntil = i.now.Add(i.cfg.StartupHold)
		i.beginStart()
		i.over.startup = i.now.Add(i.cfg.OverloadOnStartup)
	}
	i.effects = nil
	switch ev := ev.(type) {
	case tsn.Received:
		i.received(ev)
	case tsn.LinkChanged:
		i.linkChanged(ev)
	case SetEndStations:
		if err := validateStations(i.cfg, ev.Stations); err != nil {
			i.notice(NoticeBadEndStations, tsn.NoPort, err.Error())
			break
		}
		i.setStations(ev.Stations)
		i.own.dirty, i.top.dirty = true, true
	case SetOverload:
		i.setOverload(ev)
	case SetKeys:
		i.setKeys(ev)
	case PublishRecord:
		i.publishRecord(ev)
	case WithdrawRecord:
		i.withdrawRecord(ev)
	case WatchRecords:
		i.watchRecords(ev)
	case SetServices:
		if err := validateServices(i.cfg, ev.Services); err != nil {
			i.notice(NoticeBadServices, tsn.NoPort, err.Error())
			break
		}
		i.setServices(ev.Services)
		i.own.dirty, i.top.dirty = true, true
	case SetStreamRoots:
		i.setStreamRoots(ev.Roots)
	case SetEdgeVLANs:
		i.setEdgeVLANs(ev)
	case SetUnlocked:
		i.setUnlocked(ev.Ports)
	case Applied:
		i.applied(ev)
	default:
		i.controlEvent(ev)
	}
	i.expireAdjacencies()
	i.dup.expire(i.now)
	i.runRestart()
	i.updateOverload()
	i.ageDatabase()
	i.runControl()
	i.originate()
	i.hello()
	i.flood()
	i.computeForwarding()
	i.updateRecords()
	i.agreeing()
	i.hello()
	return i.effects
}

// Deadline is the earliest of all timers.
func (i *Instance) Deadline() tsn.Instant {
	d := min(i.db.nextAge, i.originateDeadline(), i.spfDeadline(), i.agreementDeadline(), i.over.deadline(i.now), i.dup.deadline(), i.restartDeadline(), i.controlDeadline())
	for _, p := range i.ports {
		d = min(d, p.nextHello, p.nextCSNP, p.adj.expires, p.floodDeadline())
		if p.graceUntil != 0 {
			d = min(d, p.graceUntil)
		}
	}
	return d
}

func (i *Instance) setStations(s []EndStation) {
	i.stations = slices.Clone(s)
	for k := range i.stations {
		i.stations[k].Learned = false
	}
	i.ctl.stations.reviewed = 0
	slices.SortFunc(i.stations, func(a, b EndStation) int { return compareMAC(a.MAC, b.MAC) })
}

func (i *Instance) linkChanged(ev tsn.LinkChanged) {
	p := i.port(ev.Port)
	if p == nil {
		i.edgeLinkChanged(ev)
		return
	}
	if p.rate != ev.Rate {
		p.rate = ev.Rate
		if p.adj.state == isispdu.Up {
			i.linksChanged()
		}
	}
	if p.up == ev.Up {
		return
	}
	p.up = ev.Up
	i.echoLink(p)
	if !p.up {
		i.adjacencyDown(p, "link down")
		p.nextHello, p.acq = tsn.Never, newReacquisition()
		return
	}
	i.acquire(p, restarting)
	p.nextHello = i.now
}

// received sorts frames out; every dropped frame is counted.
func (i *Instance) received(ev tsn.Received) {
	if i.receivedControl(ev) {
		return
	}
	c := &i.counters.Drops
	p := i.port(ev.Port)
	if p == nil || !p.up {
		c.NotFabricPort++
		i.edgeHello(ev.Port, ev.Frame)
		return
	}
	_, src, b, err := isispdu.ParseFrame(ev.Frame)
	if errors.Is(err, isispdu.ErrNotISIS) {
		return // not ours to judge
	}
	i.counters.Received.Frames++
	if err != nil {
		c.Malformed++
		return
	}
	if src != i.cfg.SystemID && i.receiveCopy(p, b) {
		return
	}
	pdu, err := isispdu.Parse(b)
	if src == i.cfg.SystemID {
		c.OwnFrame++
		if hello, ok := pdu.(*isispdu.IIH); ok && err == nil && hello.SourceID == src && i.authentic(p, hello, b[:isispdu.Length(b)]) {
			i.duplicateHello(p)
		}
		return
	}
	if _, other := pdu.(*isispdu.Other); other || errors.As(err, &isispdu.ErrUnsupported{}) {
		c.Unsupported++
		return
	}
	if err != nil {
		c.Malformed++
		return
	}
	b = b[:isispdu.Length(b)]
	if hello, ok := pdu.(*isispdu.IIH); ok {
		i.counters.Received.IIH++
		if i.authentic(p, hello, b) {
			i.receiveIIH(p, hello)
		}
		return
	}
	// ISO/IEC 10589 7.3.15.1: without an adjacency only hellos count.
	if p.adj.state != isispdu.Up {
		c.NoAdjacency++
		return
	}
	if !i.authentic(p, pdu, b) {
		return
	}
	switch pdu := pdu.(type) {
	case *isispdu.LSP:
		i.counters.Received.LSP++
		i.receiveLSP(p, pdu, b)
	case *isispdu.CSNP:
		i.counters.Received.CSNP++
		i.receiveCSNP(p, pdu)
	case *isispdu.PSNP:
		i.counters.Received.PSNP++
		i.receivePSNP(p, pdu)
	}
}

func (i *Instance) port(n tsn.Port) *port {
	for _, p := range i.ports {
		if p.cfg.Port == n {
			return p
		}
	}
	return nil
}

func (i *Instance) notice(kind string, p tsn.Port, detail string) {
	i.effects = append(i.effects, tsn.Notice{Kind: kind, Port: p, Detail: detail})
}

// send wraps an encoded PDU into a frame of the control class.
func (i *Instance) send(p *port, pdu []byte) {
	i.counters.Sent.Frames++
	frame := isispdu.AppendFrame(make([]byte, 0, 17+len(pdu)), isispdu.AllISs, i.cfg.SystemID, pdu)
	i.effects = append(i.effects, tsn.Send{Port: p.cfg.Port, Frame: frame, Priority: 7})
}

// mustAppend encodes a PDU whose size the sender bounds.
func mustAppend(p isispdu.PDU) []byte {
	b, err := p.Append(nil)
	if err != nil {
		panic("spb: own PDU does not encode: " + err.Error())
	}
	return b
}

func compareMAC(a, b tsn.MAC) int { return cmp.Compare(numberOf(a), numberOf(b)) }

// numberOf is an address as a number: much faster to compare than its octets.
func numberOf(m tsn.MAC) uint64 {
	return uint64(m[0])<<40 | uint64(m[1])<<32 | uint64(m[2])<<24 | uint64(m[3])<<16 | uint64(m[4])<<8 | uint64(m[5])
}

// prng is splitmix64: small, seeded, the same on every machine.
type prng struct{ state uint64 }

func (r *prng) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in 0..n-1.
func (r *prng) below(n int64) int64 {
	if n <= 0 {
		return 0
	}
	return int64(r.next() % uint64(n))
}
