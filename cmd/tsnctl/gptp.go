package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) gptp() *cobra.Command {
	return &cobra.Command{
		Use: "gptp", Short: "Show time: grand master, offset, ports, gate clocks",
		Long: `GATE is how far the clock that drives a port's gates is from gPTP time; while
that is out of bound, which a ! says, new schedules are refused.`,
		Example: "  tsnctl gptp\n  tsnctl gptp --node b4", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			g, err := sw.GPTP(ctx)
			if err != nil {
				return err
			}
			return show(a, g, printGPTP)
		}),
	}
}

func printGPTP(p *page, g *api.GPTPStatus) {
	gm := g.Grandmaster
	if g.GrandmasterName != "" {
		gm += " (" + g.GrandmasterName + ")"
	}
	switch {
	case g.IsGrandmaster:
		p.printf("Domain %d: this node, %s, is the grand master", g.Domain, g.ClockIdentity)
	case g.Synchronized:
		p.printf("Domain %d: grand master %s, %s away", g.Domain, gm, plural(int(g.StepsRemoved), "step", "steps"))
		p.printf("Offset %s, rate %+.3f ppm", dur(g.Offset), g.RatePPM)
	default:
		p.printf("Domain %d: not synchronized", g.Domain)
	}
	steered := "not steered"
	if g.Steered {
		steered = "steered"
	}
	p.printf("Clock %s, %s; gPTP time %s", g.Clock, steered, seconds(g.Now.NS))
	p.blank()
	t := table{head: []string{">PORT", "IFNAME", "STATE", "STAMPS", ">DELAY", ">RATIO", ">GATE", "asCapable"}}
	for _, port := range g.Ports {
		capable := "yes"
		if !port.AsCapable {
			capable = "no: " + dash(port.Reason)
		}
		gate := dur(port.GateOffset)
		switch {
		case port.State == "DisabledPort":
			gate = "-"
		case !port.GateInBound:
			gate += " !"
		}
		t.row(port.Port, port.Ifname, port.State, port.Stamps, dur(port.MeanLinkDelay),
			fmt.Sprintf("%+.3fppm", port.NeighborRateRatioPPM), gate, capable)
	}
	p.table(t)
}
