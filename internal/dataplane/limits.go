package dataplane

import (
	"fmt"
	"strings"

	tsn "tsnswitch"
)

// GateLimits are the bounds of a gate control list on a port; 0 is no bound.
type GateLimits struct {
	Entries                  int   // per list
	MinInterval, MaxInterval int64 // ns
	MaxCycle                 int64 // ns
	NoExtension              bool  // CycleTimeExtension must be 0
	// ReadBack is how many entries a list and the one that it replaces may have
	// together: the kernel tells both in one message of 32 KiB, and leaves a
	// qdisc out that does not fit. A list of at most half as many can always be
	// replaced by another.
	ReadBack int
	// PerEntry: a frame must end within the gate entry in which it begins, even if
	// the next leaves its gate open. Software taprio before 6.3 works so.
	PerEntry bool
	// Table is how many entries the lists of all ports of a device may have.
	Table int
}

// readBack leaves room for what else is in the message.
const readBack = 850

// SoftwareGates are the limits of software taprio: what can be read back, and
// the kernel's bound of a cycle. The shortest entry is what a minimum frame
// takes at the link's rate, which each port adds.
var SoftwareGates = GateLimits{Entries: readBack - 50, ReadBack: readBack, MaxCycle: 1<<31 - 1}

// The limits of devices in full offload, as their drivers check them.
var (
	FelixGates   = GateLimits{Entries: 63, MinInterval: 35} // the switch of the LS1028A
	LAN966xGates = GateLimits{Entries: 256, Table: 256, MinInterval: 1000, MaxInterval: 1_000_000_000, NoExtension: true}
	am65Gates    = GateLimits{Entries: 64}
	sja1105Gates = GateLimits{Entries: 1024, Table: 1024}
)

// driverGates are the same by the name of the driver. A device that is not here
// is asked: its driver refuses what it cannot do.
var driverGates = map[string]GateLimits{
	"mscc_felix": FelixGates, "lan966x-switch": LAN966xGates, "am65-cpsw-nuss": am65Gates, "sja1105": sja1105Gates,
}

// within is l where d has no tighter bound.
func (l GateLimits) within(d GateLimits) GateLimits {
	lower := func(a, b int64) int64 {
		if b == 0 || a > 0 && a < b {
			return a
		}
		return b
	}
	return GateLimits{
		Entries:     int(lower(int64(l.Entries), int64(d.Entries))),
		MinInterval: max(l.MinInterval, d.MinInterval),
		MaxInterval: lower(l.MaxInterval, d.MaxInterval),
		MaxCycle:    lower(l.MaxCycle, d.MaxCycle),
		NoExtension: l.NoExtension || d.NoExtension,
		ReadBack:    int(lower(int64(l.ReadBack), int64(d.ReadBack))),
		PerEntry:    l.PerEntry || d.PerEntry,
		Table:       int(lower(int64(l.Table), int64(d.Table))),
	}
}

// refuse says what a port cannot execute of a list, one reason for each limit.
func (l GateLimits) refuse(list *tsn.GateControlList, speed tsn.Rate) (why []string) {
	add := func(cond bool, format string, a ...any) {
		if cond {
			why = append(why, fmt.Sprintf(format, a...))
		}
	}
	n := len(list.Entries)
	add(n == 0, "a list without entries")
	add(l.Entries > 0 && n > l.Entries, "%d entries, and the limit is %d: %s", n, l.Entries, l.whyEntries())
	var sum int64
	for i, e := range list.Entries {
		sum += e.Interval
		if w := l.interval(e.Interval, speed); w != "" {
			return append(why, fmt.Sprintf("entry %d lasts %d ns, %s", i, e.Interval, w))
		}
	}
	add(sum != list.CycleTime, "entries last %d ns together, the cycle %d", sum, list.CycleTime)
	add(l.MaxCycle > 0 && list.CycleTime > l.MaxCycle, "a cycle of %d ns is longer than the kernel's longest, %d ns", list.CycleTime, l.MaxCycle)
	add(list.CycleTimeExtension < 0, "a negative cycle time extension")
	add(l.NoExtension && list.CycleTimeExtension > 0, "the device cannot extend a cycle")
	return why
}

func (l GateLimits) whyEntries() string {
	if l.Entries == SoftwareGates.Entries {
		return "a longer list could not be read back"
	}
	return "the device has room for no more"
}

// minFrame is the shortest frame as the kernel counts it, octets.
const minFrame = 60

// interval says what is wrong with one that long, "" if nothing.
func (l GateLimits) interval(ns int64, speed tsn.Rate) string {
	switch frame := speed.TransmitTime(minFrame); {
	case ns <= 0:
		return "which is no time"
	case ns > 1<<32-1:
		return "more than 32 bits hold"
	case ns < frame:
		return fmt.Sprintf("less than the %d ns of a minimum frame at the link's %s", frame, speed)
	case ns < l.MinInterval:
		return fmt.Sprintf("less than the device's shortest, %d ns", l.MinInterval)
	case l.MaxInterval > 0 && ns > l.MaxInterval:
		return fmt.Sprintf("more than the device's longest, %d ns", l.MaxInterval)
	}
	return ""
}

// reversed reports whether the device serves its lowest queue first, in
// hardware, so that the highest class has to be the kernel's traffic class 0.
func reversed(driver string) bool { return driver == "igb" || driver == "igc" }

// Of a frame: header and what is added to it on the medium, octets.
const ethernetHeader = 14

// sduCap is the max-SDU that the kernel derives from a list, since it came to
// do so with 6.3: what goes through the class's longest open gate at the speed
// it takes the link to have. It shows in a dump instead of a larger one that
// was asked for. 0: none.
func (s *Schedule) sduCap(c tsn.TrafficClass, speed tsn.Rate, maxMTU uint32) uint32 {
	open := s.longestOpen(c)
	mbps := int64(speed / tsn.Mbps)
	if mbps == 0 || open == s.Cycle {
		return 0
	}
	picosPerByte := 8_000_000 / mbps
	if picosPerByte == 0 {
		return 0
	}
	octets := uint32(open * 1000 / picosPerByte)
	if sdu := octets - ethernetHeader; sdu <= maxMTU { // wraps below the header, as the kernel's
		return sdu
	}
	return 0
}

// longestOpen is how long the class's gate stays open at most, ns; the cycle if
// it never shuts.
func (s *Schedule) longestOpen(c tsn.TrafficClass) (longest int64) {
	n := len(s.Entries)
	for i := range s.Entries {
		open := int64(0)
		for j := 0; j < n && s.Entries[(i+j)%n].Gates.Has(c); j++ {
			open += s.Entries[(i+j)%n].Interval
		}
		longest = max(longest, open)
	}
	return longest
}

// driverOf picks the name that says most: that of the device, for a port of a
// DSA switch, whose interface belongs to a driver "dsa".
func driverOf(ethtool, device string) string {
	if device != "" && (ethtool == "" || strings.HasPrefix(ethtool, "dsa")) {
		return device
	}
	return ethtool
}
