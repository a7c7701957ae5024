package distlink

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	tsn "tsnswitch"
)

// Code says why a connection was refused or went down (PROTOCOL.md).
type Code uint8

// The codes.
const (
	CodeClosed       Code = 0
	CodeVersion      Code = 1
	CodeResources    Code = 2
	CodeProtocol     Code = 3
	CodeKeepAlive    Code = 4
	CodeStalled      Code = 5
	CodeTooLong      Code = 6
	CodeReset        Code = 7
	CodeSetupTimeout Code = 8
	CodeSecurity     Code = 9
)

func (c Code) String() string {
	names := [...]string{
		"closed", "version not supported", "no resources", "protocol violation", "peer not heard",
		"no progress", "message too long", "reset by peer", "set-up timed out", "security",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Config are the knobs of a connection. The zero value means the defaults.
type Config struct {
	MaxDatagram  int      // most octets of a datagram; 1472, by IPv6 1452
	Window       uint64   // credit given to the peer, octets; 256 KiB
	MaxMessage   int      // longest message taken, octets; 64 MiB
	MaxStreams   int      // streams the peer may use; 4096
	KeepAlive    int64    // ns until a silent peer is dead; 0.9 s
	AckDelay     int64    // ns an ACK may be held; 1 ms
	ProbeFloor   int64    // ns, least 4*rttvar of the probe time-out; 2 ms
	Stall        int64    // ns without progress until the link goes down; 10 s
	SetupTimeout int64    // ns for the set-up; 5 s
	Rate         tsn.Rate // reserved, on the wire; 0 is none: congestion control

	// IPv6 is what a client connects by: its header is longer.
	IPv6 bool

	// Lanes are the classes that do not share a socket with others (Transmit.Lane),
	// each with the rate that is reserved for it: with none it is under
	// congestion control. Where the peer does not know lanes, all share one.
	Lanes map[Class]tsn.Rate

	// Keys are pre-shared. A client uses the first, a server the one that the
	// client names. Without any there is no security, and the peer has to want
	// none either.
	Keys []Key
	// Identity, if not nil, is certificates instead. It is called once for each
	// connection.
	Identity func() (*Identity, error)
}

// Random fills b with random octets. In a simulation they follow from a seed.
type Random func(b []byte)

func (r Random) id() uint64 {
	var b [8]byte
	r(b[:])
	return max(1, binary.BigEndian.Uint64(b[:]))
}

func (c Config) withDefaults() Config {
	def := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	if c.MaxDatagram < minDatagram || c.MaxDatagram > maxDatagram {
		c.MaxDatagram = 1472
		if c.IPv6 {
			c.MaxDatagram -= moreOfIPv6
		}
	}
	if c.Window == 0 || c.Window > 1<<31 {
		c.Window = 256 << 10
	}
	if c.MaxMessage <= 0 {
		c.MaxMessage = 64 << 20
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 4096
	}
	def(&c.KeepAlive, 900_000_000)
	def(&c.AckDelay, 1_000_000)
	def(&c.ProbeFloor, 2_000_000)
	def(&c.Stall, 10_000_000_000)
	def(&c.SetupTimeout, 5_000_000_000)
	return c
}

// overhead is what a datagram takes on the wire besides its octets.
func (c Config) overhead() int {
	if c.IPv6 {
		return wireOverhead + moreOfIPv6
	}
	return wireOverhead
}

// heldMost is how many octets of messages that are not delivered a peer may
// leave here: unfinished, or behind a fence.
func (c Config) heldMost() int { return 4 * c.MaxMessage }

// Events of Conn, besides tsn.Timeout. Any event starts a client's set-up.
type (
	// Datagram arrived. From is needed only where the peer may move: zero is the
	// peer's address.
	// With Segment, Data are several datagrams that were joined (UDP_GRO), of so
	// many octets each; the last may be shorter.
	Datagram struct {
		From    netip.AddrPort
		Data    []byte
		Segment int
	}
	// Write queues messages; they are packed together where they fit.
	Write struct{ Messages []Message }
	// Read says that the application has taken Octets of delivered messages,
	// each counted with one octet for its end: the peer gets new credit.
	Read struct{ Octets int }
	// Touch says that this side has a new address, or other sockets: the peer hears
	// of it at once. Of Config, if there is one, Rate and Lanes count from now on.
	Touch struct{ Config *Config }
	// Close tells the peer and ends the connection at once; what is queued is
	// dropped.
	Close struct{ Text string }
)

// Class is who goes first: all of a higher one, then a lower one.
type Class uint8

// The classes.
const (
	Bulk Class = iota
	Configured
	Control
	classes
)

// Fence is what a message waits for besides its stream, and what waits for it.
type Fence uint8

// The fences.
const (
	NoFence  Fence = iota
	AfterAll       // delivered after all before it
	Barrier        // and all after it are delivered after it
)

// Message is one unit of delivery. Its Data belongs to the receiver of it.
type Message struct {
	Stream uint32
	Class  Class // only Write
	Fence  Fence // only Write
	Data   []byte
}

// Effects of Conn.
type (
	// Transmit asks to send a datagram. To is zero for a client, which has one
	// server. Lane says by which socket: that of class Lane - 1 if it has its
	// own (Config.Lanes), 0 is the one of all others.
	Transmit struct {
		To   netip.AddrPort
		Lane int
		Data []byte
	}
	// Moved says that the peer has another address now.
	Moved struct{ To netip.AddrPort }
	// Established says that the set-up is complete, and with certificates that
	// both sides have proved themselves; at most once.
	Established struct{}
	// Deliver hands over a message in its order; the application answers
	// with Read.
	Deliver struct{ Message }
	// Closed is the last effect of a connection.
	Closed struct {
		Code   Code
		Text   string
		Remote bool // the peer said so
	}
)

// Stats are the counters of a connection.
type Stats struct {
	PacketsSent, PacketsReceived   uint64
	OctetsSent, OctetsReceived     uint64          // of datagrams
	ClassSent                      [classes]uint64 // datagrams, by the highest class in each; ACKs and the like are control
	MessagesSent, MessagesReceived uint64          // written, delivered
	Retransmitted                  uint64          // segments sent again
	Probes                         uint64
	Duplicates, Malformed, Forged  uint64 // packets dropped
	Blocked                        uint64 // times the peer's credit ran out
	Starved                        uint64 // times that something was queued and nothing sent
	Moves, BlackHoles              uint64 // of the peer; times the path became narrower
	SmoothedRTT, RTTVar            int64  // ns; of control's lane, as the next three
	Queued                         int    // octets written and not yet sent once
	InFlight                       int    // octets sent and not acknowledged
	Datagram                       int    // longest that is sent, octets
	CongestionWindow               int    // octets; 0 with a configured rate
	Rate                           tsn.Rate
	Lanes                          []LaneStats // of the classes that have their own
	Security                       uint8
}

// LaneStats are those of a lane that one class has for itself.
type LaneStats struct {
	Class            Class
	SmoothedRTT      int64 // ns
	Datagram         int   // longest that is sent, octets
	CongestionWindow int   // octets; 0 with a reserved rate
	Rate             tsn.Rate
}

type connState uint8

const (
	connecting connState = iota
	open
	closed
)

// Conn is one end of a connection; it implements tsn.Machine.
type Conn struct {
	cfg               Config
	random            Random
	state             connState
	client            bool
	localID, remoteID uint64
	remote            netip.AddrPort // server: where the peer is

	token     []byte      // client: from RETRY
	started   bool        // client: first INIT sent
	setupEnd  tsn.Instant // client: give up
	initAt    tsn.Instant // client: next INIT
	initWait  int64
	initsSent int

	schedule     *keySchedule    // nil: no security
	auth         *authentication // nil: no certificates
	unable       error           // client: why there is no identity
	init         []byte          // client: the INIT, always the same with one token
	acceptPacket []byte          // server
	seal, open   *[lanes]keys
	capabilities uint32

	recv  receiver
	send  sender
	lanes [lanes]lane
	ways  [classes]int // lane of each class
	most  int          // octets of a datagram that both sides take
	live  liveness
	path  pathCheck
	stats Stats
	out   []tsn.Effect
}

// NewClient makes the side that sends INIT. With Config.Keys the first is used.
func NewClient(cfg Config, random Random) *Conn {
	c := newConn(cfg, random)
	c.client, c.state, c.initWait = true, connecting, 100_000_000
	if len(cfg.Keys) > 0 {
		c.schedule = newKeySchedule(cfg.Keys[0], random)
	}
	if cfg.Identity != nil {
		c.schedule = newKeySchedule(Key{}, random)
		c.unable = c.identify()
	}
	return c
}

// identify asks who this side is.
func (c *Conn) identify() error {
	i, err := c.cfg.Identity()
	if err == nil {
		err = i.Valid()
	}
	if err != nil {
		return err
	}
	c.auth = &authentication{Identity: *i}
	return nil
}

var errOwnIdentity = errors.New("this side cannot prove who it is")

// newServer makes the side that answers an INIT whose token and binder are
// right; raw are its octets. The client is told the error.
func newServer(cfg Config, random Random, from netip.AddrPort, init Packet, raw []byte, s *keySchedule, now tsn.Instant) (*Conn, error) {
	cfg.IPv6 = from.Addr().Is6()
	c := newConn(cfg, random)
	c.remote, c.schedule, c.remoteID = from, s, init.Params.SourceID
	if cfg.Identity != nil {
		if err := c.identify(); err != nil {
			return nil, errOwnIdentity // files and the like are not for the peer
		}
	}
	c.live.patience = c.cfg.SetupTimeout // the ACCEPT may get lost, and the client is slow to ask again
	accept := Packet{Type: TypeAccept, Version: Version, DestID: c.remoteID, Params: c.params()}
	accept.Params.KeyID = ""
	c.acceptPacket = AppendPacket(nil, accept)
	if s != nil {
		accept.Proof = make([]byte, tagLen)
		b := AppendPacket(nil, accept)
		body := b[:len(b)-tagLen]
		k, err := s.session(init.Params.Public, raw, body)
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		c.acceptPacket = append(body, k.tag...)
		c.use(k)
	}
	c.establish(now, init.Params)
	if c.state == closed {
		return nil, errOwnIdentity
	}
	c.out = c.out[:0] // told by Listener
	return c, nil
}

// use takes the keys that follow from the set-up.
func (c *Conn) use(k session) {
	own, peers := &k.server, &k.client
	if c.client {
		own, peers = peers, own
	}
	c.seal, c.open = own.keys, peers.keys
	if c.auth != nil {
		c.auth.own, c.auth.peers = own.proof, peers.proof
	}
}

func newConn(cfg Config, random Random) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), random: random, localID: random.id()}
	c.recv.init(c.cfg)
	c.send.init()
	return c
}

