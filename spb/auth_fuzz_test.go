package spb

import (
	"fmt"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// Whatever comes without the key changes neither the database nor an adjacency.
func FuzzUnauthentic(f *testing.F) {
	key := sha256Key(1, "secret")
	seed := newPeer(f, nil)
	f.Add(signed(sha256Key(1, "guess"), seed.lsp(5, 1, "b6")))
	f.Add(signed(key, seed.lsp(5, 1, "b6"))[:40])
	f.Add(signed(sha256Key(2, "secret"), seed.hello(1, isispdu.Down)))
	f.Add(signed(Key{ID: 1, Algorithm: HMACMD5, Secret: Secret("secret")}, &isispdu.PSNP{}))
	f.Add([]byte{0x83, 17, 1, 0, 26, 1, 0, 0, 0, 19, 2, 0, 0, 0, 0, 2, 0, 10, 0})
	f.Fuzz(func(t *testing.T, pdu []byte) {
		p := newPeer(t, withKeys(bothChains(chainOf(key)))).upWith(key)
		if len(pdu) >= 27 && pdu[4]&0x1f == byte(isispdu.TypeL1LSP) {
			isispdu.SetChecksum(pdu)
		}
		p.step(tsn.Timeout{}) // so that only the PDU makes a difference
		neighbours, database := fmt.Sprint(p.inst.Neighbours()), p.inst.DatabaseDigest()
		p.receiveRaw(1, pdu)
		if p.inst.DatabaseDigest() != database || fmt.Sprint(p.inst.Neighbours()) != neighbours {
			t.Fatal("something unauthentic was taken")
		}
	})
}

// A soup of PDUs with the right key and keys that change: nothing panics, the
// deadline is never stuck in the past, and what is sent is signed.
func FuzzSigned(f *testing.F) {
	keys := []Key{sha256Key(1, "xyzzy"), {ID: 2, Algorithm: HMACMD5, Secret: Secret("xyzzy")}, {ID: 3, Algorithm: HMACSHA512, Secret: Secret("xyzzy")}}
	var soup []byte
	l := newLab(f, 2, line(2), nil)
	l.tap = func(_ int, s tsn.Send) bool {
		if _, _, b, err := isispdu.ParseFrame(s.Frame); err == nil && len(b) < 256 && len(soup) < 4000 {
			soup = append(append(soup, 3, byte(len(b))), b...)
		}
		return true
	}
	l.allUp()
	l.run(second)
	f.Add(append(soup, 1, 200, 2, 1, 1, 200))
	f.Add([]byte{2, 1, 2, 7, 1, 50, 2, 0xff})
	f.Fuzz(func(t *testing.T, in []byte) {
		p := newPeer(t, func(c *Config) { c.Authentication, c.Caps.MaxLSPs = bothChains(chainOf(keys[0])), 20 })
		step := func(ev tsn.Event) {
			p.step(ev)
			if d := p.inst.Deadline(); d <= p.now {
				t.Fatalf("deadline %d at %d after %#v", d, p.now, ev)
			}
			for _, pdus := range p.sent {
				for _, pdu := range pdus {
					if _, ok := isispdu.Find[*isispdu.Authentication](tlvsOf(pdu)); !ok {
						t.Fatalf("type %d was sent unsigned", pdu.Type())
					}
				}
			}
		}
		for len(in) >= 2 {
			op, arg := in[0], in[1]
			in = in[2:]
			switch op % 4 {
			case 0:
				step(tsn.LinkChanged{Port: tsn.Port(1 + arg&1), Up: arg&2 == 0, Rate: tsn.Rate(arg)})
			case 1:
				p.now = p.now.Add(int64(arg) * int64(arg) * millisecond)
				step(tsn.Timeout{})
			case 2: // what is refused changes nothing
				c := KeyChain{SendOnly: arg&0x80 != 0}
				for n, k := range keys {
					if k.Send, k.Accept = int(arg)%3 == n, arg>>n&8 != 0; arg>>n&1 != 0 {
						c.Keys = append(c.Keys, k)
					}
				}
				if len(c.Keys) == 0 {
					continue // signing ends
				}
				step(SetKeys{bothChains(c)})
				for _, n := range p.notices {
					if strings.Contains(n.Detail, "xyzzy") {
						t.Fatalf("notice %q", n.Detail)
					}
				}
			default:
				n := min(int(arg), len(in))
				pdu, err := isispdu.Parse(in[:n])
				in = in[n:]
				if _, other := pdu.(*isispdu.Other); err != nil || other {
					continue
				}
				if len(tlvsOf(pdu)) > 0 && tlvsOf(pdu)[0].Code() == isispdu.CodeAuthentication {
					continue
				}
				frame := isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(1), signed(keys[int(op>>2)%len(keys)], pdu))
				step(tsn.Received{Port: tsn.Port(op&1 + 1), Frame: frame})
			}
		}
	})
}
