package gptp

import (
	"math"
	"slices"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// lastInformation is the Follow_Up information TLV of the next Sync at a port.
func (s *solo) lastInformation(p tsn.Port) (info ptpmsg.FollowUpInformation) {
	s.t.Helper()
	s.out = nil
	s.wait(130 * millisecond)
	_, at := take[*ptpmsg.Sync](s)
	if len(at) == 0 {
		s.t.Fatal("no Sync")
	}
	s.step(tsn.Sent{Port: p, Tag: at[len(at)-1].tag, Egress: tsn.LocalTime(s.at), Stamped: true})
	f, _ := take[*ptpmsg.FollowUp](s)
	info, ok := f[len(f)-1].Information()
	if !ok {
		s.t.Fatal("no information TLV")
	}
	return info
}

// 11.4.4.3.7 to 11.4.4.3.9: gmTimeBaseIndicator counts the changes of the
// source, lastGmPhaseChange is by how much the new time is ahead of the old,
// scaledLastGmFreqChange by how much faster it runs.
func TestSourceChangeInFollowUp(t *testing.T) {
	s := soloMaster(t, nil)
	if got := s.lastInformation(1); got.GmTimeBaseIndicator != 0 || got.LastGmPhaseChange != (ptpmsg.ScaledNS{}) || got.ScaledLastGmFreqChange != 0 {
		t.Errorf("without a change: %+v", got)
	}
	rel := s.Relation()
	for i, c := range []struct {
		phase int64
		freq  float64 // ppb
	}{{3 * second, 2000}, {-5 * second, -12_500}, {25 * microsecond, 0}} {
		local := tsn.LocalTime(s.at)
		rel = tsn.ClockRelation{Local: local, PTP: rel.At(local).Add(c.phase), RatePPB: rel.RatePPB + c.freq}
		s.step(SetSource{Relation: rel})
		got := s.lastInformation(1)
		phase, ok := got.LastGmPhaseChange.NS()
		if freq := (got.ScaledLastGmFreqChange.Ratio() - 1) * 1e9; got.GmTimeBaseIndicator != uint16(i+1) || !ok || phase != c.phase || math.Abs(freq-c.freq) > 0.001 {
			t.Errorf("change %d: %+v, phase %d ns, frequency %.4f ppb", i, got, phase, freq)
		}
	}
	small := rel
	small.PTP = small.PTP.Add(100)
	s.step(SetSource{Relation: small})
	if got := s.lastInformation(1); got.GmTimeBaseIndicator != 3 {
		t.Errorf("a correction is not a change of time base: %+v", got)
	}
}

// 10.2.8, 10.2.12: a relay passes all three on as they are.
func TestSourceChangeThroughRelay(t *testing.T) {
	s := soloRelay(t, nil)
	want := ptpmsg.FollowUpInformation{
		CumulativeScaledRateOffset: ptpmsg.ScaledRateFromRatio(1), GmTimeBaseIndicator: 0xabcd,
		LastGmPhaseChange: ptpmsg.ScaledFromNS(-123_456_789), ScaledLastGmFreqChange: ptpmsg.ScaledRateFromRatio(1 - 7e-6),
	}
	s.receive(1, &ptpmsg.Sync{Header: head(neighbour, ptpmsg.FlagTwoStep, 5, -3)})
	s.receive(1, &ptpmsg.FollowUp{Header: head(neighbour, 0, 5, -3), PreciseOrigin: ptpmsg.TimestampFromNS(s.at), TLVs: []ptpmsg.TLV{want.TLV()}})
	_, at := take[*ptpmsg.Sync](s)
	s.step(tsn.Sent{Port: 2, Tag: at[0].tag, Egress: tsn.LocalTime(s.at), Stamped: true})
	f, _ := take[*ptpmsg.FollowUp](s)
	got, _ := f[0].Information()
	if got.GmTimeBaseIndicator != want.GmTimeBaseIndicator || got.LastGmPhaseChange != want.LastGmPhaseChange || got.ScaledLastGmFreqChange != want.ScaledLastGmFreqChange {
		t.Errorf("%+v", got)
	}
	if st := s.Status(); st.GmTimeBaseIndicator != 0xabcd || st.LastGmPhaseChangeNS != -123_456_789 {
		t.Errorf("%+v", st)
	}
}

// A change of quality is announced at once, with the new values, and not again
// and again.
func TestSetClockQualityIsAnnounced(t *testing.T) {
	s := soloMaster(t, nil)
	s.wait(2*second + announceGap)
	s.out = nil
	s.step(SetClockQuality{ClockClass: 6, Accuracy: 0x21, Variance: 0x1234, TimeSource: 0x20})
	a, _ := take[*ptpmsg.Announce](s)
	if len(a) != 1 || a[0].Quality != (ptpmsg.ClockQuality{Class: 6, Accuracy: 0x21, OffsetScaledLogVariance: 0x1234}) || a[0].TimeSource != 0x20 || a[0].Priority1 != 246 {
		t.Fatalf("%+v", a)
	}
	s.wait(announceGap)
	s.step(SetClockQuality{ClockClass: 6, Accuracy: 0x21, Variance: 0x1234, TimeSource: 0x10}) // no part of the priority
	if a, _ := take[*ptpmsg.Announce](s); len(a) != 1 || a[0].TimeSource != 0x10 {
		t.Fatalf("%+v", a)
	}
	s.wait(announceGap)
	s.step(SetClockQuality{ClockClass: 6, Accuracy: 0x21, Variance: 0x1234, TimeSource: 0x10})
	if a, _ := take[*ptpmsg.Announce](s); len(a) != 0 {
		t.Fatalf("nothing new: %+v", a)
	}
	s.step(SetClockQuality{})
	s.wait(announceGap)
	if a, _ := take[*ptpmsg.Announce](s); len(a) != 1 || a[0].Quality.Class != 248 || a[0].TimeSource != 0xA0 {
		t.Fatalf("zero is the default: %+v", a)
	}
	s.step(SetClockQuality{Domain: 9})
	if s.noticed(NoticeConfigRefused) != 1 {
		t.Error("a domain that is not there")
	}
}

// 10.3.2: the best master is selected anew when a quality changes: who gets a
// better source becomes grand master, who loses it is not any more.
func TestSetClockQualitySelects(t *testing.T) {
	s := newSim(t, 31)
	n := s.chain(3, func(i int, c *Config) { c.Domains[0].Priority1 = 200 })
	for i, x := range n {
		x.hardware().clock(int64(i)*second, float64(20*i))
	}
	s.until(3*second, s.allFollow(n[0], n)) // the lowest identity
	s.run(10 * second)
	for _, c := range []struct {
		node    int
		quality SetClockQuality
		want    int
	}{
		{2, SetClockQuality{ClockClass: 6, TimeSource: 0x20}, 2},
		{1, SetClockQuality{ClockClass: 6, Accuracy: 0x20}, 1},
		{1, SetClockQuality{}, 2},
		{2, SetClockQuality{ClockClass: 7}, 2},
		{2, SetClockQuality{ClockClass: 248}, 0},
	} {
		n[c.node].step(c.quality)
		s.until(3*second, s.allFollow(n[c.want], n))
		s.run(5 * second)
		for _, x := range n {
			if st := x.Status(); !s.allFollow(n[c.want], n)() || st.TimeSource != n[c.want].cfg.TimeSource {
				t.Fatalf("%s after %+v: %+v", x.name, c, st)
			}
		}
	}
	for _, x := range n {
		if slices.Contains(x.notices, NoticeStep) && x != n[1] && x != n[2] {
			t.Errorf("%s stepped: %v", x.name, x.notices)
		}
	}
}
