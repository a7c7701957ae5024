package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
)

// Queues of every veth: taprio wants one per traffic class, 8 at the most.
const vethQueues = 8

// wireQueue is the depth of each priority of a wire in frames: about 30 ms of
// full frames at 100 Mbit/s. (An ifb's own txqueuelen of 32 would be a limit
// that no switch has.)
const wireQueue = 256

// An end is one end of a link: an interface in a space.
type end struct {
	space  *space
	ifname string
}

// layCable makes a veth pair between two spaces. MACs are set by the nodes.
func layCable(a, b end) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = a.ifname
	attrs.NumTxQueues, attrs.NumRxQueues = vethQueues, vethQueues
	return a.space.inside(func() error {
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: b.ifname, PeerNamespace: netlink.NsPid(b.space.pid),
			PeerNumTxQueues: vethQueues, PeerNumRxQueues: vethQueues,
		})
		if err != nil {
			return fmt.Errorf("cable %s:%s to %s:%s: %w", a.space.name, a.ifname, b.space.name, b.ifname, err)
		}
		return nil
	})
}

// connectWire puts the line behind the sender's egress port: what arrives at
// this end first passes a token bucket of the line rate over strict
// priorities, on an ifb. The sender's own qdiscs stay exactly the product's,
// and every frame of every class shares the one rate.
func connectWire(ctx context.Context, e end, rate tsn.Rate) error {
	ifb := wireName(e.ifname)
	err := e.space.inside(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.TxQLen = ifb, wireQueue
		if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("%s: add %s: %w", e.space.name, ifb, err)
		}
		link, err := netlink.LinkByName(ifb)
		if err != nil {
			return err
		}
		port, err := netlink.LinkByName(e.ifname)
		if err != nil {
			return err
		}
		// One frame on the wire is one frame on the wire: no segmentation offload.
		return errors.Join(netlink.LinkSetGSOMaxSegs(port, 1), netlink.LinkSetUp(link), netlink.LinkSetUp(port))
	})
	if err != nil {
		return fmt.Errorf("wire at %s:%s: %w", e.space.name, e.ifname, err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "qdisc add dev %s root handle 1: %s\n", ifb, bucket(rate))
	fmt.Fprintf(&b, "qdisc add dev %s parent 1:1 handle 2: prio bands 5 priomap%s\n", ifb, strings.Repeat(" 4", 16))
	for pref, f := range []string{
		"protocol 0x88f7 flower classid 2:1", "protocol 802_2 flower classid 2:1",
	} {
		fmt.Fprintf(&b, "filter add dev %s parent 2: pref %d %s\n", ifb, pref+1, f)
	}
	for pcp, band := range map[int]int{7: 1, 6: 2, 5: 2, 3: 3, 2: 4} {
		fmt.Fprintf(&b, "filter add dev %s parent 2: pref 10 protocol 802.1q flower vlan_prio %d classid 2:%d\n", ifb, pcp, band)
	}
	// The daemon adds its classifier to the same clsact, so it may exist.
	fmt.Fprintf(&b, "qdisc add dev %s clsact\n", e.ifname)
	fmt.Fprintf(&b, "filter add dev %s ingress pref 1 protocol all matchall action mirred egress redirect dev %s\n", e.ifname, ifb)
	if _, err := e.space.runInput(ctx, b.String(), "tc", "-batch", "-"); err != nil {
		return fmt.Errorf("wire at %s:%s: %w", e.space.name, e.ifname, err)
	}
	return nil
}

// setWireRate changes the line rate of a wire in place.
func setWireRate(ctx context.Context, e end, rate tsn.Rate) error {
	_, err := e.space.runInput(ctx, fmt.Sprintf("qdisc change dev %s root handle 1: %s\n", wireName(e.ifname), bucket(rate)), "tc", "-batch", "-")
	return err
}

// wireDrops is what the wire lost so far (queue overflow), for the report.
func wireDrops(e end) (uint64, error) {
	var drops uint64
	err := e.space.inside(func() error {
		l, err := netlink.LinkByName(wireName(e.ifname))
		if err != nil {
			return err
		}
		qs, err := netlink.QdiscList(l)
		if err != nil {
			return err
		}
		for _, q := range qs {
			if q.Attrs().Parent == netlink.HANDLE_ROOT && q.Attrs().Statistics != nil && q.Attrs().Statistics.Queue != nil {
				drops = uint64(q.Attrs().Statistics.Queue.Drops)
			}
		}
		return nil
	})
	return drops, err
}

// bucket is the token bucket of a line: 1 ms or two frames of burst, preamble,
// FCS and gap counted (24 octets beyond what the kernel sees).
func bucket(rate tsn.Rate) string {
	burst := max(uint64(rate)/8, 3200)
	return fmt.Sprintf("tbf rate %dkbit burst %d limit %d overhead 24", uint64(rate), burst, wireQueue*1600)
}

func wireName(ifname string) string { return "w-" + ifname }

// An octetCounter reads what a wire has carried.
type octetCounter struct {
	end end
}

func (c octetCounter) octets() (n uint64, err error) {
	err = c.end.space.inside(func() error {
		l, err := netlink.LinkByName(wireName(c.end.ifname))
		if err != nil {
			return err
		}
		if l.Attrs().Statistics == nil {
			return fmt.Errorf("%s has no counters", wireName(c.end.ifname))
		}
		n = l.Attrs().Statistics.TxBytes
		return nil
	})
	return n, err
}

// use is the share of the line rate that the wire carried since it had
// carried before.
func (c octetCounter) use(before uint64, took time.Duration, rate tsn.Rate) (float64, error) {
	now, err := c.octets()
	return float64(now-before) * 8 / took.Seconds() / float64(rate*1000), err
}
