package dataplane

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// Of a deletion in bulk (linux/netlink.h, linux/neighbour.h), since kernel 6.0.
const (
	nlmBulk      = 0x200
	ndaStateMask = 16
)

// FlushLearned makes the bridge forget what it has learned in a VLAN on some
// ports. Static entries stay. It is no state: what is there again a moment later
// has been learned anew. VLAN 0 is all of them.
func (k *Kernel) FlushLearned(vid tsn.VID, ports []tsn.Port) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.k.refresh(); err != nil {
		return err
	}
	var errs []error
	for _, p := range ports {
		if l, ok := k.k.links[k.k.cfg.ifname(p)]; !ok || l.master != k.k.index(tsn.NoPort) {
			continue // it has nothing to forget
		}
		if err := k.k.c.send(flushRequest(k.k.index(tsn.NoPort), k.k.index(p), vid)); err != nil {
			errs = append(errs, fmt.Errorf("port %d: flushing VLAN %d: %w", p, vid, err))
		}
	}
	return errors.Join(errs...)
}

func flushRequest(bridge, port int, vid tsn.VID) (request, error) {
	h := make([]byte, unix.SizeofNdMsg)
	h[0] = unix.AF_BRIDGE
	binary.NativeEndian.PutUint32(h[4:], uint32(bridge))
	h[10] = unix.NTF_SELF
	return newRequest(unix.RTM_DELNEIGH, netlink.HeaderFlags(nlmBulk), h, func(ae *netlink.AttributeEncoder) {
		ae.Uint32(unix.NDA_IFINDEX, uint32(port))
		if vid != 0 {
			ae.Uint16(unix.NDA_VLAN, uint16(vid))
		}
		ae.Uint16(ndaStateMask, unix.NUD_PERMANENT|unix.NUD_NOARP) // neither is what goes
	})
}
