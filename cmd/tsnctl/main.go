// Command tsnctl is what a person types at a TSN switch. It calls the daemon
// on this machine over its unix socket; the daemon forwards to other nodes.
// One file is one sub-command.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses.
const (
	exitOK      = 0
	exitFailed  = 1 // refused by the switch, or something went wrong
	exitUsage   = 2 // the command line cannot be meant
	exitVerdict = 3 // a schedule was printed that is incomplete or invalid, and says so
)

// run is main without the process: tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{out: stdout, errOut: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.exit(root.ExecuteContext(ctx))
}
