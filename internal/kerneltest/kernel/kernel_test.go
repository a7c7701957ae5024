package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The script and this package must mean the same place; a kernel that is there is
// not built again.
func TestScriptAgrees(t *testing.T) {
	t.Setenv("TSN_CACHE", t.TempDir())
	if err := os.MkdirAll(filepath.Dir(Path()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(Path(), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "build.sh").CombinedOutput()
	if want := "kernel: " + Path() + " (cached)\n"; err != nil || string(out) != want {
		t.Errorf("%v, %q, want %q", err, out, want)
	}
}

func TestPath(t *testing.T) {
	for _, c := range []struct{ tsn, xdg, home, want string }{
		{"/t", "/x", "/h", "/t/kernel/"},
		{"", "/x", "/h", "/x/tsnswitch/kernel/"},
		{"", "", "/h", "/h/.cache/tsnswitch/kernel/"},
	} {
		t.Setenv("TSN_CACHE", c.tsn)
		t.Setenv("XDG_CACHE_HOME", c.xdg)
		t.Setenv("HOME", c.home)
		if got, want := Path(), c.want+ID()+"/linux"; got != want {
			t.Errorf("%+v: %s, want %s", c, got, want)
		}
	}
}

func TestUnset(t *testing.T) {
	config := strings.ReplaceAll(string(fragment), "=n", " is not set")
	if got := Unset(config); len(got) != 0 {
		t.Errorf("the fragment lacks %q of itself", got)
	}
	config = strings.Replace(config, "CONFIG_HSR=y", "CONFIG_HSR=m", 1)
	if got := Unset(config); len(got) != 1 || got[0] != "CONFIG_HSR" {
		t.Errorf("without HSR: %q", got)
	}
}
