package erlang_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink/beamtest"
)

// readme returns the indented block of README.md that begins with a line.
func readme(t *testing.T, first string) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(b), "\n    "+first)
	if !ok {
		t.Fatalf("README.md has no block that begins with %s", first)
	}
	block := first
	for i, l := range strings.Split(after, "\n") {
		if i > 0 && !strings.HasPrefix(l, "    ") {
			break
		}
		if i > 0 {
			block += "\n"
		}
		block += strings.TrimPrefix(l, "    ")
	}
	return block
}

// published copies what is published to dir.
func published(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "src"), os.DirFS("src")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"Makefile", "rebar.config", "mix.exs"} {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write makes a file with text, and its directory.
func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a tool in dir, which is its home, too.
func run(t *testing.T, dir string, env []string, tool ...string) string {
	t.Helper()
	cmd := exec.Command(tool[0], tool[1:]...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8", "ERL_CRASH_DUMP=/dev/null"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", tool, err, out)
	}
	return string(out)
}

// namesItsModules: the application that is built has the modules that it names,
// and starts.
func namesItsModules(t *testing.T, ebin string) {
	t.Helper()
	app, err := os.ReadFile(filepath.Join(ebin, "distlink.app"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(app), "{modules,")
	list, _, _ = strings.Cut(list, "]")
	named := regexp.MustCompile(`\w+`).FindAllString(list, -1)
	beams, _ := filepath.Glob(filepath.Join(ebin, "*.beam"))
	for i, b := range beams {
		beams[i] = strings.TrimSuffix(filepath.Base(b), ".beam")
	}
	slices.Sort(named)
	if slices.Sort(beams); !slices.Equal(named, beams) {
		t.Errorf("the application names %v, there are %v", named, beams)
	}
	run(t, t.TempDir(), nil, "erl", "-noshell", "-pa", ebin, "-eval", "ok = application:start(distlink), halt(0).")
}

func TestMake(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	root := t.TempDir()
	published(t, root)
	run(t, root, nil, "make")
	namesItsModules(t, filepath.Join(root, "ebin"))
}

// project makes a directory with distlink beside a project, or skips.
func project(t *testing.T, tool, pkg string) (dir string) {
	t.Helper()
	needCrypto(t)
	if _, err := exec.LookPath(tool); err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install %s)", tool, pkg)
	}
	if err := exec.Command(tool, "--version").Run(); err != nil {
		t.Skipf("%s does not run on this Erlang, OTP %d", tool, beamtest.Stock.Release(t))
	}
	root := t.TempDir()
	published(t, filepath.Join(root, "distlink"))
	return filepath.Join(root, "sample")
}

// vmArgs are the two lines of vm.args in README.md, with a key file of the test's.
func vmArgs(t *testing.T, keys string) string {
	t.Helper()
	lines := readme(t, "-proto_dist distlink\n")
	if n := len(strings.Split(lines, "\n")); n != 2 {
		t.Fatalf("%d lines:\n%s", n, lines)
	}
	return strings.Replace(lines, "/etc/distlink.keys", keys, 1) + "\n"
}

// answers starts a release and waits until a node, which has the same keys,
// reaches it.
func answers(t *testing.T, start *exec.Cmd, keys string, port int) {
	t.Helper()
	var out bytes.Buffer
	start.Stdout, start.Stderr = &out, &out
	start.WaitDelay = time.Second
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = start.Process.Kill()
		_ = start.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
	a := beamtest.Start(t, "distlink", "c@"+addrB, port, fmt.Sprintf(`W = fun W() -> case net_adm:ping('b@%[1]s') of pong -> ok; _ -> receive after 200 -> W() end end end, W(),
 io:format("release ~p ~p~n", [maps:get(security, distlink:info('b@%[1]s')), rpc:call('b@%[1]s', code, get_mode, [])]), %[2]s`, addrA, sleep), "-distlink_ip", addrB, "-distlink_psk", keys)
	if l := a.Expect("release", 2*patience); l != "release psk embedded" {
		t.Error(l)
	}
}

