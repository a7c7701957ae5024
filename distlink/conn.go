package distlink

import (
	"fmt"

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
)

func (c Code) String() string {
	names := [...]string{
		"closed", "version not supported", "no resources", "protocol violation", "peer not heard",
		"no progress", "message too long", "reset by peer", "set-up timed out",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// Config are the knobs of a connection. The zero value means the defaults.
type Config struct {
	MaxDatagram  int      // octets of a datagram; 1400
	Window       uint64   // credit given to the peer, octets; 256 KiB
	MaxMessage   int      // longest message taken, octets; 64 MiB
	MaxStreams   int      // streams the peer may use; 4096
	KeepAlive    int64    // ns until a silent peer is dead; 1.5 s
	AckDelay     int64    // ns an ACK may be held; 1 ms
	ProbeFloor   int64    // ns, least 4*rttvar of the probe time-out; 2 ms
	Stall        int64    // ns without progress until the link goes down; 10 s
	SetupTimeout int64    // ns for the set-up; 5 s
	Rate         tsn.Rate // on the wire; 0 is unlimited
}

func (c Config) withDefaults() Config {
	def := func(p *int64, v int64) {
		if *p <= 0 {
			*p = v
		}
	}
	if c.MaxDatagram < minDatagram || c.MaxDatagram > maxDatagram {
		c.MaxDatagram = 1400
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
	def(&c.KeepAlive, 1_500_000_000)
	def(&c.AckDelay, 1_000_000)
	def(&c.ProbeFloor, 2_000_000)
	def(&c.Stall, 10_000_000_000)
	def(&c.SetupTimeout, 5_000_000_000)
	return c
}

// Events of Conn, besides tsn.Timeout. Any event starts a client's set-up.
type (
	// Datagram arrived from the peer's address.
	Datagram struct{ Data []byte }
	// Write queues messages; they are packed together where they fit.
	Write struct{ Messages []Message }
	// Read says that the application has taken Octets of delivered messages,
	// each counted with one octet for its end: the peer gets new credit.
	Read struct{ Octets int }
	// Close tells the peer and ends the connection at once; what is queued is
	// dropped.
	Close struct{ Text string }
)

// Message is one unit of delivery. Its Data belongs to the receiver of it.
type Message struct {
	Stream  uint32
	Barrier bool // only Write: delivered after all before it, before all after it
	Data    []byte
}

// Effects of Conn.
type (
	// Transmit asks to send a datagram to the peer.
	Transmit struct{ Data []byte }
	// Established says that the set-up is complete; at most once.
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
	OctetsSent, OctetsReceived     uint64 // of datagrams
	MessagesSent, MessagesReceived uint64 // written, delivered
	Retransmitted                  uint64 // segments sent again
	Probes                         uint64
	Duplicates, Malformed          uint64 // packets dropped
	Blocked                        uint64 // times the peer's credit ran out
	SmoothedRTT, RTTVar            int64  // ns
	Queued                         int    // octets written and not yet sent once
	InFlight                       int    // octets sent and not acknowledged
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
	state             connState
	client            bool
	localID, remoteID uint64

	token     []byte      // client: from RETRY
	started   bool        // client: first INIT sent
	setupEnd  tsn.Instant // client: give up
	initAt    tsn.Instant // client: next INIT
	initWait  int64
	initsSent int

	recv  receiver
	send  sender
	rtt   rttEstimate
	live  liveness
	stats Stats
	out   []tsn.Effect
}

// NewClient makes the side that sends INIT. id must be random and not zero.
func NewClient(cfg Config, id uint64) *Conn {
	c := newConn(cfg, id)
	c.client, c.state, c.initWait = true, connecting, 100_000_000
	return c
}

// newServer makes the side that answers a validated INIT.
func newServer(cfg Config, id uint64, init Packet, now tsn.Instant) *Conn {
	c := newConn(cfg, id)
	c.establish(now, init.Params)
	c.out = c.out[:0] // told by Listener
	return c
}

func newConn(cfg Config, id uint64) *Conn {
	c := &Conn{cfg: cfg.withDefaults(), localID: id}
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
	s.SmoothedRTT, s.RTTVar = c.rtt.smoothed, c.rtt.variance
	s.Queued, s.InFlight = c.send.queued, c.send.inFlight
	return s
}

// Step implements tsn.Machine.
func (c *Conn) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	c.out = c.out[:0]
	if c.state == closed {
		return nil
	}
	if c.client && !c.started {
		c.started, c.setupEnd, c.initAt = true, now.Add(c.cfg.SetupTimeout), now
	}
	switch ev := ev.(type) {
	case Datagram:
		c.datagram(now, ev.Data)
	case Write:
		for _, m := range ev.Messages {
			c.write(now, m)
		}
	case Read:
		c.recv.read(ev.Octets)
	case Close:
		c.close(now, CodeClosed, ev.Text)
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
	return min(c.recv.ackAt, c.recoveryDeadline(), c.paceDeadline(), c.live.deadline(c), c.stallDeadline())
}

func (c *Conn) params() Params {
	return Params{
		SourceID: c.localID, MaxDatagram: uint16(c.cfg.MaxDatagram),
		Window: uint32(c.cfg.Window), AckDelay: uint32(c.cfg.AckDelay / 1000),
	}
}

func (c *Conn) setupTimer(now tsn.Instant) {
	if now >= c.setupEnd {
		c.down(CodeSetupTimeout, fmt.Sprintf("no answer to %d INIT", c.initsSent), false)
		return
	}
	if now < c.initAt {
		return
	}
	c.initsSent++
	c.transmit(AppendPacket(nil, Packet{Type: TypeInit, Version: Version, Params: c.params(), Token: c.token}))
	c.initAt = now.Add(c.initWait)
	c.initWait = min(2*c.initWait, 1_000_000_000)
}

func (c *Conn) establish(now tsn.Instant, p Params) {
	c.state, c.remoteID = open, p.SourceID
	c.cfg.MaxDatagram = min(c.cfg.MaxDatagram, int(p.MaxDatagram))
	c.send.limit = uint64(p.Window)
	c.send.tokensAt = now
	c.rtt.peerAckDelay = min(int64(p.AckDelay)*1000, c.cfg.KeepAlive/8)
	c.live.heard(now)
	c.out = append(c.out, Established{})
}

func (c *Conn) datagram(now tsn.Instant, b []byte) {
	c.stats.OctetsReceived += uint64(len(b))
	for len(b) > 0 && c.state != closed {
		p, rest, err := ParsePacket(b)
		if err != nil && (p.Type != TypeRefuse || p.DestID != c.localID) {
			c.stats.Malformed++
			return
		}
		b = rest
		c.stats.PacketsReceived++
		c.packet(now, p)
	}
}

func (c *Conn) packet(now tsn.Instant, p Packet) {
	setup := c.client && c.state == connecting && p.DestID == c.localID
	switch p.Type {
	case TypeInit: // the ACCEPT was lost
		if !c.client && p.Params.SourceID == c.remoteID {
			c.transmit(c.accept())
		}
	case TypeRetry:
		if setup && len(p.Token) > 0 && c.token == nil {
			c.token = append([]byte(nil), p.Token...)
			c.initAt, c.initWait = now, 100_000_000
		}
	case TypeAccept:
		if setup {
			c.establish(now, p.Params)
			c.send.ping = true
		}
	case TypeRefuse:
		if setup {
			if p.Version != Version {
				p.Code, p.Text = CodeVersion, fmt.Sprintf("peer speaks version %d", p.Version)
			}
			c.down(p.Code, p.Text, true)
		}
	case TypeReset:
		if c.state == open && p.ResetID == c.remoteID && c.send.unacked(p.PacketNumber) {
			c.down(CodeReset, "peer does not know this connection", true)
		}
	case TypeData:
		if c.state == open && p.DestID == c.localID {
			c.data(now, p)
		}
	}
}

// accept is the ACCEPT of a server's connection.
func (c *Conn) accept() []byte {
	return AppendPacket(nil, Packet{Type: TypeAccept, Version: Version, DestID: c.remoteID, Params: c.params()})
}

func (c *Conn) data(now tsn.Instant, p Packet) {
	var frames [16]Frame // all are parsed before one acts: nothing is half applied
	list := frames[:0]
	err := ParseFrames(p.Frames, func(f Frame) bool { list = append(list, f); return true })
	if err != nil {
		c.stats.Malformed++
		return
	}
	c.live.heard(now)
	if !c.recv.packetNumber(p.PacketNumber) {
		c.stats.Duplicates++
		c.recv.ackNow = true
		return
	}
	eliciting := false
	for _, f := range list {
		switch f := f.(type) {
		case *Ping:
			eliciting = true
		case *Ack:
			c.ack(now, f)
		case *CloseFrame:
			c.down(f.Code, f.Text, true)
		case *Segment:
			eliciting = true
			c.segment(now, f)
		}
		if c.state == closed {
			return
		}
	}
	if eliciting {
		c.recv.wantAck(now, p.PacketNumber, c.cfg.AckDelay)
	}
}

// close tells the peer and ends the connection.
func (c *Conn) close(now tsn.Instant, code Code, text string) {
	if c.state == open {
		c.transmitData(now, (&CloseFrame{Code: code, Text: text}).append(nil), nil, false)
	}
	c.down(code, text, false)
}

func (c *Conn) down(code Code, text string, remote bool) {
	c.state = closed
	c.out = append(c.out, Closed{Code: code, Text: text, Remote: remote})
}

func (c *Conn) transmit(b []byte) {
	c.stats.PacketsSent++
	c.stats.OctetsSent += uint64(len(b))
	c.out = append(c.out, Transmit{Data: b})
}
