// Package erlang_test runs the Erlang carrier in real nodes on loopback.
package erlang_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	beamtest.Cleanup()
	os.Exit(code)
}

const (
	addrA, addrB, addrRelay = "127.0.0.1", "127.0.0.2", "127.0.0.3"
	sleep                   = "receive after infinity -> ok end"
)

// checkLines reads the lines of distlink_bench:check/1.
func checkLines(t *testing.T, a *beamtest.Node) {
	t.Helper()
	for {
		l := a.Line(patience)
		if l == "checked ok" {
			return
		}
		if strings.Contains(l, `"ok":false`) || strings.HasPrefix(l, "checked") {
			t.Error(l)
		}
		if strings.HasPrefix(l, "checked") {
			return
		}
	}
}

func check(peer string) string {
	return fmt.Sprintf(`io:format("checked ~p~n", [distlink_bench:check('%s')]), %s`, peer, sleep)
}

// Ping, message, link, monitor, 1 MB and order between two nodes.
func TestCheckOverLoopback(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, check(b.Name), "-distlink_ip", addrA, "-distlink_rate", "1000000", "-distlink_priority", "6")
	checkLines(t, a)
}

// The same through a network that loses, duplicates and reorders.
func TestCheckThroughLossyRelay(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay // its address is the relay's
	relay := beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port),
		&beamtest.Relay{Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Late: 2 * time.Millisecond})
	beamtest.Start(t, "distlink", name, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`[ok = distlink_bench:check('%s') || _ <- lists:seq(1, 3)], {ok, S} = distlink:stats('%s'), io:format("checked ok~nretransmitted ~p~n", [maps:get(retransmitted, S)]), %s`, name, name, sleep), "-distlink_ip", addrA)
	checkLines(t, a)
	if l := a.Expect("retransmitted", patience); l == "retransmitted 0" || relay.Drops() == 0 {
		t.Errorf("%s with %d drops: the network was too good for a test", l, relay.Drops())
	}
}

const watchDown = `net_kernel:monitor_nodes(true, #{node_type => all, nodedown_reason => true}), pong = net_adm:ping('%s'), io:format("connected~n"),
 receive {nodedown, _, #{nodedown_reason := R}} -> io:format("nodedown ~p~n", [R]) end, ` + sleep

// kill -9 of the peer is nodedown within the keep-alive bound.
func TestPeerKilled(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(watchDown, b.Name), "-distlink_ip", addrA)
	a.Expect("connected", patience)
	b.Kill()
	start := time.Now()
	a.Expect("nodedown net_tick_timeout", patience)
	t.Logf("nodedown after %v, keep-alive is 0.9 s", time.Since(start))
}

// A disconnect is told to the peer: nodedown long before the keep-alive.
func TestPeerDisconnects(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port,
		`net_kernel:monitor_nodes(true), receive {nodeup, N} -> receive after 300 -> ok end, io:format("leaving~n"), erlang:disconnect_node(N) end, `+sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(watchDown, b.Name), "-distlink_ip", addrA)
	a.Expect("connected", patience)
	b.Expect("leaving", patience)
	start := time.Now()
	a.Expect("nodedown connection_closed", patience)
	t.Logf("nodedown after %v", time.Since(start))
}

// Total loss in the middle of traffic is nodedown on both sides, never silence.
func TestBlackHole(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay
	relay := beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port), &beamtest.Relay{})
	// b must not call a, which it can reach, before a knows.
	b := beamtest.Start(t, "distlink", name, port,
		`net_kernel:monitor_nodes(true), receive {nodedown, _} -> io:format("nodedown~n") end, `+sleep, "-distlink_ip", addrB, "-distlink_keepalive", "400", "-kernel", "dist_auto_connect", "never")
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`spawn(fun() -> receive after 200 -> ok end, F = fun F() -> {x, '%s'} ! binary:copy(<<0>>, 1000), receive after 1 -> F() end end, F() end), `, name)+fmt.Sprintf(watchDown, name),
		"-distlink_ip", addrA, "-distlink_keepalive", "400")
	a.Expect("connected", patience)
	relay.Black()
	start := time.Now()
	a.Expect("nodedown net_tick_timeout", patience)
	b.Expect("nodedown", patience)
	t.Logf("nodedown after %v, keep-alive is 0.4 s", time.Since(start))
}

