package spb_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/internal/link"
	"tsnswitch/spb"
)

// A real neighbour: FRR's isisd on the other end of a veth pair, in a network
// namespace of the test's own. It knows nothing of SPB, so it checks what SPB
// took from IS-IS: handshake, flooding, checksums, sequence numbers,
// authentication.

const (
	frrPatience = 40 * time.Second
	frrDir      = "/usr/lib/frr"
)

var (
	ourMAC = tsn.MAC{2, 0, 0, 0, 0, 0x11}
	frrMAC = tsn.MAC{2, 0, 0, 0, 0, 0x12}
)

// frr is a zebra and an isisd with all their files in one directory.
type frr struct {
	t   *testing.T
	dir string
}

// startFRR moves the test's thread into a namespace with the pair is0, is1 and
// runs FRR on is1. more is added to the two sections of isisd.conf.
func startFRR(t *testing.T, ofInterface, ofRouter string) *frr {
	t.Helper()
	if testing.Short() {
		t.Skip("a real peer takes seconds: left out with -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("a real peer needs a network namespace: needs root")
	}
	for _, tool := range []string{frrDir + "/zebra", frrDir + "/isisd", "vtysh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("FRR is not installed: %v", err)
		}
	}
	t.Parallel()
	runtime.LockOSThread() // never unlocked: the thread ends with the test, the namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("network namespaces: unshare: %v", err)
	}
	vethPair(t)
	f := &frr{t: t, dir: frrHome(t)}
	f.write("zebra.conf", "hostname zebra\n")
	f.write("isisd.conf", fmt.Sprintf(`hostname frr
interface is1
 ip router isis fabric
 isis circuit-type level-1
 isis network point-to-point
 isis hello-interval 1
 isis csnp-interval 1
%s
router isis fabric
%s
 net 49.0001.0200.0000.0012.00
 is-type level-1
 metric-style wide
 lsp-gen-interval 1
`, ofInterface, ofRouter))
	f.run("zebra", "zserv.api")
	f.run("isisd", "isisd.vty")
	return f
}

func vethPair(t *testing.T) {
	t.Helper()
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "is0"}, PeerName: "is1"}); err != nil {
		t.Skipf("veth pair: %v", err)
	}
	for name, mac := range map[string]tsn.MAC{"is0": ourMAC, "is1": frrMAC} {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkSetHardwareAddr(l, mac[:])
		}
		if err == nil && name == "is1" {
			err = netlink.AddrAdd(l, &netlink.Addr{IPNet: netlink.NewIPNet([]byte{10, 0, 0, 2})})
		}
		if err == nil {
			err = netlink.LinkSetUp(l)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// frrHome is a directory that FRR, which gives its rights up, can use.
func frrHome(t *testing.T) string {
	t.Helper()
	u, err := user.Lookup("frr")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "frr")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (f *frr) write(name, text string) {
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// run starts a daemon and waits for the socket that says it is ready.
func (f *frr) run(daemon, ready string) {
	f.t.Helper()
	in := func(name string) string { return filepath.Join(f.dir, name) }
	cmd := exec.Command(frrDir+"/"+daemon, "-f", in(daemon+".conf"), "-i", in(daemon+".pid"),
		"-z", in("zserv.api"), "--vty_socket", f.dir, "-P", "0", "--log", "file:"+in(daemon+".log"))
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	})
	for end := time.Now().Add(frrPatience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(in(ready)); err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(in(daemon + ".log"))
			f.t.Fatalf("%s did not start:\n%s", daemon, log)
		}
	}
}

// show asks isisd.
func (f *frr) show(command ...string) string {
	f.t.Helper()
	args := []string{"--vty_socket", f.dir, "-d", "isisd"}
	for _, c := range command {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("vtysh", args...).CombinedOutput()
	if err != nil {
		f.t.Fatalf("vtysh %q: %v\n%s", command, err, out)
	}
	return string(out)
}

// neighbourUp tells whether isisd has the adjacency.
func (f *frr) neighbourUp() bool {
	return strings.Contains(f.show("show isis neighbor"), "Up")
}

// lspLine is a line of "show isis database" (its JSON form has one LSP only).
var lspLine = regexp.MustCompile(`(?m)^(\S+-\w\w) +\*? +\d+ +(0x\w+) +(0x\w+) +(\(?\d+\)?) `)

// lsps reads isisd's database without what is purged: LSP ID as it prints it
// -> sequence number and checksum.
func (f *frr) lsps() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for _, m := range lspLine.FindAllStringSubmatch(f.show("show isis database"), -1) {
		if n, err := strconv.Atoi(m[4]); err == nil && n > 0 { // purged: in brackets
			out[m[1]] = m[2] + " " + m[3]
		}
	}
	return out
}

