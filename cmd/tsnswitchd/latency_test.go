package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"

	"tsnswitch"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// TestClassLatency: frames of classes A and B keep to the latency that MSRP
// accumulated for their listener, on a line of 2 Mbit/s that a best-effort
// flood fills. The line is behind the port of the switch: a token bucket over
// strict priorities, so that what the switch lets out in the wrong order or too
// fast waits there.
//
// Times here include how long a busy guest takes to run a sender and a receiver,
// often far more than the bound. So the same is measured without the flood, and
// what must not be is that frames take longer than the bound and that, and about
// as long as those of the flood, which wait for a second.
func TestClassLatency(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		b := newBabble(t, 2)
		b.line("top3", 2_000)
		a, classB := b.wish(0, 1), b.wish(1, 2)
		classB.DataFramePriority = 2
		bound := map[tsn.PCP]time.Duration{}
		for i, w := range []mrp.Talker{a, classB} {
			b.stations[i].Talk(w)
			b.until(2, "the talker", func(n srptest.Seen) bool { x, ok := n.Talkers[w.StreamID]; return ok && !x.Failed })
			b.stations[2].Listen(w.StreamID)
			b.until(i, "the listener", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] == mrp.ListenerReady })
			bound[w.DataFramePriority] = time.Duration(b.stations[2].Seen().Talkers[w.StreamID].AccumulatedLatency)
		}
		flows := []timedFlow{
			{"top1", a.DestinationAddress, 3, 200, 10 * time.Millisecond},
			{"top2", classB.DestinationAddress, 2, 200, 20 * time.Millisecond},
		}
		idle := b.measure(flows, 150)
		flood := timedFlow{"top2", b.stations[2].MAC, 0, 1400, 2 * time.Millisecond}
		busy := b.measure(append(flows, flood), 150)
		if len(busy[0]) == 0 {
			t.Error("nothing of the flood came")
		}
		for name, pcp := range map[string]tsn.PCP{"A": 3, "B": 2} {
			t.Logf("class %s: bound %v; alone 50 %% within %v, 95 %% %v; beside the flood 50 %% %v, 90 %% %v, 99 %% %v; half of the flood waits %v",
				name, bound[pcp], quantile(idle[pcp], 50), quantile(idle[pcp], 95), quantile(busy[pcp], 50), quantile(busy[pcp], 90), quantile(busy[pcp], 99), quantile(busy[0], 50))
			if best := quantile(busy[pcp], 25); best > bound[pcp]+quantile(idle[pcp], 95) && best > quantile(busy[0], 50)/4 {
				t.Errorf("class %s: three of four frames take %v or more; the bound is %v, half of the flood takes %v", name, best, bound[pcp], quantile(busy[0], 50))
			}
		}
	})
}

// line makes what comes in by an interface of the stations' wait for a line of so
// many kbit/s.
func (b *babble) line(dev string, rate int) {
	b.t.Helper()
	ifb := "line" + dev
	for _, c := range []string{
		"ip link add " + ifb + " txqueuelen 256 type ifb", "ip link set " + ifb + " up", "ip link set " + dev + " gso_max_segs 1",
		fmt.Sprintf("tc qdisc add dev %s root handle 1: tbf rate %dkbit burst 3200 limit 400000 overhead 24", ifb, rate),
		"tc qdisc add dev " + ifb + " parent 1:1 handle 2: prio bands 4 priomap" + strings.Repeat(" 3", 16),
		"tc filter add dev " + ifb + " parent 2: pref 10 protocol 802.1q flower vlan_prio 7 classid 2:1",
		"tc filter add dev " + ifb + " parent 2: pref 10 protocol 802.1q flower vlan_prio 3 classid 2:2",
		"tc filter add dev " + ifb + " parent 2: pref 10 protocol 802.1q flower vlan_prio 2 classid 2:3",
		"tc filter add dev " + ifb + " parent 2: pref 11 protocol 0x22ea flower classid 2:1",
		"tc qdisc add dev " + dev + " clsact",
		"tc filter add dev " + dev + " ingress pref 1 protocol all matchall action mirred egress redirect dev " + ifb,
	} {
		args := strings.Fields(c)
		b.far.Do(func() {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				b.t.Fatalf("%s: %v\n%s", c, err, out)
			}
		})
	}
}

// timedFlow is frames that say when they were sent.
type timedFlow struct {
	ifname string
	to     tsn.MAC
	pcp    tsn.PCP
	octets int
	every  time.Duration
}

// measure returns how long frames took to station 3, by priority, when n of the
// first flow have come.
func (b *babble) measure(flows []timedFlow, n int) map[tsn.PCP][]time.Duration {
	t := b.t
	t.Helper()
	const etherType = 0x22f0
	begun, quit := time.Now(), make(chan struct{})
	var all sync.WaitGroup
	defer all.Wait()
	defer close(quit)
	socket := func(ifname string, proto int) (c *packet.Conn) {
		b.far.Do(func() {
			ifi, err := net.InterfaceByName(ifname)
			if err == nil {
				c, err = packet.Listen(ifi, packet.Raw, proto, nil)
			}
			if err == nil && proto != 0 {
				err = c.SetPromiscuous(true)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
		t.Cleanup(func() { c.Close() })
		return c
	}
	rx := socket("top3", etherType)
	for _, f := range flows {
		tx := socket(f.ifname, 0)
		frame := slices.Concat(f.to[:], []byte{2, 0, 0, 9, 0, byte(f.pcp), 0x81, 0, byte(f.pcp << 5), 2, etherType >> 8, etherType & 0xff}, make([]byte, f.octets))
		frame[18] = byte(f.pcp)
		all.Go(func() {
			tick := time.NewTicker(f.every)
			defer tick.Stop()
			for {
				select {
				case <-quit:
					return
				case <-tick.C:
				}
				binary.BigEndian.PutUint64(frame[19:], uint64(time.Since(begun)))
				_, _ = tx.WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}) // a full queue is the flood's fate
			}
		})
	}
	out := map[tsn.PCP][]time.Duration{}
	buf := make([]byte, 2000)
	if err := rx.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for len(out[flows[0].pcp]) < n {
		got, _, err := rx.ReadFrom(buf)
		if err != nil {
			t.Fatalf("of %d frames came %d: %v", n, len(out[flows[0].pcp]), err)
		}
		if data := buf[14:got]; len(data) > 9 { // the tag is not in it
			pcp := tsn.PCP(data[0])
			out[pcp] = append(out[pcp], time.Since(begun)-time.Duration(binary.BigEndian.Uint64(data[1:])))
		}
	}
	return out
}

// quantile is what so many percent of times are within.
func quantile(times []time.Duration, percent int) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(times))[min(len(times)*percent/100, len(times)-1)]
}
