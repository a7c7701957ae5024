package api

import (
	"context"

	"connectrpc.com/connect"

	pb "tsnswitch/internal/api/tsnswitchv1"
)

func (c *Client) Tree(ctx context.Context, q TreeQuery) (*Tree, error) {
	m, err := c.sw.GetTree(ctx, &pb.TreeRequest{Node: c.node, Source: q.Source, Vlan: uint32(q.VLAN), Ect: ectToPB(q.ECT)})
	return gotView[*Tree](c, m, err)
}

func (c *Client) Records(ctx context.Context, application *uint16) ([]Record, error) {
	r := &pb.RecordsRequest{Node: c.node}
	if application != nil {
		a := uint32(*application)
		r.Application = &a
	}
	m, err := c.sw.ListRecords(ctx, r)
	return gotView[[]Record](c, m, err)
}

func (c *Client) Services(ctx context.Context) (*Services, error) {
	m, err := c.sw.ListServices(ctx, c.req())
	return gotView[*Services](c, m, err)
}

func (c *Client) Edge(ctx context.Context) ([]EdgePort, error) {
	m, err := c.sw.ListEdge(ctx, c.req())
	return gotView[[]EdgePort](c, m, err)
}

func (c *Client) Disjoint(ctx context.Context, q DisjointQuery) (*Disjoint, error) {
	m, err := c.sw.GetDisjoint(ctx, &pb.DisjointRequest{Node: c.node, From: q.From, To: q.To, VlanA: uint32(q.VLANs[0]), VlanB: uint32(q.VLANs[1])})
	return gotView[*Disjoint](c, m, err)
}

func (c *Client) Drain(ctx context.Context, r DrainRequest) (*Drained, error) {
	m, err := c.sw.Drain(ctx, &pb.DrainRequest{Node: c.node, On: r.On, Reason: r.Reason})
	return gotView[*Drained](c, m, err)
}

func (c *Client) Ping(ctx context.Context, r PingRequest, reply func(PingReply) error) (*PingSummary, error) {
	s, err := c.sw.Ping(ctx, &pb.PingRequest{
		Node: c.node, To: r.To, Vlan: uint32(r.VLAN), Count: uint32(r.Count), IntervalNs: r.Interval, TimeoutNs: r.Timeout, Size: uint32(r.Size),
	})
	var sum *PingSummary
	err = watchViews(c, s, err, func(p PingStep) error {
		if p.Reply != nil {
			return reply(*p.Reply)
		}
		sum = p.Summary
		return nil
	})
	return ended(c, sum, err)
}

func (c *Client) Trace(ctx context.Context, r TraceRequest, hop func(TraceHop) error) (*TraceSummary, error) {
	s, err := c.sw.Trace(ctx, &pb.TraceRequest{Node: c.node, To: r.To, Vlan: uint32(r.VLAN), Tries: uint32(r.Tries), TimeoutNs: r.Timeout})
	var sum *TraceSummary
	err = watchViews(c, s, err, func(p TraceStep) error {
		if p.Hop != nil {
			return hop(*p.Hop)
		}
		sum = p.Summary
		return nil
	})
	return ended(c, sum, err)
}

// ended is the outcome of a stream that ends in a summary.
func ended[T any](c *Client, sum *T, err error) (*T, error) {
	if err == nil && sum == nil {
		err = Errorf(CodeInternal, "%s ended the call without a result", c.where)
	}
	if err != nil {
		return nil, err
	}
	return sum, nil
}

func (c *Client) Topology(ctx context.Context) (*Topology, error) {
	m, err := c.sw.GetTopology(ctx, c.req())
	return gotView[*Topology](c, m, err)
}

func (c *Client) WatchTopology(ctx context.Context, emit func(*Topology) error) error {
	s, err := c.sw.WatchTopology(ctx, c.req())
	return watchViews(c, s, err, emit)
}

// watchViews hands out the reports of a stream until it, or emit, ends.
func watchViews[T any](c *Client, s *connect.ServerStreamForClient[pb.View], err error, emit func(T) error) error {
	if err != nil {
		return fromConnect(err, c.where)
	}
	defer s.Close()
	for s.Receive() {
		v, err := viewFromPB[T](s.Msg())
		if err == nil {
			err = emit(v)
		}
		if err != nil {
			return err
		}
	}
	return fromConnect(s.Err(), c.where)
}
