//go:build linux && amd64

package main

import (
	"context"
	"fmt"
	"time"
)

// stepLost takes gPTP away, and only gPTP, then moves the second clock behind
// the daemon's back.
func (l *lab) stepLost(ctx context.Context) error {
	b2 := l.pair[1]
	if err := b2.shell(ctx, cutGPTP); err != nil {
		return err
	}
	say("gPTP frames to b2 are lost from now on")
	if err := l.waitStatus(ctx, "not synchronized"); err != nil {
		return err
	}
	if err := l.refused(ctx, "not synchronized"); err != nil {
		return err
	}
	if err := b2.shell(ctx, mendGPTP); err != nil {
		return err
	}
	say("they come through again")
	if err := l.waitSchedulable(ctx); err != nil {
		return err
	}
	if _, err := l.apply(ctx); err != nil {
		return err
	}
	const jump = 50 * time.Millisecond
	if err := b2.call(ctx, "Step", int64(jump), &None{}); err != nil {
		return err
	}
	say("b2's clock is set %v ahead by hand", jump)
	if err := l.waitStatus(ctx, "another program adjusts the system clock"); err != nil {
		return err
	}
	return wait(ctx, fmt.Sprintf("the true difference to be under %v again", bound), 30*time.Second, func(ctx context.Context) (string, bool, error) {
		s, err := sample(ctx, l.pair, 5, 200*time.Millisecond)
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("at most %d us", s.max()/1000), s.max() < int64(bound), nil
	})
}
