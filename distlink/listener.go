package distlink

import (
	"bytes"
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
	random Random
	out    []tsn.Effect
	stats  ListenerStats
}

// ListenerStats are the counters of a Listener.
type ListenerStats struct{ Retries, Accepted, BadTokens, BadKeys, Full, Refused, Resets, Malformed uint64 }

// Incoming is the event of a Listener: a datagram for no known connection.
// Full says that as many peers as are wanted have not yet proved themselves.
type Incoming struct {
	From netip.AddrPort
	Data []byte
	Full bool
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
	// under Conn.ID for the rest. With certificates it is nobody yet: it says
	// Established when the peer has proved itself.
	Accept struct {
		From netip.AddrPort
		Conn *Conn
	}
)

// NewListener makes a door.
func NewListener(cfg Config, random Random) *Listener {
	l := &Listener{cfg: cfg, random: random}
	random(l.secret[:])
	return l
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
	p, rest, err := ParsePacket(in.Data)
	switch {
	case err != nil && p.Type == TypeInit && p.Version != Version && len(in.Data) >= initLen:
		l.stats.Refused++
		l.reply(in, Packet{Type: TypeRefuse, Version: Version, DestID: p.Params.SourceID, Code: CodeVersion})
	case err != nil:
		l.stats.Malformed++
	case p.Type == TypeInit:
		l.initPacket(now, in, p, in.Data[:len(in.Data)-len(rest)])
	case p.Type == TypeData:
		l.stats.Resets++
		l.reply(in, Packet{Type: TypeReset, Version: Version, ResetID: p.DestID, PacketNumber: p.PacketNumber})
	}
	return l.out
}

func (l *Listener) initPacket(now tsn.Instant, in Incoming, p Packet, raw []byte) {
	if len(p.Token) == 0 {
		l.stats.Retries++
		l.reply(in, Packet{Type: TypeRetry, Version: Version, DestID: p.Params.SourceID, Token: l.token(now, in.From, p.Params.SourceID)})
		return
	}
	if !l.valid(now, in.From, p) {
		l.stats.BadTokens++
		return
	}
	if in.Full {
		l.stats.Full++
		l.refuse(in, p, CodeResources, "too many have not proved themselves yet")
		return
	}
	schedule, why := l.security(p, raw)
	if why == "" {
		c, err := newServer(l.cfg, l.random, in.From, p, raw, schedule, now)
		if err == nil {
			l.stats.Accepted++
			l.out = append(l.out, Reply{To: in.From, Data: bytes.Clone(c.acceptPacket)}, Accept{From: in.From, Conn: c})
			return
		}
		why = err.Error()
	}
	l.stats.BadKeys++
	l.refuse(in, p, CodeSecurity, why)
}

func (l *Listener) refuse(in Incoming, init Packet, code Code, text string) {
	l.reply(in, Packet{Type: TypeRefuse, Version: Version, DestID: init.Params.SourceID, Code: code, Text: text})
}

// security checks what the INIT says of it, or returns why it will not do.
func (l *Listener) security(p Packet, raw []byte) (s *keySchedule, why string) {
	own := l.cfg.security()
	switch {
	case own != p.Params.Security:
		return nil, [...]string{"this side has no keys", "this side wants a pre-shared key", "this side wants a certificate"}[own]
	case own == SecurityNone:
		return nil, ""
	case p.Params.Suites&SuiteAES128GCM == 0:
		return nil, "no cipher in common"
	}
	keys := l.cfg.Keys
	if own == SecurityCertificate {
		keys = []Key{{}}
	}
	for _, k := range keys {
		if k.ID != p.Params.KeyID {
			continue
		}
		s := newKeySchedule(k, l.random)
		if hmac.Equal(s.binder(raw[:len(raw)-tagLen]), p.Proof) {
			return s, ""
		}
		return nil, "the key is another"
	}
	return nil, "the key id is unknown"
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