// The wrong cookie and a closed port give pang and no crash.
func TestRefused(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`erlang:set_cookie('%[1]s', wrong), io:format("~p~n", [net_adm:ping('%[1]s')]), erlang:set_cookie('%[1]s', c), io:format("~p~n", [net_adm:ping('%[1]s')]), %[2]s`, b.Name, sleep),
		"-distlink_ip", addrA)
	a.Expect("pang", patience)
	a.Expect("pong", patience)
}

// Where nobody listens the kernel's ICMP errors are the answer, as a reset is
// for TCP; who sends to a node that is down need not wait for a time-out.
func TestNobodyThere(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`io:format("~p ~p~n", [net_adm:ping('b@%s'), distlink_controller:connect({127,0,0,2}, %d, any, 60000)]), %s`, addrB, port, sleep), "-distlink_ip", addrA)
	if l := a.Expect("pang", patience); l != "pang {error,econnrefused}" {
		t.Error(l)
	}
}

// A bad option stops the boot with words, not with a hang.
func TestBadOption(t *testing.T) {
	out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_rate", "fast")
	if !strings.Contains(out, "distlink_rate") {
		t.Errorf("the message does not name the option:\n%s", out)
	}
}

// ruleLines runs an expression that prints "ok" or "bad" lines and then "end".
func ruleLines(t *testing.T, expr string, least int) {
	t.Helper()
	ruleLinesOn(t, beamtest.Stock, expr, least)
}

func ruleLinesOn(t *testing.T, erl beamtest.Erlang, expr string, least int) {
	t.Helper()
	port := beamtest.Port(t, addrA)
	a := erl.Start(t, "distlink", "a@"+addrA, port, expr+", "+sleep, "-distlink_ip", addrA)
	good := 0
	for l := a.Line(patience); l != "end"; l = a.Line(patience) {
		if !strings.HasPrefix(l, "ok ") {
			t.Error(l)
			continue
		}
		good++
	}
	if good < least {
		t.Errorf("only %d lines", good)
	}
}

