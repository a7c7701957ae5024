package link

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNoHardwareStamps says that an interface has no hardware time stamps.
var ErrNoHardwareStamps = errors.New("interface cannot stamp gPTP frames in hardware")

// Stamping is who stamps the gPTP frames of a port, and why.
type Stamping struct {
	Hardware bool
	Why      string
}

func (s Stamping) String() string {
	if s.Hardware {
		return "hardware: " + s.Why
	}
	return "software: " + s.Why
}

// hardwareClock is a Clock that understands hardware stamps, such as PHC.
type hardwareClock interface{ Index() int }

// StampingOf asks the driver (ethtool ts-info) who will stamp the frames of an
// interface: its hardware if that stamps gPTP frames by the very clock that
// LocalClock is, else the kernel.
func StampingOf(ifname string, clock Clock) Stamping {
	info, err := tsInfo(ifname)
	if err != nil {
		return Stamping{Why: err.Error()}
	}
	s := stamping(info, clock)
	if !s.Hardware && info.So_timestamping&unix.SOF_TIMESTAMPING_TX_SOFTWARE == 0 {
		s.Why += "; and its driver stamps no frame that it sends, so it cannot be asCapable"
	}
	return s
}

func stamping(info *unix.EthtoolTsInfo, clock Clock) Stamping {
	h, ok := clock.(hardwareClock)
	if !ok {
		return Stamping{Why: "LocalClock is not a PTP hardware clock"}
	}
	if _, err := chooseHardwareStamps(info); err != nil {
		return Stamping{Why: err.Error()}
	}
	if int(info.Phc_index) != h.Index() {
		return Stamping{Why: fmt.Sprintf("interface stamps by /dev/ptp%d, and LocalClock is /dev/ptp%d", info.Phc_index, h.Index())}
	}
	return Stamping{Hardware: true, Why: fmt.Sprintf("by /dev/ptp%d, which is LocalClock", h.Index())}
}

// enableHardwareStamps switches them on for gPTP event messages, or for all
// frames where the hardware knows no other way.
//
// Untested beyond its refusal and the choice: no hardware that stamps was
// available.
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
