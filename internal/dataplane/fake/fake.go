// Package fake is a kernel in memory with the same Set, Read and Diff as
// dataplane.Kernel: it shares everything but netlink. It has the limits of
// real boards, prints as `bridge` and `tc` text, and its clock is a variable.
//
// It is not a model of forwarding: that is the simulator's work, over State.
package fake

import (
	"context"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/internal/dataplane"
)

// Board is what a switch can do.
type Board struct {
	Name      string
	NoLocked  bool // the driver refuses the flag
	NoCBS     bool
	NoFilters bool // stream filters and gates: what the chip forwards, tc never sees
	Gates     dataplane.GateLimits
	Device    bool // it runs gate lists itself, by a PTP clock
	MACMerge  bool // it interrupts preemptible frames
}

// The boards, as their kernel drivers are written.
var (
	// Software is a Linux bridge with software taprio.
	Software = Board{Name: "software", Gates: dataplane.SoftwareGates}
	// Felix is the switch of the LS1028A (ocelot family).
	Felix = Board{Name: "felix", NoLocked: true, Gates: dataplane.FelixGates, Device: true, MACMerge: true}
	// LAN966x shares its table of entries between all ports.
	LAN966x = Board{Name: "lan966x", NoLocked: true, Gates: dataplane.LAN966xGates, Device: true}
	// MV88E6xxx has locked ports; its gates are not known here, so software
	// limits stand for them.
	MV88E6xxx = Board{Name: "mv88e6xxx", NoFilters: true, Gates: dataplane.SoftwareGates}
)

// Kernel is a fake kernel. The zero time is the epoch; a driver moves Now.
type Kernel struct {
	Board Board
	Now   int64 // gate clock of every port, ns
	// FailAfter counts steps down to a failing one, for tests of half-done
	// work; 0 never fails.
	FailAfter int
	// Writes counts successful steps, Batches the calls that brought them.
	Writes, Batches int

	cfg   dataplane.Config
	state dataplane.State
}

// New returns a kernel as it is after boot: no bridge, default qdiscs.
func New(cfg dataplane.Config, b Board) (*Kernel, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	k := &Kernel{Board: b, cfg: cfg}
	if cfg.Bridge != "" {
		k.state.Bridge = &dataplane.Bridge{}
	}
	for _, p := range cfg.Ports {
		if cfg.Bridge != "" {
			k.state.Bridge.Ports = append(k.state.Bridge.Ports, dataplane.BridgePort{Port: p.Port})
		}
		k.state.Egress = append(k.state.Egress, dataplane.Egress{Port: p.Port})
	}
	k.state.Sort()
	return k, nil
}

// Config returns the configuration it was made with.
func (k *Kernel) Config() *dataplane.Config { return &k.cfg }

// Set makes the state equal to d.
func (k *Kernel) Set(ctx context.Context, d tsn.DesiredState) (dataplane.Report, error) {
	return dataplane.Reconcile(ctx, k, d)
}

// Diff lists the steps Set would take.
func (k *Kernel) Diff(d tsn.DesiredState) ([]dataplane.Change, error) {
	return dataplane.Difference(k, d)
}

// Read returns the state; schedules whose base time has come are the oper ones.
func (k *Kernel) Read() (dataplane.State, error) {
	for i := range k.state.Egress {
		if e := &k.state.Egress[i]; e.Admin != nil && e.Admin.Base <= k.Now {
			e.Oper, e.Admin = e.Admin, nil
		}
	}
	return k.state.Clone(), nil
}

// Reread is Read.
func (k *Kernel) Reread(dataplane.State, []dataplane.Op) (dataplane.State, error) { return k.Read() }

// AwaitOper moves Now to where the port's admin schedule starts.
func (k *Kernel) AwaitOper(_ context.Context, p tsn.Port) error {
	e := k.state.EgressOf(p)
	if e == nil {
		return fmt.Errorf("port %d is not configured", p)
	}
	if e.Admin != nil {
		k.Now = max(k.Now, e.Admin.Base)
	}
	_, err := k.Read()
	return err
}

// Apply does the steps in order, each on its own.
func (k *Kernel) Apply(_ context.Context, ops []dataplane.Op) (failed []dataplane.Failure) {
	k.Batches++
	for i, op := range ops {
		if err := k.apply(op); err != nil {
			failed = append(failed, dataplane.Failure{Index: i, Err: err})
		}
	}
	return failed
}

func (k *Kernel) apply(op dataplane.Op) error {
	if k.FailAfter > 0 {
		if k.FailAfter--; k.FailAfter == 0 {
			return fmt.Errorf("the fake kernel was told to fail here")
		}
	}
	if s, ok := op.(dataplane.SetSchedule); ok {
		if err := k.room(s); err != nil {
			return err
		}
	}
	if err := k.inVLAN(op); err != nil {
		return err
	}
	op.Do(&k.state)
	k.Writes++
	return nil
}

