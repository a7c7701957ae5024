package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

func (a *app) events() *cobra.Command {
	var since uint64
	var count int
	c := &cobra.Command{
		Use: "events", Short: "Follow what happens",
		Example: "  tsnctl events\n  tsnctl events --since 1 --count 20 -o json", Args: cobra.NoArgs,
		RunE: a.call(func(ctx context.Context, sw api.Switch, _ []string) error {
			p := &page{w: a.out}
			enough := errors.New("enough")
			err := sw.Events(ctx, since, func(e api.Event) error {
				if a.json {
					b, err := json.Marshal(e) // one object a line, to follow
					if err != nil {
						return err
					}
					if _, err := fmt.Fprintln(a.out, string(b)); err != nil {
						return err
					}
				} else {
					printEvent(p, e)
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
		}),
	}
	c.Flags().Uint64Var(&since, "since", 0, "first sequence number (default: only new ones)")
	c.Flags().IntVar(&count, "count", 0, "stop after so many (default: never)")
	return patient(c)
}

func printEvent(p *page, e api.Event) {
	at := time.Unix(0, e.Time).UTC().Format("2006-01-02T15:04:05.000")
	where := e.Node
	if e.Port != 0 {
		where += fmt.Sprintf(" port %d", e.Port)
	}
	if e.Domain != 0 {
		where += fmt.Sprintf(" domain %d", e.Domain)
	}
	p.wrap("", "    ", fmt.Sprintf("%s %d %s %s %s", at, e.Seq, where, e.Kind, e.Detail))
}
