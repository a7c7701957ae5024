package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) spb() *cobra.Command {
	return group("spb", "Look at the fabric (IS-IS-SPB)",
		a.spbNeighbours(), a.spbDatabase(), a.spbNodes(), a.spbTopology(), a.spbPaths(), a.spbTree(), a.spbWhy(),
		a.spbDisjoint(), a.spbPing(), a.spbTrace(), a.spbDrain(), a.spbEdge(), a.spbServices(), a.spbRecords())
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
				t := table{head: []string{">PORT", "IFNAME", "~NAME", "SYSTEM", "STATE", ">REMOTE", ">METRIC", ">HOLD", ">UP"}}
				for _, n := range v {
					t.row(n.Port, n.Ifname, dash(n.Name), n.System, strings.Replace(n.State, "Initializing", "Init", 1), n.RemotePort, n.Metric, dur(n.Hold), dur(n.Up))
				}
				p.table(t)
				for _, n := range v {
					printNeighbourNotes(p, n)
				}
			})
		}),
	}
}

// printNeighbourNotes says what no column has room for.
func printNeighbourNotes(p *page, n api.Neighbour) {
	note := func(format string, a ...any) {
		p.wrap(fmt.Sprintf("port %d: ", n.Port), "    ", fmt.Sprintf(format, a...))
	}
	if n.Mismatch != "" {
		note("not used: %s", n.Mismatch)
	}
	switch n.Restart {
	case "restarting":
		note("the neighbour restarts and is waited for")
	case "suppressed":
		note("the neighbour has just started and asks for time")
	}
	switch {
	case n.Echo == "":
	case n.EchoFault != "":
		note("echo %s, %s: %s", n.Echo, plural(int(n.EchoLosses), "loss", "losses"), n.EchoFault)
	default:
		note("echo %s, a loss is found in %s; %s so far", n.Echo, dur(n.EchoDetect), plural(int(n.EchoLosses), "loss", "losses"))
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
				var drained []string
				for _, n := range v {
					cost := fmt.Sprint(n.Cost)
					if !n.Reachable {
						cost = "unreachable"
					}
					if n.Overload {
						cost += "*"
						drained = append(drained, strings.TrimSuffix(fmt.Sprintf("%s carries no transit: %s", nameOr(n.Name, n.System), n.Reason), ": "))
					}
					var st []string
					for _, s := range n.Stations {
						text := strings.TrimSpace(s.Name + " " + s.MAC.String())
						if s.Learned {
							text += " (learned)"
						}
						st = append(st, text)
					}
					t.row(dash(n.Name), n.System, fmt.Sprintf("%04x", n.Priority), dash(n.Address), cost, strings.Join(st, ", "))
				}
				p.table(t)
				for _, d := range drained {
					p.wrap("* ", "  ", d)
				}
			})
		}),
	}
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

// ectFlag adds --ect, low..16; *v stays nil if it is not given.
func ectFlag(c *cobra.Command, v **uint8, low uint64) {
	usage := "ECT algorithm 00-80-C2-<K>, 1..16"
	if low == 0 {
		usage += ", or 0: spanning tree"
	}
	c.Flags().Var(ectValue{v, low}, "ect", usage+" (default: that of the VLAN)")
}

type ectValue struct {
	v   **uint8
	low uint64
}

func (e ectValue) String() string {
	if e.v == nil || *e.v == nil {
		return ""
	}
	return fmt.Sprint(**e.v)
}
func (ectValue) Type() string { return "k" }
func (e ectValue) Set(s string) error {
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || n < e.low || n > 16 {
		return fmt.Errorf("not in %d..16", e.low)
	}
	k := uint8(n)
	*e.v = &k
	return nil
}

// nodeNames completes the names of bridges and stations, if the daemon answers.
func (a *app) nodeNames(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	client := api.DialUnix(a.socket)
	defer client.Close()
	ctx, cancel := context.WithTimeout(c.Context(), time.Second)
	defer cancel()
	nodes, err := client.Nodes(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
		for _, s := range n.Stations {
			names = append(names, s.Name)
		}
	}
	names = slices.DeleteFunc(names, func(s string) bool { return s == "" })
	return names, cobra.ShellCompDirectiveNoFileComp
}