// bridge is an Instance on is0.
type bridge struct {
	*spb.Instance
	t      *testing.T
	links  *link.Ports
	events chan tsn.Event
}

func startBridge(t *testing.T, change func(*spb.Config)) *bridge {
	t.Helper()
	cfg := spb.Config{
		SystemID: ourMAC, Priority: 0x8000, HostName: "b1", BaseVIDs: []spb.BaseVID{{VID: 100, Algorithm: 1}},
		AreaAddresses: [][]byte{{0x49, 0, 1}}, CompatIPv4: true, HelloPadding: true,
		ManagementAddresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Ports:               []spb.PortConfig{{Port: 1, Role: tsn.RoleFabric}, {Port: 2}},
	}
	if change != nil {
		change(&cfg)
	}
	in, err := spb.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	clock, err := link.NewVirtual(0, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{Instance: in, t: t, events: make(chan tsn.Event, 1000)}
	b.links, err = link.Open(link.Config{
		Ports: []link.PortConfig{{Port: 1, Ifname: "is0", Control: true}}, Clock: clock, Own: ourMAC,
		Control: func(ev tsn.Event) { b.events <- ev },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.stop)
	return b
}

func (b *bridge) stop() {
	if b.links == nil {
		return
	}
	go func() { // callbacks that wait must be able to return
		for range b.events {
		}
	}()
	b.links.Close()
	b.links = nil
}

func (b *bridge) step(ev tsn.Event) {
	for _, e := range b.Step(link.Now(), ev) {
		switch e := e.(type) {
		case tsn.Send:
			if err := b.links.Send(e); err != nil {
				b.t.Logf("send: %v", err)
			}
		case tsn.Notice:
			b.t.Logf("notice: %s port %d %s", e.Kind, e.Port, e.Detail)
		}
	}
}

// drive runs the bridge until ok, asked a few times a second, or fails.
func (b *bridge) drive(what string, ok func() bool) {
	b.t.Helper()
	start := time.Now()
	for next := start; ; {
		if now := time.Now(); now.After(next) {
			if ok() {
				break
			}
			if now.Sub(start) > frrPatience {
				b.t.Fatalf("%s: not within %v: %+v\n%+v", what, frrPatience, b.Neighbours(), b.Counters())
			}
			next = time.Now().Add(200 * time.Millisecond)
		}
		timer := time.NewTimer(min(time.Duration(b.Deadline().Sub(link.Now())), time.Until(next)))
		select {
		case e := <-b.events:
			b.step(e)
		case <-timer.C:
			b.step(tsn.Timeout{})
		}
		timer.Stop()
	}
	b.t.Logf("%s after %d ms", what, time.Since(start).Milliseconds())
}

// database is the bridge's own, in the form of lsps.
func (b *bridge) database() map[string]string {
	out := map[string]string{}
	for _, l := range b.Database() {
		if l.RemainingLifetime == 0 {
			continue
		}
		name, fragment := l.HostName, l.ID.String()[len(l.ID.String())-6:]
		if name == "" {
			name = l.ID.String()[:14]
		}
		out[name+fragment] = fmt.Sprintf("0x%08x 0x%04x", l.SequenceNumber, l.Checksum)
	}
	return out
}

func (b *bridge) same(f *frr) bool {
	theirs, ours := f.lsps(), b.database()
	return len(ours) > 1 && fmt.Sprint(ours) == fmt.Sprint(theirs)
}

// ISO/IEC 10589 and RFC 5303 with a neighbour that is not ours: three-way
// handshake with padded hellos, databases that become the same to the checksum
// after every kind of change on either side, acknowledgements, purges.
func TestFRR(t *testing.T) {
	f := startFRR(t, "", "")
	b := startBridge(t, nil)
	b.drive("adjacency", func() bool { return b.Neighbours()[0].State == "Up" && f.neighbourUp() })
	if n := b.Neighbours()[0]; n.SystemID != frrMAC || n.Mismatch == "" {
		t.Errorf("%+v: FRR does not speak SPB", n)
	}
	b.drive("same databases", func() bool { return b.same(f) })

	var stations []spb.EndStation
	for k := range 200 {
		stations = append(stations, spb.EndStation{MAC: tsn.MAC{2, 0xee, 0, 0, 0, byte(k)}, Port: 2, Name: fmt.Sprintf("station-%d", k)})
	}
	b.step(spb.SetEndStations{Stations: stations})
	b.drive("more fragments", func() bool { return b.Status().LSPs > 4 && b.same(f) })
	b.step(spb.SetEndStations{})
	b.drive("fragments purged", func() bool { return b.Status().LSPs == 2 && b.same(f) })
	b.step(spb.SetOverload{On: true, Reason: "test"})
	b.drive("overload bit at FRR", func() bool { return strings.Contains(f.show("show isis database"), "0/0/1") && b.same(f) })

	b.drive("every kind of SNP", func() bool {
		r, s := b.Counters().Received, b.Counters().Sent
		return r.CSNP > 0 && r.PSNP > 0 && s.CSNP > 0 && s.PSNP > 0
	})
	c := b.Counters()
	if d := c.Drops; d.Malformed+d.BadChecksum+d.BadLSP+d.SNPSource != 0 {
		t.Errorf("drops: %+v", d)
	}
	if detail := f.show("show isis database detail"); !strings.Contains(detail, "Protocols Supported: 193, IPv4") {
		t.Errorf("FRR reads our LSP as\n%s", detail)
	}
}

// A restart beside a neighbour that does not know RFC 8706 (s3.3.1): the
// adjacency starts anew, and the LSP of the life before is overtaken.
func TestFRRRestart(t *testing.T) {
	f := startFRR(t, "", "")
	b := startBridge(t, nil)
	b.drive("same databases", func() bool { return b.same(f) })
	before := f.lsps()["b1.00-00"]
	b.stop()
	b = startBridge(t, func(c *spb.Config) { c.StartupHold = 3_000_000_000 })
	b.drive("after a restart", func() bool {
		return b.Status().Restart == "" && b.Neighbours()[0].State == "Up" && f.neighbourUp() && b.same(f)
	})
	if after := f.lsps()["b1.00-00"]; after <= before {
		t.Errorf("LSP %s, before the restart %s", after, before)
	}
}

// HMAC-MD5 (RFC 5304) of hellos, LSPs and SNPs: the same secrets give the same
// databases; another one on either side, and nothing is taken.
func TestFRRAuthentication(t *testing.T) {
	keys := func(hello, lsp string) func(*spb.Config) {
		return func(c *spb.Config) {
			c.Authentication.Hello.Keys = []spb.Key{{ID: 1, Algorithm: spb.HMACMD5, Secret: spb.Secret(hello), Send: true, Accept: true}}
			c.Authentication.LSP.Keys = []spb.Key{{ID: 1, Algorithm: spb.HMACMD5, Secret: spb.Secret(lsp), Send: true, Accept: true}}
		}
	}
	f := startFRR(t, " isis password md5 hello-secret", " area-password md5 lsp-secret authenticate snp validate")
	b := startBridge(t, keys("wrong-secret", "lsp-secret"))
	b.drive("hellos of FRR refused", func() bool { return b.Counters().Drops.AuthBadDigest > 3 })
	if b.Neighbours()[0].State != "Down" || f.neighbourUp() {
		t.Errorf("an adjacency in spite of different secrets: %+v\n%s", b.Neighbours(), f.show("show isis neighbor"))
	}
	b.stop()
	b = startBridge(t, keys("hello-secret", "wrong-secret"))
	b.drive("LSPs of FRR refused", func() bool {
		return b.Neighbours()[0].State == "Up" && b.Counters().Drops.AuthBadDigest > 0
	})
	if len(b.database()) != 1 || len(f.lsps()) != 1 {
		t.Errorf("something was taken: %v, %v", b.database(), f.lsps())
	}
	b.stop()
	b = startBridge(t, keys("hello-secret", "lsp-secret"))
	b.drive("same databases", func() bool { return b.same(f) })
	if n := b.Counters().Drops.AuthBadDigest; n != 0 {
		t.Errorf("%d digests failed", n)
	}
}
