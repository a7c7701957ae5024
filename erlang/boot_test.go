package erlang_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// Nodes find each other by a static map, on the command line or in kernel's
// environment, with a port each and no port mapper, whatever their names say.
func TestStaticMap(t *testing.T) {
	one, two := beamtest.Port(t, addrA), beamtest.Port(t, addrB)
	nobody := fmt.Sprintf("127.0.0.1:%d", beamtest.TCPPort(t)) // no port mapper there
	b := beamtest.StartEPMD(t, "distlink", "b@plant.invalid", nobody, sleep, "-distlink_ip", addrB, "-distlink_port", fmt.Sprint(two),
		"-kernel", "distlink_nodes", fmt.Sprintf("[{'a@office.invalid',{127,0,0,1},%d}]", one))
	a := beamtest.StartEPMD(t, "distlink", "a@office.invalid", nobody,
		fmt.Sprintf(`P = net_adm:ping('%[1]s'), R = rpc:call('%[1]s', net_adm, ping, [node()]), true = erlang:disconnect_node('%[1]s'), io:format("~p ~p~n", [P, R]), %[2]s`, b.Name, sleep),
		"-distlink_ip", addrA, "-distlink_port", fmt.Sprint(one), "-distlink_nodes", "c@x.invalid=10.0.0.1", fmt.Sprintf("%s=%s:%d", b.Name, addrB, two))
	a.Expect("pong pong", patience)
}

// A name in the map is for DNS, or the hosts file; the one port of all is used
// where the map says none.
func TestMapByName(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@plant.invalid", port, sleep, "-distlink_ip", addrA)
	a := beamtest.Start(t, "distlink", "a@office.invalid", port,
		fmt.Sprintf(`io:format("~p ~p~n", [net_adm:ping('%s'), net_adm:ping('x@nowhere.invalid')]), %s`, b.Name, sleep),
		"-distlink_ip", addrB, "-distlink_nodes", b.Name+"=localhost")
	a.Expect("pong pang", patience)
}

// What is wrong with the map is said at boot.
func TestBadMap(t *testing.T) {
	for _, bad := range []string{"b@x", "b@x=", "=1.2.3.4", "b@x=1.2.3.4:0", "b@x=1.2.3.4:many"} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_nodes", bad)
		if !strings.Contains(out, "distlink_nodes") || !strings.Contains(out, bad) {
			t.Errorf("%s is not said:\n%s", bad, out)
		}
	}
}

