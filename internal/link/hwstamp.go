package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoHardwareStamps says that a port was configured for hardware time
// stamps and its interface has none.
var ErrNoHardwareStamps = errors.New("interface cannot stamp gPTP frames in hardware; configure software stamps")

// enableHardwareStamps switches them on for gPTP event messages, or for all
// frames where the hardware knows no other way.
//
// Untested beyond its refusal: no hardware that stamps was available.
func enableHardwareStamps(ifname string) error {
	info, err := tsInfo(ifname)
	if err != nil {
		return fmt.Errorf("%s: %w", ifname, err)
	}
	cfg, err := chooseHardwareStamps(info)
	if err != nil {
		return fmt.Errorf("%s: %w", ifname, err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: socket: %w", ifname, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetHwTstamp(fd, ifname, &cfg); err != nil {
		return fmt.Errorf("%s: switch hardware stamps on (needs CAP_NET_ADMIN): %w", ifname, err)
	}
	return nil
}

// chooseHardwareStamps picks the narrowest filter that catches gPTP.
func chooseHardwareStamps(info *unix.EthtoolTsInfo) (unix.HwTstampConfig, error) {
	const needed = unix.SOF_TIMESTAMPING_TX_HARDWARE | unix.SOF_TIMESTAMPING_RX_HARDWARE | unix.SOF_TIMESTAMPING_RAW_HARDWARE
	cfg := unix.HwTstampConfig{Tx_type: unix.HWTSTAMP_TX_ON}
	if info.So_timestamping&needed != needed || info.Tx_types&(1<<unix.HWTSTAMP_TX_ON) == 0 {
		return cfg, ErrNoHardwareStamps
	}
	for _, filter := range []int32{
		unix.HWTSTAMP_FILTER_PTP_V2_L2_EVENT,
		unix.HWTSTAMP_FILTER_PTP_V2_EVENT,
		unix.HWTSTAMP_FILTER_ALL,
	} {
		if info.Rx_filters&(1<<filter) != 0 {
			cfg.Rx_filter = filter
			return cfg, nil
		}
	}
	return cfg, ErrNoHardwareStamps
}
