package txtime

import (
	"encoding/binary"
	"fmt"

	attribute "github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Queue is the etf that a socket's frames wait in.
type Queue struct {
	Delta    int64 // ns; see tsn.LaunchTime
	Deadline bool
}

// QueueOf finds the etf of the class that frames with this SO_PRIORITY leave an
// interface by. A VLAN device has the queues of what it stands on. The error
// says why frames would not wait for their launch times.
func QueueOf(ifname string, priority int) (Queue, error) {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return Queue{}, fmt.Errorf("launch times on %s: %w", ifname, err)
	}
	for link.Type() == "vlan" {
		if link, err = netlink.LinkByIndex(link.Attrs().ParentIndex); err != nil {
			return Queue{}, fmt.Errorf("launch times on %s: what it stands on: %w", ifname, err)
		}
	}
	qs, err := qdiscs(link.Attrs().Index)
	if err != nil {
		return Queue{}, fmt.Errorf("launch times on %s: %w", ifname, err)
	}
	q, err := find(qs, priority)
	if err != nil {
		return Queue{}, fmt.Errorf("launch times on %s: %w", link.Attrs().Name, err)
	}
	return q, nil
}

type qdisc struct {
	handle, parent uint32
	kind           string
	options        []byte
}

// qdiscs lists those of an interface. The kernel sizes the messages of a dump by
// what was last received into: in the small default a long gate list would not
// fit, and the dump end without it. Hence the question about the link first.
func qdiscs(index int) ([]qdisc, error) {
	s, err := nl.Subscribe(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("route netlink: %w", err)
	}
	defer s.Close()
	sockets := map[int]*nl.SocketHandle{unix.NETLINK_ROUTE: {Socket: s}}
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_ACK)
	req.Sockets = sockets
	info := nl.NewIfInfomsg(unix.AF_UNSPEC)
	info.Index = int32(index)
	req.AddData(info)
	if _, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK); err != nil {
		return nil, fmt.Errorf("asking for the link: %w", err)
	}
	req = nl.NewNetlinkRequest(unix.RTM_GETQDISC, unix.NLM_F_DUMP)
	req.Sockets = sockets
	req.AddData(&nl.TcMsg{Family: nl.FAMILY_ALL, Ifindex: int32(index)})
	ms, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWQDISC)
	if err != nil {
		return nil, fmt.Errorf("listing queueing disciplines: %w", err)
	}
	var out []qdisc
	for _, m := range ms {
		if len(m) < nl.SizeofTcMsg || int(int32(binary.NativeEndian.Uint32(m[4:]))) != index {
			continue
		}
		out = append(out, qdisc{
			handle: binary.NativeEndian.Uint32(m[8:]), parent: binary.NativeEndian.Uint32(m[12:]),
			kind:    nl.BytesToString(option(m[nl.SizeofTcMsg:], nl.TCA_KIND)),
			options: option(m[nl.SizeofTcMsg:], nl.TCA_OPTIONS),
		})
	}
	return out, nil
}

const (
	taprioPriomap = 1 // TCA_TAPRIO_ATTR_PRIOMAP
	etfParms      = 1 // TCA_ETF_PARMS
	etfDeadline   = 1 << 0
	qoptOctets    = 82 // struct tc_mqprio_qopt
	qoptMap       = 1  // offset of prio_tc_map
	qoptOffset    = 50 // of offset, the first queue of each class
)

// find follows a priority from the root to its class's qdisc.
func find(qs []qdisc, priority int) (Queue, error) {
	at := func(parent uint32) (qdisc, bool) {
		for _, q := range qs {
			if q.parent == parent && q.handle != 0 {
				return q, true
			}
		}
		return qdisc{}, false
	}
	root, _ := at(netlink.HANDLE_ROOT)
	leaf := root
	if root.kind == "taprio" || root.kind == "mqprio" {
		queue, err := queueOf(root, priority)
		if err != nil {
			return Queue{}, err
		}
		leaf, _ = at(root.handle | uint32(queue+1))
	}
	if leaf.kind != "etf" {
		kind := leaf.kind
		if kind == "" {
			kind = "the default queue"
		}
		return Queue{}, fmt.Errorf("priority %d is queued by %s, and only etf keeps frames until their time", priority, kind)
	}
	parms := option(leaf.options, etfParms)
	if len(parms) < 12 {
		return Queue{}, fmt.Errorf("priority %d: an etf without parameters", priority)
	}
	if clock := int32(binary.NativeEndian.Uint32(parms[4:])); clock != unix.CLOCK_TAI {
		return Queue{}, fmt.Errorf("priority %d: its etf goes by clock %d, not by CLOCK_TAI", priority, clock)
	}
	return Queue{int64(int32(binary.NativeEndian.Uint32(parms))), binary.NativeEndian.Uint32(parms[8:])&etfDeadline != 0}, nil
}

// queueOf is the transmit queue of a priority.
func queueOf(root qdisc, priority int) (int, error) {
	qopt := root.options
	if root.kind == "taprio" {
		qopt = option(qopt, taprioPriomap)
	}
	if len(qopt) < qoptOctets {
		return 0, fmt.Errorf("%s tells no classes", root.kind)
	}
	class := int(qopt[qoptMap+priority&15] & 15)
	return int(binary.NativeEndian.Uint16(qopt[qoptOffset+2*class:])), nil
}

// option is the value of one attribute, nil if absent.
func option(b []byte, typ uint16) []byte {
	ad, err := attribute.NewAttributeDecoder(b)
	if err != nil {
		return nil
	}
	for ad.Next() {
		if ad.Type() == typ {
			return ad.Bytes()
		}
	}
	return nil
}
