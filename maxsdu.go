package tsn

// untagged is what a frame has on the medium beside its SDU, octets: all of
// FrameOverhead but the tag, which counts as a part of the SDU.
const untagged = FrameOverhead - 4

// QueueMaxSDU is, for each class, the longest frame that its longest window lets
// through at a rate (802.1Q 8.6.8.4: a frame must end before its gate shuts;
// 12.29.1.1.1 queueMaxSDU), in octets behind the Ethernet header; 0: any frame.
// A longer one would wait for ever, and all of its class behind it; with the
// limit it is dropped and counted. perEntry is for executors that want a frame
// to end in the entry in which it begins, even if the next leaves the gate open.
func (l *GateControlList) QueueMaxSDU(rate Rate, perEntry bool) (out [MaxTrafficClasses]uint32) {
	if l == nil || rate == 0 {
		return out
	}
	for c := range TrafficClass(MaxTrafficClasses) {
		open := l.longestWindow(c, perEntry)
		always := open == l.CycleTime && !perEntry
		if open > 0 && open < rate.TransmitTime(MaxFrameOctets) && !always {
			octets := open * int64(rate) / 8_000_000
			out[c] = uint32(max(octets-untagged, 1))
		}
	}
	return out
}

// longestWindow is how long the gate of a class is open at a stretch, over the
// end of the cycle too, ns; 0: never.
func (l *GateControlList) longestWindow(c TrafficClass, perEntry bool) (longest int64) {
	var open int64
	for range 2 {
		for _, e := range l.Entries {
			if open += e.Interval; perEntry {
				open = e.Interval
			}
			if !e.Gates.Has(c) {
				open = 0
			}
			longest = max(longest, open)
		}
	}
	return min(longest, l.CycleTime)
}
