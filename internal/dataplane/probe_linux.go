package dataplane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/mdlayher/netlink"
	nlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// probed is what this kernel can do, apart from any interface.
type probed struct {
	order   Order
	why     string            // how order is known
	missing map[string]string // feature -> why it is missing
}

// probeOnce tries the kernel out in a network namespace that ends with the
// goroutine's thread: a thread that exits locked is thrown away.
var probeOnce = sync.OnceValue(func() probed {
	ch := make(chan probed)
	go func() {
		runtime.LockOSThread()
		p := probed{missing: map[string]string{}}
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			p.byVersion("no namespace to try it in: " + err.Error())
		} else if err := p.run(); err != nil {
			p.byVersion("the trial failed: " + err.Error())
		}
		ch <- p
	}()
	return <-ch
})

// byVersion falls back to what the kernel's sources say.
func (p *probed) byVersion(reason string) {
	var u unix.Utsname
	var major, minor int
	if err := unix.Uname(&u); err == nil {
		_, _ = fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	p.order = HighestFirst
	if major < 6 || major == 6 && minor < 3 {
		p.order = LowestFirst
	}
	p.why = fmt.Sprintf("%s, by kernel version %d.%d (%s)", p.order, major, minor, reason)
}

// run tries every feature. What fails is noted as missing; an error means that
// the class order could not be found out.
func (p *probed) run() error {
	a, err := probeLinks()
	if err != nil {
		return err
	}
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.Close()
	note := func(feature string, err error) {
		if err != nil && p.missing[feature] == "" {
			p.missing[feature] = "the kernel refuses it: " + err.Error()
		}
	}
	note(FeatureVLANFiltering, p.bridge(c, note))
	note(FeatureClassifier, c.setFilters(a, 0, 0, false))
	c.probeFilters(a, note)
	note(FeatureRegeneration, c.probeRules(a))
	note(FeatureKeepBack, c.send(keepBackRequest(a, []tsn.ControlFrames{{Group: tsn.MAC{1}}})))
	note(FeatureCBS, c.setPrio(a, prioHandle, netlinkRoot))
	note(FeatureCBS, c.setQdisc(netlink.Create|netlink.Replace, a, cbsHandle, prioHandle|1, "cbs",
		encodeCBS(Shaper{IdleSlope: 1000, SendSlope: -9000, HiCredit: 100, LoCredit: -1400})))
	note(FeatureLaunchTime, c.setQdisc(netlink.Create|netlink.Replace, a, softHandle, netlinkRoot, "etf", encodeETF(launchETF(PortConfig{}, false))))
	cl := classes{n: 2}
	root := cl.root(tsn.ClassMap{7: 1}, PortConfig{})
	note(FeatureMQPrio, c.setMQPrio(a, root))
	_ = c.delQdisc(a, netlinkRoot) // taprio does not replace it
	closed := &Schedule{Cycle: AllOpenCycle, Entries: []tsn.GateEntry{{Interval: AllOpenCycle}}}
	err = c.setQdisc(netlink.Create|netlink.Replace, a, rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		cl.encodeTaprio(ae, root, false, closed, perClass{})
	})
	note(FeatureTaprio, err)
	if err != nil {
		return err
	}
	return p.classOrder(c, cl, a, root)
}

// probeLinks makes a veth pair with two queues, p0 and p1, both up.
func probeLinks() (index int, err error) {
	pair := nlink.NewVeth(nlink.LinkAttrs{Name: "p0", NumTxQueues: 2, NumRxQueues: 2, TxQLen: 1000})
	pair.PeerName = "p1"
	if err := nlink.LinkAdd(pair); err != nil {
		return 0, fmt.Errorf("veth pair: %w", err)
	}
	for _, name := range []string{"p1", "p0"} {
		l, err := nlink.LinkByName(name)
		if err != nil {
			return 0, err
		}
		if err := nlink.LinkSetUp(l); err != nil {
			return 0, err
		}
		index = l.Attrs().Index
	}
	return index, nil
}

