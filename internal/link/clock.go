package link

import (
	"time"

	"tsnswitch"
)

var origin = time.Now()

// Now is this process's monotonic clock, ns since the program started.
func Now() tsn.Instant { return tsn.Instant(time.Since(origin)) }

// Clock turns stamps of the kernel into LocalClock readings
// (802.1AS-2020 10.1). Its methods may be called from several goroutines.
type Clock interface {
	// Local converts a stamp; false if this clock cannot (a hardware stamp
	// without a hardware clock).
	Local(s Stamp) (tsn.LocalTime, bool)
	// Gate is how LocalClock and the clock that gates run on relate at present.
	Gate() GateMap
}
