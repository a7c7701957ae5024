package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"tsnswitch"
	"tsnswitch/internal/api"
)

func (a *app) spbTree() *cobra.Command {
	var q api.TreeQuery
	c := &cobra.Command{
		Use: "tree [SOURCE]", Short: "Draw the shortest path tree of a source",
		Long: `Draws the tree on which frames of SOURCE (a bridge or an end station; default:
this node) spread. Each line is a bridge: the port it uses towards the root,
the cost from the root and the number of links on the way.`,
		Example: "  tsnctl spb tree\n  tsnctl spb tree A --ect 2\n  tsnctl spb tree b3 --vlan 101 -o json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: a.nodeNames,
		RunE: a.call(func(ctx context.Context, sw api.Switch, args []string) error {
			if len(args) > 0 {
				q.Source = args[0]
			}
			v, err := sw.Tree(ctx, q)
			if err != nil {
				return err
			}
			return show(a, v, printTree)
		}),
	}
	vlanFlag(c, &q.VLAN, "Base VID (default: the first)")
	ectFlag(c, &q.ECT, 0)
	return c
}

func printTree(p *page, t *api.Tree) {
	p.printf("tree of %s, vlan %d, ECT %d: %s", nameOr(t.Name, t.Source), t.VLAN, t.ECT, plural(len(t.Nodes), "bridge", "bridges"))
	children := map[tsn.MAC][]api.TreeNode{}
	for _, n := range t.Nodes {
		if n.System == t.Source {
			p.line(nameOr(n.Name, n.System))
		} else {
			children[n.Parent] = append(children[n.Parent], n)
		}
	}
	drawBranches(p, children, t.Source, "", len(t.Nodes))
}

// drawBranches prints what hangs below a bridge. A deep tree is not indented
// beyond half the page; depth ends a tree that is none.
func drawBranches(p *page, children map[tsn.MAC][]api.TreeNode, of tsn.MAC, indent string, depth int) {
	const deepest = width / 2
	list := children[of]
	for k, n := range list {
		branch, below := "├─ ", "│  "
		if k == len(list)-1 {
			branch, below = "└─ ", "   "
		}
		if len([]rune(indent)) >= deepest {
			branch, below = fmt.Sprintf("%d ", n.Hops), ""
		}
		p.wrap(indent+branch, indent+below+"  ", fmt.Sprintf("%s: port %d, cost %d, %s", nameOr(n.Name, n.System), n.ParentPort, n.Cost, plural(n.Hops, "hop", "hops")))
		if depth > 0 {
			drawBranches(p, children, n.System, indent+below, depth-1)
		}
	}
}

func nameOr(name string, m tsn.MAC) string {
	if name != "" {
		return name
	}
	return m.String()
}
