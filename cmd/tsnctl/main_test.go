package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"pgregory.net/rapid"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
)

var update = flag.Bool("update", false, "rewrite golden files and scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tsnctl": main})
}

// daemon serves a fake b1 that knows b2, until the returned function is called.
func daemon(t interface{ Fatal(...any) }, socket string) func() {
	b1, b2 := apitest.New("b1"), apitest.New("b2")
	b3 := apitest.New("b3")
	b3.Err = api.Errorf(api.CodeUnavailable, "b3 at 10.255.0.3:9465 does not answer")
	b1.Remotes = map[string]api.Switch{"b2": b2, "b3": b3}
	b1.EventList = []api.Event{
		{Seq: 1, Time: 1_700_000_000_000_000_000, Node: "b1", Kind: "link-up", Port: 1, Detail: "100 Mbit/s"},
		{Seq: 2, Time: 1_700_000_001_500_000_000, Node: "b1", Kind: "stream-failed", Detail: strings.Repeat("because ", 20)},
	}
	b1.EventList = append(b1.EventList, api.Event{Seq: 3, Time: 1_700_000_002_000_000_000, Node: "b1", Kind: "stream-failed", Port: 1, Detail: "02-00-00-00-01-09:0002: insufficient bandwidth"})
	failed := api.StreamState{
		Stream: apitest.Stream(7), Owner: "b1", State: api.StreamFailed, Failure: tsn.FailureMaxLatency,
		Reason: "the new path over b4 takes 9.2 ms, of 8 ms allowed; ask for a larger latency or restore the link b1-b2",
	}
	failed.Stream.Name = "a-stream-with-a-rather-long-name-that-somebody-chose"
	b1.Streams = []api.StreamState{failed}
	b1.Views = apitest.MSRPStreams()
	if _, err := b1.RequestStream(context.Background(), api.DemandRequest{Name: "cam", Class: "A", Rank: 1, MaxFrameSize: 224}); err != nil {
		t.Fatal(err)
	}
	l, err := api.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = api.Serve(ctx, l, api.LocalHandler(b1), slog.New(slog.DiscardHandler))
	}()
	return func() { cancel(); <-done }
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			socket := filepath.Join(e.WorkDir, "s")
			e.Setenv("TSNSWITCH_SOCKET", socket)
			e.Defer(daemon(e.T(), socket))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// code N command...: runs it and wants that exit status.
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				got := exitOK
				var exit *exec.ExitError
				if err := ts.Exec("tsnctl", args[1:]...); errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				for _, name := range []string{"stdout", "stderr"} {
					ts.Check(os.WriteFile(ts.MkAbs(strings.TrimPrefix(name, "std")), []byte(ts.ReadFile(name)), 0o644))
				}
				if want := args[0]; want != string(rune('0'+got)) {
					ts.Fatalf("exit status %d, want %s", got, want)
				}
			},
		},
	})
}