func goTestdata(t *testing.T, name string) string {
	t.Helper()
	file, err := filepath.Abs("../distlink/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// The Go package's golden packets.
func TestGoldenVectors(t *testing.T) {
	ruleLines(t, fmt.Sprintf(`distlink_vectors:check("%s")`, goTestdata(t, "vectors.txt")), 20)
}

// The Go package's set-up with keys and sealed packets.
func TestSecurityVectors(t *testing.T) {
	needCrypto(t)
	ruleLines(t, fmt.Sprintf(`distlink_security:check("%s")`, goTestdata(t, "security.txt")), 32)
}

// With certificates: who is refused and why, and what a peer without proof gets in.
func TestProofRules(t *testing.T) {
	needCrypto(t)
	ruleLines(t, "distlink_proof:check()", 14)
}

// Which stream and fence each control message gets.
func TestOrderRules(t *testing.T) { ruleLines(t, "distlink_order:check()", 27) }

// Two ends in virtual time through random networks: what arrives is what was
// sent, in the order of each stream and fence, and a wake-up is always armed.
func TestSimulation(t *testing.T) {
	keys := "[]"
	if beamtest.HasCrypto(t) {
		keys = `[{<<"k">>, <<"0123456789abcdef">>}]`
	}
	ruleLines(t, fmt.Sprintf("distlink_sim:run(%d, %s)", *seeds, keys), *seeds)
}

var seeds = flag.Int("seeds", 60, "how many random networks")

// What a datagram of a higher class overtakes is not lost, and is not sent again.
func TestLanes(t *testing.T) { ruleLines(t, "distlink_sim:lanes()", 4) }

// Changed golden packets crash neither decoders nor a connection.
func TestFuzz(t *testing.T) {
	ruleLines(t, fmt.Sprintf(`distlink_sim:fuzz(10000, "%s")`, goTestdata(t, "vectors.txt")), 3)
}

// A mad peer fills each table up to its end and no further.
func TestTablesHaveAnEnd(t *testing.T) {
	ruleLines(t, fmt.Sprintf(`distlink_sim:hostile("%s")`, goTestdata(t, "vectors.txt")), 8)
}

func needCrypto(t *testing.T) {
	t.Helper()
	if !beamtest.HasCrypto(t) {
		t.Skip("Erlang's crypto application is not installed (Debian: apt-get install erlang-crypto)")
	}
}

// keyFile makes a file of keys.
func keyFile(t *testing.T, lines string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A capture of two real nodes is understood by distlink.lua and, behind it, by
// Wireshark's own dissector for the Erlang distribution.
func TestCapture(t *testing.T) {
	for _, tool := range []string{"tcpdump", "tshark"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian: apt-get install %s)", tool, tool)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("a capture needs root")
	}
	port := beamtest.Port(t, addrA, addrB)
	file := filepath.Join(t.TempDir(), "capture.pcap")
	dump := exec.Command("tcpdump", "--immediate-mode", "-U", "-Z", "root", "-i", "lo", "-w", file, "udp", "port", fmt.Sprint(port))
	said, err := dump.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dump.Process.Kill() }()
	if _, err := said.Read(make([]byte, 1000)); err != nil { // "listening on lo"
		t.Fatal(err)
	}
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`pong = net_adm:ping('%[1]s'), {nobody, '%[1]s'} ! binary:copy(<<"long">>, 25000), distlink_bench:rtt('%[1]s', 5, 1), {marker, '%[1]s'} ! x, io:format("done~n"), %[2]s`, b.Name, sleep), "-distlink_ip", addrA)
	a.Expect("done", patience)
	tick := time.NewTicker(20 * time.Millisecond) // the last that is looked for below
	defer tick.Stop()
	for range 3000 {
		if b, err := os.ReadFile(file); err == nil && bytes.Contains(b, []byte("marker")) {
			break
		}
		<-tick.C
	}
	_ = dump.Process.Signal(os.Interrupt)
	_ = dump.Wait()
	tshark := func(args ...string) string {
		out, err := exec.Command("tshark", append([]string{"-X", "lua_script:../distlink/distlink.lua", "-r", file}, args...)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	text := tshark("-Y", "erldp", "-O", "distlink,erldp")
	for _, want := range []string{"Tag: 'N'", "ControlMessage", "SEGMENT stream", "AtomText: nobody"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %d octets of text", want, len(text))
		}
	}
	if bad := tshark("-Y", "_ws.malformed or distlink.malformed or _ws.lua"); bad != "" {
		t.Errorf("malformed:\n%s", bad)
	}
}

const (
	keyOne = "one 000102030405060708090a0b0c0d0e0f\n"
	keyTwo = "two 101112131415161718191a1b1c1d1e1f\n"
)

// With keys, through a network that loses, duplicates and reorders; while keys
// are changed both are taken.
func TestKeys(t *testing.T) {
	needCrypto(t)
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay
	beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port),
		&beamtest.Relay{Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Late: 2 * time.Millisecond})
	beamtest.Start(t, "distlink", name, port, sleep, "-distlink_ip", addrB, "-distlink_psk", keyFile(t, "# two keys\n"+keyTwo+keyOne))
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`R = distlink_bench:check('%s'), {ok, #{security := psk, forged := 0}} = distlink:stats('%s'), io:format("checked ~p~n", [R]), %s`, name, name, sleep),
		"-distlink_ip", addrA, "-distlink_psk", keyFile(t, keyOne+keyTwo))
	checkLines(t, a)
}

