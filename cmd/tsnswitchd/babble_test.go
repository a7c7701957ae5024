package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// TestBabblingTalker: a talker that sends ten times what it reserved, frames of
// its class that nobody reserved and a flood beside, takes nothing from its
// neighbour in the same class (802.1Q 34.5, 6.9.4, 8.6.5.1). Stations on three
// ports of a bridge; the third listens.
func TestBabblingTalker(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		b := newBabble(t, 100)
		b.reserve()
		b.policed()
		b.outsider()
	})
}

type babble struct {
	srpOnly
	far      *kerneltest.NetNS
	stations [3]*srptest.Station
	good     mrp.Talker // of station 1
	loud     mrp.Talker // of station 2
}

// newBabble starts the daemon for ports of so many Mbit/s, and the stations.
func newBabble(t *testing.T, rate int) *babble {
	b := &babble{srpOnly: srpOnly{t: t, ns: kerneltest.NewNetNS(t)}, far: kerneltest.NewNetNS(t)}
	for i := range b.stations {
		kerneltest.VethPair(t, 8, kerneltest.End{NS: b.ns, Name: fmt.Sprintf("p%d", i+1)}, kerneltest.End{NS: b.far, Name: fmt.Sprintf("top%d", i+1)})
	}
	dir := t.TempDir()
	b.client = api.DialUnix(filepath.Join(dir, "s"))
	t.Cleanup(b.client.Close)
	b.conf = write(t, filepath.Join(dir, "c.yaml"), fmt.Sprintf(`role: bridge
name: sw
bridge: {name: sw0, create: true}
ports: [{port: 1, ifname: p1, rate: %[2]dM}, {port: 2, ifname: p2, rate: %[2]dM}, {port: 3, ifname: p3, rate: %[2]dM}]
spb: {enabled: false}
gptp: {enabled: false}
srp: {msrp: true, classes: [{class: A, priority: 3, vid: 2, interval: 10ms}, {class: B, priority: 2, vid: 2, interval: 20ms}]}
qbv: {filterBurst: 300ms}
api: {socket: %[1]s/s}
stateDir: %[1]s
metrics: {listen: "127.0.0.1:0"}
`, dir, rate))
	b.start()
	t.Cleanup(b.stop)
	for i := range b.stations {
		c := srptest.StationConfig{Seed: uint64(i), Domains: []mrp.Domain{{ClassID: 6, Priority: 3, VID: 2}, {ClassID: 5, Priority: 2, VID: 2}}}
		var err error
		b.far.Do(func() { b.stations[i], err = srptest.Open(fmt.Sprintf("top%d", i+1), c) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.stations[i].Close)
	}
	return b
}

// until waits for what a station shall see.
func (b *babble) until(station int, what string, ok func(srptest.Seen) bool) {
	b.t.Helper()
	s := srpOnly{t: b.t, log: b.log}
	s.stations[0] = b.stations[station]
	s.until(0, what, ok)
}

// reserve takes both talkers' streams to the listener.
func (b *babble) reserve() {
	b.t.Helper()
	b.good, b.loud = b.wish(0, 1), b.wish(1, 2)
	for i, w := range []mrp.Talker{b.good, b.loud} {
		b.stations[i].Talk(w)
		b.until(2, "the talker", func(n srptest.Seen) bool { x, ok := n.Talkers[w.StreamID]; return ok && !x.Failed })
		b.stations[2].Listen(w.StreamID)
		b.until(i, "the listener", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] == mrp.ListenerReady })
	}
	defer func() {
		if b.t.Failed() {
			b.t.Logf("p2:\n%s\np3:\n%s\n%s", b.ip("tc", "filter", "show", "dev", "p2", "ingress"), b.ip("tc", "filter", "show", "dev", "p3", "egress"), b.ip("tc", "qdisc", "show"))
		}
	}()
	b.eventually("policed", func() bool { return b.rules("p2", "ingress") > 0 && b.rules("p3", "egress") >= 10 })
}

func (b *babble) wish(station int, unique byte) mrp.Talker {
	return mrp.Talker{
		StreamID: tsn.MakeStreamID(b.stations[station].MAC, uint16(unique)), DestinationAddress: tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, unique},
		VID: 2, MaxFrameSize: 200, MaxIntervalFrames: 1, DataFramePriority: 3, Rank: 1,
	}
}

// rules counts the filters of a port.
func (b *babble) rules(dev, hook string) int {
	b.t.Helper()
	return strings.Count(b.ip("tc", "filter", "show", "dev", dev, hook), "action order 1:")
}

func (b *babble) flow(to tsn.MAC, pcp tsn.PCP, every time.Duration) srptest.Flow {
	return srptest.Flow{Destination: to, VID: 2, Priority: pcp, Octets: 200, Every: every}
}

