package srptest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/avbstation"
	"tsnswitch/internal/kerneltest"
	"tsnswitch/srp/mrp"
)

// A lab is bridges with a tsnswitchd each, and end stations.
type lab struct {
	t       *testing.T // the part of the test that runs
	site    *testing.T // which ends after its parts
	dir     string
	bridges map[string]*switchd
	names   []string
	st      map[string]*kerneltest.NetNS
}

// switchd is a bridge and its daemon.
type switchd struct {
	name   string
	number int
	ns     *kerneltest.NetNS
	conf   string
	client *api.Client
	ports  []string // lines of the configuration
	log    *text
	cmd    *exec.Cmd
	gone   chan struct{} // closed when cmd has ended
}

// text is what a process has printed so far.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wiring is a topology: bridges, links between them like "b1 b2", and stations
// like "s1 b1". All links have 100 Mbit/s.
type wiring struct {
	bridges  []string
	links    []string
	stations []string
	config   string // lines of the configuration that all bridges have
}

// underSPB is the configuration of bridges in a fabric whose VLAN is that of the
// SR classes. The machine may stand still for seconds: nobody is given up for that.
const underSPB = `
spb: {helloInterval: 500ms, helloMultiplier: 20, baseVids: [{vid: 2, ect: 1}, {vid: 4001, ect: 2}]}
srp: {msrp: true, mvrp: true, mmrp: true, timers: {leave: 30s, leaveAll: 60s}}
gptp: {enabled: false}
`

// patient are the same timers of a station.
var patient = mrp.Timers{Leave: int64(30 * time.Second), LeaveAll: int64(60 * time.Second)}

// newLab wires a topology up and starts a daemon on each bridge. A bridge's port
// to b2 is named b2, that to s1 s1; a station's only port is s0.
func newLab(t *testing.T, w wiring) *lab {
	t.Helper()
	l := &lab{t: t, site: t, dir: t.TempDir(), bridges: map[string]*switchd{}, st: map[string]*kerneltest.NetNS{}, names: w.bridges}
	for i, name := range w.bridges {
		l.bridges[name] = &switchd{name: name, number: i + 1, ns: kerneltest.NewNetNS(t)}
	}
	for _, link := range w.links {
		a, b, _ := strings.Cut(link, " ")
		kerneltest.VethPair(t, 8, kerneltest.End{NS: l.bridges[a].ns, Name: b}, kerneltest.End{NS: l.bridges[b].ns, Name: a})
		l.bridges[a].port(b, "fabric")
		l.bridges[b].port(a, "fabric")
	}
	for _, link := range w.stations {
		s, b, _ := strings.Cut(link, " ")
		l.st[s] = kerneltest.NewNetNS(t)
		kerneltest.VethPair(t, 8, kerneltest.End{NS: l.bridges[b].ns, Name: s}, kerneltest.End{NS: l.st[s], Name: "s0"})
		l.bridges[b].port(s, "edge, pvid: 2") // MMRP without a tag is about that VLAN
	}
	for _, name := range w.bridges {
		l.configure(l.bridges[name], w.config)
		l.start(name)
	}
	return l
}

func (b *switchd) port(ifname, role string) {
	b.ports = append(b.ports, fmt.Sprintf("  - {port: %d, ifname: %s, role: %s, rate: 100M}", len(b.ports)+1, ifname, role))
}

// plain is the configuration of a switch without bridge that does SRP only.
const plain = `
spb: {enabled: false}
gptp: {enabled: false}
srp: {msrp: true, mvrp: true, timers: {profile: proav}}
`

func (l *lab) configure(b *switchd, more string) {
	l.write(b, "bridge: {name: br0, create: true}"+more)
}

