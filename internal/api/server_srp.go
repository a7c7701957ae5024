package api

import (
	"context"

	pb "tsnswitch/internal/api/tsnswitchv1"
)

func (s *switchServer) GetSRP(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*SRP, error) { return sw.SRP(ctx) })
}

func (s *switchServer) FindStreams(ctx context.Context, r *pb.FindStreamsRequest) (*pb.View, error) {
	q := StreamQuery{Stream: r.Stream, Here: r.Here, Fabric: r.Fabric}
	return view(ctx, s, r.Node, func(sw Switch) ([]StreamView, error) { return sw.FindStreams(ctx, q) })
}

func (s *switchServer) ListDeclarations(ctx context.Context, r *pb.DeclarationsRequest) (*pb.View, error) {
	var d decoder
	q := DeclarationQuery{Port: d.port("port", r.Port), Application: r.Application}
	switch r.Application {
	case "", "msrp", "mvrp", "mmrp":
	default:
		d.bad("application", Errorf(CodeBadRequest, "%q is none of msrp, mvrp, mmrp", r.Application))
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) ([]Declaration, error) { return sw.Declarations(ctx, q) })
}

func (s *switchServer) ListRegistrations(ctx context.Context, r *pb.RegistrationsRequest) (*pb.View, error) {
	if r.Application != "mvrp" && r.Application != "mmrp" {
		return nil, toConnect(Errorf(CodeBadRequest, "application: %q is none of mvrp, mmrp", r.Application))
	}
	return view(ctx, s, r.Node, func(sw Switch) ([]Registration, error) { return sw.Registrations(ctx, r.Application) })
}

func (s *switchServer) ExplainStream(ctx context.Context, r *pb.StreamRequest) (*pb.View, error) {
	if r.Stream == "" {
		return nil, toConnect(Errorf(CodeBadRequest, "stream: %w", errEmpty))
	}
	return view(ctx, s, r.Node, func(sw Switch) (*StreamWhy, error) { return sw.ExplainStream(ctx, r.Stream) })
}
