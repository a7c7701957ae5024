package api

import (
	"context"
	"fmt"
	"math"

	"tsnswitch"
	pb "tsnswitch/internal/api/tsnswitchv1"
)

// DemandRequest asks for a stream for stations that speak no MSRP. Talker and
// Listeners are names or addresses of stations that the fabric knows, or an
// address and where it is: 02:00:00:00:01:01@b1:3 (node and port). Zero means of
// ID: the talker's next; of Destination: a group address is chosen; of VID and
// Interval: the class's; of MaxLatency: any.
type DemandRequest struct {
	ID                tsn.StreamID
	Name              string
	Talker            string
	Listeners         []string
	Destination       tsn.MAC
	VID               tsn.VID
	Class             string // A, B
	Rank              uint8  // 0: emergency
	MaxFrameSize      uint16 // MSDU octets
	MaxIntervalFrames uint16 // in each Interval
	Interval          int64  // ns
	MaxLatency        int64  // ns
	DryRun            bool
}

// Demand is a stream that was asked for in this way, as it is declared:
// MaxIntervalFrames and Interval are those of its class.
type Demand struct {
	Stream    tsn.Stream  `json:"stream"`
	Class     string      `json:"class"`
	Rank      uint8       `json:"rank"`
	Talker    DemandEnd   `json:"talkerStation"`
	Listeners []DemandEnd `json:"listenerStations"`
	Keeper    string      `json:"keeper"` // node that keeps it
	// Problem says what is in its way before MSRP can say anything.
	Problem string `json:"problem,omitempty"`
}

// DemandEnd is a station of a Demand. Fixed: it was asked for at that port;
// otherwise the port is where the fabric sees it, NoPort if it does not.
type DemandEnd struct {
	MAC   tsn.MAC `json:"mac"`
	Name  string  `json:"name,omitempty"`
	Fixed bool    `json:"fixed,omitempty"`
	PathHop
}

// Proxies is the whole set of end stations that a system speaks for, of an owner.
type Proxies struct {
	Owner      string          `json:"owner"`
	Generation uint64          `json:"generation"`
	Talkers    []ProxyTalker   `json:"talkers,omitempty"`
	Listeners  []ProxyListener `json:"listeners,omitempty"`
	DryRun     bool            `json:"-"`
}

// ProxyTalker declares a stream at the port where its talker is. Stream has no
// listener, and its interval is its class's.
type ProxyTalker struct {
	Port       tsn.Port   `json:"port"`
	Stream     tsn.Stream `json:"stream"`
	Rank       uint8      `json:"rank"`
	MaxLatency int64      `json:"maxLatencyNs"` // 0: any
}

// ProxyListener asks for a stream at the port where a listener is.
type ProxyListener struct {
	Port       tsn.Port     `json:"port"`
	Stream     tsn.StreamID `json:"streamId"`
	MaxLatency int64        `json:"maxLatencyNs"` // 0: any
}

func (d *decoder) demand(r *pb.RequestStreamRequest) DemandRequest {
	q := DemandRequest{
		ID: d.streamID("id", r.Id), Name: r.Name, Talker: r.Talker, Listeners: r.Listeners, Destination: d.mac("destination", r.Destination),
		VID: d.vid("vlan", r.Vlan), Class: r.Class, Rank: uint8(d.uint("rank", r.Rank, 1)),
		MaxFrameSize: uint16(d.uint("max_frame_size", r.MaxFrameSize, 1500)), MaxIntervalFrames: uint16(d.uint("max_interval_frames", r.MaxIntervalFrames, 1024)),
		Interval: r.IntervalNs, MaxLatency: d.latency(r.MaxLatencyNs), DryRun: r.DryRun,
	}
	if q.MaxFrameSize == 0 || q.MaxIntervalFrames == 0 {
		d.bad("max_frame_size, max_interval_frames", errEmpty)
	}
	if q.Interval < 0 || q.Interval > 1_000_000_000 {
		d.bad("interval_ns", fmt.Errorf("%d is outside 0..1s", q.Interval))
	}
	if q.Talker == "" {
		d.bad("talker", errEmpty)
	}
	if len(q.Listeners) == 0 || len(q.Listeners) > maxDemandListeners {
		d.bad("listeners", fmt.Errorf("%d of them, 1..%d are taken", len(q.Listeners), maxDemandListeners))
	}
	return q
}

// maxDemandListeners bounds the listeners of one demand.
const maxDemandListeners = 256

// latency is one that MSRP can carry (802.1Qcc 35.2.2.10.8): 32 bits of ns.
func (d *decoder) latency(ns int64) int64 {
	if ns < 0 || ns > math.MaxUint32 {
		d.bad("max_latency_ns", fmt.Errorf("%d is outside 0..%d", ns, uint32(math.MaxUint32)))
		return 0
	}
	return ns
}

