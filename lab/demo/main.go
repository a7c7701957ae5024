// Demo is the lab: it builds a TSN fabric of namespaces from a network file,
// runs a real tsnswitchd in each, and shows the whole path end to end, from
// the first adjacency to calls between two Erlang nodes on a reserved stream.
//
//	demo ──(kernel lacks something?)──> User-mode Linux ──> demo -inside
//	  │                                                        │
//	  └───────────────── network.yaml ──> spaces, cables, wires (ns.go, wire.go)
//	                                       daemons, BEAM nodes   (fabric.go, beam.go)
//	                                       step_*.go  ──> report.json, picture.svg
//
// Every line it prints was read back from the kernel, the wire or a daemon.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tsnswitch/internal/kerneltest"
	"tsnswitch/internal/kerneltest/uml"
)

// options are the command line.
type options struct {
	lab     string
	out     string
	bin     string
	erlang  string
	loop    string
	control time.Duration
	inside  bool
	virtual bool
	until   int
	then    string
	timeout time.Duration
}

// limit is when to give up.
func (o options) limit() time.Duration {
	return o.timeout + time.Duration(len(controlPhases))*o.control
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == holdArg {
		if err := holdMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.lab, "lab", "lab/ring4.yaml", "network file to build")
	flag.StringVar(&o.out, "out", "out/ring4", "directory for the report and the picture")
	flag.StringVar(&o.bin, "bin", "bin", "directory of tsnswitchd and tsnctl")
	flag.StringVar(&o.erlang, "erlang", "erlang/ebin", "directory of the compiled Erlang carrier")
	flag.StringVar(&o.loop, "loop", "bin/control", "directory of the compiled modules of lab/control")
	flag.DurationVar(&o.control, "control", 0, "run a control loop over the network for this long, idle, flooded, and\nflooded with a reservation and gates, instead of the other steps' streams")
	flag.IntVar(&o.until, "until", 0, "stop after this step (0: run all)")
	flag.StringVar(&o.then, "then", "", "commands to run after the last step, separated by ';', each `NODE COMMAND ...`,\nlike \"b1 tsnctl doctor; A ip addr\"")
	flag.BoolVar(&o.virtual, "virtual", false, "measure in virtual time, in a kernel whose processor is infinitely fast\n(see `make kernel`): the network's part alone")
	flag.BoolVar(&o.inside, "inside", false, "do not look for another kernel (set when started in one)")
	flag.DurationVar(&o.timeout, "timeout", 6*time.Minute, "give up after this time, that of -control not counted")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "demo: unknown argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	flag.Visit(func(f *flag.Flag) {
		if f.Name == "control" && o.control < leastControl {
			fmt.Fprintf(os.Stderr, "demo: -control %v: at least %v\n", o.control, leastControl)
			os.Exit(2)
		}
	})
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status, err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	os.Exit(status)
}

// needs is what the lab wants of a kernel.
var needs = kerneltest.Needs{Taprio: true, VLANFiltering: true, VLANDevices: true, Flower: true}

// run picks the kernel and runs the lab in it.
func run(ctx context.Context, o options) (int, error) {
	for _, p := range []*string{&o.lab, &o.out, &o.bin, &o.erlang, &o.loop} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return 2, err
		}
		*p = abs
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return 2, fmt.Errorf("make the report directory: %w", err)
	}
	if o.inside {
		return runLab(ctx, o, "User-mode Linux"+map[bool]string{true: ", virtual time"}[o.virtual])
	}
	missing, err := kerneltest.Missing(needs)
	if err != nil {
		return 1, fmt.Errorf("look at this kernel: %w", err)
	}
	if missing == "" && !o.virtual {
		fmt.Println("running on the host's kernel: it has taprio and bridge VLAN filtering, and you are root")
		return runLab(ctx, o, "host kernel")
	}
	why := "on this host " + missing
	if o.virtual {
		why = "only there is virtual time"
	}
	fmt.Printf("running in User-mode Linux: %s\n", why)
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	status, err := uml.Run(ctx, o.guest(self))
	if errors.Is(err, uml.ErrNoKernel) && !o.virtual {
		err = fmt.Errorf("%w (`make demo` installs it when run as root)", err)
	}
	return status, err
}

// guest is the kernel to boot, and this program in it.
func (o options) guest(self string) uml.Config {
	c := uml.Config{
		Args: []string{
			self, "-inside", fmt.Sprintf("-virtual=%v", o.virtual), "-lab", o.lab, "-out", o.out, "-bin", o.bin, "-erlang", o.erlang, "-loop", o.loop,
			"-until", fmt.Sprint(o.until), "-then", o.then, "-timeout", o.timeout.String(),
		},
		Mem: "2048M", Stdout: os.Stdout, Stderr: os.Stderr, Timeout: o.limit() + 30*time.Second,
	}
	if o.control > 0 {
		c.Args = append(c.Args, "-control", o.control.String())
	}
	if o.virtual {
		// Its seconds take as long as the work in them.
		c.Own, c.TimeTravel, c.Timeout = true, "inf-cpu", 20*c.Timeout
	}
	return c
}
