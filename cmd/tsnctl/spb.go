package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) spb() *cobra.Command {
	return group("spb", "Look at the fabric (IS-IS-SPB)",
		a.spbNeighbours(), a.spbDatabase(), a.spbNodes(), a.spbPaths(), a.spbWhy())
}

func (a *app) spbNeighbours() *cobra.Command {
	return &cobra.Command{
		Use: "neighbours", Aliases: []string{"neighbors"},
		Short: "List adjacencies", Example: "  tsnctl spb neighbours", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Neighbours(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v []api.Neighbour) {
				t := table{head: []string{">PORT", "IFNAME", "~NEIGHBOUR", "SYSTEM", "STATE", ">REMOTE", ">METRIC", ">HOLD", ">UP"}}
				for _, n := range v {
					t.row(n.Port, n.Ifname, dash(n.Name), n.System, strings.Replace(n.State, "Initializing", "Init", 1), n.RemotePort, n.Metric, dur(n.Hold), dur(n.Up))
				}
				p.table(t)
			})
		}),
	}
}

func (a *app) spbDatabase() *cobra.Command {
	return &cobra.Command{
		Use: "database", Short: "List link-state PDUs",
		Example: "  tsnctl spb database --node b2", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Database(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v []api.LSP) {
				t := table{head: []string{"LSP", "~NODE", ">SEQUENCE", ">LIFETIME", ">CHECKSUM", ">OCTETS", "OWN"}}
				for _, l := range v {
					t.row(l.ID, dash(l.Name), fmt.Sprintf("%08x", l.Sequence), fmt.Sprintf("%ds", l.Lifetime), fmt.Sprintf("%04x", l.Checksum), l.Length, yesNo(l.Own))
				}
				p.table(t)
			})
		}),
	}
}

func (a *app) spbNodes() *cobra.Command {
	return &cobra.Command{
		Use: "nodes", Short: "List the nodes of the fabric and their stations",
		Example: "  tsnctl spb nodes", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			v, err := sw.Nodes(ctx)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, v []api.FabricNode) {
				t := table{head: []string{"~NODE", "SYSTEM", "PRIO", "ADDRESS", ">COST", "STATIONS"}}
				for _, n := range v {
					cost := fmt.Sprint(n.Cost)
					if !n.Reachable {
						cost = "unreachable"
					}
					var st []string
					for _, s := range n.Stations {
						st = append(st, strings.TrimSpace(s.Name+" "+s.MAC.String()))
					}
					t.row(dash(n.Name), n.System, fmt.Sprintf("%04x", n.Priority), dash(n.Address), cost, strings.Join(st, ", "))
				}
				p.table(t)
			})
		}),
	}
}

func (a *app) spbPaths() *cobra.Command {
	var q api.PathQuery
	c := &cobra.Command{
		Use: "paths", Short: "Show the paths that SPB chose",
		Example: "  tsnctl spb paths\n  tsnctl spb paths --from A --to B --vlan 101",
		Args:    cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
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

func printPaths(p *page, v []api.Path) {
	for _, path := range v {
		p.printf("vlan %d (ECT %d): %s to %s, cost %d", path.VLAN, path.ECT, path.From, path.To, path.Cost)
		for _, h := range path.Hops {
			p.wrap("  ", "    ", hopText(h))
		}
	}
}

func (a *app) spbWhy() *cobra.Command {
	var vlan tsn.VID
	c := &cobra.Command{
		Use: "why NODE|STATION|ADDRESS|STREAM", Short: "Explain how something is reached, or why it is not",
		Example: "  tsnctl spb why B\n  tsnctl spb why 02:00:00:00:00:03 --vlan 100",
		Args:    cobra.ExactArgs(1),
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			v, err := sw.Why(ctx, args[0], vlan)
			if err != nil {
				return err
			}
			return show(a, v, func(p *page, w *api.Why) {
				state := "is reachable"
				if !w.Reachable {
					state = "is not reachable"
				}
				p.printf("%s %s", w.Subject, state)
				for _, l := range w.Lines {
					p.wrap("  ", "    ", l)
				}
			})
		}),
	}
	vlanFlag(c, &vlan, "Base VID (default: all)")
	return c
}

// vlanFlag adds --vlan, which must be 1..4094 if given.
func vlanFlag(c *cobra.Command, v *tsn.VID, usage string) {
	c.Flags().Var((*vidValue)(v), "vlan", usage)
}

type vidValue tsn.VID

func (v *vidValue) String() string {
	if *v == 0 {
		return ""
	}
	return fmt.Sprint(tsn.VID(*v))
}
func (v *vidValue) Type() string { return "vid" }
func (v *vidValue) Set(s string) error {
	var n tsn.VID
	if _, err := fmt.Sscanf(s+"\n", "%d\n", &n); err != nil || !n.Valid() {
		return fmt.Errorf("not in 1..4094")
	}
	*v = vidValue(n)
	return nil
}
