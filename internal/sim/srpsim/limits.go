package srpsim

import "tsnswitch"

// intervals are the class measurement intervals by priority, in ns.
var intervals = map[tsn.PCP]uint64{3: 125_000, 2: 250_000}

// cost is what a stream takes of a port, in kbit/s, rounded up (802.1Q 34.4).
func cost(pcp tsn.PCP, size, frames uint16) tsn.Rate {
	bits := (uint64(max(size, 46)) + 42) * 8 * uint64(frames)
	interval := intervals[pcp]
	return tsn.Rate((bits*1_000_000 + interval - 1) / interval)
}

// limit is what all streams together may take of a link.
func limit(l *link) tsn.Rate { return l.rate * 75 / 100 }

// checkLimits looks at what a bridge holds: it fits each port, ports that are
// down have nothing, and the data plane is told the same.
func (n *Network) checkLimits(b *node) {
	n.Checked++
	sum := make([]tsn.Rate, len(b.links))
	for _, s := range b.bridge.Streams() {
		for _, p := range s.Ports {
			sum[p-1] += cost(s.Stream.PCP, s.Stream.MaxFrameSize, s.Stream.MaxIntervalFrames)
		}
	}
	told := make([]tsn.Rate, len(b.links))
	for _, s := range b.reserved.Slopes {
		for _, r := range s.IdleSlope {
			told[s.Port-1] += r
		}
	}
	for i, l := range b.links {
		most := limit(l)
		if !l.up {
			most = 0
		}
		switch {
		case sum[i] > most:
			n.fault("%s port %d: %d kbit/s are reserved, %d may be", b.name, i+1, sum[i], most)
		case told[i] != sum[i]:
			n.fault("%s port %d: streams of %d kbit/s, idle slopes of %d", b.name, i+1, sum[i], told[i])
		}
	}
}
