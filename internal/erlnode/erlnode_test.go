package erlnode

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/dynamicpb"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/hidden"
	"tsnswitch/distlink/udplink"
	"tsnswitch/internal/api"
	"tsnswitch/internal/api/apitest"
)

const patience = 60 * time.Second

func TestMain(m *testing.M) {
	code := m.Run()
	beamtest.Cleanup()
	os.Exit(code)
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

var quiet = slog.New(slog.DiscardHandler)

// serve runs a server of a fake switch on a node of that name.
func serve(t *testing.T, name string, write bool) *hidden.Node {
	t.Helper()
	return serveSwitch(t, name, apitest.New("b1"), Config{Write: write, Log: quiet})
}

func serveSwitch(t *testing.T, name string, sw *apitest.Fake, cfg Config) *hidden.Node {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := api.ListenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	sw.EventList = []api.Event{{Seq: 1, Kind: "link-up"}}
	go func() { _ = api.Serve(t.Context(), l, api.LocalHandler(sw), quiet) }()
	n := hidden.New(hidden.Config{Name: name, Cookie: "c"})
	t.Cleanup(n.Close)
	cfg.API = api.DialDynamic(socket)
	s, err := New(n, cfg)
	if err != nil {
		t.Fatal(err)
	}
	go s.Run(t.Context())
	return n
}

// couple is a node that is connected to such a server.
func couple(t *testing.T, write bool) *hidden.Node {
	t.Helper()
	return coupleTo(t, apitest.New("b1"), Config{Write: write, Log: quiet}, nil)
}

// coupleTo has a server of sw; kept gets what it has leased.
func coupleTo(t *testing.T, sw *apitest.Fake, cfg Config, kept chan []string) *hidden.Node {
	t.Helper()
	if kept != nil {
		cfg.Leased = func(ids []string) error { kept <- append([]string{}, ids...); return nil }
	}
	b := serveSwitch(t, "tsnswitchd@b", sw, cfg)
	a := hidden.New(hidden.Config{Name: "a@a", Cookie: "c"})
	t.Cleanup(a.Close)
	x, y := net.Pipe()
	go func() { _, _, _ = b.Accept(hidden.OverTCP(y, false)) }()
	if _, _, err := a.Connect(hidden.OverTCP(x, true)); err != nil {
		t.Fatal(err)
	}
	return a
}

func ask(t *testing.T, a *hidden.Node, request erldist.Term) erldist.Tuple {
	t.Helper()
	got, err := a.Call(within(t), Name, "tsnswitchd@b", request)
	if err != nil {
		t.Fatal(err)
	}
	answer, ok := got.(erldist.Tuple)
	if !ok {
		answer = erldist.Tuple{got}
	}
	return answer
}

func atom(s string) erldist.Atom { return erldist.Atom(s) }

func get(t erldist.Term, key string) erldist.Term {
	m, _ := t.(erldist.Map)
	for _, p := range m {
		if k, _ := p.Key.([]byte); string(k) == key {
			return p.Value
		}
	}
	return nil
}

var newStream = erldist.Map{{Key: atom("spec"), Value: spec}}

var spec = erldist.Map{
	{Key: atom("name"), Value: []byte("loop")},
	{Key: atom("talker"), Value: atom("A")},
	{Key: []byte("listener"), Value: erldist.List{int64('B')}},
	{Key: atom("interval_ns"), Value: int64(5_000_000)},
	{Key: atom("max_frame_size"), Value: int64(200)},
	{Key: atom("max_interval_frames"), Value: int64(1)},
	{Key: atom("max_latency_ns"), Value: int64(4_000_000)},
}

// What tsnctl can do, by calls: views, messages, streams of messages.
func TestCalls(t *testing.T) {
	a := couple(t, true)
	if r := ask(t, a, erldist.Tuple{atom("get_status"), erldist.Map{}}); r[0] != erldist.Term(atomOK) || !reflect.DeepEqual(get(r[1], "node"), erldist.Term([]byte("b1"))) {
		t.Error(erldist.Format(r))
	}
	if r := ask(t, a, atom("get_dist")); r[0] != erldist.Term(atomOK) {
		t.Error(erldist.Format(r))
	}
	if r := ask(t, a, erldist.Tuple{atom("add_stream"), newStream}); r[0] != erldist.Term(atomOK) {
		t.Error(erldist.Format(r))
	}
	r := ask(t, a, atom("list_streams"))
	streams, _ := get(r[1], "streams").(erldist.List)
	if len(streams) == 0 {
		t.Error(erldist.Format(r))
	}
	if r := ask(t, a, atom("apply_schedule")); r[0] != erldist.Term(atomOK) || len(r[1].(erldist.List)) < 2 {
		t.Error(erldist.Format(r))
	}
	all, _ := ask(t, a, atom("methods"))[1].(erldist.List)
	for _, want := range []erldist.Tuple{{atom("get_gptp_history"), atom("read")}, {atom("remove_stream"), atom("write")}, {atom("watch_events"), atom("subscribe")}} {
		found := false
		for _, m := range all {
			found = found || reflect.DeepEqual(m, erldist.Term(want))
		}
		if !found {
			t.Errorf("%v is not in %v", want, all)
		}
	}
}

// What cannot be meant is refused with the field and the reason.
func TestBadRequests(t *testing.T) {
	a := couple(t, false)
	with := func(key string, v erldist.Term) erldist.Term {
		return erldist.Tuple{atom("why"), erldist.Map{{Key: atom(key), Value: v}}}
	}
	for _, c := range []struct {
		request erldist.Term
		want    string
	}{
		{int64(7), "there is no method 7"},
		{erldist.Tuple{}, "there is no method"},
		{erldist.Tuple{atom("fly"), erldist.Map{}}, "no method fly"},
		{erldist.Tuple{atom("why"), atom("x")}, "a map is wanted, not x"},
		{with("wings", int64(1)), "has no field wings; it has"},
		{with("vlan", []byte("100")), "vlan: an integer is wanted"},
		{with("vlan", int64(-1)), "-1 is outside 0..4294967295"},
		{with("node", 1.5), "node: a string is wanted"},
		{erldist.Tuple{atom("add_stream"), newStream}, "erlang.write is not set"},
		{atom("watch_events"), "does not end"},
		{erldist.Tuple{atom("subscribe"), atom("get_status"), erldist.Map{}}, "has one answer"},
		{erldist.Tuple{atom("subscribe"), int64(1), int64(2), int64(3)}, "a request is"},
	} {
		r := ask(t, a, c.request)
		if len(r) != 2 || r[0] != erldist.Term(atomError) {
			t.Errorf("%s: %s", erldist.Format(c.request), erldist.Format(r))
			continue
		}
		e := r[1].(erldist.Tuple)
		if said, _ := e[1].([]byte); !strings.Contains(string(said), c.want) {
			t.Errorf("%s: %s, want %q", erldist.Format(c.request), said, c.want)
		}
	}
	if r := ask(t, a, erldist.Tuple{atom("get_status"), erldist.Map{{Key: atom("node"), Value: atom("b9")}}}); !reflect.DeepEqual(r[1].(erldist.Tuple)[0], erldist.Term(atom(api.CodeUnknownNode))) {
		t.Error(erldist.Format(r))
	}
}

// Events come to a subscriber until it takes that back, or ends.
func TestSubscribe(t *testing.T) {
	a := couple(t, false)
	p, err := a.Spawn("me")
	if err != nil {
		t.Fatal(err)
	}
	tag := erldist.Ref{Node: "a@a", N: 1, IDs: [5]uint32{99}}
	call := func(request erldist.Term) {
		t.Helper()
		err := p.SendName(Name, "tsnswitchd@b", erldist.Tuple{atom("$gen_call"), erldist.Tuple{p.Pid(), tag}, request})
		if err != nil {
			t.Fatal(err)
		}
	}
	next := func() erldist.Tuple {
		t.Helper()
		ev, err := p.Receive(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return ev.(hidden.Message).Payload.(erldist.Tuple)
	}
	call(erldist.Tuple{atom("subscribe"), atom("watch_events"), erldist.Map{}})
	ref := next()[1].(erldist.Tuple)[1]
	if ev := next(); ev[0] != erldist.Term(Name) || ev[1] != ref || get(ev[2], "kind") == nil {
		t.Errorf("%v", ev)
	}
	call(erldist.Tuple{atom("unsubscribe"), ref})
	for { // events may be on their way
		if m := next(); m[0] == erldist.Term(tag) {
			break
		}
	}
	for range maxSubscriptions { // of which none is left if its end is seen
		call(erldist.Tuple{atom("subscribe"), atom("watch_events"), erldist.Map{}})
	}
	p.Exit(atom("normal"))
	for {
		r := ask(t, a, erldist.Tuple{atom("subscribe"), atom("watch_events"), erldist.Map{}})
		if r[0] == erldist.Term(atomOK) {
			return
		}
	}
}

// There is a most of subscriptions, and each place is given back: by the end of the
// subscriber, however many it had, and by the end of its node.
func TestSubscriptionsAreBounded(t *testing.T) {
	b := serve(t, "tsnswitchd@b", false)
	join := func(name string) *hidden.Node {
		t.Helper()
		a := hidden.New(hidden.Config{Name: name, Cookie: "c"})
		t.Cleanup(a.Close)
		x, y := net.Pipe()
		go func() { _, _, _ = b.Accept(hidden.OverTCP(y, false)) }()
		if _, _, err := a.Connect(hidden.OverTCP(x, true)); err != nil {
			t.Fatal(err)
		}
		return a
	}
	subscribe := func(p *hidden.Process, tag int64) erldist.Tuple {
		t.Helper()
		request := erldist.Tuple{atom("subscribe"), atom("watch_events"), erldist.Map{}}
		if err := p.SendName(Name, "tsnswitchd@b", erldist.Tuple{atom("$gen_call"), erldist.Tuple{p.Pid(), tag}, request}); err != nil {
			t.Fatal(err)
		}
		for {
			ev, err := p.Receive(within(t))
			if err != nil {
				t.Fatal(err)
			}
			if r, _ := ev.(hidden.Message).Payload.(erldist.Tuple); len(r) == 2 && r[0] == erldist.Term(tag) {
				return r[1].(erldist.Tuple)
			}
		}
	}
	for _, end := range []func(*hidden.Node, *hidden.Process){
		func(_ *hidden.Node, p *hidden.Process) { p.Exit(atom("killed")) },
		func(n *hidden.Node, _ *hidden.Process) { n.Close() },
	} {
		a := join("a@a")
		p, err := a.Spawn("")
		if err != nil {
			t.Fatal(err)
		}
		for i := range int64(maxSubscriptions) {
			for subscribe(p, i)[0] != erldist.Term(atomOK) { // those of before may be on their way out
			}
		}
		if r := subscribe(p, 1000); r[0] != erldist.Term(atomError) || !strings.Contains(erldist.Format(r), "which is the limit") {
			t.Errorf("one more than the most: %s", erldist.Format(r))
		}
		end(a, p)
		a.Close()
	}
}

// Requests that nobody can mean: too large, too deep, funs, with fields of a wrong
// kind. Each is answered, and the server goes on.
func TestMonsters(t *testing.T) {
	a := couple(t, true)
	deep := erldist.Term(atom("x"))
	for range 60 {
		deep = erldist.Tuple{deep}
	}
	long := make(erldist.List, 60_000)
	for i := range long {
		long[i] = int64(-1)
	}
	for _, request := range []erldist.Term{
		erldist.Tuple{atom("get_status"), long},
		erldist.Tuple{long, erldist.Map{}},
		deep, make([]byte, 4<<20), erldist.Tuple(long[:1000]),
		erldist.Tuple{atom("get_status"), erldist.Map{{Key: long, Value: deep}}},
		erldist.Tuple{atom("add_stream"), erldist.Map{{Key: atom("spec"), Value: long}}},
		erldist.Tuple{atom("lease"), deep, long},
		erldist.Tuple{atom("unsubscribe"), deep, deep},
		erldist.Tuple{atom("subscribe"), long, deep},
	} {
		r := ask(t, a, request)
		if text := erldist.Format(r); r[0] != erldist.Term(atomError) || len(text) > 1000 {
			t.Errorf("%.200s", text)
		}
	}
	if r := ask(t, a, atom("get_status")); r[0] != erldist.Term(atomOK) {
		t.Error(erldist.Format(r))
	}
}

// Whatever tsnctl does by the API is a method here, and nothing is missing.
func TestAllMethods(t *testing.T) {
	a := couple(t, false)
	listed := map[string]erldist.Term{}
	all, _ := ask(t, a, atom("methods"))[1].(erldist.List)
	for _, m := range all {
		pair := m.(erldist.Tuple)
		listed[string(pair[0].(erldist.Atom))] = pair[1]
	}
	methods := api.DialDynamic("").Methods()
	if len(methods) != len(listed) || len(methods) < 40 {
		t.Errorf("%d methods of the API, %d are listed", len(methods), len(listed))
	}
	for name, want := range map[string]erldist.Atom{
		"get_status": "read", "get_dist": "read", "watch_events": "subscribe", "add_stream": "write", "remove_stream": "write", "apply_schedule": "write", "drain": "write",
		"list_streams": "read", "watch_topology": "subscribe", "doctor": "read",
	} {
		if listed[name] != erldist.Term(want) {
			t.Errorf("%s: %v, want %s", name, listed[name], want)
		}
	}
}

// A BEAM node over distlink does the same.
func TestErlangShell(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	n := serve(t, "tsnswitchd@127.0.0.9", true)
	port := beamtest.Port(t, "127.0.0.2", "127.0.0.9")
	l, err := udplink.Listen(t.Context(), net.JoinHostPort("127.0.0.9", strconv.Itoa(port)), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = n.Serve(t.Context(), hidden.AcceptLinks(l)) }()
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port,
		`S = {tsnswitchd, 'tsnswitchd@127.0.0.9'},
		{ok, #{<<"node">> := <<"b1">>}} = gen_server:call(S, {get_status, #{}}),
		{ok, #{<<"stream">> := #{<<"name">> := <<"loop">>}}} = gen_server:call(S, {add_stream, #{spec => #{name => "loop", talker => 'A', listener => <<"B">>,
		    interval_ns => 5000000, max_frame_size => 200, max_interval_frames => 1, max_latency_ns => 4000000}}}),
		{error, {'bad-request', _}} = gen_server:call(S, {add_stream, #{spec => #{talker => 1}}}),
		{ok, R} = gen_server:call(S, {subscribe, watch_events, #{}}),
		receive {tsnswitchd, R, #{<<"kind">> := _}} -> io:format("event~n") end,
		ok = gen_server:call(S, {unsubscribe, R}), io:format("done~n")`,
		"-distlink_ip", "127.0.0.2")
	b.Expect("event", patience)
	b.Expect("done", patience)
}

// A BEAM node reserves a stream for a connection and gives it back: at release,
// and when the other node goes. The daemon asks the node for its connections.
func TestReserve(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	n := serve(t, "tsnswitchd@127.0.0.9", true)
	port := beamtest.Port(t, "127.0.0.2", "127.0.0.3", "127.0.0.9")
	l, err := udplink.Listen(t.Context(), net.JoinHostPort("127.0.0.9", strconv.Itoa(port)), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = n.Serve(t.Context(), hidden.AcceptLinks(l)) }()
	c := beamtest.Start(t, "distlink", "c@127.0.0.3", port, "receive after infinity -> ok end", "-distlink_ip", "127.0.0.3")
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port,
		`C = 'c@127.0.0.3', Me = self(), S = {tsnswitchd, 'tsnswitchd@127.0.0.9'}, O = #{rate => 20000, talker => "A", listener => "B", switch => 'tsnswitchd@127.0.0.9'},
		Streams = fun() -> {ok, L} = gen_server:call(S, list_streams), length(maps:get(<<"streams">>, L, [])) end,
		distlink:attach(x, [[distlink, reserved], [distlink, released]], fun([_, E], _, #{node := N}, _) -> Me ! {E, N} end, x),
		{error, not_connected} = distlink:reserve(C, O), pong = net_adm:ping(C), 0 = Streams(),
		{error, {rate, _}} = distlink:reserve(C, #{}), {error, {'tsnswitchd@nowhere', _}} = distlink:reserve(C, O#{switch => 'tsnswitchd@nowhere'}),
		{ok, Id} = distlink:reserve(C, O), receive {reserved, C} -> 1 = Streams() end, {error, already_reserved} = distlink:reserve(C, O),
		{ok, #{<<"streams">> := [#{<<"stream">> := #{<<"pcp">> := 6}}]}} = gen_server:call(S, list_streams),
		#{rate := 20000} = distlink:info(C), pong = net_adm:ping(C), ok = distlink:release(C), receive {released, C} -> 0 = Streams() end, #{rate := 0} = distlink:info(C),
		[{error, {classes, _}} = distlink:reserve(C, O#{classes => Bad}) || Bad <- [[gold], [], control]], {error, {launch, _}} = distlink:reserve(C, O#{launch => [{pace, 0}]}), {ok, _} = distlink:reserve(C, O#{classes => [control, configured], launch => [{pace, 10000}, {tai, 0}]}), receive {reserved, C} -> 1 = Streams() end,
		#{rate := 20000, launch := #{}, lanes := #{bulk := #{rate := 0}} = Lanes} = distlink:info(C), 1 = map_size(Lanes), pong = net_adm:ping(C), ok = distlink:release(C), receive {released, C} -> 0 = Streams() end,
		#{rate := 0, lanes := None} = distlink:info(C), 0 = map_size(None), {error, not_reserved} = distlink:release(C), {ok, Id} = distlink:reserve(C, maps:remove(switch, O)), receive {reserved, C} -> 1 = Streams() end,
		(fun W() -> case distlink:info(C) of #{rtt_us := 0} -> pong = net_adm:ping(C), W(); _ -> ok end end)(), io:format("reserved ~s~n", [Id]),
		receive {released, C} -> 0 = Streams() end, io:format("given back~n"), receive after infinity -> ok end`,
		"-distlink_ip", "127.0.0.2", "-distlink_switch", "tsnswitchd@127.0.0.9")
	id := strings.TrimPrefix(b.Expect("reserved", patience), "reserved ")
	links := Carriers(within(t), n)
	found := map[string]api.DistLink{}
	for _, l := range links {
		found[l.Local+" "+l.Peer] = l
	}
	for key, stream := range map[string]string{"b@127.0.0.2 c@127.0.0.3": id, "b@127.0.0.2 tsnswitchd@127.0.0.9": ""} {
		if l := found[key]; l.StreamID != stream || l.Carrier == nil || l.RTT == 0 || l.Sent == 0 || l.Carrier.Security != "none" || (stream != "") != (l.Carrier.Rate == 20000) {
			t.Errorf("%s: %+v %+v", key, l, l.Carrier)
		}
	}
	c.Kill()
	b.Expect("given back", patience)
}

