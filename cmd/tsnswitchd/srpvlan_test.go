package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/srptest"
	"tsnswitch/srp/mrp"
)

// On a kernel that has all of it, a bridge that others configure with VLANs gets
// the VLAN of the classes, group entries there, and shapers, also beside a VLAN,
// an entry and a spanning tree's settings of somebody else; a daemon that is told
// to stop leaves them, and the next one finds them as it wants them.
func TestSRPOnVLANBridge(t *testing.T) {
	kerneltest.Run(t, kerneltest.Needs{VLANFiltering: true, Taprio: true, CBS: true, Flower: true}, func(t *testing.T) {
		s := newSRPOnlyAs(t, `role: bridge
name: sw
bridge: {name: sw0}
ports: [{port: 1, ifname: p1, rate: 100M}, {port: 2, ifname: p2, rate: 100M}]
spb: {enabled: false}
gptp: {enabled: false}
srp: {msrp: true, timers: {profile: proav}}
`, 8, func(s *srpOnly) {
			s.ip("ip", "link", "add", "sw0", "type", "bridge", "vlan_filtering", "1", "ageing_time", "12300")
			for _, p := range []string{"p1", "p2"} {
				s.ip("ip", "link", "set", p, "master", "sw0", "up")
				s.ip("bridge", "vlan", "add", "dev", p, "vid", "77")
			}
			s.ip("ip", "link", "set", "sw0", "up")
			s.ip("bridge", "mdb", "add", "dev", "sw0", "port", "p1", "grp", "91:e0:f0:00:aa:aa", "permanent", "vid", "77")
		})
		s.reserve()
		w := s.wish(1, 224, 1)
		kernel := func() string {
			return s.ip("bridge", "vlan", "show") + s.ip("bridge", "mdb", "show") + s.ip("tc", "qdisc", "show", "dev", "p2") + s.ip("ip", "-d", "link", "show", "sw0")
		}
		want := []string{
			`(?m)^p2 .*\n?(?s:.*)\b2$`, `(?m)\b77$`, `port p1 grp 91:e0:f0:00:aa:aa permanent.* vid 77`,
			`port p2 grp ` + w.DestinationAddress.String() + ` permanent.* vid 2\b`, `qdisc cbs .*idleslope 17024\b`, `ageing_time 12300 `,
		}
		settled := func() bool {
			have := kernel()
			for _, x := range want {
				if !regexp.MustCompile(x).MatchString(have) {
					return false
				}
			}
			return true
		}
		s.eventually("VLAN, entry and shaper beside what others have set:\n"+strings.Join(want, "\n")+"\n"+kernel(), settled)
		if got := s.degraded(); strings.Contains(got, "kernel") || strings.Contains(got, "missing") {
			t.Errorf("degraded: %s", got)
		}
		before := s.stations[0].Lost() + s.stations[1].Lost()
		if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if !settled() {
			t.Errorf("after a stop: %s", kernel())
		}
		s.start()
		s.eventually("running again", func() bool {
			st, err := s.client.Status(t.Context())
			return err == nil && st.Kernel.Error == ""
		})
		if lost := s.stations[0].Lost() + s.stations[1].Lost() - before; lost != 0 || !settled() {
			t.Errorf("%d declarations ended; %s", lost, kernel())
		}
		s.until(0, "the listener", func(n srptest.Seen) bool { return n.Listeners[w.StreamID] == mrp.ListenerReady })
	})
}
