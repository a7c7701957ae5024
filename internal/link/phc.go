package link

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNoPHC says that an interface has no PTP hardware clock.
var ErrNoPHC = errors.New("interface has no PTP hardware clock; use software time stamps")

// PHC is the PTP hardware clock of an interface, for hardware stamps and for
// gates in offload. All ports of one switch chip share one. Software stamps
// are converted by a comparison with CLOCK_REALTIME made when they are used.
//
// Opening, reading and steering are proven on the clock of netdevsim. Untested
// for want of hardware: frames stamped by it, and the comparison, which needs a
// driver with PTP_SYS_OFFSET_EXTENDED.
type PHC struct {
	*Steered
	index  int
	Device string // such as /dev/ptp0
	file   *os.File
}

// phcSamples is how many readings one comparison takes; the fastest is used.
const phcSamples = 5

// OpenPHC opens the hardware clock of an interface. The error is ErrNoPHC if
// it has none.
func OpenPHC(ifname string) (*PHC, error) {
	index, err := PHCIndex(ifname)
	if err != nil {
		return nil, err
	}
	p := &PHC{index: index, Device: fmt.Sprintf("/dev/ptp%d", index)}
	if p.file, err = os.OpenFile(p.Device, os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("PHC of %s: %w", ifname, err)
	}
	fd := int(p.file.Fd())
	caps, err := unix.IoctlPtpClockGetcaps(fd)
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("PHC of %s: capabilities of %s: %w", ifname, p.Device, err)
	}
	id := unix.FdToClockID(fd)
	p.Steered, err = newSteered(posixClock{id}, int64(caps.Max_adj), p.toReading)
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("PHC of %s: %w", ifname, err)
	}
	return p, nil
}

// Index is the N of /dev/ptpN.
func (p *PHC) Index() int { return p.index }

// Close closes the device; the clock keeps its rate.
func (p *PHC) Close() error { return p.file.Close() }

func (p *PHC) toReading(s Stamp) (int64, error) {
	if s.Hardware {
		return s.NS, nil
	}
	offset, err := p.systemOffset()
	return s.NS + offset, err
}

// systemOffset is the PHC minus CLOCK_REALTIME, ns.
func (p *PHC) systemOffset() (int64, error) {
	m, err := unix.IoctlPtpSysOffsetExtended(int(p.file.Fd()), phcSamples)
	if err != nil {
		return 0, fmt.Errorf("compare %s with the system clock: %w", p.Device, err)
	}
	return bestOffset(m.Ts[:min(int(m.Samples), len(m.Ts))])
}

// bestOffset takes, of several {system, PHC, system} readings, the one whose
// system readings are closest together: the least disturbed.
func bestOffset(samples [][3]unix.PtpClockTime) (int64, error) {
	ns := func(t unix.PtpClockTime) int64 { return t.Sec*1_000_000_000 + int64(t.Nsec) }
	best, offset := int64(math.MaxInt64), int64(0)
	for _, s := range samples {
		before, phc, after := ns(s[0]), ns(s[1]), ns(s[2])
		if width := after - before; width >= 0 && width < best {
			best, offset = width, phc-before-width/2
		}
	}
	if best == math.MaxInt64 {
		return 0, errors.New("no usable sample")
	}
	return offset, nil
}

// PHCIndex is the N of /dev/ptpN of an interface. The error is ErrNoPHC if it has
// none.
func PHCIndex(ifname string) (int, error) {
	n, err := phcIndex(ifname)
	if err != nil {
		return -1, fmt.Errorf("PHC of %s: %w", ifname, err)
	}
	return int(n), nil
}

func phcIndex(ifname string) (int32, error) {
	info, err := tsInfo(ifname)
	if err != nil {
		return -1, err
	}
	if info.Phc_index < 0 {
		return -1, ErrNoPHC
	}
	return info.Phc_index, nil
}

// tsInfo asks the driver what it can stamp.
func tsInfo(ifname string) (*unix.EthtoolTsInfo, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool socket: %w", err)
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolTsInfo(fd, ifname)
	if err != nil {
		return nil, fmt.Errorf("time stamping capabilities: %w", err)
	}
	return info, nil
}