// commands are all that print; each has a golden text, fits the page, and
// prints JSON that parses.
var commands = map[string]string{
	"status":           "status",
	"doctor":           "doctor",
	"diff":             "diff",
	"diff-kernel":      "diff --kernel",
	"dist":             "dist",
	"dist-all":         "dist --all b@hostB",
	"dist-nobody":      "dist nobody@nowhere",
	"dist-watch":       "dist --watch --count 2 --interval 100ms",
	"usage-dist":       "dist --watch --interval 1ms",
	"help-dist":        "dist --help",
	"gptp":             "gptp",
	"gptp-status":      "gptp status --domain 20",
	"gptp-domains":     "gptp domains",
	"gptp-ports":       "gptp ports",
	"gptp-ports-one":   "gptp ports 3 --domain 20",
	"gptp-ports-no":    "gptp ports eth9",
	"gptp-no-domain":   "gptp --domain 7",
	"usage-domain":     "gptp --domain 128",
	"gptp-events":      "gptp events --since 10m",
	"gptp-watch":       "gptp watch --count 4 --domain 20",
	"usage-watch":      "gptp watch --window 1ms",
	"usage-plot":       "gptp plot",
	"usage-plot-file":  "gptp plot --svg x.svg --file x.jsonl",
	"help-gptp":        "gptp --help",
	"help-gptp-watch":  "gptp watch --help",
	"help-gptp-plot":   "gptp plot --help",
	"help-gptp-ports":  "gptp ports --help",
	"spb-neighbours":   "spb neighbours",
	"spb-database":     "spb database",
	"spb-database-all": "spb database --detail",
	"spb-database-one": "spb database b1 --detail",
	"spb-nodes":        "spb nodes",
	"spb-paths":        "spb paths --from A --to B --vlan 100",
	"spb-paths-two":    "spb paths b1 b2",
	"usage-paths":      "spb paths b1",
	"spb-why":          "spb why B",
	"spb-why-two":      "spb why A B --ect 2",
	"spb-tree":         "spb tree",
	"spb-tree-ect":     "spb tree A --ect 16",
	"usage-tree":       "spb tree A --ect 17",
	"spb-topology":     "spb topology",
	"spb-watch":        "spb topology --watch --count 2",
	"spb-records":      "spb records",
	"spb-records-one":  "spb records --application 40000",
	"spb-services":     "spb services",
	"spb-edge":         "spb edge",
	"spb-disjoint":     "spb disjoint A B",
	"spb-disjoint-two": "spb disjoint A B --vlans 100,101",
	"usage-disjoint":   "spb disjoint A B --vlans 100",
	"usage-disjoint-2": "spb disjoint A B --vlans 100,65636",
	"spb-ping":         "spb ping B",
	"spb-ping-nobody":  "spb ping nobody",
	"spb-trace":        "spb trace B",
	"spb-drain":        "spb drain --reason fan",
	"spb-drain-off":    "spb drain --off",
	"usage-drain":      "spb drain --off --reason fan",
	"help-spb":         "spb --help",
	"help-spb-drain":   "spb drain --help",
	"help-spb-ping":    "spb ping --help",
	"help-spb-why":     "spb why --help",
	"stream-add":       "stream add --talker A --listener B --interval 10ms --size 1400 --frames 2 --within 8ms --name x",
	"stream-add-dry":   "stream add --talker A --listener B --interval 10ms --size 46B --destination 91:e0:f0:00:0e:80 --id 02-00-00-00-01-01:0009 --pcp 3 --vlan 101 --dry-run",
	"stream-list":      "stream list",
	"stream-show":      "stream show 02-00-00-00-01-01:0007",
	"stream-show-msrp": "stream show 02-00-00-00-01-09:0001",
	"stream-show-fail": "stream show 02-00-00-00-01-09:0002",
	"stream-show-lone": "stream show 02-00-00-00-01-0a:0001",
	"stream-watch":     "stream watch --count 2",
	"stream-watch-one": "stream watch 02-00-00-00-01-09:0002 --count 1",
	"stream-request":   "stream request --talker A --listener B,02:00:00:00:01:03@b3:4 --class A --size 224 --within 2ms --name cam",
	"stream-req-dry":   "stream request --talker A --listener B --class B --size 224 --rank 0 --dry-run",
	"stream-req-sched": "stream request --talker A --listener B --class scheduled --size 224 --interval 10ms",
	"stream-req-class": "stream request --talker A --listener B --class C --size 224",
	"usage-req":        "stream request --talker A --listener B,C --class scheduled --size 224 --interval 10ms",
	"stream-requests":  "stream requests",
	"help-request":     "stream request --help",
	"stream-explain":   "stream explain 02-00-00-00-01-09:0002",
	"stream-explain-1": "stream explain 02-00-00-00-01-0a:0001",
	"help-explain":     "stream explain --help",
	"srp-vlans":        "srp vlans",
	"srp-groups":       "srp groups",
	"help-srp-vlans":   "srp vlans --help",
	"srp-ports":        "srp ports",
	"srp-ports-all":    "srp ports --counters",
	"srp-decl":         "srp declarations",
	"srp-decl-one":     "srp declarations 3 --application msrp",
	"usage-decl":       "srp declarations p1",
	"help-srp":         "srp --help",
	"help-srp-ports":   "srp ports --help",
	"help-srp-decl":    "srp declarations --help",
	"help-stream":      "stream --help",
	"help-stream-list": "stream list --help",
	"schedule-plan":    "schedule plan",
	"schedule-apply":   "schedule apply",
	"schedule-try":     "schedule apply --confirm 60s",
	"schedule-confirm": "schedule confirm",
	"schedule-back":    "schedule rollback",
	"schedule-show":    "schedule show",
	"schedule-some":    "schedule show b1:1",
	"schedule-explain": "schedule explain a-to-b",
	"schedule-why":     "schedule explain 02-00-00-00-01-01:0002",
	"schedule-diff":    "schedule diff",
	"help-verify":      "schedule verify --help",
	"help-plan":        "schedule plan --help",
	"plan-paths":       "plan paths --network ../../lab/ring4.yaml",
	"plan-paths-one":   "plan paths --network ../../lab/ring4.yaml --from b4 --to B --vlan 100",
	"plan-file":        "plan paths --file testdata/plan.yaml",
	"plan-file-pair":   "plan paths --file testdata/plan.yaml --from a --to d --ect 0,1,2",
	"help-plan-paths":  "plan paths --help",
	"plan-no-node":     "plan paths --network ../../lab/ring4.yaml --from A --to b9",
	"events":           "events --since 1 --count 2",
	"help":             "--help",
	"help-stream-add":  "stream add --help",
	"help-doctor":      "doctor --help",
	"help-schedule":    "schedule apply --help",
	"unknown-node":     "status --node b9",
	"refused":          "stream add --talker A --listener B --interval 100us --size 1500 --frames 10",
	"not-there":        "stream remove nothing",
	"node-down":        "--node b3 status",
	"usage-no-command": "frobnicate",
}

