package daemon

import (
	"context"
	"os"
	"strings"
	"time"

	"tsnswitch/srp"
)

// msrpMemory is what MSRP knew, so that a restart is shorter for the neighbours
// than the leave time: see srp.Memory. It holds no promise: a file that is
// missing, damaged, old or of before the machine started is as good as none.
type msrpMemory struct {
	Boot   string     `json:"boot"`
	Memory srp.Memory `json:"memory"`
}

const (
	msrpLook = 200 * time.Millisecond // between looks for what is to be remembered
	msrpMark = 5 * time.Second        // between marks that it still is so
	msrpLife = 30 * time.Second       // from the last mark until it counts no more
)

// bootID is another one after each start of the machine.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// recallMSRP tells the control machine what an earlier run knew.
func (d *Daemon) recallMSRP() {
	if !d.cfg.SRP.MSRP {
		return
	}
	info, err := os.Stat(d.msrpStore.path)
	if err != nil || time.Since(info.ModTime()) > msrpLife {
		return
	}
	m, err := d.msrpStore.load()
	if err != nil {
		d.log.Warn("streams of MSRP must be declared again", "err", err)
		return
	}
	if m.Boot != bootID() || len(m.Memory.Registrations) == 0 {
		return
	}
	d.log.Info("continuing MSRP of the last run", "registrations", len(m.Memory.Registrations), "held", len(m.Memory.Held))
	d.capable.grace = time.Now().Add(holdLimit)
	d.control.post(srp.Restore{Memory: m.Memory})
}

// keepMSRP keeps the file, until ctx ends.
func (d *Daemon) keepMSRP(ctx context.Context) {
	if !d.cfg.SRP.MSRP {
		return
	}
	boot, look := bootID(), time.NewTicker(msrpLook)
	defer look.Stop()
	var saved uint64
	var marked time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		var m srp.Memory
		now := saved
		err := d.control.call(ctx, func() {
			if d.machine.SRP.MemoryChanged() != saved {
				m, now = d.machine.SRP.Memory(d.control.now())
			}
		})
		if err != nil {
			return
		}
		switch {
		case now != saved:
			if err = d.msrpStore.save(msrpMemory{boot, m}); err == nil {
				saved, marked = now, time.Now()
			}
		case saved != 0 && time.Since(marked) >= msrpMark:
			marked = time.Now()
			err = os.Chtimes(d.msrpStore.path, marked, marked)
		}
		if err != nil {
			d.log.Warn("what MSRP knows is not kept for a restart", "err", err)
		}
	}
}
