package link

import (
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"tsnswitch"
)

// Whatever the order of stamps and time-outs, every tag is answered once and
// by the key that the kernel gave it.
func TestPendingStamps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p pendingStamps
		p.next = rapid.SampledFrom([]uint32{0, 0xfffffffe}).Draw(t, "first key") // wraps
		now, answered := tsn.Instant(0), map[uint64]bool{}
		keys, tag := map[uint32]uint64{}, uint64(0)
		answer := func(tag uint64) {
			if answered[tag] {
				t.Fatalf("tag %d answered twice", tag)
			}
			answered[tag] = true
		}
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				if p.full() {
					t.Skip()
				}
				tag++
				keys[p.next] = tag
				p.add(tag, now.Add(10))
			},
			"stamp": func(t *rapid.T) {
				key := p.next - rapid.Uint32Range(0, 5).Draw(t, "back")
				if got, ok := p.take(key); ok {
					if got != keys[key] {
						t.Fatalf("key %d gave tag %d, want %d", key, got, keys[key])
					}
					answer(got)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(rapid.Int64Range(0, 15).Draw(t, "ns"))
				for _, lost := range p.expire(now, nil) {
					answer(lost)
				}
				if p.deadline() <= now {
					t.Fatalf("deadline %d is past at %d", p.deadline(), now)
				}
			},
		})
		for _, lost := range p.expire(now.Add(10), nil) {
			answer(lost)
		}
		if len(answered) != int(tag) {
			t.Fatalf("%d of %d tags answered", len(answered), tag)
		}
	})
}

// The request for a stamp survives the parser that reads the kernel's answer.
func TestSendControlIsOneMessage(t *testing.T) {
	msgs, err := unix.ParseSocketControlMessage(flagsFor(false).sendControl())
	must(t, err)
	if len(msgs) != 1 || msgs[0].Header.Type != unix.SO_TIMESTAMPING_NEW || len(msgs[0].Data) < 4 || msgs[0].Data[0] != unix.SOF_TIMESTAMPING_TX_SOFTWARE {
		t.Errorf("got %+v", msgs)
	}
}

// Control messages come from the kernel, but a short one must not panic.
func FuzzParseControl(f *testing.F) {
	f.Add(flagsFor(false).sendControl())
	f.Add(make([]byte, 64))
	f.Fuzz(func(t *testing.T, oob []byte) {
		if len(oob) > controlLen {
			return
		}
		if c, err := parseControl(oob); err == nil && c.stamped && c.stamp.NS == 0 {
			t.Errorf("a stamp of 0: %+v", c)
		}
	})
}
