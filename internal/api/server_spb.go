package api

import (
	"context"

	"connectrpc.com/connect"

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
