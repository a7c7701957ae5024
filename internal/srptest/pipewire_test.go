package srptest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// pipewireConf is an end station and nothing else: no sound, no other station of
// the machine.
const pipewireConf = `context.properties = { log.level = 3 support.dbus = false core.daemon = true core.name = pipewire-0 }
context.spa-libs = { audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }
context.modules = [
 { name = libpipewire-module-protocol-native }
 { name = libpipewire-module-client-node }
 { name = libpipewire-module-adapter }
 { name = libpipewire-module-avb args = { ifname = "s0" } }
]
`

// startPipeWire runs PipeWire's AVB module on s0 of a namespace and returns its
// log, and the process.
func startPipeWire(t testing.TB, ns *kerneltest.NetNS) (log func() string, p *os.Process) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "avb.conf")
	if err := os.WriteFile(conf, []byte(pipewireConf), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var text bytes.Buffer
	cmd := exec.Command("pipewire", "-c", conf)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir, "XDG_STATE_HOME=" + dir, "PIPEWIRE_DEBUG=3"}
	out := writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return text.Write(b)
	})
	cmd.Stdout, cmd.Stderr = out, out
	var err error
	ns.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	log = func() string {
		mu.Lock()
		defer mu.Unlock()
		return text.String()
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("pipewire:\n%s", log())
		}
	})
	return log, cmd.Process
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// The messages of ACMP (IEEE 1722.1 8.2.1.5) with which a controller connects streams.
const (
	connectRX    = 6
	disconnectRX = 8
)

// acmp is a command about the first stream of a talker and of a listener, who are
// known by their interfaces' addresses.
func acmp(message byte, sequence uint16, talker, listener tsn.MAC) []byte {
	entity := func(m tsn.MAC) []byte { return []byte{m[0], m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]} }
	b := []byte{0x91, 0xe0, 0xf0, 0x01, 0, 0, 2, 0, 0, 0, 0xcc, 1, 0x22, 0xf0, 0xfc, message, 0, 44}
	b = append(b, make([]byte, 8)...)                             // stream
	b = append(b, entity(tsn.MAC{2, 0, 0, 0, 0xcc, 1})...)        // controller
	b = append(append(b, entity(talker)...), entity(listener)...) //
	b = append(b, make([]byte, 4+6+2)...)                         // unique ids, destination, count
	b = binary.BigEndian.AppendUint16(b, sequence)
	return append(b, make([]byte, 6)...) // flags, VLAN
}

