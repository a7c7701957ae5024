package uml

import (
	"compress/gzip"
	"io"
	"os"

	"tsnswitch/internal/kerneltest/kernel"
)

// OwnLacks lists the options of the project's own kernel that the running one is
// built without: none if it is that kernel or as good. The error is os.ErrNotExist
// for a kernel that does not show its configuration.
func OwnLacks() ([]string, error) {
	f, err := os.Open("/proc/config.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	config, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return kernel.Unset(string(config)), nil
}
