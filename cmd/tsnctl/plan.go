package main

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/qbv/schedule"
)

func (a *app) plan() *cobra.Command {
	return group("plan", "Look at a network that is only a file", a.planPaths())
}

func (a *app) planPaths() *cobra.Command {
	var q api.PathQuery
	var file string
	var plan filePlan
	c := &cobra.Command{
		Use: "paths (--network FILE | --file NETWORK)", Short: "Show the paths that SPB would choose",
		Long: planPathsHelp,
		Example: "  tsnctl plan paths --network lab/ring4.yaml --from A --to b3 --vlan 100\n" +
			"  tsnctl plan paths --file net.json --ect 1,2 --json\n" +
			"  tsnctl plan paths --file net.json --from a --to f",
		Args: cobra.NoArgs,
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if plan.file != "" {
			if c.Flags().Changed("vlan") {
				return usageError{errors.New("--vlan is for --network; a file of --file has no VLANs: use --ect")}
			}
			plan.from, plan.to = q.From, q.To
			return offline(func() error { return a.planFile(c.Context(), plan) })(c, args)
		}
		if c.Flags().Changed("ect") {
			return usageError{errors.New("--ect is for --file; in a file of --network each VLAN has its algorithm: use --vlan")}
		}
		return offline(func() error {
			net, err := config.LoadNetwork(file)
			if err != nil {
				return err
			}
			f, err := newFabric(net)
			if err != nil {
				return err
			}
			v, err := f.paths(q)
			if err != nil {
				return err
			}
			return show(a, v, printPaths)
		})(c, args)
	}
	networkFlag(c, &file)
	c.Flags().StringVar(&plan.file, "file", "", "nodes and links, JSON or YAML: plan all trees of all bridges")
	_ = c.MarkFlagFilename("file", "json", "yaml", "yml")
	c.Flags().Var(&plan.ect, "ect", "with --file: ECT algorithms 0..16, 1,3 or repeated (default: 1 to 16)")
	c.MarkFlagsOneRequired("network", "file")
	c.MarkFlagsMutuallyExclusive("network", "file")
	c.Flags().StringVar(&q.From, "from", "", "node (default: every host, of --file every node)")
	c.Flags().StringVar(&q.To, "to", "", "node (default: every host, of --file every node)")
	vlanFlag(c, &q.VLAN, "Base VID (default: the stream VLAN)")
	return c
}

func networkFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "network", "", "network file: plan offline, ask no daemon")
	_ = c.MarkFlagFilename("network", "yaml", "yml")
}

// offline is call for what needs no daemon.
func offline(do func() error) func(*cobra.Command, []string) error {
	return func(*cobra.Command, []string) error {
		if err := do(); err != nil {
			return failure{err}
		}
		return nil
	}
}

// paths answers a query. One pair without a path is an error: a network that
// is cut in two should not look whole.
func (f *fabric) paths(q api.PathQuery) ([]api.Path, error) {
	if q.VLAN == 0 {
		q.VLAN = f.net.Fabric.StreamVID
	}
	var ect uint8
	for _, b := range f.net.Fabric.BaseVIDs {
		if b.VID == q.VLAN {
			ect = b.ECT
		}
	}
	var out []api.Path
	for _, from := range f.ends(q.From) {
		for _, to := range f.ends(q.To) {
			if from == to {
				continue
			}
			hops, err := f.path(q.VLAN, from, to)
			if err != nil {
				return nil, err
			}
			p := api.Path{VLAN: q.VLAN, ECT: uint32(ect), From: from, To: to}
			for _, h := range hops {
				p.Cost += f.metric(h)
				p.Hops = append(p.Hops, f.label(h))
			}
			out = append(out, p)
		}
	}
	return out, nil
}

func (f *fabric) ends(name string) []string {
	if name != "" {
		return []string{name}
	}
	var out []string
	for _, n := range f.net.Nodes {
		if n.Kind == config.KindHost {
			out = append(out, n.Name)
		}
	}
	return out
}

// pathRoutes lets each stream take the paths that the bridges of its network
// file choose, and no others.
func (f *fabric) pathRoutes(p *schedule.Problem) error {
	type end struct {
		system tsn.MAC
		port   tsn.Port
	}
	links := map[end]schedule.LinkID{}
	for i, l := range p.Links {
		links[end{p.Nodes[l.From].System, l.FromPort}] = schedule.LinkID(i)
	}
	for i := range p.Streams {
		s := &p.Streams[i]
		spec := &f.net.Streams[s.ID]
		var route []schedule.LinkID
		for _, to := range spec.To {
			hops, err := f.path(f.net.TSNStreams()[s.ID].VID, spec.From, to)
			if err != nil {
				return err
			}
			for _, h := range hops {
				if l := links[end{h.System, h.Port}]; !slices.Contains(route, l) {
					route = append(route, l)
				}
			}
		}
		s.Routes = [][]schedule.LinkID{route}
	}
	return p.Validate()
}
