package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// stepSPB: adjacencies, identical databases, kernel state as computed, locked
// fabric ports, and a ping from a cold cache that is carried exactly once.
func (l *lab) stepSPB(ctx context.Context, s *stepReport) error {
	bridges := l.kind(config.KindBridge)
	err := s.wait(ctx, "adjacencies Up on all links", 30*time.Second, func(ctx context.Context) (string, bool, error) {
		up, want := 0, 2*len(l.fabricLinks())
		for _, b := range bridges {
			ns, err := b.client.Neighbours(ctx)
			if err != nil {
				return "", false, nil
			}
			for _, n := range ns {
				if n.State == "Up" {
					up++
				}
			}
		}
		return fmt.Sprintf("%d of %d", up, want), up == want, l.alive()
	})
	if err != nil {
		return err
	}
	err = s.wait(ctx, "identical link-state databases", 20*time.Second, func(ctx context.Context) (string, bool, error) {
		digests, lsps, nodes := map[string]bool{}, 0, 0
		for _, b := range bridges {
			st, err := b.client.Status(ctx)
			if err != nil {
				return "", false, err
			}
			digests[st.SPB.LSDBDigest] = true
			lsps, nodes = st.SPB.LSPs, st.SPB.Nodes
		}
		return fmt.Sprintf("%d digests on %d bridges, %d LSPs, trees reach %d bridges", len(digests), len(bridges), lsps, nodes),
			len(digests) == 1 && nodes == len(bridges), l.alive()
	})
	if err != nil {
		return err
	}
	err = s.wait(ctx, "FDB, VLAN and MDB read back equal to the computed ones", 20*time.Second, func(ctx context.Context) (string, bool, error) {
		same := 0
		var first string
		for _, n := range l.nodes {
			d, err := n.client.Diff(ctx)
			switch {
			case err != nil:
				first = n.Name + ": " + err.Error()
			case d.InSync:
				same++
			case first == "":
				first = n.Name + ": " + d.Entries[0].Want
			}
		}
		return fmt.Sprintf("%d of %d nodes equal %s", same, len(l.nodes), first), same == len(l.nodes), l.alive()
	})
	if err != nil {
		return err
	}
	if err := l.checkFDB(ctx, s); err != nil {
		return err
	}
	if err := l.traceAll(ctx, s); err != nil {
		return err
	}
	return l.coldPing(ctx, s)
}

