package erlang_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

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
