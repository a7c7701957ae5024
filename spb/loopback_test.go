package spb

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/ctlframe"
)

// cfmLab is a lab whose bridges forward CFM frames as their kernels would: by
// the FDB, past the ingress check.
type cfmLab struct {
	*lab
	effects []tsn.Effect // of loopback, in order
	frames  int          // CFM frames on links
	deaf    map[int]bool // bridges whose data plane drops everything
}

func newCFMLab(t testing.TB, n int, links [][2]int) *cfmLab {
	l := &cfmLab{lab: newLab(t, n, links, nil), deaf: map[int]bool{}}
	l.tap = func(from int, s tsn.Send) bool {
		h, _, err := ctlframe.ParseLoopback(s.Frame)
		if err == nil {
			l.forward(from, s.Port, h, s.Frame, 1)
		}
		return err != nil
	}
	l.allUp()
	l.run(second)
	return l
}

// forward carries a frame from a port of a bridge to the end of its way. Each
// bridge's socket sees it when it passes.
func (l *cfmLab) forward(from int, port tsn.Port, h ctlframe.Header, frame []byte, hops int64) {
	to, in, up := l.peer(from, port)
	n := l.nodes[to]
	if !up || l.deaf[to] || n.fdbPort(h.VID, h.Src) != in {
		return
	}
	l.frames++
	l.push(l.now.Add(hops*wireDelay), to, tsn.Received{Port: in, Frame: slices.Clone(frame)})
	if h.Dst != nodeMAC(to) {
		if out := n.fdbPort(h.VID, h.Dst); out != tsn.NoPort {
			l.forward(to, out, h, frame, hops+1)
		}
	}
}

// ask steps node 0 with a request and runs until its Done effect.
func (l *cfmLab) ask(ev tsn.Event, ns int64) {
	l.effects = nil
	l.onEffect = func(node int, e tsn.Effect) {
		if node == 0 {
			switch e.(type) {
			case PingReply, PingDone, TraceHop, TraceDone:
				l.effects = append(l.effects, e)
			}
		}
	}
	l.step(0, ev)
	l.run(ns)
}

// 802.1Q 20.2: an LBM takes the way of a data frame, and its reply comes back.
func TestPing(t *testing.T) {
	l := newCFMLab(t, 4, line(4))
	for _, to := range []tsn.MAC{nodeMAC(3), stationMAC(3)} {
		l.ask(Ping{RequestID: 7, To: to, VID: vidB, Count: 3, IntervalNS: 20 * millisecond, Size: 100}, second)
		want := []tsn.Effect{
			PingReply{RequestID: 7, Sequence: 1, From: nodeMAC(3), RTTNS: 6 * wireDelay},
			PingReply{RequestID: 7, Sequence: 2, From: nodeMAC(3), RTTNS: 6 * wireDelay},
			PingReply{RequestID: 7, Sequence: 3, From: nodeMAC(3), RTTNS: 6 * wireDelay},
			PingDone{RequestID: 7, Target: nodeMAC(3), Sent: 3, Received: 3, MinNS: 6 * wireDelay, AvgNS: 6 * wireDelay, MaxNS: 6 * wireDelay},
		}
		if fmt.Sprint(l.effects) != fmt.Sprint(want) {
			t.Errorf("ping %s:\n%+v\nwant\n%+v", to, l.effects, want)
		}
	}
	if c := l.nodes[3].Counters().Control; c.LBMReceived != 6 || c.LBRSent != 6 {
		t.Errorf("the responder counts %+v", c)
	}
}

