package erlang_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

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

// made copies what is published and builds it with tool.
func made(t *testing.T, tool ...string) string {
	t.Helper()
	beamtest.Code(t) // skips without Erlang
	if _, err := exec.LookPath(tool[0]); err != nil {
		t.Skipf("%s is not installed (Debian: apt-get install %s)", tool[0], strings.Replace(tool[0], "mix", "elixir", 1))
	}
	root := filepath.Join(t.TempDir(), "distlink")
	if err := os.CopyFS(filepath.Join(root, "src"), os.DirFS("src")); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"Makefile", "rebar.config", "mix.exs"} {
		b, err := os.ReadFile(f)
		if err == nil {
			err = os.WriteFile(filepath.Join(root, f), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(tool[0], tool[1:]...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "HOME="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", tool, err, out)
	}
	return root
}

// The application that is built names all its modules, and boots from there.
func TestBuilds(t *testing.T) {
	for _, c := range []struct {
		tool []string
		ebin string
	}{
		{[]string{"make"}, "ebin"},
		{[]string{"rebar3", "compile"}, "_build/default/lib/distlink/ebin"},
		{[]string{"mix", "compile"}, "_build/dev/lib/distlink/ebin"},
	} {
		t.Run(c.tool[0], func(t *testing.T) {
			ebin := filepath.Join(made(t, c.tool...), c.ebin)
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
			out, err := exec.Command("erl", "-noshell", "-pa", ebin, "-eval", "ok = application:start(distlink), halt(0).").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// The two lines of vm.args in README.md are enough.
func TestVMArgs(t *testing.T) {
	needCrypto(t)
	lines := readme(t, "-proto_dist distlink\n")
	if n := len(strings.Split(lines, "\n")); n != 2 {
		t.Fatalf("%d lines:\n%s", n, lines)
	}
	file := filepath.Join(t.TempDir(), "vm.args")
	lines = strings.Replace(lines, "/etc/distlink.keys", keyFile(t, keyOne), 1)
	if err := os.WriteFile(file, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
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
