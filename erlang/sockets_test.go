package erlang_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/internal/kerneltest"
)

// busy has three processes of a, one of each class, each keep calling something
// at b while large messages go there, and then says "busy ok".
const busy = `pong = net_adm:ping('%[1]s'), Me = self(), spawn(fun() -> [{nobody, '%[1]s'} ! binary:copy(<<0>>, 300000) || _ <- lists:seq(1, 20)] end),
 [spawn_link(fun() -> ok = distlink:class(self(), C), [N = rpc:call('%[1]s', erlang, abs, [-N]) || N <- lists:seq(1, 40)], Me ! C end) || C <- [bulk, configured, control]],
 [receive C -> ok end || C <- [bulk, configured, control]], io:format("busy ok~n")`

// Classes have sockets of their own at both nodes or one; that may change, and
// what is wrong with it is said.
func TestClassSockets(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB, "-distlink_classes", "control:priority=5")
	run := fmt.Sprintf(busy, b.Name)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`R = distlink_bench:check('%[1]s'), io:format("checked ~p~n", [R]), #{lanes := L1, rate := 0} = distlink:info('%[1]s'), [bulk, control] = lists:sort(maps:keys(L1)), #{rate := 200000} = map_get(bulk, L1),
 {ok, #{lanes := L2}} = rpc:call('%[1]s', distlink, stats, [node()]), [control] = maps:keys(L2),
 F = fun() -> %[2]s end, F(), #{datagrams_bulk := D1, datagrams_control := D3} = distlink:info('%[1]s'), true = D1 > 1000, true = D3 > 40,
 ok = net_kernel:setopts('%[1]s', [{classes, #{configured => [{priority, 3}, {rate, 50000}]}}, {rate, 0}]), F(), #{lanes := #{configured := #{rate := 50000}} = L3} = distlink:info('%[1]s'), 1 = map_size(L3),
 ok = net_kernel:setopts('%[1]s', [{classes, #{}}]), F(), #{lanes := L4} = distlink:info('%[1]s'), 0 = map_size(L4),
 {error, {badarg, _}} = net_kernel:setopts('%[1]s', [{classes, #{gold => []}}]), {error, {badarg, _}} = net_kernel:setopts('%[1]s', [{classes, #{bulk => [{colour, 1}]}}]),
 {error, {bulk, {bindtodevice, "nothere0", enodev}}} = net_kernel:setopts('%[1]s', [{classes, #{bulk => [{bind, "nothere0"}]}}]), F(),
 {ok, #{moves := M}} = rpc:call('%[1]s', distlink, stats, [node()]), io:format("moves ~p~n", [M]), %[3]s`, b.Name, run, sleep),
		"-distlink_ip", addrA, "-distlink_classes", "control:priority=6,bind=lo", "bulk:rate=200000,priority=1")
	checkLines(t, a)
	// Each change of sockets of the side that dialled is a move.
	if l := a.Expect("moves", 4*patience); l != "moves 2" {
		t.Error(l)
	}
}

func TestBadClassSockets(t *testing.T) {
	for _, bad := range []string{"gold:priority=1", "bulk:priority=16", "bulk:priority", "control:speed=1", "bulk:rate=-1", "bulk:bind="} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_classes", bad)
		if !strings.Contains(out, "distlink_classes") {
			t.Errorf("%s:\n%s", bad, out)
		}
	}
}

// Bulk goes untagged, configured and control by a VLAN with a PCP each: to the
// peer it is one connection and one address.
func TestClassesByVLAN(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	needs := kerneltest.Needs{VLANDevices: true, Timeout: 4 * time.Minute}
	kerneltest.Run(t, needs, func(t *testing.T) {
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 1, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		const at, to = "10.9.0.1", "10.9.0.2"
		for name, ns := range map[string]*kerneltest.NetNS{"p1": a, "h0": b} {
			ns.Address(t, name, map[string]string{"p1": at, "h0": to}[name]+"/24")
			ns.VLAN(t, name)
		}
		var tags kerneltest.Tags
		b.Do(func() { tags = kerneltest.NewTags(t, "h0") })
		classes := func(device string) []string {
			return []string{"-distlink_classes", "configured:priority=5,rate=50000,bind=" + device, "control:priority=6,bind=" + device}
		}
		var na *beamtest.Node
		b.Do(func() {
			beamtest.Start(t, "distlink", "b@"+to, 9100, sleep, append(classes("h0.10"), "-distlink_ip", to)...)
		})
		a.Do(func() {
			na = beamtest.Start(t, "distlink", "a@"+at, 9100, fmt.Sprintf(busy, "b@"+to)+fmt.Sprintf(`, #{datagrams_control := C, datagrams_configured := D, datagrams_bulk := B} = distlink:info('b@%s'), io:format("sent ~p~n", [{B, D, C}]), `, to)+sleep, append(classes("p1.10"), "-distlink_ip", at)...)
		})
		na.Expect("busy ok", 2*time.Minute)
		sent := na.Expect("sent", 2*time.Minute)
		got := tags.Count(t, at)
		t.Logf("%s by class; frames by tag: %v", sent, got)
		for _, k := range []kerneltest.Tag{{}, {VLAN: 10, PCP: 5}, {VLAN: 10, PCP: 6}} {
			if got[k] < 40 {
				t.Errorf("%d frames with %+v", got[k], k)
			}
		}
		if len(got) != 3 {
			t.Errorf("tags %v", got)
		}
	})
}

// A socket that is closed while datagrams come to it does not hold a scheduler up,
// and with it the node.
func TestCloseUnderFire(t *testing.T) {
	port := beamtest.Port(t, addrA)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, `Me = self(),
 Fire = spawn_link(fun() -> {ok, U} = gen_udp:open(0, [binary, {ip, {127,0,0,1}}]), {ok, P} = inet:port(U), Me ! {port, P}, F = fun F() -> receive Q -> [gen_udp:send(U, {127,0,0,1}, Q, <<"shot">>) || _ <- lists:seq(1, 20)], F() end end, F() end),
 receive {port, P} -> ok end,
 [begin {ok, {_, S} = Both, _} = distlink_config:sockets(0, {{127,0,0,1}, P}, #{}), {ok, #{port := Own}} = socket:sockname(S), Fire ! Own, receive {udp, _, _, P, _} -> ok end, distlink_config:close(Both) end || _ <- lists:seq(1, 1000)],
 io:format("closed ok~n"), `+sleep, "-distlink_ip", addrA)
	a.Expect("closed ok", 4*patience)
}
