package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) diff() *cobra.Command {
	var kernel bool
	c := &cobra.Command{
		Use: "diff", Short: "Compare desired state with the kernel's",
		Long: `Lists what the kernel has otherwise than desired: - is desired, + is there.
The exit status is 0 either way. With --kernel, prints what was read back.`,
		Example: "  tsnctl diff\n  tsnctl diff --kernel --node b2", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			if kernel {
				k, err := sw.KernelText(ctx)
				if err != nil {
					return err
				}
				return show(a, k, printKernel)
			}
			d, err := sw.Diff(ctx)
			if err != nil {
				return err
			}
			return show(a, d, printDiff)
		}),
	}
	c.Flags().BoolVar(&kernel, "kernel", false, "print kernel state as read back")
	return c
}

func printDiff(p *page, d *api.Diff) {
	if len(d.Entries) == 0 {
		p.printf("%s: the kernel is as desired", d.Node)
		return
	}
	for _, e := range d.Entries {
		p.wrap("", "  ", e.Kind+" "+e.Key)
		if e.Want != "" {
			p.wrap("  - ", "    ", e.Want)
		}
		if e.Have != "" {
			p.wrap("  + ", "    ", e.Have)
		}
	}
}

func printKernel(p *page, k *api.KernelText) {
	for _, s := range k.Sections {
		p.line(fmt.Sprintf("== %s", s.Title))
		for _, l := range strings.Split(strings.TrimRight(s.Text, "\n"), "\n") {
			indent := l[:len(l)-len(strings.TrimLeft(l, " \t"))]
			indent = strings.ReplaceAll(indent[:min(len(indent), 16)], "\t", "  ")
			p.wrap(indent, indent+"    ", l)
		}
	}
}
