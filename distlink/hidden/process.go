package hidden

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tsnswitch/distlink/erldist"
)

// What a mailbox holds.
type (
	// Message was sent to the process, by its pid or name.
	Message struct {
		From    erldist.Pid // zero if the sender is not known
		Payload erldist.Term
	}
	// Exit says that a linked process, or the connection to it, has ended; or
	// that somebody wants this one to (exit/2).
	Exit struct {
		From   erldist.Term // Pid or Port
		Reason erldist.Term
	}
	// Down says that what Ref monitors has ended.
	Down struct {
		Ref    erldist.Ref
		Object erldist.Term // Pid, or the name that was monitored
		Reason erldist.Term
	}
)

// ErrEnded is returned by a process that has ended.
var ErrEnded = errors.New("the process has ended")

// maxMailbox bounds a mailbox that nobody reads; a process with more is
// ended, as its answers would be of no use to anybody.
const maxMailbox = 1 << 16

// Process is a mailbox with a pid. Its methods may be called from any goroutine.
type Process struct {
	node *Node
	pid  erldist.Pid
	name erldist.Atom

	mu     sync.Mutex
	box    []any
	news   chan struct{} // has room for one: the box is not empty
	ended  chan struct{}
	reason erldist.Term

	// Guarded by the node's lock: whom to tell of the end, and whom this watches.
	links     map[string]erldist.Term  // remote, by key
	monitors  map[string]remoteMonitor // of others, of this
	watching  map[erldist.Ref]watched  // of this, of others
	unlinking map[string]unlinking     // not yet acknowledged, by key
}

type remoteMonitor struct {
	by     erldist.Pid
	ref    erldist.Ref
	object erldist.Term // as the peer named it
}

type unlinking struct {
	from erldist.Term
	ids  map[uint64]bool
}

type watched struct {
	node   string
	object erldist.Term
}

// Pid is the process's.
func (p *Process) Pid() erldist.Pid { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.ended }

