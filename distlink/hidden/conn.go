package hidden

import (
	"sync"
	"sync/atomic"
	"time"

	"tsnswitch/distlink/erldist"
)

// tickInterval is between ticks on a connection; Erlang nodes give up on a
// peer after net_ticktime, 60 s, without a packet.
const tickInterval = 15 * time.Second

// conn is a connection after its handshake.
type conn struct {
	node *Node
	t    Transport
	peer erldist.Peer
	done chan struct{}

	sent, received atomic.Uint64

	closing sync.Once
	writing sync.Mutex // a packet is written whole
}

func newConn(n *Node, t Transport, p erldist.Peer) *conn {
	return &conn{node: n, t: t, peer: p, done: make(chan struct{})}
}

func (c *conn) end(reason error) {
	c.closing.Do(func() {
		c.node.cfg.Log.Info("node disconnected", "peer", c.peer.Name, "why", reason)
		_ = c.t.Close()
	})
}

// send writes a packet of a process; packets of one process stay in order, and
// those of none (the zero Pid) are after all before.
func (c *conn) send(from erldist.Pid, packet []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.sent.Add(1)
	return c.t.SendFrom(from, packet)
}

func (c *conn) sendTo(from, to erldist.Pid, payload erldist.Term) error {
	b, err := erldist.AppendSend(nil, to, payload)
	if err != nil {
		return err
	}
	return c.send(from, b)
}

func (c *conn) control(from erldist.Pid, control ...erldist.Term) error {
	b, err := erldist.AppendControl(nil, control...)
	if err != nil {
		return err
	}
	return c.send(from, b)
}

// run reads until the connection ends, and tells whom it concerned.
func (c *conn) run() {
	stop := make(chan struct{})
	go c.tick(stop)
	for {
		b, err := c.t.Recv()
		if err != nil {
			c.end(err)
			break
		}
		c.received.Add(1)
		m, ok, err := erldist.ParseMessage(b)
		switch {
		case err != nil:
			c.node.count(func(n *Counters) { n.Unreadable++ })
		case ok:
			c.node.count(func(n *Counters) { n.Received++ })
			if !c.take(m) {
				c.node.count(func(n *Counters) { n.Unknown++ })
			}
		}
	}
	close(stop)
	c.over()
	close(c.done)
}

func (c *conn) tick(stop chan struct{}) {
	t := time.NewTicker(tickInterval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			c.writing.Lock()
			err := c.t.Send(nil)
			c.writing.Unlock()
			if err != nil {
				c.end(err)
				return
			}
		case <-stop:
			return
		}
	}
}

// over forgets the connection: links and monitors across it end with
// noconnection.
func (c *conn) over() {
	n := c.node
	gone := erldist.Atom("noconnection")
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[c.peer.Name] == c {
		delete(n.conns, c.peer.Name)
	}
	for _, p := range n.processes {
		for k, to := range p.links {
			if nodeOf(to) == c.peer.Name {
				delete(p.links, k)
				p.put(Exit{to, gone})
			}
		}
		for ref, w := range p.watching {
			if w.node == c.peer.Name {
				delete(p.watching, ref)
				p.put(Down{ref, w.object, gone})
			}
		}
		for k, m := range p.monitors {
			if string(m.by.Node) == c.peer.Name {
				delete(p.monitors, k)
			}
		}
		for k, u := range p.unlinking {
			if nodeOf(u.from) == c.peer.Name { // acknowledgements come no more
				delete(p.unlinking, k)
			}
		}
	}
}

// arity is the least number of elements of each control message.
var arity = map[int64]int{
	erldist.OpLink: 3, erldist.OpSend: 3, erldist.OpExit: 4, erldist.OpRegSend: 4, erldist.OpGroupLeader: 3, erldist.OpExit2: 4,
	erldist.OpMonitorP: 4, erldist.OpDemonitorP: 4, erldist.OpMonitorPExit: 5, erldist.OpSendSender: 3,
	erldist.OpPayloadExit: 3, erldist.OpPayloadExit2: 3, erldist.OpPayloadMonitorPExit: 4, erldist.OpUnlinkID: 4, erldist.OpUnlinkIDAck: 4,
}