func TestOutput(t *testing.T) {
	for name, line := range commands {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			t.Cleanup(daemon(t, socket))
			t.Setenv("TSNSWITCH_SOCKET", "/run/tsnswitchd/tsnswitchd.sock") // what help prints
			var out bytes.Buffer
			args := append([]string{"--socket", socket}, strings.Fields(line)...)
			code := run(t.Context(), args, &out, &out)
			fits(t, out.String())
			golden(t, filepath.Join("testdata/golden", name+".txt"), "$ tsnctl "+line+"\n"+out.String()+exitText(code))

			if strings.HasPrefix(name, "help") || strings.HasPrefix(name, "usage") {
				return
			}
			var jsonOut, jsonErr bytes.Buffer
			run(t.Context(), append(args, "--json"), &jsonOut, &jsonErr)
			if code != exitOK && code != exitVerdict {
				jsonOut = jsonErr
			}
			dec := json.NewDecoder(&jsonOut)
			for n := 0; ; n++ {
				var v any
				if err := dec.Decode(&v); err != nil {
					if n == 0 {
						t.Errorf("no JSON: %v", err)
					}
					break
				}
			}
		})
	}
}

func exitText(code int) string { return "[exit " + string(rune('0'+code)) + "]\n" }

func fits(t interface{ Errorf(string, ...any) }, text string) {
	for _, l := range strings.Split(text, "\n") {
		if n := utf8.RuneCountInString(l); n > width {
			t.Errorf("%d columns: %q", n, l)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, d)
	}
}

// Whatever a daemon says, a page keeps its width and loses no word of the
// last column.
func TestPageProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "columns")
		tab := table{}
		for range n {
			tab.head = append(tab.head, rapid.StringMatching(`>?[A-Z]{1,12}`).Draw(t, "head"))
		}
		var words []string
		for range rapid.IntRange(0, 5).Draw(t, "rows") {
			var cells []any
			for range n {
				cells = append(cells, rapid.StringMatching(`[a-zö]{0,30}( [a-z]{1,12}){0,9}`).Draw(t, "cell"))
			}
			words = append(words, strings.Fields(cells[n-1].(string))...)
			tab.row(cells...)
		}
		var out bytes.Buffer
		p := &page{w: &out}
		p.table(tab)
		p.wrap(rapid.StringMatching(`[a-z]{0,20}`).Draw(t, "lead"), "  ", rapid.String().Draw(t, "text"))
		fits(t, out.String())
		flat := strings.Join(strings.Fields(out.String()), "")
		for _, w := range words {
			if len(w) < 20 && !strings.Contains(flat, w) {
				t.Fatalf("%q is lost:\n%s", w, out.String())
			}
		}
	})
}