// A message without a reply is given up on after the timeout, no earlier, and
// the ping ends with the last one.
func TestPingLost(t *testing.T) {
	l := newCFMLab(t, 4, line(4))
	l.deaf[2] = true
	from := l.now
	l.ask(Ping{RequestID: 1, To: nodeMAC(3), Count: 2, IntervalNS: 100 * millisecond, TimeoutNS: 300 * millisecond}, 399*millisecond)
	if len(l.effects) != 1 || l.effects[0] != (PingReply{RequestID: 1, Sequence: 1, From: nodeMAC(3), Lost: true}) {
		t.Fatalf("after %d ms: %+v", l.now.Sub(from)/millisecond, l.effects)
	}
	l.run(millisecond)
	if len(l.effects) != 3 || l.effects[2] != (PingDone{RequestID: 1, Target: nodeMAC(3), Sent: 2}) {
		t.Errorf("at the end: %+v", l.effects)
	}
	if d := l.nodes[0].loopbackDeadline(); d != tsn.Never {
		t.Errorf("the deadline stays at %d", d)
	}
}

// A trace names the bridges in order, and where the way ends.
func TestTrace(t *testing.T) {
	l := newCFMLab(t, 4, line(4))
	l.ask(Trace{RequestID: 2, To: stationMAC(3)}, second)
	want := []tsn.Effect{
		TraceHop{RequestID: 2, Hop: 1, System: nodeMAC(1), Port: 1, Answered: true, Tries: 1, RTTNS: 2 * wireDelay},
		TraceHop{RequestID: 2, Hop: 2, System: nodeMAC(2), Port: 2, Answered: true, Tries: 1, RTTNS: 4 * wireDelay},
		TraceHop{RequestID: 2, Hop: 3, System: nodeMAC(3), Port: 2, Answered: true, Tries: 1, RTTNS: 6 * wireDelay},
		TraceDone{RequestID: 2, Target: nodeMAC(3), Hops: 3, Reached: true, After: nodeMAC(3)},
	}
	if fmt.Sprint(l.effects) != fmt.Sprint(want) {
		t.Errorf("trace:\n%+v\nwant\n%+v", l.effects, want)
	}
	l.deaf[2] = true
	l.ask(Trace{RequestID: 3, To: nodeMAC(3), Tries: 2, TimeoutNS: 50 * millisecond}, second)
	want = []tsn.Effect{
		TraceHop{RequestID: 3, Hop: 1, System: nodeMAC(1), Port: 1, Answered: true, Tries: 1, RTTNS: 2 * wireDelay},
		TraceHop{RequestID: 3, Hop: 2, System: nodeMAC(2), Port: 2, Tries: 2},
		TraceHop{RequestID: 3, Hop: 3, System: nodeMAC(3), Port: 2, Tries: 2},
		TraceDone{RequestID: 3, Target: nodeMAC(3), Hops: 3, After: nodeMAC(1)},
	}
	if fmt.Sprint(l.effects) != fmt.Sprint(want) {
		t.Errorf("trace into the hole:\n%+v\nwant\n%+v", l.effects, want)
	}
}

// Requests that cannot be meant end at once, with a reason, and leave nothing.
func TestPingRefused(t *testing.T) {
	l := newCFMLab(t, 2, line(2))
	for _, tt := range []struct {
		ev   tsn.Event
		want string
	}{
		{Ping{To: nodeMAC(9)}, "neither a bridge nor an end station"},
		{Ping{To: nodeMAC(0)}, "both ends are the same"},
		{Ping{To: stationMAC(0)}, "behind port 100 of this bridge"},
		{Ping{To: nodeMAC(1), VID: 999}, "not a base VID"},
		{Ping{To: nodeMAC(1), Count: MaxPingCount + 1}, "count"},
		{Ping{To: nodeMAC(1), Count: -1}, "count"},
		{Ping{To: nodeMAC(1), IntervalNS: 1}, "interval"},
		{Ping{To: nodeMAC(1), TimeoutNS: 11 * second}, "timeout"},
		{Ping{To: nodeMAC(1), Size: MaxPingSize + 1}, "size"},
		{Trace{To: nodeMAC(1), Tries: 11}, "tries"},
		{Trace{To: nodeMAC(9)}, "neither a bridge nor an end station"},
	} {
		l.ask(tt.ev, 0)
		if len(l.effects) != 1 || !strings.Contains(fmt.Sprint(l.effects[0]), tt.want) {
			t.Errorf("%+v: %+v, want %q", tt.ev, l.effects, tt.want)
		}
	}
	if n := len(l.nodes[0].ctl.loop.jobs); n != 0 || l.nodes[0].Counters().Control.RequestsRefused != 11 {
		t.Errorf("%d jobs run, counters %+v", n, l.nodes[0].Counters().Control)
	}
	for id := range uint64(maxPingJobs) {
		l.ask(Ping{RequestID: id, To: nodeMAC(1), Count: 100}, 0)
	}
	l.ask(Ping{RequestID: 99, To: nodeMAC(1)}, 0)
	if len(l.effects) != 1 || !strings.Contains(fmt.Sprint(l.effects[0]), "run already") {
		t.Errorf("one request too many: %+v", l.effects)
	}
	l.ask(CancelPing{3}, 0)
	if len(l.effects) != 1 || l.effects[0].(PingDone).RequestID != 3 || l.effects[0].(PingDone).Err != "cancelled" {
		t.Errorf("cancelled: %+v", l.effects)
	}
}

