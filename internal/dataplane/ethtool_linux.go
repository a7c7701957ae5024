package dataplane

import (
	"unsafe"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// linkSpeed asks ethtool, as taprio and cbs do; 0 means unknown.
func linkSpeed(fd int, ifname string) tsn.Rate {
	const ethtoolGSet = 1
	var cmd struct { // struct ethtool_cmd
		cmd, supported, advertising     uint32
		speed                           uint16
		duplex, port, phy, xcvr, an, md uint8
		maxTx, maxRx                    uint32
		speedHi                         uint16
		mdix, mdixCtrl                  uint8
		lp                              uint32
		reserved                        [2]uint32
	}
	cmd.cmd = ethtoolGSet
	var req struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		pad  [16]byte
	}
	if len(ifname) >= len(req.name) {
		return 0
	}
	copy(req.name[:], ifname)
	req.data = unsafe.Pointer(&cmd)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return 0
	}
	mbps := uint32(cmd.speedHi)<<16 | uint32(cmd.speed)
	if mbps == 0xffff || mbps == 0xffffffff {
		return 0
	}
	return tsn.Rate(mbps) * tsn.Mbps
}

// stamping tells what ethtool says of time stamps and the hardware clock.
func stamping(fd int, ifname string) (stamps, phc Feature) {
	stamps, phc = Feature{Name: FeatureTimestamping}, Feature{Name: FeaturePHC}
	info, err := unix.IoctlGetEthtoolTsInfo(fd, ifname)
	const (
		hard = unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
		soft = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_RX_SOFTWARE
	)
	switch {
	case err != nil:
		stamps.State, stamps.Why = FeatureMissing, err.Error()
		phc.State, phc.Why = FeatureMissing, err.Error()
		return stamps, phc
	case info.So_timestamping&hard == hard:
	case info.So_timestamping&soft == soft:
		stamps.State, stamps.Why = FeatureDegraded, "software time stamps only"
	default:
		stamps.State, stamps.Why = FeatureMissing, "the driver stamps no transmitted frames"
	}
	if info.Phc_index < 0 {
		phc.State, phc.Why = FeatureMissing, "the interface has no PTP hardware clock"
	}
	return stamps, phc
}