// kill -9 of a node that has reserved a stream: the switch removes it.
func TestReservedByKilled(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	n := serve(t, "tsnswitchd@127.0.0.9", true)
	port := beamtest.Port(t, "127.0.0.2", "127.0.0.3", "127.0.0.9")
	l, err := udplink.Listen(t.Context(), net.JoinHostPort("127.0.0.9", strconv.Itoa(port)), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = n.Serve(t.Context(), hidden.AcceptLinks(l)) }()
	c := beamtest.Start(t, "distlink", "c@127.0.0.3", port,
		`S = {tsnswitchd, 'tsnswitchd@127.0.0.9'}, W = fun W(N) -> {ok, L} = gen_server:call(S, list_streams), case length(maps:get(<<"streams">>, L, [])) of N -> io:format("streams ~p~n", [N]); _ -> receive after 20 -> W(N) end end end,
		W(1), W(0), receive after infinity -> ok end`, "-distlink_ip", "127.0.0.3")
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port,
		`pong = net_adm:ping('c@127.0.0.3'), {ok, _} = distlink:reserve('c@127.0.0.3', #{rate => 20000, talker => "A", listener => "B"}), receive after infinity -> ok end`,
		"-distlink_ip", "127.0.0.2", "-distlink_switch", "tsnswitchd@127.0.0.9")
	c.Expect("streams 1", patience)
	b.Kill()
	c.Expect("streams 0", patience)
}

