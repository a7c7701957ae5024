package erlang_test

import (
	"fmt"
	"net"
	"strconv"
	"testing"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/internal/kerneltest"
)

func needIPv6(t *testing.T) {
	t.Helper()
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skipf("this machine has no IPv6: %v", err)
	}
	_ = c.Close()
}

// Two nodes at ::1, named by it: found by a static map, with classes that have
// sockets, and by TCP where the other does not answer distlink.
func TestIPv6(t *testing.T) {
	needIPv6(t)
	port := beamtest.Port(t, "127.0.0.1")
	args := func(own int) []string {
		return []string{
			"-distlink_ip", "::1", "-distlink_port", strconv.Itoa(own), "-distlink_classes", "control:priority=6", "-distlink_tcp", "true",
			"-distlink_nodes", fmt.Sprintf("b@::1=[::1]:%d", port+1), fmt.Sprintf("c@::1=[::1]:%d", port+2),
		}
	}
	beamtest.Start(t, "distlink", "b@::1", port, sleep, args(port+1)...)
	beamtest.Start(t, "inet6_tcp", "c@::1", port+2, sleep)
	a := beamtest.Start(t, "distlink", "a@::1", port, `R = distlink_bench:check('b@::1'), {ok, I} = net_kernel:node_info('b@::1'), {net_address, {{0,0,0,0,0,0,0,1}, _}, "::1", distlink, inet6} = proplists:get_value(address, I),
 W = fun W() -> case distlink:info('b@::1') of #{lanes := #{control := #{datagram := 1452}}} -> ok; _ -> pong = net_adm:ping('b@::1'), W() end end, W(), pong = net_adm:ping('c@::1'), {ok, J} = net_kernel:node_info('c@::1'), {net_address, _, _, tcp, inet6} = proplists:get_value(address, J), io:format("checked ~p~n", [R]), `+sleep, args(port)...)
	checkLines(t, a)
}

// Two nodes of two hosts, found by the addresses in their names and one port; and by epmd.
func TestIPv6Hosts(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	needIPv6(t)
	kerneltest.Run(t, kerneltest.Needs{}, func(t *testing.T) {
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		a.Address(t, "p1", "fd00::1/64")
		b.Address(t, "h0", "fd00::2/64")
		var na *beamtest.Node
		b.Do(func() {
			beamtest.Start(t, "distlink", "b@fd00::2", 9100, sleep, "-distlink_ip", "::")
		})
		a.Do(func() {
			na = beamtest.Start(t, "distlink", "a@fd00::1", 9100, check("b@fd00::2"), "-distlink_ip", "fd00::1", "-distlink_rate", "100000")
		})
		checkLines(t, na)
	})
}
