package daemon

import (
	"context"
	"slices"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/srp"
)

// ExplainStream implements api.Switch: every bridge on the way says its part.
func (d *Daemon) ExplainStream(ctx context.Context, stream string) (*api.StreamWhy, error) {
	if gw, err := d.gateway(ctx); err != nil || gw != nil {
		if err != nil {
			return nil, err
		}
		return gw.ExplainStream(ctx, stream)
	}
	v, err := d.FindStreams(ctx, api.StreamQuery{Stream: stream})
	if err != nil {
		return nil, err
	}
	if len(v) > 1 {
		return nil, api.Errorf(api.CodeBadRequest, "%d streams are named %q; use the id, like %s", len(v), stream, v[0].Stream.ID)
	}
	out := &api.StreamWhy{StreamView: v[0], Reasons: []api.BridgeWhy{}}
	if out.Source == api.SourceManaged {
		return out, nil // its keeper's reason is in the view
	}
	for _, b := range out.Bridges {
		ask := d.explainThere
		if b.System == d.cfg.SystemID {
			ask = d.explainHere
		}
		why, err := ask(ctx, b.Node, out.Stream.ID)
		if err != nil {
			why = api.BridgeWhy{Node: b.Node, Problem: err.Error()}
		}
		out.Reasons = append(out.Reasons, why)
	}
	return out, nil
}

// explainThere asks another daemon, which answers with its own part.
func (d *Daemon) explainThere(ctx context.Context, node string, id tsn.StreamID) (api.BridgeWhy, error) {
	sw, err := d.fabric.remote(ctx, node)
	if err != nil {
		return api.BridgeWhy{}, err
	}
	w, err := timed(ctx, func(ctx context.Context) (*api.StreamWhy, error) { return sw.ExplainStream(ctx, id.String()) })
	if err != nil {
		return api.BridgeWhy{}, err
	}
	if i := slices.IndexFunc(w.Reasons, func(b api.BridgeWhy) bool { return b.Node == node }); i >= 0 {
		return w.Reasons[i], nil
	}
	return api.BridgeWhy{Node: node, Problem: "nothing is known of the stream there"}, nil
}

func (d *Daemon) explainHere(ctx context.Context, node string, id tsn.StreamID) (api.BridgeWhy, error) {
	var e srp.Explanation
	var known bool
	var classes []srp.SRClass
	if err := d.control.call(ctx, func() {
		if e, known = d.machine.SRP.Explain(id); known {
			classes = d.srClasses()
		}
	}); err != nil {
		return api.BridgeWhy{}, err
	}
	out := api.BridgeWhy{Node: node, Problem: e.Problem}
	if !known {
		out.Problem = "nothing is known of the stream any more"
	}
	for _, p := range e.Ports {
		w := api.PortWhy{
			Port: p.Port, Ifname: ifnameOf(d.cfg, p.Port), Code: p.Code, Here: p.Here, Text: p.Text, Remedy: p.Remedy,
			Needed: p.Needed, Available: p.Available,
		}
		for _, h := range p.Holders {
			w.Holders = append(w.Holders, api.StreamHold{Stream: h.StreamID, Owner: h.Owner, Class: trafficClassName(classes, h.Class), Rank: h.Rank, Bandwidth: h.Bandwidth})
		}
		out.Ports = append(out.Ports, w)
	}
	return out, nil
}
