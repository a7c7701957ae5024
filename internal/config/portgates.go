package config

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// The modes of qbv.offload and ports[].offload: who runs the gates.
const (
	OffloadNone    = "none"          // the kernel, by its clock
	OffloadTxTime  = "txtime-assist" // the kernel gives each frame its launch time
	OffloadFull    = "full"          // the device, by its PTP clock
	OffloadUngated = "ungated"       // nobody: shapers and launch times alone
	maxFrameOctets = 16384
)

// Preemption is frame preemption on a port: 802.3 clause 99, 802.1Q 6.7.2.
type Preemption struct {
	// Classes are those whose frames express ones interrupt.
	Classes     []tsn.TrafficClass `yaml:"classes,flow"`
	Verify      bool               `yaml:"verify"`      // ask the peer first
	VerifyTime  Duration           `yaml:"verifyTime"`  // between two requests
	AddFragSize uint8              `yaml:"addFragSize"` // 64 octets more in a fragment, each
}

func (p *Preemption) setDefaults() { p.Verify, p.VerifyTime = true, 10e6 }

// OffloadOf is who runs the gates of a port.
func (c *Daemon) OffloadOf(p Port) string {
	if p.Offload != "" {
		return p.Offload
	}
	return c.QBV.Offload
}

// MaxSDUs is what ports[].maxSdu says, by class.
func (p Port) MaxSDUs() (out [tsn.MaxTrafficClasses]uint32) {
	for c, s := range p.MaxSDU[:min(len(p.MaxSDU), len(out))] {
		out[c] = uint32(s)
	}
	return out
}

// Preemptible is what ports[].preemption.classes says, by class.
func (p Port) Preemptible() (out [tsn.MaxTrafficClasses]bool) {
	if p.Preemption == nil {
		return out
	}
	for _, c := range p.Preemption.Classes {
		if c < tsn.MaxTrafficClasses {
			out[c] = true
		}
	}
	return out
}

func (c *Daemon) checkGates(d *document, key string, p Port) {
	offload := c.OffloadOf(p)
	if p.Offload != "" {
		d.oneOf(key+".offload", p.Offload, OffloadNone, OffloadTxTime, OffloadFull, OffloadUngated)
	}
	if offload == OffloadFull && c.GPTP.Clock.Kind != "phc" {
		d.bad(key+".offload", "is full: the device's gates go by its PTP clock, which gPTP follows only with gptp.clock.kind phc")
	}
	within(d, key+".launchDelta", p.LaunchDelta, 0, 10e6)
	if p.LaunchDelta != 0 && offload != OffloadTxTime {
		d.bad(key+".launchDelta", "is for txtime-assist; offload is %s here", offload)
	}
	if offload == OffloadUngated && len(p.MaxSDU) > 0 {
		d.bad(key+".maxSdu", "needs gates; offload is ungated here")
	}
	checkMaxSDU(d, key+".maxSdu", p.MaxSDU, tsn.NumClasses)
	c.checkLaunch(d, key, p)
	if p.Preemption != nil {
		p.Preemption.check(d, key+".preemption", offload)
	}
}

func checkMaxSDU(d *document, key string, sizes []Size, classes int) {
	if n := len(sizes); n > classes {
		d.bad(key, "has %d values; there are %d classes", n, classes)
	}
	for c, s := range sizes {
		within(d, fmt.Sprintf("%s[%d]", key, c), s, 0, maxFrameOctets)
	}
}

func (p *Preemption) check(d *document, key, offload string) {
	if len(p.Classes) > 0 && offload != OffloadFull {
		d.bad(key+".classes", "only a device interrupts frames: set offload to full (it is %s)", offload)
	}
	seen := map[tsn.TrafficClass]string{}
	for i, c := range p.Classes {
		ck := fmt.Sprintf("%s.classes[%d]", key, i)
		within(d, ck, c, 0, tsn.NumClasses-1)
		unique(d, seen, ck, c)
	}
	if i := slices.Index(p.Classes, tsn.ClassControl); i >= 0 {
		d.bad(fmt.Sprintf("%s.classes[%d]", key, i), "class %d carries gPTP, whose frames nothing may interrupt", tsn.ClassControl)
	}
	within(d, key+".verifyTime", p.VerifyTime, 1e6, 128e6)
	if p.VerifyTime%1e6 != 0 {
		d.bad(key+".verifyTime", "is no whole number of milliseconds")
	}
	within(d, key+".addFragSize", p.AddFragSize, 0, 3)
}
