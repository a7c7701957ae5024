package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) spbTopology() *cobra.Command {
	var watch, dot bool
	var count int
	var svg string
	c := &cobra.Command{
		Use: "topology", Short: "Show the fabric: bridges, links, stations",
		Long: `Shows the whole fabric as one node sees it. With --watch it is shown again
whenever it is another one; with -o json, one object a line. --dot prints it for
Graphviz, --svg draws it.`,
		Example: "  tsnctl spb topology\n  tsnctl spb topology --watch -o json\n  tsnctl spb topology --svg fabric.svg\n  tsnctl spb topology --dot | neato -Tpdf -o fabric.pdf",
		Args:    cobra.NoArgs,
	}
	c.Flags().BoolVar(&watch, "watch", false, "go on and show every change")
	c.Flags().IntVar(&count, "count", 0, "with --watch: stop after so many (default: never)")
	c.Flags().BoolVar(&dot, "dot", false, "print the graph for Graphviz")
	c.Flags().StringVar(&svg, "svg", "", "draw the graph into this file")
	_ = c.MarkFlagFilename("svg", "svg")
	c.MarkFlagsMutuallyExclusive("watch", "dot", "svg")
	once := func(ctx context.Context, sw api.Switch) error {
		t, err := sw.Topology(ctx)
		switch {
		case err != nil:
			return err
		case dot:
			_, err = fmt.Fprint(a.out, dotText(t))
			return err
		case svg != "":
			return os.WriteFile(svg, []byte(svgText(t)), 0o644)
		}
		return show(a, t, printTopology)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if watch {
			patient(c)
		}
		return a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			if watch {
				return a.watchTopology(ctx, sw, count)
			}
			return once(ctx, sw)
		})(c, args)
	}
	return c
}

func (a *app) watchTopology(ctx context.Context, sw api.Switch, count int) error {
	p := &page{w: a.out}
	enough := errors.New("enough")
	err := sw.WatchTopology(ctx, func(t *api.Topology) error {
		if a.json {
			b, err := json.Marshal(t)
			if err != nil {
				return err
			}
			p.line(string(b))
		} else {
			printTopology(p, t)
			p.blank()
		}
		if count--; count == 0 {
			return enough
		}
		return p.err
	})
	if errors.Is(err, enough) || errors.Is(ctx.Err(), context.Canceled) {
		return nil // told to stop
	}
	return err
}

func printTopology(p *page, t *api.Topology) {
	p.printf("as %s sees it, generation %d: %s, %s", t.Node, t.Generation, plural(len(t.Nodes), "bridge", "bridges"), plural(len(t.Links), "link", "links"))
	names := topologyNames(t)
	around := map[tsn.MAC][]string{}
	for _, l := range t.Links {
		around[l.A] = append(around[l.A], fmt.Sprintf("%d─%s:%d (%d)", l.PortA, names[l.B], l.PortB, l.Metric))
		around[l.B] = append(around[l.B], fmt.Sprintf("%d─%s:%d (%d)", l.PortB, names[l.A], l.PortA, l.Metric))
	}
	tab := table{head: []string{"~BRIDGE", "BRIDGE ID", "STATE", "LINKS: PORT─BRIDGE:PORT (METRIC)"}}
	for _, n := range t.Nodes {
		tab.row(names[n.System], dash(n.BridgeID), nodeState(n), dash(strings.Join(around[n.System], ", ")))
	}
	p.table(tab)
	for _, n := range t.Nodes {
		if n.Reason != "" {
			p.wrap("  ", "  ", names[n.System]+" carries no transit: "+n.Reason)
		}
	}
	for _, e := range t.Blocked {
		p.wrap("  ", "  ", fmt.Sprintf("edge port %d of %s is blocked: %s", e.Port, t.Node, e.Reason))
	}
	stations := table{head: []string{"~STATION", "ADDRESS", "~BRIDGE", ">PORT"}}
	for _, n := range t.Nodes {
		for _, s := range n.Stations {
			stations.row(dash(s.Name), s.MAC, names[n.System], s.Port)
		}
	}
	if len(stations.rows) > 0 {
		p.blank()
		p.table(stations)
	}
}

func nodeState(n api.TopologyNode) string {
	switch {
	case !n.Reachable:
		return "unreachable"
	case n.Overload:
		return "overload"
	}
	return "up"
}

func topologyNames(t *api.Topology) map[tsn.MAC]string {
	names := map[tsn.MAC]string{}
	for _, n := range t.Nodes {
		names[n.System] = nameOr(n.Name, n.System)
	}
	return names
}
