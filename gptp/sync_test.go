package gptp

import (
	"math"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// master makes a solo that is grand master with one asCapable port.
func soloMaster(t *testing.T, change func(*Config)) *solo {
	s := newSolo(t, 1, change)
	s.capable(1)
	return s
}

// relay makes a solo with its slave port 1 and master port 2; the neighbour at
// port 1 runs 50 ppm fast.
func soloRelay(t *testing.T, change func(*Config)) *solo {
	s := newSolo(t, 2, func(c *Config) {
		patient(c)
		if change != nil {
			change(c)
		}
	})
	s.capable(1)
	s.capable(2)
	s.port(1).delay.req.link.rateRatio = 1 + 50e-6
	s.receive(1, announceFrom(100, 0, neighbour.Clock))
	s.out = nil
	return s
}

// 10.2.10, 11.2.15: the grand master's Sync, and its Follow_Up with the time of
// the egress on ClockSource.
func TestGrandMasterSync(t *testing.T) {
	src := tsn.ClockRelation{Local: 100, PTP: tsn.PTPTime{NS: 7_000_000_000}, RatePPB: 1000}
	s := soloMaster(t, func(c *Config) { c.Source = src })
	s.out = nil
	s.wait(130 * millisecond)
	sync, at := take[*ptpmsg.Sync](s)
	if len(sync) == 0 || sync[0].Flags != ptpmsg.FlagTwoStep || sync[0].LogInterval != -3 || at[0].tag == 0 {
		t.Fatalf("%+v", sync)
	}
	last := len(sync) - 1
	egress := tsn.LocalTime(s.at - 3)
	s.step(tsn.Sent{Port: 1, Tag: at[last].tag, Egress: egress, Stamped: true})
	fup, _ := take[*ptpmsg.FollowUp](s)
	if len(fup) != 1 {
		t.Fatal("no Follow_Up")
	}
	f := fup[0]
	info, ok := f.Information()
	if ns, _ := f.PreciseOrigin.NS(); ns != src.At(egress).NS || f.Correction != 0 || f.SequenceID != sync[last].SequenceID || !ok ||
		math.Abs(info.CumulativeScaledRateOffset.Ratio()-1-1e-6) > 1e-12 || info.GmTimeBaseIndicator != 0 {
		t.Fatalf("%+v %+v", f, info)
	}
	s.wait(30 * second) // nobody answers Pdelay_Req
	s.out = nil
	s.wait(10 * second)
	if sync, _ := take[*ptpmsg.Sync](s); len(sync) != 0 {
		t.Fatal("Sync from a port that is not asCapable")
	}
}

// 11.2.15.2.3: what a relay adds. preciseOriginTimestamp stays, correctionField
// grows by link delay and residence in the grand master's time, the rate ratio
// by the neighbour's.
func TestRelayFollowUp(t *testing.T) {
	s := soloRelay(t, nil)
	const origin, residence, ratio = 12_345_678_901, 5 * millisecond, 1 + 30e-6
	s.syncFrom(1, 77, origin, ratio)
	sync, at := take[*ptpmsg.Sync](s)
	if len(sync) != 1 || at[0].port != 2 {
		t.Fatalf("a relay relays on receipt: %+v", at)
	}
	s.step(tsn.Sent{Port: 2, Tag: at[0].tag, Egress: tsn.LocalTime(s.at + residence), Stamped: true})
	fup, _ := take[*ptpmsg.FollowUp](s)
	if len(fup) != 1 {
		t.Fatal("no Follow_Up")
	}
	info, _ := fup[0].Information()
	cumulative := ratio + 50e-6
	delay := soloDelay / (1 + 50e-6)
	want := (residence + delay) * cumulative
	if ns, _ := fup[0].PreciseOrigin.NS(); ns != origin || math.Abs(fup[0].Correction.NS()-want) > 0.01 ||
		math.Abs(info.CumulativeScaledRateOffset.Ratio()-cumulative) > 1e-12 {
		t.Fatalf("origin %d correction %.3f (want %.3f) rate %.9f", ns, fup[0].Correction.NS(), want, info.CumulativeScaledRateOffset.Ratio())
	}
	if fup[0].Source != s.port(2).id || fup[0].SequenceID != sync[0].SequenceID || fup[0].SequenceID == 77 {
		t.Fatalf("source and sequence are the relay's own: %v %d", fup[0].Source, fup[0].SequenceID)
	}
}

// 10.2.12: a faster master is thinned out to the port's interval, a slower one
// sets it; the interval is told truly.
func TestRelayRate(t *testing.T) {
	for _, c := range []struct {
		name    string
		own     int8
		every   int64
		want    int // in 4 s
		wantLog int8
	}{
		{"same interval", -3, 125 * millisecond, 32, -3},
		{"master faster", 0, 125 * millisecond, 4, 0},
		{"master slower", -5, 125 * millisecond, 32, -3},
		{"same interval, bursts", -3, 20 * millisecond, 50, -3}, // not closer than half an interval
	} {
		t.Run(c.name, func(t *testing.T) {
			s := soloRelay(t, func(cfg *Config) { cfg.Ports[1].LogSyncInterval = c.own })
			for i := range 4 * second / c.every {
				s.receive(1, announceFrom(100, 0, neighbour.Clock))
				s.syncFrom(1, uint16(i), s.at, 1)
				s.wait(c.every)
			}
			sync, _ := take[*ptpmsg.Sync](s)
			if n := len(sync); n > c.want+1 || n < c.want*9/10 {
				t.Errorf("%d Syncs in 4 s, want %d", n, c.want)
			}
			if sync[0].LogInterval != c.wantLog {
				t.Errorf("told interval 2^%d", sync[0].LogInterval)
			}
		})
	}
}

// 10.7.3.1: syncReceiptTimeout ages the slave port; an own stall does not.
func TestSyncReceiptTimeout(t *testing.T) {
	s := soloRelay(t, func(c *Config) { c.Ports[0].SyncReceiptTimeout = 3 })
	s.syncFrom(1, 1, s.at, 1)
	s.wait(370 * millisecond)
	if s.IsGrandMaster() {
		t.Fatal("gave up early")
	}
	s.wait(10 * millisecond)
	if !s.IsGrandMaster() || s.noticed(NoticeSyncTimeout) != 1 {
		t.Fatal("did not give up")
	}

	s = soloRelay(t, func(c *Config) { c.Ports[0].SyncReceiptTimeout = 3 })
	s.syncFrom(1, 1, s.at, 1)
	s.at += 2 * second // this process did not run
	s.receive(2, &ptpmsg.PdelayReq{Header: head(neighbour, 0, 1, 0)})
	s.syncFrom(1, 2, s.at, 1)
	if s.IsGrandMaster() {
		t.Fatal("gave up for its own stall")
	}
}

// 11.2.14: Syncs and Follow_Ups that do not belong together, and each count.
func TestMDSyncReceive(t *testing.T) {
	s := soloRelay(t, nil)
	c := &s.port(1).count
	sync := &ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, 5, -3)}
	follow := &ptpmsg.FollowUp{Header: head(neighbour, 0, 5, -3), TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{}.TLV()}}
	other := ptpmsg.PortIdentity{Clock: ptpmsg.ClockIdentity{1}, Port: 1}
	for _, x := range []struct {
		name    string
		counter *uint64
		do      func()
	}{
		{"Follow_Up alone", &c.Unexpected, func() { s.receive(1, follow) }},
		{"Sync of a stranger", &c.Unexpected, func() { s.receive(1, &ptpmsg.Sync{Header: head(other, ptpmsg.FlagTwoStep, 5, -3)}) }},
		{"Sync without a stamp", &c.LostReceiveStamps, func() { s.receiveStamped(1, sync, false) }},
		{"one-step without information TLV", &c.NoInformation, func() { s.receive(1, &ptpmsg.Sync{Header: head(neighbour, 0, 5, -3)}) }},
		{"Follow_Up of another Sync", &c.Unexpected, func() {
			s.receive(1, sync)
			s.receive(1, &ptpmsg.FollowUp{Header: head(neighbour, 0, 6, -3), TLVs: follow.TLVs})
		}},
		{"Sync without Follow_Up", &c.LostFollowUps, func() { s.receive(1, sync) }},
		{"Follow_Up without information TLV", &c.NoInformation, func() { s.receive(1, &ptpmsg.FollowUp{Header: head(neighbour, 0, 5, -3)}) }},
		{"a time beyond int64", &c.Malformed, func() {
			s.receive(1, sync)
			s.receive(1, &ptpmsg.FollowUp{Header: head(neighbour, 0, 5, -3), TLVs: follow.TLVs, PreciseOrigin: ptpmsg.Timestamp{Seconds: 1 << 45}})
		}},
	} {
		before := *x.counter
		if x.do(); *x.counter != before+1 {
			t.Errorf("%s: counter went from %d to %d", x.name, before, *x.counter)
		}
	}
	if out, _ := take[*ptpmsg.Sync](s); len(out) != 0 {
		t.Errorf("%d of them were relayed", len(out))
	}
}

