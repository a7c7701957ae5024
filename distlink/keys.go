package distlink

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Key is a pre-shared key and the name it is found by, at most 32 octets.
type Key struct {
	ID     string
	Secret []byte // at least 16 octets, random
}

// minSecret keeps passwords out: anyone who records a set-up may try them.
const minSecret = 16

// Valid says what is wrong with a key.
func (k Key) Valid() error {
	switch {
	case len(k.ID) > maxKeyIDLen:
		return errors.New("the key id is longer than 32 octets")
	case len(k.Secret) < minSecret:
		return errors.New("the key is shorter than 16 octets")
	}
	return nil
}

const epochBits = 22 // packets of a lane sealed with one key

func epochOf(number uint64) uint64 { return number & laneMask >> epochBits }

// keySchedule is the set-up's part of PROTOCOL.md, Security.
type keySchedule struct {
	private *ecdh.PrivateKey
	early   []byte
}

func newKeySchedule(k Key, random func([]byte)) *keySchedule {
	var b [publicLen]byte
	random(b[:])
	private, err := ecdh.X25519().NewPrivateKey(b[:])
	if err != nil {
		panic(err) // only for another length
	}
	early, err := hkdf.Extract(sha256.New, k.Secret, []byte("distlink2"))
	if err != nil {
		panic(err) // only for a hash that FIPS 140 forbids
	}
	return &keySchedule{private: private, early: early}
}

func expand(secret []byte, label string, n int) []byte {
	b, err := hkdf.Expand(sha256.New, secret, "distlink2 "+label, n)
	if err != nil {
		panic(err) // only for more than 255 hashes
	}
	return b
}

func (s *keySchedule) public() [publicLen]byte { return [publicLen]byte(s.private.PublicKey().Bytes()) }

// binder proves the pre-shared key in an INIT, given without it.
func (s *keySchedule) binder(init []byte) []byte {
	h := hmac.New(sha256.New, expand(s.early, "binder", sha256.Size))
	h.Write(init)
	return h.Sum(nil)[:tagLen]
}

// session is what follows from a set-up: the tag of the ACCEPT, and what each
// side seals and proves itself with.
type session struct {
	tag            []byte
	client, server direction
}

type direction struct {
	keys  *[lanes]keys
	proof []byte
}

// session is made of the peer's public key, the INIT, and the ACCEPT without its
// tag.
func (s *keySchedule) session(peer [publicLen]byte, init, accept []byte) (session, error) {
	public, err := ecdh.X25519().NewPublicKey(peer[:])
	if err != nil {
		return session{}, err
	}
	shared, err := s.private.ECDH(public)
	if err != nil {
		return session{}, err // a point of low order
	}
	secret, err := hkdf.Extract(sha256.New, shared, s.early)
	if err != nil {
		return session{}, err
	}
	h := sha256.New()
	h.Write(init)
	h.Write(accept)
	th := string(h.Sum(nil))
	side := func(role string) direction {
		return direction{newKeys(expand(secret, role+th, sha256.Size)), expand(secret, role+" proof"+th, sha256.Size)}
	}
	return session{tag: expand(secret, "accept"+th, tagLen), client: side("client"), server: side("server")}, nil
}

// keys seal or open the packets of one direction in one lane. Those of the epoch before
// stay, for packets that were overtaken.
type keys struct {
	epoch     uint64
	secret    []byte // of the epoch
	now, last epochKeys
}

type epochKeys struct {
	aead cipher.AEAD
	iv   [12]byte
}

// newKeys makes those of each lane: they begin alike, and no two packets have
// the same number.
func newKeys(secret []byte) *[lanes]keys {
	k := keys{secret: secret, now: makeEpoch(secret)}
	return &[lanes]keys{k, k, k, k}
}

func makeEpoch(secret []byte) epochKeys {
	block, err := aes.NewCipher(expand(secret, "key", 16))
	if err != nil {
		panic(err) // only for another length
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // only for another block length
	}
	return epochKeys{aead: aead, iv: [12]byte(expand(secret, "iv", 12))}
}

// seal encrypts the frames of a DATA packet, whose header it makes.
func (k *keys) seal(dest, number uint64, frames []byte) []byte {
	for epochOf(number) > k.epoch {
		k.advance()
	}
	b := appendDataHeader(make([]byte, 0, dataHeaderLen+len(frames)+tagLen), dest, number, len(frames)+tagLen)
	return k.now.aead.Seal(b, k.now.nonce(number), frames, b)
}

// open decrypts a packet's frames; ok is false for what its sender did not seal.
func (k *keys) open(p Packet) (frames []byte, ok bool) {
	e := k.now
	switch epoch := epochOf(p.PacketNumber); {
	case epoch == k.epoch+1:
		e = makeEpoch(k.next())
	case epoch+1 == k.epoch:
		e = k.last
	case epoch != k.epoch:
		return nil, false
	}
	header := appendDataHeader(nil, p.DestID, p.PacketNumber, len(p.Frames))
	frames, err := e.aead.Open(nil, e.nonce(p.PacketNumber), p.Frames, header)
	if err == nil && epochOf(p.PacketNumber) > k.epoch {
		k.advance()
	}
	return frames, err == nil
}

func (k *keys) next() []byte { return expand(k.secret, "next", sha256.Size) }

func (k *keys) advance() {
	k.epoch++
	k.secret, k.last = k.next(), k.now
	k.now = makeEpoch(k.secret)
}

func (e *epochKeys) nonce(number uint64) []byte {
	n := e.iv
	binary.BigEndian.PutUint64(n[4:], binary.BigEndian.Uint64(n[4:])^number)
	return n[:]
}