// What a killed holder has leased is removed; nothing else can be leased.
func TestLease(t *testing.T) {
	a := couple(t, true)
	p, err := a.Spawn("holder")
	if err != nil {
		t.Fatal(err)
	}
	streams := func() int {
		l, _ := get(ask(t, a, atom("list_streams"))[1], "streams").(erldist.List)
		return len(l)
	}
	call := func(request ...erldist.Term) erldist.Tuple {
		t.Helper()
		if err := p.SendName(Name, "tsnswitchd@b", erldist.Tuple{atom("$gen_call"), erldist.Tuple{p.Pid(), atom("tag")}, erldist.Tuple(request)}); err != nil {
			t.Fatal(err)
		}
		ev, err := p.Receive(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return ev.(hidden.Message).Payload.(erldist.Tuple)[1].(erldist.Tuple)
	}
	if r := call(atom("lease"), atom("get_status"), erldist.Map{}); r[0] != erldist.Term(atomError) {
		t.Errorf("%s", erldist.Format(r))
	}
	if r := call(atom("lease"), atom("add_stream"), erldist.Map{{Key: atom("spec"), Value: erldist.Map{}}}); r[0] != erldist.Term(atomError) || streams() != 0 {
		t.Errorf("%s", erldist.Format(r))
	}
	if r := call(atom("lease"), atom("add_stream"), newStream); r[0] != erldist.Term(atomOK) || streams() != 1 {
		t.Fatalf("%s", erldist.Format(r))
	}
	p.Exit(atom("killed"))
	for start := time.Now(); streams() != 0; {
		if time.Since(start) > patience {
			t.Fatal("the stream is still there")
		}
	}
}

// Who gives a stream back itself and ends does not take away another's, which has
// the same id by now.
func TestSameIDAgain(t *testing.T) {
	a := couple(t, true)
	p, err := a.Spawn("holder")
	if err != nil {
		t.Fatal(err)
	}
	lease := erldist.Tuple{atom("lease"), atom("add_stream"), newStream}
	if err := p.SendName(Name, "tsnswitchd@b", erldist.Tuple{atom("$gen_call"), erldist.Tuple{p.Pid(), atom("tag")}, lease}); err != nil {
		t.Fatal(err)
	}
	ev, err := p.Receive(within(t))
	if err != nil {
		t.Fatal(err)
	}
	id := streamID(ev.(hidden.Message).Payload.(erldist.Tuple)[1])
	ask(t, a, erldist.Tuple{atom("remove_stream"), erldist.Map{{Key: atom("stream"), Value: id}}})
	q, err := a.Spawn("next")
	if err != nil {
		t.Fatal(err)
	}
	if err := q.SendName(Name, "tsnswitchd@b", erldist.Tuple{atom("$gen_call"), erldist.Tuple{q.Pid(), atom("tag")}, lease}); err != nil {
		t.Fatal(err)
	}
	if ev, err = q.Receive(within(t)); err != nil {
		t.Fatal(err)
	}
	if again := streamID(ev.(hidden.Message).Payload.(erldist.Tuple)[1]); string(again) != string(id) {
		t.Fatalf("the second id is %s, the first was %s", again, id)
	}
	p.Exit(atom("normal"))
	for range 3 { // the server has heard of the end after the first of them
		if l, _ := get(ask(t, a, atom("list_streams"))[1], "streams").(erldist.List); len(l) != 1 {
			t.Fatalf("streams %v", l)
		}
	}
}

// What a former run had leased is removed, what is there no more forgotten, and
// what is leased now written down, until it is given back.
func TestLeasesOfAFormerRun(t *testing.T) {
	sw := apitest.New("b1")
	kept := make(chan []string, 100)
	a := coupleTo(t, sw, Config{Write: true, Log: quiet}, nil)
	id := streamID(ask(t, a, erldist.Tuple{atom("add_stream"), newStream}))
	b := coupleTo(t, sw, Config{Write: true, Log: quiet, Left: []string{string(id), "02-00-00-00-00-09:0001"}}, kept)
	for !reflect.DeepEqual(<-kept, []string{}) {
	}
	if l, _ := get(ask(t, b, atom("list_streams"))[1], "streams").(erldist.List); len(l) != 0 {
		t.Errorf("%v is left", l)
	}
	r := ask(t, b, erldist.Tuple{atom("lease"), atom("add_stream"), newStream}) // of a process that ends at once
	if got := <-kept; !reflect.DeepEqual(got, []string{string(streamID(r))}) {
		t.Errorf("kept %v, leased %s", got, erldist.Format(r))
	}
	for !reflect.DeepEqual(<-kept, []string{}) {
	}
}

// Any term is a request or an error, never a panic.
func FuzzMessage(f *testing.F) {
	for _, t := range []erldist.Term{newStream, erldist.Map{{Key: atom("node"), Value: atom("x")}}, int64(1)} {
		b, _ := erldist.AppendTerm(nil, t)
		f.Add(b)
	}
	methods := api.DialDynamic("").Methods()
	f.Fuzz(func(t *testing.T, b []byte) {
		term, _, err := erldist.ParseTerm(b)
		if err != nil {
			return
		}
		for _, m := range methods {
			request, err := message(m.Input(), term)
			if err != nil {
				continue
			}
			if _, err := answer(request); err != nil && !strings.Contains(err.Error(), "JSON") {
				t.Errorf("%v: %v", term, err)
			}
			_ = dynamicpb.NewMessage(m.Output())
		}
	})
}
