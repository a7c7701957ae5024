package srptest

import (
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// The kernel's own MVRP declares the VLANs of a port, through LeaveAlls, until
// the device goes. It is an applicant only.
func TestKernelMVRP(t *testing.T) {
	need(t)
	t.Parallel()
	kerneltest.Run(t, kerneltest.Needs{VLANDevices: true}, func(t *testing.T) {
		bridge, ns := links(t, 2)
		b := startBare(t, bridge, bareConfig{timers: mrp.Timers{LeaveAll: int64(2 * time.Second)}}, "b1", "b2")
		h := ns[0].Netlink()
		var devices []netlink.Link
		for _, vid := range []int{5, 6, 9} {
			devices = append(devices, addMVRPDevice(t, h, vid))
		}
		has := func(want ...tsn.VID) func() bool {
			return func() bool {
				return len(b.vlans.Ports) == 1 && b.vlans.Ports[0].Port == 1 && slices.Equal(b.vlans.Ports[0].VIDs, want)
			}
		}
		b.until(t, "VLANs 5, 6 and 9", has(5, 6, 9))
		kept := true
		start := b.now()
		b.until(t, "seven seconds of LeaveAlls", func() bool {
			kept = kept && has(5, 6, 9)()
			return !kept || b.now().Sub(start) > int64(7*time.Second)
		})
		if !kept {
			t.Error("a VLAN is gone after a LeaveAll")
		}
		if err := h.LinkDel(devices[1]); err != nil {
			t.Fatal(err)
		}
		b.until(t, "VLANs 5 and 9", has(5, 9))
		b.write(t, "kernel")
	})
}

// addMVRPDevice makes a VLAN device with MVRP on s0 and sets it up.
func addMVRPDevice(t testing.TB, h *netlink.Handle, vid int) netlink.Link {
	t.Helper()
	parent, err := h.LinkByName("s0")
	if err != nil {
		t.Fatal(err)
	}
	on := true
	v := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Name: "v" + string(rune('0'+vid)), ParentIndex: parent.Attrs().Index}, VlanId: vid, Mvrp: &on}
	if err := h.LinkAdd(v); err != nil {
		t.Fatalf("VLAN device: %v", err)
	}
	if err := h.LinkSetUp(v); err != nil {
		t.Fatal(err)
	}
	return v
}
