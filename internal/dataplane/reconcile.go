package dataplane

import (
	"context"
	"errors"
	"fmt"
	"reflect"
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
	// Wrote is when the last step was done; zero if none was.
	Wrote time.Time
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
	return reconcile(ctx, k, d, &memory{}, time.Now)
}

var errDiffers = errors.New("the kernel took every step and yet differs")

// memory is the state in which the last Set left the kernel, as it was read
// back. To plan from it is faster than to read the kernel again, and what
// others have changed meanwhile shows when the result is read.
type memory struct {
	state State
	valid bool
}

func (m *memory) keep(s State) {
	waits := slices.ContainsFunc(s.Egress, func(e Egress) bool { return e.Admin != nil || e.Stalled })
	m.state, m.valid = s, !waits // time alone would change it
}

func reconcile(ctx context.Context, k Backend, d tsn.DesiredState, m *memory, clock func() time.Time) (Report, error) {
	var r Report
	t, err := NewTarget(k, d)
	if err != nil {
		return r, err
	}
	for again := true; ; {
		remembered := m.valid
		if r.Left, err = pass(ctx, k, t, m, &r, clock); err == nil {
			r.Bridge = true
			return r, errors.Join(r.Refused...)
		}
		m.valid = false
		// A schedule may have begun just before it was to be taken back.
		overtaken := again && (errors.Is(err, errDiffers) || errors.As(err, new(*DifferenceError)))
		if !remembered && !overtaken || errors.Is(err, ErrInvalid) || ctx.Err() != nil {
			return r, err
		}
		again = again && !overtaken
	}
}

// pass plans from memory, or from what it reads, applies and reads back.
func pass(ctx context.Context, k Backend, t *Target, m *memory, r *Report, clock func() time.Time) (left []Change, err error) {
	if !m.valid {
		have, err := k.Read()
		if err != nil {
			return nil, fmt.Errorf("reading the kernel: %w", err)
		}
		m.keep(have)
	}
	c := k.Config()
	if left, err := share(ctx, k, t, m, r, clock); err != nil {
		return left, err
	}
	have := m.state
	ops, refused := Plan(have, t)
	r.Refused = refused
	for _, o := range ops {
		if _, ok := o.(EnsureBridge); ok && !c.CreateBridge {
			return nil, missingBridge(c, o)
		}
	}
	if len(ops) == 0 {
		return nil, nil
	}
	m.valid = false
	if left, err := apply(ctx, k, ops, r, clock); err != nil {
		return left, err
	}
	if have, err = k.Reread(have, ops); err != nil {
		return nil, fmt.Errorf("reading the kernel back: %w", err)
	}
	if left, _ := Plan(have, t); len(left) > 0 {
		if err := t.difference(have); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w in %d, first: %s", errDiffers, len(left), left[0].Text(c))
	}
	m.keep(have)
	return nil, nil
}

func missingBridge(c *Config, o Op) error {
	return fmt.Errorf("%w: bridge %s is missing or not set up; allow its creation or run: %s", ErrInvalid, c.Bridge, o.Text(c))
}

// share makes a shared bridge that is missing, before anything is planned on
// top of what its kernel gives it.
func share(ctx context.Context, k Backend, t *Target, m *memory, r *Report, clock func() time.Time) (left []Change, err error) {
	if !t.Shared || m.state.Bridge.Exists {
		return nil, nil
	}
	op := EnsureBridge{Create: true, Shared: true, VLANs: k.Check(tsn.NoPort, FeatureVLANFiltering) == nil}
	if !k.Config().CreateBridge {
		return nil, missingBridge(k.Config(), op)
	}
	m.valid = false
	if left, err := apply(ctx, k, []Op{op}, r, clock); err != nil {
		return left, err
	}
	have, err := k.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel back: %w", err)
	}
	m.keep(have)
	return nil, nil
}

// apply does the ops batch by batch, and ends with the batch in which a step
// fails. The steps of one batch do not depend on each other, so the state that
// is left is one that a plan of other order would have passed through.
func apply(ctx context.Context, k Backend, ops []Op, r *Report, clock func() time.Time) (left []Change, err error) {
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
			return changes(c, ops[done:]), fmt.Errorf("%s: %w (%d steps done, %d left; set again to continue)", batch[0].Text(c), err, done, len(ops)-done)
		}
		failed := k.Apply(ctx, batch)
		for i, o := range batch {
			if !slices.ContainsFunc(failed, func(f Failure) bool { return f.Index == i }) {
				r.Applied = append(r.Applied, Change{o.On(), o.Text(c)})
			}
		}
		r.Wrote = clock()
		done += len(batch)
		if len(failed) == 0 {
			continue
		}
		for _, f := range failed {
			left = append(left, changes(c, batch[f.Index:f.Index+1])...)
		}
		left = append(left, changes(c, ops[done:])...)
		f := failed[0]
		return left, fmt.Errorf("%s: %w (%d steps done, %d left; set again to continue)", batch[f.Index].Text(c), f.Err, len(r.Applied), len(left))
	}
	return nil, nil
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
	kind := reflect.TypeOf(ops[0])
	for n < min(len(ops), maxBatch) && reflect.TypeOf(ops[n]) == kind {
		n++
	}
	return n
}

func batchable(o Op) bool {
	switch o.(type) {
	case SetFlags, SetVLAN, DelVLAN, SetFDB, AgeFDB, DelFDB, AddMDB, DelMDB, SetFilter, DelFilter, SetRule, DelRule:
		return true
	}
	return false
}

// Difference lists the steps that Set would take now.
func Difference(k Backend, d tsn.DesiredState) ([]Change, error) {
	t, err := NewTarget(k, d)
	if err != nil {
		return nil, err
	}
	have, err := k.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the kernel: %w", err)
	}
	ops, refused := Plan(have, t)
	return changes(k.Config(), ops), errors.Join(refused...)
}

func changes(c *Config, ops []Op) []Change {
	var out []Change
	for _, o := range ops {
		out = append(out, Change{o.On(), o.Text(c)})
	}
	return out
}
