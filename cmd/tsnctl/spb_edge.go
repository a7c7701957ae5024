package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbEdge() *cobra.Command {
	return &cobra.Command{
		Use: "edge", Short: "Show the edge ports, and which are blocked and why",
		Long: `Shows the edge ports as the edge guard has them. A port listens before it
forwards; of two edge ports that turn out to share a LAN one is blocked, so that
no frame can circle. It opens again by itself when the other one is gone.`,
		Example: "  tsnctl spb edge\n  tsnctl spb edge --node b2 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Edge(ctx)
			if err != nil {
				return err
			}
			return show(a, v, printEdge)
		}),
	}
}

func printEdge(p *page, v []api.EdgePort) {
	t := table{head: []string{">PORT", "IFNAME", "STATE", ">FOR", ">BLOCKED", ">STATIONS", "WHY"}}
	for _, e := range v {
		why := e.Reason
		if e.Peer != "" {
			why = fmt.Sprintf("%s port %d: %s", e.Peer, e.PeerPort, why)
		}
		if !e.Guarded {
			why = "not guarded"
		}
		t.row(e.Port, e.Ifname, e.State, dur(e.For), plural(int(e.Blocks), "time", "times"), e.Stations, dash(why))
	}
	p.table(t)
	for _, e := range v {
		for _, s := range e.Learned {
			text := fmt.Sprintf("%s is learned", s.MAC)
			if s.Address != "" {
				text += ", " + s.Address
			}
			if s.Refused != "" {
				text = fmt.Sprintf("%s is not told to the fabric: %s", s.MAC, s.Refused)
			}
			p.wrap(fmt.Sprintf("port %d: ", e.Port), "    ", text)
		}
	}
}