// Another key, an unknown id, no security: refused, with words on the node that
// connects, and no crash.
func TestKeysRefused(t *testing.T) {
	needCrypto(t)
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB, "-distlink_psk", keyFile(t, keyOne))
	for why, args := range map[string][]string{
		"key is another":         {"-distlink_psk", keyFile(t, "one ffffffffffffffffffffffffffffffff\n")},
		"key id is unknown":      {"-distlink_psk", keyFile(t, keyTwo)},
		"wants a pre-shared key": {"-distlink_security", "none"},
	} {
		a := beamtest.Start(t, "distlink", "a@"+addrA, port,
			fmt.Sprintf(`{_, P, _, _} = {x, net_adm:ping('%[1]s'), x, x}, {error, {security, W}} = distlink_controller:connect({127,0,0,2}, %[2]d, any, 5000), io:format("~p because ~s~n", [P, W]), %[3]s`, b.Name, port, sleep),
			append(args, "-distlink_ip", addrA)...)
		if l := a.Expect("because", patience); !strings.HasPrefix(l, "pang") || !strings.Contains(l, why) {
			t.Errorf("%s: %s", why, l)
		}
		a.Kill()
	}
}

// What is wrong with keys is said at boot: nothing chosen, no such file, no key in it.
func TestBadKeys(t *testing.T) {
	needCrypto(t)
	for want, args := range map[string][]string{
		"distlink_security": {"-distlink_security", "some"},
		"enoent":            {"-distlink_psk", filepath.Join(t.TempDir(), "nothing")},
		"no key":            {"-distlink_psk", keyFile(t, "# nothing\n")},
		"not hexadecimal":   {"-distlink_psk", keyFile(t, "one 0123456789abcdef0123456789abcdeg\n")},
		"at least 16":       {"-distlink_psk", keyFile(t, "one 0123\n")},
	} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), append(args, "-distlink_ip", addrA)...)
		if !strings.Contains(out, want) {
			t.Errorf("%s is not said:\n%s", want, out)
		}
	}
}

// A node whose address changes behind a relay is followed; and one that opens
// another socket itself.
func TestPeerMoves(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay
	relay := beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port), &beamtest.Relay{})
	b := beamtest.Start(t, "distlink", name, port,
		`net_kernel:monitor_nodes(true), receive {nodeup, N} -> F = fun F(M) -> case distlink:stats(N) of {ok, #{moves := M}} -> io:format("moves ~p~n", [M]), F(M + 1); _ -> receive {nodedown, _} -> io:format("nodedown~n") after 20 -> F(M) end end end, F(1) end`,
		"-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`pong = net_adm:ping('%[1]s'), spawn(fun() -> F = fun F() -> {x, '%[1]s'} ! x, receive after 5 -> F() end end, F() end), io:format("connected~n"),
 receive after 300 -> ok end, io:format("more~n"), [C] = [P || P <- processes(), {dictionary, D} <- [process_info(P, dictionary)], lists:member({distlink_node, '%[1]s'}, D)], receive after 1500 -> ok end,
 ok = distlink_controller:rebind(C, #{priority => 5, rate => 50000}), distlink_bench:rtt('%[1]s', 50, 1), io:format("calls ok~n"), %[2]s`, name, sleep),
		"-distlink_ip", addrA, "-distlink_keepalive", "5000")
	a.Expect("more", patience)
	relay.Move(t)
	b.Expect("moves 1", patience)
	b.Expect("moves 2", patience)
	a.Expect("calls ok", patience)
}

// The benchmark's checks are about Erlang, not about us: stock TCP passes too.
func TestBenchOverTCP(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "inet_tcp", "b@"+addrB, port, sleep, "-kernel", "inet_dist_use_interface", "{127,0,0,2}")
	a := beamtest.Start(t, "inet_tcp", "a@"+addrA, port, check(b.Name), "-kernel", "inet_dist_use_interface", "{127,0,0,1}")
	checkLines(t, a)
}

