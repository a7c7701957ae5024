package gptptest

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tsnswitch/gptp/ptpmsg"
)

// The benchmark: tsnswitchd and ptp4l side by side, in turns, on the same
// kernel. Run it with
//
//	make bench-gptp

var lasting = flag.Duration("lasting", 20*time.Second, "how long each error is measured")

// row is one line of the result.
type row struct {
	what, unit      string
	bar, ours, peer float64 // 0: none
	note            string
}

func (r row) String() string {
	number := func(v float64) string {
		if v == 0 {
			return "-"
		}
		return strconv.FormatFloat(v, 'f', max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), 64)
	}
	ratio := "-"
	if r.ours != 0 && r.peer != 0 {
		ratio = fmt.Sprintf("%.2f", r.ours/r.peer)
	}
	return fmt.Sprintf("%-42s %-4s %8s %8s %8s %6s  %s", r.what, r.unit, number(r.bar), number(r.ours), number(r.peer), ratio, r.note)
}

const tableHead = "                                           unit      bar     ours    ptp4l  ratio"

// profile is what both sides run with: the shipped profile with a servo that
// locks at once, its own time-outs and intervals.
var profile = []string{"--pi_proportional_const=0.7", "--pi_integral_const=0.3", "--step_threshold=0.00002"}

// BenchmarkBesidePtp4l prints a table; its ns/op means nothing.
func BenchmarkBesidePtp4l(b *testing.B) {
	need(b, "ptp4l", "setpriv")
	var table []row
	for _, part := range []struct {
		name string
		run  func(*testing.B) []row
	}{
		{"OneHop", oneHop},
		{"FourHops", fourHops},
		{"EightHops", eightHops},
		{"ColdStart", coldStart},
		{"Configured", configured},
		{"Killed", killed},
		{"HotStandby", standby},
		{"Cost", cost},
	} {
		b.Run(part.name, func(b *testing.B) {
			if b.N == 1 { // and no more often: the parts last as long as they last
				table = append(table, part.run(b)...)
			}
		})
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\nload average %s%s\n", load, tableHead)
	for _, r := range table {
		fmt.Println(r)
	}
}

// figures are errors in ns.
type figures []float64

func (f figures) rms() float64 {
	var sum float64
	for _, v := range f {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(f)))
}

func (f figures) mean() float64 {
	var sum float64
	for _, v := range f {
		sum += v
	}
	return sum / float64(len(f))
}

// p99 is of the magnitude.
func (f figures) p99() float64 {
	s := slices.Clone(f)
	for i := range s {
		s[i] = math.Abs(s[i])
	}
	slices.Sort(s)
	return s[min(len(s)-1, len(s)*99/100)]
}

const second = 1_000_000_000

// sample polls a daemon for its true error, and what its Syncs said.
func sample(d *daemon, reference func() int64, lasting time.Duration) (truth, reported figures) {
	last := int64(math.MaxInt64)
	for end := time.Now().Add(lasting); time.Now().Before(end); time.Sleep(40 * time.Millisecond) {
		before := reference()
		e := d.error()
		truth = append(truth, float64(e-(before+reference())/2))
		if s := d.status(); s.Offset != last {
			last = s.Offset
			reported = append(reported, float64(last))
		}
	}
	return truth, reported
}

var offsetLine = regexp.MustCompile(`master offset +(-?\d+) s`)

// offsets are what ptp4l printed, from line n on.
func (p *ptp4l) offsets(n int) (f figures) {
	for _, line := range p.output()[n:] {
		if m := offsetLine.FindStringSubmatch(line); m != nil {
			v, _ := strconv.ParseFloat(m[1], 64)
			f = append(f, v)
		}
	}
	return f
}

func zero() int64 { return 0 }

