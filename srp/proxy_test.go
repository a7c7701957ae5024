package srp

import (
	"slices"
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// proxy puts a set at a bridge of which the test knows that it is taken.
func (l *lab) proxy(n *labNode, ev PutProxies) {
	l.t.Helper()
	ev.Owner = "cnc"
	if l.step(n, ev); n.result != nil {
		l.t.Fatal(n.result)
	}
}

// A silent talker to a listener that speaks MSRP, behind another bridge, and back.
func TestProxiedTalker(t *testing.T) {
	l, _, b2, b3, far, near := line(t, nil)
	w := near.talker(1)
	l.listen(far, w.StreamID, true)
	l.proxy(b2, PutProxies{Generation: 1, Talkers: []ProxyTalker{{Port: 3, Talker: w}}})
	l.runFor(2)
	want(t, b2, `b2 02-00-00-00-01-05:0001 from port 3, says ready
   port 1: listener ignore, advertised, 445000 ns
   port 2: listener ready, advertised, 445000 ns, reserved
`)
	if v := b2.bridge.MSRPStreams()[0]; !v.TalkerProxied {
		t.Errorf("%+v", v)
	}
	l.setLink(l.lans[3], false, 0)
	l.runFor(2)
	if len(b3.bridge.Streams()) != 0 || len(b2.bridge.Streams()) != 0 {
		t.Errorf("the talker's link is down:\n%s%s", b2.text(), b3.text())
	}
	l.setLink(l.lans[3], true, 100*tsn.Mbps)
	l.runFor(2)
	if len(b3.bridge.Streams()) != 1 {
		t.Errorf("its link is up again:\n%s", b3.text())
	}
	l.proxy(b2, PutProxies{Generation: 2})
	l.runFor(2)
	if len(b2.bridge.MSRPStreams()) != 0 || len(b3.bridge.Streams()) != 0 {
		t.Errorf("withdrawn:\n%s%s", b2.text(), b3.text())
	}
}

// A station's talker to a silent listener behind another bridge: the talker hears
// ready, and no more when the proxy is withdrawn.
func TestProxiedListener(t *testing.T) {
	l, talker, b2, b3, _, _ := line(t, nil)
	w := talker.talker(1)
	l.proxy(b3, PutProxies{Generation: 1, Listeners: []ProxyListener{{Port: 2, StreamID: w.StreamID}}})
	l.runFor(1)
	if len(b2.bridge.MSRPStreams()) != 0 {
		t.Errorf("there is no talker yet:\n%s", b2.text())
	}
	l.talk(talker, w)
	l.runFor(2)
	want(t, b3, `b3 02-00-00-00-01-01:0001 from port 1, says ready
   port 2: listener ignore, proxied, advertised, 890000 ns, reserved
`)
	if got := talker.station.answer[w.StreamID]; got != mrp.ListenerReady || len(b2.bridge.Streams()) != 1 {
		t.Errorf("the talker hears %s\n%s", mrp.ListenerText(got), b2.text())
	}
	l.proxy(b3, PutProxies{Generation: 2})
	l.runFor(2)
	if got, ok := talker.station.answer[w.StreamID]; ok || len(b2.bridge.Streams()) != 0 {
		t.Errorf("the talker hears %s\n%s", mrp.ListenerText(got), b2.text())
	}
}

// A proxied listener needs no registration where talkers are pruned.
func TestProxiedListenerIsNotPruned(t *testing.T) {
	l, talker, b2, _, _, _ := line(t, func(c *Config) { c.MSRP.TalkerPruning = true })
	w := talker.talker(1)
	l.talk(talker, w)
	l.proxy(b2, PutProxies{Generation: 1, Listeners: []ProxyListener{{Port: 3, StreamID: w.StreamID}}})
	l.runFor(2)
	want(t, b2, `b2 02-00-00-00-01-01:0001 from port 1, says ready
   port 3: listener ignore, proxied, advertised, 445000 ns, reserved
`)
}

// A station that speaks for itself where it is also proxied: it may leave, the
// proxy stays; what it wants differently fails like any other change of mind.
func TestProxyBesideStation(t *testing.T) {
	l, talker, b2, _, far, _ := line(t, nil)
	w := talker.talker(1)
	l.listen(far, w.StreamID, true)
	l.talk(talker, w)
	l.proxy(b2, PutProxies{Generation: 1, Talkers: []ProxyTalker{{Port: 1, Talker: w}}})
	l.runFor(2)
	l.hush(talker, w.StreamID)
	l.runFor(20)
	if c := b2.bridge.MSRPCounters(); len(b2.bridge.Streams()) != 1 || c.Released != 0 {
		t.Errorf("%+v\n%s", c, b2.text())
	}
	other := w
	other.MaxFrameSize++
	l.talk(talker, other)
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureFirstValueChanged {
		t.Errorf("%+v\n%s", o, b2.text())
	}
}

// Code 21: the talker's requirement holds for every listener, a listener's for its own port.
func TestMaxLatency(t *testing.T) {
	l, _, b2, b3, far, near := line(t, nil)
	w := near.talker(1)
	put := func(n *labNode, generation uint64, talker, listener uint32) {
		t.Helper()
		ev := PutProxies{Generation: generation, Talkers: []ProxyTalker{{Port: 3, Talker: w, MaxLatency: talker}}}
		if n == b3 {
			ev = PutProxies{Generation: generation, Listeners: []ProxyListener{{Port: 2, StreamID: w.StreamID, MaxLatency: listener}}}
		}
		l.proxy(n, ev)
		l.runFor(2)
	}
	put(b2, 1, 444_999, 0)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureMaxLatency || o.BridgeID != b2.cfg.MSRP.BridgeID {
		t.Errorf("%+v", o)
	}
	put(b2, 2, 445_000, 0)
	put(b3, 1, 0, 889_999)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureMaxLatency || o.BridgeID != b3.cfg.MSRP.BridgeID {
		t.Errorf("%+v", o)
	}
	put(b3, 2, 0, 890_000)
	if o := far.station.offered(w.StreamID); o == nil || o.Failed || len(b2.bridge.Streams()) != 1 {
		t.Errorf("%+v\n%s", o, b2.text())
	}
}

// With trees, the key of a proxied talker is asked for.
func TestProxyAsksForTree(t *testing.T) {
	l, _, b2, _, _, near := line(t, func(c *Config) { c.MSRP.Trees = true })
	l.proxy(b2, PutProxies{Generation: 1, Talkers: []ProxyTalker{{Port: 3, Talker: near.talker(1)}}})
	if key := (TreeKey{2, near.mac()}); !slices.Equal(b2.wanted, []TreeKey{key}) {
		t.Errorf("%v", b2.wanted)
	}
	l.step(b2, SetTrees{[]Tree{{TreeKey: TreeKey{2, near.mac()}, Ingress: []tsn.Port{3}, Egress: []tsn.Port{1, 2}}}})
	if s := b2.bridge.MSRPStreams()[0]; len(s.Ports) != 2 || s.TalkerPort != 3 {
		t.Errorf("%+v", s)
	}
}

// What is refused leaves everything as it was.
func TestProxiesRefused(t *testing.T) {
	l, _, b2, _, far, near := line(t, func(c *Config) { c.MaxStreams, c.MaxOwners = 2, 2 })
	w := near.talker(1)
	before := PutProxies{Generation: 5, Talkers: []ProxyTalker{{Port: 3, Talker: w}}, Listeners: []ProxyListener{{Port: 3, StreamID: far.talker(1).StreamID}}}
	l.proxy(b2, before)
	text := b2.text()
	talkers := func(change func(*ProxyTalker)) PutProxies {
		p := ProxyTalker{Port: 3, Talker: near.talker(2)}
		change(&p)
		return PutProxies{Owner: "o", Generation: 1, Talkers: []ProxyTalker{p}}
	}
	for want, ev := range map[string]PutProxies{
		"owner name of 0 octets is outside 1..255":                                                                                            {Generation: 6},
		`owner "cnc": proxies of generation 4 are older than those of 5, which are in force`:                                                  {Owner: "cnc", Generation: 4},
		`owner "cnc": generation 5 is in force with other proxies: send a higher one`:                                                         {Owner: "cnc", Generation: 5},
		"stream 02-00-00-00-01-05:0002: port 9: there is no such port (egress port is not AVB capable, code 8)":                               talkers(func(p *ProxyTalker) { p.Port = 9 }),
		"stream 00-00-00-00-00-00:0000: port 3: 00:00:00:00:00:00 is not the address of a station":                                            talkers(func(p *ProxyTalker) { p.StreamID = tsn.StreamID{} }),
		"stream 02-00-00-00-01-05:0002: port 3: a talker cannot ask for a stream that has failed":                                             talkers(func(p *ProxyTalker) { p.Failed = true }),
		"stream 02-00-00-00-01-05:0002: port 3: rank 2 or priority 3 is outside 0..1, 0..7":                                                   talkers(func(p *ProxyTalker) { p.Rank = 2 }),
		`stream 02-00-00-00-01-05:0001: port 1: the talker is proxied at port 3 for owner "cnc" (stream id in use by another talker, code 4)`: talkers(func(p *ProxyTalker) { p.StreamID, p.Port = w.StreamID, 1 }),
		"stream 02-00-00-00-01-05:0001: port 3: the talker occurs twice in the request (stream id in use by another talker, code 4)": {
			Owner: "cnc", Generation: 6, Talkers: []ProxyTalker{{Port: 3, Talker: w}, {Port: 3, Talker: w, MaxLatency: 7}},
		},
		"3 proxied talkers and 0 listeners in all, 2 and 6 are kept (out of MSRP resources, code 10)": {
			Owner: "cnc", Generation: 6, Talkers: []ProxyTalker{{Port: 3, Talker: w}, {Port: 3, Talker: near.talker(2)}, {Port: 3, Talker: near.talker(3)}},
		},
		`stream 02-00-00-00-01-04:0001: port 3: the listener is proxied for owner "cnc" (stream id in use by another talker, code 4)`: {
			Owner: "o", Generation: 1, Listeners: before.Listeners,
		},
		"stream 02-00-00-00-01-04:0001: port 7: there is no such port (egress port is not AVB capable, code 8)": {
			Owner: "o", Generation: 1, Listeners: []ProxyListener{{Port: 7, StreamID: far.talker(1).StreamID}},
		},
		"stream 00-00-00-00-00-00:0000: port 1: stream id of zeros": {Owner: "o", Generation: 1, Listeners: []ProxyListener{{Port: 1}}},
	} {
		l.step(b2, ev)
		if ev.Owner = ""; b2.result == nil || b2.result.Error() != want && "stream 00-00-00-00-00-00:0000: "+b2.result.Error() != want {
			t.Errorf("%v, want %s", b2.result, want)
		}
		if b2.text() != text {
			t.Fatalf("changed:\n%s", b2.text())
		}
	}
	dry := talkers(func(*ProxyTalker) {})
	dry.Dry = true
	if l.step(b2, dry); b2.result != nil || b2.text() != text {
		t.Errorf("dry: %v\n%s", b2.result, b2.text())
	}
	for _, owner := range []string{"x", "y"} { // nobody is remembered for ever
		if l.step(b2, PutProxies{Owner: owner, Generation: 1}); b2.result != nil {
			t.Errorf("%s: %v", owner, b2.result)
		}
	}
	m := newInstance(t, Config{})
	if e := m.Step(0, PutProxies{Owner: "o"}); len(e) != 1 || e[0].(Result).Err.Error() != "MSRP is not running, and proxies speak it" {
		t.Errorf("%+v", e)
	}
}
