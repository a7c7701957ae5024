package link

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of the tests; it is reached only by a failure.
const patience = 5 * time.Second

// ownNetNS moves the test's thread into a fresh network namespace. The thread
// stays locked, so that it ends with the test and the namespace with it.
func ownNetNS(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces: needs root")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespaces: unshare: %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// addVeth makes the pair a, b and sets both up, without addresses: the kernel's
// own neighbour solicitations would come between the frames of a test.
func addVeth(t testing.TB, a, b string) {
	t.Helper()
	err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: a}, PeerName: b})
	if err != nil {
		t.Skipf("veth pair: %v", err)
	}
	for _, name := range []string{a, b} {
		must(t, netlink.LinkSetIP6AddrGenMode(getLink(t, name), addrGenNone))
		setUp(t, name)
	}
}

// addrGenNone is IN6_ADDR_GEN_MODE_NONE.
const addrGenNone = 1

func getLink(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	return l
}

func setUp(t testing.TB, name string) { t.Helper(); must(t, netlink.LinkSetUp(getLink(t, name))) }

func macOf(t testing.TB, name string) tsn.MAC {
	t.Helper()
	return tsn.MAC(getLink(t, name).Attrs().HardwareAddr)
}

// sink collects the events of one callback.
type sink chan tsn.Event

func newSink() sink { return make(sink, 4096) }

func (s sink) put(ev tsn.Event) { s <- ev }

// next returns the next event of type E for which want holds, and drops others.
func next[E any](t testing.TB, s sink, want func(E) bool) E {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case ev := <-s:
			if e, ok := ev.(E); ok && want(e) {
				return e
			}
		case <-timer.C:
			var e E
			t.Fatalf("no %T event in %v", e, patience)
		}
	}
}

func always[E any](E) bool { return true }

func linkUp(e tsn.LinkChanged) bool   { return e.Up }
func linkDown(e tsn.LinkChanged) bool { return !e.Up }

// open opens the ports and closes them with the test.
func open(t testing.TB, cfg Config) *Ports {
	t.Helper()
	l, err := Open(cfg)
	must(t, err)
	t.Cleanup(l.Close)
	return l
}

// countersOf returns the counters of one socket.
func countersOf(t testing.TB, l *Ports, port tsn.Port, proto Protocol) Counters {
	t.Helper()
	for _, c := range l.Counters() {
		if c.Port == port && c.Protocol == proto {
			return c
		}
	}
	t.Fatalf("no counters of port %d %v", port, proto)
	return Counters{}
}

// ethernet builds a frame.
func ethernet(dst, src tsn.MAC, lengthType uint16, payload ...byte) []byte {
	f := append(append([]byte{}, dst[:]...), src[:]...)
	return append(append(f, byte(lengthType>>8), byte(lengthType)), payload...)
}
