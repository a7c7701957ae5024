package daemon

import (
	"context"
	"fmt"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/link"
	"tsnswitch/spb"
)

// What people ask about the fabric.

// needSPB is the error of path questions to who takes no part in SPB.
func (d *Daemon) needSPB() error {
	switch {
	case d.cfg.HasFabric():
		return nil
	case d.cfg.Role == config.RoleBridge:
		return api.Errorf(api.CodeUnsupported, "%s takes no part in IS-IS: spb.enabled is false there", d.cfg.Name)
	}
	return api.Errorf(api.CodeUnsupported, "%s is an end station and takes no part in IS-IS; ask a bridge (tsnctl --node ...)", d.cfg.Name)
}

// Neighbours implements api.Switch.
func (d *Daemon) Neighbours(ctx context.Context) ([]api.Neighbour, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	s, err := d.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Neighbour{}
	for _, n := range s.neighbours {
		a := api.Neighbour{
			Port: n.Port, Ifname: ifnameOf(d.cfg, n.Port), System: n.SystemID, Name: n.HostName, State: n.State,
			RemotePort: tsn.Port(n.RemotePort), Metric: n.Metric, Hold: n.HoldRemainNS,
		}
		a.Mismatch = n.Mismatch
		switch {
		case n.Restarting:
			a.Restart = "restarting"
		case n.Suppressed:
			a.Restart = "suppressed"
		}
		if e := n.Echo; e.IntervalNS != 0 {
			a.Echo, a.EchoFault, a.EchoDetect, a.EchoLosses = e.State, e.Fault, e.DetectNS, e.Losses
		}
		if n.State == "Up" {
			a.Up = link.Now().Sub(tsn.Instant(n.SinceNS))
		}
		out = append(out, a)
	}
	return out, nil
}

// Database implements api.Switch.
func (d *Daemon) Database(ctx context.Context, q api.DatabaseQuery) ([]api.LSP, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	var all []spb.LSPInfo
	if err := d.control.call(ctx, func() { all = d.machine.SPB.Database() }); err != nil {
		return nil, err
	}
	system, _ := tsn.ParseMAC(q.LSP)
	out := []api.LSP{}
	for _, l := range all {
		id := l.ID.String()
		if q.LSP != "" && !strings.HasPrefix(id, q.LSP) && l.HostName != q.LSP && (system.IsZero() || l.ID.System() != system) {
			continue
		}
		v := api.LSP{
			ID: id, Name: l.HostName, Sequence: l.SequenceNumber, Lifetime: l.RemainingLifetime, Checksum: l.Checksum,
			Length: l.Octets, Own: l.ID.System() == d.cfg.SystemID, Overload: l.Overload,
		}
		if q.Detail {
			v.Lines = l.Lines
		}
		out = append(out, v)
	}
	if len(out) == 0 && q.LSP != "" {
		return nil, api.Errorf(api.CodeNotFound, "no LSP in the database has the ID, system or node %q (see: tsnctl spb database)", q.LSP)
	}
	return out, nil
}

// Nodes implements api.Switch.
func (d *Daemon) Nodes(ctx context.Context) ([]api.FabricNode, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.Nodes(ctx)
	}
	out := []api.FabricNode{}
	err := d.control.call(ctx, func() {
		i := d.machine.SPB
		costs := map[tsn.MAC]uint64{}
		if tree, err := i.Tree(d.cfg.SPB.BaseVIDs[0].VID, d.cfg.SystemID); err == nil {
			for _, t := range tree {
				costs[t.SystemID] = t.Cost
			}
		}
		for _, n := range i.Nodes() {
			f := api.FabricNode{Name: n.HostName, System: n.SystemID, Reachable: n.Reachable, Cost: costs[n.SystemID], Overload: n.Overload, Reason: n.OverloadReason}
			if _, err := fmt.Sscanf(n.BridgeID, "%04x.", &f.Priority); err != nil {
				f.Priority = 0
			}
			if len(n.Addresses) > 0 {
				f.Address = n.Addresses[0].String()
			}
			for _, s := range n.EndStations {
				f.Stations = append(f.Stations, api.Station{MAC: s.MAC, Name: s.Name, Learned: s.Learned})
			}
			out = append(out, f)
		}
	})
	return out, err
}

// Paths implements api.Switch.
func (d *Daemon) Paths(ctx context.Context, q api.PathQuery) ([]api.Path, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		if q.From == "" {
			q.From = d.cfg.SystemID.String()
		}
		return gw.Paths(ctx, q)
	}
	if q.From == "" {
		q.From = d.cfg.SystemID.String()
	}
	from, err := d.resolve(ctx, q.From)
	if err != nil {
		return nil, err
	}
	var to []member
	if q.To != "" {
		m, err := d.resolve(ctx, q.To)
		if err != nil {
			return nil, err
		}
		to = []member{m}
	} else if to, err = d.fabric.members(ctx); err != nil {
		return nil, err
	}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Path{}
	for _, b := range d.cfg.SPB.BaseVIDs {
		if q.VLAN != 0 && q.VLAN != b.VID {
			continue
		}
		costs, err := d.costs(ctx, b, from)
		if err != nil {
			return nil, err
		}
		for _, m := range to {
			if m.system == from.system {
				continue
			}
			p, err := d.path(ctx, b, from, m, names)
			if err != nil {
				if q.To != "" {
					return nil, api.Errorf(api.CodeNotFound, "%w", err)
				}
				continue // unreachable nodes have no path to show
			}
			p.Cost = costs[m.bridge]
			out = append(out, p)
		}
	}
	if len(out) == 0 && q.VLAN != 0 && q.To != "" {
		return nil, api.Errorf(api.CodeNotFound, "VLAN %d is not a Base VID of this fabric", q.VLAN)
	}
	return out, nil
}

