package main

import (
	"context"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) doctor() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Show what the machine can and cannot do, and why",
		Long: `Checks of each port: time stamps, PTP hardware clock (phc), transmit queues,
taprio (gates), taprio-offload (gates that the device runs), launch-time (of
frames under txtime-assist), cbs (shapers), locked (ingress check of fabric
ports) and MAC merge (frame preemption). OK, degraded: it works less well,
missing: it does not work; the finding says why, and what that costs.`,
		Example: "  tsnctl doctor\n  tsnctl doctor --node b2",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			d, err := sw.Doctor(ctx)
			if err != nil {
				return err
			}
			return show(a, d, printDoctor)
		}),
	}
}

func printDoctor(p *page, d *api.Doctor) {
	p.printf("%s, kernel %s", d.Node, d.Kernel)
	p.blank()
	t := table{head: []string{"WHERE", "CHECK", "STATE", "FINDING"}}
	rows := func(where string, checks []api.Check) {
		for _, c := range checks {
			finding := c.Detail
			if finding != "" && c.Why != "" {
				finding += ": "
			}
			t.row(where, c.Name, c.State, finding+c.Why)
			where = ""
		}
	}
	rows("system", d.System)
	for _, port := range d.Ports {
		rows(port.Ifname, port.Checks)
	}
	p.table(t)
}
