package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/pathplan"
	"tsnswitch/qbv/format"
	"tsnswitch/qbv/schedule"
)

// fabricLink is one direction of a link of the fabric. Without a port of its
// own to gate, From.Port of a station is NoPort.
type fabricLink struct {
	From tsn.Hop
	To   tsn.MAC
}

// foreign takes a schedule made elsewhere for the streams that are reserved.
// It may be started only if it is for their paths: SPB installs no others.
func (c *conductor) foreign(ctx context.Context, p *planned, r api.PlanRequest, todo []api.StreamState) error {
	slices.SortFunc(todo, func(a, b api.StreamState) int { return slices.Compare(a.Stream.ID[:], b.Stream.ID[:]) })
	net, err := c.whole(ctx, todo)
	if err != nil {
		return err
	}
	if err := number(net.Problem, r); err != nil {
		return err
	}
	s, _, err := format.ReadSolution(r.File, r.Solution, net.Problem)
	if misfit := (*format.Error)(nil); errors.As(err, &misfit) && misfit.Mismatch {
		return api.Errorf(api.CodeRefused, "it does not fit this network: %w", err)
	} else if err != nil {
		return api.Errorf(api.CodeBadRequest, "%w", err)
	}
	for _, at := range s.Streams {
		if err := c.asReserved(ctx, net.Problem, at, todo[at.Stream]); err != nil {
			return err
		}
	}
	leaveOut(net.Problem, s, r.File)
	if p.plan, err = net.Prove(s); err != nil {
		return api.Errorf(api.CodeRefused, "%s: %w", r.File, err)
	}
	p.fill(ctx, c)
	return nil
}

// whole is all links of the fabric, and the streams' paths from the talkers on.
func (c *conductor) whole(ctx context.Context, todo []api.StreamState) (*pathplan.Net, error) {
	all, err := c.links(ctx)
	if err != nil {
		return nil, err
	}
	var paths []pathplan.Stream
	own := map[tsn.MAC]tsn.Port{} // of talkers that gate
	for _, s := range todo {
		path := hopsOf(s.Path)
		if path[0].System == s.Stream.Talker {
			own[s.Stream.Talker] = path[0].Port
		} else {
			path = slices.Insert(path, 0, tsn.Hop{System: s.Stream.Talker})
		}
		paths = append(paths, pathplan.Stream{Stream: s.Stream, Path: path})
	}
	ports := c.ports()
	var links []pathplan.Link
	rates := map[[2]tsn.MAC]tsn.Rate{}
	var stations []fabricLink
	for _, l := range all {
		if l.From.Port == tsn.NoPort {
			stations = append(stations, l)
			continue
		}
		k, err := ports.link(ctx, l.From, l.To)
		if err != nil {
			return nil, err
		}
		rates[[2]tsn.MAC{l.To, l.From.System}] = k.Rate
		links = append(links, k)
	}
	for _, l := range stations { // what the bridge says of the link holds both ways
		l.From.Port = own[l.From.System]
		k := pathplan.Link{From: l.From, To: l.To, Rate: rates[[2]tsn.MAC{l.From.System, l.To}]}
		if l.From.Port != tsn.NoPort {
			if k, err = ports.link(ctx, l.From, l.To); err != nil {
				return nil, err
			}
		}
		links = append(links, k)
	}
	net, err := pathplan.New(c.settings(), func(m tsn.MAC) string { return c.nameOf(ctx, m) }, links, paths)
	if err != nil {
		return nil, api.Errorf(api.CodeInternal, "%w", err)
	}
	return net, nil
}

// fileStream is what of a solution says which stream is meant.
type fileStream struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

