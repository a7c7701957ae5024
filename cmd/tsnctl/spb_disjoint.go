package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) spbDisjoint() *cobra.Command {
	var vlans []uint
	c := &cobra.Command{
		Use: "disjoint A B", Short: "Compare the paths of two VLANs: can one failure cut both?",
		Long: `A stream that is sent twice, on two Base VIDs, survives a failure if the two
paths share no link and no bridge between the ends. Shows both paths, what they
share, which pair of Base VIDs shares least, and what any two paths must share
in this topology. Without --vlans the best pair is taken.`,
		Example: "  tsnctl spb disjoint A B\n  tsnctl spb disjoint b1 b3 --vlans 100,101 -o json",
		Args:    cobra.ExactArgs(2), ValidArgsFunction: a.nodeNames,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			q := api.DisjointQuery{From: args[0], To: args[1]}
			if len(vlans) != 0 {
				if len(vlans) != 2 || !tsn.VID(vlans[0]).Valid() || !tsn.VID(vlans[1]).Valid() || vlans[0] > 4094 || vlans[1] > 4094 {
					return usageError{errors.New("--vlans: two of 1..4094")}
				}
				q.VLANs = [2]tsn.VID{tsn.VID(vlans[0]), tsn.VID(vlans[1])}
			}
			v, err := sw.Disjoint(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v *api.Disjoint) {
				for _, l := range v.Lines {
					p.wrap("", "  ", l)
				}
			})
		}),
	}
	c.Flags().UintSliceVar(&vlans, "vlans", nil, "two Base VIDs (default: the pair that shares least)")
	return c
}
