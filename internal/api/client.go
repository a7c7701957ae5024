package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	pb "tsnswitch/internal/api/tsnswitchv1"
	pbconnect "tsnswitch/internal/api/tsnswitchv1/tsnswitchv1connect"
)

// Client calls a daemon. It is a Switch and, over TLS, a Peer; errors are
// *Error. Use its methods from many goroutines; Close drops idle connections.
type Client struct {
	sw        pbconnect.SwitchClient
	peer      pbconnect.PeerClient
	transport *http.Transport
	where     string // for errors
	node      string // whom the daemon forwards to
}

var (
	_ Switch = (*Client)(nil)
	_ Peer   = (*Client)(nil)
)

// Dialer opens connections; nil means a net.Dialer with a time limit.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// DialUnix returns a client of the local daemon. It connects at first use.
func DialUnix(path string) *Client {
	var d net.Dialer
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
	}
	return newClient(t, "http://tsnswitchd", "tsnswitchd at "+path)
}

// DialTLS returns a client of the daemon of that node at addr ("10.255.0.2:9465").
// The daemon is known by the name in its certificate, not by its address.
func DialTLS(addr, node string, keys *Keys, dial Dialer) *Client {
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second}).DialContext
	}
	t := &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     keys.client(node),
		TLSHandshakeTimeout: 5 * time.Second,
		IdleConnTimeout:     time.Minute,
		ForceAttemptHTTP2:   true,
	}
	return newClient(t, "https://"+addr, node+" at "+addr)
}

func newClient(t *http.Transport, base, where string) *Client {
	hc := &http.Client{Transport: t}
	limit := connect.WithReadMaxBytes(maxMessage)
	return &Client{
		sw:        pbconnect.NewSwitchClient(hc, base, limit),
		peer:      pbconnect.NewPeerClient(hc, base, limit),
		transport: t,
		where:     where,
	}
}

// At returns a client whose Switch calls the daemon forwards to that node.
func (c *Client) At(node string) *Client {
	d := *c
	d.node = node
	return &d
}

// Close drops idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

func (c *Client) req() *pb.NodeRequest { return &pb.NodeRequest{Node: c.node} }

// got finishes a call whose answer is a typed message.
func got[M, T any](c *Client, m M, err error, conv func(*decoder, M) T) (T, error) {
	var none T
	if err != nil {
		return none, fromConnect(err, c.where)
	}
	var d decoder
	v := conv(&d, m)
	if err := d.err(); err != nil {
		return none, Errorf(CodeInternal, "%s sent what cannot be: %w", c.where, err)
	}
	return v, nil
}

// gotPtr is got for answers returned by pointer.
func gotPtr[M, T any](c *Client, m M, err error, conv func(*decoder, M) T) (*T, error) {
	v, err := got(c, m, err, conv)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// gotView finishes a call whose answer is JSON.
func gotView[T any](c *Client, m *pb.View, err error) (T, error) {
	if err != nil {
		var none T
		return none, fromConnect(err, c.where)
	}
	return viewFromPB[T](m)
}

// Status implements Switch; so do the methods that follow.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	m, err := c.sw.GetStatus(ctx, c.req())
	return gotView[*Status](c, m, err)
}

func (c *Client) Doctor(ctx context.Context) (*Doctor, error) {
	m, err := c.sw.Doctor(ctx, c.req())
	return gotView[*Doctor](c, m, err)
}

func (c *Client) Diff(ctx context.Context) (*Diff, error) {
	m, err := c.sw.Diff(ctx, c.req())
	return gotView[*Diff](c, m, err)
}

func (c *Client) KernelText(ctx context.Context) (*KernelText, error) {
	m, err := c.sw.GetKernelText(ctx, c.req())
	return gotView[*KernelText](c, m, err)
}

func (c *Client) Dist(ctx context.Context) (*Dist, error) {
	m, err := c.sw.GetDist(ctx, c.req())
	return gotView[*Dist](c, m, err)
}