// 10.6.2.2, 11.3: frames that are not for this Instance are counted and dropped.
func TestForeignAndMalformedFrames(t *testing.T) {
	s := soloRelay(t, nil)
	c := &s.port(1).link.count
	frame := func(m ptpmsg.Message) []byte { return ptpmsg.AppendFrame(nil, tsn.MAC{9}, m) }
	sdo := announceFrom(1, 0)
	sdo.MajorSdoID = 2
	domain := announceFrom(1, 0)
	domain.Domain = 1
	bad := frame(announceFrom(1, 0))
	for _, x := range []struct {
		name    string
		counter *uint64
		frame   []byte
	}{
		{"CMLDS", &c.OtherDomain, frame(sdo)},
		{"domain 1", &c.OtherDomain, frame(domain)},
		{"truncated", &c.Malformed, bad[:60]},
		{"empty", &c.NotGPTP, nil},
		{"a stream's frame", &c.NotGPTP, append([]byte{1, 2, 3, 4, 5, 6}, bad[6:]...)},
		{"Delay_Req", &c.NotGPTP, append(append(append([]byte{}, bad[:14]...), 0x11), bad[15:]...)},
	} {
		before, rx := *x.counter, c.Rx
		s.step(tsn.Received{Port: 1, Frame: x.frame, Stamped: true})
		if *x.counter != before+1 || c.Rx != rx {
			t.Errorf("%s: counter went from %d to %d", x.name, before, *x.counter)
		}
	}
	if s.GrandMaster() != neighbour.Clock || len(s.out) != 0 {
		t.Errorf("grand master %v, sent %v", s.GrandMaster(), s.out)
	}
}

