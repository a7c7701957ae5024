package api

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	pb "tsnswitch/internal/api/tsnswitchv1"
	pbconnect "tsnswitch/internal/api/tsnswitchv1/tsnswitchv1connect"
)

// maxMessage bounds what either side reads: a schedule of a few hundred
// bridges fits, a mistake or an attack does not.
const maxMessage = 16 << 20

// LocalHandler serves Switch: for the unix socket.
func LocalHandler(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(pbconnect.NewSwitchHandler(&switchServer{b}, connect.WithReadMaxBytes(maxMessage)))
	return mux
}

// RemoteHandler serves Switch and Peer: for TLS. A request without a verified
// client certificate is refused, should it ever get here.
func RemoteHandler(b Backend) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(pbconnect.NewSwitchHandler(&switchServer{b}, connect.WithReadMaxBytes(maxMessage)))
	mux.Handle(pbconnect.NewPeerHandler(&peerServer{b}, connect.WithReadMaxBytes(maxMessage)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			http.Error(w, "a client certificate is required", http.StatusForbidden)
			return
		}
		name := certName(r.TLS.VerifiedChains[0][0])
		mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, name)))
	})
}

type peerKey struct{}

// PeerName returns the name in the certificate of the calling daemon; empty on
// the unix socket.
func PeerName(ctx context.Context) string {
	name, _ := ctx.Value(peerKey{}).(string)
	return name
}

type switchServer struct{ b Backend }

// at is the switch that a request is for.
func (s *switchServer) at(ctx context.Context, node string) (Switch, error) {
	if node == "" {
		return s.b, nil
	}
	return s.b.Remote(ctx, node)
}

// call answers a unary request: find the switch, do, convert.
func call[T, M any](ctx context.Context, s *switchServer, node string, do func(Switch) (T, error), conv func(T) (M, error)) (M, error) {
	var none M
	sw, err := s.at(ctx, node)
	if err != nil {
		return none, toConnect(err)
	}
	v, err := do(sw)
	if err != nil {
		return none, toConnect(err)
	}
	m, err := conv(v)
	return m, toConnect(err)
}

// view is call for the reports that travel as JSON.
func view[T any](ctx context.Context, s *switchServer, node string, do func(Switch) (T, error)) (*pb.View, error) {
	return call(ctx, s, node, do, func(v T) (*pb.View, error) { return viewToPB(v) })
}

// sure is a conversion that cannot fail, from a pointer the backend returned.
func sure[T, M any](conv func(T) M) func(*T) (M, error) {
	return func(v *T) (M, error) { return conv(*v), nil }
}

func (s *switchServer) GetStatus(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Status, error) { return sw.Status(ctx) })
}

func (s *switchServer) Doctor(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Doctor, error) { return sw.Doctor(ctx) })
}

func (s *switchServer) Diff(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Diff, error) { return sw.Diff(ctx) })
}

func (s *switchServer) GetKernelText(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*KernelText, error) { return sw.KernelText(ctx) })
}

func (s *switchServer) GetDist(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*Dist, error) { return sw.Dist(ctx) })
}

func (s *switchServer) ListDatabase(ctx context.Context, r *pb.DatabaseRequest) (*pb.View, error) {
	q := DatabaseQuery{LSP: r.Lsp, Detail: r.Detail}
	return view(ctx, s, r.Node, func(sw Switch) ([]LSP, error) { return sw.Database(ctx, q) })
}

func (s *switchServer) ListNodes(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) ([]FabricNode, error) { return sw.Nodes(ctx) })
}

func (s *switchServer) Why(ctx context.Context, r *pb.WhyRequest) (*pb.View, error) {
	var d decoder
	q := WhyQuery{From: r.From, Subject: r.Subject, VLAN: d.vid("vlan", r.Vlan), ECT: d.ect(r.Ect)}
	if r.Subject == "" {
		d.bad("subject", errEmpty)
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) (*Why, error) { return sw.Why(ctx, q) })
}

func (s *switchServer) ListNeighbours(ctx context.Context, r *pb.NodeRequest) (*pb.ListNeighboursResponse, error) {
	return call(ctx, s, r.Node, func(sw Switch) ([]Neighbour, error) { return sw.Neighbours(ctx) },
		func(v []Neighbour) (*pb.ListNeighboursResponse, error) {
			return &pb.ListNeighboursResponse{Neighbours: mapSlice(v, neighbourToPB)}, nil
		})
}

