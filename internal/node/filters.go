package node

import (
	"bytes"
	"cmp"
	"slices"

	"tsnswitch"
	"tsnswitch/srp"
)

// FilterMode says what a port keeps of the streams that come in by it
// (802.1Qci).
type FilterMode uint8

// The modes. FilterPolice holds each talker to what it reserved; FilterGate
// holds scheduled ones to their windows too, as far as SetStreamGates tells them.
const (
	FilterOff FilterMode = iota
	FilterPolice
	FilterGate
)

// StreamGate is the gate of a stream where it comes into this bridge.
type StreamGate struct {
	ID   tsn.StreamID
	Gate *tsn.StreamGate
}

// SetStreamGates is an event: these are all the windows of streams that come in
// by this bridge's ports. The running schedule has them; without one there are none.
type SetStreamGates struct{ Gates []StreamGate }

// refilter works the filters out again after an event of a core that may
// matter to them.
func (c *Control) refilter(ev tsn.Event, moved bool) (changed bool) {
	switch ev := ev.(type) {
	case srp.PutReservations:
	case SetStreamGates:
		c.streamGates = ev.Gates
	default:
		if !moved {
			return false
		}
	}
	before := c.filters
	c.filters = c.streamFilters()
	return !slices.EqualFunc(before, c.filters, func(a, b tsn.StreamFilter) bool {
		x, y := a.Gate, b.Gate
		a.Gate, b.Gate = nil, nil
		return a == b && sameGate(x, y)
	})
}

func sameGate(a, b *tsn.StreamGate) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.BaseTime == b.BaseTime && a.CycleTime == b.CycleTime && a.CycleTimeExtension == b.CycleTimeExtension && slices.Equal(a.Entries, b.Entries)
}

// streamFilters are those of the reserved streams whose talker is attached
// here: at fabric ports the bridge before has filtered already.
func (c *Control) streamFilters() (out []tsn.StreamFilter) {
	type place struct {
		port   tsn.Port
		handle tsn.StreamHandle
	}
	taken := map[place]bool{}
	for _, s := range c.SRP.Streams() {
		p, ok := c.comesIn(s)
		if !ok || c.filterMode(p) == FilterOff {
			continue
		}
		f := tsn.NewStreamFilter(p, s.Stream)
		f.Meter.CBS = max(f.Meter.CBS, c.burst(p, f.Meter.CIR))
		at := place{p, f.StreamHandle}
		if taken[at] { // frames tell them apart by nothing
			continue
		}
		taken[at] = true
		if c.filterMode(p) == FilterGate {
			f.Gate = c.gateOf(s.Stream.ID)
		}
		out = append(out, f)
	}
	slices.SortFunc(out, tsn.CompareStreamFilters)
	return out
}

// stationPort is the port that a station is behind.
func (c *Control) stationPort(talker tsn.MAC, vid tsn.VID) (tsn.Port, bool) {
	i, ok := slices.BinarySearchFunc(c.bridge.FDB, talker, func(e tsn.FDBEntry, m tsn.MAC) int {
		return cmp.Or(cmp.Compare(e.VID, vid), bytes.Compare(e.MAC[:], m[:]))
	})
	if !ok {
		return tsn.NoPort, false
	}
	return c.bridge.FDB[i].Port, true
}

// burst is what a talker may save up at a port, in octets.
func (c *Control) burst(p tsn.Port, rate tsn.Rate) uint32 {
	for _, l := range c.classes {
		if l.Port == p {
			return uint32(min(int64(rate)*l.FilterBurst/8_000_000, 1<<31)) // kbit/s for so many ns
		}
	}
	return 0
}

func (c *Control) filterMode(p tsn.Port) FilterMode {
	for _, l := range c.classes {
		if l.Port == p {
			return l.Filters
		}
	}
	return FilterOff
}

func (c *Control) gateOf(id tsn.StreamID) *tsn.StreamGate {
	i := slices.IndexFunc(c.streamGates, func(g StreamGate) bool { return g.ID == id })
	if i < 0 {
		return nil
	}
	return c.streamGates[i].Gate
}
