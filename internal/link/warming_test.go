package link

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// Before a frame whose stamp matters one goes over loopback, before others none;
// and its own stamp is taken for nobody's.
func TestWarming(t *testing.T) {
	ownNetNS(t)
	must(t, netlink.LinkSetUp(getLink(t, "lo")))
	addVeth(t, "a", "b")
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0xb588, Ifindex: loopback}))
	tx := newSink()
	l := open(t, Config{Clock: realtime{}, Timing: tx.put, Ports: []PortConfig{{Port: 1, Ifname: "a", GPTP: true}}})
	next(t, tx, linkUp)
	warmed := func() (n int) {
		for b := make([]byte, 100); ; n++ {
			if _, _, err := unix.Recvfrom(fd, b, 0); err != nil {
				return n
			}
		}
	}
	src := macOf(t, "a")
	must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(src, 0)}))
	if n := warmed(); n != 0 {
		t.Errorf("%d frames before one that nobody stamps", n)
	}
	for tag := range uint64(3) {
		must(t, l.Send(tsn.Send{Port: 1, Frame: gptpFrame(src, 0), Tag: tag + 1}))
		if got := next(t, tx, always[tsn.Sent]); got.Tag != tag+1 || !got.Stamped {
			t.Fatalf("got %+v", got)
		}
		if n := warmed(); n != 1 {
			t.Errorf("%d frames over loopback", n)
		}
	}
	if c := countersOf(t, l, 1, GPTP); c.StampMissing+c.StampLate+c.SendFailed != 0 {
		t.Errorf("%+v", c)
	}
}
