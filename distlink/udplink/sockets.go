package udplink

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"tsnswitch/distlink"
)

// sockets are those of a link or a listener, by distlink.Transmit.Lane: one for
// all, and one for each class that has its own, at the same address and port.
type sockets [distlink.NumLanes]*launcher

// open opens each with what open1 does; base is nil for the first, and then where it is.
func (c Config) open(open1 func(c Config, base net.Addr) (*net.UDPConn, error)) (out sockets, err error) {
	defer func() {
		if err != nil {
			out.close()
		}
	}()
	if out[0], err = c.launcher(open1, nil); err != nil || len(c.Classes) == 0 {
		return out, err
	}
	// The port is ours alone before it is shared, and again when all have it.
	if err = reusePort(out[0].conn, 1); err != nil {
		return out, err
	}
	for k := range c.Classes {
		if out[1+k], err = c.of(k).launcher(open1, out[0].conn.LocalAddr()); err != nil {
			return out, err
		}
	}
	for _, l := range out {
		if l != nil {
			err = errors.Join(err, reusePort(l.conn, 0))
		}
	}
	return out, err
}

func (c Config) launcher(open1 func(Config, net.Addr) (*net.UDPConn, error), base net.Addr) (*launcher, error) {
	conn, err := open1(c, base)
	if err != nil {
		return nil, err
	}
	l, err := newLauncher(conn, c)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return l, nil
}

func reusePort(conn *net.UDPConn, on int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, on)
	}); cerr != nil {
		return cerr
	}
	return err
}

// controlShared is control for a socket at a port that another of ours has.
func (c Config) controlShared(network, address string, raw syscall.RawConn) error {
	var err error
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); cerr != nil {
		return cerr
	}
	return errors.Join(err, c.control(network, address, raw))
}

// write sends a datagram by its lane's socket.
func (s *sockets) write(lane int, b []byte, to netip.AddrPort) { s[lane].write(b, to) }

func (s *sockets) close() {
	for _, l := range s {
		if l != nil {
			_ = l.conn.Close()
		}
	}
}

// state sums what the sockets with launch times say. Where none has any, the
// error is the reason of the first that was to.
func (s *sockets) state() (sum LaunchStats, why error) {
	launches := false
	for _, l := range s {
		if l == nil {
			continue
		}
		st, err := l.state()
		switch {
		case err == nil:
			launches = true
			sum.Sent, sum.Missed, sum.Refused = sum.Sent+st.Sent, sum.Missed+st.Missed, sum.Refused+st.Refused
		case why == nil || errors.Is(why, errNotAsked):
			why = err
		}
	}
	if launches {
		why = nil
	}
	return sum, why
}
