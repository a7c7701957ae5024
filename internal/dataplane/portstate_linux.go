package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// PortStateWatch follows which of a bridge's ports forward: what a spanning tree
// protocol, whoever runs it, has made of them.
type PortStateWatch struct {
	bridge string
	ports  []PortConfig
	events *netlink.Conn
	c      *conn
}

// WatchPortStates subscribes in the network namespace of the calling thread.
func WatchPortStates(bridge string, ports []PortConfig) (*PortStateWatch, error) {
	w := &PortStateWatch{bridge: bridge, ports: ports}
	var err error
	if w.events, err = netlink.Dial(unix.NETLINK_ROUTE, &netlink.Config{Groups: 1 << (unix.RTNLGRP_LINK - 1)}); err != nil {
		return nil, fmt.Errorf("subscribing to the states of ports: %w", err)
	}
	if w.c, err = dial(); err != nil {
		return nil, errors.Join(err, w.events.Close())
	}
	return w, nil
}

// Close ends Run and releases the sockets.
func (w *PortStateWatch) Close() error { return errors.Join(w.events.Close(), w.c.Close()) }

// Blocked returns the ports that do not forward now, ascending; one that is not in
// the bridge does not.
func (w *PortStateWatch) Blocked() ([]tsn.Port, error) {
	links, err := w.c.links()
	if err != nil {
		return nil, err
	}
	raw, err := w.c.bridgePorts()
	if err != nil {
		return nil, err
	}
	var out []tsn.Port
	for _, p := range w.ports {
		l, ok := links[p.Ifname]
		if br := links[w.bridge]; !ok || br.index == 0 || l.master != br.index || raw[l.index].state != stateForwarding {
			out = append(out, p.Port)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Run tells the ports that do not forward, each time they are others, until ctx
// ends. They begin with before.
func (w *PortStateWatch) Run(ctx context.Context, before []tsn.Port, changed func([]tsn.Port)) error {
	stop := context.AfterFunc(ctx, func() { _ = w.events.Close() })
	defer stop()
	for {
		now, err := w.Blocked()
		if err != nil {
			return err
		}
		if !slices.Equal(now, before) {
			before = now
			changed(now)
		}
		_, err = w.events.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, unix.ENOBUFS): // what was lost is read
			return fmt.Errorf("following the states of ports: %w", err)
		}
	}
}
