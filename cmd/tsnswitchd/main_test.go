package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/internal/kerneltest"
)

// envRun makes the test binary be tsnswitchd: what is tested is what runs.
const envRun = "TSNSWITCHD_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(envRun) != "" {
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(kerneltest.Main(m))
}

// command is tsnswitchd with these arguments.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), envRun+"=1")
	return cmd
}

// runs returns the exit status of tsnswitchd and what it printed.
func runs(t *testing.T, args ...string) (status int, text string) {
	t.Helper()
	out, err := command(t, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		status = exit.ExitCode()
	}
	return status, string(out)
}

func write(t *testing.T, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// aBridge is the least that a bridge needs.
const aBridge = `role: bridge
name: b1
systemId: 02:00:00:00:00:01
bridge: {name: br0, create: true}
ports:
  - {port: 1, ifname: p1, role: fabric, rate: 100M}
spb:
  baseVids: [{vid: 100, ect: 1}]
`

// Wrong usage and wrong configuration: exit status 2, with file and line.
func TestWrongUsage(t *testing.T) {
	dir := t.TempDir()
	conf := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	for _, c := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"no arguments", nil, 2, "usage: tsnswitchd --config FILE"},
		{"an unknown flag", []string{"--frob"}, 2, "flag provided but not defined: -frob"},
		{"too many arguments", []string{"--config", "x", "y"}, 2, "usage:"},
		{"no such file", []string{"--config", filepath.Join(dir, "none.yaml")}, 2, "none.yaml: no such file"},
		{"not YAML", []string{"--config", conf("a.yaml", "role: [bridge\nname: b1\n")}, 2, "a.yaml:"},
		{"an unknown key", []string{"--config", conf("b.yaml", aBridge+"colour: red\n")}, 2, "b.yaml:9"},
		{"a bad value", []string{"--config", conf("c.yaml", strings.Replace(aBridge, "100M", "fast", 1))}, 2, "c.yaml:6"},
		{"valid", []string{"--check", "--config", conf("d.yaml", aBridge)}, 0, "the configuration is valid"},
		{"version", []string{"--version"}, 0, "tsnswitchd "},
		{"help", []string{"--help"}, 0, "-config"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, text := runs(t, c.args...)
			if status != c.status || !strings.Contains(text, c.want) {
				t.Errorf("status %d, want %d; want %q in: %s", status, c.status, c.want, text)
			}
		})
	}
}

// A state file that is damaged holds promises: the daemon does not start
// without them, says which file it is, and touches nothing.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	state := write(t, filepath.Join(dir, "own.json"), `{"format": 1, "state": {"own`)
	conf := write(t, filepath.Join(dir, "b1.yaml"), aBridge+"stateDir: "+dir+"\napi: {socket: "+dir+"/s}\n")
	status, text := runs(t, "--config", conf)
	if status != 1 || !strings.Contains(text, "state file "+state+" is damaged") || !strings.Contains(text, "move it away") {
		t.Errorf("status %d: %s", status, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "s")); err == nil {
		t.Error("it took the socket")
	}
}

// A kernel that cannot filter VLANs would let every frame in everywhere: the
// daemon names the feature, ends with status 1, and has made nothing.
func TestKernelWithoutVLANFiltering(t *testing.T) {
	missing, err := kerneltest.Missing(kerneltest.Needs{VLANFiltering: true})
	if err != nil {
		t.Fatal(err)
	}
	if missing == "" {
		t.Skip("this kernel has VLAN filtering")
	}
	if strings.HasPrefix(missing, string(kerneltest.Root)) {
		t.Skip(missing)
	}
	dir := t.TempDir()
	conf := write(t, filepath.Join(dir, "b1.yaml"), aBridge+"stateDir: "+dir+"\napi: {socket: "+dir+"/s}\n")
	ns, far := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	kerneltest.VethPair(t, 8, kerneltest.End{NS: ns, Name: "p1"}, kerneltest.End{NS: far, Name: "p1"})
	cmd := command(t, "--config", conf)
	var out bytes.Buffer
	cmd.Stderr = &out
	ns.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(out.String(), "this kernel cannot be a switch: vlan-filtering is not supported") {
		t.Errorf("%v: %s", err, out.String())
	}
	if _, err := ns.Netlink().LinkByName("br0"); err == nil {
		t.Error("it made the bridge")
	}
	if l, err := ns.Netlink().LinkByName("p1"); err != nil || l.Attrs().MasterIndex != 0 {
		t.Errorf("it took the port: %v", err)
	}
}