// The octets on the wire are those a ptp4l of the gPTP profile sends: lengths,
// versions, flags, TLV headers. (Compared with a capture of linuxptp 3.1.1.)
func TestWireCompatibility(t *testing.T) {
	s := soloMaster(t, nil)
	s.link(1, false)
	s.out = nil
	s.capableKeepingOutput(1)
	s.receive(1, &ptpmsg.PdelayReq{Header: head(neighbour, 0, 3, 0)})
	for range 3 {
		s.wait(125 * millisecond)
		for _, o := range s.out {
			if o.tag != 0 && (o.tag == s.port(1).tx.tag || o.tag == s.port(1).delay.resp.tag) {
				s.step(tsn.Sent{Port: 1, Tag: o.tag, Egress: tsn.LocalTime(s.at), Stamped: true})
			}
		}
	}
	want := map[ptpmsg.MessageType]struct {
		length       int
		flags        uint16
		control, log byte
	}{
		ptpmsg.TypeSync:               {44, 0x0200, 0, 0xfd},
		ptpmsg.TypeFollowUp:           {76, 0, 2, 0xfd},
		ptpmsg.TypeSignaling:          {60, 0, 5, 0x7f},
		ptpmsg.TypeAnnounce:           {76, 0x0008, 5, 0},
		ptpmsg.TypePdelayReq:          {54, 0, 5, 0},
		ptpmsg.TypePdelayResp:         {54, 0x0200, 5, 0x7f},
		ptpmsg.TypePdelayRespFollowUp: {54, 0, 5, 0x7f},
	}
	seen := map[ptpmsg.MessageType]bool{}
	for _, o := range s.out {
		b, w := o.raw, want[o.m.Type()]
		seen[o.m.Type()] = true
		if b[0] != 0x10|byte(o.m.Type()) || b[1] != 2 || len(b) != w.length || int(b[2])<<8|int(b[3]) != w.length || b[4] != 0 ||
			uint16(b[6])<<8|uint16(b[7]) != w.flags || b[32] != w.control || b[33] != w.log {
			t.Errorf("%s: % x", o.m.Type(), b)
		}
		switch o.m.Type() {
		case ptpmsg.TypeFollowUp:
			if got := [10]byte(b[44:]); got != [10]byte{0, 3, 0, 28, 0, 0x80, 0xC2, 0, 0, 1} {
				t.Errorf("Follow_Up TLV: % x", got)
			}
		case ptpmsg.TypeSignaling:
			if got := [10]byte(b[44:]); got != [10]byte{0x80, 0, 0, 12, 0, 0x80, 0xC2, 0, 0, 4} {
				t.Errorf("gPTP-capable TLV: % x", got)
			}
		case ptpmsg.TypeAnnounce:
			if got := [12]byte(b[64:]); got != [12]byte{0, 8, 0, 8, 2, 0, 0, 0xff, 0xfe, 0, 0, 1} {
				t.Errorf("path trace TLV: % x", got)
			}
		}
	}
	if len(seen) != len(want) {
		t.Errorf("only saw %v", seen)
	}
}

