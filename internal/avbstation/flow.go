package avbstation

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"tsnswitch"
)

// Flow is the frames of a stream, numbered from 1.
type Flow struct {
	Destination tsn.MAC
	VID         tsn.VID
	Priority    tsn.PCP
	Octets      int // MSDU, at least 46
	Every       time.Duration
}

// EtherType is the EtherType of a stream's frames.
const EtherType = 0x22f0

// A Sender sends a Flow until it is stopped.
type Sender struct {
	quit, done chan struct{}
	sent       uint64
	err        error
}

// Start sends the Flow from an interface of the caller's network namespace.
func (f Flow) Start(ifname string) (*Sender, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("socket on %s: %w", ifname, err)
	}
	b := append(append([]byte(nil), f.Destination[:]...), ifi.HardwareAddr...)
	b = binary.BigEndian.AppendUint16(b, 0x8100)
	b = binary.BigEndian.AppendUint16(b, uint16(f.Priority)<<13|uint16(f.VID))
	b = binary.BigEndian.AppendUint16(b, EtherType)
	number := len(b)
	b = append(b, make([]byte, max(f.Octets, 46))...)
	s := &Sender{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer conn.Close()
		tick := time.NewTicker(f.Every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-s.quit:
				return
			}
			binary.BigEndian.PutUint64(b[number:], s.sent+1)
			if _, err := conn.WriteTo(b, &packet.Addr{HardwareAddr: b[:6]}); err == nil {
				s.sent++
			} else {
				s.err = err
			}
		}
	}()
	return s, nil
}

// Stop ends it and returns how many frames left, and the last error of one that did not.
func (s *Sender) Stop() (sent uint64, err error) {
	close(s.quit)
	<-s.done
	return s.sent, s.err
}

// Arrivals are the frames of a Flow that an interface has received.
type Arrivals struct {
	Frames uint64
	First  uint64 // number of the first
	Last   uint64 // highest number
	Late   uint64 // numbers that came after a higher one, or again
}

// Lost is how many between the first and the last have not come.
func (a Arrivals) Lost() uint64 {
	if a.Frames == 0 {
		return 0
	}
	return a.Last - a.First + 1 - (a.Frames - a.Late)
}

// A Counter counts the frames to a destination.
type Counter struct {
	conn  *packet.Conn
	mu    sync.Mutex
	count Arrivals
	wake  chan struct{}
}

// Count counts what arrives for a destination on an interface of the caller's
// network namespace.
func Count(ifname string, destination tsn.MAC) (*Counter, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OUTGOING, SkipTrue: 5},
		bpf.LoadAbsolute{Off: 0, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(destination[:4]), SkipTrue: 3},
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(binary.BigEndian.Uint16(destination[4:])), SkipTrue: 1},
		bpf.RetConstant{Val: 128},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return nil, err
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: raw})
	if err != nil {
		return nil, fmt.Errorf("socket on %s: %w", ifname, err)
	}
	if destination.IsGroup() {
		err = conn.JoinGroup(destination[:])
	} else {
		err = conn.SetPromiscuous(true)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &Counter{conn: conn, wake: make(chan struct{}, 1)}
	go c.read()
	return c, nil
}

func (c *Counter) read() {
	b := make([]byte, 128)
	for {
		n, _, err := c.conn.ReadFrom(b)
		if errors.Is(err, unix.ENETDOWN) {
			continue
		}
		if err != nil {
			return
		}
		if f := b[:n]; binary.BigEndian.Uint16(f[12:]) == 0x8100 && n >= 18 {
			c.frame(f[16:])
		} else {
			c.frame(f[12:])
		}
	}
}

// frame takes what follows the addresses and the tag.
func (c *Counter) frame(b []byte) {
	if len(b) < 10 || binary.BigEndian.Uint16(b) != EtherType {
		return
	}
	n := binary.BigEndian.Uint64(b[2:])
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.count
	if a.Frames++; a.Frames == 1 {
		a.First, a.Last = n, n
	} else if n > a.Last {
		a.Last = n
	} else {
		a.Late++
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Arrivals returns the count so far.
func (c *Counter) Arrivals() Arrivals {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// More returns when n more frames have come, or false when the time is over.
func (c *Counter) More(n uint64, within time.Duration) bool {
	limit := time.NewTimer(within)
	defer limit.Stop()
	goal := c.Arrivals().Frames + n
	for c.Arrivals().Frames < goal {
		select {
		case <-c.wake:
		case <-limit.C:
			return false
		}
	}
	return true
}

// Missed is how many frames found no room in the Counter's own queue since the
// last call.
func (c *Counter) Missed() uint64 {
	s, err := c.conn.Stats()
	if err != nil {
		return 0
	}
	return uint64(s.Drops)
}

// Close ends it.
func (c *Counter) Close() { c.conn.Close() }