// take does what a control message says; false if it means nothing here.
func (c *conn) take(m erldist.Message) bool {
	least, known := arity[m.Op()]
	if !known || len(m.Control) < least {
		return false
	}
	a := m.Control[1:]
	switch m.Op() {
	case erldist.OpSend:
		c.node.local(a[1], Message{Payload: m.Payload})
	case erldist.OpSendSender:
		from, _ := a[0].(erldist.Pid)
		c.node.local(a[1], Message{from, m.Payload})
	case erldist.OpRegSend:
		from, _ := a[0].(erldist.Pid)
		c.node.local(a[2], Message{from, m.Payload})
	case erldist.OpGroupLeader: // nothing here has one
	case erldist.OpLink:
		c.link(a[0], a[1])
	case erldist.OpUnlinkID:
		c.unlink(a[0], a[1], a[2])
	case erldist.OpUnlinkIDAck:
		c.unlinked(a[0], a[1], a[2])
	case erldist.OpExit:
		c.exit(a[0], a[1], a[2])
	case erldist.OpPayloadExit:
		c.exit(a[0], a[1], m.Payload)
	case erldist.OpExit2:
		c.node.local(a[1], Exit{a[0], a[2]})
	case erldist.OpPayloadExit2:
		c.node.local(a[1], Exit{a[0], m.Payload})
	case erldist.OpMonitorP:
		return c.monitor(a[0], a[1], a[2])
	case erldist.OpDemonitorP:
		c.demonitor(a[1], a[2])
	case erldist.OpMonitorPExit:
		c.down(a[1], a[2], a[3])
	case erldist.OpPayloadMonitorPExit:
		c.down(a[1], a[2], m.Payload)
	}
	return true
}

var noproc = erldist.Atom("noproc")

func (c *conn) link(from, to erldist.Term) {
	p := c.node.find(to)
	if p == nil {
		pid, _ := to.(erldist.Pid)
		_ = c.control(pid, int64(erldist.OpExit), to, from, noproc)
		return
	}
	c.node.mu.Lock()
	if len(p.unlinking[key(from)].ids) == 0 { // a link that crossed our unlink is none
		p.links[key(from)] = from
	}
	c.node.mu.Unlock()
}

func (c *conn) unlink(id, from, to erldist.Term) {
	pid, _ := to.(erldist.Pid)
	if p := c.node.find(to); p != nil {
		c.node.mu.Lock()
		delete(p.links, key(from))
		c.node.mu.Unlock()
	}
	_ = c.control(pid, int64(erldist.OpUnlinkIDAck), id, to, from)
}

func (c *conn) unlinked(id, from, to erldist.Term) {
	p, n := c.node.find(to), uint64(0)
	if v, ok := id.(int64); ok {
		n = uint64(v)
	}
	if p == nil {
		return
	}
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	delete(p.unlinking[key(from)].ids, n)
	if len(p.unlinking[key(from)].ids) == 0 {
		delete(p.unlinking, key(from))
	}
}

func (c *conn) exit(from, to, reason erldist.Term) {
	p := c.node.find(to)
	if p == nil {
		return
	}
	c.node.mu.Lock()
	_, linked := p.links[key(from)]
	delete(p.links, key(from))
	c.node.mu.Unlock()
	if linked {
		p.put(Exit{from, reason})
	}
}

func (c *conn) monitor(by, object, ref erldist.Term) bool {
	pid, ok := by.(erldist.Pid)
	r, ok2 := ref.(erldist.Ref)
	if !ok || !ok2 {
		return false
	}
	p := c.node.find(object)
	if p == nil {
		_ = c.control(erldist.Pid{}, int64(erldist.OpMonitorPExit), object, by, ref, noproc)
		return true
	}
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if len(p.monitors) < maxMailbox {
		p.monitors[key(r)] = remoteMonitor{pid, r, object}
	}
	return true
}

func (c *conn) demonitor(object, ref erldist.Term) {
	if p := c.node.find(object); p != nil {
		c.node.mu.Lock()
		delete(p.monitors, key(ref))
		c.node.mu.Unlock()
	}
}

func (c *conn) down(to, ref, reason erldist.Term) {
	p := c.node.find(to)
	r, ok := ref.(erldist.Ref)
	if p == nil || !ok {
		return
	}
	c.node.mu.Lock()
	w, watching := p.watching[r]
	delete(p.watching, r)
	c.node.mu.Unlock()
	if watching {
		p.put(Down{r, w.object, reason})
	}
}