// Without a port mapper and without a port that is known, a node does not start,
// and says why; with a port it does (TestStaticMap).
func TestNoPortMapper(t *testing.T) {
	cmd := exec.Command("erl", "-noshell", "-pa", beamtest.Code(t), "-proto_dist", "distlink", "-name", "a@"+addrA, "-distlink_ip", addrA,
		"-distlink_security", "none", "-start_epmd", "false", "-eval", "halt(0).")
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null", fmt.Sprintf("ERL_EPMD_PORT=%d", beamtest.TCPPort(t)))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "econnrefused") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// The distribution may be started later than the node, as mix and iex do.
func TestLateStart(t *testing.T) {
	port := beamtest.Port(t, addrA, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	cmd := exec.Command("erl", "-noshell", "-pa", beamtest.Code(t), "-proto_dist", "distlink", "-setcookie", "c", "-distlink_ip", addrA, "-distlink_security", "none",
		"-start_epmd", "false", "-erl_epmd_port", fmt.Sprint(port), "-eval",
		fmt.Sprintf(`{ok, _} = net_kernel:start('a@%s', #{name_domain => longnames}), erlang:set_cookie(c), io:format("late ~p ~p~n", [net_adm:ping('%s'), distlink:classes()]), net_kernel:stop(), halt(0).`, addrA, b.Name))
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "late pong []") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// release makes the boot script of a release with distlink and these
// applications beside kernel and stdlib; it is for -mode embedded -boot.
func release(t *testing.T, applications string) (boot string) {
	t.Helper()
	root := t.TempDir()
	ebin := filepath.Join(root, "distlink", "ebin")
	if err := os.CopyFS(ebin, os.DirFS(beamtest.Code(t))); err != nil {
		t.Fatal(err)
	}
	app, err := os.ReadFile("src/distlink.app.src")
	if err == nil {
		err = os.WriteFile(filepath.Join(ebin, "distlink.app"), app, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	boot = filepath.Join(root, "r")
	out, err := exec.Command("erl", "-noshell", "-pa", ebin, "-eval", fmt.Sprintf(`Apps = [begin _ = application:load(A), {ok, V} = application:get_key(A, vsn), {A, V} end || A <- [kernel, stdlib, distlink] ++ [%s]],
 ok = file:write_file("%[2]s.rel", io_lib:format("~p.", [{release, {"r", "1"}, {erts, erlang:system_info(version)}, Apps}])), {ok, _, _} = systools:make_script("%[2]s", [silent, local, {path, [%[3]q]}]), halt(0).`,
		applications, boot, ebin)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return boot
}

// In a release in embedded mode the boot script loads all, and runs on_load
// functions (crypto's) after the distribution has started: a node that has to
// wait for another one while it boots uses keys before that.
func TestEmbedded(t *testing.T) {
	needCrypto(t)
	boot, keys := release(t, "crypto"), keyFile(t, keyOne)
	port := beamtest.Port(t, addrA, addrB)
	embedded := func(ip string, args ...string) []string {
		return append(args, "-mode", "embedded", "-boot", boot, "-distlink_ip", ip, "-distlink_psk", keys)
	}
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, embedded(addrB)...)
	a := beamtest.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`io:format("~p ~p ~p~n", [code:get_mode(), nodes(), maps:get(security, distlink:info('%s'))]), %s`, b.Name, sleep),
		embedded(addrA, "-kernel", "sync_nodes_mandatory", "["+"'"+b.Name+"']", "sync_nodes_timeout", "60000")...)
	if l := a.Expect("embedded", patience); l != "embedded ['"+b.Name+"'] psk" {
		t.Error(l)
	}
}

// A release that lacks the crypto application, where keys are given, and one
// whose library cannot be loaded.
func TestNoCrypto(t *testing.T) {
	keys := keyFile(t, keyOne)
	fake := t.TempDir()
	module := filepath.Join(fake, "crypto.erl")
	if err := os.WriteFile(module, []byte("-module(crypto).\n-on_load(none/0).\nnone() -> {error, {load_failed, \"no libcrypto\"}}.\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("erlc", "-o", fake, module).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, args := range map[string][]string{"none": {"-mode", "embedded", "-boot", release(t, "")}, "broken": {"-pa", fake}} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), append(args, "-distlink_ip", addrA, "-distlink_psk", keys)...)
		if !strings.Contains(out, "needs the crypto application") {
			t.Errorf("%s: not said:\n%s", name, out)
		}
	}
	a := beamtest.Start(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), `io:format("without keys ~p~n", [node()]), `+sleep, "-mode", "embedded", "-boot", release(t, ""), "-distlink_ip", addrA)
	a.Expect("without keys", patience)
}

// Each option with a value that it cannot have: the node does not start, and the
// text names the option and the value.
func TestBadOptions(t *testing.T) {
	for option, bad := range map[string]string{
		"distlink_ip": "10.0.0", "distlink_port": "70000", "distlink_priority": "16", "distlink_rate": "0", "distlink_keepalive": "soon",
		"distlink_datagram": "100", "distlink_window": "1", "distlink_budget": "1", "distlink_floor": "0", "distlink_bind": "nosuch0",
	} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-"+option, bad)
		if !strings.Contains(out, option) && option != "distlink_bind" || !strings.Contains(out, bad) {
			t.Errorf("%s %s is not said:\n%s", option, bad, out)
		}
	}
}

// A port that somebody has and an address that is not ours: the node does not
// start and says where it wanted to listen.
func TestCannotListen(t *testing.T) {
	taken, err := net.ListenPacket("udp4", addrA+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.LocalAddr().(*net.UDPAddr).Port
	for reason, ip := range map[string]string{"eaddrinuse": addrA, "eaddrnotavail": "192.0.2.1"} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, port, "-distlink_ip", ip)
		if !strings.Contains(out, reason) || !strings.Contains(out, fmt.Sprintf("cannot listen at %s, UDP port %d", ip, port)) {
			t.Errorf("%s: the text does not say where:\n%s", reason, out)
		}
	}
}

