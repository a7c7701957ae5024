package daemon

import (
	"context"
	"encoding/hex"
	"reflect"
	"slices"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/spb"
)

// Tree implements api.Switch.
func (d *Daemon) Tree(ctx context.Context, q api.TreeQuery) (*api.Tree, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	if q.Source == "" {
		q.Source = d.cfg.SystemID.String()
	}
	m, err := d.resolve(ctx, q.Source)
	if err != nil {
		return nil, err
	}
	out := &api.Tree{Source: m.bridge, VLAN: q.VLAN, Nodes: []api.TreeNode{}}
	for _, b := range d.cfg.SPB.BaseVIDs {
		if q.VLAN == 0 || q.VLAN == b.VID {
			out.VLAN, out.ECT = b.VID, b.ECT
			break
		}
	}
	if q.ECT != nil {
		out.ECT = *q.ECT
	}
	var tree []spb.TreeNode
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	if cerr := d.control.call(ctx, func() { tree, err = d.machine.SPB.TreeUnder(out.VLAN, m.bridge, out.ECT) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, api.Errorf(api.CodeNotFound, "%w", err)
	}
	out.Name = names[out.Source]
	for _, n := range tree {
		out.Nodes = append(out.Nodes, api.TreeNode{
			System: n.SystemID, Name: names[n.SystemID], Parent: n.Parent, ParentPort: n.ParentPort, Ports: n.Ports, Cost: n.Cost, Hops: n.Hops,
		})
	}
	return out, nil
}

// Records implements api.Switch.
func (d *Daemon) Records(ctx context.Context, application *uint16) ([]api.Record, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	var all []spb.NodeRecords
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	err = d.control.call(ctx, func() {
		i := d.machine.SPB
		applications := i.RecordApplications()
		if application != nil {
			applications = []uint16{*application}
		}
		for _, a := range applications {
			all = append(all, i.Records(a)...)
		}
	})
	out := []api.Record{}
	for _, n := range all {
		for _, r := range n.Records {
			out = append(out, api.Record{
				System: n.SystemID, Name: names[n.SystemID], Reachable: n.Reachable, Application: n.Application,
				Type: r.Type, Key: hex.EncodeToString(r.Key), Value: hex.EncodeToString(r.Value),
			})
		}
	}
	return out, err
}

// Topology implements api.Switch.
func (d *Daemon) Topology(ctx context.Context) (*api.Topology, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	out := &api.Topology{Node: d.cfg.Name, Nodes: []api.TopologyNode{}, Links: []api.TopologyLink{}}
	edge, err := d.Edge(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range edge {
		if e.State == spb.EdgeBlocked.String() {
			e.For = 0 // or every topology would be another one
			out.Blocked = append(out.Blocked, e)
		}
	}
	services, err := d.Services(ctx)
	if err != nil {
		return nil, err
	}
	out.Services = services.Services
	err = d.control.call(ctx, func() {
		i := d.machine.SPB
		out.Generation = i.Status().Generation
		for _, n := range i.Nodes() {
			out.Nodes = append(out.Nodes, topologyNode(n))
			for _, l := range n.Links {
				if slices.Compare(n.SystemID[:], l.Neighbour[:]) < 0 {
					out.Links = append(out.Links, api.TopologyLink{A: n.SystemID, B: l.Neighbour, PortA: l.Port, PortB: l.RemotePort, Metric: l.Metric})
				}
			}
		}
	})
	return out, err
}

func topologyNode(n spb.Node) api.TopologyNode {
	v := api.TopologyNode{System: n.SystemID, Name: n.HostName, BridgeID: n.BridgeID, Reachable: n.Reachable, Overload: n.Overload, Reason: n.OverloadReason}
	if len(n.Addresses) > 0 {
		v.Address = n.Addresses[0].String()
	}
	for _, s := range n.EndStations {
		v.Stations = append(v.Stations, api.TopologyStation{MAC: s.MAC, Name: s.Name, Port: s.Port, Learned: s.Learned})
	}
	return v
}

// topologyPause is how long a watcher is left alone after a change: while the
// fabric converges it changes many times.
const topologyPause = 200 * time.Millisecond

// WatchTopology implements api.Switch. Whatever changes the topology leaves an
// event, so the log is what it waits for.
func (d *Daemon) WatchTopology(ctx context.Context, emit func(*api.Topology) error) error {
	var last *api.Topology
	for {
		_, more := d.events.since(^uint64(0))
		t, err := d.Topology(ctx)
		if err != nil {
			return err
		}
		if last == nil || !reflect.DeepEqual(last, t) {
			if err := emit(t); err != nil {
				return err
			}
			last = t
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(topologyPause):
		}
	}
}

// Edge implements api.Switch.
func (d *Daemon) Edge(ctx context.Context) ([]api.EdgePort, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.EdgePort{}
	err = d.control.call(ctx, func() {
		for _, e := range d.machine.SPB.EdgePorts() {
			v := api.EdgePort{
				Port: e.Port, Ifname: ifnameOf(d.cfg, e.Port), LinkUp: e.LinkUp, Guarded: e.Guarded, State: e.State, Reason: e.Reason,
				PeerPort: e.PeerPort, For: d.control.now().Sub(tsn.Instant(e.SinceNS)), Blocks: e.Blocks, Stations: e.Stations,
			}
			if !e.PeerSystem.IsZero() {
				v.Peer = nameOr(names[e.PeerSystem], e.PeerSystem)
			}
			for _, l := range d.machine.SPB.LearnedStations() {
				if l.Port != e.Port {
					continue
				}
				s := api.LearnedStation{MAC: l.MAC, VLANs: l.VIDs, Refused: l.Refusal}
				if l.Address.IsValid() {
					s.Address = l.Address.String()
				}
				v.Learned = append(v.Learned, s)
			}
			out = append(out, v)
		}
	})
	return out, err
}
