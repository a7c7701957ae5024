package main

import (
	"context"

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
			})
		}),
	}
}
