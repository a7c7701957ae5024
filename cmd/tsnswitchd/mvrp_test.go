package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/srptest"
)

const allProtocols = 0x0300 // ETH_P_ALL in the order of the network

const typeMVRP, typeMMRP = 0x88f5, 0x88f6

// leaks watches the link behind a port for MRPDUs of these types that come from
// the bridge and were made by somebody else; it returns their sources. Those of an
// application that the bridge takes no part in do cross it.
func (s *srpOnly) leaks(t *testing.T, ifname string, types ...uint16) (stop func() []tsn.MAC) {
	t.Helper()
	st, err := s.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	s.far.Do(func() {
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK, 0); err != nil { // of no interface yet
			t.Fatal(err)
		}
		l, err := s.far.Netlink().LinkByName(ifname)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: allProtocols, Ifindex: l.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return func() (out []tsn.MAC) {
		b := make([]byte, 2048)
		for {
			n, from, err := unix.Recvfrom(fd, b, 0)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return out
			}
			a, ok := from.(*unix.SockaddrLinklayer)
			if !ok || a.Pkttype == unix.PACKET_OUTGOING || n < 14 {
				continue
			}
			typ, source := binary.BigEndian.Uint16(b[12:]), tsn.MAC(b[6:12])
			if slices.Contains(types, typ) && source != st.System {
				out = append(out, source)
			}
		}
	}
}

// registered is what the daemon tells of an application: "port vid group".
func (s *srpOnly) registered(application string) (out []string) {
	s.t.Helper()
	all, err := s.client.Registrations(s.t.Context(), application)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range all {
		if r.Registered && r.Mode == "normal" {
			out = append(out, strings.TrimSpace(fmt.Sprint(r.Port, " ", r.VLAN, " ", r.Group)))
		}
	}
	return out
}

// Stations register a VLAN and a group on a bridge without VLANs: those at the
// other port hear of it, from the bridge and not from the station itself.
func TestMVRPOnSharedBridge(t *testing.T) {
	s := newSRPOnly(t, "bridge: {name: sw0, create: true}\nsrp: {mvrp: true, mmrp: true}", nil)
	s.eventually("running", func() bool { _, err := s.client.Status(s.t.Context()); return err == nil })
	s.eventually("a bridge that keeps frames back", func() bool {
		return strings.Contains(s.ip("tc", "filter", "show", "dev", "p1", "ingress"), "bpf")
	})
	crossed := s.leaks(t, "top2", typeMVRP, typeMMRP)
	g := tsn.MAC{0x91, 0xe0, 0xf0, 0, 9, 1}
	s.stations[0].JoinVLAN(5)
	s.stations[0].JoinGroup(g)
	s.until(1, "VLAN 5 and the group", func(n srptest.Seen) bool { return n.VLANs[5] && n.Groups[g] })
	if a, b := s.registered("mvrp"), s.registered("mmrp"); !slices.Equal(a, []string{"1 5"}) || !slices.Equal(b, []string{"1 1 " + g.String()}) {
		t.Errorf("registered %q and %q", a, b)
	}
	s.eventually("a group entry", func() bool { return strings.Contains(s.ip("bridge", "mdb", "show"), "port p1 grp "+g.String()) })
	s.stations[0].LeaveVLAN(5)
	s.stations[0].LeaveGroup(g)
	s.until(1, "their end", func(n srptest.Seen) bool { return !n.VLANs[5] && !n.Groups[g] })
	s.eventually("no group entry", func() bool { return !strings.Contains(s.ip("bridge", "mdb", "show"), g.String()) })
	if from := crossed(); len(from) > 0 {
		t.Errorf("frames of %v crossed the bridge", from)
	}
}

