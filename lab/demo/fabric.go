package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
)

// Where a daemon keeps its things, inside its space: /run is private there.
const (
	runDir   = "/run/tsnswitchd"
	stateDir = "/run/tsnswitchd/state"
	socket   = runDir + "/tsnswitchd.sock"
)

// A labNode is one bridge or host: a space, and the daemon in it.
type labNode struct {
	config.Node
	space  *space
	client *api.Client
	daemon *exec.Cmd
	exited chan error
	ports  []config.Port
}

func (n *labNode) bridge() bool { return n.Kind == config.KindBridge }

// A fabric is the whole lab network.
type fabric struct {
	opt   options
	net   *config.Network
	rate  tsn.Rate // of every wire now
	nodes []*labNode
	// extra changes a node's generated configuration; nil: it stays.
	extra func(*labNode, *config.Daemon) error
}

func (f *fabric) node(name string) *labNode {
	for _, n := range f.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (f *fabric) kind(kind string) []*labNode {
	var out []*labNode
	for _, n := range f.nodes {
		if n.Kind == kind {
			out = append(out, n)
		}
	}
	return out
}

// ends are both ends of a link of the network.
func (f *fabric) ends(l config.Link) (a, b end) {
	return end{f.node(l.A.Node).space, config.Ifname(l.A.Port)}, end{f.node(l.B.Node).space, config.Ifname(l.B.Port)}
}

// build makes spaces, cables and wires; no daemon runs yet.
func (f *fabric) build(ctx context.Context) error {
	for _, n := range f.net.Nodes {
		s, err := newSpace(n.Name)
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, &labNode{
			Node: n, space: s,
			client: api.DialUnix(fmt.Sprintf("/proc/%d/root%s", s.pid, socket)),
		})
		if err := s.inside(prepareSpace); err != nil {
			return fmt.Errorf("prepare %s: %w", n.Name, err)
		}
	}
	for _, l := range f.net.Links {
		a, b := f.ends(l)
		if err := layCable(a, b); err != nil {
			return err
		}
		for _, e := range []end{a, b} {
			if err := connectWire(ctx, e, tsn.Rate(l.Rate)); err != nil {
				return err
			}
		}
	}
	for _, h := range f.kind(config.KindHost) {
		if err := f.dressHost(h); err != nil {
			return fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	return nil
}

// prepareSpace quietens a new network namespace: only what the lab sends
// shall be counted.
func prepareSpace() error {
	for _, f := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+f+"/disable_ipv6", []byte("1"), 0o644)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// dressHost gives a host its address and its VLANs, as an administrator would:
// data untagged, streams in a VLAN device that turns socket priority into PCP.
func (f *fabric) dressHost(h *labNode) error {
	ifname := ""
	for _, l := range f.net.Links {
		for _, e := range []config.End{l.A, l.B} {
			if e.Node == h.Name {
				ifname = config.Ifname(e.Port)
			}
		}
	}
	fab := f.net.Fabric
	return h.space.inside(func() error {
		port, err := netlink.LinkByName(ifname)
		if err != nil {
			return err
		}
		mac, _ := net.ParseMAC(h.SystemID.String())
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = fmt.Sprintf("%s.%d", ifname, fab.StreamVID), port.Attrs().Index
		vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(fab.StreamVID), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q, EgressQosMap: map[uint32]uint32{}}
		for p := range uint32(8) {
			vlan.EgressQosMap[p] = p
		}
		return errors.Join(
			netlink.LinkSetHardwareAddr(port, mac),
			netlink.AddrAdd(port, address(h.Data.Addr, fab.DataNet.Prefix)),
			netlink.LinkAdd(vlan),
			netlink.AddrAdd(vlan, address(h.Stream.Addr, fab.StreamNet.Prefix)),
			netlink.LinkSetUp(vlan),
		)
	})
}

func address(a netip.Addr, net_ netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(net_.Bits(), a.BitLen())}}
}