// ID is the connection id that the peer's packets carry.
func (c *Conn) ID() uint64 { return c.localID }

// RemoteID is the peer's connection id, 0 before the set-up.
func (c *Conn) RemoteID() uint64 { return c.remoteID }

// Stats returns the counters now.
func (c *Conn) Stats() Stats {
	s := c.stats
	l := c.lane(Control)
	s.SmoothedRTT, s.RTTVar = l.rtt.smoothed, l.rtt.variance
	s.Queued, s.InFlight = c.send.queued(), c.send.inFlight()
	s.Datagram, s.Rate, s.CongestionWindow = l.mtu.size, l.rate, l.windowSize()
	for k := range classes {
		if l := c.lane(k); l.index > 0 {
			s.Lanes = append(s.Lanes, LaneStats{
				Class: k, SmoothedRTT: l.rtt.smoothed, Datagram: l.mtu.size, CongestionWindow: l.windowSize(), Rate: l.rate,
			})
		}
	}
	s.Security = c.security()
	return s
}

func (c *Conn) security() uint8 { return c.cfg.security() }

func (c Config) security() uint8 {
	switch {
	case c.Identity != nil:
		return SecurityCertificate
	case len(c.Keys) > 0:
		return SecurityPSK
	}
	return SecurityNone
}

