package config

import tsn "tsnswitch"

// Words of qbv.filters (802.1Qci): police holds each talker to what it
// reserved, gate also to the windows of the running schedule.
const (
	FilterOff    = "off"
	FilterPolice = "police"
	FilterGate   = "gate"
)

// ClassMap is the traffic classes of all ports.
func (c *Daemon) ClassMap() tsn.ClassMap {
	if c.QBV.Classes == tsn.FourClassMap.Queues() {
		return tsn.FourClassMap
	}
	return tsn.DefaultClassMap
}

// FilterMode is the word in force: without one talkers are policed where they
// reserve by MSRP.
func (c *Daemon) FilterMode() string {
	switch {
	case c.QBV.Filters != "":
		return c.QBV.Filters
	case c.SRP.MSRP:
		return FilterPolice
	}
	return FilterOff
}

// Launch gives the scheduled class of an end station's port launch times
// (SO_TXTIME). Every frame of the class needs one then.
type Launch struct {
	// Delta is how long before its launch time a frame leaves the queue.
	Delta Duration `yaml:"delta"`
	// Deadline: frames leave at once, and at the latest at their launch time.
	Deadline bool `yaml:"deadline"`
}

func (l *Launch) setDefaults() { l.Delta = 500e3 }

// LaunchTimes are those of a port by class.
func (p Port) LaunchTimes() (out [tsn.MaxTrafficClasses]tsn.LaunchTime) {
	if p.Launch != nil {
		out[tsn.ClassScheduled] = tsn.LaunchTime{Delta: int64(p.Launch.Delta), Deadline: p.Launch.Deadline}
	}
	return out
}

// checkLaunch: what a bridge forwards has no launch time, and would be dropped.
func (c *Daemon) checkLaunch(d *document, key string, p Port) {
	if p.Launch == nil {
		return
	}
	within(d, key+".launch.delta", p.Launch.Delta, 1e3, 1e9)
	switch {
	case c.Role != RoleEndStation:
		d.bad(key+".launch", "is for end stations: frames that a bridge forwards have no launch time")
	case c.OffloadOf(p) == OffloadTxTime:
		d.bad(key+".launch", "is there already under offload txtime-assist; remove it")
	}
}