func (s *switchServer) ListPaths(ctx context.Context, r *pb.ListPathsRequest) (*pb.ListPathsResponse, error) {
	var d decoder
	q := PathQuery{VLAN: d.vid("vlan", r.Vlan), From: r.From, To: r.To}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return call(ctx, s, r.Node, func(sw Switch) ([]Path, error) { return sw.Paths(ctx, q) },
		func(v []Path) (*pb.ListPathsResponse, error) {
			return &pb.ListPathsResponse{Paths: mapSlice(v, pathToPB)}, nil
		})
}

func (s *switchServer) AddStream(ctx context.Context, r *pb.AddStreamRequest) (*pb.StreamState, error) {
	var d decoder
	req := d.request(r)
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return call(ctx, s, r.Node, func(sw Switch) (*StreamState, error) { return sw.AddStream(ctx, req) }, sure(streamStateToPB))
}

func (s *switchServer) RemoveStream(ctx context.Context, r *pb.StreamRequest) (*pb.RemoveStreamResponse, error) {
	if r.Stream == "" {
		return nil, toConnect(Errorf(CodeBadRequest, "stream: %w", errEmpty))
	}
	return call(ctx, s, r.Node, func(sw Switch) (struct{}, error) { return struct{}{}, sw.RemoveStream(ctx, r.Stream) },
		func(struct{}) (*pb.RemoveStreamResponse, error) { return &pb.RemoveStreamResponse{}, nil })
}

func (s *switchServer) ListStreams(ctx context.Context, r *pb.NodeRequest) (*pb.ListStreamsResponse, error) {
	return call(ctx, s, r.Node, func(sw Switch) ([]StreamState, error) { return sw.ListStreams(ctx) },
		func(v []StreamState) (*pb.ListStreamsResponse, error) {
			return &pb.ListStreamsResponse{Streams: mapSlice(v, streamStateToPB)}, nil
		})
}

func (s *switchServer) GetStream(ctx context.Context, r *pb.StreamRequest) (*pb.StreamState, error) {
	if r.Stream == "" {
		return nil, toConnect(Errorf(CodeBadRequest, "stream: %w", errEmpty))
	}
	return call(ctx, s, r.Node, func(sw Switch) (*StreamState, error) { return sw.ShowStream(ctx, r.Stream) }, sure(streamStateToPB))
}

func (s *switchServer) PlanSchedule(ctx context.Context, r *pb.PlanScheduleRequest) (*pb.Schedule, error) {
	req := PlanRequest{CycleTime: r.CycleTimeNs, Replan: r.Replan, File: r.SolutionFile, Solution: r.Solution}
	return call(ctx, s, r.Node, func(sw Switch) (*Schedule, error) { return sw.PlanSchedule(ctx, req) }, sure(scheduleToPB))
}

func (s *switchServer) GetSchedule(ctx context.Context, r *pb.NodeRequest) (*pb.Schedule, error) {
	return call(ctx, s, r.Node, func(sw Switch) (*Schedule, error) { return sw.ShowSchedule(ctx) }, sure(scheduleToPB))
}

func (s *switchServer) ApplySchedule(ctx context.Context, r *pb.ApplyScheduleRequest, out *connect.ServerStream[pb.ApplyScheduleResponse]) error {
	req := ApplyRequest{
		PlanRequest: PlanRequest{CycleTime: r.CycleTimeNs, Replan: r.Replan, File: r.SolutionFile, Solution: r.Solution},
		LeadTime:    r.LeadTimeNs, Confirm: r.ConfirmNs, Accept: r.Accept,
	}
	return s.scheduleSteps(ctx, r.Node, out, func(sw Switch, progress func(Progress)) (*Schedule, error) {
		return sw.ApplySchedule(ctx, req, progress)
	})
}

func (s *switchServer) ConfirmSchedule(ctx context.Context, r *pb.NodeRequest, out *connect.ServerStream[pb.ApplyScheduleResponse]) error {
	return s.scheduleSteps(ctx, r.Node, out, func(sw Switch, progress func(Progress)) (*Schedule, error) {
		return sw.ConfirmSchedule(ctx, progress)
	})
}

func (s *switchServer) RollBackSchedule(ctx context.Context, r *pb.NodeRequest, out *connect.ServerStream[pb.ApplyScheduleResponse]) error {
	return s.scheduleSteps(ctx, r.Node, out, func(sw Switch, progress func(Progress)) (*Schedule, error) {
		return sw.RollBackSchedule(ctx, progress)
	})
}

