package srp

import (
	"fmt"
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// explained is an explanation on a few lines.
func explained(n *labNode, id tsn.StreamID) string {
	e, ok := n.bridge.Explain(id)
	if !ok {
		return "unknown"
	}
	var b strings.Builder
	if e.Problem != "" {
		fmt.Fprintln(&b, e.Problem)
	}
	for _, p := range e.Ports {
		fmt.Fprintf(&b, "port %d: %s", p.Port, p.Text)
		if p.Code != tsn.FailureNone {
			fmt.Fprintf(&b, " (code %d, here %v): %s", p.Code, p.Here, p.Remedy)
		}
		if p.Needed != 0 {
			fmt.Fprintf(&b, "; needs %d, left %d", p.Needed, p.Available)
		}
		b.WriteByte('\n')
		for _, h := range p.Holders {
			fmt.Fprintf(&b, "  %s %s rank %d %d\n", h.StreamID, h.Owner, h.Rank, h.Bandwidth)
		}
	}
	return b.String()
}

// What people are told of a stream in each of its states, with the numbers.
func TestExplain(t *testing.T) {
	big := func(frames uint16, rank uint8) func(*mrp.Talker) {
		return func(w *mrp.Talker) { w.MaxIntervalFrames, w.Rank = frames, rank }
	}
	for _, c := range []struct {
		name string
		cfg  func(*Config)
		wish func(*mrp.Talker)
		then func(l *lab, talker, b2, far *labNode)
		want string
	}{
		{"reserved", nil, nil, nil, "port 2: reserved\nport 3: offered, nobody behind the port is ready for it\n"},
		{"too big", nil, big(5, 1), nil, `port 2: the class would exceed its share of the port, with what higher classes leave of theirs (code 3, here true): 10120 kbit/s less, or as much given back by others; needs 85120, left 75000
port 3: the class would exceed its share of the port, with what higher classes leave of theirs (code 3, here true): 10120 kbit/s less, or as much given back by others; needs 85120, left 75000
`},
		{"full", nil, big(2, 1), func(l *lab, talker, b2, far *labNode) {
			l.hush(talker, talker.talker(1).StreamID)
			heavy := with(stream(1), func(s *tsn.Stream) { s.MaxIntervalFrames = 10 }) // 10 Mbit/s
			l.step(b2, PutReservations{Owner: "o", Generation: 1, Reservations: []tsn.Reservation{res(heavy, 2)}})
			for _, n := range []byte{2, 3} {
				w := talker.talker(n)
				w.Rank = 3 - n
				l.listen(far, w.StreamID, true)
				l.talk(talker, w)
				l.runFor(1)
			}
			w := talker.talker(1)
			w.MaxIntervalFrames = 2
			l.talk(talker, w)
		}, `port 2: emergency streams have the bandwidth (code 6, here true): 3096 kbit/s less, or as much given back by others; needs 34048, left 30952
  02-00-00-00-00-01:0001 o rank 1 10000
  02-00-00-00-01-01:0003 msrp rank 0 17024
  02-00-00-00-01-01:0002 msrp rank 1 17024
port 3: offered, nobody behind the port is ready for it
`},
		{"no time", func(c *Config) { c.MSRP.ASCapable = true }, nil, nil, `port 2: the port keeps no time (asCapable is false) (code 8, here true): see the domain of the port's neighbour
port 3: the port keeps no time (asCapable is false) (code 8, here true): see the domain of the port's neighbour
`},
		{"frame size", func(c *Config) { c.Ports[1].MaxFrameSize = 100 }, nil, nil, `port 2: its frames have 224 octets, the port takes 100 (code 14, here true): shorter frames
port 3: offered, nobody behind the port is ready for it
`},
		{"latency", nil, nil, func(l *lab, talker, _, _ *labNode) {
			w := talker.talker(1)
			w.AccumulatedLatency = 7
			l.talk(talker, w)
		}, `port 2: the latency is 445007 ns, and was 445000 ns when it was reserved (code 7, here true): the listener asks anew
port 3: offered, nobody behind the port is ready for it
`},
		{"no talker", nil, nil, func(l *lab, talker, b2, far *labNode) {
			l.hush(talker, talker.talker(1).StreamID)
			l.listen(far, talker.talker(1).StreamID, false)
		}, "unknown"},
		{"blocked", nil, nil, func(l *lab, _, b2, _ *labNode) { l.step(b2, SetBlocked{[]tsn.Port{1}}) }, "the talker declares at port 1, which is blocked\n"},
		{"no tree", func(c *Config) { c.MSRP.Trees = true }, nil, nil, "the talker declares at port 1, and no tree of VLAN 2 from 02:00:00:00:01:01 is known\n"},
		{"tree elsewhere", func(c *Config) { c.MSRP.Trees = true }, nil, func(l *lab, _, b2, _ *labNode) {
			l.step(b2, SetTrees{[]Tree{{TreeKey: b2.wanted[0], Ingress: []tsn.Port{2}}}})
		}, "the talker declares at port 1, where its tree in VLAN 2 does not come in\n"},
		{"pruned", func(c *Config) { c.MSRP.TalkerPruning = true }, nil, nil, "there is no port by which it could leave: none is up, in its tree, and not pruned\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, talker, b2, _, far, _ := line(t, c.cfg)
			w := talker.talker(1)
			if c.wish != nil {
				c.wish(&w)
			}
			l.listen(far, w.StreamID, true)
			l.talk(talker, w)
			l.runFor(2)
			if c.then != nil {
				c.then(l, talker, b2, far)
				l.runFor(2)
			}
			before := b2.text()
			if got := explained(b2, w.StreamID); got != c.want {
				t.Errorf("\n%s\nwant\n%s\n%s", got, c.want, b2.text())
			}
			if b2.text() != before {
				t.Errorf("it changed something:\n%s", b2.text())
			}
		})
	}
}

// A failure from farther up is not explained as one of this bridge.
func TestExplainElsewhere(t *testing.T) {
	l, talker, b2, b3, _, _ := line(t, nil)
	w := talker.talker(1)
	w.MaxIntervalFrames = 5
	l.talk(talker, w)
	l.runFor(1)
	if got, want := explained(b3, w.StreamID), "port 2: failed before it came here, by "+b2.cfg.MSRP.BridgeID.String()+" (code 3, here false): see there\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
