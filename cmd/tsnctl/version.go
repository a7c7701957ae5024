package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of tsnctl", Example: "  tsnctl version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{"version": "unknown", "go": ""}
			if b, ok := debug.ReadBuildInfo(); ok {
				v["version"], v["go"] = b.Main.Version, b.GoVersion
			}
			return show(a, v, func(p *page, v map[string]string) { p.printf("tsnctl %s, built with %s", v["version"], v["go"]) })
		},
	}
}