func (c *Client) Neighbours(ctx context.Context) ([]Neighbour, error) {
	m, err := c.sw.ListNeighbours(ctx, c.req())
	return got(c, m, err, func(d *decoder, m *pb.ListNeighboursResponse) []Neighbour { return mapSlice(m.Neighbours, d.neighbour) })
}

func (c *Client) Database(ctx context.Context, q DatabaseQuery) ([]LSP, error) {
	m, err := c.sw.ListDatabase(ctx, &pb.DatabaseRequest{Node: c.node, Lsp: q.LSP, Detail: q.Detail})
	return gotView[[]LSP](c, m, err)
}

func (c *Client) Nodes(ctx context.Context) ([]FabricNode, error) {
	m, err := c.sw.ListNodes(ctx, c.req())
	return gotView[[]FabricNode](c, m, err)
}

func (c *Client) Paths(ctx context.Context, q PathQuery) ([]Path, error) {
	m, err := c.sw.ListPaths(ctx, &pb.ListPathsRequest{Node: c.node, Vlan: uint32(q.VLAN), From: q.From, To: q.To})
	return got(c, m, err, func(d *decoder, m *pb.ListPathsResponse) []Path { return mapSlice(m.Paths, d.path) })
}

func (c *Client) Why(ctx context.Context, q WhyQuery) (*Why, error) {
	m, err := c.sw.Why(ctx, &pb.WhyRequest{Node: c.node, From: q.From, Subject: q.Subject, Vlan: uint32(q.VLAN), Ect: ectToPB(q.ECT)})
	return gotView[*Why](c, m, err)
}

func (c *Client) AddStream(ctx context.Context, r StreamRequest) (*StreamState, error) {
	m, err := c.sw.AddStream(ctx, requestToPB(r, c.node))
	return gotPtr(c, m, err, (*decoder).streamState)
}

func (c *Client) RemoveStream(ctx context.Context, stream string) error {
	_, err := c.sw.RemoveStream(ctx, &pb.StreamRequest{Node: c.node, Stream: stream})
	return fromConnect(err, c.where)
}

func (c *Client) ListStreams(ctx context.Context) ([]StreamState, error) {
	m, err := c.sw.ListStreams(ctx, c.req())
	return got(c, m, err, func(d *decoder, m *pb.ListStreamsResponse) []StreamState { return mapSlice(m.Streams, d.streamState) })
}

func (c *Client) ShowStream(ctx context.Context, stream string) (*StreamState, error) {
	m, err := c.sw.GetStream(ctx, &pb.StreamRequest{Node: c.node, Stream: stream})
	return gotPtr(c, m, err, (*decoder).streamState)
}

func (c *Client) PlanSchedule(ctx context.Context, r PlanRequest) (*Schedule, error) {
	m, err := c.sw.PlanSchedule(ctx, &pb.PlanScheduleRequest{
		Node: c.node, CycleTimeNs: r.CycleTime, Replan: r.Replan, SolutionFile: r.File, Solution: r.Solution,
	})
	return gotPtr(c, m, err, (*decoder).schedule)
}

func (c *Client) ApplySchedule(ctx context.Context, r ApplyRequest, progress func(Progress)) (*Schedule, error) {
	s, err := c.sw.ApplySchedule(ctx, &pb.ApplyScheduleRequest{
		Node: c.node, CycleTimeNs: r.CycleTime, LeadTimeNs: r.LeadTime, ConfirmNs: r.Confirm, Accept: r.Accept,
		Replan: r.Replan, SolutionFile: r.File, Solution: r.Solution,
	})
	return c.scheduleSteps(s, err, progress)
}

func (c *Client) ConfirmSchedule(ctx context.Context, progress func(Progress)) (*Schedule, error) {
	s, err := c.sw.ConfirmSchedule(ctx, c.req())
	return c.scheduleSteps(s, err, progress)
}

