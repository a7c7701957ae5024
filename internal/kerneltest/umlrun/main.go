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
	"flag"
	"fmt"
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
	c := uml.Config{Stdout: os.Stdout, Stderr: os.Stderr}
	flag.DurationVar(&c.Timeout, "timeout", time.Minute, "time limit; 0 is none")
	flag.StringVar(&c.Mem, "mem", "1024M", "memory of the guest, used on demand")
	flag.StringVar(&c.Kernel, "kernel", "", "the kernel to run (default: $TSN_UML, else linux.uml)")
	flag.BoolVar(&c.Own, "own", false, "run the project's own kernel (see make kernel)")
	flag.StringVar(&c.Dir, "dir", "", "working directory of the program (default: the current one)")
	flag.Var((*list)(&c.Append), "append", "kernel parameter, such as time-travel=inf-cpu; may be repeated")
	flag.Var((*list)(&c.SetEnv), "env", "`K=V` for the program's environment; may be repeated")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: umlrun [flags] program [arguments]")
		flag.PrintDefaults()
	}
	flag.Parse()
	if c.Args = flag.Args(); len(c.Args) == 0 {
		flag.Usage()
		os.Exit(2)
	}
	signal.Ignore(syscall.SIGPIPE) // a closed reader ends the guest, then us
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	status, err := uml.Run(ctx, c)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "umlrun:", err)
	}
	os.Exit(status)
}
