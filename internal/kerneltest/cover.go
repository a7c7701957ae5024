package kerneltest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Main is an optional TestMain: it runs the tests and adds what the guests covered
// to the file of -test.coverprofile. (The percentage that go test prints counts only
// this process. With -test.gocoverdir the guests' counters are there without Main.)
//
//	func TestMain(m *testing.M) { os.Exit(kerneltest.Main(m)) }
func Main(m *testing.M) int {
	status := m.Run()
	profile := hostProfile()
	if profile == "" {
		return status
	}
	if err := mergeProfiles(profile); err != nil {
		fmt.Fprintln(os.Stderr, "coverage of the guests:", err)
		return max(status, 1)
	}
	return status
}

// hostProfile is the absolute path of the test binary's own profile, "" if none.
func hostProfile() string {
	path := flag.Lookup("test.coverprofile").Value.String()
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	path, err := filepath.Abs(filepath.Join(flag.Lookup("test.outputdir").Value.String(), path))
	if err != nil {
		return ""
	}
	return path
}

// guestProfile names the profile of one guest, beside that of the test binary.
func guestProfile(profile, test string) string {
	name := regexp.MustCompile(`[^A-Za-z0-9_]+`).ReplaceAllString(test, "-")
	return profile + ".guest-" + name
}

// mergeProfiles appends the guests' profiles without their first line, "mode: ...";
// readers of profiles add up repeated blocks.
func mergeProfiles(profile string) error {
	guests, err := filepath.Glob(profile + ".guest-*")
	if err != nil || len(guests) == 0 {
		return err
	}
	out, err := os.OpenFile(profile, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	for _, g := range guests {
		text, err := os.ReadFile(g)
		if err != nil {
			return err
		}
		_, blocks, _ := bytes.Cut(text, []byte("\n"))
		if _, err := out.Write(blocks); err != nil {
			return err
		}
		if err := os.Remove(g); err != nil {
			return err
		}
	}
	return out.Close()
}
