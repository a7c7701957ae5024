package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tsnswitch/distlink/hidden"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/erlnode"
)

// settle is how long a bridge that has just started may not know the fabric's streams.
const settle = time.Minute

// serveErlang is the daemon as an Erlang node: everything that comes in goes
// by the management API, as tsnctl's calls do.
func (d *Daemon) serveErlang(ctx context.Context) error {
	c := d.cfg.Erlang
	if c.Name == "" {
		return nil
	}
	doors, port, err := d.awaitDoors(ctx, c)
	if err != nil || doors == nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var serving sync.WaitGroup
	defer func() {
		cancel()
		doors.close()
		serving.Wait()
	}()
	nc := hidden.Config{Name: c.Name, Cookie: string(c.Cookie), Log: d.log}
	if c.EPMD.IsValid() {
		name, _, _ := strings.Cut(c.Name, "@")
		creation, release, err := udplink.EPMDRegister(ctx, c.EPMD.String(), name, port)
		if err != nil {
			return fmt.Errorf("erlang.epmd: %w", err)
		}
		defer release.Close()
		nc.Creation = creation
	}
	node := hidden.New(nc)
	defer node.Close()
	d.erlang.Store(node)
	leases := store[[]string]{filepath.Join(d.cfg.StateDir, "leases.json")}
	left, err := leases.load()
	if err != nil {
		return err
	}
	server, err := erlnode.New(node, erlnode.Config{API: api.DialDynamic(d.cfg.API.Socket), Write: c.Write, Left: left, Leased: leases.save, Settle: settle, Log: d.log})
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	for _, accept := range doors.accepts {
		serving.Go(func() { failed <- node.Serve(ctx, accept) })
	}
	serving.Go(func() { server.Run(ctx) })
	d.log.Info("answering Erlang nodes", "name", c.Name, "distlink", c.Distlink, "tcp", c.TCP)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// doors are where nodes come in.
type doors struct {
	accepts []func(context.Context) (hidden.Transport, error)
	closes  []func() error
}

func (d *doors) close() {
	for _, f := range d.closes {
		_ = f()
	}
}

func listenDistlink(ctx context.Context, c config.Erlang, log *slog.Logger) (*udplink.Listener, error) {
	cfg := udplink.Config{Insecure: c.DistlinkSecurity == "none", Log: log}
	if files := c.DistlinkCertificate; files.Cert != "" {
		cfg.Certificates = &udplink.Certificates{Cert: files.Cert, Key: files.Key, CA: files.CA}
	}
	if c.DistlinkKeys != "" {
		var err error
		if cfg.Keys, err = udplink.ReadKeys(c.DistlinkKeys); err != nil {
			return nil, err
		}
	}
	return udplink.Listen(ctx, c.Distlink.String(), cfg)
}

// awaitDoors listens as soon as the addresses are there: that of management comes
// with the bridge. nil: the daemon ends before that.
func (d *Daemon) awaitDoors(ctx context.Context, c config.Erlang) (*doors, uint16, error) {
	retry := time.NewTicker(200 * time.Millisecond)
	defer retry.Stop()
	for said := false; ; said = true {
		doors, port, err := openDoors(ctx, c, d.log)
		if !errors.Is(err, unix.EADDRNOTAVAIL) {
			return doors, port, err
		}
		if !said {
			d.log.Warn("Erlang nodes have to wait: the address is not there yet", "err", err)
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return nil, 0, nil
		}
	}
}

// openDoors listens; port is what a port mapper is told.
func openDoors(ctx context.Context, c config.Erlang, log *slog.Logger) (d *doors, port uint16, err error) {
	d = &doors{}
	if c.TCP.IsValid() {
		l, err := net.Listen("tcp", c.TCP.String())
		if err != nil {
			return nil, 0, fmt.Errorf("erlang.tcp: %w", err)
		}
		d.accepts, d.closes, port = append(d.accepts, hidden.AcceptTCP(l)), append(d.closes, l.Close), c.TCP.Port()
	}
	if c.Distlink.IsValid() {
		l, err := listenDistlink(ctx, c, log)
		if err != nil {
			d.close()
			return nil, 0, fmt.Errorf("erlang.distlink: %w", err)
		}
		d.accepts, d.closes, port = append(d.accepts, hidden.AcceptLinks(l)), append(d.closes, l.Close), c.Distlink.Port()
	}
	return d, port, nil
}
