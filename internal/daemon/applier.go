package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
	"tsnswitch/qbv"
)

// plane is the data plane as the applier uses it.
type plane interface {
	Set(ctx context.Context, d tsn.DesiredState) (dataplane.Report, error)
	// Forget makes the next Set look at the whole kernel.
	Forget()
}

// An applier makes the kernel equal to the last desired state it was given. A
// state that is overtaken while the kernel is busy is never tried; a failure
// is tried again; and now and then the kernel is looked at without need,
// because others can change it too.
type applier struct {
	plane plane
	log   *slog.Logger
	// now is gPTP time, if it is known; see set.
	now func() (tsn.PTPTime, error)
	// done is told of every attempt.
	done func(node.Desired, dataplane.Report, error)

	mu      sync.Mutex
	want    *node.Desired
	begun   []begun       // those lists in want that had begun when it was given
	last    error         // of the last attempt
	look    bool          // what is known of the kernel may be out of date
	settled chan struct{} // closed when what is wanted now has been tried

	wake chan struct{}
	// open is closed when the first state may be applied (see hold).
	open     chan struct{}
	openOnce sync.Once
}

const (
	applyRetry = time.Second      // after a failure
	applyCheck = 30 * time.Second // look at the kernel although nothing changed
	applyLimit = 10 * time.Second // for one attempt
	againLead  = 100_000_000      // ns until a list begins again
)

func newApplier(p plane, log *slog.Logger, now func() (tsn.PTPTime, error), done func(node.Desired, dataplane.Report, error)) *applier {
	return &applier{plane: p, log: log, now: now, done: done, wake: make(chan struct{}, 1), open: make(chan struct{})}
}

// release lets the applier touch the kernel. After a restart the kernel still
// forwards as the last run left it, and the new run knows nothing yet: it must
// not take its ignorance for the truth.
func (a *applier) release() { a.openOnce.Do(func() { close(a.open) }) }

// set gives a new whole state; it does not wait.
//
// A gate control list that began before is one that runs, or one that is gone
// back to, because its successor was taken back: it may start at any of its
// cycles. One that lies ahead starts at its base time or not at all.
func (a *applier) set(d node.Desired) {
	var lists []begun
	if now, err := a.now(); err == nil {
		for _, e := range d.State.Egress {
			if e.Gates != nil && e.Gates.BaseTime.NS < now.NS {
				lists = append(lists, begun{port: e.Port})
			}
		}
	}
	a.mu.Lock()
	a.want, a.begun = &d, lists
	if a.settled == nil { // who waits for an overtaken state waits for this one
		a.settled = make(chan struct{})
	}
	a.mu.Unlock()
	a.rouse()
}

// settle waits until the state wanted now has been tried, and returns what
// became of it.
func (a *applier) settle(ctx context.Context) error {
	a.mu.Lock()
	settled := a.settled
	a.mu.Unlock()
	if settled != nil {
		select {
		case <-settled:
		case <-ctx.Done():
			return fmt.Errorf("the kernel is still being set: %w", ctx.Err())
		}
	}
	_, err := a.state()
	return err
}

// poke asks for another look at the kernel.
func (a *applier) poke() {
	a.mu.Lock()
	a.look = true
	a.mu.Unlock()
	a.rouse()
}

func (a *applier) rouse() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// state returns the wanted state and what became of the last attempt.
func (a *applier) state() (want *node.Desired, last error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.want, a.last
}

func (a *applier) run(ctx context.Context) {
	select {
	case <-a.open:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(applyCheck) // set wakes it before that
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
			a.mu.Lock()
			a.look = true
			a.mu.Unlock()
		}
		timer.Reset(a.apply(ctx))
	}
}

// begun is a list that had begun when it was wanted, and when it shall again.
type begun struct {
	port  tsn.Port
	again tsn.PTPTime
}

// again moves the base times of lists that had begun to a cycle that is still
// to come, and stays with that until it has, unless time steps. To a kernel that runs such a list
// it is the same list.
func (a *applier) again(d tsn.DesiredState, lists []begun) tsn.DesiredState {
	now, err := a.now()
	if err != nil || len(lists) == 0 {
		return d
	}
	d.Egress = slices.Clone(d.Egress)
	for i := range d.Egress {
		e := &d.Egress[i]
		j := slices.IndexFunc(lists, func(b begun) bool { return b.port == e.Port })
		if j < 0 {
			continue
		}
		list := *e.Gates
		if ahead := lists[j].again.NS - now.NS; ahead <= 0 || ahead > againLead+list.CycleTime {
			lists[j].again = qbv.NextBase(&list, now.Add(againLead))
		}
		list.BaseTime = lists[j].again
		e.Gates = &list
	}
	return d
}

// apply tries once and says when to look again.
func (a *applier) apply(ctx context.Context) time.Duration {
	a.mu.Lock()
	want, begun, look := a.want, a.begun, a.look
	a.look = false
	a.mu.Unlock()
	if look {
		a.plane.Forget()
	}
	if want == nil {
		return applyCheck
	}
	// What was begun is finished: a daemon that is told to stop leaves no
	// half of a state behind.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), applyLimit)
	defer cancel()
	report, err := a.plane.Set(whole, a.again(want.State, begun))
	a.mu.Lock()
	a.last = err
	if a.want == want && a.settled != nil {
		close(a.settled)
		a.settled = nil
	}
	a.mu.Unlock()
	for _, c := range report.Applied {
		a.log.Debug("kernel", "port", c.Port, "change", c.Text)
	}
	if len(report.Applied) > 0 {
		a.log.Info("kernel set", "changes", len(report.Applied))
	}
	a.done(*want, report, err)
	if err == nil {
		return applyCheck
	}
	// A pending schedule becomes oper at its base time; then it can be replaced.
	var pending *dataplane.PendingError
	if errors.As(err, &pending) {
		a.log.Debug("kernel is not as desired yet", "err", err)
		return 100 * time.Millisecond
	}
	if ctx.Err() == nil {
		a.log.Warn("kernel is not as desired", "err", err)
	}
	return applyRetry
}