// Step implements tsn.Machine.
func (c *Conn) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	c.out = c.out[:0]
	if c.state == closed {
		return nil
	}
	if c.client && !c.started {
		c.started, c.setupEnd, c.initAt = true, now.Add(c.cfg.SetupTimeout), now
		if c.unable != nil {
			c.down(CodeSecurity, c.unable.Error(), false)
			return c.out
		}
	}
	switch ev := ev.(type) {
	case Datagram:
		c.datagram(now, ev)
	case Write:
		for _, m := range ev.Messages {
			if c.auth.pending() {
				c.auth.early = append(c.auth.early, m)
				continue
			}
			c.write(now, m)
		}
	case Read:
		c.recv.read(ev.Octets)
	case Touch:
		if ev.Config != nil {
			c.change(now, ev.Config.Rate, ev.Config.Lanes)
		}
		c.touch(now)
	case Close:
		c.close(now, CodeClosed, ev.Text)
	}
	if c.state == open && c.auth.pending() {
		c.authTimer(now)
	}
	switch c.state {
	case connecting:
		c.setupTimer(now)
	case open:
		c.timers(now)
		c.flush(now)
	}
	return c.out
}

// Deadline implements tsn.Machine.
func (c *Conn) Deadline() tsn.Instant {
	switch {
	case c.state == closed:
		return tsn.Never
	case c.state == connecting:
		return min(c.initAt, c.setupEnd)
	}
	at := min(c.live.deadline(c), c.stallDeadline())
	for i := range c.lanes {
		at = min(at, c.recv.lanes[i].ackAt, c.deadline(&c.lanes[i]))
	}
	if c.auth.pending() {
		at = min(at, c.auth.end)
	}
	return at
}