// costs are the costs of all bridges from that of a member.
func (d *Daemon) costs(ctx context.Context, b config.BaseVID, from member) (map[tsn.MAC]uint64, error) {
	out := map[tsn.MAC]uint64{}
	err := d.control.call(ctx, func() {
		// Without a tree there are no paths either; asking for one says why.
		if tree, err := d.machine.SPB.Tree(b.VID, from.bridge); err == nil {
			for _, n := range tree {
				out[n.SystemID] = n.Cost
			}
		}
	})
	return out, err
}

func (d *Daemon) path(ctx context.Context, b config.BaseVID, from, to member, names map[tsn.MAC]string) (api.Path, error) {
	p := api.Path{VLAN: b.VID, ECT: uint32(b.ECT), From: nameOr(from.name, from.system), To: nameOr(to.name, to.system)}
	var hops []tsn.Hop
	var err error
	if cerr := d.control.call(ctx, func() { hops, err = d.machine.Path(b.VID, from.system, to.system) }); cerr != nil {
		return p, cerr
	}
	for _, h := range hops {
		label := api.PathHop{Hop: h, Node: nameOr(names[h.System], h.System)}
		if h.System == d.cfg.SystemID {
			label.Ifname = ifnameOf(d.cfg, h.Port)
		}
		p.Hops = append(p.Hops, label)
	}
	return p, err
}

// Why implements api.Switch. A stream is explained by its two ends, anything
// else from this node's point of view or that of q.From.
func (d *Daemon) Why(ctx context.Context, q api.WhyQuery) (*api.Why, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	out := &api.Why{From: q.From, Subject: q.Subject}
	from, to := d.cfg.SystemID, tsn.MAC{}
	if q.From != "" {
		m, err := d.resolve(ctx, q.From)
		if err != nil {
			return nil, err
		}
		from = m.system
	}
	if s, err := d.ShowStream(ctx, q.Subject); err == nil && q.From == "" {
		from, to, q.VLAN = s.Stream.Talker, s.Stream.Listener, s.Stream.VID
		out.Lines = append(out.Lines, fmt.Sprintf("stream %s is %s, kept by %s", s.Stream.ID, s.State, s.Owner))
		if s.Reason != "" {
			out.Lines = append(out.Lines, s.Reason)
		}
	} else {
		m, err := d.resolve(ctx, q.Subject)
		if err != nil {
			return nil, err
		}
		to = m.system
	}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range d.cfg.SPB.BaseVIDs {
		if q.VLAN != 0 && q.VLAN != b.VID || to == from {
			continue
		}
		if q.ECT != nil && out.Reachable {
			break // the next VLAN under the same algorithm says the same
		}
		algorithm := b.ECT
		if q.ECT != nil {
			algorithm = *q.ECT
		}
		if algorithm == 0 && b.ECT != 0 {
			out.Lines = append(out.Lines, fmt.Sprintf("VLAN %d: the spanning tree is explained only in a VLAN that runs it", b.VID))
			continue
		}
		var e *spb.Explanation
		var err error
		if cerr := d.control.call(ctx, func() { e, err = d.machine.SPB.Why(b.VID, from, to, algorithm) }); cerr != nil {
			return nil, cerr
		}
		if err != nil {
			out.Lines = append(out.Lines, err.Error())
			continue
		}
		out.Reachable = true
		out.Lines = append(out.Lines, fmt.Sprintf("VLAN %d:", b.VID))
		out.Lines = append(out.Lines, strings.Split(strings.TrimRight(e.Text, "\n"), "\n")...)
		out.Details = append(out.Details, whyDetail(e, names))
	}
	return out, nil
}

func whyDetail(e *spb.Explanation, names map[tsn.MAC]string) api.WhyDetail {
	name := func(m tsn.MAC) string { return nameOr(names[m], m) }
	all := func(list []tsn.MAC) []string {
		out := make([]string, 0, len(list))
		for _, m := range list {
			out = append(out, name(m))
		}
		return out
	}
	d := api.WhyDetail{VLAN: e.VID, ECT: e.Algorithm, Mask: e.Mask, Cost: e.Cost, Hops: e.Hops, Truncated: e.Truncated}
	for _, s := range e.Steps {
		step := api.WhyStep{Rule: s.Rule, Best: s.Best}
		for _, o := range s.Options {
			step.Options = append(step.Options, api.WhyOption{Via: name(o.Via), Port: o.Port, Cost: o.Cost, Hops: o.Hops, Lost: o.Lost})
		}
		d.Steps = append(d.Steps, step)
	}
	for _, p := range e.Paths {
		d.Paths = append(d.Paths, api.WhyPath{
			Bridges: all(p.Bridges), PathID: p.PathID, PathIDOf: all(p.PathIDOf), Chosen: p.Chosen, DecidedAt: p.DecidedAt,
		})
	}
	return d
}