// A rebar3 project with distlink as README.md says compiles, and its release
// starts the distribution.
func TestRebar3(t *testing.T) {
	dir := project(t, "rebar3", "rebar3")
	write(t, filepath.Join(dir, "rebar.config"), readme(t, "{deps, [distlink]}."))
	write(t, filepath.Join(dir, "src", "sample.app.src"), `{application, sample, [{description, ""}, {vsn, "1"}, {applications, [kernel, stdlib]}]}.`)
	write(t, filepath.Join(dir, "src", "sample.erl"), "-module(sample).\n")
	keys, port := keyFile(t, keyOne), beamtest.Port(t, addrA, addrB)
	write(t, filepath.Join(dir, "config", "vm.args"), vmArgs(t, keys)+"-name b@"+addrA+"\n-setcookie c\n-distlink_ip "+addrA+"\n-distlink_tcp true\n")
	if err := os.Mkdir(filepath.Join(dir, "_checkouts"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../distlink", filepath.Join(dir, "_checkouts", "distlink")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "rebar3", "release")
	namesItsModules(t, filepath.Join(dir, "_build/default/checkouts/distlink/ebin"))
	bin, env := filepath.Join(dir, "_build/default/rel/sample/bin/sample"), []string{"HOME=" + dir, fmt.Sprintf("ERL_DIST_PORT=%d", port), "ERL_CRASH_DUMP=/dev/null"}
	start := exec.Command(bin, "foreground")
	start.Env = append(os.Environ(), env...)
	answers(t, start, keys, port)
	if out := run(t, dir, env, bin, "eval", "distlink:connections()."); !strings.Contains(out, "c@"+addrB) {
		t.Error(out)
	}
}

// The same with mix, whose commands for a running release go by distlink, too.
func TestMix(t *testing.T) {
	dir := project(t, "mix", "elixir")
	write(t, filepath.Join(dir, "mix.exs"), readme(t, "defmodule Sample.MixProject do"))
	write(t, filepath.Join(dir, "lib", "sample.ex"), "defmodule Sample do\nend\n")
	keys, port := keyFile(t, keyOne), beamtest.Port(t, addrA, addrB)
	for _, f := range []string{"vm.args.eex", "remote.vm.args.eex"} {
		write(t, filepath.Join(dir, "rel", f), vmArgs(t, keys))
	}
	run(t, dir, []string{"MIX_ENV=prod"}, "mix", "release")
	namesItsModules(t, filepath.Join(dir, "_build/prod/lib/distlink/ebin"))
	bin := filepath.Join(dir, "_build/prod/rel/sample/bin/sample")
	env := []string{"HOME=" + dir, "LC_ALL=C.UTF-8", "RELEASE_DISTRIBUTION=name", "RELEASE_NODE=b@" + addrA, "RELEASE_COOKIE=c", "ERL_CRASH_DUMP=/dev/null"}
	flags := fmt.Sprintf("ERL_FLAGS=-start_epmd false -erl_epmd_port %d ", port)
	start := exec.Command(bin, "start")
	start.Env = append(append(os.Environ(), env...), flags+"-distlink_ip "+addrA)
	answers(t, start, keys, port)
	if out := run(t, dir, append(env, flags+"-dist_listen false"), bin, "rpc", "IO.inspect({:this_is, node()})"); !strings.Contains(out, `{:this_is, :"b@`+addrA+`"}`) {
		t.Error(out)
	}
}

// The two lines of vm.args in README.md are enough.
func TestVMArgs(t *testing.T) {
	needCrypto(t)
	file := filepath.Join(t.TempDir(), "vm.args")
	write(t, file, vmArgs(t, keyFile(t, keyOne)))
	port := beamtest.Port(t, addrA, addrB)
	common := []string{"-noshell", "-pa", beamtest.Code(t), "-setcookie", "c", "-start_epmd", "false", "-erl_epmd_port", fmt.Sprint(port), "-args_file", file}
	b := exec.Command("erl", append(common, "-name", "b@"+addrB, "-distlink_ip", addrB, "-eval", sleep+".")...)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Process.Kill(); _ = b.Wait() }()
	out, err := exec.Command("erl", append(common, "-name", "a@"+addrA, "-distlink_ip", addrA, "-eval",
		fmt.Sprintf(`(fun F(0) -> halt(1); F(N) -> case net_adm:ping('b@%s') of pong -> {ok, #{security := psk}} = distlink:stats('b@%[1]s'), halt(0); _ -> receive after 200 -> F(N - 1) end end end)(100).`, addrB))...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
