package distbench

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	beamtest.Cleanup()
	os.Exit(code)
}

var (
	rounds = flag.Int("rounds", 3, "how often each row is measured, the carriers in turns")
	only   = flag.String("rows", "", "words of the rows wanted, separated by commas; empty: all")
	lang   = flag.String("erl", "erl", "the Erlang to run, like /opt/otp27/bin/erl")
)

// A carrier is a way to distribute Erlang.
type carrier struct {
	name, dist string
	args       []string
}

// carriers: stock, the fair rival (small buffers in front of the wire), and ours.
func carriers(address string) []carrier {
	device := "{" + strings.ReplaceAll(address, ".", ",") + "}"
	tcp := []string{"-kernel", "inet_dist_use_interface", device}
	return []carrier{
		{"tcp", "inet_tcp", tcp},
		{"tuned", "inet_tcp", append([]string{
			"+zdbbl", "64", "-kernel", "inet_dist_connect_options", "[{sndbuf,65536}]", "inet_dist_listen_options", "[{sndbuf,65536}]",
		}, tcp...)},
		{"distlink", "distlink", []string{"-distlink_security", "none", "-distlink_ip", address}},
	}
}

// A row is one measurement: expressions whose last line of JSON has the fields.
type row struct {
	name string
	link link
	expr string // with the peer's name
	cols []col
}

// col is a figure of a row. bar is what distlink has to reach; vs is to what
// the peer's figure is compared: by which factor ours may be worse, 0: not.
type col struct {
	field string
	scale float64 // to the unit that is printed
	unit  string
	bar   float64
	least bool    // bar is a minimum
	beats float64 // at most so many times the stock carrier's; 0: no such bar
}

func us(field string, bar float64) col { return col{field: field, scale: 1e-3, unit: "ms", bar: bar} }

var rows = []row{
	{"idle veth, calls", link{}, `distlink_bench:rtt_line("idle", '%s', 6000, 0)`, []col{{field: "p50_us", scale: 1, unit: "us", beats: 1.8}, {field: "p99_us", scale: 1, unit: "us"}}},
	{"idle veth, calls 2 ms apart", link{}, `distlink_bench:rtt_line("paced", '%s', 1500, 2)`, []col{us("p50_us", 0), us("p99_us", 0)}},
	{"idle veth, 1 KiB messages", link{}, `distlink_bench:throughput('%s', 1024, 3000)`, []col{{field: "messages_per_s", scale: 1e-3, unit: "k/s", bar: 50, least: true}}},
	{"idle veth, 64 KiB messages", link{}, `distlink_bench:throughput('%s', 65536, 3000)`, []col{{field: "kbit_per_s", scale: 1e-6, unit: "Gbit/s", bar: 1, least: true}}},
	{"1 % loss, calls 2 ms apart", link{loss: 1}, `distlink_bench:rtt_line("loss", '%s', 3000, 2)`, []col{us("p50_us", 0), us("p99_us", 5)}},
	{"100 Mbit/s, calls 2 ms apart", link{mbit: 100}, `distlink_bench:rtt_line("100M", '%s', 1500, 2)`, []col{us("p50_us", 0), us("p99_us", 0)}},
	{"100 Mbit/s beside 1 MiB messages", link{mbit: 100}, `distlink_bench:hol('%s', 1048576, 600, 2, 45000)`, []col{us("p50_us", 3), us("p99_us", 10), {field: "bulk_kbit_per_s", scale: 1e-3, unit: "Mbit/s", bar: 85, least: true}}},
	{"100 Mbit/s beside 64 MiB messages", link{mbit: 100}, `distlink_bench:hol('%s', 67108864, 3000, 2, 45000)`, []col{us("p50_us", 3), us("p99_us", 10), {field: "bulk_kbit_per_s", scale: 1e-3, unit: "Mbit/s", bar: 85, least: true}}},
	{"100 Mbit/s, 1 % loss, calls 2 ms apart", link{mbit: 100, loss: 1}, `distlink_bench:rtt_line("loss", '%s', 1500, 2)`, []col{us("p50_us", 0), us("p99_us", 5)}},
	{"100 Mbit/s, 1 % loss, 64 MiB beside", link{mbit: 100, loss: 1}, `distlink_bench:hol('%s', 67108864, 2000, 2, 45000)`, []col{us("p50_us", 0), us("p99_us", 0), {field: "bulk_kbit_per_s", scale: 1e-3, unit: "Mbit/s"}}},
}

