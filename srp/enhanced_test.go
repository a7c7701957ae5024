package srp

import (
	"testing"

	"tsnswitch"
	"tsnswitch/srp/mrp"
)

// enhanced is talker 1 of a station in the words of version 1: 1 frame in 1/8000 s.
func (n *labNode) enhanced(change func(*mrp.TalkerEnhanced)) mrp.TalkerEnhanced {
	w := n.talker(1)
	t := mrp.TalkerEnhanced{
		StreamID: w.StreamID, Rank: w.Rank, HasAddresses: true, DestinationAddress: w.DestinationAddress, SourceAddress: n.mac(),
		HasTag: true, Priority: w.DataFramePriority, VID: w.VID,
		TSpec:  mrp.TSpec{Numerator: 1, Denominator: 8000, MaxIntervalFrames: 1, MaxFrameSize: 224, TransmissionSelection: 1},
		Status: mrp.Status{Talker: mrp.StatusReady},
	}
	if change != nil {
		change(&t)
	}
	return t
}

// say has a station declare something by version 1.
func (l *lab) say(n *labNode, v mrp.Value) {
	n.station.SetVersion(1)
	n.station.Join(l.now, v, 0, true)
	n.deadline = n.station.Deadline()
}

func (l *lab) unsay(n *labNode, v mrp.Value) {
	n.station.Leave(l.now, v)
	n.deadline = n.station.Deadline()
}

// hears returns what is registered at a station of a type.
func (n *labNode) hears(kind uint8) (out []mrp.Value) {
	for _, a := range n.station.Attributes() {
		if a.Registered && a.Value.Type == kind {
			out = append(out, a.Value)
		}
	}
	return out
}