// oneHop: slaves of a ptp4l, in turns. True offset 0.
func oneHop(b *testing.B) []row {
	const rounds = 2
	var truth, reported, peer figures
	for range rounds {
		turn(b, func(b *testing.B) {
			a, c := link(b)
			gm := startPtp4l(b, a, "gPTP.cfg", p1, profile, []string{"--priority1=100"})
			d := startDaemon(b, c, options{ports: p1})
			await(b, "we follow", d.follows(gm.id))
			time.Sleep(3 * time.Second)
			t, r := sample(d, zero, *lasting)
			truth, reported = append(truth, t...), append(reported, r...)
		})
		turn(b, func(b *testing.B) {
			a, c := link(b)
			startPtp4l(b, a, "gPTP.cfg", p1, profile, []string{"--priority1=100"})
			s := startPtp4l(b, c, "gPTP.cfg", p1, profile)
			await(b, "ptp4l follows", s.said("UNCALIBRATED to SLAVE"))
			time.Sleep(3 * time.Second)
			n := len(s.output())
			time.Sleep(*lasting)
			peer = append(peer, s.offsets(n)...)
		})
	}
	note := fmt.Sprintf("mean %+.0f; ptp4l %+.0f", truth.mean(), peer.mean())
	return []row{
		{"1 hop, error, rms", "ns", peer.rms(), truth.rms(), peer.rms(), note},
		{"1 hop, error, p99", "ns", peer.p99(), truth.p99(), peer.p99(), fmt.Sprintf("%d and %d samples", len(truth), len(peer))},
		{"1 hop, Syncs before the servo, rms", "ns", 0, reported.rms(), peer.rms(), fmt.Sprintf("mean %+.0f", reported.mean())},
		{"1 hop, Syncs before the servo, p99", "ns", 0, reported.p99(), peer.p99(), ""},
	}
}

// turn runs f as a sub-benchmark, so that what it started ends with it.
func turn(b *testing.B, f func(b *testing.B)) {
	b.Helper()
	if !b.Run("", f) {
		b.FailNow()
	}
}

// fourHops: the end of a chain of relays against its grand master, and the end of a
// chain of boundary clocks. Those of ptp4l are not steered here: each hop's
// offset is its own error, and steered clocks would add them up.
func fourHops(b *testing.B) []row {
	const hops = 4
	var truth, peer figures
	turn(b, func(b *testing.B) {
		chain := daemons(b, hops+1, "")
		last := chain[hops]
		await(b, "the last follows", last.follows(chain[0].id))
		time.Sleep(5 * time.Second)
		truth, _ = sample(last, chain[0].error, *lasting)
	})
	turn(b, func(b *testing.B) {
		row, ports := chainOf(b, hops+1)
		var chain []*ptp4l
		for i := range row {
			chain = append(chain, startPtp4l(b, row[i], "gPTP.cfg", ports[i], profile, []string{
				fmt.Sprintf("--priority1=%d", 100+i),
			}))
		}
		await(b, "the last follows", func() bool { return chain[hops].pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == chain[0].id })
		await(b, "the last is a slave", chain[hops].said("UNCALIBRATED to SLAVE"))
		time.Sleep(5 * time.Second)
		var from []int
		for _, p := range chain {
			from = append(from, len(p.output()))
		}
		time.Sleep(*lasting)
		for i, p := range chain[1:] {
			for k, v := range p.offsets(from[i+1]) {
				if i == 0 {
					peer = append(peer, v)
				} else if k < len(peer) {
					peer[k] += v
				}
			}
		}
	})
	return []row{
		{"4 hops, error at the end, rms", "ns", 0, truth.rms(), peer.rms(), fmt.Sprintf("mean %+.0f; ptp4l %+.0f: sum of its hops", truth.mean(), peer.mean())},
		{"4 hops, error at the end, p99", "ns", 3000, truth.p99(), peer.p99(), ""},
	}
}

// eightHops: nine daemons in a row.
func eightHops(b *testing.B) []row {
	const hops = 8
	var truth figures
	turn(b, func(b *testing.B) {
		chain := daemons(b, hops+1, "")
		last := chain[hops]
		await(b, "the last follows", last.follows(chain[0].id))
		time.Sleep(5 * time.Second)
		truth, _ = sample(last, chain[0].error, *lasting)
	})
	return []row{
		{"8 hops, error at the end, rms", "ns", 0, truth.rms(), 0, fmt.Sprintf("mean %+.0f", truth.mean())},
		{"8 hops, error at the end, p99", "ns", 0, truth.p99(), 0, ""},
	}
}

