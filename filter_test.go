package tsn

import "testing"

func TestNewStreamFilter(t *testing.T) {
	s := Stream{
		ID: StreamID{1}, Talker: MAC{2}, DestinationAddress: MAC{0x91}, VID: 5, PCP: 3,
		Interval: 1_000_000, MaxFrameSize: 1000, MaxIntervalFrames: 2,
	}
	f := NewStreamFilter(7, s)
	if f.Port != 7 || f.MaxSDU != 1000 || !f.Source.IsZero() || f.Meter.CBS != 2*2*1042 || f.Meter.CIR < s.Bandwidth()*1001/1000 || f.Meter.CIR > s.Bandwidth()*1002/1000 {
		t.Errorf("%+v", f)
	}
	s.DestinationAddress = MAC{2, 2}
	if f := NewStreamFilter(7, s); f.Source != s.Talker {
		t.Errorf("a unicast stream is told by its talker too: %+v", f)
	}
}

func TestNewStreamGate(t *testing.T) {
	for _, c := range []struct{ phase, window, base, open, closed int64 }{
		{0, 200, 1000, 200, 800},
		{300, 200, 1300, 200, 800},
		{-100, 200, 1900, 200, 800}, // over the cycle's end
		{2300, 999, 1300, 999, 1},
	} {
		g := NewStreamGate(PTPTime{NS: 1000}, 1000, c.phase, c.window)
		if g.BaseTime.NS != c.base || g.CycleTime != 1000 || len(g.Entries) != 2 ||
			g.Entries[0] != (StreamGateEntry{true, NoIPV, c.open, 0}) || g.Entries[1] != (StreamGateEntry{false, NoIPV, c.closed, 0}) {
			t.Errorf("%+v: %+v", c, g)
		}
	}
	if g := NewStreamGate(PTPTime{}, 1000, 0, 1000); g != nil {
		t.Errorf("a window of the whole cycle: %+v", g)
	}
}
