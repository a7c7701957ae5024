package hidden

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"tsnswitch/distlink"
	"tsnswitch/distlink/erldist"
)

// Config is a node. Name and Cookie are required.
type Config struct {
	Name     string // name@host
	Cookie   string
	Creation uint32       // as epmd gave it; 0: random
	Log      *slog.Logger // nil: silent
	// MaxConnections bounds peers at once; default 64.
	MaxConnections int
}

// ErrNotConnected is wrapped where a peer is needed that is not connected.
var ErrNotConnected = errors.New("not connected")

// Counters of a node since it was made.
type Counters struct {
	Connections uint64 // that completed the handshake
	Refused     uint64 // handshakes that failed, and peers beyond MaxConnections
	Received    uint64 // control messages
	Unreadable  uint64 // packets with terms that have no meaning here
	Unknown     uint64 // control messages that were never offered
	Lost        uint64 // for a process or name that there is not
}

// Node is a hidden Erlang node.
type Node struct {
	cfg Config

	mu        sync.Mutex
	conns     map[string]*conn
	processes map[uint32]*Process
	names     map[erldist.Atom]*Process
	lastPid   uint32
	lastRef   uint64
	unlinkID  uint64
	counters  Counters
}

// New makes a node that knows nobody.
func New(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Creation == 0 {
		cfg.Creation = random() | 4 // smaller ones are of OTP 22 and before
	}
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 64
	}
	n := &Node{cfg: cfg, conns: map[string]*conn{}, processes: map[uint32]*Process{}, names: map[erldist.Atom]*Process{}}
	n.serveNetKernel()
	return n
}

func random() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint32(b[:])
}

// Name is the node's.
func (n *Node) Name() string { return n.cfg.Name }

// Counters returns the counters.
func (n *Node) Counters() Counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counters
}

// Peers are the connected nodes, ascending.
func (n *Node) Peers() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Sorted(maps.Keys(n.conns))
}

// Connection is one of a node, as people are shown it.
type Connection struct {
	Peer           string
	Carrier        string // "distlink" or "tcp"
	Sent, Received uint64 // packets of the distribution
	Link           distlink.Stats
}

// Connections are those to the connected nodes, by ascending peer.
func (n *Node) Connections() (out []Connection) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, peer := range slices.Sorted(maps.Keys(n.conns)) {
		c := n.conns[peer]
		one := Connection{Peer: peer, Carrier: "tcp", Sent: c.sent.Load(), Received: c.received.Load()}
		if l, ok := c.t.(*linkTransport); ok {
			one.Carrier, one.Link = "distlink", l.Stats()
		}
		out = append(out, one)
	}
	return out
}

// Spawn makes a process; with a name that is not empty it is registered.
func (n *Node) Spawn(name erldist.Atom) (*Process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name != "" && n.names[name] != nil {
		return nil, fmt.Errorf("%s: the name %s is taken", n.cfg.Name, name)
	}
	n.lastPid++
	p := &Process{
		node: n, pid: erldist.Pid{Node: erldist.Atom(n.cfg.Name), ID: n.lastPid, Creation: n.cfg.Creation}, name: name,
		news: make(chan struct{}, 1), ended: make(chan struct{}),
		links: map[string]erldist.Term{}, monitors: map[string]remoteMonitor{}, watching: map[erldist.Ref]watched{}, unlinking: map[string]unlinking{},
	}
	n.processes[p.pid.ID] = p
	if name != "" {
		n.names[name] = p
	}
	return p, nil
}

// Whereis returns the process of that name, or nil.
func (n *Node) Whereis(name erldist.Atom) *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.names[name]
}

func (n *Node) newRef() erldist.Ref {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastRef++
	return erldist.Ref{
		Node: erldist.Atom(n.cfg.Name), Creation: n.cfg.Creation, N: 3,
		IDs: [5]uint32{uint32(n.lastRef) & 0x3ffff, uint32(n.lastRef >> 18), 0},
	}
}

