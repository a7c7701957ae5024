package erlang_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	tsn "tsnswitch"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/internal/dataplane"
	"tsnswitch/internal/kerneltest"
)

// Slots in windows, and options that cannot be.
func TestLaunchRules(t *testing.T) { ruleLines(t, "distlink_launching:check()", 14) }

// Without a rate there are no launch times; with one the kernel gives them to who
// has the right; and what the command line says of them is checked.
func TestLaunchOptions(t *testing.T) {
	a := pair(t, fmt.Sprintf(`pong = net_adm:ping('b@%[1]s'), #{launch := #{refused := _}} = distlink:info('b@%[1]s'),
 {error, {badarg, _}} = net_kernel:setopts('b@%[1]s', [{launch, [{pace, -1}]}]),
 ok = net_kernel:setopts('b@%[1]s', [{rate, 100000}, {launch, [{pace, 10000}, {tai, 0}]}]), pong = net_adm:ping('b@%[1]s'), #{launch := L} = distlink:info('b@%[1]s'),
 ok = net_kernel:setopts('b@%[1]s', [{launch, none}]), pong = net_adm:ping('b@%[1]s'), #{launch := none} = distlink:info('b@%[1]s'), io:format("launch ~p~n", [L])`, addrB), "-distlink_launch", "interval=1000000,tai=37")
	want := "launch #{launched =>"
	if os.Geteuid() != 0 {
		want = "launch #{refused =>"
	}
	if l := a.Expect("launch", patience); !strings.HasPrefix(l, want) {
		t.Error(l)
	}
	for _, bad := range []string{"soon", "interval=x", "interval=1000,frames=3,pace=500", "deadline=no"} {
		out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_launch", bad)
		if !strings.Contains(out, "distlink_launch") {
			t.Errorf("%s:\n%s", bad, out)
		}
	}
}

// Datagrams of a paced connection leave in their stream's windows, whenever the
// VM handed them over. CLOCK_TAI's offset is the kernel's.
func TestLaunchWindows(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	needs := kerneltest.Needs{OwnKernel: true, TimeTravel: true, Taprio: true, ETF: true, Flower: true, Timeout: 4 * time.Minute}
	kerneltest.Run(t, needs, func(t *testing.T) {
		const delta, interval = int64(100_000), int64(2_000_000)
		const from, to = "10.9.0.1", "10.9.0.2"
		a, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: a, Name: "p1"}, kerneltest.End{NS: b, Name: "h0"})
		a.Address(t, "p1", from+"/24")
		b.Address(t, "h0", to+"/24")
		launchClass(t, a, delta)
		stamps := -1
		var na *beamtest.Node
		b.Do(func() {
			stamps = kerneltest.StampingSocket(t, "h0")
			beamtest.Start(t, "distlink", "b@"+to, 9100, sleep, "-distlink_ip", to)
		})
		a.Do(func() {
			na = beamtest.Start(t, "distlink", "a@"+from, 9100, fmt.Sprintf(`pong = net_adm:ping('b@%[1]s'), [{N, pong} = {N, net_adm:ping('b@%[1]s')} || N <- lists:seq(1, 40)], #{launch := L} = distlink:info('b@%[1]s'), io:format("launch ~p~n", [L]), %[2]s`, to, sleep),
				"-distlink_ip", from, "-distlink_rate", "20000", "-distlink_priority", "6", "-distlink_launch", fmt.Sprintf("interval=%d,base=%d,frames=2,pace=20000", interval, 123_000))
		})
		l := na.Expect("launch", 3*time.Minute)
		got := phases(t, stamps, 123_000, interval)
		t.Logf("%d datagrams at phases %d..%d; %s", len(got), slices.Min(got), slices.Max(got), l)
		if len(got) < 40 || !strings.Contains(l, "launched") {
			t.Errorf("%d datagrams came, %s", len(got), l)
		}
		// The etf of the kernel lets them go delta before their launch times.
		for _, p := range got {
			if early := interval - delta; p < early || p > early+20_000+10_000 {
				t.Errorf("a datagram left at phase %d, want %d or %d", p, early, early+20_000)
			}
		}
	})
}

// launchClass gives the scheduled class of p1 launch times.
func launchClass(t *testing.T, ns *kerneltest.NetNS, delta int64) {
	t.Helper()
	var k *dataplane.Kernel
	var err error
	ns.Do(func() {
		k, err = dataplane.Open(dataplane.Config{ClassMap: tsn.DefaultClassMap, Ports: []dataplane.PortConfig{{Port: 1, Ifname: "p1", Rate: tsn.Gbps}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	e := tsn.PortEgress{Port: 1, ClassMap: tsn.DefaultClassMap}
	e.Launch[tsn.ClassScheduled].Delta = delta
	if _, err := k.Set(t.Context(), tsn.DesiredState{Egress: []tsn.PortEgress{e}}); err != nil {
		t.Fatal(err)
	}
	if err := k.AwaitOper(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
}

// phases are those of the windows at which datagrams of 10.9.0.1 came; the kernel of
// the test has UTC for CLOCK_TAI.
func phases(t *testing.T, fd int, base, interval int64) (out []int64) {
	t.Helper()
	buf, oob := make([]byte, 2000), make([]byte, 200)
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		cs, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(cs) != 1 {
			t.Fatalf("no time stamp: %v, %v", cs, err)
		}
		if n < 34 || buf[23] != unix.IPPROTO_UDP || buf[29] != 1 { // the last octet of the source
			continue
		}
		at := int64(binary.NativeEndian.Uint64(cs[0].Data))*1_000_000_000 + int64(binary.NativeEndian.Uint64(cs[0].Data[8:]))
		out = append(out, ((at-base)%interval+interval)%interval)
	}
}
