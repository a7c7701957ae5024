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