// The kernel's own MVRP, in devices of VLANs behind a port: the VLAN is the port's
// while the device is there, on a bridge that others configure and under SPB, in
// a VLAN of the fabric and in one that is none. Killed and started again the
// daemon takes nothing away that is still registered.
func TestKernelRegistersVLANs(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	needs := kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true}
	kerneltest.Run(t, needs, func(t *testing.T) {
		for _, tool := range []string{"bridge", "tc", "ip"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("%s is missing: install the Debian package iproute2", tool)
			}
		}
		t.Run("shared", func(t *testing.T) {
			testKernelVLANs(t, newSRPOnly(t, "bridge: {name: br0, create: true}\nsrp: {mvrp: true}", nil), 5, true)
		})
		t.Run("spb", func(t *testing.T) {
			s := newSRPOnlyAs(t, `role: bridge
name: sw
systemId: 02:00:00:00:00:01
bridge: {name: br0, create: true}
ports: [{port: 1, ifname: p1, role: edge, pvid: 100, untagged: true, tagged: []}, {port: 2, ifname: p2, role: edge, pvid: 100, untagged: true, tagged: []}]
spb: {baseVids: [{vid: 100, ect: 1}, {vid: 101, ect: 2}], edgeGuard: {fastInterval: 20ms}}
gptp: {enabled: false}
srp: {mvrp: true}
`, 5, nil)
			testKernelVLANs(t, s, 101, true)
			testKernelVLANs(t, s, 5, false)
		})
	})
}

func testKernelVLANs(t *testing.T, s *srpOnly, vid tsn.VID, kill bool) {
	t.Helper()
	s.eventually("running", func() bool { _, err := s.client.Status(s.t.Context()); return err == nil })
	port := func(n int) string {
		return strings.Join(strings.Fields(s.ip("bridge", "vlan", "show", "dev", fmt.Sprintf("p%d", n))), " ") + " "
	}
	in := func(n int) bool { return strings.Contains(port(n), fmt.Sprintf(" %d ", vid)) }
	if in(1) {
		t.Fatalf("the port is in VLAN %d from the start: %s", vid, port(1))
	}
	far := func(args ...string) {
		t.Helper()
		s.far.Do(func() {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, out)
			}
		})
	}
	s.eventually("a port that keeps frames back", func() bool {
		return strings.Contains(s.ip("tc", "filter", "show", "dev", "p1", "ingress"), "bpf")
	})
	crossed := s.leaks(t, "top2", typeMVRP)
	dev := fmt.Sprintf("v%d", vid)
	far("ip", "link", "add", "link", "top1", "name", dev, "type", "vlan", "id", fmt.Sprint(vid), "mvrp", "on")
	far("ip", "link", "set", dev, "up")
	s.eventually("the port in the VLAN", func() bool { return in(1) })
	if in(2) {
		t.Errorf("the other port too: %s", port(2))
	}
	s.until(1, "the VLAN", func(n srptest.Seen) bool { return n.VLANs[vid] })

	if kill {
		s.restartWith(t, vid, func() string { return port(1) })
	}
	far("ip", "link", "del", dev)
	s.eventually("the port out of the VLAN", func() bool { return !in(1) })
	if from := crossed(); len(from) > 0 {
		t.Errorf("frames of %v crossed the bridge", from)
	}
}

// restartWith kills the daemon and starts it again, and watches that what port
// tells never changes until the daemon knows of the VLAN again.
func (s *srpOnly) restartWith(t *testing.T, vid tsn.VID, port func() string) {
	t.Helper()
	before := port()
	_ = s.cmd.Process.Kill()
	<-s.done
	lost := make(chan string, 1)
	watch, done := context.WithCancel(t.Context())
	go func() { // it is never out of the VLAN
		for watch.Err() == nil {
			if got := port(); got != before {
				lost <- got
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		lost <- ""
	}()
	s.start()
	want := fmt.Sprintf("1 %d", vid)
	s.eventually("registered again", func() bool {
		all, err := s.client.Registrations(t.Context(), "mvrp")
		return err == nil && slices.ContainsFunc(all, func(r api.Registration) bool {
			return r.Registered && r.Mode == "normal" && fmt.Sprint(r.Port, " ", r.VLAN) == want
		})
	})
	s.eventually("in step with the kernel", func() bool { d, err := s.client.Diff(t.Context()); return err == nil && d.InSync })
	done()
	if got := <-lost; got != "" {
		t.Errorf("the port had %q, then %q", before, got)
	}
}
