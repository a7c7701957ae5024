package dataplane

import (
	"errors"
	"fmt"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// mmConn speaks the MAC merge messages of ethtool's generic netlink family.
type mmConn struct {
	c      *genetlink.Conn
	family genetlink.Family
	why    error // it cannot be spoken to
}

// dialMM does not fail: a kernel without the family has no MAC merge.
func dialMM() *mmConn {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return &mmConn{why: err}
	}
	return newMM(c)
}

func newMM(c *genetlink.Conn) *mmConn {
	_ = c.SetOption(netlink.ExtendedAcknowledge, true) // the reason as text
	m := &mmConn{c: c}
	if m.family, m.why = c.GetFamily(unix.ETHTOOL_GENL_NAME); m.why != nil {
		m.why = fmt.Errorf("the kernel has no ethtool netlink: %w", m.why)
	}
	return m
}

func (m *mmConn) close() error {
	if m == nil || m.c == nil {
		return nil
	}
	return m.c.Close()
}

// header names the interface; what is the flags of the request.
func mmHeaderOf(ifname string, what uint32) func(*netlink.AttributeEncoder) error {
	return func(ae *netlink.AttributeEncoder) error {
		ae.String(unix.ETHTOOL_A_HEADER_DEV_NAME, ifname)
		if what != 0 {
			ae.Uint32(unix.ETHTOOL_A_HEADER_FLAGS, what)
		}
		return nil
	}
}

func (m *mmConn) execute(command uint8, ack netlink.HeaderFlags, build func(*netlink.AttributeEncoder)) ([]genetlink.Message, error) {
	if m.why != nil {
		return nil, m.why
	}
	ae := netlink.NewAttributeEncoder()
	build(ae)
	b, err := ae.Encode()
	if err != nil {
		return nil, err
	}
	return m.c.Execute(genetlink.Message{
		Header: genetlink.Header{Command: command, Version: m.family.Version}, Data: b,
	}, m.family.ID, netlink.Request|ack)
}

// ethtoolFlagStats asks for statistics, too.
const ethtoolFlagStats = 1 << 2

func (m *mmConn) get(ifname string) (MACMergeStatus, error) {
	ms, err := m.execute(unix.ETHTOOL_MSG_MM_GET, 0, func(ae *netlink.AttributeEncoder) {
		ae.Nested(mmHeader, mmHeaderOf(ifname, ethtoolFlagStats))
	})
	if err == nil && len(ms) == 0 {
		err = errors.New("no answer")
	}
	if err != nil {
		return MACMergeStatus{}, err
	}
	return decodeMM(ms[0].Data)
}

func (m *mmConn) set(ifname string, want MACMerge) error {
	_, err := m.execute(unix.ETHTOOL_MSG_MM_SET, netlink.Acknowledge, func(ae *netlink.AttributeEncoder) {
		ae.Nested(mmHeader, mmHeaderOf(ifname, 0))
		encodeMM(ae, want)
	})
	return err
}