// Receive returns the next Message, Exit or Down.
func (p *Process) Receive(ctx context.Context) (any, error) {
	for {
		p.mu.Lock()
		if len(p.box) > 0 {
			m := p.box[0]
			p.box[0] = nil
			p.box = p.box[1:]
			p.mu.Unlock()
			return m, nil
		}
		p.mu.Unlock()
		select {
		case <-p.news:
		case <-p.ended:
			return nil, ErrEnded
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// put adds to the mailbox. One that overflows ends the process.
func (p *Process) put(m any) {
	p.mu.Lock()
	full := len(p.box) >= maxMailbox
	if !full {
		p.box = append(p.box, m)
	}
	p.mu.Unlock()
	if full {
		go p.Exit(erldist.Atom("message_queue_full"))
		return
	}
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// Send sends to a process anywhere. Like Erlang's, it does not say whether the
// message arrived; the error is for terms without an external form and peers
// that cannot be reached.
func (p *Process) Send(to erldist.Pid, payload erldist.Term) error {
	if to.Node == p.pid.Node {
		p.node.local(to, Message{p.pid, payload})
		return nil
	}
	c, err := p.node.conn(string(to.Node))
	if err != nil {
		return err
	}
	return c.sendTo(p.pid, to, payload)
}

// SendName sends to the process registered as name at a connected node.
func (p *Process) SendName(name erldist.Atom, node string, payload erldist.Term) error {
	if node == p.node.Name() {
		if to := p.node.Whereis(name); to != nil {
			to.put(Message{p.pid, payload})
		}
		return nil
	}
	c, err := p.node.conn(node)
	if err != nil {
		return err
	}
	b, err := erldist.AppendRegSend(nil, p.pid, name, payload)
	if err != nil {
		return err
	}
	return c.send(p.pid, b)
}

// Monitor watches a process of a connected node: a Pid, or a name there. Its
// end, at once if there is none, comes as Down.
func (p *Process) Monitor(object erldist.Term, node string) (erldist.Ref, error) {
	ref := p.node.newRef()
	c, err := p.node.conn(node)
	if err != nil {
		p.put(Down{ref, object, erldist.Atom("noconnection")})
		return ref, nil
	}
	p.node.mu.Lock()
	p.watching[ref] = watched{node, object}
	p.node.mu.Unlock()
	return ref, c.control(p.pid, int64(erldist.OpMonitorP), p.pid, object, ref)
}

// Demonitor ends a Monitor; a Down that is in the mailbox already stays there.
func (p *Process) Demonitor(ref erldist.Ref) error {
	p.node.mu.Lock()
	w, ok := p.watching[ref]
	delete(p.watching, ref)
	p.node.mu.Unlock()
	if !ok {
		return nil
	}
	c, err := p.node.conn(w.node)
	if err != nil {
		return nil // then it is over anyway
	}
	return c.control(p.pid, int64(erldist.OpDemonitorP), p.pid, w.object, ref)
}

// Link links to a process of another node; its end comes as Exit.
func (p *Process) Link(to erldist.Pid) error {
	c, err := p.node.conn(string(to.Node))
	if err != nil {
		p.put(Exit{to, erldist.Atom("noconnection")})
		return nil
	}
	p.node.mu.Lock()
	p.links[key(to)] = to
	p.node.mu.Unlock()
	return c.control(p.pid, int64(erldist.OpLink), p.pid, to)
}

// Unlink takes a link back (UNLINK_ID).
func (p *Process) Unlink(to erldist.Pid) error {
	p.node.mu.Lock()
	_, linked := p.links[key(to)]
	delete(p.links, key(to))
	p.node.unlinkID++
	id := p.node.unlinkID
	p.node.mu.Unlock()
	c, err := p.node.conn(string(to.Node))
	if !linked || err != nil {
		return nil
	}
	p.node.mu.Lock()
	if p.unlinking[key(to)].ids == nil {
		p.unlinking[key(to)] = unlinking{to, map[uint64]bool{}}
	}
	p.unlinking[key(to)].ids[id] = true
	p.node.mu.Unlock()
	return c.control(p.pid, int64(erldist.OpUnlinkID), int64(id), p.pid, to)
}

// ExitTo asks another process to end (exit/2).
func (p *Process) ExitTo(to erldist.Pid, reason erldist.Term) error {
	c, err := p.node.conn(string(to.Node))
	if err != nil {
		return err
	}
	return c.control(p.pid, int64(erldist.OpExit2), p.pid, to, reason)
}

// Exit ends the process: links and monitors are told the reason, its name is
// free again.
func (p *Process) Exit(reason erldist.Term) {
	n := p.node
	n.mu.Lock()
	select {
	case <-p.ended:
		n.mu.Unlock()
		return
	default:
	}
	p.reason = reason
	close(p.ended)
	delete(n.processes, p.pid.ID)
	if n.names[p.name] == p {
		delete(n.names, p.name)
	}
	type word struct {
		node    string
		control []erldist.Term
	}
	var words []word
	for _, k := range sortedKeys(p.links) {
		to := p.links[k]
		words = append(words, word{nodeOf(to), []erldist.Term{int64(erldist.OpExit), p.pid, to, reason}})
	}
	for _, k := range sortedKeys(p.monitors) {
		m := p.monitors[k]
		words = append(words, word{string(m.by.Node), []erldist.Term{int64(erldist.OpMonitorPExit), m.object, m.by, m.ref, reason}})
	}
	for ref, w := range p.watching {
		words = append(words, word{w.node, []erldist.Term{int64(erldist.OpDemonitorP), p.pid, w.object, ref}})
	}
	n.mu.Unlock()
	for _, w := range words {
		if c, err := n.conn(w.node); err == nil {
			_ = c.control(p.pid, w.control...) // a connection that ends tells them, too
		}
	}
}

func key(t erldist.Term) string { return fmt.Sprintf("%T%v", t, t) }

func nodeOf(t erldist.Term) string {
	switch t := t.(type) {
	case erldist.Pid:
		return string(t.Node)
	case erldist.Port:
		return string(t.Node)
	}
	return ""
}