// scheduleSteps sends progress while do runs, and the schedule at its end.
func (s *switchServer) scheduleSteps(ctx context.Context, node string, out *connect.ServerStream[pb.ApplyScheduleResponse], do func(Switch, func(Progress)) (*Schedule, error)) error {
	sw, err := s.at(ctx, node)
	if err != nil {
		return toConnect(err)
	}
	sched, err := do(sw, func(p Progress) {
		// A caller that went away shows in ctx; the call itself decides.
		_ = out.Send(&pb.ApplyScheduleResponse{What: &pb.ApplyScheduleResponse_Progress{Progress: progressToPB(p)}})
	})
	if err != nil {
		return toConnect(err)
	}
	return out.Send(&pb.ApplyScheduleResponse{What: &pb.ApplyScheduleResponse_Schedule{Schedule: scheduleToPB(*sched)}})
}

func (s *switchServer) WatchEvents(ctx context.Context, r *pb.WatchEventsRequest, out *connect.ServerStream[pb.Event]) error {
	sw, err := s.at(ctx, r.Node)
	if err != nil {
		return toConnect(err)
	}
	return toConnect(sw.Events(ctx, r.Since, func(e Event) error { return out.Send(eventToPB(e)) }))
}

type peerServer struct{ b Backend }

func (s *peerServer) PutReservations(ctx context.Context, r *pb.PutReservationsRequest) (*pb.PutReservationsResponse, error) {
	if peer := PeerName(ctx); r.Owner != peer {
		return nil, toConnect(Errorf(CodeDenied, "owner %q: the certificate is that of %q", r.Owner, peer))
	}
	var d decoder
	p := Reservations{
		Owner: r.Owner, Generation: r.Generation, DryRun: r.DryRun,
		Reservations: mapSlice(r.Reservations, d.reservation),
	}
	for _, res := range p.Reservations {
		if err := res.Stream.Validate(); err != nil {
			d.bad("stream "+res.Stream.ID.String(), err)
		}
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	if err := s.b.PutReservations(ctx, p); err != nil {
		return nil, toConnect(err)
	}
	return &pb.PutReservationsResponse{}, nil
}

func (s *peerServer) StageSchedule(ctx context.Context, r *pb.StageScheduleRequest) (*pb.ScheduleStateResponse, error) {
	var d decoder
	req := d.stageRequest(r)
	return s.schedule(&d, r.Id, func() (*ScheduleState, error) { return s.b.StageSchedule(ctx, req) })
}

func (s *peerServer) CommitSchedule(ctx context.Context, r *pb.CommitScheduleRequest) (*pb.ScheduleStateResponse, error) {
	return s.schedule(&decoder{}, r.Id, func() (*ScheduleState, error) { return s.b.CommitSchedule(ctx, r.Id) })
}

func (s *peerServer) TrialSchedule(ctx context.Context, r *pb.TrialScheduleRequest) (*pb.ScheduleStateResponse, error) {
	var d decoder
	req := TrialRequest{ID: r.Id, Step: r.Step, At: d.ptp(r.At), Ballot: r.Ballot}
	return s.schedule(&d, r.Id, func() (*ScheduleState, error) { return s.b.TrialSchedule(ctx, req) })
}

func (s *peerServer) AbortSchedule(ctx context.Context, r *pb.AbortScheduleRequest) (*pb.ScheduleStateResponse, error) {
	return s.schedule(&decoder{}, r.Id, func() (*ScheduleState, error) { return s.b.AbortSchedule(ctx, r.Id) })
}

// schedule is the common part of the calls about the schedule of that id.
func (s *peerServer) schedule(d *decoder, id string, do func() (*ScheduleState, error)) (*pb.ScheduleStateResponse, error) {
	if id == "" {
		d.bad("id", errEmpty)
	}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	st, err := do()
	if err != nil {
		return nil, toConnect(err)
	}
	return scheduleStateToPB(*st), nil
}

func (s *peerServer) GetScheduleState(ctx context.Context, _ *pb.GetScheduleStateRequest) (*pb.ScheduleStateResponse, error) {
	st, err := s.b.ScheduleState(ctx)
	if err != nil {
		return nil, toConnect(err)
	}
	return scheduleStateToPB(*st), nil
}

func (s *peerServer) GetNode(ctx context.Context, _ *pb.GetNodeRequest) (*pb.View, error) {
	st, err := s.b.Node(ctx)
	if err != nil {
		return nil, toConnect(err)
	}
	v, err := viewToPB(st)
	return v, toConnect(err)
}

var (
	_ pbconnect.SwitchHandler = (*switchServer)(nil)
	_ pbconnect.PeerHandler   = (*peerServer)(nil)
)