func demandToPB(node string, r DemandRequest) *pb.RequestStreamRequest {
	q := &pb.RequestStreamRequest{
		Node: node, Name: r.Name, Talker: r.Talker, Listeners: r.Listeners, Vlan: uint32(r.VID), Class: r.Class, Rank: uint32(r.Rank),
		MaxFrameSize: uint32(r.MaxFrameSize), MaxIntervalFrames: uint32(r.MaxIntervalFrames), IntervalNs: r.Interval, MaxLatencyNs: r.MaxLatency, DryRun: r.DryRun,
	}
	if r.ID != (tsn.StreamID{}) {
		q.Id = r.ID.String()
	}
	if !r.Destination.IsZero() {
		q.Destination = r.Destination.String()
	}
	return q
}

func (s *switchServer) RequestStream(ctx context.Context, r *pb.RequestStreamRequest) (*pb.View, error) {
	var d decoder
	q := d.demand(r)
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return view(ctx, s, r.Node, func(sw Switch) (*Demand, error) { return sw.RequestStream(ctx, q) })
}

func (s *switchServer) WithdrawStream(ctx context.Context, r *pb.StreamRequest) (*pb.View, error) {
	if r.Stream == "" {
		return nil, toConnect(Errorf(CodeBadRequest, "stream: %w", errEmpty))
	}
	return view(ctx, s, r.Node, func(sw Switch) (*Demand, error) { return sw.WithdrawStream(ctx, r.Stream) })
}

func (s *switchServer) ListDemands(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) ([]Demand, error) { return sw.Demands(ctx) })
}

func (c *Client) RequestStream(ctx context.Context, r DemandRequest) (*Demand, error) {
	m, err := c.sw.RequestStream(ctx, demandToPB(c.node, r))
	return gotView[*Demand](c, m, err)
}

func (c *Client) WithdrawStream(ctx context.Context, stream string) (*Demand, error) {
	m, err := c.sw.WithdrawStream(ctx, &pb.StreamRequest{Node: c.node, Stream: stream})
	return gotView[*Demand](c, m, err)
}

func (c *Client) Demands(ctx context.Context) ([]Demand, error) {
	m, err := c.sw.ListDemands(ctx, c.req())
	return gotView[[]Demand](c, m, err)
}

func (d *decoder) proxies(r *pb.PutProxiesRequest) Proxies {
	return Proxies{
		Owner: r.Owner, Generation: r.Generation, DryRun: r.DryRun,
		Talkers: mapSlice(r.Talkers, func(t *pb.ProxyTalker) ProxyTalker {
			return ProxyTalker{
				Port: d.port("port", t.GetPort()), Stream: d.stream(t.GetStream()), Rank: uint8(d.uint("rank", t.GetRank(), 1)), MaxLatency: d.latency(t.GetMaxLatencyNs()),
			}
		}),
		Listeners: mapSlice(r.Listeners, func(l *pb.ProxyListener) ProxyListener {
			return ProxyListener{Port: d.port("port", l.GetPort()), Stream: d.streamID("stream_id", l.GetStreamId()), MaxLatency: d.latency(l.GetMaxLatencyNs())}
		}),
	}
}

func (s *peerServer) PutProxies(ctx context.Context, r *pb.PutProxiesRequest) (*pb.PutProxiesResponse, error) {
	if peer := PeerName(ctx); r.Owner != peer {
		return nil, toConnect(Errorf(CodeDenied, "owner %q: the certificate is that of %q", r.Owner, peer))
	}
	var d decoder
	p := d.proxies(r)
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	if err := s.b.PutProxies(ctx, p); err != nil {
		return nil, toConnect(err)
	}
	return &pb.PutProxiesResponse{}, nil
}

func (c *Client) PutProxies(ctx context.Context, p Proxies) error {
	_, err := c.peer.PutProxies(ctx, &pb.PutProxiesRequest{
		Owner: p.Owner, Generation: p.Generation, DryRun: p.DryRun,
		Talkers: mapSlice(p.Talkers, func(t ProxyTalker) *pb.ProxyTalker {
			return &pb.ProxyTalker{Port: uint32(t.Port), Stream: streamToPB(t.Stream), Rank: uint32(t.Rank), MaxLatencyNs: t.MaxLatency}
		}),
		Listeners: mapSlice(p.Listeners, func(l ProxyListener) *pb.ProxyListener {
			return &pb.ProxyListener{Port: uint32(l.Port), StreamId: l.Stream.String(), MaxLatencyNs: l.MaxLatency}
		}),
	})
	return fromConnect(err, c.where)
}
