package distlink

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	tsn "tsnswitch"
)

// Limits of an AUTH (PROTOCOL.md, Certificates).
const (
	MaxChain     = 4        // certificates
	maxAuth      = 16 << 10 // octets of the message
	maxSignature = 512
	maxPieces    = 64 // of it that are kept out of order
)

// Identity is what one connection proves with certificates. The functions have
// all that is not pure: keys, the time, whom to trust.
type Identity struct {
	Chain [][]byte // DER, this side's own first; 1 to MaxChain
	// Sign signs content with the key of Chain[0].
	Sign func(content []byte) ([]byte, error)
	// Verify says whether chain is somebody to talk to and signature is that of
	// chain[0] over content. The peer is told the text of the error.
	Verify func(chain [][]byte, content, signature []byte) error
}

// Valid says what is wrong with an identity.
func (i *Identity) Valid() error {
	octets := 1 + maxSignature
	for _, c := range i.Chain {
		octets += 2 + len(c)
	}
	switch {
	case len(i.Chain) == 0:
		return errors.New("no certificate")
	case len(i.Chain) > MaxChain:
		return fmt.Errorf("%d certificates, at most %d", len(i.Chain), MaxChain)
	case octets > maxAuth:
		return fmt.Errorf("certificates of %d octets, at most %d", octets-1-maxSignature, maxAuth-1-maxSignature)
	}
	return nil
}

// authentication is what is between set-up and the first message where there are
// certificates: both sides send one AUTH and nothing else.
type authentication struct {
	Identity
	own, peers []byte      // secrets that the signatures cover
	end        tsn.Instant // give up
	peer       [][]byte    // its chain, once it is verified
	done       bool        // and this side's AUTH has arrived
	early      []Message   // written before that
}

// unproven reports that the peer may send nothing but its AUTH.
func (a *authentication) unproven() bool { return a != nil && a.peer == nil }

// pending reports that this side may send nothing but its AUTH.
func (a *authentication) pending() bool { return a != nil && !a.done }

// startAuth sends this side's AUTH; the connection has just been set up.
func (c *Conn) startAuth(now tsn.Instant) {
	a := c.auth
	if a.end = c.setupEnd; !c.client {
		a.end = now.Add(c.cfg.SetupTimeout)
	}
	b := appendChain(nil, a.Chain)
	signature, err := a.Sign(signed(c.client, a.own, b))
	if err != nil {
		c.close(now, CodeSecurity, "cannot sign: "+err.Error())
		return
	}
	c.write(now, Message{Class: Control, Data: append(b, signature...)})
}

// authenticate takes the peer's first message.
func (c *Conn) authenticate(now tsn.Instant, b []byte) {
	a := c.auth
	chain, signature, err := parseAuth(b)
	if err == nil {
		err = a.Verify(chain, signed(!c.client, a.peers, b[:len(b)-len(signature)]), signature)
	}
	if err != nil {
		c.close(now, CodeSecurity, err.Error())
		return
	}
	a.peer = chain
}

// authTimer looks whether both AUTHs have arrived, or should have.
func (c *Conn) authTimer(now tsn.Instant) {
	switch {
	case c.auth.peer != nil && c.send.idle():
		c.proved(now)
	case now >= c.auth.end:
		c.close(now, CodeSetupTimeout, "no proof of who this is")
	}
}

// proved begins what is done with a peer that both sides have proved to be who
// they are; what was written meanwhile goes.
func (c *Conn) proved(now tsn.Instant) {
	c.auth.done = true
	c.out = append(c.out, Established{})
	for _, m := range c.auth.early {
		c.write(now, m)
	}
	c.auth.early = nil
}

// Peer is the chain of certificates of a peer that has proved itself, its own
// first; nil where there are none. They are not to be changed.
func (c *Conn) Peer() [][]byte {
	if c.auth == nil {
		return nil
	}
	return c.auth.peer
}

// signed is what a signature covers: who signs, that it holds the keys of this
// connection, and the certificates.
func signed(client bool, secret, chain []byte) []byte {
	role := "server"
	if client {
		role = "client"
	}
	sum := sha256.Sum256(chain)
	b := append([]byte("distlink2 "+role+" auth\x00"), secret...)
	return append(b, sum[:]...)
}

func appendChain(b []byte, chain [][]byte) []byte {
	b = append(b, byte(len(chain)))
	for _, c := range chain {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(c))), c...)
	}
	return b
}

// parseAuth parses an AUTH; the results do not alias it.
func parseAuth(b []byte) (chain [][]byte, signature []byte, err error) {
	if len(b) < 1 || b[0] < 1 || b[0] > MaxChain {
		return nil, nil, malformed("AUTH without certificates, or with more than %d", MaxChain)
	}
	n := int(b[0])
	b = bytes.Clone(b[1:])
	for range n {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return nil, nil, malformed("AUTH cut in a certificate")
		}
		end := 2 + int(binary.BigEndian.Uint16(b))
		chain, b = append(chain, b[2:end:end]), b[end:]
	}
	if len(b) < 1 || len(b) > maxSignature {
		return nil, nil, malformed("AUTH with a signature of %d octets", len(b))
	}
	return chain, b, nil
}

// tooEarly reports that a peer without proof sends what is no AUTH, or one in
// ways that nobody sends it, and ends the connection.
func (c *Conn) tooEarly(now tsn.Instant, s *Segment) bool {
	if !c.auth.unproven() {
		return false
	}
	held := 0
	if st := c.recv.streams[0]; st != nil {
		held = len(st.pending)
	}
	if s.Stream == 0 && s.Offset+s.span() <= maxAuth+1 && held < maxPieces {
		return false
	}
	c.close(now, CodeSecurity, "no proof of who this is, but data")
	return true
}