// relay passes AVTP control frames between two interfaces, as a bridge does.
func relay(t testing.TB, ns *kerneltest.NetNS, names ...string) (send func(i int, frame []byte)) {
	t.Helper()
	var conns []*packet.Conn
	ns.Do(func() {
		for _, name := range names {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := packet.Listen(ifi, packet.Raw, avbstation.EtherType, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if err := c.SetPromiscuous(true); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
	})
	send = func(i int, frame []byte) { _, _ = conns[i].WriteTo(frame, &packet.Addr{HardwareAddr: frame[:6]}) }
	for i := range conns {
		go func() {
			b := make([]byte, 2048)
			for {
				n, _, err := conns[i].ReadFrom(b)
				if err != nil {
					return
				}
				send(1-i, b[:n])
			}
		}()
	}
	return send
}

func hardwareAddr(t testing.TB, ns *kerneltest.NetNS, name string) tsn.MAC {
	t.Helper()
	l, err := ns.Netlink().LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return tsn.MAC(l.Attrs().HardwareAddr)
}

// slowPeers are timers for end stations that take a second or three to answer a
// LeaveAll, as PipeWire does: of Avnu ProAV, with a LeaveAll earlier than that.
var slowPeers = mrp.Timers{Leave: int64(5 * time.Second), LeaveAll: int64(6 * time.Second)}

// needPipeWire skips a test without it.
func needPipeWire(t testing.TB) {
	t.Helper()
	need(t, [2]string{"pipewire", "pipewire-bin"})
	for file, pkg := range map[string]string{"pipewire-0.3/libpipewire-module-avb.so": "libpipewire-0.3-modules", "spa-0.2/support/libspa-support.so": "libspa-0.2-modules"} {
		if m, err := filepath.Glob("/usr/lib/*/" + file); err != nil || len(m) == 0 {
			t.Skipf("PipeWire's %s is missing: install the Debian package %s", file, pkg)
		}
	}
}

// connect has a controller connect two stations until done is called. It asks
// again after its time-out (8.2.1): the talker has no address for the stream before
// MAAP has found one.
func connect(send func(int, []byte), talker, listener tsn.MAC) (done func()) {
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		again := time.NewTicker(5 * time.Second)
		defer again.Stop()
		for n := uint16(1); ; n++ {
			send(1, acmp(connectRX, n, talker, listener))
			select {
			case <-again.C:
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		asking.Wait()
	}
}

// Two end stations that are nobody's of ours reserve a stream across the cores,
// keep it while systems ask with LeaveAll, and give it up, with a word and without.
func TestPipeWire(t *testing.T) {
	needPipeWire(t)
	t.Parallel()
	bridge, ns := links(t, 2)
	b := startBare(t, bridge, bareConfig{timers: slowPeers}, "b1", "b2")
	send := relay(t, bridge, "b1", "b2")
	talker, listener := hardwareAddr(t, ns[0], "s0"), hardwareAddr(t, ns[1], "s0")
	talkerLog, process := startPipeWire(t, ns[0])
	listenerLog, _ := startPipeWire(t, ns[1])
	b.until(t, "domains", func() bool {
		p := b.msrp.MSRPPorts()
		return len(p[0].Domains) > 0 && len(p[1].Domains) > 0
	})

	id := tsn.MakeStreamID(talker, 0)
	state := func() (ready bool) {
		for _, s := range b.msrp.MSRPStreams() {
			ready = s.ID == id && s.TalkerPort == 1 && s.Answer == mrp.ListenerReady && len(s.Ports) == 1 && s.Ports[0].Reserved
		}
		return ready
	}
	connected := connect(send, talker, listener)
	b.until(t, "reserved", state)
	connected()
	b.until(t, "an entry for the listener, and a VLAN for both", func() bool {
		da := b.msrp.MSRPStreams()[0].Talker.DestinationAddress
		return slices.Equal(b.group(2, da), []tsn.Port{2}) && len(b.vlans.Ports) == 2
	})
	heard := func(what string, log func() string) {
		t.Helper()
		for end := time.Now().Add(patience); !bytes.Contains([]byte(log()), []byte(what)); {
			if time.Now().After(end) {
				t.Fatalf("PipeWire does not say %q", what)
			}
			b.until(t, "next event", nextEvent())
		}
	}
	heard("notify listener: ", talkerLog)
	heard("notify talker: ", listenerLog)

	// Through LeaveAlls of both sides.
	var kept bool
	var before [2]uint64
	b.do(func() { before = b.msrp.MSRPPorts()[1].Counters.LeaveAlls })
	b.until(t, "two more LeaveAlls", func() bool {
		kept = state()
		now := b.msrp.MSRPPorts()[1].Counters.LeaveAlls
		return !kept || now[0]+now[1] >= before[0]+before[1]+2
	})
	if !kept {
		t.Error("the reservation is gone after a LeaveAll")
	}

	send(1, acmp(disconnectRX, 100, talker, listener))
	b.until(t, "released", func() bool { return len(b.reserved.MDB) == 0 })
	if err := process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until(t, "the talker aged out", func() bool { return len(b.msrp.MSRPStreams()) == 0 })
	var malformed uint64
	b.do(func() {
		for _, p := range b.msrp.MSRPPorts() {
			malformed += p.Counters.Malformed
		}
	})
	if malformed != 0 {
		t.Errorf("%d PDUs of PipeWire could not be read", malformed)
	}
	b.write(t, "pipewire")
}

// nextEvent is a condition that holds at the second look: after one more event.
func nextEvent() func() bool {
	n := 0
	return func() bool { n++; return n > 1 }
}

// The same with a tsnswitchd that does SRP and nothing else, between two plain
// interfaces, from one file.
func TestPipeWireDaemon(t *testing.T) {
	needPipeWire(t)
	t.Parallel()
	bridge, ns := links(t, 2)
	l := &lab{t: t, site: t, dir: t.TempDir(), bridges: map[string]*switchd{}}
	b := &switchd{name: "sw1", number: 1, ns: bridge}
	for _, name := range []string{"b1", "b2"} {
		b.port(name, "edge")
	}
	l.bridges["sw1"] = b
	l.write(b, plain)
	l.start("sw1")
	send := relay(t, bridge, "b1", "b2")
	talker, listener := hardwareAddr(t, ns[0], "s0"), hardwareAddr(t, ns[1], "s0")
	talkerLog, _ := startPipeWire(t, ns[0])
	listenerLog, _ := startPipeWire(t, ns[1])
	connected := connect(send, talker, listener)
	defer connected()
	l.until("the stream is reserved and all have heard", func(ctx context.Context) error {
		st, err := b.client.Status(ctx)
		if err != nil {
			return err
		}
		told := strings.Contains(talkerLog(), "notify listener: ") && strings.Contains(listenerLog(), "notify talker: ")
		if st.SRP == nil || st.SRP.Reserved != 1 || !told {
			return fmt.Errorf("%+v; told: %v", st.SRP, told)
		}
		return nil
	})
}
