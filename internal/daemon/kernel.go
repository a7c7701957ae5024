package daemon

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"

	"tsnswitch"
	"tsnswitch/internal/dataplane"
)

// A kernel is the data plane of the ports whose interfaces exist. The data
// plane itself wants all of its interfaces; a network card that is pulled out,
// or not there yet, must not keep the others from following the network. When
// an interface comes or goes the data plane is opened anew, which changes
// nothing in the kernel.
type kernel struct {
	all    dataplane.Config
	exists func() (names map[string]bool, err error)

	mu     sync.Mutex
	stale  bool // interfaces may have come or gone
	plane  *dataplane.Kernel
	ports  []tsn.Port // of plane, ascending
	absent []dataplane.PortConfig
	writes int // of planes that were closed
}

// openKernel fails if no interface exists at all. Without ports in the
// configuration there is no data plane: nothing is in the kernel, and nothing
// is changed there.
func openKernel(c dataplane.Config) (*kernel, error) {
	k := &kernel{all: c, exists: interfaces}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k, k.renew()
}

func interfaces() (map[string]bool, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	names := map[string]bool{}
	for _, i := range all {
		names[i.Name] = true
	}
	return names, nil
}

// renew opens the data plane for the interfaces that exist now; it needs the lock.
func (k *kernel) renew() error {
	if len(k.all.Ports) == 0 {
		return nil
	}
	exists, err := k.exists()
	if err != nil {
		return err
	}
	c := k.all
	c.Ports = nil
	var ports []tsn.Port
	var absent []dataplane.PortConfig
	var names []string
	for _, p := range k.all.Ports {
		names = append(names, p.Ifname)
		if exists[p.Ifname] {
			c.Ports, ports = append(c.Ports, p), append(ports, p.Port)
		} else {
			absent = append(absent, p)
		}
	}
	k.absent = absent
	if k.plane != nil && slices.Equal(ports, k.ports) {
		return nil
	}
	if k.plane != nil {
		k.writes += k.plane.Writes()
		_ = k.plane.Close()
		k.plane, k.ports = nil, nil
	}
	if len(ports) == 0 {
		return fmt.Errorf("none of the interfaces %s exists here; name existing ones (ports[].ifname)", strings.Join(names, ", "))
	}
	if k.plane, err = dataplane.Open(c); err != nil {
		k.plane = nil
		return err
	}
	k.ports = ports
	return nil
}

// with runs f on the data plane of what exists now.
func with[T any](k *kernel, f func(*dataplane.Kernel) (T, error)) (T, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var none T
	if err := k.renew(); err != nil || len(k.all.Ports) == 0 {
		return none, err
	}
	return f(k.plane)
}

// Set makes the kernel equal to d, as far as interfaces exist.
func (k *kernel) Set(ctx context.Context, d tsn.DesiredState) (dataplane.Report, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stale || k.plane == nil {
		if err := k.renew(); err != nil {
			return dataplane.Report{}, err
		}
		k.stale = false
	}
	if k.plane == nil {
		return dataplane.Report{}, nil
	}
	return k.plane.Set(ctx, onlyPorts(d, k.ports))
}

// Forget makes the next Set look at everything again: the interfaces, and what
// the kernel holds.
func (k *kernel) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stale = true
	if k.plane != nil {
		k.plane.Forget()
	}
}

// Diff lists the steps that Set would take now.
func (k *kernel) Diff(d tsn.DesiredState) ([]dataplane.Change, error) {
	return with(k, func(p *dataplane.Kernel) ([]dataplane.Change, error) { return p.Diff(onlyPorts(d, k.ports)) })
}

// FlushLearned makes the bridge forget what it has learned in a VLAN on ports;
// those without an interface, and a switch without a bridge, have nothing to forget.
func (k *kernel) FlushLearned(vid tsn.VID, ports []tsn.Port) error {
	if k.all.Bridge == "" {
		return nil
	}
	_, err := with(k, func(p *dataplane.Kernel) (struct{}, error) {
		if p == nil {
			return struct{}{}, nil
		}
		there := slices.DeleteFunc(slices.Clone(ports), func(n tsn.Port) bool { return !slices.Contains(k.ports, n) })
		return struct{}{}, p.FlushLearned(vid, there)
	})
	return err
}

// Read returns what the kernel holds now.
func (k *kernel) Read() (dataplane.State, error) {
	return with(k, func(p *dataplane.Kernel) (dataplane.State, error) { return p.Read() })
}

// Text prints what the kernel holds now.
func (k *kernel) Text() (string, error) {
	return with(k, func(p *dataplane.Kernel) (string, error) {
		have, err := p.Read()
		if err != nil {
			return "", err
		}
		return have.Text(p.Config()), nil
	})
}

// Counters reads what every port has sent.
func (k *kernel) Counters() ([]dataplane.Counters, error) {
	return with(k, func(p *dataplane.Kernel) ([]dataplane.Counters, error) { return p.Counters() })
}

// Features lists what the kernel, the drivers and the devices can do.
func (k *kernel) Features() []dataplane.Feature {
	f, err := with(k, func(p *dataplane.Kernel) ([]dataplane.Feature, error) { return p.Features(), nil })
	if err != nil {
		return nil
	}
	return f
}

// Absent lists the ports whose interfaces did not exist at the last look.
func (k *kernel) Absent() []dataplane.PortConfig {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.absent
}

// Writes counts the modifying requests made so far.
func (k *kernel) Writes() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plane == nil {
		return k.writes
	}
	return k.writes + k.plane.Writes()
}

// Close releases the sockets. The kernel's state stays.
func (k *kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.plane == nil {
		return nil
	}
	return k.plane.Close()
}

// onlyPorts leaves of a desired state what concerns these ports (ascending),
// and the bridge itself.
func onlyPorts(d tsn.DesiredState, ports []tsn.Port) tsn.DesiredState {
	has := func(p tsn.Port) bool {
		_, ok := slices.BinarySearch(ports, p)
		return ok
	}
	var out tsn.DesiredState
	for _, e := range d.Egress {
		if has(e.Port) {
			out.Egress = append(out.Egress, e)
		}
	}
	for _, f := range d.Filters {
		if has(f.Port) {
			out.Filters = append(out.Filters, f)
		}
	}
	for _, r := range d.Priorities {
		if has(r.Port) {
			out.Priorities = append(out.Priorities, r)
		}
	}
	if d.Bridge == nil {
		return out
	}
	b := *d.Bridge
	b.Ports, b.FDB, b.MDB = nil, nil, nil
	for _, p := range d.Bridge.Ports {
		if has(p.Port) {
			b.Ports = append(b.Ports, p)
		}
	}
	for _, e := range d.Bridge.FDB {
		if e.Port == tsn.NoPort || has(e.Port) {
			b.FDB = append(b.FDB, e)
		}
	}
	for _, e := range d.Bridge.MDB {
		e.Ports = slices.DeleteFunc(slices.Clone(e.Ports), func(p tsn.Port) bool { return p != tsn.NoPort && !has(p) })
		if len(e.Ports) > 0 {
			b.MDB = append(b.MDB, e)
		}
	}
	out.Bridge = &b
	return out
}
