package daemon

import (
	"context"
	"fmt"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/node"
	"tsnswitch/srp"
)

// A bridge without SPB: an ordinary one of the kernel's, or none at all. What the
// kernel lacks costs that part alone, for the protocols do not need it.

// loose: it is such a bridge.
func (d *Daemon) loose() bool { return d.cfg.Role == config.RoleBridge && !d.cfg.HasFabric() }

// reservesInKernel reports whether the kernel holds group entries or shapers, as
// an earlier run leaves them.
func reservesInKernel(have dataplane.State) bool {
	if have.Bridge != nil && slices.ContainsFunc(have.Bridge.MDB, func(g dataplane.GroupPort) bool { return !dataplane.IsControlGroup(g.Group) }) {
		return true
	}
	return slices.ContainsFunc(have.Egress, func(e dataplane.Egress) bool {
		return e.Shapers != [tsn.MaxTrafficClasses]dataplane.Shaper{}
	})
}

// shapingNeeds are what a port is shaped with.
func shapingNeeds(c *config.Daemon, p config.Port) []string {
	root := dataplane.FeatureTaprio
	if c.OffloadOf(p) == config.OffloadUngated {
		root = dataplane.FeatureMQPrio
	}
	return []string{root, dataplane.FeatureQueues, dataplane.FeatureClassifier, dataplane.FeatureCBS}
}

// fitEgress leaves the egress of ports alone that cannot be shaped.
func fitEgress(nc *node.Config, c *config.Daemon, features []dataplane.Feature) {
	if c.Role != config.RoleBridge || c.HasFabric() {
		return
	}
	for _, p := range c.Ports {
		if len(unshapable(c, p, features)) > 0 {
			nc.Unshaped = append(nc.Unshaped, p.Port)
		}
	}
	slices.Sort(nc.Unshaped)
}

func unshapable(c *config.Daemon, p config.Port, features []dataplane.Feature) (out []dataplane.Feature) {
	needs := shapingNeeds(c, p)
	for _, f := range features {
		if f.State == dataplane.FeatureMissing && (f.Port == p.Port || f.Port == tsn.NoPort) && slices.Contains(needs, f.Name) {
			out = append(out, f)
		}
	}
	return out
}

// sharedDegraded says what is missing, once for all that is the same.
func sharedDegraded(c *config.Daemon, features []dataplane.Feature) (out []string) {
	if c.Role != config.RoleBridge || c.HasFabric() {
		return nil
	}
	for _, p := range c.Ports {
		for _, f := range unshapable(c, p, features) {
			out = append(out, fmt.Sprintf("port %d (%s): streams are not shaped: %s is missing: %s", p.Port, p.Ifname, f.Name, f.Why))
		}
	}
	for _, f := range features {
		if f.State != dataplane.FeatureMissing || f.Port != tsn.NoPort {
			continue
		}
		switch f.Name {
		case dataplane.FeatureVLANFiltering:
			out = append(out, fmt.Sprintf("VLANs are not told apart: %s is missing: %s", f.Name, f.Why))
		case dataplane.FeatureMDB:
			out = append(out, fmt.Sprintf("streams go to all ports: %s is missing: %s", f.Name, f.Why))
		}
	}
	return out
}

// watchBlocked tells the control machine which ports of a bridge without SPB do
// not forward, and returns what follows that.
func (d *Daemon) watchBlocked() (follow func(context.Context) error, err error) {
	if d.cfg.HasFabric() || d.cfg.Bridge.Name == "" {
		return func(context.Context) error { return nil }, nil
	}
	w, err := dataplane.WatchPortStates(d.cfg.Bridge.Name, d.kernel.all.Ports)
	if err != nil {
		return nil, err
	}
	blocked, err := w.Blocked()
	if err != nil {
		_ = w.Close()
		return nil, err
	}
	tell := func(ports []tsn.Port) { d.control.post(srp.SetBlocked{Ports: ports}) }
	tell(blocked)
	return func(ctx context.Context) error {
		defer w.Close()
		return w.Run(ctx, blocked, tell)
	}, nil
}
