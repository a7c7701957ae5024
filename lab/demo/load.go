package main

import (
	"context"
	"fmt"
	"net/netip"
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
func (l *lab) drops() (sum uint64, err error) {
	for _, link := range l.net.Links {
		a, b := l.ends(link)
		for _, e := range []end{a, b} {
			n, err := wireDrops(e)
			if err != nil {
				return 0, err
			}
			sum += n
		}
	}
	return sum, nil
}

// usage is what the network and the machine did during a measurement.
type usage struct {
	FloodSent uint64  `json:"floodFramesSent"`
	FloodLoss uint64  `json:"wireDrops"`
	LinkUse   float64 `json:"sharedLinkUse"` // share of the line rate used on the shared link
	IdleCPU   float64 `json:"idleCpu"`
}

// metered measures and says what was used meanwhile.
func (l *lab) metered(shared octetCounter, u *usage, measure func() error) error {
	drops, err := l.drops()
	if err != nil {
		return err
	}
	octets, err := shared.octets()
	if err != nil {
		return err
	}
	cpu, err := readCPU()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := measure(); err != nil {
		return err
	}
	took := time.Since(start)
	if u.IdleCPU, err = cpu.idleSince(); err != nil {
		return err
	}
	if u.LinkUse, err = shared.use(octets, took, l.rate); err != nil {
		return err
	}
	after, err := l.drops()
	u.FloodLoss = after - drops
	return err
}

// flooded measures beside floods of best effort between two hosts, both ways. A
// flood that ends before the measurement does is an error: it would say more
// than it measured.
func (l *lab) flooded(ctx context.Context, a, b *labNode, shared octetCounter, u *usage, measure func() error) (err error) {
	for _, way := range [][2]*labNode{{a, b}, {b, a}} {
		f, ferr := way[0].space.startFlood(ctx, netip.AddrPortFrom(way[1].Data.Addr, 9), l.rate)
		if ferr != nil {
			return ferr
		}
		defer func() {
			sent, ferr := f.end()
			u.FloodSent += sent
			if ferr != nil && err == nil {
				err = fmt.Errorf("the flood from %s ended early: %w", way[0].Name, ferr)
			}
		}()
	}
	if err := l.awaitFull(ctx, shared); err != nil {
		return err
	}
	return l.metered(shared, u, measure)
}

// linkFull is the share of the line rate from which a link counts as full.
const linkFull = 0.9

// awaitFull waits until the shared link is full. A machine that is too slow to
// fill it is given two seconds; the row then says how full it was.
func (l *lab) awaitFull(ctx context.Context, shared octetCounter) error {
	limit := time.NewTimer(2 * time.Second)
	defer limit.Stop()
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for {
		before, err := shared.octets()
		if err != nil {
			return err
		}
		start := time.Now()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return nil
		case <-look.C:
		}
		use, err := shared.use(before, time.Since(start), l.rate)
		if err != nil || use >= linkFull {
			return err
		}
	}
}
