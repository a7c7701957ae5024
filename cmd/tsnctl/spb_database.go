package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbDatabase() *cobra.Command {
	var q api.DatabaseQuery
	c := &cobra.Command{
		Use: "database [LSPID|SYSTEM|NODE]", Short: "List link-state PDUs",
		Long: `Lists the link-state database: all of it, or the LSPs of one node (by name or
address), or those whose LSP ID begins as given. --detail says what is in them.`,
		Example: "  tsnctl spb database --node b2\n  tsnctl spb database b3 --detail\n  tsnctl spb database 0200.0000.0003.00-00 --detail",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.nodeNames,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			if len(args) > 0 {
				q.LSP = args[0]
			}
			v, err := sw.Database(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printDatabase)
		}),
	}
	c.Flags().BoolVar(&q.Detail, "detail", false, "say what is in each, a line for each TLV")
	return c
}

func printDatabase(p *page, v []api.LSP) {
	detailed := false
	for _, l := range v {
		detailed = detailed || len(l.Lines) > 0
	}
	if detailed {
		for _, l := range v {
			flags := ""
			if l.Own {
				flags += ", own"
			}
			if l.Overload {
				flags += ", overload"
			}
			p.printf("%s %s, sequence %08x, checksum %04x, %d octets, lifetime %ds%s", l.ID, dash(l.Name), l.Sequence, l.Checksum, l.Length, l.Lifetime, flags)
			for _, line := range l.Lines {
				p.wrap("  ", "    ", line)
			}
		}
		return
	}
	t := table{head: []string{"LSP", "~NODE", ">SEQUENCE", ">LIFETIME", ">CHECKSUM", ">OCTETS", "FLAGS"}}
	for _, l := range v {
		flags := ""
		if l.Own {
			flags += "own "
		}
		if l.Overload {
			flags += "overload"
		}
		t.row(l.ID, dash(l.Name), fmt.Sprintf("%08x", l.Sequence), fmt.Sprintf("%ds", l.Lifetime), fmt.Sprintf("%04x", l.Checksum), l.Length, dash(flags))
	}
	p.table(t)
}