func (c *Conn) params() Params {
	p := Params{
		SourceID: c.localID, MaxDatagram: uint16(c.cfg.MaxDatagram), Capabilities: CapMigrate | CapLanes,
		Window: uint32(c.cfg.Window), AckDelay: uint32(c.cfg.AckDelay / 1000),
	}
	if c.schedule != nil {
		p.Security, p.Suites, p.Public = c.security(), SuiteAES128GCM, c.schedule.public()
	}
	if p.Security == SecurityPSK {
		p.KeyID = c.cfg.Keys[0].ID
	}
	return p
}

func (c *Conn) setupTimer(now tsn.Instant) {
	if now >= c.setupEnd {
		c.down(CodeSetupTimeout, fmt.Sprintf("no answer to %d INIT", c.initsSent), false)
		return
	}
	if now < c.initAt {
		return
	}
	if c.init == nil {
		c.makeInit()
	}
	c.initsSent++
	c.transmit(bytes.Clone(c.init))
	c.initAt = now.Add(c.initWait)
	c.initWait = min(2*c.initWait, 1_000_000_000)
}

func (c *Conn) makeInit() {
	p := Packet{Type: TypeInit, Version: Version, Params: c.params(), Token: c.token}
	if c.schedule == nil {
		c.init = AppendPacket(nil, p)
		return
	}
	p.Proof = make([]byte, tagLen)
	b := AppendPacket(nil, p)
	c.init = append(b[:len(b)-tagLen], c.schedule.binder(b[:len(b)-tagLen])...)
}

func (c *Conn) establish(now tsn.Instant, p Params) {
	c.state, c.remoteID = open, p.SourceID
	c.capabilities = p.Capabilities & (CapMigrate | CapLanes)
	c.send.limit, c.send.window = uint64(p.Window), uint64(p.Window)
	c.most = min(c.cfg.MaxDatagram, int(p.MaxDatagram))
	for i := range c.lanes {
		c.lanes[i].rtt.peerAckDelay = min(int64(p.AckDelay)*1000, c.cfg.KeepAlive/8)
	}
	c.startLanes(now)
	c.live.heard(now)
	c.live.lookedAt = now
	if c.auth != nil {
		c.startAuth(now)
		return
	}
	c.out = append(c.out, Established{})
}

func (c *Conn) datagram(now tsn.Instant, d Datagram) {
	c.stats.OctetsReceived += uint64(len(d.Data))
	for rest := d.Data; len(rest) > 0 && c.state != closed; {
		n := len(rest)
		if d.Segment > 0 {
			n = min(n, d.Segment)
		}
		c.packets(now, d.From, rest[:n])
		rest = rest[n:]
	}
}

// packets takes those of one datagram.
func (c *Conn) packets(now tsn.Instant, from netip.AddrPort, b []byte) {
	for len(b) > 0 && c.state != closed {
		p, rest, err := ParsePacket(b)
		if err != nil && (p.Type != TypeRefuse || p.DestID != c.localID) {
			c.stats.Malformed++
			return
		}
		c.stats.PacketsReceived++
		c.packet(now, from, p, b[:len(b)-len(rest)])
		b = rest
	}
}

func (c *Conn) packet(now tsn.Instant, from netip.AddrPort, p Packet, raw []byte) {
	setup := c.client && c.state == connecting && p.DestID == c.localID
	switch p.Type {
	case TypeInit: // the ACCEPT was lost
		if !c.client && p.Params.SourceID == c.remoteID {
			c.transmit(bytes.Clone(c.acceptPacket))
		}
	case TypeRetry:
		if setup && len(p.Token) > 0 && c.token == nil {
			c.token, c.init = append([]byte(nil), p.Token...), nil
			c.initAt, c.initWait = now, 100_000_000
		}
	case TypeAccept:
		if setup && c.accepted(p, raw) {
			c.establish(now, p.Params)
			c.lane(Control).ping = true
		}
	case TypeRefuse:
		if setup {
			if p.Version != Version {
				p.Code, p.Text = CodeVersion, fmt.Sprintf("peer speaks version %d", p.Version)
			}
			c.down(p.Code, p.Text, true)
		}
	case TypeReset:
		if c.state == open && p.ResetID == c.remoteID && c.lanes[p.PacketNumber>>laneShift].unacked(p.PacketNumber&laneMask) {
			c.reset(now)
		}
	case TypeData:
		if c.state == open && p.DestID == c.localID {
			c.data(now, from, p, len(raw))
		}
	}
}

