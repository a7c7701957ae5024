package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// etf is the parameters of an etf qdisc (struct tc_etf_qopt).
type etf struct {
	Delta   int32 // a frame leaves the qdisc so long before its launch time, ns
	ClockID int32
	Flags   uint32
}

const (
	etfParms     = 1 // TCA_ETF_PARMS
	etfDeadline  = 1 << 0
	etfOffload   = 1 << 1 // the device launches the frame
	etfSkipCheck = 1 << 2 // frames of any socket, also of one without SO_TXTIME
)

func encodeETF(e etf) func(*netlink.AttributeEncoder) {
	b := make([]byte, 12)
	binary.NativeEndian.PutUint32(b, uint32(e.Delta))
	binary.NativeEndian.PutUint32(b[4:], uint32(e.ClockID))
	binary.NativeEndian.PutUint32(b[8:], e.Flags)
	return func(ae *netlink.AttributeEncoder) { ae.Bytes(etfParms, b) }
}

func decodeETF(options []byte) (e etf, err error) {
	err = each(options, func(ad *netlink.AttributeDecoder) {
		if b := ad.Bytes(); ad.Type() == etfParms && len(b) >= 12 {
			e.Delta, e.ClockID = int32(binary.NativeEndian.Uint32(b)), int32(binary.NativeEndian.Uint32(b[4:]))
			e.Flags = binary.NativeEndian.Uint32(b[8:])
		}
	})
	return e, err
}

// Under txtime-assist every class has an etf: in the device if it has launch
// times for all of them, else in the kernel. The kernel's etf lets a frame go
// delta before its launch time and that is then when it leaves, so the schedule
// is sent with a base time delta later; see early.
const (
	launchHandle = 0x0a21 << 16 // plus class << 16: launched by the device
	softHandle   = 0x0a31 << 16 // plus class << 16: launched by the kernel
)

func launchETF(p PortConfig, device bool) etf {
	e := etf{Delta: int32(p.delta()), ClockID: clockTAI, Flags: etfSkipCheck}
	if device {
		e.Flags |= etfOffload
	}
	return e
}

// graftLaunch gives every class its etf.
func (k *kernel) graftLaunch(p PortConfig) error {
	err := k.graftETF(p, launchHandle, launchETF(p, true))
	if k.soft[p.Port] = lacks(err); lacks(err) {
		err = k.graftETF(p, softHandle, launchETF(p, false))
	}
	return err
}

func (k *kernel) graftETF(p PortConfig, handle uint32, e etf) error {
	for c := range tsn.TrafficClass(k.cfg.ClassMap.Classes()) {
		if k.cfg.ClassMap.Unused().Has(c) {
			continue
		}
		err := k.c.setQdisc(netlink.Create|netlink.Replace, k.index(p.Port), handle+uint32(c)<<16, k.parent(p.Port, c), "etf", encodeETF(e))
		if err != nil {
			return fmt.Errorf("etf of class %d: %w", c, err)
		}
	}
	return nil
}

// launches reports whether every class has the etf it needs, all of them in
// the device or all in the kernel.
func (k *kernel) launches(p PortConfig, qs []qdisc) bool {
	device, soft := 0, 0
	for _, q := range qs {
		if _, ours := k.classOf(q, p.Port); !ours || q.kind != "etf" {
			continue
		}
		switch e, _ := decodeETF(q.options); e {
		case launchETF(p, true):
			device++
		case launchETF(p, false):
			soft++
		}
	}
	n := k.cfg.ClassMap.Queues()
	k.soft[p.Port] = soft == n
	return device == n || soft == n
}

// early is how long before its launch time a frame leaves the port.
func (k *kernel) early(p PortConfig) int64 {
	if p.Offload == OffloadTxTime && k.soft[p.Port] {
		return p.delta()
	}
	return 0
}

// talkerHandle plus class << 16 is the etf of a class whose talkers give launch
// times themselves. It takes frames of sockets with SO_TXTIME only.
const talkerHandle = 0x0a41 << 16

func talkerETF(l tsn.LaunchTime) etf {
	e := etf{Delta: int32(l.Delta), ClockID: clockTAI}
	if l.Deadline {
		e.Flags |= etfDeadline
	}
	return e
}

// setLaunch makes the etf anew, whose parameters no kernel changes; by the
// device if that launches frames itself.
func (k *kernel) setLaunch(o SetLaunch) error {
	index, parent := k.index(o.Port), k.parent(o.Port, o.Class)
	if err := k.c.setPfifo(index, parent); err != nil || o.Launch == (tsn.LaunchTime{}) {
		return err
	}
	graft := func(e etf) error {
		return k.c.setQdisc(netlink.Create|netlink.Replace, index, talkerHandle+uint32(o.Class)<<16, parent, "etf", encodeETF(e))
	}
	device := talkerETF(o.Launch)
	device.Flags |= etfOffload
	err := graft(device)
	if lacks(err) {
		err = graft(talkerETF(o.Launch))
	}
	return err
}

func (k *kernel) readLaunch(e *Egress, qs []qdisc) {
	for _, q := range qs {
		c, ours := k.classOf(q, e.Port)
		if !ours || q.kind != "etf" || q.handle != talkerHandle+uint32(c)<<16 {
			continue
		}
		if have, err := decodeETF(q.options); err == nil {
			e.Launch[c] = tsn.LaunchTime{Delta: int64(have.Delta), Deadline: have.Flags&etfDeadline != 0}
		}
	}
}

// errNotSupp is ENOTSUPP, which the kernel is not meant to tell user space but does.
const errNotSupp = unix.Errno(524)
