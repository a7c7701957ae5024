package spb

import (
	"bytes"
	"crypto/hmac"
	"encoding/binary"
	"hash"
	"math"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// authRoom is what the longest TLV 10 takes. Every LSP and SNP leaves it free,
// so that another key never moves anything into another fragment.
const authRoom = 2 + 3 + 64

// authNotices spaces the notices of one port about what did not authenticate.
const authNotices = 60 * second

// authenticator holds the keys in use.
type authenticator struct {
	hello, lsp keyRing
	scratch    []byte
}

// keyRing is a KeyChain made ready. signer is nil without keys.
type keyRing struct {
	chain  KeyChain
	signer *signer
	accept []*signer
}

// signer is a key with its HMAC, which is reset for every use.
type signer struct {
	key Key
	mac hash.Hash
}

func makeKeyRing(c KeyChain) keyRing {
	r := keyRing{chain: c}
	for _, k := range c.Keys {
		s := &signer{key: k, mac: hmac.New(authAlgorithms[k.Algorithm].new, hmacKey(k))}
		if k.Send {
			r.signer = s
		}
		if k.Accept {
			r.accept = append(r.accept, s)
		}
	}
	return r
}

// hmacKey is Ko of RFC 5310 s3.3: as long as the digest. That differs from plain
// HMAC for a secret longer than the digest and not longer than a block.
func hmacKey(k Key) []byte {
	h := authAlgorithms[k.Algorithm].new()
	if k.Algorithm == HMACMD5 || len(k.Secret) <= h.Size() {
		return k.Secret // zeros up to the digest's length change nothing: HMAC appends more
	}
	h.Write(k.Secret)
	return h.Sum(nil)
}

func (a *authenticator) set(auth Authentication) {
	a.hello, a.lsp = makeKeyRing(auth.Hello), makeKeyRing(auth.LSP)
}

// ring is the one for a PDU.
func (a *authenticator) ring(p isispdu.PDU) *keyRing {
	if p.Type() == isispdu.TypeP2PIIH {
		return &a.hello
	}
	return &a.lsp
}

// setKeys carries out SetKeys.
func (i *Instance) setKeys(ev SetKeys) {
	a := Authentication{
		Hello: ev.Authentication.Hello.withSecrets(i.auth.hello.chain, i.cfg.Authentication.Hello),
		LSP:   ev.Authentication.LSP.withSecrets(i.auth.lsp.chain, i.cfg.Authentication.LSP),
	}
	if err := a.Validate(); err != nil {
		i.notice(NoticeBadKeys, tsn.NoPort, err.Error())
		return
	}
	was := i.auth.lsp.signer
	i.auth.set(a)
	if sameKey(was, i.auth.lsp.signer) {
		return
	}
	for n := range i.own.overtake {
		i.own.overtake[n] = true
	}
	i.own.dirty = true
}

func sameKey(a, b *signer) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.key.ID == b.key.ID && a.key.Algorithm == b.key.Algorithm && bytes.Equal(a.key.Secret, b.key.Secret)
}

// encode encodes an own PDU: with TLV 10 first if there is a key, and an LSP
// with its checksum, in octets and in p.
func (i *Instance) encode(p isispdu.PDU) []byte {
	s := i.auth.ring(p).signer
	var t *isispdu.Authentication
	if s != nil {
		t = s.tlv()
		addTLV(p, t)
	}
	b := mustAppend(p)
	if s != nil {
		from, to, _ := isispdu.AuthenticationData(b)
		copy(b[from:to], i.auth.digest(s, b, from, to))
		t.Data = bytes.Clone(b[from:to])
	}
	if l, ok := p.(*isispdu.LSP); ok {
		l.Checksum = isispdu.SetChecksum(b)
	}
	return b
}

func addTLV(p isispdu.PDU, t isispdu.TLV) {
	add := func(to *[]isispdu.TLV) { *to = append([]isispdu.TLV{t}, *to...) }
	switch p := p.(type) {
	case *isispdu.IIH:
		add(&p.TLVs)
	case *isispdu.LSP:
		add(&p.TLVs)
	case *isispdu.CSNP:
		add(&p.TLVs)
	case *isispdu.PSNP:
		add(&p.TLVs)
	}
}

// tlv is TLV 10 of the key, with an empty digest.
func (s *signer) tlv() *isispdu.Authentication {
	t := &isispdu.Authentication{Data: make([]byte, s.mac.Size())}
	t.Type, t.KeyID = s.wire()
	return t
}

// wire is how the key is named in TLV 10.
func (s *signer) wire() (authType uint8, keyID uint16) {
	if s.key.Algorithm == HMACMD5 {
		return isispdu.AuthHMACMD5, 0
	}
	return isispdu.AuthCrypto, s.key.ID
}

// digest is RFC 5304 s2 and RFC 5310 s3.3: over the PDU with the digest's own
// place, from to to, filled with zeros or Apad, and in an LSP with lifetime and
// checksum zero.
func (a *authenticator) digest(s *signer, pdu []byte, from, to int) []byte {
	b := append(a.scratch[:0], pdu...)
	a.scratch = b
	if clear(b[from:to]); s.key.Algorithm != HMACMD5 {
		for at := from; at+4 <= to; at += 4 {
			binary.BigEndian.PutUint32(b[at:], 0x878fe1f3)
		}
	}
	if isispdu.Type(b[4]&0x1f) == isispdu.TypeL1LSP {
		isispdu.ClearForDigest(b)
	}
	s.mac.Reset()
	s.mac.Write(b)
	return s.mac.Sum(nil)
}

