package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbRecords() *cobra.Command {
	var application uint16
	c := &cobra.Command{
		Use: "records", Short: "List what the fabric's nodes publish through IS-IS",
		Long: `Lists the opaque records (GENINFO, RFC 6823) that cores of this and other nodes
publish in their LSPs. Keys and values that are text are shown in quotes, others
in hexadecimal.`,
		Example: "  tsnctl spb records\n  tsnctl spb records --application 40000 -o json", Args: cobra.NoArgs,
	}
	c.Flags().Uint16Var(&application, "application", 0, "of this application only")
	c.RunE = a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
		var want *uint16
		if c.Flags().Changed("application") {
			want = &application
		}
		v, err := sw.Records(ctx, want)
		if err != nil {
			return err
		}
		return show(a, v, printRecords)
	})
	return c
}

func printRecords(p *page, v []api.Record) {
	t := table{head: []string{"~NODE", ">APPLICATION", ">TYPE", "~KEY", "VALUE"}}
	for _, r := range v {
		name := nameOr(r.Name, r.System)
		if !r.Reachable {
			name += " (unreachable)"
		}
		t.row(name, r.Application, r.Type, octetsText(r.Key), octetsText(r.Value))
	}
	p.table(t)
}

// octetsText shows octets in hexadecimal as text if they are text.
func octetsText(digits string) string {
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 || !utf8.Valid(b) {
		return dash(digits)
	}
	for _, r := range string(b) {
		if !unicode.IsPrint(r) {
			return digits
		}
	}
	return fmt.Sprintf("%q", b)
}
