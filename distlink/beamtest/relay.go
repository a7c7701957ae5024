package beamtest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// Relay passes datagrams between clients and one server, badly.
type Relay struct {
	Loss, Duplicate, Reorder float64       // probabilities
	Late                     time.Duration // how long a reordered one is held
	Record                   int           // how many datagrams to the server are kept

	mu      sync.Mutex
	rng     *rand.Rand
	black   bool
	front   *net.UDPConn
	server  string
	backs   map[netip.AddrPort]*net.UDPConn
	Dropped int // guarded by mu; read it after the test's traffic

	recorded [][]byte
	enough   chan struct{} // closed when Record are recorded
}

// NewRelay listens on address and forwards to server. It ends with the test.
func NewRelay(t *testing.T, address, server string, r *Relay) *Relay {
	t.Helper()
	c, err := net.ListenPacket("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	r.front, r.server, r.backs = c.(*net.UDPConn), server, map[netip.AddrPort]*net.UDPConn{}
	r.rng = rand.New(rand.NewPCG(1, 2))
	r.enough = make(chan struct{})
	_ = r.front.SetReadBuffer(4 << 20)
	go r.serve()
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		_ = r.front.Close()
		for _, b := range r.backs {
			_ = b.Close()
		}
	})
	return r
}

// Recorded waits until Record datagrams have gone to the server, and returns them.
func (r *Relay) Recorded(t *testing.T) [][]byte {
	t.Helper()
	select {
	case <-r.enough:
	case <-time.After(time.Minute):
		t.Fatal("too little was sent to be recorded")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recorded
}

func (r *Relay) record(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.recorded) < r.Record {
		if r.recorded = append(r.recorded, append([]byte(nil), b...)); len(r.recorded) == r.Record {
			close(r.enough)
		}
	}
}

// Again sends the server a datagram as if it came from each client.
func (r *Relay) Again(b []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, back := range r.backs {
		_, _ = back.Write(b)
	}
}

// Black drops everything from now on.
func (r *Relay) Black() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.black = true
}

// Move gives all clients other addresses, as the server sees them.
func (r *Relay) Move(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.backs {
		_ = b.Close()
	}
	clear(r.backs)
}

// Drops returns how many datagrams were dropped.
func (r *Relay) Drops() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Dropped
}

func (r *Relay) serve() {
	buf := make([]byte, 65536)
	for {
		n, from, err := r.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		back := r.back(from)
		if back == nil {
			return
		}
		r.record(buf[:n])
		r.pass(buf[:n], func(b []byte) { _, _ = back.Write(b) })
	}
}

// back is the socket that stands for one client towards the server.
func (r *Relay) back(from netip.AddrPort) *net.UDPConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := r.backs[from]; b != nil {
		return b
	}
	c, err := net.Dial("udp4", r.server)
	if err != nil {
		return nil
	}
	b := c.(*net.UDPConn)
	_ = b.SetReadBuffer(4 << 20)
	r.backs[from] = b
	go func() {
		buf := make([]byte, 65536)
		for {
			n, err := b.Read(buf)
			if err != nil {
				if ne, ok := err.(net.Error); ok && !ne.Timeout() && r.isClosed(b) {
					return
				}
				continue
			}
			r.pass(buf[:n], func(d []byte) { _, _ = r.front.WriteToUDPAddrPort(d, from) })
		}
	}()
	return b
}

func (r *Relay) isClosed(b *net.UDPConn) bool { return b.SetDeadline(time.Time{}) != nil }

func (r *Relay) pass(b []byte, send func([]byte)) {
	r.mu.Lock()
	drop := r.black || r.rng.Float64() < r.Loss
	twice := r.rng.Float64() < r.Duplicate
	late := r.rng.Float64() < r.Reorder
	if drop {
		r.Dropped++
	}
	r.mu.Unlock()
	if drop {
		return
	}
	if twice {
		send(b)
	}
	if late {
		b = append([]byte(nil), b...)
		time.AfterFunc(r.Late, func() { send(b) })
		return
	}
	send(b)
}
