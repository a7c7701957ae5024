package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// app is one run: the flags every command has, and where output goes.
type app struct {
	out, errOut io.Writer

	socket, node, output string
	json                 bool
	timeout              time.Duration
}

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:   "tsnctl",
		Short: "Look at a TSN switch and tell it what to do",
		Long: `tsnctl talks to the tsnswitchd of this machine over its unix socket. With
--node the daemon forwards the call to another node of the fabric.

Exit status: 0 done, 1 refused or failed, 2 the command line is wrong,
3 a schedule is incomplete or invalid.`,
		Example: `  tsnctl status
  tsnctl doctor --node b3
  tsnctl stream add --talker A --listener B --interval 10ms --size 128
  tsnctl schedule apply
  tsnctl spb paths --to b3 -o json`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	f := c.PersistentFlags()
	f.StringVar(&a.socket, "socket", defaultSocket(), "unix socket of tsnswitchd (or $TSNSWITCH_SOCKET)")
	f.StringVar(&a.node, "node", "", "node of the fabric that shall answer")
	f.StringVarP(&a.output, "output", "o", "text", "text or json")
	f.BoolVar(&a.json, "json", false, "same as -o json")
	f.DurationVar(&a.timeout, "timeout", 30*time.Second, "give up a call after this")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("node", a.nodeNames)
	c.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return fmt.Errorf("-o %s: allowed: text, json", a.output)
		}
		a.json = a.json || a.output == "json"
		return nil
	}
	c.SetUsageTemplate(strings.ReplaceAll(c.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", width)))
	c.AddCommand(a.status(), a.doctor(), a.spb(), a.gptp(), a.schedule(), a.plan(), a.stream(), a.srp(), a.dist(), a.diff(), a.events(), a.version())
	return c
}

func defaultSocket() string {
	if s := os.Getenv("TSNSWITCH_SOCKET"); s != "" {
		return s
	}
	return config.DefaultDaemon().API.Socket
}

// group is a command that only has sub-commands.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs}
	c.RunE = func(*cobra.Command, []string) error {
		return fmt.Errorf("%s: say which: see tsnctl %s --help", c.CommandPath(), use)
	}
	c.AddCommand(sub...)
	return c
}

// failure marks an error of the deed, not of the command line.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// call makes the body of a command: connect, do, print. Whatever do returns
// as a usageError is about the command line.
func (a *app) call(do func(ctx context.Context, sw api.Switch, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		client := api.DialUnix(a.socket)
		defer client.Close()
		if a.node != "" {
			client = client.At(a.node)
		}
		ctx := c.Context()
		if a.timeout > 0 && c.Annotations["patient"] == "" {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, a.timeout)
			defer cancel()
		}
		err := do(ctx, client, args)
		var usage usageError
		if err == nil || errors.As(err, &usage) {
			return err
		}
		return failure{err}
	}
}

// patient marks a command that may take as long as it likes.
func patient(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{"patient": "yes"}
	return c
}

type usageError struct{ error }

// show prints v as JSON, or else by text.
func show[T any](a *app, v T, text func(*page, T)) error {
	if a.json {
		return a.printJSON(v)
	}
	p := &page{w: a.out}
	text(p, v)
	return p.err
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// printLine prints one object on one line, to follow.
func (a *app) printLine(v any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// exit prints an error and returns the exit status.
func (a *app) exit(err error) int {
	if err == nil {
		return exitOK
	}
	if errors.As(err, new(verdict)) {
		return exitVerdict
	}
	var f failure
	if !errors.As(err, &f) {
		fmt.Fprintf(a.errOut, "tsnctl: %v\nTry tsnctl --help.\n", err)
		return exitUsage
	}
	var e *api.Error
	var file config.Errors
	switch {
	case errors.As(err, &e):
	case errors.As(err, &file):
		e = api.Errorf(api.CodeBadRequest, "%w", file)
	case badFile(err):
		e = api.Errorf(api.CodeBadRequest, "%w", f.error)
	default:
		e = api.Errorf(api.CodeInternal, "%w", f.error)
	}
	if a.json {
		enc := json.NewEncoder(a.errOut)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(map[string]any{"error": errorView(e)})
		return exitFailed
	}
	p := &page{w: a.errOut}
	p.wrap("tsnctl: ", "        ", e.Error())
	if e.Hop != (api.PathHop{}) {
		p.wrap("        ", "        ", "at "+hopText(e.Hop))
	}
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		p.wrap("        ", "        ", "Is it running? Start it with `tsnswitchd --config FILE`; "+
			"if it uses another socket, name that with --socket or $TSNSWITCH_SOCKET.")
	}
	return exitFailed
}

// errorView is an error as scripts see it.
func errorView(e *api.Error) any {
	v := struct {
		Code    string       `json:"code"`
		Text    string       `json:"text"`
		Failure uint8        `json:"failureCode,omitempty"`
		Stream  string       `json:"streamId,omitempty"`
		Hop     *api.PathHop `json:"hop,omitempty"`
	}{Code: e.Code, Text: e.Text, Failure: uint8(e.Failure)}
	if e.Stream != ([8]byte{}) {
		v.Stream = e.Stream.String()
	}
	if e.Hop != (api.PathHop{}) {
		v.Hop = &e.Hop
	}
	return v
}