// traceAll asks, from the first bridge, every bridge on the way to each other
// one, in each Base VID, by frames that those between forward as all others.
func (l *lab) traceAll(ctx context.Context, s *stepReport) error {
	bridges := l.kind(config.KindBridge)
	from := bridges[0]
	asked, far := 0, 0
	for _, to := range bridges[1:] {
		for _, v := range l.net.Fabric.BaseVIDs {
			hops, answered := 0, 0
			sum, err := from.client.Trace(ctx, api.TraceRequest{To: to.Name, VLAN: v.VID}, func(h api.TraceHop) error {
				if hops++; h.Answered {
					answered++
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("loopback from %s to %s in VLAN %d: %w", from.Name, to.Name, v.VID, err)
			}
			if !sum.Reached || answered != hops {
				return fmt.Errorf("loopback from %s to %s in VLAN %d: %d of %d bridges answer", from.Name, to.Name, v.VID, answered, hops)
			}
			asked, far = asked+hops, max(far, hops)
		}
	}
	s.say("loopback from %s to %d bridges in %d VLANs: %d of %d answer, up to %d hops away", from.Name, len(bridges)-1, len(l.net.Fabric.BaseVIDs), asked, asked, far)
	s.fact("loopbackHops", far)
	return nil
}

// checkFDB reads the bridges with the system's own tool, not through the
// daemon: fabric ports are locked, and every other station has its entries. A
// daemon is in step with its kernel before it has heard of every station.
func (l *lab) checkFDB(ctx context.Context, s *stepReport) error {
	locked, entries := 0, 0
	err := s.wait(ctx, "bridge(8) to say that fabric ports are locked, with an FDB entry for each node and VLAN", 20*time.Second,
		func(ctx context.Context) (_ string, done bool, err error) {
			var missing string
			locked, entries, missing, err = l.readFDB(ctx)
			return fmt.Sprintf("%d ports locked, %d static entries %s", locked, entries, missing), missing == "", err
		})
	if err != nil {
		return err
	}
	if want := 2 * len(l.fabricLinks()); locked != want {
		return fmt.Errorf("%d fabric ports are locked, want %d", locked, want)
	}
	s.fact("lockedPorts", locked)
	s.fact("fdbEntries", entries)
	return nil
}

// readFDB counts locked fabric ports and the static entries of other nodes, and
// names a node that has not all of its own.
func (l *lab) readFDB(ctx context.Context) (locked, entries int, missing string, err error) {
	vids := len(l.net.Fabric.BaseVIDs)
	for _, b := range l.kind(config.KindBridge) {
		n, err := b.lockedPorts(ctx)
		if err != nil {
			return 0, 0, "", err
		}
		locked += n
		fdb, err := b.space.run(ctx, "bridge", "fdb", "show", "br", "br0")
		if err != nil {
			return 0, 0, "", err
		}
		l.report.ReadBack[b.Name+" bridge fdb"] = fdb
		for _, n := range l.net.Nodes {
			if n.Name == b.Name {
				continue
			}
			have := 0
			for line := range strings.Lines(fdb) {
				if strings.HasPrefix(line, n.SystemID.String()+" ") && strings.Contains(line, " vlan ") && strings.Contains(line, " static") {
					have++
				}
			}
			if have != vids {
				missing = fmt.Sprintf("(%s: %s has %d of %d)", b.Name, n.Name, have, vids)
			}
			entries += have
		}
	}
	return locked, entries, missing, nil
}

// lockedPorts counts them; a fabric port that is not locked is an error.
func (n *labNode) lockedPorts(ctx context.Context) (locked int, err error) {
	text, err := n.space.run(ctx, "bridge", "-d", "-j", "link", "show")
	if err != nil {
		return 0, err
	}
	var links []struct {
		Ifname string `json:"ifname"`
		Locked bool   `json:"locked"`
	}
	if err := json.Unmarshal([]byte(text), &links); err != nil {
		return 0, fmt.Errorf("%s: bridge link: %w", n.Name, err)
	}
	for _, p := range n.ports {
		for _, k := range links {
			if k.Ifname == p.Ifname && p.Role == "fabric" {
				if !k.Locked {
					return 0, fmt.Errorf("%s: fabric port %s is not locked", n.Name, p.Ifname)
				}
				locked++
			}
		}
	}
	return locked, nil
}

// coldPing sends from the first host to the last with a cold cache, and
// counts every copy of the ARP request and of the echoes in the fabric.
func (l *lab) coldPing(ctx context.Context, s *stepReport) error {
	hosts := l.kind(config.KindHost)
	if len(hosts) < 2 {
		s.say("this network has %d hosts: nothing is pinged", len(hosts))
		return nil
	}
	a, b := hosts[0], hosts[len(hosts)-1]
	// An address that the far host has not had before cannot be in any cache,
	// whatever else is talking.
	l.coldPings++
	to := b.Data.Addr
	for range 1000 + l.coldPings {
		to = to.Next()
	}
	err := b.space.inside(func() error {
		port, err := netlink.LinkByName(b.ports[0].Ifname)
		if err != nil {
			return err
		}
		return netlink.AddrAdd(port, address(to, l.net.Fabric.DataNet.Prefix))
	})
	if err != nil {
		return fmt.Errorf("a fresh address for %s: %w", b.Name, err)
	}
	taps := map[string]*tap{}
	defer func() {
		for _, t := range taps {
			t.close()
		}
	}()
	for _, n := range l.nodes {
		for _, p := range n.ports {
			if n.bridge() && p.Role != "fabric" {
				continue
			}
			t, err := n.space.openTap(p.Ifname, "")
			if err != nil {
				return err
			}
			taps[n.Name+":"+p.Ifname] = t
		}
	}
	res, err := a.space.ping(ctx, to, 10, 500*time.Millisecond)
	if err != nil {
		return err
	}
	s.say("ping %s to %s with a cold cache: %s", a.Name, b.Name, res)
	s.fact("ping", res)
	if res.Received != res.Sent || res.Duplicates != 0 {
		return fmt.Errorf("ping: %s", res)
	}
	request := fmt.Sprintf("arp-1 from %s for %s", a.SystemID, to)
	sent := taps[a.Name+":"+a.ports[0].Ifname].counts()[request]
	got := taps[b.Name+":"+b.ports[0].Ifname].counts()[request]
	inFabric, echoes := 0, 0
	for name, t := range taps {
		c := t.counts()
		if !strings.HasPrefix(name, a.Name+":") && !strings.HasPrefix(name, b.Name+":") {
			inFabric += c[request]
			echoes += c["icmp EchoRequest"]
		}
	}
	links := len(l.fabricLinks())
	// Each copy on a link is seen at both of its ends.
	s.say("ARP requests: %d sent, %d arrived; %d copies at %d fabric port ends (a storm has no bound, flooding a tree %d to %d)",
		sent, got, inFabric, 2*links, 2, 4*links)
	s.fact("arp", map[string]int{"sent": sent, "arrived": got, "atFabricPortEnds": inFabric, "echoRequestsAtFabricPortEnds": echoes})
	switch {
	case sent == 0:
		return fmt.Errorf("no ARP request was seen: the cache was not cold")
	case sent != got:
		return fmt.Errorf("%d ARP requests were sent, %d arrived: lost or duplicated", sent, got)
	case inFabric > 4*links*sent:
		return fmt.Errorf("%d copies of %d ARP requests in the fabric: a storm", inFabric, sent)
	}
	return nil
}
