package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
)

// distOptions are the flags of tsnctl dist.
type distOptions struct {
	watch    bool
	all      bool
	interval time.Duration
	count    int
}

func (a *app) dist() *cobra.Command {
	var o distOptions
	c := &cobra.Command{
		Use: "dist [ERLANG-NODE...]", Short: "Show Erlang distribution over distlink",
		Long: `Shows the connections of the daemon as an Erlang node, and those of the Erlang
nodes at their other ends, which are asked. With names, only connections from or
to those nodes. --all asks the daemons of all bridges.

  again      messages or datagrams sent again
  stream     the reserved stream that carries the connection
  rate       kbit/s that it is paced to; - is congestion control
  queued     octets that wait, of any class;  flight: sent, not acknowledged
  streams    senders with a stream of their own
  waiting    those that have something to send: control/configured/bulk
  full       times the queue was full and the VM suspended senders`,
		Example: "  tsnctl dist\n  tsnctl dist --all -o json\n  tsnctl dist a@10.20.0.1 --watch --interval 5s",
		Args:    cobra.ArbitraryArgs,
	}
	c.Flags().BoolVar(&o.watch, "watch", false, "go on and show it again and again")
	c.Flags().BoolVar(&o.all, "all", false, "ask every bridge of the fabric")
	c.Flags().DurationVar(&o.interval, "interval", time.Second, "with --watch: how often")
	c.Flags().IntVar(&o.count, "count", 0, "with --watch: stop after so many (default: never)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.watch {
			patient(c)
		}
		if o.interval < 100*time.Millisecond || o.count < 0 {
			return usageError{errors.New("--interval is 100ms or more, --count not negative")}
		}
		return a.call(func(ctx context.Context, sw api.Switch, names []string) error {
			if o.watch {
				return a.watchDist(ctx, sw, o, names)
			}
			d, err := distOf(ctx, sw, o.all, names)
			if err != nil {
				return err
			}
			return show(a, d, printDist)
		})(c, args)
	}
	return c
}

func (a *app) watchDist(ctx context.Context, sw api.Switch, o distOptions, names []string) error {
	next := time.NewTicker(o.interval)
	defer next.Stop()
	for n := 1; ; n++ {
		d, err := distOf(ctx, sw, o.all, names)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err == nil && a.json {
			err = a.printLine(d)
		} else if err == nil {
			p := &page{w: a.out}
			printDist(p, d)
			p.blank()
			err = p.err
		}
		if err != nil || n == o.count {
			return unlessStopped(ctx, err)
		}
		select {
		case <-next.C:
		case <-ctx.Done():
			return unlessStopped(ctx, ctx.Err())
		}
	}
}

// unlessStopped: to be told to stop is no failure.
func unlessStopped(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

// distOf asks one daemon, or all of the fabric, and keeps the connections of names.
func distOf(ctx context.Context, sw api.Switch, all bool, names []string) (*api.Dist, error) {
	d, err := sw.Dist(ctx)
	if err != nil {
		return nil, err
	}
	if client, ok := sw.(*api.Client); ok && all {
		nodes, err := sw.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			if n.Name == d.Node {
				continue
			}
			other, err := client.At(n.Name).Dist(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", n.Name, err)
			}
			d.Links = append(d.Links, other.Links...)
		}
	}
	seen := map[[2]string]bool{} // two bridges may hear of a connection from the same node
	d.Links = slices.DeleteFunc(d.Links, func(l api.DistLink) bool {
		again := seen[[2]string{l.Local, l.Peer}]
		seen[[2]string{l.Local, l.Peer}] = true
		return again || len(names) > 0 && !slices.Contains(names, l.Local) && !slices.Contains(names, l.Peer)
	})
	return d, nil
}

// printDist has a part for each node, whose names are long.
func printDist(p *page, d *api.Dist) {
	if len(d.Links) == 0 {
		p.line("no connections")
	}
	var locals []string
	of := map[string][]api.DistLink{}
	for _, l := range d.Links {
		if of[l.Local] == nil {
			locals = append(locals, l.Local)
		}
		of[l.Local] = append(of[l.Local], l)
	}
	for i, local := range locals {
		if i > 0 {
			p.blank()
		}
		p.line(local)
		links := table{head: []string{"~PEER", "STATE", ">RTT", ">SENT", ">RECEIVED", ">AGAIN", "STREAM"}}
		queues := table{head: []string{"~PEER", ">RATE", ">QUEUED", ">FLIGHT", ">STREAMS", ">WAITING", ">FULL", "KEY"}}
		for _, l := range of[local] {
			stream := l.StreamID
			if stream == "" {
				stream = "best effort"
			}
			links.row(l.Peer, l.State, dur(l.RTT), l.Sent, l.Received, l.Retransmits, stream)
			if c := l.Carrier; c != nil {
				rate := "-"
				if c.Rate > 0 {
					rate = fmt.Sprintf("%dk", c.Rate)
				}
				queues.row(l.Peer, rate, c.Queued, c.InFlight, c.Streams, fmt.Sprintf("%d/%d/%d", c.Control, c.Configured, c.Bulk), c.Suspended, c.Security)
			}
		}
		p.table(links)
		if len(queues.rows) > 0 {
			p.blank()
			p.table(queues)
		}
	}
}
