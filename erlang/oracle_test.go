package erlang_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

var soak = flag.Duration("soak", 0, "how long TestSoak sends random signals; 0: it is left out")

// oracle is an expression that runs random signals and prints what came of it.
func oracle(peer string, runs, steps int) string {
	return fmt.Sprintf(`R = (fun F(0) -> ok; F(N) -> case distlink_oracle:run('%s', N, %d) of {ok, _} -> F(N - 1); Bad -> {N, Bad} end end)(%d), io:format("oracle ~0p~n", [R])`, peer, steps, runs)
}

// known is an expression that prints whether each side knew whom each packet was of.
func known(peer string) string {
	return fmt.Sprintf(`{ok, #{unknown := Here}} = distlink:stats('%[1]s'), {ok, #{unknown := There}} = rpc:call('%[1]s', distlink, stats, [node()]), io:format("unknown ~p ~p~n", [Here, There])`, peer)
}

// allKnown reads what known prints.
func allKnown(t *testing.T, a *beamtest.Node) {
	t.Helper()
	if l := a.Expect("unknown", patience); l != "unknown 0 0" {
		t.Error(l)
	}
}

func passes(t *testing.T, a *beamtest.Node) {
	t.Helper()
	if l := a.Expect("oracle", 3*time.Minute); l != "oracle ok" {
		t.Error(l)
	}
}

// What the oracle says is true of Erlang: stock distribution passes it.
func TestOracleOnTCP(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	on := func(address string) []string {
		return []string{"-kernel", "inet_dist_use_interface", "{" + strings.ReplaceAll(address, ".", ",") + "}"}
	}
	b := beamtest.Start(t, "inet_tcp", "b@"+addrB, port, sleep, on(addrB)...)
	a := beamtest.Start(t, "inet_tcp", "a@"+addrA, port, oracle(b.Name, 1, 300)+", "+sleep, on(addrA)...)
	passes(t, a)
}

// And so does distlink, on a good network.
func TestOracle(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, oracle(b.Name, 2, 300)+", "+known(b.Name)+", "+sleep, "-distlink_ip", addrA)
	passes(t, a)
	allKnown(t, a)
}

// badRelay is a network in front of addrB that loses 5 % of the datagrams, sends
// 5 % twice and holds 10 % back. It returns the port of the nodes.
func badRelay(t *testing.T) int {
	t.Helper()
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port),
		&beamtest.Relay{Loss: 0.05, Duplicate: 0.05, Reorder: 0.1, Late: 4 * time.Millisecond})
	return port
}

// badly starts two nodes with a bad network between them. code replaces modules.
func badly(t *testing.T, code, eval string) *beamtest.Node {
	t.Helper()
	port, name := badRelay(t), "b@"+addrRelay
	var patched []string
	if code != "" {
		patched = []string{"-pa", code}
	}
	beamtest.Start(t, "distlink", name, port, sleep, append(patched, "-distlink_ip", addrB)...)
	return beamtest.Start(t, "distlink", "a@"+addrA, port, eval, append(patched, "-distlink_ip", addrA)...)
}

// And on a bad one.
func TestOracleOnBadNetwork(t *testing.T) {
	passes(t, badly(t, "", oracle("b@"+addrRelay, 2, 300)+", "+sleep))
}

// TestSoak is as long as it is told to be: make soak-dist.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("it is for -soak")
	}
	a := badly(t, "", fmt.Sprintf(`io:format("oracle ~0p~n", [distlink_oracle:soak('b@%s', 1000, %d)]), %s`, addrRelay, int(soak.Seconds()), sleep))
	l := a.Expect("oracle", *soak+5*time.Minute)
	if !strings.HasPrefix(l, "oracle {ok,") {
		t.Error(l)
	}
	t.Log(l)
}

// The oracle is worth its name: each rule of order that distlink_stream does
// without is found out.
func TestOracleFindsFaults(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("src", "distlink_stream.erl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, from, to string }{
		{"packets of one process on several streams", "{pid, Key} -> {1 + erlang:phash2(Key, ?STREAMS), none};", "{pid, _} -> {rand:uniform(?STREAMS), none};"},
		{"a name is not after all before it", "name -> {0, after_all};", "name -> {0, none};"},
		{"spawn replies are on a stream of their own", "sender(<<104, _, 97, Op, T/binary>>) when Op =:= 31; Op =:= 32 -> spawned(T);", "sender(<<104, _, 97, Op, _/binary>>) when Op =:= 31; Op =:= 32 -> {pid, reply};"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			beamtest.Code(t) // skips without Erlang
			bad := strings.Replace(string(source), c.from, c.to, 1)
			if bad == string(source) {
				t.Fatalf("the module does not say %s", c.from)
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "distlink_stream.erl")
			if err := os.WriteFile(file, []byte(bad), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := beamtest.Stock.Compile(dir, file); err != nil {
				t.Fatal(err)
			}
			a := badly(t, dir, oracle("b@"+addrRelay, 20, 300)+", "+sleep)
			if l := a.Expect("oracle", 3*time.Minute); l == "oracle ok" {
				t.Error("nothing was noticed")
			} else {
				t.Log(l)
			}
		})
	}
}
