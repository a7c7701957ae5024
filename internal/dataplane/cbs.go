package dataplane

import (
	"fmt"

	tsn "tsnswitch"
)

// Shaper is the parameters of a credit-based shaper as the kernel's cbs takes
// them: slopes in kbit/s, credits in octets. The zero Shaper is none: strict
// priority.
type Shaper struct{ IdleSlope, SendSlope, HiCredit, LoCredit int32 }

// NewShaper computes them for a class with the given idle slope below classes
// with those of above.
//
// rate is the medium's, speed what the kernel takes for the link's; they
// differ where a test or a lab emulates a slow link. The class waits as long
// as the medium makes it wait (hiCredit), and is charged for its frames as the
// kernel believes that they leave (sendSlope, loCredit).
func NewShaper(idle, rate, speed tsn.Rate, above []tsn.Rate) (Shaper, error) {
	c := tsn.ShapedClass{IdleSlope: idle, MaxFrame: tsn.MaxFrameOctets}
	var higher []tsn.ShapedClass
	for _, a := range above {
		higher = append(higher, tsn.ShapedClass{IdleSlope: a, MaxFrame: tsn.MaxFrameOctets})
	}
	medium, err := tsn.NewShaper(rate, c, higher, tsn.MaxFrameOctets)
	if err != nil {
		return Shaper{}, err
	}
	link, err := tsn.NewShaper(speed, c, nil, tsn.MaxFrameOctets)
	if err != nil {
		return Shaper{}, fmt.Errorf("the kernel's link speed: %w", err)
	}
	if speed > 1<<31-1 {
		return Shaper{}, fmt.Errorf("link speed %s is more than cbs can be told", speed)
	}
	return Shaper{int32(medium.IdleSlope), int32(link.SendSlope), int32(medium.HiCredit), int32(link.LoCredit)}, nil
}
