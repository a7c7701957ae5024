package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"tsnswitch"
	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// serve runs a server until the test ends.
func serve(t *testing.T, l net.Listener, h http.Handler) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- api.Serve(ctx, l, h, quiet) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// local returns a client of f over a unix socket.
func local(t *testing.T, f *apitest.Fake) (*api.Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := api.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, api.LocalHandler(f))
	c := api.DialUnix(path)
	t.Cleanup(c.Close)
	return c, path
}

// remote returns a client, with the keys of node `as`, of f over TLS.
func remote(t *testing.T, f *apitest.Fake, dir, as string) *api.Client {
	t.Helper()
	l, err := api.ListenTLS("127.0.0.1:0", keys(t, dir, f.Name))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, api.RemoteHandler(f))
	c := api.DialTLS(l.Addr().String(), f.Name, keys(t, dir, as), nil)
	t.Cleanup(c.Close)
	return c
}

func keys(t *testing.T, dir, node string) *api.Keys {
	t.Helper()
	if err := api.CreatePKI(dir, []string{node}, time.Now()); err != nil {
		t.Fatal(err)
	}
	k, err := api.LoadKeys(api.KeyFiles(dir, node))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// reads are all calls that only read; what a client gets must be what the
// backend said.
var reads = map[string]func(context.Context, api.Switch) (any, error){
	"status":     func(c context.Context, s api.Switch) (any, error) { return s.Status(c) },
	"doctor":     func(c context.Context, s api.Switch) (any, error) { return s.Doctor(c) },
	"diff":       func(c context.Context, s api.Switch) (any, error) { return s.Diff(c) },
	"kernel":     func(c context.Context, s api.Switch) (any, error) { return s.KernelText(c) },
	"dist":       func(c context.Context, s api.Switch) (any, error) { return s.Dist(c) },
	"neighbours": func(c context.Context, s api.Switch) (any, error) { return s.Neighbours(c) },
	"database": func(c context.Context, s api.Switch) (any, error) {
		return s.Database(c, api.DatabaseQuery{LSP: "b1", Detail: true})
	},
	"nodes": func(c context.Context, s api.Switch) (any, error) { return s.Nodes(c) },
	"paths": func(c context.Context, s api.Switch) (any, error) {
		return s.Paths(c, api.PathQuery{VLAN: 100, From: "A", To: "B"})
	},
	"why": func(c context.Context, s api.Switch) (any, error) {
		return s.Why(c, api.WhyQuery{From: "A", Subject: "B", VLAN: 100, ECT: new(uint8)})
	},
	"tree": func(c context.Context, s api.Switch) (any, error) {
		return s.Tree(c, api.TreeQuery{Source: "b1", VLAN: 100, ECT: new(uint8)})
	},
	"records": func(c context.Context, s api.Switch) (any, error) { return s.Records(c, new(uint16)) },
	"edge":    func(c context.Context, s api.Switch) (any, error) { return s.Edge(c) },
	"disjoint": func(c context.Context, s api.Switch) (any, error) {
		return s.Disjoint(c, api.DisjointQuery{From: "A", To: "B", VLANs: [2]tsn.VID{100, 101}})
	},
	"services": func(c context.Context, s api.Switch) (any, error) { return s.Services(c) },
	"drain": func(c context.Context, s api.Switch) (any, error) {
		return s.Drain(c, api.DrainRequest{On: true, Reason: "because"})
	},
	"ping": func(c context.Context, s api.Switch) (any, error) {
		var got []api.PingReply
		sum, err := s.Ping(c, api.PingRequest{To: "B", Count: 2}, func(p api.PingReply) error { got = append(got, p); return nil })
		return []any{got, sum}, err
	},
	"trace": func(c context.Context, s api.Switch) (any, error) {
		var got []api.TraceHop
		sum, err := s.Trace(c, api.TraceRequest{To: "B"}, func(h api.TraceHop) error { got = append(got, h); return nil })
		return []any{got, sum}, err
	},
	"srp": func(c context.Context, s api.Switch) (any, error) { return s.SRP(c) },
	"find": func(c context.Context, s api.Switch) (any, error) {
		return s.FindStreams(c, api.StreamQuery{Here: true, Fabric: true})
	},
	"vlans": func(c context.Context, s api.Switch) (any, error) { return s.Registrations(c, "mvrp") },
	"request": func(c context.Context, s api.Switch) (any, error) {
		return s.RequestStream(c, api.DemandRequest{
			ID: apitest.Stream(1).ID, Name: "n", Talker: "A", Listeners: []string{"B"}, Destination: tsn.MAC{0x91}, VID: 2, Class: "A", Rank: 1,
			MaxFrameSize: 100, MaxIntervalFrames: 1, Interval: 125_000, MaxLatency: 1e6, DryRun: true,
		})
	},
	"demands": func(c context.Context, s api.Switch) (any, error) { return s.Demands(c) },
	"explain": func(c context.Context, s api.Switch) (any, error) { return s.ExplainStream(c, "a-to-b") },
	"declarations": func(c context.Context, s api.Switch) (any, error) {
		return s.Declarations(c, api.DeclarationQuery{Port: 1, Application: "msrp"})
	},
	"topology": func(c context.Context, s api.Switch) (any, error) { return s.Topology(c) },
	"gptp":     func(c context.Context, s api.Switch) (any, error) { return s.GPTP(c) },
	"gptp history": func(c context.Context, s api.Switch) (any, error) {
		return s.GPTPHistory(c, api.GPTPQuery{Domain: new(uint8), Back: 60e9})
	},
	"gptp watch": func(c context.Context, s api.Switch) (any, error) {
		var got []api.GPTPUpdate
		enough := errors.New("enough")
		err := s.WatchGPTP(c, api.GPTPQuery{}, func(u api.GPTPUpdate) error {
			if got = append(got, u); len(got) == 20 {
				return enough
			}
			return nil
		})
		if errors.Is(err, enough) {
			err = nil
		}
		return got, err
	},
	"streams":  func(c context.Context, s api.Switch) (any, error) { return s.ListStreams(c) },
	"stream":   func(c context.Context, s api.Switch) (any, error) { return s.ShowStream(c, "a-to-b") },
	"plan":     func(c context.Context, s api.Switch) (any, error) { return s.PlanSchedule(c, api.PlanRequest{}) },
	"schedule": func(c context.Context, s api.Switch) (any, error) { return s.ShowSchedule(c) },
}

func testReads(t *testing.T, c api.Switch, want *apitest.Fake) {
	for name, read := range reads {
		t.Run(name, func(t *testing.T) {
			w, err := read(t.Context(), want)
			if err != nil {
				t.Fatal(err)
			}
			g, err := read(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(w, g, cmpopts.EquateEmpty()); d != "" {
				t.Errorf("what crossed the wire differs (-backend +client):\n%s", d)
			}
		})
	}
}

func withStream(f *apitest.Fake) *apitest.Fake {
	f.Streams = []api.StreamState{{
		Stream: apitest.Stream(1), Owner: f.Name, State: api.StreamFailed, Reason: "cut",
		Failure: tsn.FailureMaxLatency, Path: apitest.PathAB(), Latency: 7,
	}}
	return f
}

// Every read over the unix socket, and forwarded to another node over TLS,
// says what that node's backend said.
func TestReads(t *testing.T) {
	dir := t.TempDir()
	b1, b2 := withStream(apitest.New("b1")), withStream(apitest.New("b2"))
	b2.Streams[0].Reason = "of b2"
	b1.Remotes = map[string]api.Switch{"b2": remote(t, b2, dir, "b1")}
	c, _ := local(t, b1)
	t.Run("local", func(t *testing.T) { testReads(t, c, b1) })
	t.Run("forwarded", func(t *testing.T) { testReads(t, c.At("b2"), b2) })
	t.Run("itself", func(t *testing.T) { testReads(t, c.At("b1"), b1) })
	t.Run("unknown", func(t *testing.T) {
		if _, err := c.At("b9").Status(t.Context()); api.ErrorCode(err) != api.CodeUnknownNode {
			t.Errorf("got %v", err)
		}
	})
}

func TestStreamLife(t *testing.T) {
	f := apitest.New("b1")
	c, _ := local(t, f)
	spec := apitest.Stream(3)
	spec.Talker, spec.Listener, spec.DestinationAddress = tsn.MAC{}, tsn.MAC{}, tsn.MAC{}
	req := api.StreamRequest{Talker: "A", Listener: "B", Spec: spec, DryRun: true}
	if _, err := c.AddStream(t.Context(), req); err != nil || len(f.Streams) != 0 {
		t.Fatalf("dry run: %v, %d streams", err, len(f.Streams))
	}
	req.DryRun = false
	st, err := c.AddStream(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if st.Stream.ID != spec.ID || st.Stream.MaxLatency != spec.MaxLatency {
		t.Errorf("got %+v", st.Stream)
	}
	if err := c.RemoveStream(t.Context(), st.Stream.ID.String()); err != nil {
		t.Error(err)
	}
	if err := c.RemoveStream(t.Context(), st.Stream.ID.String()); api.ErrorCode(err) != api.CodeNotFound {
		t.Errorf("second remove: %v", err)
	}

	// A refusal carries code, stream and hop (802.1Q table 35-6).
	req.Spec.Interval, req.Spec.MaxIntervalFrames = 100_000, 10
	_, err = c.AddStream(t.Context(), req)
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	if e.Code != api.CodeRefused || e.Failure != tsn.FailureBandwidth || e.Stream != spec.ID || e.Hop != apitest.PathAB()[1] {
		t.Errorf("got %+v", e)
	}
}

func TestApplyStreamsProgress(t *testing.T) {
	f := apitest.New("b1")
	c, _ := local(t, f)
	var steps []string
	note := func(p api.Progress) { steps = append(steps, p.Step) }
	s, err := c.ApplySchedule(t.Context(), api.ApplyRequest{}, note)
	if err != nil || s.State != api.ScheduleRunning {
		t.Fatalf("%+v, %v", s, err)
	}
	if got := strings.Join(steps, " "); got != "plan stage verify" {
		t.Errorf("steps %q", got)
	}
	for name, call := range map[string]func(context.Context, func(api.Progress)) (*api.Schedule, error){
		"confirm": c.ConfirmSchedule, "revert": c.RollBackSchedule,
	} {
		steps = nil
		if s, err := call(t.Context(), note); err != nil || s.ID != "s-1" || !slices.Equal(steps, []string{name}) {
			t.Errorf("%s: %+v, %v, %q", name, s, err, steps)
		}
	}
	f.Err = api.Errorf(api.CodeRefused, "b3: gate clock is 4 ms from gPTP")
	steps = nil
	if _, err := c.ApplySchedule(t.Context(), api.ApplyRequest{}, note); api.ErrorCode(err) != api.CodeRefused || len(steps) != 2 {
		t.Errorf("%v after %v", err, steps)
	}
}

func TestEvents(t *testing.T) {
	f := apitest.New("b1")
	f.EventList = []api.Event{{Seq: 1, Kind: "link-up"}, {Seq: 2, Kind: "adjacency-up", Port: 1, Detail: "b2", Node: "b1", Time: 5}}
	c, _ := local(t, f)
	enough := errors.New("enough")
	var got []api.Event
	err := c.Events(t.Context(), 2, func(e api.Event) error {
		got = append(got, e)
		return enough
	})
	if !errors.Is(err, enough) || !cmp.Equal(got, f.EventList[1:]) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestPeer(t *testing.T) {
	f := apitest.New("b2")
	dir := t.TempDir()
	c := remote(t, f, dir, "b1")
	ctx := t.Context()
	res := api.Reservations{Owner: "b1", Generation: 4, Reservations: []tsn.Reservation{{Stream: apitest.Stream(1), Ports: []tsn.Port{1, 3}}}}
	if err := c.PutReservations(ctx, res); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(res, f.Held["b1"]); d != "" {
		t.Error(d)
	}
	bad := res
	bad.Owner = "b3"
	if err := c.PutReservations(ctx, bad); api.ErrorCode(err) != api.CodeDenied {
		t.Errorf("another's reservations: %v", err)
	}
	bad = api.Reservations{Owner: "b1", Generation: 5, Reservations: []tsn.Reservation{{}}}
	if err := c.PutReservations(ctx, bad); api.ErrorCode(err) != api.CodeBadRequest || f.Held["b1"].Generation != 4 {
		t.Errorf("an invalid stream: %v", err)
	}
	proxies := api.Proxies{
		Owner: "b1", Generation: 5, Talkers: []api.ProxyTalker{{Port: 1, Stream: apitest.Stream(3), Rank: 1, MaxLatency: 7}},
		Listeners: []api.ProxyListener{{Port: 3, Stream: apitest.Stream(3).ID}},
	}
	if err := c.PutProxies(ctx, proxies); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(proxies, f.Proxied); d != "" {
		t.Error(d)
	}
	proxies.Owner = "b3"
	if err := c.PutProxies(ctx, proxies); api.ErrorCode(err) != api.CodeDenied {
		t.Errorf("another's proxies: %v", err)
	}
	gates := apitest.Schedule("").Ports[0].Admin
	if _, err := c.CommitSchedule(ctx, "x"); api.ErrorCode(err) != api.CodeWrongOrder {
		t.Errorf("commit before stage: %v", err)
	}
	part := api.StageRequest{
		ID: "x", Systems: []tsn.MAC{apitest.MAC(1), apitest.MAC(2)}, StartBy: tsn.PTPTime{NS: 1}, KeepBy: tsn.PTPTime{NS: 3}, RevertAt: tsn.PTPTime{NS: 4},
		Ports: []api.PortGates{{Port: 1, Gates: gates}}, OldID: "w", Old: []api.PortGates{{Port: 1}},
	}
	if _, err := c.StageSchedule(ctx, part); api.ErrorCode(err) != api.CodeBadRequest {
		t.Errorf("stage without base time: %v", err)
	}
	part.Base = gates.BaseTime
	st, err := c.StageSchedule(ctx, part)
	if err != nil || st.StagedID != "x" || !cmp.Equal(st.Ports[0].Admin, gates) {
		t.Fatalf("%+v, %v", st, err)
	}
	if d := cmp.Diff(part, f.Staged); d != "" {
		t.Error(d)
	}
	if st, err = c.CommitSchedule(ctx, "x"); err != nil || st.RunningID != "x" || st.Base != gates.BaseTime {
		t.Fatalf("%+v, %v", st, err)
	}
	advance := api.TrialRequest{ID: "x", Step: api.TrialAdvance, At: tsn.PTPTime{NS: 9, Domain: 1}}
	if st, err = c.TrialSchedule(ctx, advance); err != nil || st.Trial == nil || st.Trial.RevertAt != advance.At {
		t.Fatalf("%+v, %v", st, err)
	}
	if st, err = c.ScheduleState(ctx); err != nil || st.State != api.SchedulePending {
		t.Fatalf("%+v, %v", st, err)
	}
	if st, err = c.AbortSchedule(ctx, "x"); err != nil || st.State != api.ScheduleNone {
		t.Fatalf("%+v, %v", st, err)
	}
	if n, err := c.Node(ctx); err != nil || n.Node != "b2" {
		t.Fatalf("%+v, %v", n, err)
	}
}

// The unix socket does not serve Peer: who may open it is not thereby a bridge.
func TestPeerIsNotLocal(t *testing.T) {
	c, _ := local(t, apitest.New("b1"))
	if _, err := c.ScheduleState(t.Context()); err == nil {
		t.Error("served")
	}
}

func TestTLSRefusesStrangers(t *testing.T) {
	f := apitest.New("b1")
	good, other := t.TempDir(), t.TempDir()
	l, err := api.ListenTLS("127.0.0.1:0", keys(t, good, "b1"))
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l, api.RemoteHandler(f))
	stranger := keys(t, other, "b2")
	stranger.CA = keys(t, good, "b1").CA // trusts us; we do not trust it
	for name, c := range map[string]*api.Client{
		"other CA":     api.DialTLS(l.Addr().String(), "b1", stranger, nil),
		"wrong server": api.DialTLS(l.Addr().String(), "b7", keys(t, good, "b2"), nil),
	} {
		if _, err := c.Status(t.Context()); err == nil {
			t.Errorf("%s: served", name)
		}
		c.Close()
	}
	if len(f.Calls) != 0 {
		t.Errorf("calls reached the backend: %v", f.Calls)
	}
}

func TestListenUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s")
	l, err := api.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	if _, err := api.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "another tsnswitchd") {
		t.Errorf("second daemon: %v", err)
	}
	l.Close()

	// A socket left by a daemon that was killed is replaced.
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	l, err = api.ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()

	// Anything else at that path is left alone.
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.ListenUnix(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("regular file: %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "mine" {
		t.Error("the file was touched")
	}
}

func TestNobodyAnswers(t *testing.T) {
	c := api.DialUnix(filepath.Join(t.TempDir(), "none"))
	_, err := c.Status(t.Context())
	if api.ErrorCode(err) != api.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

// The same handlers answer plain JSON over HTTP.
func TestPlainJSON(t *testing.T) {
	_, path := local(t, withStream(apitest.New("b1")))
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}}
	defer tr.CloseIdleConnections()
	post := func(method, body string) (int, map[string]any) {
		resp, err := (&http.Client{Transport: tr}).Post("http://x/tsnswitch.v1.Switch/"+method, "application/json", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return resp.StatusCode, m
	}
	if code, m := post("ListStreams", "{}"); code != 200 || m["streams"] == nil {
		t.Errorf("%d %v", code, m)
	}
	for _, bad := range []string{`{"spec":{"id":"zz"}}`, `{"spec":{"pcp":9}}`, `{"spec":{"maxFrameSize":70000}}`, `{"nonsense":1}`, `{`} {
		if code, m := post("AddStream", bad); code != 400 {
			t.Errorf("%s: %d %v", bad, code, m)
		}
	}
}

func TestWatchTopology(t *testing.T) {
	c, _ := local(t, apitest.New("b1"))
	enough := errors.New("enough")
	var got []uint64
	err := c.WatchTopology(t.Context(), func(v *api.Topology) error {
		got = append(got, v.Generation)
		if len(got) == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || !cmp.Equal(got, []uint64{7, 8}) {
		t.Errorf("%v, %v", got, err)
	}
}
