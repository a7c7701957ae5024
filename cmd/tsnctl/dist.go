package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) dist() *cobra.Command {
	return &cobra.Command{
		Use: "dist", Short: "Show Erlang distribution over distlink",
		Example: "  tsnctl dist --node A", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Dist(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, d *api.Dist) {
				t := table{head: []string{"~LOCAL", "~PEER", "STATE", ">RTT", ">SENT", ">RECEIVED", ">AGAIN", "STREAM"}}
				for _, l := range d.Links {
					stream := l.StreamID
					if stream == "" {
						stream = "best effort"
					}
					t.row(l.Local, l.Peer, l.State, dur(l.RTT), l.Sent, l.Received, l.Retransmits, stream)
				}
				p.table(t)
				queues(p, d)
			})
		}),
	}
}

// queues are those of the nodes whose carrier has told.
func queues(p *page, d *api.Dist) {
	t := table{head: []string{"~LOCAL", "~PEER", ">RATE", ">QUEUED", ">FLIGHT", ">STREAMS", ">WAITING", ">FULL", "KEY"}}
	for _, l := range d.Links {
		c := l.Carrier
		if c == nil {
			continue
		}
		rate := "-"
		if c.Rate > 0 {
			rate = fmt.Sprintf("%dk", c.Rate)
		}
		t.row(l.Local, l.Peer, rate, c.Queued, c.InFlight, c.Streams, fmt.Sprintf("%d/%d/%d", c.Control, c.Configured, c.Bulk), c.Suspended, c.Security)
	}
	if len(t.rows) > 0 {
		p.blank()
		p.table(t)
		p.blank()
		p.line("queued and in flight in octets; waiting: streams of control/configured/bulk;")
		p.line("full: times the VM was told to suspend senders")
	}
}
