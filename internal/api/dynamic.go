package api

import (
	"context"
	"errors"
	"net"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	pb "tsnswitch/internal/api/tsnswitchv1"
)

// Dynamic calls the methods of service Switch by its schema, for callers that
// have their own types: what is added to the schema is there at once.
type Dynamic struct {
	methods protoreflect.MethodDescriptors
	client  *http.Client
}

// DialDynamic calls the daemon at a unix socket. It connects at first use.
func DialDynamic(path string) *Dynamic {
	var d net.Dialer
	return &Dynamic{
		methods: pb.File_tsnswitch_v1_switch_proto.Services().ByName("Switch").Methods(),
		client: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) },
		}},
	}
}

// Methods are those of the schema, in its order.
func (d *Dynamic) Methods() (out []protoreflect.MethodDescriptor) {
	for i := range d.methods.Len() {
		out = append(out, d.methods.Get(i))
	}
	return out
}

// Call gives every answer to got: one, or those of a stream until it ends or
// got fails. Errors of the API are *Error.
func (d *Dynamic) Call(ctx context.Context, m protoreflect.MethodDescriptor, request *dynamicpb.Message, got func(protoreflect.Message) error) error {
	const where = "tsnswitchd"
	client := connect.NewClient[dynamicpb.Message, dynamicpb.Message](d.client,
		"http://tsnswitchd/"+string(m.Parent().FullName())+"/"+string(m.Name()),
		connect.WithSchema(m), connect.WithReadMaxBytes(maxMessage),
		connect.WithResponseInitializer(func(_ connect.Spec, msg any) error {
			if p, ok := msg.(*dynamicpb.Message); ok {
				*p = *dynamicpb.NewMessage(m.Output())
			}
			return nil
		}))
	if !m.IsStreamingServer() {
		r, err := client.CallUnary(ctx, connect.NewRequest(request))
		if err != nil {
			return fromConnect(err, where)
		}
		return got(r.Msg)
	}
	s, err := client.CallServerStream(ctx, connect.NewRequest(request))
	if err != nil {
		return fromConnect(err, where)
	}
	defer s.Close()
	for s.Receive() {
		if err := got(s.Msg()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil && !errors.Is(err, context.Canceled) {
		return fromConnect(err, where)
	}
	return ctx.Err()
}
