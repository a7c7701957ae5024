package erlang_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

// What people use of net_kernel works: connect_node, node_info, nodes_info,
// setopts and getopts, hidden nodes.
func TestNetKernel(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`B = '%[1]s', true = net_kernel:connect_node(B), [] = nodes(), [B] = nodes(hidden),
 [a_hidden] = [a_hidden || N <- rpc:call(B, erlang, nodes, [hidden]), N =:= node()],
 {ok, [{B, I}]} = net_kernel:nodes_info(), up = proplists:get_value(state, I), hidden = proplists:get_value(type, I), true = proplists:get_value(in, I) > 0,
 ok = net_kernel:setopts(B, [{priority, 5}]), ok = net_kernel:setopts(B, [{rate, 30000}]), pong = net_adm:ping(B), #{rate := 30000} = distlink:info(B),
 {ok, [{priority, 5}, {rate, 30000}]} = net_kernel:getopts(B, [rate, priority, nodelay]),
 {error, {badarg, [{nodelay, true}]}} = net_kernel:setopts(B, [{nodelay, true}]),
 true = is_map(rpc:call(B, erlang, apply, [fun() -> maps:from_list(erlang:memory()) end, []])), true = is_list(rpc:call(B, erlang, processes, [])),
 Group = rpc:call(B, erlang, group_leader, []), true = node() =:= node(Group), io:format("net_kernel ok~n"), %[2]s`, b.Name, sleep), "-hidden", "-distlink_ip", addrA)
	a.Expect("net_kernel ok", patience)
}

// What runs on connected nodes runs over distlink: global names and locks, pg,
// rpc and erpc in all their forms, what recon asks, io to another node's leader,
// and disconnect_node with a connection that comes back.
func TestTools(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, `{ok, _} = pg:start_link(), P = spawn(fun F() -> receive {who, From} -> From ! {me, self()}, F() end end), ok = pg:join(team, P), yes = global:register_name(boss, P), `+sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`B = '%[1]s', {ok, _} = pg:start_link(), true = net_kernel:connect_node(B), ok = global:sync(),
 Until = fun F(G) -> case G() of true -> ok; _ -> receive after 20 -> F(G) end end end,
 Until(fun() -> is_pid(global:whereis_name(boss)) end), global:send(boss, {who, self()}), Boss = receive {me, X} -> X end, B = node(Boss), no = global:register_name(boss, self()),
 true = global:trans({lock, self()}, fun() -> true end), Until(fun() -> pg:get_members(team) =:= [Boss] end),
 [{ok, B}] = erpc:multicall([B], erlang, node, []), {[B], []} = rpc:multicall([B], erlang, node, []), B = rpc:yield(rpc:async_call(B, erlang, node, [])), B = erpc:receive_response(erpc:send_request(B, erlang, node, [])),
 [{memory, M}, {message_queue_len, 0}] = rpc:call(B, erlang, process_info, [Boss, [memory, message_queue_len]]), true = M > 0, true = lists:keymember(B, 1, [{N, x} || N <- nodes()]),
 {ok, _} = erpc:call(B, application, get_key, [kernel, vsn]), io:format(rpc:call(B, erlang, whereis, [user]), "said over there~n", []),
 Self = self(), Q = spawn_link(B, fun() -> process_flag(trap_exit, true), Self ! up, receive {'EXIT', _, R} -> exit(R) end end), receive up -> ok end, unlink(Q), R = monitor(process, Q), exit(Q, bye), receive {'DOWN', R, _, _, bye} -> ok end,
 net_kernel:monitor_nodes(true), true = erlang:disconnect_node(B), receive {nodedown, B} -> ok end, Until(fun() -> net_adm:ping(B) =:= pong end), receive {nodeup, B} -> ok end, Until(fun() -> is_pid(global:whereis_name(boss)) end),
 io:format("tools ok~n"), %[2]s`, b.Name, sleep), "-distlink_ip", addrA)
	a.Expect("tools ok", 2*patience)
	b.Expect("said over there", patience)
}

// A remote shell, which has to have a terminal.
func TestRemoteShell(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("script is not installed (Debian: apt-get install bsdutils)")
	}
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	cmd := exec.Command("script", "-qfc", fmt.Sprintf("exec erl -pa %s -proto_dist distlink -distlink_security none -setcookie c -start_epmd false -erl_epmd_port %d -name me@%s -distlink_ip %[3]s -hidden -remsh %[4]s",
		beamtest.Code(t), port, addrA, b.Name), "/dev/null")
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null", "TERM=xterm", "HOME="+t.TempDir())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
	defer func() { limit.Stop(); _ = in.Close(); _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var said []byte
	until := func(text string) {
		t.Helper()
		for b := make([]byte, 4096); !bytes.Contains(said, []byte(text)); {
			n, err := out.Read(b)
			said = append(said, b[:n]...)
			if err != nil {
				t.Fatalf("the shell does not say %s: %v\n%q", text, err, said)
			}
		}
	}
	until("(" + b.Name + ")1>")
	if _, err := io.WriteString(in, "{here,length(distlink:info())}.\n"); err != nil {
		t.Fatal(err)
	}
	until("{here,1}")
}

// What observer shows of a node comes from its backend there.
func TestObserverBackend(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	if exec.Command("erl", "-noshell", "-eval", "{module, _} = code:ensure_loaded(observer_backend), halt(0).").Run() != nil {
		t.Skip("Erlang's runtime_tools are not installed (Debian: apt-get install erlang-runtime-tools)")
	}
	a := pair(t, `B = 'b@`+addrB+`', pong = net_adm:ping(B), true = length(rpc:call(B, observer_backend, sys_info, [])) > 10, Self = self(),
 P = spawn_link(B, observer_backend, procs_info, [Self]), L = (fun F(Acc) -> receive {procs_info, P, More} -> F(More ++ Acc); {'EXIT', P, _} -> Acc after 500 -> Acc end end)([]), true = length(L) > 20, io:format("observer ok~n")`)
	a.Expect("observer ok", patience)
}

// `user' does not run when the distribution starts: one io:format there is a boot
// that never ends.
func TestNothingPrintsAtBoot(t *testing.T) {
	prints := regexp.MustCompile(`\b(io|file):\w+\(`)
	files, err := filepath.Glob("src/*.erl")
	if err != nil || len(files) < 15 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		switch filepath.Base(file) {
		case "distlink_bench.erl", "distlink_rpc.erl": // run when all is up, to print
			continue
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := prints.FindString(string(b)); found != "" {
			t.Errorf("%s calls %s", file, found)
		}
	}
}
