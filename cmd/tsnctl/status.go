package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show a node on one page",
		Example: "  tsnctl status\n  tsnctl status --node b3 -o json",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			s, err := sw.Status(ctx)
			if err != nil {
				return err
			}
			return show(a, s, printStatus)
		}),
	}
}

func printStatus(p *page, s *api.Status) {
	p.printf("%s, %s %s, version %s, up %s", s.Node, s.Role, s.System, dash(s.Version), dur(s.Uptime))
	p.blank()
	t := table{head: []string{">PORT", "IFNAME", "ROLE", "LINK", ">RATE", "~NEIGHBOUR", ">RESERVED", "GATES"}}
	for _, port := range s.Ports {
		link, gates := "down", "open"
		if port.Up {
			link = "up"
		}
		if port.Gated {
			gates = "scheduled"
		}
		t.row(port.Port, port.Ifname, port.Role, link, port.Rate, dash(port.Neighbour), port.Reserved, gates)
	}
	p.table(t)
	p.blank()
	field := func(name, format string, a ...any) {
		p.wrap(fmt.Sprintf("%-10s", name), "            ", fmt.Sprintf(format, a...))
	}
	if s.SPB.LSDBDigest == "" && s.Role == "bridge" {
		field("SPB", "off")
	} else {
		field("SPB", "%s, %s, %s, database %s, %s", plural(s.SPB.Adjacencies, "adjacency", "adjacencies"),
			plural(s.SPB.Nodes, "node", "nodes"), plural(s.SPB.LSPs, "LSP", "LSPs"), dash(s.SPB.LSDBDigest), plural(int(s.SPB.SPFRuns), "SPF run", "SPF runs"))
	}
	if why := s.SPB.Overload; why != "" {
		field("Overload", "%s", why)
	}
	if s.SPB.Keys != "" {
		field("Keys", "%s", s.SPB.Keys)
	}
	if s.Role == "bridge" && s.SPB.LSDBDigest != "" {
		field("Agreement", "%s", agreementText(s.SPB.Agreement))
		if c := s.SPB.Convergence; c.Changes > 0 {
			field("Changes", "%d of paths; the last took %s, the longest %s", c.Changes, dur(c.Last), dur(c.Max))
		}
	}
	switch g := s.GPTP; {
	case g.Off:
		field("gPTP", "off")
	case g.IsGrandmaster:
		field("gPTP", "grand master")
	case g.Synchronized:
		field("gPTP", "synchronized to %s, offset %s", dash(g.Grandmaster), dur(g.Offset))
	default:
		field("gPTP", "not synchronized; see tsnctl gptp")
	}
	if sc := s.Schedule; sc.State == api.ScheduleNone {
		field("Schedule", "none: all gates open")
	} else {
		field("Schedule", "%s %s, cycle %s, base %s", sc.ID, sc.State, dur(sc.Cycle), seconds(sc.Base.NS))
		if sc.Trial != "" {
			field("", "%s", sc.Trial)
		}
	}
	field("Streams", "%d owned, %d here, %d scheduled, %d failed", s.Streams.Owned, s.Streams.Here, s.Streams.Scheduled, s.Streams.Failed)
	if r := s.SRP; r != nil {
		field("SRP", "%s; %d reserved, %d failed, %d waiting for a talker or listener", strings.Join(r.Applications, ", "), r.Reserved, r.Failed, r.Waiting)
	}
	switch k := s.Kernel; {
	case k.Error != "":
		field("Kernel", "%s", k.Error)
	case k.InSync:
		field("Kernel", "as desired")
	default:
		field("Kernel", "%s; see tsnctl diff", plural(k.Differences, "difference", "differences"))
	}
	for _, d := range s.Degraded {
		field("Degraded", "%s", d)
	}
	var counters []string
	for _, c := range s.Counters {
		at := ""
		if c.Port != 0 {
			at = fmt.Sprintf("[%d]", c.Port)
		}
		counters = append(counters, fmt.Sprintf("%s%s=%d", c.Name, at, c.Value))
	}
	if len(counters) > 0 {
		field("Counters", "%s", strings.Join(counters, " "))
	}
}

// agreementText says what waits for whom.
func agreementText(g api.Agreement) string {
	text := "with all neighbours"
	if g.Pending {
		text = fmt.Sprintf("pending for %s, %s of a tree withheld", dur(g.For), plural(g.Withheld, "position", "positions"))
		if len(g.Waiting) > 0 {
			text += ", waiting for " + strings.Join(g.Waiting, ", ")
		}
	}
	if g.Strict {
		text += "; strict: unicast waits, too"
	}
	return text
}
