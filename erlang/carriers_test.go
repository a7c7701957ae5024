package erlang_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// The same traffic over each carrier of gen_dist: the checks of the benchmark,
// the oracle's random signals, much in both directions at once, and the end of
// a node.
func TestCarriers(t *testing.T) {
	for _, carrier := range []string{"distlink", "distlink_uds"} {
		t.Run(carrier, func(t *testing.T) {
			port := beamtest.Port(t, addrA, addrB)
			dir, err := os.MkdirTemp("", "uds") // a socket's path has to be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			args := func(ip string) []string { return []string{"-distlink_ip", ip, "-distlink_uds", dir} }
			b := beamtest.Start(t, carrier, "b@"+addrB, port, sleep, args(addrB)...)
			a := beamtest.Start(t, carrier, "a@"+addrA, port, fmt.Sprintf(`io:format("checked ~p~n", [distlink_bench:check('%[1]s')]),
 net_kernel:monitor_nodes(true), R = distlink_oracle:run('%[1]s', 7, 300), io:format("oracle ~0p~n", [R]),
 Big = binary:copy(<<0>>, 3000000), Me = self(), [spawn(fun() -> Me ! rpc:call('%[1]s', erlang, byte_size, [rpc:call('%[1]s', binary, copy, [Big])]) end) || _ <- lists:seq(1, 8)],
 [receive 3000000 -> ok end || _ <- lists:seq(1, 8)], {ok, I} = net_kernel:node_info('%[1]s'), io:format("both ways ~p~n", [element(4, proplists:get_value(address, I))]),
 receive {nodedown, _} -> io:format("nodedown~n") end, %[2]s`, b.Name, sleep), args(addrA)...)
			checkLines(t, a)
			if l := a.Expect("oracle", patience*2); !strings.HasPrefix(l, "oracle {ok,") {
				t.Error(l)
			}
			if l := a.Expect("both ways", patience*2); l != "both ways "+carrier {
				t.Error(l)
			}
			b.Kill()
			a.Expect("nodedown", patience)
			// What it has left is no obstacle.
			b = beamtest.Start(t, carrier, b.Name, port, sleep, args(addrB)...)
			b.Kill()
		})
	}
}

// A second node of a name and a directory that there is not are refused with words.
func TestUnixSocketRefused(t *testing.T) {
	dir, err := os.MkdirTemp("", "uds")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port := beamtest.Port(t, addrA)
	beamtest.Start(t, "distlink_uds", "a@"+addrA, port, sleep, "-distlink_uds", dir)
	for want, args := range map[string][]string{
		"duplicate_name": {"-distlink_uds", dir},
		"enoent":         {"-distlink_uds", filepath.Join(dir, "nothing")},
		"distlink_uds":   {},
	} {
		if out := beamtest.BootFails(t, "distlink_uds", "a@"+addrA, port, args...); !strings.Contains(out, want) {
			t.Errorf("%s is not said:\n%s", want, out)
		}
	}
}
