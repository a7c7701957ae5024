package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
)

// A fakePlane is a kernel that takes a while and may refuse.
type fakePlane struct {
	mu    sync.Mutex
	took  time.Duration
	err   error
	sets  []tsn.Port // what each Set was for: its first egress port
	begun chan struct{}
	looks int // calls of Forget
}

func (p *fakePlane) Set(ctx context.Context, d tsn.DesiredState) (dataplane.Report, error) {
	p.mu.Lock()
	took, err := p.took, p.err
	p.mu.Unlock()
	if p.begun != nil {
		p.begun <- struct{}{}
	}
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return dataplane.Report{}, ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sets = append(p.sets, d.Egress[0].Port)
	return dataplane.Report{}, err
}

func (p *fakePlane) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
}

func (p *fakePlane) answer(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *fakePlane) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sets)
}

// state is a desired state that can be told from others.
func state(n tsn.Port) node.Desired {
	return node.Desired{State: tsn.DesiredState{Egress: []tsn.PortEgress{{Port: n}}}}
}

// startApplier runs one in the bubble; it ends with the test.
func startApplier(t *testing.T, p *fakePlane) *applier {
	ctx, cancel := context.WithCancel(context.Background())
	a := newApplier(p, slog.New(slog.DiscardHandler), noTime, func(node.Desired, dataplane.Report, error) {})
	ended := make(chan struct{})
	go func() { defer close(ended); a.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return a
}

// bubble runs f in a synctest bubble in which cleanups run before its end.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// Nothing is touched before release; then only the last state counts.
func TestApplierHold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &fakePlane{}
		a := startApplier(t, p)
		a.set(state(1))
		a.set(state(2))
		time.Sleep(time.Hour)
		if p.count() != 0 {
			t.Fatalf("%v before release", p.sets)
		}
		a.release()
		a.release() // once more is harmless
		if err := a.settle(t.Context()); err != nil || p.count() != 1 || p.sets[0] != 2 {
			t.Errorf("%v, %v", p.sets, err)
		}
	})
}

// A state that is overtaken while the kernel is busy is never tried, and who
// waits for it waits for the one that overtook it.
func TestApplierOvertaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &fakePlane{took: time.Second, begun: make(chan struct{})}
		a := startApplier(t, p)
		a.release()
		a.set(state(1))
		<-p.begun
		settled := make(chan error, 2)
		wait := func() { settled <- a.settle(t.Context()) }
		go wait()
		synctest.Wait()
		a.set(state(2))
		go wait()
		synctest.Wait()
		a.set(state(3))
		<-p.begun
		for range 2 {
			if err := <-settled; err != nil {
				t.Error(err)
			}
		}
		if len(p.sets) != 2 || p.sets[1] != 3 {
			t.Errorf("tried %v, want 1 and 3", p.sets)
		}
	})
}

// A failure is told, tried again after a second, and forgotten when it is over.
func TestApplierRetries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &fakePlane{err: errors.New("no such device")}
		a := startApplier(t, p)
		a.release()
		a.set(state(1))
		if err := a.settle(t.Context()); err == nil {
			t.Error("settled well")
		}
		time.Sleep(3*applyRetry + applyRetry/2)
		if n := p.count(); n != 4 {
			t.Errorf("tried %d times in 3.5 s", n)
		}
		p.answer(nil)
		time.Sleep(applyRetry)
		if _, err := a.state(); err != nil {
			t.Error(err)
		}
		n := p.count()
		time.Sleep(applyCheck - applyRetry)
		if p.count() != n {
			t.Error("looked again too soon")
		}
		time.Sleep(applyRetry)
		if p.count() != n+1 {
			t.Error("never looked again")
		}
	})
}

// A schedule that waits for its base time is asked after ten times a second.
func TestApplierPending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &fakePlane{err: errors.Join(&dataplane.PendingError{Port: 1})}
		a := startApplier(t, p)
		a.release()
		a.set(state(1))
		_ = a.settle(t.Context())
		time.Sleep(950 * time.Millisecond)
		if n := p.count(); n != 10 {
			t.Errorf("tried %d times in 0.95 s", n)
		}
	})
}

// The daemon is told to stop while the kernel is being set: that is finished.
func TestApplierFinishes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := &fakePlane{took: time.Second, begun: make(chan struct{})}
		a := newApplier(p, slog.New(slog.DiscardHandler), noTime, func(node.Desired, dataplane.Report, error) {})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); a.run(ctx) }()
		a.release()
		a.set(state(1))
		<-p.begun
		cancel()
		<-ended
		if p.count() != 1 {
			t.Error("left half done")
		}
		if _, err := a.state(); err != nil {
			t.Error(err)
		}
	})
}

// Who waits gives up when he likes, and says what he waited for.
func TestApplierSettleGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a := startApplier(t, &fakePlane{})
		if err := a.settle(t.Context()); err != nil {
			t.Errorf("nothing is wanted: %v", err)
		}
		a.set(state(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.settle(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func noTime() (tsn.PTPTime, error) { return tsn.PTPTime{}, errNoTime }

// 802.1Q 8.6.9.3.1: a list whose base time has passed starts at a later cycle.
// Here that is so only for one that had begun when it was wanted; a new one
// whose time has passed while it waited is not moved, for its peers started.
func TestApplierBeginsAgain(t *testing.T) {
	now := tsn.PTPTime{NS: 1000*ms + 123}
	a := newApplier(nil, nil, func() (tsn.PTPTime, error) { return now, nil }, nil)
	list := func(base int64) *tsn.GateControlList {
		return &tsn.GateControlList{BaseTime: tsn.PTPTime{NS: base}, CycleTime: 7 * ms}
	}
	given := tsn.DesiredState{Egress: []tsn.PortEgress{{Port: 1, Gates: list(3 * ms)}, {Port: 2}, {Port: 3, Gates: list(1001 * ms)}}}
	a.set(node.Desired{State: given})
	now.NS += 50 * ms // the kernel was busy
	got := a.again(given, a.begun)
	if b := got.Egress[0].Gates.BaseTime.NS; (b-3*ms)%(7*ms) != 0 || b < now.NS+againLead || b >= now.NS+againLead+7*ms {
		t.Errorf("begins again at %d", b)
	} else {
		// It stays with that until then; and not for longer if time is set back.
		first := now
		for _, c := range []struct {
			now  int64
			same bool
		}{{first.NS + 1, true}, {b - 1, true}, {first.NS - 1_000_000*ms, false}} {
			now.NS = c.now
			if again := a.again(given, a.begun).Egress[0].Gates.BaseTime.NS; (again == b) != c.same {
				t.Errorf("at %d it begins at %d, before at %d", c.now, again, b)
			}
		}
		now = first
	}
	if got.Egress[1].Gates != nil || got.Egress[2].Gates.BaseTime.NS != 1001*ms || given.Egress[0].Gates.BaseTime.NS != 3*ms {
		t.Errorf("changed what it must not: %v %v", got, given)
	}
	a.now = noTime
	if got := a.again(given, a.begun); got.Egress[0].Gates.BaseTime.NS != 3*ms {
		t.Error("moved without knowing the time")
	}
}
