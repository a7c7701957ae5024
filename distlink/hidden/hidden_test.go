package hidden

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/udplink"
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

// couple is two nodes that are connected over TCP.
func couple(t *testing.T) (a, b *Node, cut func()) {
	t.Helper()
	x, y := net.Pipe()
	a = New(Config{Name: "a@x", Cookie: "c"})
	b = New(Config{Name: "b@y", Cookie: "c"})
	accepted := make(chan error, 1)
	go func() {
		_, _, err := b.Accept(OverTCP(y, false))
		accepted <- err
	}()
	peer, _, err := a.Connect(OverTCP(x, true))
	if err := errors.Join(err, <-accepted); err != nil || peer != "b@y" {
		t.Fatal(peer, err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b, func() { _ = x.Close() }
}

func spawn(t *testing.T, n *Node, name erldist.Atom) *Process {
	t.Helper()
	p, err := n.Spawn(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func receive(t *testing.T, p *Process) any {
	t.Helper()
	m, err := p.Receive(within(t))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func expect(t *testing.T, p *Process, want any) {
	t.Helper()
	if got := receive(t, p); !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

// Messages by name and by pid come in the order they were sent.
func TestSend(t *testing.T) {
	a, b, _ := couple(t)
	p, q := spawn(t, a, ""), spawn(t, b, "q")
	if err := errors.Join(p.SendName("q", "b@y", int64(1)), p.Send(q.Pid(), int64(2)), p.SendName("q", "b@y", int64(3))); err != nil {
		t.Fatal(err)
	}
	expect(t, q, Message{p.Pid(), int64(1)})
	expect(t, q, Message{Payload: int64(2)})
	expect(t, q, Message{p.Pid(), int64(3)})
	if _, err := b.Spawn("q"); err == nil {
		t.Error("a name is given twice")
	}
	if err := p.SendName("q", "z@z", int64(1)); !errors.Is(err, ErrNotConnected) {
		t.Errorf("error %v", err)
	}
	if err := p.SendName("nobody", "b@y", int64(1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Ping(within(t), "b@y"); err != nil { // in order: b has it by now
		t.Fatal(err)
	}
	if c := b.Counters(); c.Lost != 1 || c.Unknown != 0 || c.Unreadable != 0 {
		t.Errorf("%+v", c)
	}
}

// The end of a process is told to who monitors or is linked, once.
func TestMonitorsAndLinks(t *testing.T) {
	a, b, _ := couple(t)
	p, q := spawn(t, a, "p"), spawn(t, b, "q")
	byName, err := p.Monitor(erldist.Atom("q"), "b@y")
	if err != nil {
		t.Fatal(err)
	}
	byPid, err := p.Monitor(q.Pid(), "b@y")
	if err != nil {
		t.Fatal(err)
	}
	taken, err := p.Monitor(q.Pid(), "b@y")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Demonitor(taken), p.Link(q.Pid()), a.Ping(within(t), "b@y")); err != nil {
		t.Fatal(err)
	}
	q.Exit(erldist.Atom("done"))
	if _, err := q.Receive(within(t)); !errors.Is(err, ErrEnded) {
		t.Errorf("a process that ended receives: %v", err)
	}
	expect(t, p, Exit{q.Pid(), erldist.Atom("done")})
	var downs []any
	for range 2 {
		downs = append(downs, receive(t, p))
	}
	for _, want := range []Down{{byName, erldist.Atom("q"), erldist.Atom("done")}, {byPid, q.Pid(), erldist.Atom("done")}} {
		if !reflect.DeepEqual(downs[0], want) && !reflect.DeepEqual(downs[1], want) {
			t.Errorf("%v is not in %v", want, downs)
		}
	}
	gone, err := p.Monitor(erldist.Atom("q"), "b@y")
	if err != nil {
		t.Fatal(err)
	}
	expect(t, p, Down{gone, erldist.Atom("q"), erldist.Atom("noproc")})
	if err := p.Link(q.Pid()); err != nil {
		t.Fatal(err)
	}
	expect(t, p, Exit{q.Pid(), erldist.Atom("noproc")})
}

// After an unlink nothing comes; a link made again counts.
func TestUnlink(t *testing.T) {
	a, b, _ := couple(t)
	p, q := spawn(t, a, ""), spawn(t, b, "")
	if err := errors.Join(p.Link(q.Pid()), p.Unlink(q.Pid()), a.Ping(within(t), "b@y")); err != nil {
		t.Fatal(err)
	}
	q.Exit(erldist.Atom("done"))
	r := spawn(t, b, "")
	if err := errors.Join(p.Link(r.Pid()), p.Unlink(r.Pid()), p.Link(r.Pid()), a.Ping(within(t), "b@y")); err != nil {
		t.Fatal(err)
	}
	r.Exit(erldist.Atom("again"))
	expect(t, p, Exit{r.Pid(), erldist.Atom("again")})
}

// A connection that is cut ends links and monitors with noconnection.
func TestCut(t *testing.T) {
	a, b, cut := couple(t)
	p, q := spawn(t, a, ""), spawn(t, b, "q")
	ref, err := p.Monitor(erldist.Atom("q"), "b@y")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(q.Link(p.Pid()), b.Ping(within(t), "a@x")); err != nil {
		t.Fatal(err)
	}
	cut()
	lost := erldist.Atom("noconnection")
	got := []any{receive(t, p), receive(t, p)}
	want := []any{Exit{q.Pid(), lost}, Down{ref, erldist.Atom("q"), lost}}
	if !reflect.DeepEqual(got, want) && !reflect.DeepEqual([]any{got[1], got[0]}, want) {
		t.Errorf("got %v", got)
	}
	expect(t, q, Exit{p.Pid(), lost})
	if _, err := a.Call(within(t), "q", "b@y", erldist.Atom("x")); err == nil {
		t.Error("a call to a node that is gone succeeds")
	}
}

// A node that connects anew takes the place of its connection from before.
func TestConnectsAnew(t *testing.T) {
	_, b, _ := couple(t)
	q := spawn(t, b, "")
	x, y := net.Pipe()
	a := New(Config{Name: "a@x", Cookie: "c"})
	done := make(chan error, 1)
	go func() {
		_, _, err := b.Accept(OverTCP(y, false))
		done <- err
	}()
	if _, _, err := a.Connect(OverTCP(x, true)); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	p := spawn(t, a, "p")
	if err := q.SendName("p", "a@x", int64(1)); err != nil {
		t.Fatal(err)
	}
	expect(t, p, Message{q.Pid(), int64(1)})
	a.Close()
}

// A wrong cookie, a peer that says nothing sensible, and one too many.
func TestRefused(t *testing.T) {
	b := New(Config{Name: "b@y", Cookie: "c", MaxConnections: 1})
	join := func(name, cookie string) error {
		x, y := net.Pipe()
		done := make(chan error, 1)
		go func() {
			_, _, err := b.Accept(OverTCP(y, false))
			done <- err
		}()
		a := New(Config{Name: name, Cookie: cookie})
		_, _, _ = a.Connect(OverTCP(x, true))
		return <-done
	}
	if err := join("a@x", "wrong"); !errors.Is(err, erldist.ErrHandshake) {
		t.Errorf("error %v", err)
	}
	if err := join("a@x", "c"); err != nil {
		t.Errorf("error %v", err)
	}
	if err := join("z@x", "c"); err == nil {
		t.Error("two nodes, one is allowed")
	}
	x, y := net.Pipe()
	go func() { _, _ = x.Write([]byte{0xff, 0xff, 1, 2, 3}); _ = x.Close() }()
	if _, _, err := b.Accept(OverTCP(y, false)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v", err)
	}
	if c := b.Counters(); c.Refused != 3 || c.Connections != 1 {
		t.Errorf("%+v", c)
	}
	b.Close()
}

// echoes answers calls with {echo, Request}, and casts of {mirror, Pid, M} by
// sending M on, until told to stop.
func echoes(t *testing.T, n *Node) {
	p := spawn(t, n, "echo")
	go func() {
		for {
			ev, err := p.Receive(context.Background())
			if err != nil {
				return
			}
			m, ok := ev.(Message)
			if !ok {
				continue
			}
			from, request, ok := ParseCall(m)
			switch {
			case ok && request == erldist.Term(erldist.Atom("stop")):
				_ = p.Reply(from, erldist.Atom("ok"))
				p.Exit(erldist.Tuple{erldist.Atom("told"), erldist.Atom("to")})
				return
			case ok:
				_ = p.Reply(from, erldist.Tuple{erldist.Atom("echo"), request})
			}
		}
	}()
}

// script is what the BEAM node does with the Go node: ping, calls with all
// kinds of terms, monitors, links, and being called.
const script = `G = 'go@127.0.0.9', pong = net_adm:ping(G),
T = #{a => [1, -2, 1 bsl 80, 2.5], <<"b">> => {self(), make_ref(), "str", [x|y]}, c => #{}},
{echo, T} = gen_server:call({echo, G}, T), Big = binary:copy(<<7>>, 3000000), {echo, Big} = gen_server:call({echo, G}, Big, 60000),
{'EXIT', {noproc, _}} = (catch gen_server:call({nobody, G}, x)),
R = erlang:monitor(process, {echo, G}), ok = gen_server:call({echo, G}, stop),
receive {'DOWN', R, process, {echo, G}, {told, to}} -> ok end,
register(adder, spawn(fun F() -> receive {'$gen_call', From, {A, B}} -> gen_server:reply(From, A + B), F(); die -> exit(died) end end)),
io:format("ready~n"), receive after infinity -> ok end`

func beamAndGo(t *testing.T, carrier string, serve func(*testing.T, *Node, int), args ...string) {
	port := beamtest.Port(t, "127.0.0.2", "127.0.0.9")
	n := New(Config{Name: "go@127.0.0.9", Cookie: "c"})
	t.Cleanup(n.Close)
	echoes(t, n)
	serve(t, n, port)
	b := beamtest.Start(t, carrier, "b@127.0.0.2", port, script, append(args, "-kernel", "net_ticktime", "60")...)
	b.Expect("ready", patience)
	p := spawn(t, n, "")
	if err := n.Ping(within(t), b.Name); err != nil {
		t.Fatal(err)
	}
	if sum, err := n.Call(within(t), "adder", b.Name, erldist.Tuple{int64(2), int64(1 << 40)}); err != nil || sum != erldist.Term(int64(1<<40+2)) {
		t.Fatalf("%v, %v", sum, err)
	}
	var ended *ExitError
	if _, err := n.Call(within(t), "nobody", b.Name, erldist.Atom("x")); !errors.As(err, &ended) || ended.Reason != erldist.Term(erldist.Atom("noproc")) {
		t.Fatalf("%v", err)
	}
	ref, err := p.Monitor(erldist.Atom("adder"), b.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.SendName("adder", b.Name, erldist.Atom("die")); err != nil {
		t.Fatal(err)
	}
	expect(t, p, Down{ref, erldist.Atom("adder"), erldist.Atom("died")})
	ref, err = p.Monitor(erldist.Atom("init"), b.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Ping(within(t), b.Name); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	expect(t, p, Down{ref, erldist.Atom("init"), erldist.Atom("noconnection")})
	if c := n.Counters(); c.Unknown != 0 {
		t.Errorf("%+v", c)
	}
}

// A BEAM node over stock TCP distribution.
func TestBEAMOverTCP(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	beamAndGo(t, "inet_tcp", func(t *testing.T, n *Node, port int) {
		l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.9", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() { _ = n.Serve(t.Context(), AcceptTCP(l)) }()
	}, "-kernel", "inet_dist_use_interface", "{127,0,0,2}")
}

// The same over distlink.
func TestBEAMOverDistlink(t *testing.T) {
	beamtest.Code(t)
	beamAndGo(t, "distlink", func(t *testing.T, n *Node, port int) {
		l, err := udplink.Listen(t.Context(), net.JoinHostPort("127.0.0.9", strconv.Itoa(port)), udplink.Config{Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() { _ = n.Serve(t.Context(), AcceptLinks(l)) }()
	}, "-distlink_ip", "127.0.0.2")
}

// goNode is a node that BEAM nodes reach by distlink, with the processes of echoes.
func goNode(t *testing.T) (n *Node, port int) {
	t.Helper()
	beamtest.Code(t) // skips without Erlang
	port = beamtest.Port(t, "127.0.0.2", "127.0.0.9")
	n = New(Config{Name: "go@127.0.0.9", Cookie: "c"})
	t.Cleanup(n.Close)
	echoes(t, n)
	l, err := udplink.Listen(t.Context(), net.JoinHostPort("127.0.0.9", strconv.Itoa(port)), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() { _ = n.Serve(t.Context(), AcceptLinks(l)) }()
	return n, port
}

// What this node does not do is refused in words that Erlang has for it, at once
// and never with silence.
func TestWhatItDoesNot(t *testing.T) {
	n, port := goNode(t)
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port, `G = 'go@127.0.0.9', pong = net_adm:ping(G), logger:set_primary_config(level, none),
 {badrpc, notsup} = rpc:call(G, lists, seq, [1, 2]), {[{badrpc, notsup}], []} = rpc:multicall([G], nothing, at_all, []),
 {'EXIT', {{erpc, notsup}, _}} = (catch erpc:call(G, lists, seq, [1, 2])), {'EXIT', {notsup, _}} = (catch spawn_monitor(G, lists, seq, [1, 2])),
 R = spawn_request(G, lists, seq, [1, 2], []), receive {spawn_reply, R, error, notsup} -> ok end,
 {'EXIT', {noproc, _}} = (catch gen_server:call({rex, G}, x)), {error, undef} = gen_server:call({net_kernel, G}, {spawn, lists, seq, [1, 2], self()}),
 {error, undef} = gen_server:call({net_kernel, G}, fun lists:seq/2), {error, undef} = gen_server:call({net_kernel, G}, {<<1:3>>, lists:seq(1000, 200000)}),
 {nobody, G} ! fun() -> x end, {error, undef} = gen_server:call({net_kernel, G}, x), io:format("refused ok~n"), receive after infinity -> ok end`, "-distlink_ip", "127.0.0.2")
	b.Expect("refused ok", patience)
	if c := n.Counters(); c.Unreadable != 1 || c.Unknown != 0 {
		t.Errorf("%+v", c)
	}
}

// Links, monitors and exits between a BEAM process and one of this node, from
// either side, by pid and by name.
func TestBothWays(t *testing.T) {
	n, port := goNode(t)
	p := spawn(t, n, "p")
	b := beamtest.Start(t, "distlink", "b@127.0.0.2", port, `G = 'go@127.0.0.9', process_flag(trap_exit, true), register(me, self()), {p, G} ! {hello, self()},
 P = receive {pid, Pid} -> Pid end, true = link(P), M = monitor(process, P), N = monitor(process, {p, G}), demonitor(monitor(process, P)), P ! linked,
 receive {'EXIT', P, done} -> ok end, receive {'DOWN', M, process, P, done} -> ok end, receive {'DOWN', N, process, {p, G}, done} -> ok end,
 O = monitor(process, P), receive {'DOWN', O, process, P, noproc} -> ok end, link(P), receive {'EXIT', P, noproc} -> ok end,
 {q, G} ! {hello, self()}, Q = receive {pid, Pid2} -> Pid2 end, link(Q), unlink(Q), Q ! unlinked, receive {'EXIT', From, please} when From =:= Q -> ok end,
 exit(Q, enough), receive {linked, Q} -> exit(over) end`, "-distlink_ip", "127.0.0.2")
	q := spawn(t, n, "q")
	hello := func(p *Process) erldist.Pid {
		t.Helper()
		m := receive(t, p).(Message)
		pid := m.Payload.(erldist.Tuple)[1].(erldist.Pid)
		if m.From != pid {
			t.Errorf("from %v, by %v", m.From, pid)
		}
		if err := p.Send(pid, erldist.Tuple{erldist.Atom("pid"), p.Pid()}); err != nil {
			t.Fatal(err)
		}
		return pid
	}
	pid := hello(p)
	expect(t, p, Message{pid, erldist.Atom("linked")})
	p.Exit(erldist.Atom("done"))
	hello(q)
	expect(t, q, Message{pid, erldist.Atom("unlinked")})
	if err := q.ExitTo(pid, erldist.Atom("please")); err != nil {
		t.Fatal(err)
	}
	expect(t, q, Exit{pid, erldist.Atom("enough")})
	byPid, err := q.Monitor(pid, b.Name)
	if err != nil {
		t.Fatal(err)
	}
	byName, err := q.Monitor(erldist.Atom("me"), b.Name)
	if err := errors.Join(err, q.Link(pid), q.Send(pid, erldist.Tuple{erldist.Atom("linked"), q.Pid()})); err != nil {
		t.Fatal(err)
	}
	got := map[any]bool{}
	for range 3 {
		switch m := receive(t, q).(type) {
		case Exit:
			got[m.From] = m.Reason == erldist.Term(erldist.Atom("over"))
		case Down:
			got[m.Ref] = m.Reason == erldist.Term(erldist.Atom("over"))
		}
	}
	if !got[pid] || !got[byPid] || !got[byName] {
		t.Errorf("%v", got)
	}
}

// overLinks is two nodes that are connected over distlink.
func overLinks(t *testing.T) (a, b *Node) {
	t.Helper()
	l, err := udplink.Listen(t.Context(), "127.0.0.1:0", udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a, b = New(Config{Name: "a@x", Cookie: "c"}), New(Config{Name: "b@y", Cookie: "c"})
	t.Cleanup(func() { a.Close(); b.Close() })
	go func() { _ = b.Serve(t.Context(), AcceptLinks(l)) }()
	link, err := udplink.Dial(within(t), l.Addr().String(), udplink.Config{Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Connect(OverDistlink(link)); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// A short message does not wait behind another process's long one, but behind its
// own process's.
func TestNobodyWaitsForAnother(t *testing.T) {
	a, b := overLinks(t)
	bulk, quick, sink := spawn(t, a, ""), spawn(t, a, ""), spawn(t, b, "sink")
	long := make([]byte, 16<<20)
	send := func(p *Process, payload erldist.Term) {
		t.Helper()
		if err := p.SendName("sink", "b@y", payload); err != nil {
			t.Fatal(err)
		}
	}
	send(quick, int64(0)) // behind which everything is that comes after the handshake
	send(bulk, long)
	send(quick, int64(1))
	send(bulk, int64(2))
	var came []any
	for range 4 {
		m := receive(t, sink).(Message)
		if b, ok := m.Payload.([]byte); ok {
			m.Payload = len(b)
		}
		came = append(came, m.Payload)
	}
	if want := []any{int64(0), int64(1), len(long), int64(2)}; !reflect.DeepEqual(came, want) {
		t.Errorf("%v, want %v", came, want)
	}
}

// sendRecorder is a link's transport that keeps what would be sent.
type sendRecorder struct{ sent []distlink.Message }

func (r *sendRecorder) Send(m ...distlink.Message) error { r.sent = append(r.sent, m...); return nil }

// Which stream and fence each packet gets.
func TestStreams(t *testing.T) {
	r := &sendRecorder{}
	l := &linkTransport{out: r}
	one, two := erldist.Pid{Node: "a@x", ID: 1}, erldist.Pid{Node: "a@x", ID: 2}
	for _, from := range []erldist.Pid{one, one, two, {}} {
		if err := l.SendFrom(from, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	s := r.sent
	if s[0].Fence != distlink.Barrier || s[0].Stream != s[1].Stream || s[1].Fence != distlink.NoFence {
		t.Errorf("of one process: %+v", s[:2])
	}
	if s[2].Stream == s[0].Stream || s[2].Stream == 0 || s[2].Fence != distlink.NoFence {
		t.Errorf("of another process: %+v", s[2])
	}
	if s[3].Stream != 0 || s[3].Fence != distlink.AfterAll {
		t.Errorf("of no process: %+v", s[3])
	}
}

// Who has a certificate is a node of its host, and no other.
func TestNameIsOnCertificate(t *testing.T) {
	ca := beamtest.NewAuthority(t, "ca", nil)
	files := func(hosts ...string) *udplink.Certificates {
		cert, key := ca.Issue(beamtest.P256(t), hosts, nil)
		return &udplink.Certificates{Cert: cert, Key: key, CA: ca.File}
	}
	l, err := udplink.Listen(t.Context(), "127.0.0.1:0", udplink.Config{Certificates: files("127.0.0.1", "b.lan")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := New(Config{Name: "b@b.lan", Cookie: "c"})
	t.Cleanup(b.Close)
	type result struct {
		peer string
		err  error
	}
	accepted := make(chan result)
	for _, c := range []struct {
		name, want string
		hosts      []string
	}{
		{"a@a.lan", "", []string{"a.lan"}},
		{"a@a.lan", "is for mallory.lan, not for a.lan", []string{"mallory.lan"}},
	} {
		go func() {
			link, err := l.Accept()
			if err != nil {
				accepted <- result{"", err}
				return
			}
			peer, _, err := b.Accept(OverDistlink(link))
			accepted <- result{peer, err}
		}()
		link, err := udplink.Dial(within(t), l.Addr().String(), udplink.Config{Certificates: files(c.hosts...)})
		if err != nil {
			t.Fatal(err)
		}
		a := New(Config{Name: c.name, Cookie: "c"})
		if _, _, err := a.Connect(OverDistlink(link)); (err == nil) != (c.want == "") {
			t.Errorf("%s for %v: error %v", c.name, c.hosts, err)
		}
		got := <-accepted
		if got.peer != c.name || c.want == "" && got.err != nil || c.want != "" && (got.err == nil || !strings.Contains(got.err.Error(), c.want)) {
			t.Errorf("%s for %v: %+v", c.name, c.hosts, got)
		}
		a.Close()
	}
}

// Any control message, from anybody: no panic, and the node goes on.
func FuzzTake(f *testing.F) {
	for op := range int64(40) {
		b, _ := erldist.AppendControl(nil, op, erldist.Pid{Node: "p@p", ID: 1}, erldist.Atom("net_kernel"), erldist.Ref{Node: "p@p", N: 3}, erldist.Atom("x"))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, ok, err := erldist.ParseMessage(packet)
		if err != nil || !ok {
			return
		}
		n := New(Config{Name: "go@x", Cookie: "c"})
		p, err := n.Spawn("")
		if err != nil {
			t.Fatal(err)
		}
		c := newConn(n, nowhere{}, erldist.Peer{Name: "p@p"})
		n.conns["p@p"] = c
		p.links["x"], p.watching[erldist.Ref{Node: "go@x"}] = erldist.Pid{Node: "p@p"}, watched{"p@p", erldist.Atom("y")}
		c.take(m)
		c.over()
		p.Exit(erldist.Atom("normal"))
		n.Whereis("net_kernel").Exit(erldist.Atom("normal"))
	})
}

// nowhere is a transport that swallows everything.
type nowhere struct{}

func (nowhere) Send([]byte) error                  { return nil }
func (nowhere) SendFrom(erldist.Pid, []byte) error { return nil }
func (nowhere) Recv() ([]byte, error)              { return nil, io.EOF }
func (nowhere) Close() error                       { return nil }