func (s *solo) capableKeepingOutput(p tsn.Port) {
	var kept []outMessage
	s.link(p, true)
	for range 3 {
		kept = append(kept, s.out...)
		s.exchange(p, good)
	}
	s.out = append(kept, s.out...)
}

// 10.2.9, 11.4.4.3.7: a grand master whose source jumps says so; one that holds
// over another's time does not jump unless told.
func TestSetSource(t *testing.T) {
	s := soloMaster(t, nil)
	rel := tsn.ClockRelation{Local: tsn.LocalTime(s.at), PTP: tsn.PTPTime{NS: s.at + 5000}}
	if s.step(SetSource{Relation: rel}); s.Relation() != rel || s.noticed(NoticeSourceChanged) != 0 {
		t.Errorf("a small change: %+v", s.Status())
	}
	rel.PTP.NS += second
	rel.RatePPB = 500
	s.step(SetSource{Relation: rel})
	if st := s.Status(); st.GmTimeBaseIndicator != 1 || st.LastGmPhaseChangeNS != second || s.noticed(NoticeSourceChanged) != 1 {
		t.Errorf("a jump: %+v", st)
	}
	if last := s.rel[len(s.rel)-1]; last.Relation != rel || !last.Synced || last.GrandMaster != s.sys.cfg.ClockIdentity {
		t.Errorf("%+v", last)
	}

	m := newSim(t, 11)
	n := m.chain(2, nil)
	n[0].clock(5*second, 10)
	m.run(10 * second)
	n[0].dead = true
	m.run(second)
	held := n[1].Relation()
	n[1].step(SetSource{Relation: tsn.ClockRelation{Local: n[1].at(m.now)}})
	if n[1].Relation() != held || !n[1].Status().Holdover {
		t.Errorf("holdover ended: %+v", n[1].Relation())
	}
	n[1].step(SetSource{Relation: tsn.ClockRelation{Local: n[1].at(m.now)}, Jump: true})
	if n[1].Relation() == held || n[1].Status().Holdover || n[1].Status().LastGmPhaseChangeNS == 0 {
		t.Errorf("no jump: %+v", n[1].Status())
	}
}

// 10.2.13: an end station that loses its only grand master keeps the relation
// and says that it follows nobody.
func TestEndStationHoldsOver(t *testing.T) {
	s := newSim(t, 12)
	n := s.chain(2, func(i int, c *Config) {
		if i == 1 {
			c.Domains[0].Priority1 = 255
		}
	})
	n[0].hardware().clock(0, 20)
	n[1].hardware().clock(99, -70)
	s.run(20 * second)
	n[0].dead = true
	reference := n[0].Relation()
	s.run(second)
	if n[1].Synced() || n[1].IsGrandMaster() || n[1].Status().GMPresent {
		t.Fatalf("%+v", n[1].Status())
	}
	s.run(10 * second)
	e := n[1].Relation().At(n[1].at(s.now)).NS - reference.At(n[0].at(s.now)).NS
	t.Logf("%d ns after 10 s without a grand master", e)
	if e > 1000 || e < -1000 {
		t.Errorf("%d ns", e)
	}
	if last := n[1].relation[len(n[1].relation)-1]; last.Synced || last.Relation != n[1].Relation() {
		t.Errorf("last told: %+v", last)
	}
}
