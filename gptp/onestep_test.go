package gptp

import (
	"math"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// oneStep is a Sync with all in itself.
func oneStep(seq uint16, origin int64, correction, ratio float64) *ptpmsg.Sync {
	m := &ptpmsg.Sync{
		Header: head(neighbour, 0, seq, -3),
		TLVs: []ptpmsg.TLV{ptpmsg.FollowUpInformation{
			CumulativeScaledRateOffset: ptpmsg.ScaledRateFromRatio(ratio), GmTimeBaseIndicator: 5,
		}.TLV()},
	}
	m.Correction = ptpmsg.IntervalFromNS(correction)
	m.SetOrigin(ptpmsg.TimestampFromNS(origin))
	return m
}

// 11.2.14, oneStepReceive: a one-step Sync is followed, and relayed as a Sync
// with a Follow_Up that says what a two-step one would have.
func TestOneStepSyncIsRelayed(t *testing.T) {
	s := soloRelay(t, nil)
	const origin, correction, residence, ratio = 12_345_678_901, 777, 5 * millisecond, 1 + 30e-6
	s.receive(1, oneStep(7, origin, correction, ratio))
	sync, at := take[*ptpmsg.Sync](s)
	if len(sync) != 1 || at[0].port != 2 || sync[0].Flags != ptpmsg.FlagTwoStep || sync[0].Reserved != [10]byte{} || len(sync[0].TLVs) != 0 {
		t.Fatalf("%+v", sync)
	}
	s.step(tsn.Sent{Port: 2, Tag: at[0].tag, Egress: tsn.LocalTime(s.at + residence), Stamped: true})
	fup, _ := take[*ptpmsg.FollowUp](s)
	if len(fup) != 1 {
		t.Fatal("no Follow_Up")
	}
	info, _ := fup[0].Information()
	want := correction + (residence+soloDelay/(1+50e-6))*(ratio+50e-6)
	if ns, _ := fup[0].PreciseOrigin.NS(); ns != origin || math.Abs(fup[0].Correction.NS()-want) > 0.01 || info.GmTimeBaseIndicator != 5 {
		t.Fatalf("origin %d correction %.3f (want %.3f) %+v", ns, fup[0].Correction.NS(), want, info)
	}
	if c := s.Status().Ports[0].Counters; c.OneStep != 1 || c.Rx.Sync != 1 || c.LostFollowUps != 0 || c.Unexpected != 0 {
		t.Errorf("%+v", c)
	}
	// A Follow_Up that comes all the same belongs to nothing.
	s.receive(1, &ptpmsg.FollowUp{Header: head(neighbour, 0, 7, -3)})
	if c := s.Status().Ports[0].Counters; c.Unexpected != 1 {
		t.Errorf("%+v", c)
	}
}

// A master that turns to one-step in mid-flight: the Sync that waited is lost,
// no more; bad origins are malformed; without a stamp there is nothing to do.
func TestOneStepSyncCounters(t *testing.T) {
	s := soloRelay(t, nil)
	c := &s.port(1).count
	s.receive(1, &ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, 1, -3)})
	s.receive(1, oneStep(2, s.at, 0, 1))
	bad := oneStep(3, s.at, 0, 1)
	bad.Reserved[6] = 0xff
	s.receive(1, bad)
	far := oneStep(4, s.at, 0, 1)
	far.SetOrigin(ptpmsg.Timestamp{Seconds: 1 << 45})
	s.receive(1, far)
	s.receiveStamped(1, oneStep(5, s.at, 0, 1), false)
	if c.OneStep != 3 || c.LostFollowUps != 1 || c.Malformed != 2 || c.LostReceiveStamps != 1 {
		t.Errorf("%+v", *c)
	}
	if sync, _ := take[*ptpmsg.Sync](s); len(sync) != 1 {
		t.Errorf("%d were relayed", len(sync))
	}
}

// A node follows a one-step grand master as it does a two-step one.
func TestOneStepGrandMaster(t *testing.T) {
	s := soloRelay(t, nil)
	s.port(1).delay.req.link.rateRatio = 1
	for i := range 40 {
		s.receive(1, announceFrom(100, 0, neighbour.Clock))
		s.receive(1, oneStep(uint16(i), s.at-soloDelay+1000*second, 0, 1))
		s.wait(125 * millisecond)
	}
	if got := s.Relation().At(tsn.LocalTime(s.at)).NS - s.at - 1000*second; !s.Synced() || got > 10 || got < -10 {
		t.Errorf("synced %v, off by %d ns", s.Synced(), got)
	}
}