// policed runs the streams. What comes of the loud one is what it reserved: it is
// shaped by its own rate with the other's, and none of the other's frames waits
// behind it for long or is lost.
func (b *babble) policed() {
	t := b.t
	t.Helper()
	const frames = 300
	begun, before := time.Now(), backlogDrops(t)
	unreserved := tsn.MAC{0x91, 0xe0, 0xf0, 0, 0xfe, 99}
	var heard, loud *srptest.Counter
	var senders []*srptest.Sender
	b.far.Do(func() {
		var err error
		if heard, err = srptest.Count("top3", b.good.DestinationAddress); err != nil {
			t.Fatal(err)
		}
		if loud, err = srptest.Count("top3", b.loud.DestinationAddress); err != nil {
			t.Fatal(err)
		}
		for ifname, flows := range map[string][]srptest.Flow{
			"top1": {b.flow(b.good.DestinationAddress, 3, 10*time.Millisecond)},
			"top2": {
				b.flow(b.loud.DestinationAddress, 3, time.Millisecond), b.flow(unreserved, 3, 4*time.Millisecond),
				b.flow(unreserved, 2, 4*time.Millisecond), b.flow(tsn.Broadcast, 0, 4*time.Millisecond),
			},
		} {
			for _, f := range flows {
				s, err := f.Start(ifname)
				if err != nil {
					t.Fatal(err)
				}
				senders = append(senders, s)
			}
		}
	})
	defer heard.Close()
	defer loud.Close()
	if !heard.More(frames, patience) {
		t.Fatalf("of the good stream came %+v\n%s", heard.Arrivals(), b.ip("tc", "-s", "qdisc", "show", "dev", "p3"))
	}
	var sent []uint64
	for _, s := range senders {
		n, err := s.Stop()
		if err != nil {
			t.Error(err)
		}
		sent = append(sent, n)
	}
	good, bad := heard.Arrivals(), loud.Arrivals()
	t.Logf("sent %v (good and loud among them); good %+v, loud %+v", sent, good, bad)
	// What this machine was too busy for was lost before or behind the switch; not
	// all of that is counted, so a few frames more are not held against anybody.
	machine := backlogDrops(t) - before + heard.Missed() + frames/50
	if good.Lost() > machine || good.Late > 0 || good.First > 1+machine {
		t.Errorf("the good stream lost %d frames (the machine %d), %d late, from %d on", good.Lost(), machine, good.Late, good.First)
	}
	// One for each 10 ms, what it may save up, and a thousandth for its clock.
	took := time.Since(begun)
	if most := uint64(took/(10*time.Millisecond))*101/100 + 33; bad.Frames > most {
		t.Errorf("%d frames of the loud stream came in %v, at most %d may", bad.Frames, took, most)
	}
	if red, own := b.red("p2"), b.red("p1"); red == 0 || own > 0 {
		t.Errorf("of the loud talker %d frames were too much, of the good one %d", red, own)
	}
	counted, err := b.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(counted.Degraded, "\n"); strings.Contains(text, "kernel") || strings.Contains(text, "shaped") {
		t.Errorf("degraded: %s", text)
	}
}

// backlogDrops is how many frames the kernel has dropped between interfaces,
// because it was too busy to receive them.
func backlogDrops(t *testing.T) (n uint64) {
	t.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var processed, dropped uint64
		if _, err := fmt.Sscanf(line, "%x %x", &processed, &dropped); err != nil {
			t.Fatalf("/proc/net/softnet_stat: %q: %v", line, err)
		}
		n += dropped
	}
	return n
}

// red sums what was dropped as it came in by a port.
func (b *babble) red(dev string) (n int) {
	b.t.Helper()
	for line := range strings.Lines(b.ip("tc", "-s", "filter", "show", "dev", dev, "ingress")) {
		var octets, packets, dropped int
		if _, err := fmt.Sscanf(strings.TrimSpace(line), "Sent %d bytes %d pkt (dropped %d,", &octets, &packets, &dropped); err == nil {
			n += dropped
		}
	}
	return n
}

// outsider: a station that is no part of the domain loses the priority of its
// frames, in the tag too.
func (b *babble) outsider() {
	t := b.t
	t.Helper()
	b.stations[1].Close()
	b.far.Netlink() // the link stays up
	b.eventually("outside the domain", func() bool {
		return strings.Contains(b.ip("tc", "filter", "show", "dev", "p2", "ingress"), "priority 0")
	})
	if in := b.ip("tc", "filter", "show", "dev", "p1", "ingress"); bytes.Contains([]byte(in), []byte("priority 0")) {
		t.Errorf("a port inside the domain regenerates priorities:\n%s", in)
	}
}
