package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbDrain() *cobra.Command {
	var off bool
	var reason string
	c := &cobra.Command{
		Use: "drain", Short: "Keep other bridges from sending through this one",
		Long: `Sets the overload bit of IS-IS: paths then avoid this bridge wherever there is
another way, while it and its end stations stay reachable. The reason is shown
at every node. A drain outlives a restart of the daemon; --off ends it.`,
		Example: "  tsnctl spb drain --reason \"fan 2 failed\"\n  tsnctl spb drain --node b2\n  tsnctl spb drain --off",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			if off && reason != "" {
				return usageError{errors.New("--off takes no --reason")}
			}
			v, err := sw.Drain(ctx, api.DrainRequest{On: !off, Reason: reason})
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v *api.Drained) {
				if v.Overload {
					p.printf("%s carries no transit: %s", v.Node, dash(v.Reason))
				} else {
					p.printf("%s carries transit again", v.Node)
				}
			})
		}),
	}
	c.Flags().BoolVar(&off, "off", false, "carry transit again")
	c.Flags().StringVar(&reason, "reason", "", "why, for people")
	return c
}
