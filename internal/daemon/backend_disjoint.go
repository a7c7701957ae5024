package daemon

import (
	"context"
	"fmt"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/spb"
)

// Disjoint implements api.Switch.
func (d *Daemon) Disjoint(ctx context.Context, q api.DisjointQuery) (*api.Disjoint, error) {
	if err := d.needSPB(); err != nil {
		return nil, err
	}
	from, err := d.resolve(ctx, q.From)
	if err != nil {
		return nil, err
	}
	to, err := d.resolve(ctx, q.To)
	if err != nil {
		return nil, err
	}
	vids := q.VLANs
	if vids == ([2]tsn.VID{}) {
		base := d.cfg.SPB.BaseVIDs
		if len(base) < 2 {
			return nil, api.Errorf(api.CodeUnsupported, "this fabric has one Base VID; two are needed for two paths (spb.baseVids)")
		}
		vids = [2]tsn.VID{base[0].VID, base[1].VID}
	}
	names, err := d.systemNames(ctx)
	if err != nil {
		return nil, err
	}
	var x *spb.Disjointness
	if cerr := d.control.call(ctx, func() {
		i := d.machine.SPB
		x, err = i.Disjoint(vids[0], vids[1], from.system, to.system)
		if err == nil && q.VLANs == ([2]tsn.VID{}) && x.Best.VIDs != vids {
			x, err = i.Disjoint(x.Best.VIDs[0], x.Best.VIDs[1], from.system, to.system)
		}
	}); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, api.Errorf(api.CodeNotFound, "%w", err)
	}
	name := func(m tsn.MAC) string { return nameOr(names[m], m) }
	out := &api.Disjoint{
		From: name(x.From), To: name(x.To), VLANs: x.VIDs, Disjoint: x.Disjoint,
		Best:  api.Sharing{VLANs: x.Best.VIDs, Links: x.Best.Links, Bridges: x.Best.Bridges},
		Least: api.Sharing{Links: x.Least.Links, Bridges: x.Least.Bridges},
		Lines: strings.Split(strings.TrimRight(x.Text, "\n"), "\n"),
	}
	for k, path := range x.Paths {
		for _, m := range path {
			out.Paths[k] = append(out.Paths[k], name(m))
		}
	}
	for _, l := range x.SharedLinks {
		out.SharedLinks = append(out.SharedLinks, fmt.Sprintf("%s port %d - %s port %d", name(l.A), l.PortA, name(l.B), l.PortB))
	}
	for _, b := range x.SharedBridges {
		out.SharedBridges = append(out.SharedBridges, name(b))
	}
	return out, nil
}
