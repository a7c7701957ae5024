package erlang_test

import (
	"fmt"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// A cluster moves node by node: a stock node, one that has TCP beside distlink,
// and one that has distlink alone. Each connection takes the best that both ends
// have, whoever begins.
func TestRollingMigration(t *testing.T) {
	const addrC = "127.0.0.3"
	kind := map[string]struct {
		carrier string
		args    func(ip string) []string
	}{
		"stock": {"inet_tcp", func(ip string) []string {
			return []string{"-kernel", "inet_dist_use_interface", "{" + strings.ReplaceAll(ip, ".", ",") + "}"}
		}},
		"both": {"distlink", func(ip string) []string { return []string{"-distlink_ip", ip, "-distlink_tcp", "true"} }},
		"new":  {"distlink", func(ip string) []string { return []string{"-distlink_ip", ip} }},
	}
	for _, c := range []struct{ from, to, protocol string }{
		{"stock", "both", "tcp"},
		{"both", "stock", "tcp"},
		{"both", "both", "distlink"},
		{"both", "new", "distlink"},
		{"new", "both", "distlink"},
		{"new", "stock", ""},
	} {
		t.Run(c.from+"_to_"+c.to, func(t *testing.T) {
			port := beamtest.Port(t, addrA, addrC)
			from, to := kind[c.from], kind[c.to]
			beamtest.Start(t, to.carrier, "b@"+addrC, port, sleep, to.args(addrC)...)
			eval := fmt.Sprintf(`case net_adm:ping('b@%[1]s') of pong -> {ok, I} = net_kernel:node_info('b@%[1]s'), {net_address, _, _, P, inet} = proplists:get_value(address, I),
 Big = binary:copy(<<0>>, 1000000), Big = rpc:call('b@%[1]s', binary, copy, [Big]), io:format("protocol ~s~n", [P]); pang -> io:format("protocol ~n") end, %[2]s`, addrC, sleep)
			a := beamtest.Start(t, from.carrier, "a@"+addrA, port, eval, from.args(addrA)...)
			if l := a.Expect("protocol", patience); l != "protocol "+c.protocol {
				t.Errorf("%s, want %s", l, c.protocol)
			}
		})
	}
}

// What is neither true nor false is said.
func TestBadTCPOption(t *testing.T) {
	out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_tcp", "maybe")
	if !strings.Contains(out, "distlink_tcp") {
		t.Errorf("the message does not name the option:\n%s", out)
	}
}
