package erlang_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// pair starts two nodes on loopback; eval runs on the first.
func pair(t *testing.T, eval string, args ...string) (a *beamtest.Node) {
	t.Helper()
	port := beamtest.Port(t, addrA, addrB)
	beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, append(args, "-distlink_ip", addrB)...)
	return beamtest.Start(t, "distlink", "a@"+addrA, port, eval+", "+sleep, append(args, "-distlink_ip", addrA)...)
}

// A process and a name get a class at a running connection; a name keeps it when
// somebody else is registered so; bad requests are refused.
func TestClass(t *testing.T) {
	a := pair(t, `pong = net_adm:ping('b@`+addrB+`'), ok = distlink:class(self(), control), ok = distlink:class(fast, configured),
 {error, {class, gold}} = distlink:class(self(), gold), {error, {not_of_this_node, _}} = distlink:class(rpc:call('b@`+addrB+`', erlang, whereis, [kernel_sup]), bulk),
 [_, _] = distlink:classes(),
 Streams = fun() -> maps:get(streams, distlink:info('b@`+addrB+`')) end,
 Call = fun() -> gen_server:call({net_kernel, 'b@`+addrB+`'}, {is_auth, node()}) end,
 Turn = fun() -> register(fast, self()), receive after 600 -> ok end, yes = Call(), N = Streams(), yes = Call(), N = Streams(), unregister(fast), exit({streams, N}) end,
 [receive {'DOWN', M, _, _, {streams, _}} -> ok end || _ <- [1, 2], {_, M} <- [spawn_monitor(Turn)]],
 yes = Call(), ok = distlink:class(self(), bulk), yes = Call(), ok = distlink:class(fast, bulk), [] = distlink:classes(), io:format("classes ok~n")`)
	a.Expect("classes ok", patience)
}

// A name has its class before anybody is registered so, and for each who is after
// another; what has ended is forgotten, and there is a cap. What is no class, no
// process and no name is refused, and the server goes on.
func TestClassTable(t *testing.T) {
	a := pair(t, `B = 'b@`+addrB+`', pong = net_adm:ping(B), ok = distlink:class(later, control),
 Until = fun F(G) -> case G() of true -> ok; _ -> receive after 20 -> F(G) end end end, Idle = fun() -> receive after infinity -> ok end end,
 Told = fun() -> element(4, sys:get_state(distlink)) end, Key = fun(P) -> distlink_stream:key(P) end,
 [begin P = spawn(Idle), register(later, P), Until(fun() -> Told() =:= #{Key(P) => control} end), exit(P, kill), Until(fun() -> Told() =:= #{} end) end || _ <- [1, 2]],
 Ps = [spawn(Idle) || _ <- lists:seq(1, 999)], [ok = distlink:class(P, configured) || P <- Ps], ok = distlink:class(self(), control), {error, system_limit} = distlink:class(spawn(Idle), control),
 ok = distlink:class(self(), bulk), ok = distlink:class(hd(Ps), control), [exit(P, kill) || P <- Ps], Until(fun() -> distlink:classes() =:= [{later, control}] end),
 ok = distlink:class(spawn(fun() -> ok end), control), Until(fun() -> distlink:classes() =:= [{later, control}] end),
 [{error, _} = distlink:class(W, C) || {W, C} <- [{undefined, control}, {"later", control}, {self(), 3}, {self(), gold}, {42, bulk}]], ok = distlink:class(later, bulk), [] = distlink:classes(), pong = net_adm:ping(B), io:format("table ok~n")`)
	a.Expect("table ok", 2*patience)
}