// bridge makes a bridge with a dummy VLAN and group on a port p2.
func (p *probed) bridge(c *conn, note func(string, error)) error {
	if err := c.setBridge("b0", tsn.MAC{}, true); err != nil {
		return err
	}
	pair := nlink.NewVeth(nlink.LinkAttrs{Name: "p2"})
	pair.PeerName = "p3"
	if err := nlink.LinkAdd(pair); err != nil {
		return err
	}
	ls, err := c.links()
	if err != nil {
		return err
	}
	port, br := ls["p2"].index, ls["b0"].index
	if err := c.enslave(port, br); err != nil {
		return err
	}
	if !ls["b0"].bridge.VLANFiltering {
		return errors.New("vlan_filtering stays off")
	}
	if err := c.send(vlanRequest(unix.RTM_SETLINK, port, tsn.PortVLAN{VID: 2}, false)); err != nil {
		return err
	}
	note(FeatureMDB, c.send(mdbRequest(unix.RTM_NEWMDB, group{tsn.MAC{0x73}, 2, port, br})))
	note(FeatureLocked, c.send(flagsRequest(port, Flags{Locked: true}, true)))
	if raw, err := c.bridgePorts(); err == nil && !raw[port].flags.Locked {
		p.missing[FeatureLocked] = "the kernel ignores the flag (it came with 5.18)"
	}
	return nil
}

// classOrder queues one frame in each of two classes behind closed gates, the
// lower first, opens them and looks which leaves first.
func (p *probed) classOrder(c *conn, cl classes, index int, root taprioRoot) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	started := func() (bool, error) {
		t, err := rootState(c, cl, index)
		if t.Oper != nil && !t.HasMaxSDU { // newer kernels tell it only then
			p.missing[FeatureMaxSDU] = "the kernel's taprio does not know it (it came with 6.1)"
		}
		if t.Oper != nil && !t.HasFP {
			p.missing[FeaturePreemption] = "the kernel's taprio does not know it (it came with 6.4)"
		}
		return t.Oper != nil && t.Admin == nil, err
	}
	if err := poll(ctx, started); err != nil {
		return err
	}
	rx, err := rawSocket("p1", etherTypeProbe)
	if err != nil {
		return err
	}
	defer unix.Close(rx)
	tx, err := rawSocket("p0", 0)
	if err != nil {
		return err
	}
	defer unix.Close(tx)
	for _, prio := range []int{0, 7} {
		frame := make([]byte, 60)
		copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, etherTypeProbe >> 8, etherTypeProbe & 0xff, byte(prio)})
		if err := unix.SetsockoptInt(tx, unix.SOL_SOCKET, unix.SO_PRIORITY, prio); err != nil {
			return err
		}
		if _, err := unix.Write(tx, frame); err != nil {
			return err
		}
	}
	err = c.setQdisc(netlink.Replace, index, rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		cl.encodeTaprio(ae, root, true, AllOpen(cl.n), perClass{})
	})
	if err != nil {
		return err
	}
	buf := make([]byte, 100)
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR { // the runtime signals its threads
		n, err = unix.Read(rx, buf)
	}
	if err != nil || n < 15 {
		return fmt.Errorf("no frame came through: %w", err)
	}
	p.order = HighestFirst
	if buf[14] == 0 {
		p.order = LowestFirst
	}
	p.why = p.order.String() + ", by trial"
	return nil
}

func rootState(c *conn, cl classes, index int) (taprioState, error) {
	qs, err := c.qdiscs()
	if err != nil {
		return taprioState{}, err
	}
	for _, q := range qs {
		if q.index == index && q.parent == netlinkRoot && q.kind == "taprio" {
			return cl.decodeTaprio(q.options)
		}
	}
	return taprioState{}, errors.New("the taprio just made is not there")
}

const etherTypeProbe = 0x88b5 // for local experiments (IEEE 802)

// rawSocket returns a packet socket on an interface with a bounded receive.
func rawSocket(name string, proto uint16) (int, error) {
	l, err := nlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	var be [2]byte
	binary.BigEndian.PutUint16(be[:], proto)
	proto = binary.NativeEndian.Uint16(be[:])
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(proto))
	if err != nil {
		return 0, fmt.Errorf("packet socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(3 * time.Second))
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.Attrs().Index}),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv))
	if err != nil {
		unix.Close(fd)
	}
	return fd, err
}
