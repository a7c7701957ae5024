package api

import (
	"context"

	"connectrpc.com/connect"

	"tsnswitch"
	pb "tsnswitch/internal/api/tsnswitchv1"
)

// ect decodes an optional ECT algorithm.
func (d *decoder) ect(v *uint32) *uint8 {
	if v == nil {
		return nil
	}
	e := uint8(d.uint("ect", *v, 16))
	return &e
}

func ectToPB(e *uint8) *uint32 {
	if e == nil {
		return nil
	}
	v := uint32(*e)
	return &v
}

func (s *switchServer) GetTree(ctx context.Context, r *pb.TreeRequest) (*pb.View, error) {
	var d decoder
	q := TreeQuery{Source: r.Source, VLAN: d.vid("vlan", r.Vlan), ECT: d.ect(r.Ect)}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) (*Tree, error) { return sw.Tree(ctx, q) })
}

func (s *switchServer) ListRecords(ctx context.Context, r *pb.RecordsRequest) (*pb.View, error) {
	var d decoder
	var application *uint16
	if r.Application != nil {
		a := uint16(d.uint("application", *r.Application, 65535))
		application = &a
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) ([]Record, error) { return sw.Records(ctx, application) })
}

func (s *switchServer) ListServices(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Services, error) { return sw.Services(ctx) })
}

func (s *switchServer) ListEdge(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) ([]EdgePort, error) { return sw.Edge(ctx) })
}

func (s *switchServer) GetDisjoint(ctx context.Context, r *pb.DisjointRequest) (*pb.View, error) {
	var d decoder
	q := DisjointQuery{From: r.From, To: r.To, VLANs: [2]tsn.VID{d.vid("vlan_a", r.VlanA), d.vid("vlan_b", r.VlanB)}}
	if r.From == "" || r.To == "" {
		d.bad("from or to", errEmpty)
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) (*Disjoint, error) { return sw.Disjoint(ctx, q) })
}

func (s *switchServer) Drain(ctx context.Context, r *pb.DrainRequest) (*pb.View, error) {
	req := DrainRequest{On: r.On, Reason: r.Reason}
	return view(ctx, s, r.Node, func(sw Switch) (*Drained, error) { return sw.Drain(ctx, req) })
}

func (s *switchServer) Ping(ctx context.Context, r *pb.PingRequest, out *connect.ServerStream[pb.View]) error {
	var d decoder
	req := PingRequest{
		To: r.To, VLAN: d.vid("vlan", r.Vlan), Count: int(d.uint("count", r.Count, 100_000)),
		Interval: r.IntervalNs, Timeout: r.TimeoutNs, Size: int(d.uint("size", r.Size, 65535)),
	}
	sw, err := s.asked(ctx, &d, r.Node, r.To)
	if err != nil {
		return toConnect(err)
	}
	sum, err := sw.Ping(ctx, req, func(p PingReply) error { return sendView(out, PingStep{Reply: &p}) })
	if err != nil {
		return toConnect(err)
	}
	return sendView(out, PingStep{Summary: sum})
}

func (s *switchServer) Trace(ctx context.Context, r *pb.TraceRequest, out *connect.ServerStream[pb.View]) error {
	var d decoder
	req := TraceRequest{To: r.To, VLAN: d.vid("vlan", r.Vlan), Tries: int(d.uint("tries", r.Tries, 10)), Timeout: r.TimeoutNs}
	sw, err := s.asked(ctx, &d, r.Node, r.To)
	if err != nil {
		return toConnect(err)
	}
	sum, err := sw.Trace(ctx, req, func(h TraceHop) error { return sendView(out, TraceStep{Hop: &h}) })
	if err != nil {
		return toConnect(err)
	}
	return sendView(out, TraceStep{Summary: sum})
}

// asked is at for a request about a system, once it is decoded.
func (s *switchServer) asked(ctx context.Context, d *decoder, node, to string) (Switch, error) {
	if to == "" {
		d.bad("to", errEmpty)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return s.at(ctx, node)
}

func (s *switchServer) GetTopology(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Topology, error) { return sw.Topology(ctx) })
}

func (s *switchServer) WatchTopology(ctx context.Context, r *pb.NodeRequest, out *connect.ServerStream[pb.View]) error {
	sw, err := s.at(ctx, r.Node)
	if err != nil {
		return toConnect(err)
	}
	return toConnect(sw.WatchTopology(ctx, func(t *Topology) error { return sendView(out, t) }))
}

// sendView sends one report of a stream of them.
func sendView[T any](out *connect.ServerStream[pb.View], v T) error {
	m, err := viewToPB(v)
	if err != nil {
		return err
	}
	return out.Send(m)
}
