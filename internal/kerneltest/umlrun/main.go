// Umlrun runs a program inside a User-mode Linux kernel, on the host's files:
//
//	umlrun [flags] program [arguments]
//	go test -exec "umlrun -timeout 60s" ./internal/dataplane
//	umlrun -own -append time-travel=inf-cpu ./qbv.test -test.run TestGate
//
// The exit status is the program's, 128+n if signal n killed it, 124 at the time
// limit, 125 if the guest's kernel died, 77 if there is no kernel to run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"tsnswitch/internal/kerneltest/uml"
)

// list is a flag that may be given many times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	signal.Ignore(syscall.SIGPIPE) // a closed reader ends the guest, then us
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the whole command, for args without its name.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c := uml.Config{Stdout: stdout, Stderr: stderr}
	fs := flag.NewFlagSet("umlrun", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.DurationVar(&c.Timeout, "timeout", time.Minute, "time limit; 0 is none")
	fs.StringVar(&c.Mem, "mem", "1024M", "memory of the guest, used on demand")
	fs.StringVar(&c.Kernel, "kernel", "", "the kernel to run (default: $TSN_UML, else linux.uml)")
	fs.BoolVar(&c.Own, "own", false, "run the project's own kernel (see make kernel)")
	fs.StringVar(&c.Dir, "dir", "", "working directory of the program (default: the current one)")
	fs.Var((*list)(&c.Append), "append", "kernel `parameter`, such as time-travel=inf-cpu; may be repeated")
	fs.Var((*list)(&c.SetEnv), "env", "`K=V` for the program's environment; may be repeated")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: umlrun [flags] program [arguments]")
		fs.PrintDefaults()
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if c.Args = fs.Args(); len(c.Args) == 0 {
		fs.Usage()
		return 2
	}
	status, err := uml.Run(ctx, c)
	if err != nil {
		fmt.Fprintln(stderr, "umlrun:", err)
	}
	return status
}
