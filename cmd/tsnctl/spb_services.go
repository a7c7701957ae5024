package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbServices() *cobra.Command {
	return &cobra.Command{
		Use: "services", Short: "List I-SID services and where their groups go",
		Long: `Lists the services (I-SIDs) of this bridge: the group address that it sends
to, and the bridges that receive from it and send to it. Without a group
address, or without transmit, a frame is copied to each receiver by unicast.`,
		Example: "  tsnctl spb services\n  tsnctl spb services --node b3 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Services(ctx)
			if err != nil {
				return err
			}
			return show(a, v, printServices)
		}),
	}
}

func printServices(p *page, v *api.Services) {
	if len(v.Services) == 0 {
		p.printf("%s has no services (spb.services)", v.Node)
	}
	for _, s := range v.Services {
		var does []string
		if s.Transmit {
			does = append(does, "transmit")
		}
		if s.Receive {
			does = append(does, "receive")
		}
		at := "at the bridge's own interface"
		if len(s.Ports) > 0 {
			at = fmt.Sprintf("on port %s", strings.ReplaceAll(strings.Trim(fmt.Sprint(s.Ports), "[]"), " ", ", "))
		}
		p.printf("service %d in vlan %d: %s, %s", s.ISID, s.VLAN, dash(strings.Join(does, " and ")), at)
		switch {
		case s.Group != "":
			p.wrap("  ", "    ", fmt.Sprintf("sends to group %s, received by %s", s.Group, bridgesText(s.Receivers)))
		case s.Replicate:
			p.wrap("  ", "    ", "no group address: copies by unicast, to "+bridgesText(s.Receivers))
		}
		for _, src := range s.Sources {
			p.wrap("  ", "    ", fmt.Sprintf("receives group %s from %s", src.Group, nameOr(src.Name, src.System)))
		}
	}
}

func bridgesText(list []api.ServiceBridge) string {
	var names []string
	for _, b := range list {
		names = append(names, nameOr(b.Name, b.System))
	}
	if names == nil {
		return "no bridge"
	}
	return strings.Join(names, ", ")
}