func (l *lab) write(b *switchd, more string) {
	dir := filepath.Join(l.dir, b.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	b.conf = filepath.Join(dir, "tsnswitchd.yaml")
	text := fmt.Sprintf("role: bridge\nname: %s\nsystemId: %s\nstateDir: %s\napi: {socket: %s/s}\nports:\n%s\n%s",
		b.name, b.systemID(), dir, dir, strings.Join(b.ports, "\n"), more)
	if err := os.WriteFile(b.conf, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	b.client = api.DialUnix(filepath.Join(dir, "s"))
	l.site.Cleanup(b.client.Close)
}

func (b *switchd) systemID() tsn.MAC { return tsn.MAC{2, 0, 0, 0, 0, byte(b.number)} }

// start starts a daemon, for the first time or again, and waits until it answers.
func (l *lab) start(name string) {
	l.t.Helper()
	b := l.bridges[name]
	self, err := os.Executable()
	if err != nil {
		l.t.Fatal(err)
	}
	b.log = &text{}
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), envRun+"="+b.conf)
	b.cmd.Stdout, b.cmd.Stderr = b.log, b.log
	b.ns.Do(func() { err = b.cmd.Start() })
	if err != nil {
		l.t.Fatal(err)
	}
	cmd, gone, log := b.cmd, make(chan struct{}), b.log
	b.gone = gone
	go func() {
		defer close(gone)
		_ = cmd.Wait()
	}()
	l.site.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-gone
		if l.site.Failed() {
			l.site.Logf("%s:\n%s", b.name, log)
		}
		if strings.Contains(log.String(), "panic: ") {
			l.site.Errorf("%s has panicked", b.name)
		}
	})
	l.until(name+" answers", func(ctx context.Context) error {
		select {
		case <-gone:
			l.t.Fatalf("%s ended:\n%s", b.name, b.log)
		default:
		}
		_, err := b.client.Status(ctx)
		return err
	})
}

// kill ends a daemon without a word.
func (l *lab) kill(name string) {
	b := l.bridges[name]
	_ = b.cmd.Process.Signal(syscall.SIGKILL)
	<-b.gone
}

// until asks again and again: a network converges without telling.
func (l *lab) until(what string, ok func(context.Context) error) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	var last error
	for {
		err := ok(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil { // not the end of patience itself
			last = err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			l.t.Fatalf("%s: not in %v: %v", what, patience, last)
		}
	}
}

// settled waits until all bridges know each other.
func (l *lab) settled(adjacencies int) {
	l.t.Helper()
	for _, name := range l.names {
		l.until(name+" knows the fabric", func(ctx context.Context) error {
			st, err := l.bridges[name].client.Status(ctx)
			if err != nil {
				return err
			}
			if st.SPB.Adjacencies != adjacencies || st.SPB.Nodes != len(l.names) || st.SPB.Agreement.Pending || !st.Kernel.InSync {
				return fmt.Errorf("spb %+v, kernel %+v", st.SPB, st.Kernel)
			}
			return nil
		})
	}
}

// station opens a Station on s0 of one, in the VLAN of the classes.
func (l *lab) station(name string) *avbstation.Station {
	l.t.Helper()
	s := open(l.site, l.st[name], "s0", avbstation.StationConfig{Domains: classAB, Timers: patient, Seed: uint64(name[len(name)-1])})
	s.JoinVLAN(2)
	return s
}

// run runs a command in a bridge's namespace.
func (b *switchd) run(args ...string) (string, error) {
	var out []byte
	var err error
	b.ns.Do(func() { out, err = exec.Command(args[0], args[1:]...).CombinedOutput() })
	return string(out), err
}

// forwards waits until a bridge's kernel has entries for a group on exactly these
// ports, as bridge(8) reads them.
func (l *lab) forwards(bridge string, group tsn.MAC, want ...string) {
	l.t.Helper()
	slices.Sort(want)
	l.until(fmt.Sprintf("%s forwards %v to %v", bridge, group, want), func(context.Context) error {
		out, err := l.bridges[bridge].run("bridge", "mdb", "show")
		if err != nil {
			return fmt.Errorf("bridge mdb: %w: %s", err, out)
		}
		var got []string
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if i := slices.Index(f, "port"); slices.Contains(f, group.String()) && i >= 0 && f[i+1] != "br0" {
				got = append(got, f[i+1])
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			return fmt.Errorf("ports %q in:\n%s", got, out)
		}
		return nil
	})
}

// shaped waits until a port's cbs has an idle slope in kbit/s, as tc(8) reads it; 0: it has none.
func (l *lab) shaped(bridge, port, want string) {
	l.t.Helper()
	l.until(fmt.Sprintf("%s shapes %s with %q", bridge, port, want), func(context.Context) error {
		out, err := l.bridges[bridge].run("tc", "qdisc", "show", "dev", port)
		if err != nil {
			return fmt.Errorf("tc: %w: %s", err, out)
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("it is:\n%s", out)
		}
		return nil
	})
}

// link sets a link of a bridge up or down.
func (l *lab) link(bridge, port string, up bool) {
	l.t.Helper()
	h := l.bridges[bridge].ns.Netlink()
	link, err := h.LinkByName(port)
	if err == nil && up {
		err = h.LinkSetUp(link)
	} else if err == nil {
		err = h.LinkSetDown(link)
	}
	if err != nil {
		l.t.Fatalf("%s %s: %v", bridge, port, err)
	}
}
