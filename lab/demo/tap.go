package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// A tap counts what passes an interface, as a bystander: it changes nothing.
type tap struct {
	conn  *packet.Conn
	done  chan struct{}
	mu    sync.Mutex
	count map[string]int
	pcap  *pcapgo.Writer
	file  *os.File
}

// openTap listens on an interface of the space; with a file name it also
// writes what it sees, for a protocol analyser.
func (s *space) openTap(ifname, file string) (*tap, error) {
	t := &tap{done: make(chan struct{}), count: map[string]int{}}
	err := s.inside(func() error {
		ifi, err := net.InterfaceByName(ifname)
		if err != nil {
			return err
		}
		t.conn, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen on %s:%s: %w", s.name, ifname, err)
	}
	if file != "" {
		if t.file, err = os.Create(file); err != nil {
			t.conn.Close()
			return nil, err
		}
		t.pcap = pcapgo.NewWriter(t.file)
		if err := t.pcap.WriteFileHeader(2048, layers.LinkTypeEthernet); err != nil {
			t.conn.Close()
			return nil, err
		}
	}
	go t.listen()
	return t, nil
}

func (t *tap) listen() {
	defer close(t.done)
	buf := make([]byte, 2048)
	for {
		n, _, err := t.conn.ReadFrom(buf)
		if errors.Is(err, unix.ENETDOWN) {
			continue // once when the interface goes down; it may come back
		}
		if err != nil {
			return
		}
		kind := frameKind(buf[:n])
		t.mu.Lock()
		t.count[kind]++
		if t.pcap != nil {
			_ = t.pcap.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: n, Length: n}, buf[:n])
		}
		t.mu.Unlock()
	}
}

// frameKind names what a frame is, as far as the lab counts it.
func frameKind(b []byte) string {
	var eth ethernet.Frame
	if err := eth.UnmarshalBinary(b); err != nil {
		return "undecodable"
	}
	switch {
	case eth.EtherType == 0x88f7:
		return "gptp"
	case eth.EtherType <= 1500: // a length: LLC follows
		return "isis"
	}
	p := gopacket.NewPacket(eth.Payload, layers.EthernetType(eth.EtherType), gopacket.DecodeOptions{Lazy: true, NoCopy: true})
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		return fmt.Sprintf("arp-%d from %s for %s", arp.Operation, net.HardwareAddr(arp.SourceHwAddress), net.IP(arp.DstProtAddress))
	}
	if icmp, ok := p.Layer(layers.LayerTypeICMPv4).(*layers.ICMPv4); ok {
		return "icmp " + icmp.TypeCode.String()
	}
	return layers.EthernetType(eth.EtherType).String()
}

// counts returns a copy of what was seen so far.
func (t *tap) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]int, len(t.count))
	for k, v := range t.count {
		out[k] = v
	}
	return out
}

func (t *tap) close() {
	t.conn.Close()
	<-t.done
	if t.file != nil {
		t.file.Close()
	}
}
