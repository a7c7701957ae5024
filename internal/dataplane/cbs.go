package dataplane

import (
	"fmt"

	tsn "tsnswitch"
)

// maxFrame is the longest frame as cbs counts it: 1500 octets of data, the
// addresses, length/type and one tag.
const maxFrame = 1518

// Shaper is the parameters of a credit-based shaper (802.1Q 8.6.8.2 and annex
// L) as the kernel's cbs takes them: slopes in kbit/s, credits in octets. The
// zero Shaper is none: strict priority.
type Shaper struct{ IdleSlope, SendSlope, HiCredit, LoCredit int32 }

// NewShaper computes them for a class with the given idle slope.
//
//	sendSlope = idleSlope - speed                              (8.6.8.2 d)
//	loCredit  = maxFrame * sendSlope / speed
//	hiCredit  = idleSlope * maximum interference time          (annex L.1)
//
// speed is what the kernel takes for the link's rate; rate is the medium's,
// which differs where a test or a lab emulates a slow link. higher are the
// idle slopes of the shaped classes above: the class may have to wait for one
// lower frame stretched by them, and for one frame of each of them.
func NewShaper(idle, rate, speed tsn.Rate, higher []tsn.Rate) (Shaper, error) {
	if idle == 0 {
		return Shaper{}, nil
	}
	left := rate
	for _, h := range higher {
		left -= min(left, h)
	}
	if idle > left || idle >= speed || speed > 1<<31-1 {
		return Shaper{}, fmt.Errorf("idle slope %s does not fit: %s of %s is left (link speed %s)", idle, left, rate, speed)
	}
	hi := ceilDiv(maxFrame*idle, left) + tsn.Rate(len(higher))*ceilDiv(maxFrame*idle, rate)
	return Shaper{
		IdleSlope: int32(idle),
		SendSlope: int32(idle) - int32(speed),
		HiCredit:  int32(hi),
		LoCredit:  -int32(ceilDiv(maxFrame*(speed-idle), speed)),
	}, nil
}

func ceilDiv(a, b tsn.Rate) tsn.Rate { return (a + b - 1) / b }
