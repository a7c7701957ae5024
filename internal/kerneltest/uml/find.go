package uml

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"tsnswitch/internal/kerneltest/kernel"
)

// Find returns the path of the kernel to run: $TSN_UML; else, if own is wanted or
// TSN_UML_OWN=1, the project's own kernel and no other; else linux.uml of Debian's
// package user-mode-linux; else the own kernel if it happens to be built.
func Find(own bool) (string, error) {
	if k := os.Getenv("TSN_UML"); k != "" {
		if err := executable(k); err != nil {
			return "", fmt.Errorf("%w: TSN_UML: %w", ErrNoKernel, err)
		}
		return k, nil
	}
	built := kernel.Path()
	if own || os.Getenv("TSN_UML_OWN") == "1" {
		if executable(built) != nil {
			return "", fmt.Errorf("%w of the project's own: run `make kernel` (it is looked for at %s)", ErrNoKernel, built)
		}
		return built, nil
	}
	if k, err := exec.LookPath("linux.uml"); err == nil {
		return k, nil
	}
	if executable(built) == nil {
		return built, nil
	}
	return "", fmt.Errorf("%w: install the Debian package user-mode-linux or set TSN_UML", ErrNoKernel)
}

// HasTimeTravel reports whether the kernel at path knows the parameter time-travel.
func HasTimeTravel(path string) bool {
	out, _ := exec.Command(path, "--help").CombinedOutput() // its status is 1 by design
	return strings.Contains(string(out), "time-travel")
}

func executable(path string) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	if st.IsDir() || st.Mode()&0o111 == 0 {
		return fmt.Errorf("%s is not executable", path)
	}
	return nil
}
