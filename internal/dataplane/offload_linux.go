package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// lacks reports that a driver or device cannot do what was asked.
func lacks(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, errNotSupp)
}

// driver is the name of the driver behind a port, "" if there is none.
func (k *kernel) driver(p tsn.Port) string {
	ifname := k.cfg.ifname(p)
	name, known := k.drivers[ifname]
	if known {
		return name
	}
	info, err := unix.IoctlGetEthtoolDrvinfo(k.ioctl, ifname)
	if err == nil {
		name = unix.ByteSliceToString(info.Driver[:])
	}
	device, _ := os.Readlink("/sys/class/net/" + ifname + "/device/driver")
	name = driverOf(name, filepath.Base(device))
	k.drivers[ifname] = name
	return name
}

// fill takes over what a dump tells of our root.
func (k *kernel) fill(e *Egress, t taprioState, p PortConfig) {
	e.Root, e.Oper, e.Admin = "", k.launched(t.Oper, p), k.launched(t.Admin, p)
	e.MaxSDU, e.Preemptible = t.MaxSDU, t.Preemptible
	e.dropParked()
	waits := e.Admin != nil
	switch p.Offload {
	case OffloadFull:
		e.Oper, e.Admin = k.waiting(p.Port, e.Oper)
		waits = e.Admin != nil
	case OffloadTxTime:
		if k.begun(p.Port, e.Admin) {
			e.Oper, e.Admin = e.Admin, nil
		}
	}
	if sent, known := k.sdu[p.Port]; known && waits {
		e.MaxSDU = sent // newer kernels tell what the running list has
		return
	}
	for c := range tsn.TrafficClass(k.cfg.ClassMap.Classes()) {
		if e.Oper != nil {
			e.SDUCap[c] = e.Oper.sduCap(c, k.LinkSpeed(p.Port), k.links[p.Ifname].maxMTU)
		}
	}
}

// begun reports whether the base time of a schedule has come. Under txtime-assist
// any frame follows it from then on: the first one makes it the running one.
func (k *kernel) begun(p tsn.Port, s *Schedule) bool {
	now, err := k.GateNow(p)
	return err == nil && s != nil && s.Base <= now
}

// takeOver makes a schedule that has begun, and that no frame has made the running
// one, the running one. Another in its place would leave the port with the one
// before, until that begins. Only a new root does it; nothing waits in the old one.
func (k *kernel) takeOver(p PortConfig) error {
	if p.Offload != OffloadTxTime {
		return nil
	}
	t, err := rootState(k.c, k.classes(p.Port), k.index(p.Port))
	if err != nil || !k.begun(p.Port, k.launched(t.Admin, p)) {
		return err
	}
	if err := k.c.delQdisc(k.index(p.Port), netlinkRoot); err != nil {
		return err
	}
	return k.makeRoot(p, t.Admin)
}

// launched undoes what early did to the base time.
func (k *kernel) launched(s *Schedule, p PortConfig) *Schedule {
	if s == nil || k.early(p) == 0 {
		return s
	}
	out := *s
	out.Base -= k.early(p)
	return &out
}

// waiting tells a list that runs in the device from one that waits for its base
// time: the kernel calls it operational from when the driver has taken it, and
// forgets the one before.
func (k *kernel) waiting(p tsn.Port, list *Schedule) (oper, admin *Schedule) {
	now, err := k.GateNow(p)
	if list == nil || err != nil || list.Base <= now {
		delete(k.before, p)
		return list, nil
	}
	return k.before[p], list
}

// running is the list that goes on until the next one's base time; nil where the
// kernel itself remembers it.
func (k *kernel) running(p PortConfig) *Schedule {
	if p.Offload != OffloadFull {
		return nil
	}
	qs, err := k.c.qdiscs()
	if err != nil {
		return nil
	}
	e, err := k.readEgress(p, qs)
	if err != nil {
		return nil
	}
	return e.Oper
}

// checkOffload: whether a driver takes lists shows only when it is given one, which
// installing the root does.
func (k *kernel) checkOffload(p tsn.Port) error {
	if _, err := phcOf(k.ioctl, k.cfg.ifname(p)); err != nil {
		return &UnsupportedError{FeatureOffload, p, err.Error()}
	}
	return nil
}

func (k *kernel) checkMACMerge(p tsn.Port) error {
	_, err := k.mm.get(k.cfg.ifname(p))
	switch {
	case lacks(err):
		return &UnsupportedError{FeatureMACMerge, p, "the interface has no MAC merge sublayer"}
	case err != nil:
		return &UnsupportedError{FeatureMACMerge, p, err.Error()}
	}
	return nil
}

// phcFiles are PTP hardware clocks by interface.
type phcFiles map[string]*os.File

// now reads the clock of an interface.
func (f *phcFiles) now(ioctl int, ifname string) (int64, error) {
	file := (*f)[ifname]
	if file == nil {
		index, err := phcOf(ioctl, ifname)
		if err != nil {
			return 0, err
		}
		if file, err = os.OpenFile(fmt.Sprintf("/dev/ptp%d", index), os.O_RDWR, 0); err != nil {
			return 0, fmt.Errorf("PTP clock of %s: %w", ifname, err)
		}
		if *f == nil {
			*f = phcFiles{}
		}
		(*f)[ifname] = file
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.FdToClockID(int(file.Fd())), &ts); err != nil {
		return 0, fmt.Errorf("PTP clock of %s: %w", ifname, err)
	}
	return ts.Nano(), nil
}

func (f phcFiles) close() (err error) {
	for _, file := range f {
		err = errors.Join(err, file.Close())
	}
	return err
}

var errNoPHC = errors.New("the interface has no PTP hardware clock")

// phcOf is the N of /dev/ptpN.
func phcOf(ioctl int, ifname string) (int32, error) {
	info, err := unix.IoctlGetEthtoolTsInfo(ioctl, ifname)
	if err != nil {
		return -1, err
	}
	if info.Phc_index < 0 {
		return -1, errNoPHC
	}
	return info.Phc_index, nil
}
