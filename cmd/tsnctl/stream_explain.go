package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) streamExplain() *cobra.Command {
	return &cobra.Command{
		Use: "explain ID|NAME", Short: "Say why a stream is not reserved, and what would help",
		Long: `Says for each bridge and port on the way of a stream what became of it there:
why it failed, with the failure code, what bandwidth it lacks, which streams
have it, and what would make it fit.`,
		Example: "  tsnctl stream explain 02-00-00-00-01-01:0001\n  tsnctl stream explain a-to-b -o json",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: a.completeStreams,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			v, err := sw.ExplainStream(ctx, args[0])
			if err != nil {
				return err
			}
			return show(a, v, printStreamWhy)
		}),
	}
}

func printStreamWhy(p *page, v *api.StreamWhy) {
	p.wrap("", "  ", fmt.Sprintf("%s is %s", v.Stream.ID, outcome(v.StreamView)))
	for _, b := range v.Reasons {
		p.blank()
		p.line(b.Node)
		if b.Problem != "" {
			p.wrap("  ", "  ", b.Problem)
		}
		for _, port := range b.Ports {
			printPortWhy(p, port)
		}
	}
}

func printPortWhy(p *page, w api.PortWhy) {
	text := fmt.Sprintf("port %d (%s): ", w.Port, w.Ifname)
	if w.Here && w.Code != tsn.FailureNone {
		text += fmt.Sprintf("fails it with code %d (%s): ", uint8(w.Code), w.Code)
	}
	p.wrap("  ", "    ", text+w.Text)
	if w.Needed > 0 {
		p.wrap("    ", "    ", fmt.Sprintf("needed: %d kbit/s; left: %d kbit/s", uint64(w.Needed), uint64(w.Available)))
	}
	if w.Remedy != "" && w.Here {
		p.wrap("    ", "      ", "to make it fit: "+w.Remedy)
	}
	if len(w.Holders) == 0 {
		return
	}
	p.line("    the bandwidth is held by:")
	t := table{head: []string{"    STREAM", "CLASS", ">RANK", ">KBIT/S", "OWNER"}}
	for _, h := range w.Holders {
		t.row("    "+h.Stream.String(), h.Class, h.Rank, uint64(h.Bandwidth), h.Owner)
	}
	p.table(t)
}