// accepted checks an ACCEPT and takes the keys that follow from it. What the
// peer cannot have sent is dropped.
func (c *Conn) accepted(p Packet, raw []byte) bool {
	if p.Params.Security != c.security() {
		c.stats.Forged++
		return false
	}
	if c.schedule == nil {
		return true
	}
	k, err := c.schedule.session(p.Params.Public, c.init, raw[:len(raw)-tagLen])
	if err != nil || p.Params.Suites != SuiteAES128GCM || !hmac.Equal(k.tag, p.Proof) {
		c.stats.Forged++
		return false
	}
	c.use(k)
	return true
}

// reset is told that the peer does not know the connection. With security that
// is a hint from anybody: the peer is asked.
func (c *Conn) reset(now tsn.Instant) {
	if c.schedule == nil {
		c.down(CodeReset, "peer does not know this connection", true)
		return
	}
	c.live.suspect(now)
}

func (c *Conn) data(now tsn.Instant, from netip.AddrPort, p Packet, size int) {
	if !c.recv.fresh(p.PacketNumber) {
		c.stats.Duplicates++ // not answered: what is sent again has a new number
		return
	}
	if c.open != nil {
		var ok bool
		if p.Frames, ok = c.open[p.PacketNumber>>laneShift].open(p); !ok {
			c.stats.Forged++
			return
		}
	}
	var frames [16]Frame // all are parsed before one acts: nothing is half applied
	list := frames[:0]
	err := ParseFrames(p.Frames, func(f Frame) bool { list = append(list, f); return true })
	if err != nil {
		c.stats.Malformed++
		return
	}
	c.live.heard(now)
	c.live.patience = 0
	newest := c.recv.packetNumber(p.PacketNumber)
	if newest && from.IsValid() && from != c.remote && !c.client && c.capabilities&CapMigrate != 0 {
		c.challenge(now, from, size)
	}
	eliciting := false
	c.path.asked = nil
	for _, f := range list {
		eliciting = c.frame(now, f) || eliciting
		if c.state == closed {
			return
		}
	}
	if c.path.asked != nil { // one answer, however many ask: no more out than in
		c.transmitData(now, c.lane(Control), Control, (&Response{c.path.asked.Data}).append(nil), nil, false)
	}
	if eliciting {
		c.recv.wantAck(now, p.PacketNumber, c.cfg.AckDelay)
	}
}

// frame applies one frame and reports whether it asks for an ACK.
func (c *Conn) frame(now tsn.Instant, f Frame) bool {
	switch f := f.(type) {
	case *Ping:
		return true
	case *Ack:
		c.ack(now, f)
	case *CloseFrame:
		c.down(f.Code, f.Text, true)
	case *Challenge:
		c.path.asked = f
	case *Response:
		c.response(now, f)
	case *Segment:
		c.segment(now, f)
		return true
	}
	return false
}

// close tells the peer and ends the connection.
func (c *Conn) close(now tsn.Instant, code Code, text string) {
	if c.state == open {
		c.transmitData(now, c.lane(Control), Control, (&CloseFrame{Code: code, Text: text}).append(nil), nil, false)
	}
	c.down(code, text, false)
}

func (c *Conn) down(code Code, text string, remote bool) {
	c.state = closed
	c.out = append(c.out, Closed{Code: code, Text: text, Remote: remote})
}

// transmit sends what is no DATA packet.
func (c *Conn) transmit(b []byte) { c.transmitTo(c.remote, 0, Control, b) }

// transmitTo sends by a lane what has octets of class k, or higher, in it.
func (c *Conn) transmitTo(to netip.AddrPort, lane int, k Class, b []byte) {
	c.stats.PacketsSent++
	c.stats.OctetsSent += uint64(len(b))
	c.stats.ClassSent[k]++
	c.out = append(c.out, Transmit{To: to, Lane: lane, Data: b})
}