func (c *Client) RollBackSchedule(ctx context.Context, progress func(Progress)) (*Schedule, error) {
	s, err := c.sw.RollBackSchedule(ctx, c.req())
	return c.scheduleSteps(s, err, progress)
}

// scheduleSteps passes progress on until the schedule comes.
func (c *Client) scheduleSteps(s *connect.ServerStreamForClient[pb.ApplyScheduleResponse], err error, progress func(Progress)) (*Schedule, error) {
	if err != nil {
		return nil, fromConnect(err, c.where)
	}
	defer s.Close()
	for s.Receive() {
		switch w := s.Msg().What.(type) {
		case *pb.ApplyScheduleResponse_Progress:
			if progress != nil {
				progress(progressFromPB(w.Progress))
			}
		case *pb.ApplyScheduleResponse_Schedule:
			return gotPtr(c, w.Schedule, nil, (*decoder).schedule)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fromConnect(err, c.where)
	}
	return nil, Errorf(CodeInternal, "%s ended the call without a schedule", c.where)
}

func (c *Client) ShowSchedule(ctx context.Context) (*Schedule, error) {
	m, err := c.sw.GetSchedule(ctx, c.req())
	return gotPtr(c, m, err, (*decoder).schedule)
}

func (c *Client) Events(ctx context.Context, since uint64, emit func(Event) error) error {
	s, err := c.sw.WatchEvents(ctx, &pb.WatchEventsRequest{Node: c.node, Since: since})
	if err != nil {
		return fromConnect(err, c.where)
	}
	defer s.Close()
	for s.Receive() {
		ev, err := got(c, s.Msg(), nil, (*decoder).event)
		if err == nil {
			err = emit(ev)
		}
		if err != nil {
			return err
		}
	}
	return fromConnect(s.Err(), c.where)
}

// PutReservations implements Peer; so do the methods that follow.
func (c *Client) PutReservations(ctx context.Context, p Reservations) error {
	_, err := c.peer.PutReservations(ctx, &pb.PutReservationsRequest{
		Owner: p.Owner, Generation: p.Generation, DryRun: p.DryRun,
		Reservations: mapSlice(p.Reservations, reservationToPB),
	})
	return fromConnect(err, c.where)
}

func (c *Client) StageSchedule(ctx context.Context, r StageRequest) (*ScheduleState, error) {
	m, err := c.peer.StageSchedule(ctx, stageRequestToPB(r))
	return gotPtr(c, m, err, (*decoder).scheduleState)
}

func (c *Client) CommitSchedule(ctx context.Context, id string) (*ScheduleState, error) {
	m, err := c.peer.CommitSchedule(ctx, &pb.CommitScheduleRequest{Id: id})
	return gotPtr(c, m, err, (*decoder).scheduleState)
}

func (c *Client) TrialSchedule(ctx context.Context, r TrialRequest) (*ScheduleState, error) {
	m, err := c.peer.TrialSchedule(ctx, &pb.TrialScheduleRequest{Id: r.ID, Step: r.Step, At: ptpToPB(r.At), Ballot: r.Ballot})
	return gotPtr(c, m, err, (*decoder).scheduleState)
}

func (c *Client) AbortSchedule(ctx context.Context, id string) (*ScheduleState, error) {
	m, err := c.peer.AbortSchedule(ctx, &pb.AbortScheduleRequest{Id: id})
	return gotPtr(c, m, err, (*decoder).scheduleState)
}

func (c *Client) ScheduleState(ctx context.Context) (*ScheduleState, error) {
	m, err := c.peer.GetScheduleState(ctx, &pb.GetScheduleStateRequest{})
	return gotPtr(c, m, err, (*decoder).scheduleState)
}

func (c *Client) Node(ctx context.Context) (*Status, error) {
	m, err := c.peer.GetNode(ctx, &pb.GetNodeRequest{})
	return gotView[*Status](c, m, err)
}
