package gptptest

import (
	"bytes"
	"encoding/binary"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tsnswitch/gptp/ptpmsg"
	"tsnswitch/internal/kerneltest"
)

var captures = flag.String("captures", "", "write captures for the replay tests of package gptp into `DIR`")

// captured is one gPTP frame that crossed an interface.
type captured struct {
	ns    int64 // on CLOCK_REALTIME, when it was sent or received
	out   bool  // sent by the interface
	frame []byte
}

// ours reports whether a daemon sent the frame: by its address, see startDaemon.
func (f captured) ours() bool { return bytes.HasPrefix(f.frame[6:], []byte{2, 0, 0, 0}) }

// capture listens to the gPTP frames of an interface.
type capture struct {
	t  testing.TB
	fd int

	mu     sync.Mutex
	frames []captured
}

// startCapture listens until the test ends; then tshark reads everything that
// a tsnswitchd sent, which must be flawless.
func startCapture(t testing.TB, ns *kerneltest.NetNS, ifname string) *capture {
	t.Helper()
	c := &capture{t: t}
	var err error
	ns.Do(func() { c.fd, err = packetSocket(ifname) })
	if err != nil {
		t.Fatalf("capture on %s: %v", ifname, err)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go c.run(stop, done)
	t.Cleanup(func() {
		close(stop)
		<-done
		unix.Close(c.fd)
		c.dissect()
	})
	return c
}

// packetSocket sees every frame on an interface with EtherType 88-F7, both ways, with
// its time.
func packetSocket(ifname string) (int, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	// ld [12:2]; jeq 88f7: ret all; ret 0
	filter := []unix.SockFilter{{Code: 0x28, K: 12}, {Code: 0x15, Jf: 1, K: 0x88f7}, {Code: 6, K: 1 << 16}, {Code: 6}}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	for _, set := range []func() error{
		func() error {
			return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 4, Filter: &filter[0]})
		},
		func() error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) },
		func() error {
			return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
		},
		func() error { return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifi.Index}) },
	} {
		if err := set(); err != nil {
			unix.Close(fd)
			return -1, err
		}
	}
	return fd, nil
}

func (c *capture) run(stop, done chan struct{}) {
	defer close(done)
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, oobn, _, from, err := unix.Recvmsg(c.fd, buf, oob, 0)
		if err != nil {
			continue // nothing for a while
		}
		at := stampOf(oob[:oobn])
		ll, _ := from.(*unix.SockaddrLinklayer)
		c.mu.Lock()
		c.frames = append(c.frames, captured{at, ll != nil && ll.Pkttype == unix.PACKET_OUTGOING, append([]byte(nil), buf[:n]...)})
		c.mu.Unlock()
	}
}

// stampOf reads SCM_TIMESTAMPNS.
func stampOf(oob []byte) int64 {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for _, m := range msgs {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS {
			return (*unix.Timespec)(unsafe.Pointer(&m.Data[0])).Nano()
		}
	}
	return 0
}

// save writes some seconds of what was seen, from the first frame of the daemon on, if
// captures are asked for.
func (c *capture) save(name string) {
	c.t.Helper()
	if *captures == "" {
		return
	}
	const lasting = 6 * int64(time.Second)
	all := c.all()
	first := slices.IndexFunc(all, captured.ours)
	all = all[max(first, 0):]
	end := slices.IndexFunc(all, func(f captured) bool { return f.ns > all[0].ns+lasting })
	if end < 0 {
		end = len(all)
	}
	if err := os.WriteFile(filepath.Join(*captures, name+".pcap"), pcap(all[:end]), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// all is what was seen so far.
func (c *capture) all() []captured {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]captured(nil), c.frames...)
}

// sent are the messages of one type that a clock sent, oldest first.
func sent[M ptpmsg.Message](c *capture, id string) (msgs []M, at []int64) {
	c.t.Helper()
	for _, f := range c.all() {
		_, payload, err := ptpmsg.ParseFrame(f.frame)
		if err != nil {
			continue
		}
		d := new(ptpmsg.Decoder) // it keeps the message it returned last
		m, err := d.Decode(payload)
		if err != nil {
			c.t.Errorf("%v in % x", err, f.frame)
			continue
		}
		if x, ok := m.(M); ok && m.Head().Source.Clock.String() == id {
			msgs, at = append(msgs, x), append(at, f.ns)
		}
	}
	return msgs, at
}

// dissect gives what tsnswitchds sent to tshark, and fails the test if it
// complains.
func (c *capture) dissect() {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		c.t.Log("tshark is not installed: the capture is not dissected")
		return
	}
	var ours []captured
	for _, f := range c.all() {
		if f.ours() {
			ours = append(ours, f)
		}
	}
	if len(ours) == 0 {
		return
	}
	path := filepath.Join(c.t.TempDir(), "ours.pcap")
	if err := os.WriteFile(path, pcap(ours), 0o600); err != nil {
		c.t.Fatal(err)
	}
	out, err := exec.Command(tshark, "-r", path, "-Y", "_ws.malformed or _ws.expert.severity >= \"Warning\" or not ptp", "-V").CombinedOutput()
	if err != nil {
		c.t.Errorf("tshark: %v: %s", err, out)
	}
	if text := strings.TrimSpace(string(out)); strings.Contains(text, "Frame ") {
		c.t.Errorf("tshark complains about: %s", text)
	}
	c.t.Logf("tshark takes all %d messages of ours", len(ours))
}

// pcap is a capture file with stamps in ns.
func pcap(frames []captured) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 0xa1b23c4d)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint64(b, 0), 65535)
	b = le.AppendUint32(b, 1)
	for _, f := range frames {
		sec := f.ns / int64(time.Second)
		b = le.AppendUint32(le.AppendUint32(b, uint32(sec)), uint32(f.ns%int64(time.Second)))
		b = le.AppendUint32(le.AppendUint32(b, uint32(len(f.frame))), uint32(len(f.frame)))
		b = append(b, f.frame...)
	}
	return b
}
