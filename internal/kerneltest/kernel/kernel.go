// Package kernel names the project's own User-mode Linux kernel, which build.sh
// makes from config.fragment. The sha256 of the fragment is the only link between
// the two: a changed fragment is another kernel at another place, and an old one
// is never taken for it.
//
//	config.fragment --sha256--> id --> <cache>/kernel/<id>/linux
package kernel

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed config.fragment
var fragment []byte

// ID is the first 16 hex digits of the sha256 of config.fragment.
func ID() string {
	return fmt.Sprintf("%x", sha256.Sum256(fragment))[:16]
}

// Path is where build.sh leaves the kernel, whether or not it has been built:
// under $TSN_CACHE, else $XDG_CACHE_HOME/tsnswitch, else ~/.cache/tsnswitch.
func Path() string {
	cache := os.Getenv("TSN_CACHE")
	if cache == "" {
		base := os.Getenv("XDG_CACHE_HOME")
		if base == "" {
			base = filepath.Join(os.Getenv("HOME"), ".cache")
		}
		cache = filepath.Join(base, "tsnswitch")
	}
	return filepath.Join(cache, "kernel", ID(), "linux")
}

// Unset lists the options of the fragment that a kernel's whole configuration, as in
// its .config or /proc/config.gz, does not have: none if it is as good as our own.
func Unset(config string) []string {
	have := map[string]bool{}
	for line := range strings.Lines(config) {
		have[strings.TrimSpace(line)] = true
	}
	var unset []string
	for line := range strings.Lines(string(fragment)) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, "=y") && !have[line] {
			unset = append(unset, strings.TrimSuffix(line, "=y"))
		}
	}
	return unset
}