// 20.28.1: the reply is what came, addresses and OpCode aside; the responder
// has a limit, group and foreign addresses get nothing.
func TestLBR(t *testing.T) {
	p := newPeer(t, nil).up()
	lbm := func(h ctlframe.Header) []byte {
		l := ctlframe.Loopback{OpCode: ctlframe.OpLBM, Level: 7, Transaction: 99, TLVs: ctlframe.DataTLVs(10)}
		return l.Append(nil, h, 3)
	}
	sent := func(frame []byte) (out []tsn.Send) {
		for _, e := range p.inst.Step(p.now, tsn.Received{Port: 1, Frame: frame}) {
			if s, ok := e.(tsn.Send); ok {
				out = append(out, s)
			}
		}
		return out
	}
	out := sent(append(lbm(ctlframe.Header{Dst: nodeMAC(0), Src: nodeMAC(1)}), 0, 0, 0))
	if len(out) != 1 || out[0].Port != 1 {
		t.Fatalf("an LBM of the neighbour: %+v", out)
	}
	h, l, err := ctlframe.ParseLoopback(out[0].Frame)
	if err != nil || h != (ctlframe.Header{Dst: nodeMAC(1), Src: nodeMAC(0)}) || l.OpCode != ctlframe.OpLBR || l.Level != 7 ||
		l.Transaction != 99 || !slices.Equal(l.TLVs, append(ctlframe.DataTLVs(10), 0, 0, 0)) {
		t.Errorf("the reply is %+v %+v %v", h, l, err)
	}
	for _, h := range []ctlframe.Header{
		{Dst: nodeMAC(5), Src: nodeMAC(1)},            // in transit
		{Dst: nodeMAC(0), Src: tsn.Broadcast},         // would amplify
		{Dst: nodeMAC(0), Src: nodeMAC(0)},            // from ourselves
		{Dst: nodeMAC(0), Src: nodeMAC(9), VID: vidA}, // no way back
	} {
		if out := sent(lbm(h)); len(out) != 0 {
			t.Errorf("%+v was answered", h)
		}
	}
	answered := 1
	for range 2 * lbrBurst {
		answered += len(sent(lbm(ctlframe.Header{Dst: nodeMAC(0), Src: nodeMAC(1)})))
	}
	if c := p.inst.Counters().Control; answered != lbrBurst || c.LBMOverRate != lbrBurst+1 || c.LBMNoReturn != 1 || c.Malformed != 2 {
		t.Errorf("%d of a flood answered, %+v", answered, c)
	}
	p.now = p.now.Add(10 * lbrGap)
	if out := sent(lbm(ctlframe.Header{Dst: nodeMAC(0), Src: nodeMAC(1)})); len(out) != 1 {
		t.Error("no answer after a pause")
	}
}