// Several nodes on one listener: each connection has its own socket on the
// listening port, and none takes another's datagrams.
func TestManyPeers(t *testing.T) {
	addresses := []string{"127.0.0.11", "127.0.0.12", "127.0.0.13", addrB}
	port := beamtest.Port(t, addresses...)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	var nodes []*beamtest.Node
	for _, ip := range addresses[:3] {
		nodes = append(nodes, beamtest.Start(t, "distlink", "n@"+ip, port,
			fmt.Sprintf(`pong = net_adm:ping('%[1]s'), distlink_bench:rtt('%[1]s', 20, 1), io:format("calls ok ~p~n", [length(distlink:info()) > 0]), %[2]s`, b.Name, sleep),
			"-distlink_ip", ip))
	}
	for _, n := range nodes {
		n.Expect("calls ok true", patience)
	}
}

// A peer that was killed and came back answers for connections it does not
// know with RESET: nodedown, then a new connection to the new incarnation.
func TestPeerRestarts(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`net_kernel:monitor_nodes(true), pong = net_adm:ping('%[1]s'), io:format("connected~n"),
 receive {nodedown, _} -> io:format("nodedown~n") end,
 F = fun F() -> case net_adm:ping('%[1]s') of pong -> io:format("again~n"); pang -> receive after 50 -> F() end end end, F(), %[2]s`, b.Name, sleep),
		"-distlink_ip", addrA, "-distlink_keepalive", "20000")
	a.Expect("connected", patience)
	b.Kill()
	beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	a.Expect("nodedown", patience) // the first PING after a quarter of the keep-alive meets the new node
	a.Expect("again", patience)
}

// 1 % loss: calls 2 ms apart have a 99th percentile far below a TCP time-out
// of 200 ms. The bound is loose for busy machines; the figure is logged.
func TestPacedCallsUnderLoss(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB, addrRelay)
	name := "b@" + addrRelay
	beamtest.NewRelay(t, fmt.Sprintf("%s:%d", addrRelay, port), fmt.Sprintf("%s:%d", addrB, port), &beamtest.Relay{Loss: 0.01})
	beamtest.Start(t, "distlink", name, port, sleep, "-distlink_ip", addrB)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port,
		fmt.Sprintf(`{P50, P99, Max, _} = distlink_bench:rtt('%s', 500, 2), io:format("rtt ~p ~p ~p~n", [P50, P99, Max]), %s`, name, sleep), "-distlink_ip", addrA)
	var p50, p99, most int
	l := a.Expect("rtt", patience)
	if _, err := fmt.Sscanf(l, "rtt %d %d %d", &p50, &p99, &most); err != nil {
		t.Fatal(l, err)
	}
	t.Logf("p50 %d us, p99 %d us, max %d us", p50, p99, most)
	if p99 > 100_000 {
		t.Errorf("p99 is %d us", p99)
	}
}

// Both nodes connect to each other at the same instant, again and again: one
// attempt is told "nok" and must wait for the other to win, not fail.
func TestSimultaneousConnect(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	connect := func(peer string) string {
		return fmt.Sprintf(`(fun Up() -> case net_adm:ping('%[1]s') of pong -> ok; _ -> receive after 100 -> Up() end end end)(), F = fun F(0) -> io:format("all true~n"); F(I) -> M = 300 - (erlang:system_time(millisecond) rem 300), receive after M -> ok end,
 case net_kernel:connect_node('%[1]s') of true -> ok; R -> io:format("connect ~p~n", [R]) end, receive after 100 -> ok end, erlang:disconnect_node('%[1]s'), F(I - 1) end, F(8), %[2]s`, peer, sleep)
	}
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, connect("b@"+addrB), "-distlink_ip", addrA)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, connect("a@"+addrA), "-distlink_ip", addrB)
	for _, n := range []*beamtest.Node{a, b} {
		for {
			l := n.Line(patience)
			if l == "all true" {
				break
			}
			if strings.HasPrefix(l, "connect ") {
				t.Errorf("%s: %s", n.Name, l)
			}
		}
	}
}