func wanted(name string) bool {
	if *only == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(*only, ","), func(w string) bool { return strings.Contains(name, w) })
}

// BenchmarkCarriers prints a table; its ns/op means nothing. Run it with
//
//	make bench-dist
func BenchmarkCarriers(b *testing.B) {
	if b.N > 1 {
		return // once: the rows last as long as they last
	}
	need(b)
	code := beamtest.Code(b)
	fmt.Printf("%-40s %-7s %8s | %9s %9s %9s | %s\n", "", "", "bar", "tcp", "tuned", "distlink", "distlink/tcp, /tuned")
	for _, r := range rows {
		if !wanted(r.name) {
			continue
		}
		got := map[string]map[string][]float64{} // by field and carrier
		for round := range *rounds {
			for i, c := range carriers(addressA) {
				for field, v := range measure(b, code, r, c, carriers(addressB)[i], round) {
					if got[field] == nil {
						got[field] = map[string][]float64{}
					}
					got[field][c.name] = append(got[field][c.name], v)
				}
			}
		}
		for _, c := range r.cols {
			printRow(r.name, c, got[c.field])
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("medians of %d; load average %s", *rounds, load)
}

// measure runs a row over a carrier on a fresh link and fresh nodes.
func measure(b *testing.B, code string, r row, ours, peers carrier, round int) map[string]float64 {
	l := newNet(b, r.link)
	defer l.close()
	port := 20000 + os.Getpid()%20000
	peer := l.start(b, "b", code, "b@"+addressB, port, peers, `io:format("up~n"), receive after infinity -> ok end`)
	defer peer.kill()
	peer.line(b)
	me := l.start(b, "a", code, "a@"+addressA, port, ours, fmt.Sprintf(r.expr, "b@"+addressB)+", halt(0)")
	defer me.kill()
	out := map[string]float64{}
	var fields map[string]any
	text := me.line(b)
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		b.Logf("%s over %s, round %d: %s", r.name, ours.name, round, text)
		return out
	}
	for _, c := range r.cols {
		if v, ok := fields[c.field].(float64); ok {
			out[c.field] = v * c.scale
		}
	}
	return out
}

func median(v []float64) (float64, bool) {
	if len(v) == 0 {
		return 0, false
	}
	v = slices.SortedFunc(slices.Values(v), cmp.Compare[float64])
	return v[len(v)/2], true
}

func printRow(name string, c col, got map[string][]float64) {
	cell := func(carrier string) string {
		if v, ok := median(got[carrier]); ok {
			return strconv.FormatFloat(v, 'f', 2, 64)
		}
		return "failed"
	}
	ratio := func(carrier string) string {
		us, ok := median(got["distlink"])
		if v, ok2 := median(got[carrier]); ok && ok2 && v > 0 {
			return strconv.FormatFloat(us/v, 'g', 3, 64)
		}
		return "-"
	}
	bar, held := "-", ""
	v, ok := median(got["distlink"])
	switch {
	case c.beats > 0:
		tcp, _ := median(got["tcp"])
		bar, held = fmt.Sprintf("%.1fx", c.beats), verdict(ok && v <= c.beats*tcp)
	case c.bar > 0:
		bar, held = strconv.FormatFloat(c.bar, 'g', 4, 64), verdict(ok && (v <= c.bar) != c.least)
	}
	label := strings.TrimSuffix(strings.TrimSuffix(strings.ReplaceAll(c.field, "_us", ""), "_kbit_per_s"), "_per_s")
	fmt.Printf("%-40s %-7s %8s | %9s %9s %9s | %s, %s %s\n", name+": "+label, c.unit, bar, cell("tcp"), cell("tuned"), cell("distlink"), ratio("tcp"), ratio("tuned"), held)
}

func verdict(held bool) string {
	if held {
		return "held"
	}
	return "MISSED"
}
