package distlink

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"

	tsn "tsnswitch"
)

const (
	tokenLifetime = 10_000_000_000 // ns
	tokenLen      = 8 + 16         // time, truncated HMAC
)

// Listener is the stateless door: it answers packets that belong to no
// connection. It keeps nothing about an address that has not shown, by
// returning a token, that it receives what is sent to it.
type Listener struct {
	cfg    Config
	secret [32]byte
	nextID func() uint64
	out    []tsn.Effect
	stats  ListenerStats
}

// ListenerStats are the counters of a Listener.
type ListenerStats struct{ Retries, Accepted, BadTokens, Refused, Resets, Malformed uint64 }

// Incoming is the event of a Listener: a datagram for no known connection.
type Incoming struct {
	From netip.AddrPort
	Data []byte
}

// Effects of a Listener.
type (
	// Reply asks to send a datagram. It is never longer than what it answers.
	Reply struct {
		To   netip.AddrPort
		Data []byte
	}
	// Accept hands over a new connection; its ACCEPT is the Reply before it.
	// The driver keeps it under {From, Conn.RemoteID} for repeated INITs and
	// under Conn.ID for the rest.
	Accept struct {
		From netip.AddrPort
		Conn *Conn
	}
)

// NewListener makes a door. secret must be random; nextID returns random
// non-zero connection ids that are not in use.
func NewListener(cfg Config, secret [32]byte, nextID func() uint64) *Listener {
	return &Listener{cfg: cfg, secret: secret, nextID: nextID}
}

// Stats returns the counters now.
func (l *Listener) Stats() ListenerStats { return l.stats }

// Deadline implements tsn.Machine: a Listener waits for nothing.
func (l *Listener) Deadline() tsn.Instant { return tsn.Never }

// Step implements tsn.Machine. Incoming is its only event.
func (l *Listener) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	l.out = l.out[:0]
	in, ok := ev.(Incoming)
	if !ok {
		return nil
	}
	p, _, err := ParsePacket(in.Data)
	switch {
	case err != nil && p.Type == TypeInit && p.Version != Version && len(in.Data) >= initLen:
		l.stats.Refused++
		l.reply(in, Packet{Type: TypeRefuse, Version: Version, DestID: p.Params.SourceID, Code: CodeVersion})
	case err != nil:
		l.stats.Malformed++
	case p.Type == TypeInit:
		l.initPacket(now, in, p)
	case p.Type == TypeData:
		l.stats.Resets++
		l.reply(in, Packet{Type: TypeReset, Version: Version, ResetID: p.DestID, PacketNumber: p.PacketNumber})
	}
	return l.out
}

func (l *Listener) initPacket(now tsn.Instant, in Incoming, p Packet) {
	if len(p.Token) == 0 {
		l.stats.Retries++
		l.reply(in, Packet{Type: TypeRetry, Version: Version, DestID: p.Params.SourceID, Token: l.token(now, in.From, p.Params.SourceID)})
		return
	}
	if !l.valid(now, in.From, p) {
		l.stats.BadTokens++
		return
	}
	l.stats.Accepted++
	c := newServer(l.cfg, l.nextID(), p, now)
	l.out = append(l.out, Reply{To: in.From, Data: c.accept()}, Accept{From: in.From, Conn: c})
}

// reply answers only if the answer is not longer than the question.
func (l *Listener) reply(in Incoming, p Packet) {
	if b := AppendPacket(nil, p); len(b) <= len(in.Data) {
		l.out = append(l.out, Reply{To: in.From, Data: b})
	}
}

// token binds address, port, source id and time.
func (l *Listener) token(at tsn.Instant, from netip.AddrPort, id uint64) []byte {
	t := binary.BigEndian.AppendUint64(make([]byte, 0, tokenLen), uint64(at))
	h := hmac.New(sha256.New, l.secret[:])
	addr := from.Addr().As16()
	b := append(append([]byte(nil), t...), addr[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	h.Write(binary.BigEndian.AppendUint64(b, id))
	return append(t, h.Sum(nil)[:tokenLen-8]...)
}

func (l *Listener) valid(now tsn.Instant, from netip.AddrPort, p Packet) bool {
	if len(p.Token) != tokenLen {
		return false
	}
	at := tsn.Instant(binary.BigEndian.Uint64(p.Token))
	return hmac.Equal(p.Token, l.token(at, from, p.Params.SourceID)) && at <= now && now.Sub(at) <= tokenLifetime
}
