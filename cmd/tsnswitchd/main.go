// Tsnswitchd runs one TSN switch, or one end station, until it is told to
// stop. What it forwards goes on being forwarded after it has stopped.
//
//	tsnswitchd --config FILE
//
// SIGHUP makes it read the file again and take the keys of IS-IS (spb.auth) from
// it; a file that is not valid changes nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"tsnswitch/internal/config"
	"tsnswitch/internal/daemon"
)

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit status: 0 stopped as told, 1 failed, 2 wrong usage.
func run(args []string) int {
	flags := flag.NewFlagSet("tsnswitchd", flag.ContinueOnError)
	file := flags.String("config", "", "configuration `FILE` (required; see internal/config/reference.yaml)")
	check := flags.Bool("check", false, "check the configuration and exit")
	record := flags.String("record", "", "write traces of the machines' events into `DIR`, for replay")
	version := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *version {
		fmt.Println("tsnswitchd", daemon.Version)
		return 0
	}
	if *file == "" || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: tsnswitchd --config FILE")
		return 2
	}
	cfg, err := config.LoadDaemon(*file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if *check {
		fmt.Println("the configuration is valid")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := logger(cfg.Log)
	err = daemon.Run(ctx, cfg, daemon.Options{Log: log, Record: *record, Reload: reload(ctx, *file, log), Ready: notifyReady})
	if err != nil {
		fmt.Fprintln(os.Stderr, "tsnswitchd:", err)
		return 1
	}
	return 0
}

// reload reads the file again whenever SIGHUP comes.
func reload(ctx context.Context, file string, log *slog.Logger) <-chan *config.Daemon {
	hup, out := make(chan os.Signal, 1), make(chan *config.Daemon)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		defer signal.Stop(hup)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
			}
			c, err := config.LoadDaemon(file)
			if err != nil {
				log.Error("the configuration is not valid; nothing of it is taken", "err", err)
				continue
			}
			select {
			case <-ctx.Done():
				return
			case out <- c:
			}
		}
	}()
	return out
}

func logger(c config.Log) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	opt := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opt))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opt))
}
