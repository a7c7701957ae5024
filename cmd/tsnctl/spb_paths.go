package main

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) spbPaths() *cobra.Command {
	var q api.PathQuery
	c := &cobra.Command{
		Use: "paths [A B]", Short: "Show the paths that SPB chose",
		Long: `Shows the egress ports that a frame takes from A to B, in one Base VID or in
each. A and B are bridges or end stations, by name or address; without them,
the paths from this node to every other.`,
		Example: "  tsnctl spb paths\n  tsnctl spb paths A B\n  tsnctl spb paths b1 b3 --vlan 101",
		Args:    noneOrTwo, ValidArgsFunction: a.nodeNames,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			if len(args) == 2 {
				if q.From != "" || q.To != "" {
					return usageError{errors.New("paths: give the ends once: A B, or --from and --to")}
				}
				q.From, q.To = args[0], args[1]
			}
			v, err := sw.Paths(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printPaths)
		}),
	}
	c.Flags().StringVar(&q.From, "from", "", "node or station, name or address (default: this node)")
	c.Flags().StringVar(&q.To, "to", "", "node or station, name or address (default: every node)")
	vlanFlag(c, &q.VLAN, "Base VID (default: all)")
	return c
}

func noneOrTwo(c *cobra.Command, args []string) error {
	if len(args) == 1 {
		return errors.New("two ends are wanted, or none")
	}
	return cobra.MaximumNArgs(2)(c, args)
}

func printPaths(p *page, v []api.Path) {
	for _, path := range v {
		p.printf("vlan %d (ECT %d): %s to %s, cost %d", path.VLAN, path.ECT, path.From, path.To, path.Cost)
		for _, h := range path.Hops {
			p.wrap("  ", "    ", hopText(h))
		}
	}
}

func (a *app) spbWhy() *cobra.Command {
	var q api.WhyQuery
	c := &cobra.Command{
		Use: "why [FROM] NODE|STATION|ADDRESS|STREAM", Short: "Explain how something is reached, or why it is not",
		Long: `Explains why frames from FROM (default: this node; for a stream, its talker)
take the path they take: which paths are the cheapest, which of those the
shortest, and how the ECT tie-break chose among the rest. --ect asks what
another of the 16 algorithms would have chosen.`,
		Example: "  tsnctl spb why B\n  tsnctl spb why A B --ect 2\n  tsnctl spb why 02:00:00:00:00:03 --vlan 100",
		Args:    cobra.RangeArgs(1, 2), ValidArgsFunction: a.nodeNames,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			if q.Subject = args[len(args)-1]; len(args) == 2 {
				q.From = args[0]
			}
			v, err := sw.Why(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printWhy)
		}),
	}
	vlanFlag(c, &q.VLAN, "Base VID (default: all)")
	ectFlag(c, &q.ECT, 1)
	return c
}

func printWhy(p *page, w *api.Why) {
	state := "is reachable"
	if !w.Reachable {
		state = "is not reachable"
	}
	if w.From != "" {
		state += " from " + w.From
	}
	p.printf("%s %s", w.Subject, state)
	for _, l := range w.Lines { // as they come, if they fit
		if utf8.RuneCountInString(l) <= width {
			p.line(l)
			continue
		}
		rest := strings.TrimLeft(l, " ")
		lead := strings.Repeat(" ", min(len(l)-len(rest), width/2))
		p.wrap(lead, lead+"  ", rest)
	}
}