// Names of nodes and stations complete; without a daemon nothing does.
func TestCompletion(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	stop := daemon(t, socket)
	complete := func(args ...string) string {
		var out, errOut bytes.Buffer
		run(t.Context(), append([]string{"__complete", "--socket", socket}, args...), &out, &errOut)
		names, _, _ := strings.Cut(out.String(), ":")
		return strings.Join(strings.Fields(names), " ")
	}
	for _, args := range [][]string{{"spb", "ping", ""}, {"spb", "disjoint", "b1", ""}, {"spb", "tree", ""}, {"status", "--node", ""}} {
		if got := complete(args...); got != "b1 A b2" {
			t.Errorf("%v: %q", args, got)
		}
	}
	stop()
	if got := complete("spb", "ping", ""); got != "" {
		t.Errorf("without a daemon: %q", got)
	}
}

// A ping that is interrupted sums up what came.
func TestPingInterrupted(t *testing.T) {
	s := &api.PingSummary{To: "B"}
	for k, v := range []api.PingReply{{RTT: 3000}, {Lost: true}, {RTT: 1000}, {RTT: 2000}} {
		v.Sequence, v.From, v.Name = k+1, tsn.MAC{2}, "b3"
		addReply(s, v)
	}
	var out bytes.Buffer
	printPing(&page{w: &out}, s)
	if want := "b3, the bridge of B: 4 sent, 3 answered, 1us/2us/3us (min/avg/max)\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A name from the network cannot steer the terminal.
func TestNoControlCharacters(t *testing.T) {
	var out bytes.Buffer
	printTree(&page{w: &out}, &api.Tree{Nodes: []api.TreeNode{{Name: "b\x1b[2J\x07\u009b1"}}})
	if strings.ContainsAny(out.String(), "\x1b\x07\u009b") || !strings.Contains(out.String(), "b·[2J··1") {
		t.Errorf("%q", out.String())
	}
}

// A list of streams keeps its width, whatever a station asks for, and a way its,
// however long it is.
func TestWidthOfStreams(t *testing.T) {
	most := tsn.Stream{ID: tsn.StreamID{255, 255, 255, 255, 255, 255, 255, 255}, VID: 65535, MaxFrameSize: 65535, MaxIntervalFrames: 65535, Interval: 125_000}
	v := api.StreamView{StreamState: api.StreamState{Stream: most, Latency: 1<<32 - 1}, Class: "scheduled", Rank: 1}
	for i := range 60 {
		name := func(n int) string { return fmt.Sprintf("bridge%d", n) }
		v.Bridges = append(v.Bridges, api.StreamAt{
			Node: name(i), In: &api.StreamPort{Port: 1, Neighbour: name(i - 1), Talker: api.TalkerAdvertise, Latency: 1 << 31},
			Out: []api.StreamPort{{Port: 2, Neighbour: name(i + 1), Talker: api.TalkerFailed, Text: strings.Repeat("word ", 30), Listener: "asking failed"}},
		})
	}
	var out bytes.Buffer
	p := &page{w: &out}
	printStreams(p, []api.StreamView{v})
	printStreamView(p, &v)
	fits(t, out.String())
	for i := range 60 {
		if !strings.Contains(out.String(), fmt.Sprintf("bridge%d: in by", i)) {
			t.Errorf("bridge %d is lost", i)
		}
	}
}

func TestDur(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0ns", 999: "999ns", -1250: "-1.25us", 1_260_000: "1.26ms", 8e6: "8ms", 75e9: "75s", 125e9: "2m5s",
		3661e9: "1h1m", 90_000e9: "1d1h",
	} {
		if got := dur(ns); got != want {
			t.Errorf("%d: %s, want %s", ns, got, want)
		}
	}
}