// number gives streams the ids of the file: those of the streams with the same
// name or StreamID there; a file without names counts them by ascending StreamID.
func number(p *schedule.Problem, r api.PlanRequest) error {
	var file struct {
		Streams []fileStream `json:"streams"`
	}
	_ = json.Unmarshal(r.Solution, &file) // what is wrong is said when it is read in earnest
	named := slices.ContainsFunc(file.Streams, func(s fileStream) bool { return s.Name != "" })
	if !named {
		return nil
	}
	for i := range p.Streams {
		p.Streams[i].ID = -1 - i // none of the file's
	}
	for _, s := range file.Streams {
		i := slices.IndexFunc(p.Streams, func(x schedule.Stream) bool { return x.Name == s.Name || x.StreamID.String() == s.Name })
		if i < 0 {
			return api.Errorf(api.CodeRefused, "%s: stream %d (%s) is not reserved here, or not of the scheduled class (see: tsnctl stream list)", r.File, s.ID, cmp.Or(s.Name, "no name"))
		}
		p.Streams[i].ID = s.ID
	}
	if err := p.Validate(); err != nil {
		return api.Errorf(api.CodeBadRequest, "%s: %w", r.File, err)
	}
	return nil
}

// asReserved compares a route with the path that SPB chose.
func (c *conductor) asReserved(ctx context.Context, p *schedule.Problem, at schedule.Placement, s api.StreamState) error {
	want := p.Streams[at.Stream].Routes[0]
	if slices.Equal(want, at.Route) {
		return nil
	}
	link := func(route []schedule.LinkID, i int) string {
		if i >= len(route) {
			return "no further"
		}
		l := p.Links[route[i]]
		return fmt.Sprintf("by %s-%s", p.Nodes[l.From].Name, p.Nodes[l.To].Name)
	}
	i := 0
	for i < min(len(want), len(at.Route)) && want[i] == at.Route[i] {
		i++
	}
	text := fmt.Sprintf("stream %s: its route goes %s, SPB's tree in VLAN %d goes %s", p.Streams[at.Stream].Name, link(at.Route, i), s.Stream.VID, link(want, i))
	if vids := c.treesOf(ctx, p, at.Route, s); len(vids) > 0 {
		return api.Errorf(api.CodeRefused, "%s; the tree of VLAN %s goes that way: reserve the stream there", text, strings.Join(vids, ", "))
	}
	return api.Errorf(api.CodeRefused, "%s; only routes that are ECT trees can be started, others stay plans", text)
}

// treesOf are the other Base VIDs whose tree has a route.
func (c *conductor) treesOf(ctx context.Context, p *schedule.Problem, route []schedule.LinkID, s api.StreamState) (vids []string) {
	var hops []tsn.Hop
	for _, id := range route {
		l := p.Links[id]
		if hop := (tsn.Hop{System: p.Nodes[l.From].System, Port: l.FromPort}); hop.Port != tsn.NoPort {
			hops = append(hops, hop)
		}
	}
	for _, vid := range c.vids {
		if path, err := c.topo.Path(ctx, vid, s.Stream.Talker, s.Stream.Listener); err == nil && slices.Equal(path, hops) {
			vids = append(vids, fmt.Sprint(vid))
		}
	}
	return vids
}

// leaveOut notes the streams that a solution does not have.
func leaveOut(p *schedule.Problem, s *schedule.Solution, file string) {
	for i := range p.Streams {
		placed := slices.ContainsFunc(s.Streams, func(x schedule.Placement) bool { return x.Stream == i })
		noted := slices.ContainsFunc(s.Unplaced, func(x schedule.Unplaced) bool { return x.Stream == i })
		if !placed && !noted {
			s.Unplaced = append(s.Unplaced, schedule.Unplaced{Stream: i, Link: -1, Reason: "is not in " + file})
		}
	}
	slices.SortFunc(s.Unplaced, func(a, b schedule.Unplaced) int { return cmp.Compare(a.Stream, b.Stream) })
}

// fabricLinks lists both directions of every link, stations included.
func (d *Daemon) fabricLinks(ctx context.Context) (out []fabricLink, err error) {
	t, err := d.Topology(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range t.Links {
		out = append(out, fabricLink{tsn.Hop{System: l.A, Port: l.PortA}, l.B}, fabricLink{tsn.Hop{System: l.B, Port: l.PortB}, l.A})
	}
	for _, n := range t.Nodes {
		for _, s := range n.Stations {
			out = append(out, fabricLink{tsn.Hop{System: n.System, Port: s.Port}, s.MAC}, fabricLink{tsn.Hop{System: s.MAC}, n.System})
		}
	}
	return out, nil
}
