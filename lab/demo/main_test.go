package main

import (
	"fmt"
	"os"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// TestMain lets the test binary hold namespaces, as the demo does: a space is
// made by starting the running program once more.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == holdArg {
		if err := holdMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	beamtest.Cleanup()
	os.Exit(code)
}
