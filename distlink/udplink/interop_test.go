package udplink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/erldist"
	"tsnswitch/distlink/udplink"
)

const (
	patience = 20 * time.Second
	sleep    = "receive after infinity -> ok end"
)

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

// transport is the handshake's and the messages' view of a link.
type transport struct{ *udplink.Link }

func (t transport) Send(b []byte) error { return t.Link.Send(distlink.Message{Data: b}) }

func (t transport) Recv() ([]byte, error) {
	m, err := t.Link.Recv()
	return m.Data, err
}

// next returns the next message that is not a tick.
func next(t *testing.T, tr transport) erldist.Message {
	t.Helper()
	for {
		b, err := tr.Recv()
		if err != nil {
			t.Fatal(err)
		}
		m, ok, err := erldist.ParseMessage(b)
		if err != nil {
			t.Fatalf("%v in %x", err, b[:min(len(b), 200)])
		}
		if ok {
			return m
		}
	}
}

var gonode = erldist.Node{Name: "go@127.0.0.9", Cookie: "c", Creation: 4711, Challenge: 12345}

func dial(t *testing.T, address string, classes map[distlink.Class]udplink.Socket) *udplink.Link {
	t.Helper()
	link, err := udplink.Dial(within(t), address, udplink.Config{Insecure: true, Classes: classes})
	if err != nil {
		t.Fatal(err)
	}
	// A message that never comes fails the test, it does not hang it.
	limit := time.AfterFunc(3*patience, func() { _ = link.Close() })
	t.Cleanup(func() { limit.Stop(); _ = link.Close() })
	return link
}

// echoServer answers {From, Term} sent to the name echo with {back, Term}.
const echoServer = `register(echo, self()), io:format("ready~n"), F = fun F() -> receive {P, T} -> P ! {back, T}, F() end end, F()`

// The Go node connects to a BEAM node, completes the handshake, sends to a
// registered name and gets the answer: small, and 1 MB in one packet. So it does
// where a class has a socket of its own.
func TestGoConnectsToBEAM(t *testing.T) {
	connectToBEAM(t, "127.0.0.2", nil)
	connectToBEAM(t, "::1", nil)
	connectToBEAM(t, "127.0.0.2", map[distlink.Class]udplink.Socket{distlink.Bulk: {Priority: 1}})
}

func connectToBEAM(t *testing.T, ip string, classes map[distlink.Class]udplink.Socket) {
	t.Helper()
	port := beamtest.Port(t, "127.0.0.2")
	b := beamtest.Start(t, "distlink", "b@"+ip, port, echoServer, "-distlink_ip", ip)
	b.Expect("ready", patience)
	tr := transport{dial(t, net.JoinHostPort(ip, strconv.Itoa(port)), classes)}
	peer, err := gonode.Connect(tr)
	if err != nil {
		t.Fatal(err)
	}
	if peer.Name != b.Name {
		t.Errorf("peer is %q", peer.Name)
	}
	self := erldist.Pid{Node: erldist.Atom(gonode.Name), ID: 1, Creation: gonode.Creation}
	for _, payload := range [][]byte{[]byte("hello"), bytes.Repeat([]byte("0123456789abcdef"), 65536)} {
		m, err := erldist.AppendRegSend(nil, self, "echo", erldist.Tuple{self, payload})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Send(m); err != nil {
			t.Fatal(err)
		}
		got := next(t, tr)
		if op := got.Op(); op != erldist.OpSend && op != erldist.OpSendSender {
			t.Fatalf("control %v", got.Control)
		}
		tuple, ok := got.Payload.(erldist.Tuple)
		if !ok || len(tuple) != 2 || tuple[0] != erldist.Atom("back") || !bytes.Equal(tuple[1].([]byte), payload) {
			t.Fatalf("a message of %d octets did not come back", len(payload))
		}
	}
	if err := tr.Send(nil); err != nil { // a tick
		t.Fatal(err)
	}
	if st := tr.Stats(); len(st.Lanes) != len(classes) || st.Rate != 0 {
		t.Errorf("%+v", st)
	}
}

// The wrong cookie is refused by the node and reported here.
func TestWrongCookie(t *testing.T) {
	port := beamtest.Port(t, "127.0.0.2")
	beamtest.Start(t, "distlink", "b@127.0.0.2", port, sleep, "-distlink_ip", "127.0.0.2")
	bad := gonode
	bad.Cookie = "wrong"
	if _, err := bad.Connect(transport{dial(t, fmt.Sprintf("127.0.0.2:%d", port), nil)}); !errors.Is(err, erldist.ErrHandshake) {
		t.Fatalf("error %v", err)
	}
}

// A BEAM node connects to a Go node, found through epmd, and sends to a name.
func TestBEAMConnectsToGo(t *testing.T) {
	beamtest.Code(t) // skips without Erlang
	epmd := beamtest.EPMD(t)
	l, err := udplink.Listen(within(t), "127.0.0.9:0", udplink.Config{Insecure: true, Priority: 5})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	creation, release, err := udplink.EPMDRegister(within(t), epmd, "go", l.Addr().Port())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = release.Close() }()
	if port, err := udplink.EPMDPort(within(t), epmd, "go"); err != nil || port != l.Addr().Port() {
		t.Fatalf("epmd says %d, %v", port, err)
	}
	if _, err := udplink.EPMDPort(within(t), epmd, "nobody"); err == nil {
		t.Error("epmd knows nobody")
	}
	a := beamtest.StartEPMD(t, "distlink", "a@127.0.0.1", epmd,
		`true = net_kernel:connect_node('go@127.0.0.9'), io:format("connected~n"), register(me, self()), {echo, 'go@127.0.0.9'} ! {self(), hello}, receive {back, hello} -> io:format("answered~n") end, `+sleep,
		"-distlink_ip", "127.0.0.1")
	context.AfterFunc(within(t), func() { _ = l.Close() })
	link, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	tr := transport{link}
	me := gonode
	me.Creation = creation
	peer, err := me.Accept(tr)
	if err != nil || peer.Name != a.Name {
		t.Fatalf("peer %q, %v", peer.Name, err)
	}
	var got erldist.Message
	for got.Op() != erldist.OpRegSend || got.Control[3] != erldist.Atom("echo") {
		got = next(t, tr) // the kernel's own processes greet first
	}
	tuple := got.Payload.(erldist.Tuple)
	m, err := erldist.AppendSend(nil, tuple[0].(erldist.Pid), erldist.Tuple{erldist.Atom("back"), tuple[1]})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Send(m); err != nil {
		t.Fatal(err)
	}
	a.Expect("answered", patience)
}
