package dataplane

import (
	"context"
	"errors"
	"fmt"

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
	// Left begins with the step that failed; it and what follows were not done.
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
	for i, o := range ops {
		err := ctx.Err()
		if err == nil {
			err = k.Apply(ctx, o)
		}
		if err != nil {
			r.Left = changes(c, ops[i:])
			return r, fmt.Errorf("%s: %w (%d steps done, %d left; set again to continue)", o.Text(c), err, i, len(ops)-i)
		}
		r.Applied = append(r.Applied, Change{o.On(), o.Text(c)})
	}
	if len(ops) > 0 {
		if err := verify(k, t); err != nil {
			return r, err
		}
	}
	r.Bridge = true
	return r, errors.Join(r.Refused...)
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
