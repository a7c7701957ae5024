package mrp

// Timers of a Participant (802.1Q 10.7.11), in ns; 0 is the standard's.
type Timers struct {
	Join     int64 // JoinTime: transmit opportunities are at most this far apart on shared media
	Leave    int64 // LeaveTime: from a LeaveAll to the end of a registration
	LeaveAll int64 // LeaveAllTime: the least time between LeaveAlls; each is up to half longer
	Periodic int64 // below 0: PeriodicTransmission is disabled
}

const ms = 1_000_000

// Standard are the defaults of 802.1Q table 10-7.
func Standard() Timers { return Timers{200 * ms, 600 * ms, 10_000 * ms, 1000 * ms} }

// ProAV are those of the Avnu ProAV bridge specification: a registration
// outlives a lost frame or two.
func ProAV() Timers { return Timers{200 * ms, 5000 * ms, 10_000 * ms, 1000 * ms} }

func (t Timers) withDefaults() Timers {
	d := Standard()
	for _, v := range []struct {
		v   *int64
		def int64
	}{{&t.Join, d.Join}, {&t.Leave, d.Leave}, {&t.LeaveAll, d.LeaveAll}} {
		if *v.v <= 0 {
			*v.v = v.def
		}
	}
	if t.Periodic == 0 {
		t.Periodic = d.Periodic
	}
	return t
}