func (n *labNode) hearsTalker(t *testing.T) mrp.TalkerEnhanced {
	t.Helper()
	v := n.hears(mrp.TypeTalkerEnhanced)
	if len(v) != 1 {
		t.Fatalf("%s hears %d enhanced talkers", n.name, len(v))
	}
	got, err := mrp.ParseTalkerEnhanced(v[0])
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (n *labNode) hearsListener(t *testing.T) mrp.Status {
	t.Helper()
	v := n.hears(mrp.TypeListenerEnhanced)
	if len(v) != 1 || len(n.hears(mrp.TypeListener)) != 0 {
		t.Fatalf("%s hears %d enhanced listeners, %d others", n.name, len(v), len(n.hears(mrp.TypeListener)))
	}
	got, err := mrp.ParseListenerEnhanced(v[0])
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

// betweenBridges has b2 and b3 speak version 1 with each other from the start.
func betweenBridges(c *Config) {
	switch c.MSRP.BridgeID.System()[5] {
	case 2:
		c.Ports[1].Version = 1
	case 3:
		c.Ports[0].Version = 1
	}
}

// A Talker Enhanced reaches a listener that knows version 0 alone, with the frames
// of a class's interval and all latency; the talker is answered in its own words.
// Where bridges speak version 1 the stream takes what it needs, elsewhere what
// version 0 can say.
func TestEnhancedTalker(t *testing.T) {
	for _, c := range []struct {
		name      string
		cfg       func(*Config)
		spec      mrp.TSpec
		frames    uint16
		at2, at3  tsn.Rate
		enhanced3 bool
	}{
		{"as the class", nil, mrp.TSpec{Numerator: 1, Denominator: 8000, MaxIntervalFrames: 1, MaxFrameSize: 224}, 1, 17024, 17024, false},
		{"as the class", betweenBridges, mrp.TSpec{Numerator: 1, Denominator: 8000, MaxIntervalFrames: 1, MaxFrameSize: 224}, 1, 17024, 17024, true},
		{"slower", nil, mrp.TSpec{Numerator: 1, Denominator: 1000, MaxIntervalFrames: 1, MaxFrameSize: 224}, 1, 2128, 17024, false},
		{"slower", betweenBridges, mrp.TSpec{Numerator: 1, Denominator: 1000, MaxIntervalFrames: 1, MaxFrameSize: 224}, 1, 2128, 2128, true},
		{"faster", nil, mrp.TSpec{Numerator: 1, Denominator: 20000, MaxIntervalFrames: 1, MaxFrameSize: 100}, 3, 22720, 27264, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, talker, b2, b3, far, _ := line(t, c.cfg)
			w := talker.enhanced(func(w *mrp.TalkerEnhanced) { w.TSpec = c.spec })
			l.listen(far, w.StreamID, true)
			v, _ := w.Value()
			l.say(talker, v)
			l.runFor(2)
			o := far.station.offered(w.StreamID)
			if o == nil || o.Failed || o.MaxIntervalFrames != c.frames || o.AccumulatedLatency != 890_000 || o.DestinationAddress != w.DestinationAddress || o.VID != 2 {
				t.Errorf("%+v", o)
			}
			if got := talker.hearsListener(t); got.Listener != mrp.StatusReady || got.FailureCode != 0 {
				t.Errorf("%+v", got)
			}
			s2, s3 := b2.bridge.Streams(), b3.bridge.Streams()
			if len(s2) != 1 || s2[0].Bandwidth != c.at2 || len(s3) != 1 || s3[0].Bandwidth != c.at3 {
				t.Fatalf("%+v\n%+v", s2, s3)
			}
			if got := b3.bridge.MSRPStreams()[0].Enhanced; got != c.enhanced3 || !b2.bridge.MSRPStreams()[0].Enhanced {
				t.Errorf("b3 enhanced: %v", got)
			}
			if c := b2.bridge.MSRPPorts()[0]; c.Version != 1 {
				t.Errorf("version %d", c.Version)
			}
			l.unsay(talker, v)
			l.runFor(2)
			if len(b2.bridge.MSRPStreams()) != 0 || len(b3.bridge.MSRPStreams()) != 0 {
				t.Errorf("withdrawn:\n%s%s", b2.text(), b3.text())
			}
		})
	}
}

// A Listener Enhanced asks for a stream of a talker of version 0, and its
// requirement holds at its own port.
func TestEnhancedListener(t *testing.T) {
	l, talker, b2, b3, far, _ := line(t, nil)
	w := talker.talker(1)
	l.talk(talker, w)
	ask := func(most uint32) mrp.Value {
		return mrp.ListenerEnhanced{StreamID: w.StreamID, Requirements: mrp.Requirements{MaxLatency: most}, Status: mrp.Status{Listener: mrp.StatusReady}}.Value()
	}
	l.say(far, ask(890_000))
	l.runFor(2)
	if got := talker.station.answer[w.StreamID]; got != mrp.ListenerReady || len(b2.bridge.Streams()) != 1 || len(b3.bridge.Streams()) != 1 {
		t.Errorf("%s\n%s%s", mrp.ListenerText(got), b2.text(), b3.text())
	}
	l.unsay(far, ask(890_000))
	l.say(far, ask(889_999))
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureMaxLatency || o.BridgeID != b3.cfg.MSRP.BridgeID {
		t.Errorf("%+v", o)
	}
	if got := talker.station.answer[w.StreamID]; got != mrp.ListenerAskingFailed || len(b2.bridge.Streams()) != 0 {
		t.Errorf("%s\n%s", mrp.ListenerText(got), b2.text())
	}
	l.unsay(far, ask(889_999))
	l.runFor(2)
	if got, ok := talker.station.answer[w.StreamID]; ok {
		t.Errorf("%s", mrp.ListenerText(got))
	}
}

// Both sides speak version 1: the talker's groups arrive as they left, with the
// status of the way; a failure has its code and bridge in both directions.
func TestEnhancedBoth(t *testing.T) {
	l, talker, b2, _, _, near := line(t, nil)
	w := talker.enhanced(func(w *mrp.TalkerEnhanced) { w.Requirements.MaxLatency = 1_000_000 })
	l.say(near, mrp.ListenerEnhanced{StreamID: w.StreamID, Status: mrp.Status{Listener: mrp.StatusReady}}.Value())
	v, _ := w.Value()
	l.say(talker, v)
	l.runFor(2)
	got := near.hearsTalker(t)
	want, _ := mrp.ParseTalkerEnhanced(v)
	if got.Wish != want.Wish || got.Status != (mrp.Status{Talker: mrp.StatusReady, AccumulatedLatency: 445_000}) || near.station.offered(w.StreamID) != nil {
		t.Errorf("%+v", got)
	}
	if s := talker.hearsListener(t); s.Listener != mrp.StatusReady {
		t.Errorf("%+v", s)
	}
	l.unsay(talker, v)
	w.TSpec.MaxIntervalFrames = 5 // too much
	v, _ = w.Value()
	l.say(talker, v)
	l.runFor(2)
	if got := near.hearsTalker(t).Status; got != (mrp.Status{Talker: mrp.TalkerFailedStatus, FailureCode: 3, AccumulatedLatency: 445_000, FailedAt: b2.cfg.MSRP.BridgeID.System()}) {
		t.Errorf("%+v", got)
	}
	if s := talker.hearsListener(t); s.Listener != mrp.ListenerFailed || s.FailureCode != tsn.FailureClassBandwidth {
		t.Errorf("%+v\n%s", s, b2.text())
	}
}

// 802.1Qcc table 46-15: features that nobody here has, and words that version 0 lacks.
func TestEnhancedCodes(t *testing.T) {
	for _, c := range []struct {
		name string
		code tsn.FailureCode
		wish func(*mrp.TalkerEnhanced)
	}{
		{"fits", 0, nil},
		{"too many frames for version 0", 20, func(w *mrp.TalkerEnhanced) { w.TSpec.Denominator, w.TSpec.MaxIntervalFrames = 16000, 40000 }},
		{"maximum latency", 21, func(w *mrp.TalkerEnhanced) { w.Requirements.MaxLatency = 444_999 }},
		{"no tag", 22, func(w *mrp.TalkerEnhanced) { w.HasTag = false }},
		{"no addresses", 22, func(w *mrp.TalkerEnhanced) { w.HasAddresses = false }},
		{"replication", 25, func(w *mrp.TalkerEnhanced) { w.Requirements.NumSeamlessTrees = 2 }},
		{"no interval", 2, func(w *mrp.TalkerEnhanced) { w.TSpec.Numerator = 0 }},
		{"no frames", 2, func(w *mrp.TalkerEnhanced) { w.TSpec.MaxIntervalFrames = 0 }},
		{"priority", 13, func(w *mrp.TalkerEnhanced) { w.Priority = 6 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, talker, b2, _, _, near := line(t, nil)
			w := talker.enhanced(c.wish)
			v, _ := w.Value()
			l.say(talker, v)
			l.runFor(2)
			if o := near.station.offered(w.StreamID); o == nil || o.FailureCode != c.code || o.Failed && o.BridgeID != b2.cfg.MSRP.BridgeID {
				t.Errorf("%+v, want code %d", o, c.code)
			}
		})
	}
	for code, t1 := range map[tsn.FailureCode]mrp.TalkerEnhanced{
		tsn.FailureTransformation:     {Other: true},
		tsn.FailureIdentificationType: {Other: true, Capabilities: mrp.Capabilities{StreamIdentification: []uint32{3}}},
		tsn.FailureNoIdentification:   {HasTag: true, HasAddresses: true, Capabilities: mrp.Capabilities{CannotTag: true}},
		tsn.FailureNeedsCNC:           {HasTag: true, HasAddresses: true, TimeAware: true},
	} {
		if got := refusedOf(t1); got != code {
			t.Errorf("%+v: code %d, want %d", t1, got, code)
		}
	}
}

// A neighbour that is heard to speak version 1 is spoken to in it from then on,
// without a gap in the reservation; a new link starts anew.
func TestNeighborVersion(t *testing.T) {
	l, talker, b2, _, _, near := line(t, nil)
	w := talker.enhanced(nil)
	v, _ := w.Value()
	l.listen(near, w.StreamID, true)
	l.say(talker, v)
	l.runFor(2)
	if near.station.offered(w.StreamID) == nil || len(near.hears(mrp.TypeTalkerEnhanced)) != 0 {
		t.Error("a neighbour of version 0 is offered what it cannot know")
	}
	l.say(near, mrp.ListenerEnhanced{StreamID: w.StreamID, Status: mrp.Status{Listener: mrp.StatusReady}}.Value())
	l.runFor(2)
	near.hearsTalker(t)
	if near.station.offered(w.StreamID) != nil || b2.bridge.MSRPCounters().Released != 0 {
		t.Errorf("%+v\n%s", b2.bridge.MSRPCounters(), b2.text())
	}
	l.unsay(near, mrp.ListenerEnhanced{StreamID: w.StreamID, Status: mrp.Status{Listener: mrp.StatusReady}}.Value())
	near.station.SetVersion(0)
	l.setLink(l.lans[3], false, 0)
	l.setLink(l.lans[3], true, 100*tsn.Mbps)
	l.runFor(2)
	if near.station.offered(w.StreamID) == nil || len(near.hears(mrp.TypeTalkerEnhanced)) != 0 {
		t.Errorf("a new neighbour has spoken version 0:\n%s", b2.text())
	}
}

// A requirement of a proxied talker goes with it where bridges speak version 1.
func TestProxiedRequirement(t *testing.T) {
	l, _, b2, b3, far, near := line(t, betweenBridges)
	w := near.talker(1)
	l.listen(far, w.StreamID, true)
	l.proxy(b2, PutProxies{Generation: 1, Talkers: []ProxyTalker{{Port: 3, Talker: w, MaxLatency: 889_999}}})
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.FailureCode != tsn.FailureMaxLatency || o.BridgeID != b3.cfg.MSRP.BridgeID {
		t.Errorf("%+v\n%s", o, b3.text())
	}
	l.proxy(b2, PutProxies{Generation: 2, Talkers: []ProxyTalker{{Port: 3, Talker: w, MaxLatency: 890_000}}})
	l.runFor(2)
	if o := far.station.offered(w.StreamID); o == nil || o.Failed || len(b2.bridge.Streams()) != 1 || b2.bridge.Streams()[0].Bandwidth != 17024 {
		t.Errorf("%+v\n%s", o, b3.text())
	}
}

// What cannot be read is counted.
func TestMalformedEnhanced(t *testing.T) {
	l, talker, b2, _, _, _ := line(t, nil)
	l.say(talker, mrp.Value{Type: mrp.TypeTalkerEnhanced, Octet: "\x01\x00"})
	l.say(talker, mrp.Value{Type: mrp.TypeListenerEnhanced, Octet: "\x0f\x00\x01"})
	l.runFor(1)
	if got := b2.bridge.MSRPCounters().Malformed; got < 2 || len(b2.bridge.MSRPStreams()) != 0 {
		t.Errorf("%d malformed\n%s", got, b2.text())
	}
}

// Three systems on one LAN. Listeners of version 1 are merged there, whoever spoke
// last; of version 0 the last word counts (see merge.go), and a talker of one
// station is not offered back to another that hears it anyway.
func TestSharedMediumListeners(t *testing.T) {
	lan := func() (l *lab, talker, b, one, two *labNode) {
		l = newLab(t, 5)
		talker = l.addStation(false)
		b = l.addBridge(2, func(c *Config) { c.Ports[1].Shared = true })
		one, two = l.addStation(true), l.addStation(true)
		l.connect(end{talker, 1}, end{b, 1})
		l.connect(end{b, 2}, end{one, 1}, end{two, 1})
		l.talk(talker, talker.talker(1))
		l.runFor(2)
		return l, talker, b, one, two
	}
	says := func(n *labNode, want mrp.Param) {
		t.Helper()
		if got := n.station.answer[n.talker(1).StreamID]; got != want {
			t.Errorf("the talker hears %s, want %s", mrp.ListenerText(got), mrp.ListenerText(want))
		}
	}
	t.Run("version 1", func(t *testing.T) {
		l, talker, b, one, two := lan()
		ask := func(status uint8) mrp.Value {
			return mrp.ListenerEnhanced{StreamID: talker.talker(1).StreamID, Status: mrp.Status{Listener: status}}.Value()
		}
		l.say(one, ask(mrp.StatusReady))
		l.runFor(2)
		l.say(two, ask(mrp.ListenerFailed))
		l.runFor(40) // several LeaveAlls
		says(talker, mrp.ListenerReadyFailed)
		l.unsay(two, ask(mrp.ListenerFailed))
		l.runFor(40)
		says(talker, mrp.ListenerReady)
		if c := b.bridge.MSRPCounters(); c.Released != 0 || c.Reserved != 1 {
			t.Errorf("%+v", c)
		}
		l.unsay(one, ask(mrp.StatusReady))
		l.runFor(40)
		says(talker, mrp.ListenerIgnore)
	})
	t.Run("version 0", func(t *testing.T) {
		l, talker, b, one, two := lan()
		id := mrp.ListenerValue(talker.talker(1).StreamID)
		for _, c := range []struct {
			who *labNode
			p   mrp.Param
		}{{one, mrp.ListenerReady}, {two, mrp.ListenerAskingFailed}, {one, mrp.ListenerReadyFailed}} {
			c.who.station.Join(l.now, id, c.p, true)
			c.who.deadline = c.who.station.Deadline()
			l.runFor(2)
			says(talker, c.p)
			if held := len(b.bridge.Streams()) == 1; held != wants(c.p) {
				t.Errorf("%s: held %v", mrp.ListenerText(c.p), held)
			}
		}
	})
	t.Run("talker", func(t *testing.T) {
		l, _, b, one, two := lan()
		l.talk(one, one.talker(1))
		l.runFor(2)
		if o := two.station.offered(one.talker(1).StreamID); o == nil || o.AccumulatedLatency != 0 || o.Failed {
			t.Errorf("%+v\n%s", o, b.text())
		}
	})
}