// -proto_dist distlink without a name is an ordinary erl; a carrier that there
// is not is refused by name.
func TestNoNameAndNoCarrier(t *testing.T) {
	erl := func(args ...string) string {
		cmd := exec.Command("erl", append([]string{"-noshell", "-pa", beamtest.Code(t), "-eval", `io:format("alive ~p~n", [is_alive()]), halt(0).`}, args...)...)
		cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if out := erl("-proto_dist", "distlink", "-distlink_security", "none"); !strings.Contains(out, "alive false") {
		t.Error(out)
	}
	if out := erl("-proto_dist", "distlink_dist", "-name", "a@"+addrA); !strings.Contains(out, "Protocol 'distlink_dist': not supported") {
		t.Error(out)
	}
}

// Stock TCP as a second carrier: epmd takes a name once, so the second is
// refused and says what to do; the first runs.
func TestTwoCarriers(t *testing.T) {
	_, epmd, _ := net.SplitHostPort(beamtest.EPMD(t))
	cmd := exec.Command("erl", "-noshell", "-pa", beamtest.Code(t), "-proto_dist", "inet_tcp", "distlink", "-name", "a@"+addrA, "-start_epmd", "false",
		"-distlink_ip", addrA, "-distlink_security", "none", "-eval", `io:format("runs as ~p~n", [node()]), halt(0).`)
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null", "ERL_EPMD_PORT="+epmd)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "-distlink_tcp true") || !strings.Contains(string(out), "runs as 'a@"+addrA+"'") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// Nodes find each other through epmd, which stores the UDP port. A second node of
// a name is refused.
func TestEPMD(t *testing.T) {
	epmd := beamtest.EPMD(t)
	b := beamtest.StartEPMD(t, "distlink", "b@"+addrA, epmd, sleep, "-distlink_ip", addrA)
	a := beamtest.StartEPMD(t, "distlink", "a@"+addrA, epmd,
		fmt.Sprintf(`io:format("~p ~p ~p~n", [net_adm:ping('%s'), net_adm:ping('c@%s'), [N || {N, _} <- element(2, net_adm:names({127,0,0,1}))] -- ["b", "a"]]), %s`, b.Name, addrA, sleep), "-distlink_ip", addrA)
	a.Expect("pong pang []", patience)
	_, port, _ := net.SplitHostPort(epmd)
	cmd := exec.Command("erl", "-noshell", "-pa", beamtest.Code(t), "-proto_dist", "distlink", "-name", b.Name, "-start_epmd", "false", "-distlink_security", "none", "-eval", "halt(0).")
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null", "ERL_EPMD_PORT="+port)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "in use by another Erlang node") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// Code in a directory right under / (with which OTP 27's own code server never
// gets ready, whatever the carrier).
func TestCodeUnderRoot(t *testing.T) {
	out, err := exec.Command("erl", "-noshell", "-eval", `io:format("~s", [erlang:system_info(otp_release)]), halt(0).`).Output()
	if release := string(out); err != nil || release >= "27" {
		t.Skipf("Erlang/OTP %s does not boot with a code directory right under / (%v)", release, err)
	}
	dir, err := os.MkdirTemp("/", "distlink")
	if err != nil {
		t.Skipf("a directory under / needs root: %v", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.CopyFS(dir, os.DirFS(beamtest.Code(t))); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("erl", "-noshell", "-pa", dir, "-proto_dist", "distlink", "-name", "a@"+addrA, "-distlink_ip", addrA, "-distlink_security", "none",
		"-start_epmd", "false", "-erl_epmd_port", fmt.Sprint(beamtest.Port(t, addrA)), "-eval", `io:format("~s~n", [code:which(distlink_dist)]), halt(0).`)
	cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), dir) {
		t.Errorf("%v:\n%s", err, out)
	}
}

// rpc runs the helper script with a code path of its own.
func rpc(t *testing.T, flags string, args ...string) (string, error) {
	t.Helper()
	root := t.TempDir()
	if err := os.Symlink(beamtest.Code(t), filepath.Join(root, "ebin")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("bin/distlink-rpc")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin", "distlink-rpc"), script, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", append([]string{filepath.Join(root, "bin", "distlink-rpc")}, args...)...)
	cmd.Env = append(os.Environ(), "ERL_FLAGS="+flags, "ERL_CRASH_DUMP=/dev/null")
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// bin/distlink-rpc calls a node, and says what is wrong with an exit code.
func TestRPC(t *testing.T) {
	port := beamtest.Port(t, addrB)
	b := beamtest.Start(t, "distlink", "b@"+addrB, port, sleep, "-distlink_ip", addrB)
	flags := fmt.Sprintf("-setcookie c -distlink_security none -start_epmd false -erl_epmd_port %d", port)
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{"'b@127.0.0.2'", 0, []string{b.Name, "erlang", "node"}},
		{"2", 0, []string{b.Name, "erlang", "max", "[1, 2]"}},
		{"undef", 1, []string{b.Name, "erlang", "nothing"}},
		{"no connection to", 1, []string{"c@127.0.0.1", "erlang", "node"}},
		{"no Erlang", 2, []string{b.Name, "erlang", "node", "[\"x]"}},
		{"usage", 2, []string{b.Name}},
	} {
		out, err := rpc(t, flags, c.args...)
		code := 0
		if exit, ok := err.(*exec.ExitError); ok {
			code = exit.ExitCode()
		}
		if code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d:\n%s", c.args, code, out)
		}
	}
}
