package kerneltest

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"tsnswitch/internal/kerneltest/uml"
)

// Probe tries out one feature in a network namespace of its own and leaves nothing
// behind. A nil error means that it is there, a *MissingError that it is not, any
// other that this could not be found out.
func Probe(f Feature) error {
	switch f {
	case TimeTravel:
		return probeTimeTravel()
	case OwnKernel:
		return probeOwnKernel()
	}
	if os.Geteuid() != 0 {
		return &MissingError{Root, "this is an ordinary user"}
	}
	ns, err := newNetNS()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		return &MissingError{Root, "no new network namespace: " + err.Error()}
	}
	if err != nil {
		return err
	}
	defer ns.close()
	var found error
	if err := ns.try(func() { found = probeHere(f) }); err != nil {
		return err
	}
	return found
}

// probeHere probes in the thread's namespace, which is empty and thrown away.
func probeHere(f Feature) error {
	dev := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: "probe0", NumTxQueues: 8, NumRxQueues: 8},
		PeerName:  "probe1",
	}
	if err := netlink.LinkAdd(dev); err != nil {
		return &MissingError{f, "no veth pair: " + err.Error()}
	}
	link, err := netlink.LinkByName("probe0")
	if err != nil {
		return err
	}
	switch f {
	case Root:
		return nil
	case Taprio, CBS, ETF, MQPrio:
		return probeQdisc(f, string(f), link)
	case Flower:
		if err := probeQdisc(f, "clsact", link); err != nil {
			return err
		}
		return probeFilter(f, link)
	case VLANFiltering:
		return probeVLANFiltering(f)
	case VLANDevices:
		err := netlink.LinkAdd(&netlink.Vlan{
			LinkAttrs: netlink.LinkAttrs{Name: "probe2", ParentIndex: link.Attrs().Index}, VlanId: 2,
		})
		if err != nil {
			return &MissingError{f, "the kernel refuses a VLAN device: " + err.Error()}
		}
		return nil
	case MST:
		return probeMST(f)
	case ActGate:
		return probeAction(f, "gate")
	case NetDevSim:
		if _, err := os.Stat("/sys/bus/netdevsim/new_device"); err != nil {
			return &MissingError{f, "the kernel has no netdevsim bus"}
		}
		return nil
	}
	return fmt.Errorf("%q is no known feature", f)
}

// probeQdisc asks for a queueing discipline without its options: a kernel that has
// it complains about the options, one that has not says that it knows no such kind.
func probeQdisc(f Feature, kind string, link netlink.Link) error {
	attrs := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT}
	if kind == "clsact" {
		attrs.Parent, attrs.Handle = netlink.HANDLE_CLSACT, netlink.MakeHandle(0xffff, 0)
	}
	err := netlink.QdiscAdd(&netlink.GenericQdisc{QdiscAttrs: attrs, QdiscType: kind})
	if errors.Is(err, unix.ENOENT) {
		return &MissingError{f, "the kernel has no queueing discipline " + kind}
	}
	return nil
}

func probeFilter(f Feature, link netlink.Link) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(&nl.TcMsg{
		Family: nl.FAMILY_ALL, Ifindex: int32(link.Attrs().Index), Parent: netlink.HANDLE_MIN_EGRESS,
		Info: netlink.MakeHandle(1, nl.Swap16(unix.ETH_P_ALL)),
	})
	req.AddData(nl.NewRtAttr(nl.TCA_KIND, nl.ZeroTerminated(string(f))))
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); errors.Is(err, unix.ENOENT) {
		return &MissingError{f, "the kernel has no classifier " + string(f)}
	}
	return nil
}

func probeAction(f Feature, kind string) error {
	req := nl.NewNetlinkRequest(unix.RTM_NEWACTION, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddRawData(make([]byte, 4)) // struct tcamsg, all zero
	table := nl.NewRtAttr(nl.TCA_ACT_TAB, nil)
	first := table.AddRtAttr(1, nil)
	first.AddRtAttr(nl.TCA_ACT_KIND, nl.ZeroTerminated(kind))
	req.AddData(table)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); errors.Is(err, unix.ENOENT) {
		return &MissingError{f, "the kernel has no action " + kind}
	}
	return nil
}

func probeVLANFiltering(f Feature) error {
	on := true
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "probe2"}, VlanFiltering: &on}
	if err := netlink.LinkAdd(bridge); err != nil {
		return &MissingError{f, "the kernel refuses the bridge: " + err.Error()}
	}
	link, err := netlink.LinkByName("probe2")
	if err != nil {
		return err
	}
	// Without the feature the attribute is ignored, and a VLAN is refused.
	if err := netlink.BridgeVlanAdd(link, 2, false, false, true, false); err != nil {
		return &MissingError{f, "the kernel refuses a VLAN on a bridge: " + err.Error()}
	}
	return nil
}

// probeMST makes a bridge with the option mst_enabled and reads it back: a kernel
// that does not know the bit ignores it.
func probeMST(f Feature) error {
	const iflaBrMultiBoolOpt, optMST = 46, 1 << 2
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("probe2")))
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	opts := append(nl.Uint32Attr(optMST), nl.Uint32Attr(optMST)...) // struct br_boolopt_multi
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(iflaBrMultiBoolOpt, opts)
	req.AddData(info)
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return &MissingError{f, "the kernel refuses mst_enabled on a bridge: " + err.Error()}
	}

	req = nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated("probe2")))
	msgs, err := req.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("read back a bridge: %d answers, %w", len(msgs), err)
	}
	got := msgs[0][unix.SizeofIfInfomsg:]
	for _, attr := range []uint16{unix.IFLA_LINKINFO, nl.IFLA_INFO_DATA, iflaBrMultiBoolOpt} {
		got = attribute(got, attr)
	}
	if len(got) < 4 || nl.NativeEndian().Uint32(got)&optMST == 0 {
		return &MissingError{f, "the kernel does not know mst_enabled on a bridge"}
	}
	return nil
}

// attribute returns the value of one attribute in a list of them, nil if absent.
func attribute(list []byte, kind uint16) []byte {
	attrs, err := nl.ParseRouteAttr(list)
	if err != nil {
		return nil
	}
	for _, a := range attrs {
		if a.Attr.Type&nl.NLA_TYPE_MASK == kind {
			return a.Value
		}
	}
	return nil
}

// probeOwnKernel looks at how the running kernel was configured, which says more
// than where it came from.
func probeOwnKernel() error {
	lacks, err := uml.OwnLacks()
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &MissingError{OwnKernel, "this is another kernel; run `make kernel` to build it"}
	case err != nil:
		return err
	case len(lacks) > 0:
		return &MissingError{OwnKernel, "this kernel is built without " + lacks[0] + "; run `make kernel` to build one"}
	}
	return nil
}

func probeTimeTravel() error {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	for _, p := range strings.Fields(string(line)) {
		if strings.HasPrefix(p, "time-travel=inf-cpu") {
			return nil
		}
	}
	return &MissingError{TimeTravel, "time is real here; only the own kernel can do otherwise, see `make kernel`"}
}
