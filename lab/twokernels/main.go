//go:build linux && amd64

// Twokernels is the lab of two clocks. All namespaces of a machine share its
// clock, so that a lab of namespaces cannot show whether gates follow gPTP.
// This one boots two User-mode Linux kernels, a bridge in each, joined by one
// cable; the clock of the second is 1000 s ahead and runs 100 ppm too fast.
//
//	host process ── two guests (guest.go), the true time (truth.go)
//	     │ control lines
//	agent in each guest (agent.go) ── tsnswitchd, tsnctl, probe frames (frames.go)
//
// What time it truly is the lab knows without gPTP: both kernels count their
// raw clock from the host's. Every line it prints was measured; what does not
// hold ends the lab with status 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tsnswitch/internal/kerneltest/uml"
)

// options are the command line.
type options struct {
	lab, out, bin string
	short         bool
	timeout       time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == agentArg {
		if err := agentMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.lab, "lab", "lab/twokernels/network.yaml", "network file of the two bridges")
	flag.StringVar(&o.out, "out", "out/twokernels", "directory for configurations and logs")
	flag.StringVar(&o.bin, "bin", "bin", "directory of tsnswitchd and tsnctl")
	flag.BoolVar(&o.short, "short", false, "measure for a shorter time, and leave out what takes long")
	flag.DurationVar(&o.timeout, "timeout", 5*time.Minute, "give up after this time")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "twokernels: unknown argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "twokernels:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	for _, p := range []*string{&o.lab, &o.out, &o.bin} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	if _, err := uml.Find(false); err != nil {
		return fmt.Errorf("%w (`make demo LAB=twokernels` installs it when run as root)", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the lab took longer than %v", o.timeout))
	defer cancel()
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer l.close()
	return l.run(ctx)
}
