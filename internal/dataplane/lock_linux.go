package dataplane

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// Ownership is the exclusive right to the interfaces of a configuration.
type Ownership struct{ listeners []net.Listener }

// Lock takes that right, or says (ErrBusy) who has it. It holds one abstract
// unix socket for the bridge and each port; such names belong to the network
// namespace, as interfaces do, and the kernel frees them when a process ends,
// however it ends. Call it in the namespace of the switch.
func Lock(cfg Config) (*Ownership, error) {
	names := []string{}
	if cfg.Bridge != "" {
		names = append(names, cfg.Bridge)
	}
	for _, p := range cfg.Ports {
		names = append(names, p.Ifname)
	}
	o := &Ownership{}
	for _, n := range names {
		addr := &net.UnixAddr{Net: "unix", Name: "@tsnswitch/dataplane/" + n}
		l, err := net.ListenUnix("unix", addr)
		if err != nil {
			o.Release()
			if errors.Is(err, unix.EADDRINUSE) {
				return nil, fmt.Errorf("interface %s: %w%s; stop it first", n, ErrBusy, holder(addr))
			}
			return nil, fmt.Errorf("interface %s: taking the lock: %w", n, err)
		}
		o.listeners = append(o.listeners, l)
	}
	return o, nil
}

// Release gives the right back.
func (o *Ownership) Release() {
	for _, l := range o.listeners {
		l.Close()
	}
	o.listeners = nil
}

// holder names the process behind the lock, if the kernel tells.
func holder(addr *net.UnixAddr) string {
	c, err := net.DialUnix("unix", nil, addr)
	if err != nil {
		return ""
	}
	defer c.Close()
	rc, err := c.SyscallConn()
	if err != nil {
		return ""
	}
	pid := ""
	_ = rc.Control(func(fd uintptr) {
		if u, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = fmt.Sprintf(" (pid %d)", u.Pid)
		}
	})
	return pid
}
