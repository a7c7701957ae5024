package dataplane

import (
	"context"
	"fmt"
	"slices"
	"time"

	tsn "tsnswitch"
)

// RawSocket is for tests that send and receive frames.
var RawSocket = rawSocket

// From is from, which Plan leaves to the backend.
func (s *Schedule) From(t, least int64) *Schedule { return s.from(t, least) }

// GatesAt is what the list has open at a time.
func (s *Schedule) GatesAt(t int64) tsn.GateMask {
	at := (t - s.Base) % s.Cycle
	for _, e := range s.Entries {
		if at -= e.Interval; at < 0 {
			return e.Gates
		}
	}
	return 0
}

// ReconcileAt is Reconcile with a clock.
func ReconcileAt(ctx context.Context, k Backend, d tsn.DesiredState, now func() time.Time) (Report, error) {
	return reconcile(ctx, k, d, &memory{}, now)
}

// OneByOne makes every batch one step long until the function it returns is
// called.
func OneByOne() (restore func()) {
	old := maxBatch
	maxBatch = 1
	return func() { maxBatch = old }
}

// SetSpoilt is Set with a kernel that finds an invalid VLAN in the step with this
// index of the batch that adds FDB entries.
func (k *Kernel) SetSpoilt(ctx context.Context, d tsn.DesiredState, index int) (Report, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return reconcile(ctx, &spoilt{&k.k, index}, d, &k.mem, time.Now)
}

type spoilt struct {
	*kernel
	index int
}

func (s *spoilt) Apply(ctx context.Context, ops []Op) []Failure {
	if o, ok := ops[0].(SetFDB); ok && len(ops) > s.index {
		o = ops[s.index].(SetFDB)
		o.Entry.VID = 4000
		ops[s.index] = o
	}
	return s.kernel.Apply(ctx, ops)
}

// SetMACMerge is the request alone, whatever is supported.
func (k *Kernel) SetMACMerge(ifname string, m MACMerge) error { return k.k.mm.set(ifname, m) }

// KeepBackOn makes the filter of a port without a bridge of ours, and reads it back.
func KeepBackOn(ifname string, frames []tsn.ControlFrames) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	ls, err := c.links()
	if err != nil {
		return err
	}
	index := ls[ifname].index
	have, _, err := c.keptBack(index)
	if err == nil && len(have) == 0 && len(frames) == 0 {
		return nil
	}
	if qs, err := c.qdiscs(); err == nil && !hasClsact(qs, index) {
		if err := c.installHook(index); err != nil {
			return err
		}
	}
	if err := c.send(keepBackRequest(index, frames)); err != nil {
		return err
	}
	got, odd, err := c.keptBack(index)
	if err == nil && (odd || !slices.Equal(got, frames)) {
		err = fmt.Errorf("read back %v, odd %t", got, odd)
	}
	return err
}