// since polls until ok and returns the seconds from start on.
func since(b *testing.B, start time.Time, ok func() bool) float64 {
	b.Helper()
	for !ok() {
		if time.Since(start) > patience {
			b.Fatalf("not within %v", patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(start).Seconds()
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// coldStart: two nodes start at one time; when is the slave asCapable, when
// synchronized? Process start included.
func coldStart(b *testing.B) []row {
	const rounds = 5
	var capable, synced, peerCapable, peerSynced []float64
	for range rounds {
		turn(b, func(b *testing.B) {
			a, c := link(b)
			start := time.Now()
			gm := startDaemon(b, a, options{ports: p1, gptp: "  priority1: 100\n"})
			d := startDaemon(b, c, options{system: 2, ports: p1})
			capable = append(capable, since(b, start, func() bool {
				s := d.status()
				return len(s.Ports) > 0 && s.Ports[0].AsCapable
			}))
			synced = append(synced, since(b, start, d.follows(gm.id)))
		})
		turn(b, func(b *testing.B) {
			a, c := link(b)
			start := time.Now()
			startPtp4l(b, a, "gPTP.cfg", p1, profile, []string{"--priority1=100"})
			s := startPtp4l(b, c, "gPTP.cfg", p1, profile, []string{"--logging_level=7"})
			peerCapable = append(peerCapable, since(b, start, s.said("setting asCapable")))
			peerSynced = append(peerSynced, since(b, start, s.said("UNCALIBRATED to SLAVE")))
		})
	}
	return []row{
		{"cold start to asCapable, median", "s", 3.5, median(capable), median(peerCapable), fmt.Sprintf("worst %.2f", slices.Max(capable))},
		{"cold start to synchronized, median", "s", 5, median(synced), median(peerSynced), fmt.Sprintf("worst %.2f", slices.Max(synced))},
	}
}

// configured: the cold start with external port configuration, which ptp4l has not.
func configured(b *testing.B) []row {
	const rounds = 5
	var synced []float64
	for range rounds {
		turn(b, func(b *testing.B) {
			a, c := link(b)
			start := time.Now()
			const external = "  externalPortConfiguration: true\n"
			gm := startDaemon(b, a, options{ports: p1, states: []string{"master"}, gptp: external})
			d := startDaemon(b, c, options{system: 2, ports: p1, states: []string{"slave"}, gptp: external})
			synced = append(synced, since(b, start, d.follows(gm.id)))
		})
	}
	return []row{{"cold start, ports configured, median", "s", 2, median(synced), 0, fmt.Sprintf("worst %.2f", slices.Max(synced))}}
}

// standby: the primary grand master dies, and the time of the node between goes by the
// other's. Its error is against the clock of the first, which is the kernel's.
func standby(b *testing.B) []row {
	const rounds = 5
	var steps, shifts []float64
	for range rounds {
		turn(b, func(b *testing.B) {
			first, s, _ := hotStandby(b)
			await(b, "S has the time of both", s.standsBy("REDUNDANT", 0))
			time.Sleep(10 * time.Second)
			before, _ := sample(s, zero, 2*time.Second)
			first.kill()
			after, _ := sample(s, zero, 3*time.Second)
			step := 0.0
			for i := range after[1:] {
				step = max(step, math.Abs(after[i+1]-after[i]))
			}
			steps = append(steps, step)
			shifts = append(shifts, math.Abs(after[len(after)/2:].mean()-before.mean()))
		})
	}
	return []row{
		{"hot standby: largest step within 40 ms", "ns", 1000, median(steps), 0, fmt.Sprintf("worst %.0f", slices.Max(steps))},
		{"hot standby: from before to 1.5..3 s later", "ns", 1000, median(shifts), 0, fmt.Sprintf("worst %.0f", slices.Max(shifts))},
	}
}

// killed: a grand master and the nodes B and C in a row. It is killed: when does B
// announce itself, when does C follow B?
func killed(b *testing.B) []row {
	const rounds = 5
	var announce, follow, peerAnnounce, peerFollow []float64
	for range rounds {
		turn(b, func(b *testing.B) {
			chain := daemons(b, 3, "")
			c := startCapture(b, chain[1].ns, "p2")
			await(b, "the last follows", chain[2].follows(chain[0].id))
			time.Sleep(time.Second)
			start := time.Now()
			chain[0].kill()
			follow = append(follow, since(b, start, chain[2].follows(chain[1].id)))
			announce = append(announce, c.firstOwn(chain[1].id, start))
		})
		turn(b, func(b *testing.B) {
			row, ports := chainOf(b, 3)
			var chain []*ptp4l
			for i := range row {
				chain = append(chain, startPtp4l(b, row[i], "gPTP.cfg", ports[i], profile, []string{
					fmt.Sprintf("--priority1=%d", 100+i),
				}))
			}
			c := startCapture(b, row[1], "p2")
			last := chain[2]
			await(b, "the last follows", func() bool {
				return last.said("UNCALIBRATED to SLAVE")() && last.pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == chain[0].id
			})
			time.Sleep(time.Second)
			start := time.Now()
			chain[0].kill()
			peerFollow = append(peerFollow, since(b, start, func() bool {
				return last.pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == chain[1].id
			}))
			peerAnnounce = append(peerAnnounce, c.firstOwn(chain[1].id, start))
		})
	}
	return []row{
		{"grand master killed: first own Announce", "s", 0.45, median(announce), median(peerAnnounce), fmt.Sprintf("worst %.2f", slices.Max(announce))},
		{"grand master killed: next hop follows", "s", 1.5, median(follow), median(peerFollow), fmt.Sprintf("worst %.2f", slices.Max(follow))},
	}
}

// firstOwn is when a clock first announced itself as grand master, in seconds after
// start.
func (c *capture) firstOwn(id string, start time.Time) float64 {
	msgs, at := sent[*ptpmsg.Announce](c, id)
	for i, m := range msgs {
		if at[i] > start.UnixNano() && m.GrandMaster.String() == id {
			return float64(at[i]-start.UnixNano()) / second
		}
	}
	return math.Inf(1)
}

// cost: processor time of one-port slaves and two-port bridges over a minute in
// which nobody asks them anything, and resident memory.
func cost(b *testing.B) []row {
	const lasting = time.Minute
	chain := daemons(b, 3, "")
	await(b, "the last follows", chain[2].follows(chain[0].id))
	row3, ports := chainOf(b, 3)
	var peers []*ptp4l
	for i := range row3 {
		peers = append(peers, startPtp4l(b, row3[i], "gPTP.cfg", ports[i], []string{
			fmt.Sprintf("--priority1=%d", 100+i), "--summary_interval=0",
		}))
	}
	await(b, "the last follows", peers[2].said("selected best master clock "+peers[0].id))
	time.Sleep(2 * time.Second)
	pids := []int{chain[1].cmd.Process.Pid, chain[2].cmd.Process.Pid, peers[1].cmd.Process.Pid, peers[2].cmd.Process.Pid}
	var used [4]float64
	for i, pid := range pids {
		used[i] = -busySeconds(b, pid)
	}
	time.Sleep(lasting)
	for i, pid := range pids {
		used[i] = (used[i] + busySeconds(b, pid)) * 1000 * 60 / lasting.Seconds()
	}
	return []row{
		{"processor, slave, per port and minute", "ms", 3 * used[3], used[1], used[3], ""},
		{"processor, 2-port bridge, per port and min", "ms", 3 * used[2] / 2, used[0] / 2, used[2] / 2, ""},
		{"resident memory of the 2-port bridge", "MB", 40, residentMB(b, pids[0]), residentMB(b, pids[2]), ""},
	}
}

// busySeconds is the processor time of a process, all threads.
func busySeconds(b *testing.B, pid int) float64 {
	b.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		b.Fatalf("schedstat of %d: %v", pid, err)
	}
	var sum float64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		ns, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		sum += ns / second
	}
	return sum
}

func residentMB(b testing.TB, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, _ := strconv.ParseFloat(strings.Fields(cmp.Or(rest, "0"))[0], 64)
	return kb / 1024
}