// A short call of a process with a class does not wait behind what bulk has
// queued, on the stream that it would share with it.
func TestClassOrder(t *testing.T) {
	a := pair(t, fmt.Sprintf(`rpc:call('b@%[1]s', code, ensure_loaded, [distlink_oracle]), spawn(fun() -> F = fun F(I) -> ok = distlink:class(whereis(init), lists:nth(1 + I rem 2, [control, bulk])), receive after 3 -> F(I + 1) end end, F(0) end),
 Sink = spawn('b@%[1]s', erlang, apply, [fun() -> F = fun F(N) -> receive {N, _} -> F(N + 1); {done, P} -> P ! {got, N} end end, F(0) end, []]),
 Me = self(), spawn(fun() -> [begin N rem 50 =:= 0 andalso distlink:class(self(), lists:nth(1 + N div 50 rem 3, [control, bulk, configured])), Sink ! {N, binary:copy(<<0>>, N rem 7 * 8000)} end || N <- lists:seq(0, 599)], Sink ! {done, Me} end),
 receive {got, N} -> io:format("got ~p~n", [N]) end`, addrB))
	if l := a.Expect("got", 4*patience); l != "got 600" {
		t.Error(l)
	}
}

// Each counter of a connection is in the manual.
func TestCountersAreDocumented(t *testing.T) {
	a := pair(t, `pong = net_adm:ping('b@`+addrB+`'), io:format("counters ~s~n", [lists:flatten(lists:join(" ", [atom_to_list(K) || K <- maps:keys(distlink:info('b@`+addrB+`'))]))])`)
	manual, err := os.ReadFile("../docs/distlink.md")
	if err != nil {
		t.Fatal(err)
	}
	line := a.Expect("counters", patience)
	keys := regexp.MustCompile(`[a-z0-9_]+`).FindAllString(strings.ReplaceAll(line, `" "`, " "), -1)[1:]
	if len(keys) < 30 {
		t.Errorf("only %v", keys)
	}
	for _, k := range keys {
		if !strings.Contains(string(manual), "`"+k+"`") {
			t.Errorf("docs/distlink.md does not say what %s is", k)
		}
	}
}

// Events come, a handler that fails is detached, and any node may ask another
// for its connections.
func TestEvents(t *testing.T) {
	a := pair(t, `Me = self(), ok = distlink:attach(mine, [[distlink, nodeup], [distlink, nodedown]], fun(E, _, M, C) -> Me ! {C, E, M} end, cfg),
 {error, already_exists} = distlink:attach(mine, [], fun(_, _, _, _) -> ok end, x),
 ok = distlink:attach(bad, [[distlink, nodeup]], fun(_, _, _, _) -> exit(bad) end, x), logger:set_primary_config(level, none),
 pong = net_adm:ping('b@`+addrB+`'), receive {cfg, [distlink, nodeup], #{node := 'b@`+addrB+`', peer := {{127,0,0,2}, _}}} -> ok end,
 {ok, [{_, #{rtt_us := _, queued := _}}]} = gen_server:call({distlink, 'b@`+addrB+`'}, stats),
 {error, not_found} = distlink:detach(bad), [{'b@`+addrB+`', _}] = distlink:info(),
 exit(whereis(distlink), kill), receive after 100 -> ok end, pong = net_adm:ping('b@`+addrB+`'), ok = distlink:attach(mine, [[distlink, nodedown]], fun(E, _, M, C) -> Me ! {C, E, M} end, anew),
 erlang:disconnect_node('b@`+addrB+`'), receive {anew, [distlink, nodedown], #{node := _, reason := _}} -> io:format("events ok~n") end`)
	a.Expect("events ok", patience)
}

// Loss and a full budget are events.
func TestTroubleIsTold(t *testing.T) {
	a := badly(t, "", fmt.Sprintf(`Me = self(), ok = distlink:attach(mine, [[distlink, congestion], [distlink, suspended]], fun([_, E], N, #{node := 'b@%[1]s'}, _) -> Me ! {E, N} end, x),
 spawn(fun() -> [{nobody, 'b@%[1]s'} ! binary:copy(<<0>>, 4000000) || _ <- lists:seq(1, 60)] end),
 receive {congestion, #{retransmitted := R, rtt_us := _}} when R > 0 -> ok end, receive {suspended, #{queued := Q}} when Q > 0 -> ok end, io:format("told ok~n"), %[2]s`, addrRelay, sleep))
	a.Expect("told ok", 2*patience)
}
