package api

import (
	"context"

	pb "tsnswitch/internal/api/tsnswitchv1"
)

func (c *Client) SRP(ctx context.Context) (*SRP, error) {
	m, err := c.sw.GetSRP(ctx, c.req())
	return gotView[*SRP](c, m, err)
}

func (c *Client) FindStreams(ctx context.Context, q StreamQuery) ([]StreamView, error) {
	m, err := c.sw.FindStreams(ctx, &pb.FindStreamsRequest{Node: c.node, Stream: q.Stream, Here: q.Here, Fabric: q.Fabric})
	return gotView[[]StreamView](c, m, err)
}

func (c *Client) Declarations(ctx context.Context, q DeclarationQuery) ([]Declaration, error) {
	m, err := c.sw.ListDeclarations(ctx, &pb.DeclarationsRequest{Node: c.node, Port: uint32(q.Port), Application: q.Application})
	return gotView[[]Declaration](c, m, err)
}

func (c *Client) Registrations(ctx context.Context, application string) ([]Registration, error) {
	m, err := c.sw.ListRegistrations(ctx, &pb.RegistrationsRequest{Node: c.node, Application: application})
	return gotView[[]Registration](c, m, err)
}

func (c *Client) ExplainStream(ctx context.Context, stream string) (*StreamWhy, error) {
	m, err := c.sw.ExplainStream(ctx, &pb.StreamRequest{Node: c.node, Stream: stream})
	return gotView[*StreamWhy](c, m, err)
}
