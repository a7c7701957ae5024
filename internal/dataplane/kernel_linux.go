package dataplane

import (
	"context"
	"fmt"
	"sync"
	"time"

	tsn "tsnswitch"
)

// Kernel is the Linux kernel's bridge and qdiscs in one network namespace.
// Its methods may be called from any goroutine.
type Kernel struct {
	mu  sync.Mutex
	k   kernel
	mem memory
}

// Open connects to the kernel in the network namespace of the calling thread,
// and finds out once per process what this kernel can do, by trying it in a
// namespace of its own. It changes nothing; see Lock for the exclusive right.
func Open(cfg Config) (*Kernel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	k := &Kernel{k: kernel{
		cfg: cfg, probed: probeOnce(),
		carrier: map[tsn.Port]uint32{}, sentAt: map[tsn.Port]time.Time{}, stepped: map[tsn.Port]int64{},
		refused: map[tsn.Port]map[string]error{}, before: map[tsn.Port]*Schedule{},
		soft: map[tsn.Port]bool{}, drivers: map[string]string{}, sdu: map[tsn.Port][tsn.MaxTrafficClasses]uint32{},
	}}
	if err := k.k.open(); err != nil {
		return nil, err
	}
	if err := k.k.refresh(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Close releases the sockets. The kernel's state stays.
func (k *Kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.close()
}

// Set makes the kernel equal to d; see Reconcile. Setting the same again
// changes nothing, except that the schedule of a port whose link went down and
// up is sent again: call Forget and Set after such an event. Another exception
// is the first Set after a schedule has begun: shapers, which until then did for
// the one before as well, are made right for the new one.
//
// A Set plans from what the last one has read back. Forget makes the next one
// look at the whole kernel first.
func (k *Kernel) Set(ctx context.Context, d tsn.DesiredState) (Report, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return reconcile(ctx, &k.k, d, &k.mem, time.Now)
}

// Forget makes the next Set read the kernel first, which others may have
// changed.
func (k *Kernel) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mem.valid = false
}

// Diff lists the steps that Set would take now.
func (k *Kernel) Diff(d tsn.DesiredState) ([]Change, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return Difference(&k.k, d)
}

// Read returns what the kernel holds now.
func (k *Kernel) Read() (State, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.Read()
}

// Config returns the configuration the data plane was opened with.
func (k *Kernel) Config() *Config { return &k.k.cfg }

// GateLimits are the bounds of the port's gate control lists.
func (k *Kernel) GateLimits(p tsn.Port) GateLimits {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.GateLimits(p)
}

// Order says which class software taprio serves first, and how that is known.
func (k *Kernel) Order() (Order, string) { return k.k.probed.order, k.k.probed.why }

// Writes counts the modifying requests made so far.
func (k *Kernel) Writes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.c.writes
}

// Sends counts the system calls of batches made so far.
func (k *Kernel) Sends() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.c.sends
}

// pollEvery bounds AwaitOper's polling: the kernel tells no event.
const pollEvery = 5 * time.Millisecond

// AwaitOper waits until the port has no pending schedule.
func (k *Kernel) AwaitOper(ctx context.Context, p tsn.Port) error {
	err := poll(ctx, func() (bool, error) {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.k.operational(p)
	})
	if err != nil {
		return fmt.Errorf("port %d: waiting for the schedule to start: %w", p, err)
	}
	return nil
}

func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// GateNow reads the clock that the port's gates run on, ns.
func (k *Kernel) GateNow(p tsn.Port) (int64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.k.GateNow(p)
}
