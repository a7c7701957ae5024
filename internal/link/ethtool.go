package link

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"tsnswitch"
)

// ethtoolCmd is struct ethtool_cmd of linux/ethtool.h.
type ethtoolCmd struct {
	cmd, supported, advertising uint32
	speed                       uint16
	_                           [6]byte // duplex, port, phy, transceiver, autoneg, mdio
	_                           [8]byte // maxtxpkt, maxrxpkt
	speedHigh                   uint16
	_                           [2]byte
	_                           [12]byte // lp_advertising, reserved
}

// ifreqData is struct ifreq where its union holds a pointer.
type ifreqData struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// ethtoolRate asks the driver for the link's speed. Of the two requests that
// can, this is the one that fits in a fixed structure; the kernel answers it
// for every driver.
func ethtoolRate(ifname string) (tsn.Rate, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	cmd := ethtoolCmd{cmd: unix.ETHTOOL_GSET}
	req := ifreqData{data: unsafe.Pointer(&cmd)}
	copy(req.name[:unix.IFNAMSIZ-1], ifname)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	if errno != 0 {
		return 0, fmt.Errorf("speed of %s: %w", ifname, errno)
	}
	mbps := uint32(cmd.speedHigh)<<16 | uint32(cmd.speed)
	if mbps == 0 || mbps == 0xffffffff || mbps == 0xffff { // SPEED_UNKNOWN
		return 0, fmt.Errorf("speed of %s: the driver does not know it; configure the port's rate", ifname)
	}
	return tsn.Rate(mbps) * tsn.Mbps, nil
}
