package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	tsn "tsnswitch"
)

// Change is one step, in the words of `bridge` and `tc`.
type Change struct {
	Port tsn.Port // NoPort: the bridge
	Text string
}

func (c Change) String() string { return c.Text }

// Report says what a Set did.
type Report struct {
	Applied []Change // in order
	// Left are the steps that failed, the first of them first, and what was to
	// follow their batch; none of them was done.
	Left []Change
	// Refused are ports whose schedule or shapers could not be changed at this
	// time (PendingError, BaseTimeError, or a clock relation that is missing).
	Refused []error
	// Bridge: bridge, ports, VLANs, FDB and MDB were read back as desired,
	// whatever became of the egress side.
	Bridge bool
}

// Reconcile makes k equal to d; Kernel.Set and the fake's Set are this.
//
// The bridge's ports are the configured ones: one that d does not name is left
// in no VLAN. The egress side of a port that d does not name is left alone.
//
// An error that Is ErrInvalid or ErrNotSupported, found before the first step,
// leaves the kernel as it was. If a step fails, Report says what was done; the
// state in between is loop-free, and the next call continues from it.
func Reconcile(ctx context.Context, k Backend, d tsn.DesiredState) (Report, error) {
	return reconcile(ctx, k, d, time.Now)
}

func reconcile(ctx context.Context, k Backend, d tsn.DesiredState, now func() time.Time) (Report, error) {
	var r Report
	ops, t, err := plan(k, d, &r)
	if err != nil {
		return r, err
	}
	c := k.Config()
	for _, o := range ops {
		if _, ok := o.(EnsureBridge); ok && !c.CreateBridge {
			return r, fmt.Errorf("%w: bridge %s is missing or not set up; allow its creation or run: %s", ErrInvalid, c.Bridge, o.Text(c))
		}
	}
	if err := apply(ctx, k, ops, &r, now); err != nil {
		return r, err
	}
	if len(ops) > 0 {
		if err := verify(k, t); err != nil {
			return r, err
		}
	}
	r.Bridge = true
	return r, errors.Join(r.Refused...)
}

// apply does the ops batch by batch, and ends with the batch in which a step
// fails. The steps of one batch do not depend on each other, so the state that
// is left is one that a plan of other order would have passed through.
func apply(ctx context.Context, k Backend, ops []Op, r *Report, clock func() time.Time) error {
	c := k.Config()
	begun := clock()
	told := begun.Add(ProgressAfter - progressEvery)
	for done := 0; done < len(ops); {
		batch := ops[done : done+batchLen(ops[done:])]
		if now := clock(); c.Progress != nil && now.Sub(told) >= progressEvery {
			told = now
			c.Progress(Progress{Done: done, Steps: len(ops), Elapsed: now.Sub(begun)})
		}
		if err := ctx.Err(); err != nil {
			r.Left = changes(c, ops[done:])
			return fmt.Errorf("%s: %w (%d steps done, %d left; set again to continue)", batch[0].Text(c), err, done, len(ops)-done)
		}
		failed := k.Apply(ctx, batch)
		for i, o := range batch {
			if !slices.ContainsFunc(failed, func(f Failure) bool { return f.Index == i }) {
				r.Applied = append(r.Applied, Change{o.On(), o.Text(c)})
			}
		}
		done += len(batch)
		if len(failed) == 0 {
			continue
		}
		for _, f := range failed {
			r.Left = append(r.Left, changes(c, batch[f.Index:f.Index+1])...)
		}
		r.Left = append(r.Left, changes(c, ops[done:])...)
		f := failed[0]
		return fmt.Errorf("%s: %w (%d steps done, %d left; set again to continue)", batch[f.Index].Text(c), f.Err, len(r.Applied), len(r.Left))
	}
	return nil
}

const progressEvery = time.Second

// maxBatch bounds a batch, so that there is progress to tell. Tests change it.
var maxBatch = 4096

// batchLen is how many of the first ops may be done together: those of one
// kind, which are on different ports, VLANs or entries. Any order of them is
// as safe as the plan's.
func batchLen(ops []Op) int {
	n := 1
	if !batchable(ops[0]) {
		return n
	}
	kind := fmt.Sprintf("%T", ops[0])
	for n < min(len(ops), maxBatch) && fmt.Sprintf("%T", ops[n]) == kind {
		n++
	}
	return n
}

func batchable(o Op) bool {
	switch o.(type) {
	case SetFlags, SetVLAN, DelVLAN, SetFDB, AgeFDB, DelFDB, AddMDB, DelMDB:
		return true
	}
	return false
}

func plan(k Backend, d tsn.DesiredState, r *Report) ([]Op, *Target, error) {
	t, err := NewTarget(k, d)
	if err != nil {
		return nil, nil, err
	}
	have, err := k.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kernel: %w", err)
	}
	ops, refused := Plan(have, t)
	r.Refused = refused
	return ops, t, nil
}

// verify reads back and compares.
func verify(k Backend, t *Target) error {
	have, err := k.Read()
	if err != nil {
		return fmt.Errorf("reading the kernel back: %w", err)
	}
	if left, _ := Plan(have, t); len(left) > 0 {
		return fmt.Errorf("the kernel took every step and yet differs in %d, first: %s", len(left), left[0].Text(k.Config()))
	}
	return nil
}

// Difference lists the steps that Set would take now.
func Difference(k Backend, d tsn.DesiredState) ([]Change, error) {
	var r Report
	ops, _, err := plan(k, d, &r)
	if err != nil {
		return nil, err
	}
	return changes(k.Config(), ops), errors.Join(r.Refused...)
}

func changes(c *Config, ops []Op) []Change {
	var out []Change
	for _, o := range ops {
		out = append(out, Change{o.On(), o.Text(c)})
	}
	return out
}