// find is the process of this node that a pid or name means.
func (n *Node) find(t erldist.Term) *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch t := t.(type) {
	case erldist.Pid:
		if p := n.processes[t.ID]; p != nil && p.pid == t {
			return p
		}
	case erldist.Atom:
		return n.names[t]
	}
	return nil
}

func (n *Node) local(to erldist.Term, m any) {
	if p := n.find(to); p != nil {
		p.put(m)
		return
	}
	n.count(func(c *Counters) { c.Lost++ })
}

func (n *Node) count(f func(*Counters)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.counters)
}

func (n *Node) conn(node string) (*conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[node]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("%s: %w", node, ErrNotConnected)
}

// flags are what this node can do; with less peers do not monitor it.
const flags = erldist.FlagsMandatory | erldist.FlagDistMonitor | erldist.FlagDistMonitorName | erldist.FlagSendSender

func (n *Node) dist() erldist.Node {
	return erldist.Node{Name: n.cfg.Name, Cookie: n.cfg.Cookie, Creation: n.cfg.Creation, Flags: flags, Challenge: random()}
}

// handshakeWithin bounds how long a peer may take for the handshake, as
// Erlang's net_setuptime does.
const handshakeWithin = 7 * time.Second

// Connect does the handshake with peer over t as the side that connected, and
// returns when the node is connected; t belongs to the node then. done is
// closed at the end of the connection.
func (n *Node) Connect(t Transport) (peer string, done <-chan struct{}, err error) {
	return n.shake(t, n.dist().Connect)
}

// Accept is Connect for the side that was connected to.
func (n *Node) Accept(t Transport) (peer string, done <-chan struct{}, err error) {
	return n.shake(t, n.dist().Accept)
}

func (n *Node) shake(t Transport, handshake func(erldist.Transport) (erldist.Peer, error)) (string, <-chan struct{}, error) {
	limit := time.AfterFunc(handshakeWithin, func() { _ = t.Close() })
	p, err := handshake(t)
	if !limit.Stop() && err == nil {
		err = fmt.Errorf("%w: it took more than %v", erldist.ErrHandshake, handshakeWithin)
	}
	var c *conn
	if err == nil {
		c, err = n.add(t, p)
	}
	if err != nil {
		_ = t.Close()
		n.count(func(c *Counters) { c.Refused++ })
		return p.Name, nil, err
	}
	go c.run()
	return p.Name, c.done, nil
}

// add makes the connection the one with that peer. One from before has been
// lost by the peer, or it would not have connected again.
func (n *Node) add(t Transport, p erldist.Peer) (*conn, error) {
	c := newConn(n, t, p)
	for {
		n.mu.Lock()
		before := n.conns[p.Name]
		switch {
		case before != nil:
			n.mu.Unlock()
			before.end(errors.New("the peer has connected anew"))
			<-before.done
			continue
		case len(n.conns) >= n.cfg.MaxConnections:
			n.mu.Unlock()
			return nil, fmt.Errorf("%s: %d nodes are connected, which is the limit", p.Name, n.cfg.MaxConnections)
		}
		n.conns[p.Name] = c
		n.counters.Connections++
		n.mu.Unlock()
		return c, nil
	}
}

// Serve accepts connections until ctx ends or accept fails. A peer that does
// not complete the handshake is refused and counted; no more than
// MaxConnections are in it at a time.
func (n *Node) Serve(ctx context.Context, accept func(context.Context) (Transport, error)) error {
	room := make(chan struct{}, n.cfg.MaxConnections)
	for {
		t, err := accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		room <- struct{}{}
		go func() {
			defer func() { <-room }()
			peer, _, err := n.Accept(t)
			if err != nil {
				n.cfg.Log.Warn("distribution handshake", "peer", peer, "err", err)
				return
			}
			n.cfg.Log.Info("node connected", "peer", peer)
		}()
	}
}

// Close ends all connections.
func (n *Node) Close() {
	n.mu.Lock()
	all := slices.Collect(maps.Values(n.conns))
	n.mu.Unlock()
	for _, c := range all {
		c.end(errors.New("the node is shutting down"))
		<-c.done
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
