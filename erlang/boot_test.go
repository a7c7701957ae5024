package erlang_test

import (
	"fmt"
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
