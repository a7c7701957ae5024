package main

import (
	"context"
	"fmt"
	"time"

	"tsnswitch/internal/config"
)

// sharedLink is the wire that the couple's stream and the flood share between
// bridges, at the receiving end of the first link of the path; if there is
// only one bridge, the wire to the listener.
func (l *lab) sharedLink(ctx context.Context, c couple) (octetCounter, error) {
	streams, err := l.kind(config.KindBridge)[0].client.ListStreams(ctx)
	if err != nil {
		return octetCounter{}, err
	}
	for _, st := range streams {
		if st.Stream.Name != c.spec.Name {
			continue
		}
		for _, h := range st.Path {
			for _, link := range l.fabricLinks() {
				for _, e := range [][2]config.End{{link.A, link.B}, {link.B, link.A}} {
					if e[0].Node == h.Node && e[0].Port == h.Port {
						return octetCounter{end{l.node(e[1].Node).space, config.Ifname(e[1].Port)}}, nil
					}
				}
			}
		}
	}
	return octetCounter{end{c.b.space, c.b.ports[0].Ifname}}, nil
}

// drops is what all wires lost so far.
func (l *lab) drops() (sum uint64) {
	for _, link := range l.net.Links {
		a, b := l.ends(link)
		for _, e := range []end{a, b} {
			if n, err := wireDrops(e); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// awaitFull waits until a wire has lost a frame: from then on the queue in
// front of it is full. On a machine too slow to fill it, half a second of
// flood is all there is to have, and the row says how full the line was.
func (l *lab) awaitFull(ctx context.Context, floods ...*flood) error {
	before := l.drops()
	limit := time.NewTimer(2 * time.Second)
	defer limit.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for {
		if l.drops() > before {
			return nil
		}
		for _, f := range floods {
			if p := f.err.Load(); p != nil {
				return fmt.Errorf("flood: %w", *p)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-look.C:
		}
	}
}
