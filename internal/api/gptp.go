package api

import (
	"context"

	"connectrpc.com/connect"

	pb "tsnswitch/internal/api/tsnswitchv1"
)

// domain decodes an optional domainNumber.
func (d *decoder) domain(v *uint32) *uint8 {
	if v == nil {
		return nil
	}
	n := uint8(d.uint("domain", *v, 127))
	return &n
}

func domainToPB(v *uint8) *uint32 {
	if v == nil {
		return nil
	}
	n := uint32(*v)
	return &n
}

func sampleToPB(s GPTPSample) *pb.GPTPSample {
	return &pb.GPTPSample{
		TimeUnixNs: s.Time, Domain: uint32(s.Domain), OffsetNs: s.Offset, RatePpm: s.RatePPM,
		MeanLinkDelayNs: s.MeanLinkDelay, Grandmaster: s.Grandmaster, State: s.State,
	}
}

func (d *decoder) sample(p *pb.GPTPSample) GPTPSample {
	return GPTPSample{
		Time: p.GetTimeUnixNs(), Domain: uint8(d.uint("domain", p.GetDomain(), 255)), Offset: p.GetOffsetNs(),
		RatePPM: p.GetRatePpm(), MeanLinkDelay: p.GetMeanLinkDelayNs(), Grandmaster: p.GetGrandmaster(), State: p.GetState(),
	}
}

func historyToPB(h GPTPHistory) *pb.GPTPHistory {
	return &pb.GPTPHistory{
		Node: h.Node, Domain: uint32(h.Domain), Samples: mapSlice(h.Samples, sampleToPB), Events: mapSlice(h.Events, eventToPB),
	}
}

func (d *decoder) history(p *pb.GPTPHistory) GPTPHistory {
	return GPTPHistory{
		Node: p.GetNode(), Domain: uint8(d.uint("domain", p.GetDomain(), 255)),
		Samples: mapSlice(p.GetSamples(), d.sample), Events: mapSlice(p.GetEvents(), d.event),
	}
}

func updateToPB(u GPTPUpdate) *pb.GPTPUpdate {
	if u.Event != nil {
		return &pb.GPTPUpdate{What: &pb.GPTPUpdate_Event{Event: eventToPB(*u.Event)}}
	}
	return &pb.GPTPUpdate{What: &pb.GPTPUpdate_Sample{Sample: sampleToPB(*u.Sample)}}
}

func (d *decoder) update(p *pb.GPTPUpdate) GPTPUpdate {
	switch w := p.GetWhat().(type) {
	case *pb.GPTPUpdate_Event:
		e := d.event(w.Event)
		return GPTPUpdate{Event: &e}
	case *pb.GPTPUpdate_Sample:
		s := d.sample(w.Sample)
		return GPTPUpdate{Sample: &s}
	}
	d.bad("what", errEmpty)
	return GPTPUpdate{}
}

func (s *switchServer) GetGPTP(ctx context.Context, r *pb.NodeRequest) (*pb.View, error) {
	return view(ctx, s, r.Node, func(sw Switch) (*GPTPStatus, error) { return sw.GPTP(ctx) })
}

func (s *switchServer) GetGPTPHistory(ctx context.Context, r *pb.GPTPHistoryRequest) (*pb.GPTPHistory, error) {
	var d decoder
	q := GPTPQuery{Domain: d.domain(r.Domain), Back: r.BackNs}
	if err := d.err(); err != nil {
		return nil, toConnect(err)
	}
	return call(ctx, s, r.Node, func(sw Switch) (*GPTPHistory, error) { return sw.GPTPHistory(ctx, q) }, sure(historyToPB))
}

func (s *switchServer) WatchGPTP(ctx context.Context, r *pb.WatchGPTPRequest, out *connect.ServerStream[pb.GPTPUpdate]) error {
	var d decoder
	q := GPTPQuery{Domain: d.domain(r.Domain)}
	if err := d.err(); err != nil {
		return toConnect(err)
	}
	sw, err := s.at(ctx, r.Node)
	if err != nil {
		return toConnect(err)
	}
	return toConnect(sw.WatchGPTP(ctx, q, func(u GPTPUpdate) error { return out.Send(updateToPB(u)) }))
}

// GPTP implements Switch; so do the methods that follow.
func (c *Client) GPTP(ctx context.Context) (*GPTPStatus, error) {
	m, err := c.sw.GetGPTP(ctx, c.req())
	return gotView[*GPTPStatus](c, m, err)
}

func (c *Client) GPTPHistory(ctx context.Context, q GPTPQuery) (*GPTPHistory, error) {
	m, err := c.sw.GetGPTPHistory(ctx, &pb.GPTPHistoryRequest{Node: c.node, Domain: domainToPB(q.Domain), BackNs: q.Back})
	return gotPtr(c, m, err, (*decoder).history)
}

func (c *Client) WatchGPTP(ctx context.Context, q GPTPQuery, emit func(GPTPUpdate) error) error {
	s, err := c.sw.WatchGPTP(ctx, &pb.WatchGPTPRequest{Node: c.node, Domain: domainToPB(q.Domain)})
	if err != nil {
		return fromConnect(err, c.where)
	}
	defer s.Close()
	for s.Receive() {
		u, err := got(c, s.Msg(), nil, (*decoder).update)
		if err == nil {
			err = emit(u)
		}
		if err != nil {
			return err
		}
	}
	return fromConnect(s.Err(), c.where)
}