// authentic verifies a received PDU before anything else looks into it; raw is
// its octets. A PDU that fails is counted and dropped, never half taken.
func (i *Instance) authentic(p *port, pdu isispdu.PDU, raw []byte) bool {
	r := i.auth.ring(pdu)
	if r.signer == nil {
		return true
	}
	reason, what := i.check(r, pdu, raw)
	switch {
	case reason == nil:
		return true
	case r.chain.SendOnly:
		i.counters.AuthTolerated++
		return true
	}
	*reason++
	if p.authNotice <= i.now {
		p.authNotice = i.now.Add(authNotices)
		i.notice(NoticeAuthentication, p.cfg.Port, what+": do both ends have the same keys?")
	}
	if l, ok := pdu.(*isispdu.LSP); ok {
		i.outrunOwn(p, l)
	}
	return false
}

// check returns the counter of what is wrong with a PDU, and words for it; nil
// if it is authentic.
func (i *Instance) check(r *keyRing, pdu isispdu.PDU, raw []byte) (reason *uint64, what string) {
	c := &i.counters.Drops
	tlvs := tlvsOf(pdu)
	if !slices.ContainsFunc(tlvs, func(t isispdu.TLV) bool { return t.Code() == isispdu.CodeAuthentication }) {
		return &c.AuthMissing, "a PDU without authentication"
	}
	t, ok := isispdu.Find[*isispdu.Authentication](tlvs)
	from, to, one := isispdu.AuthenticationData(raw)
	if !ok || !one || (t.Type != isispdu.AuthHMACMD5 && t.Type != isispdu.AuthCrypto) {
		return &c.AuthUnexpectedType, "a PDU with another type of authentication, or with several"
	}
	known := false
	for _, s := range r.accept {
		if authType, id := s.wire(); authType != t.Type || id != t.KeyID {
			continue
		}
		known = true
		if len(t.Data) == s.mac.Size() && hmac.Equal(t.Data, i.auth.digest(s, raw, from, to)) {
			return i.checkPurge(pdu, tlvs)
		}
	}
	switch {
	case known:
		return &c.AuthBadDigest, "a PDU with a wrong digest"
	case t.Type == isispdu.AuthHMACMD5:
		return &c.AuthUnexpectedType, "a PDU with HMAC-MD5, which no acceptable key is for"
	}
	return &c.AuthUnknownKey, "a PDU signed with a key that is not acceptable here"
}

// checkPurge is RFC 6233 s3: the lifetime is not signed, so an LSP must not
// become a purge by setting it to zero.
func (i *Instance) checkPurge(pdu isispdu.PDU, tlvs []isispdu.TLV) (reason *uint64, what string) {
	if l, ok := pdu.(*isispdu.LSP); ok && l.RemainingLifetime == 0 && !isispdu.PurgeAllowed(tlvs) {
		return &i.counters.Drops.BadPurge, "a purge of " + l.ID.String() + " with the contents of an LSP"
	}
	return nil, ""
}

// outrunOwn is RFC 5304 s2.1: an LSP of ours that we cannot verify is most likely
// from before a change of keys and a restart. Neighbours that take it for newer
// would ignore what we say, so the own number goes above it. Anybody could
// have made it up: it is counted, and must not come near the end of the numbers.
func (i *Instance) outrunOwn(p *port, l *isispdu.LSP) {
	const reach = 1 << 20
	n := l.ID.Fragment()
	own := i.own.sequence[n]
	if l.ID != isispdu.MakeLSPID(i.cfg.SystemID, n) || l.RemainingLifetime == 0 || !i.own.started ||
		l.SequenceNumber <= own || l.SequenceNumber-own > reach || l.SequenceNumber == math.MaxUint32 {
		return
	}
	i.counters.OwnLSPUnverified++
	i.overtake(p, l.ID, l.SequenceNumber)
}

// purgeTLVs is what a purge says: who made it (RFC 6232 s3, s4). TLV 10 is added
// by encode.
func (i *Instance) purgeTLVs() []isispdu.TLV {
	out := []isispdu.TLV{&isispdu.PurgeOriginator{Systems: []tsn.MAC{i.cfg.SystemID}}}
	if i.cfg.HostName != "" {
		out = append(out, &isispdu.Hostname{Name: i.cfg.HostName})
	}
	return out
}

// livePurgeOriginator: TLV 13 has no place in an LSP that is not a purge (RFC
// 6233 s3). It is a purge whose lifetime was changed on the way.
func livePurgeOriginator(l *isispdu.LSP) bool {
	_, poi := isispdu.Find[*isispdu.PurgeOriginator](l.TLVs)
	return poi && l.RemainingLifetime != 0
}

func tlvsOf(p isispdu.PDU) []isispdu.TLV {
	switch p := p.(type) {
	case *isispdu.IIH:
		return p.TLVs
	case *isispdu.LSP:
		return p.TLVs
	case *isispdu.CSNP:
		return p.TLVs
	case *isispdu.PSNP:
		return p.TLVs
	}
	return nil
}

// sameContent compares the flags and TLVs of two encoded LSPs. TLV 10 is left
// out: it differs with every sequence number.
func sameContent(a, b []byte) bool {
	const flags = 26
	if a[flags] != b[flags] {
		return false
	}
	for a, b = a[flags+1:], b[flags+1:]; ; {
		a, b = skipAuthentication(a), skipAuthentication(b)
		if len(a) < 2 || len(b) < 2 {
			return len(a) == len(b)
		}
		n := 2 + int(a[1])
		if len(a) < n || len(b) < n || !bytes.Equal(a[:n], b[:n]) {
			return false
		}
		a, b = a[n:], b[n:]
	}
}

func skipAuthentication(b []byte) []byte {
	for len(b) >= 2 && b[0] == isispdu.CodeAuthentication && len(b) >= 2+int(b[1]) {
		b = b[2+int(b[1]):]
	}
	return b
}