// start writes every node's configuration, and its keys, and starts its daemon.
func (f *fabric) start(now time.Time) error {
	keys := filepath.Join(f.opt.out, "keys")
	var names []string
	for _, n := range f.nodes {
		names = append(names, n.Name)
	}
	if err := api.CreatePKI(keys, names, now); err != nil {
		return err
	}
	for _, n := range f.nodes {
		if err := f.startDaemon(n); err != nil {
			return err
		}
	}
	return nil
}

// startDaemon writes the node's configuration for the present rate of the
// wires, and starts its daemon.
func (f *fabric) startDaemon(n *labNode) error {
	c, err := f.net.DaemonConfig(n.Name, config.Dirs{Run: runDir, State: stateDir, Keys: filepath.Join(f.opt.out, "keys")})
	if err != nil {
		return err
	}
	if f.extra != nil {
		if err := f.extra(n, c); err != nil {
			return err
		}
	}
	n.ports = c.Ports
	text, err := c.Marshal()
	if err != nil {
		return err
	}
	file := filepath.Join(f.opt.out, "conf", n.Name+".yaml")
	if err := writeFile(file, text); err != nil {
		return err
	}
	log := filepath.Join(f.opt.out, "log", n.Name+".log")
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(filepath.Join(f.opt.bin, "tsnswitchd"), "--config", file)
	cmd.Stdout, cmd.Stderr = out, out
	if err := n.space.start(cmd); err != nil {
		return fmt.Errorf("start the daemon of %s: %w", n.Name, err)
	}
	exited := make(chan error, 1)
	n.daemon, n.exited = cmd, exited
	go func() { exited <- cmd.Wait() }()
	return nil
}

// stopDaemon asks the node's daemon to end and waits until it has.
func (f *fabric) stopDaemon(ctx context.Context, n *labNode) error {
	if err := n.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the daemon of %s: %w", n.Name, err)
	}
	select {
	case err := <-n.exited:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the daemon of %s does not end: %w", n.Name, ctx.Err())
	}
}

// alive is an error if a daemon has ended by itself.
func (f *fabric) alive() error {
	for _, n := range f.nodes {
		select {
		case err := <-n.exited:
			n.exited <- err
			return fmt.Errorf("the daemon of %s ended: %v; the end of its log:\n%s", n.Name, err, tail(filepath.Join(f.opt.out, "log", n.Name+".log"), 12))
		default:
		}
	}
	return nil
}

// setRate changes the rate of every wire, and of every daemon's idea of it.
func (f *fabric) setRate(ctx context.Context, rate tsn.Rate) error {
	for i := range f.net.Links {
		a, b := f.ends(f.net.Links[i])
		if err := errors.Join(setWireRate(ctx, a, rate), setWireRate(ctx, b, rate)); err != nil {
			return err
		}
		f.net.Links[i].Rate = config.Rate(rate)
	}
	f.rate = rate
	for _, n := range f.nodes {
		if err := f.stopDaemon(ctx, n); err != nil {
			return err
		}
	}
	for _, n := range f.nodes {
		if err := f.startDaemon(n); err != nil {
			return err
		}
	}
	return nil
}

// setLink cuts or mends a link at both ends.
func (f *fabric) setLink(l config.Link, up bool) error {
	a, b := f.ends(l)
	for _, e := range []end{a, b} {
		err := e.space.inside(func() error {
			link, err := netlink.LinkByName(e.ifname)
			if err != nil {
				return err
			}
			if up {
				return netlink.LinkSetUp(link)
			}
			return netlink.LinkSetDown(link)
		})
		if err != nil {
			return fmt.Errorf("link %s: %w", l, err)
		}
	}
	return nil
}

// tsnctl runs the command as a person on that node would.
func (f *fabric) tsnctl(ctx context.Context, n *labNode, args ...string) (string, error) {
	return n.space.run(ctx, filepath.Join(f.opt.bin, "tsnctl"), append([]string{"--socket", socket}, args...)...)
}

// close ends everything.
func (f *fabric) close() {
	for _, n := range f.nodes {
		n.client.Close()
		n.space.close()
	}
	_ = os.RemoveAll(filepath.Join(f.opt.out, "keys"))
}

func writeFile(file string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

func tail(file string, lines int) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