// inVLAN is the kernel's rule that an entry's port is in the entry's VLAN.
func (k *Kernel) inVLAN(op dataplane.Op) error {
	var e tsn.FDBEntry
	switch o := op.(type) {
	case dataplane.SetFDB:
		e = o.Entry
	case dataplane.DelFDB:
		e = o.Entry
	case dataplane.AgeFDB:
		e = o.Entry
	default:
		return nil
	}
	in := slices.Contains(k.state.Bridge.Self, e.VID)
	for _, p := range k.state.Bridge.Ports {
		if p.Port == e.Port {
			in = slices.ContainsFunc(p.VLANs, func(v tsn.PortVLAN) bool { return v.VID == e.VID })
		}
	}
	if !in {
		return fmt.Errorf("invalid argument: port %d is not in VLAN %d", e.Port, e.VID)
	}
	return nil
}

// room checks the table that all ports share.
func (k *Kernel) room(s dataplane.SetSchedule) error {
	if k.Board.Gates.Table == 0 {
		return nil
	}
	n := len(s.Schedule.Entries)
	for _, e := range k.state.Egress {
		if e.Oper != nil {
			n += len(e.Oper.Entries)
		}
		if e.Admin != nil && e.Port != s.Port {
			n += len(e.Admin.Entries)
		}
	}
	if n > k.Board.Gates.Table {
		return fmt.Errorf("port %d: %w", s.Port, &dataplane.UnsupportedError{
			Feature: dataplane.FeatureOffload, Port: s.Port,
			Why: fmt.Sprintf("%d gate entries on all ports, the %s has room for %d", n, k.Board.Name, k.Board.Gates.Table),
		})
	}
	return nil
}

// Check refuses what the board lacks.
func (k *Kernel) Check(p tsn.Port, feature string) error {
	b := k.Board
	lacks := map[string]bool{
		dataplane.FeatureLocked: b.NoLocked, dataplane.FeatureCBS: b.NoCBS, dataplane.FeatureOffload: !b.Device,
		dataplane.FeatureMACMerge: !b.MACMerge, dataplane.FeaturePreemption: !b.Device,
		dataplane.FeatureStreamFilter: b.NoFilters, dataplane.FeatureStreamGate: b.NoFilters,
		dataplane.FeatureRegeneration: b.NoFilters,
	}
	if lacks[feature] {
		return &dataplane.UnsupportedError{Feature: feature, Port: p, Why: "the " + b.Name + " driver refuses it"}
	}
	return nil
}

// Features lists what Check knows.
func (k *Kernel) Features() []dataplane.Feature {
	var out []dataplane.Feature
	for _, p := range k.cfg.Ports {
		for _, f := range []string{
			dataplane.FeatureLocked, dataplane.FeatureCBS, dataplane.FeatureOffload, dataplane.FeatureMACMerge,
			dataplane.FeatureStreamFilter, dataplane.FeatureStreamGate, dataplane.FeatureRegeneration,
		} {
			line := dataplane.Feature{Name: f, Port: p.Port}
			if err := k.Check(p.Port, f); err != nil {
				line.State, line.Why = dataplane.FeatureMissing, err.Error()
			}
			out = append(out, line)
		}
	}
	return out
}

// Counters returns zeros: nothing flows through a fake kernel.
func (k *Kernel) Counters() ([]dataplane.Counters, error) {
	var out []dataplane.Counters
	for _, e := range k.state.Egress {
		out = append(out, dataplane.Counters{Port: e.Port})
	}
	return out, nil
}

// GateLimits returns the board's; an entry is at least what a minimum frame takes.
func (k *Kernel) GateLimits(p tsn.Port) dataplane.GateLimits {
	l := k.Board.Gates
	l.MinInterval = max(l.MinInterval, k.LinkSpeed(p).TransmitTime(60))
	return l
}

// LinkSpeed returns the configured rate, or 1 Gbit/s.
func (k *Kernel) LinkSpeed(p tsn.Port) tsn.Rate {
	i := slices.IndexFunc(k.cfg.Ports, func(c dataplane.PortConfig) bool { return c.Port == p })
	if i >= 0 && k.cfg.Ports[i].Rate > 0 {
		return k.cfg.Ports[i].Rate
	}
	return tsn.Gbps
}

// GateNow returns Now.
func (k *Kernel) GateNow(tsn.Port) (int64, error) { return k.Now, nil }

// Inject puts what is not ours into the kernel, as another program would.
func (k *Kernel) Inject(f func(*dataplane.State)) { f(&k.state); k.state.Sort() }

// Close does nothing.
func (k *Kernel) Close() error { return nil }

// String prints the state as `bridge` and `tc` text.
func (k *Kernel) String() string {
	s, _ := k.Read()
	return s.Text(&k.cfg)
}
