package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) srpVLANs() *cobra.Command {
	return a.registrations("mvrp", &cobra.Command{
		Use: "vlans", Short: "Show the VLANs that MVRP has registered, by port",
		Long: `Shows each VLAN at each port. WANTED: a station there registers it, or it is
fixed by configuration, so the port is a member. TOLD: we declare it there,
because it is wanted elsewhere. MODE is the Registrar's Administrative Control
(802.1Q 8.8.2): normal, fixed, forbidden.`,
		Example: "  tsnctl srp vlans\n  tsnctl srp vlans --node b2 -o json",
	})
}

func (a *app) srpGroups() *cobra.Command {
	return a.registrations("mmrp", &cobra.Command{
		Use: "groups", Short: "Show the group addresses that MMRP has registered, by port",
		Long: `Shows each group address or service requirement at each port and VLAN. WANTED:
a station there registers it, so frames to the group leave by the port. TOLD:
we declare it there, because it is wanted elsewhere.`,
		Example: "  tsnctl srp groups\n  tsnctl srp groups --node b2 -o json",
	})
}

func (a *app) registrations(application string, c *cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
		v, err := sw.Registrations(ctx, application)
		if err != nil {
			return err
		}
		return show(a, v, printRegistrations)
	})
	return c
}

func printRegistrations(p *page, v []api.Registration) {
	t := table{head: []string{">VLAN", "~PORT", "WANTED", "TOLD", "MODE", "MACHINES", "GROUP"}}
	if !slices.ContainsFunc(v, func(r api.Registration) bool { return r.Group != "" }) {
		t.head[len(t.head)-1] = ""
	}
	for _, r := range v {
		machines := r.Applicant + " " + r.Registrar
		if r.Failed {
			machines += ", no room for it"
		}
		t.row(r.VLAN, fmt.Sprintf("%d %s", r.Port, r.Ifname), yesNo(r.Registered), yesNo(r.Declared), r.Mode, machines, r.Group)
	}
	p.table(t)
}
