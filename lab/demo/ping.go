package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// pingResult counts answers; a duplicate is a second answer to one request,
// the mark of a loop or of two copies on the way.
type pingResult struct {
	Sent       int       `json:"sent"`
	Received   int       `json:"received"`
	Duplicates int       `json:"duplicates"`
	RTTMillis  []float64 `json:"rttMs"`
}

func (r pingResult) String() string {
	first := 0.0
	if len(r.RTTMillis) > 0 {
		first = r.RTTMillis[0]
	}
	return fmt.Sprintf("%d sent, %d answered, %d duplicates, first %.2f ms", r.Sent, r.Received, r.Duplicates, first)
}

// ping sends count echo requests from inside the space, each when the one
// before is answered or a second has passed, and listens a while longer for
// duplicates.
func (s *space) ping(ctx context.Context, to netip.Addr, count int, listen time.Duration) (pingResult, error) {
	var conn *icmp.PacketConn
	err := s.inside(func() (err error) {
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return pingResult{}, fmt.Errorf("ping from %s: %w", s.name, err)
	}
	defer conn.Close()
	id := os.Getpid() & 0xffff
	var res pingResult
	answered := make([]int, count)
	sentAt := make([]time.Time, count)
	buf := make([]byte, 1500)
	// read handles one packet; it says whether request seq was answered now.
	read := func(deadline time.Time) (seq int, ok bool) {
		_ = conn.SetReadDeadline(deadline)
		n, from, err := conn.ReadFrom(buf)
		if err != nil || from.(*net.IPAddr).IP.String() != to.String() {
			return 0, err == nil
		}
		m, err := icmp.ParseMessage(ipv4.ICMPTypeEcho.Protocol(), buf[:n])
		echo, isEcho := (*icmp.Echo)(nil), false
		if err == nil && m.Type == ipv4.ICMPTypeEchoReply {
			echo, isEcho = m.Body.(*icmp.Echo)
		}
		if !isEcho || echo.ID != id || echo.Seq >= count {
			return -1, true
		}
		answered[echo.Seq]++
		if answered[echo.Seq] == 1 {
			res.Received++
			res.RTTMillis = append(res.RTTMillis, float64(time.Since(sentAt[echo.Seq]).Microseconds())/1000)
		} else {
			res.Duplicates++
		}
		return echo.Seq, true
	}
	for seq := range count {
		if ctx.Err() != nil {
			return res, ctx.Err()
		}
		msg := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq, Data: make([]byte, 56)}}
		b, err := msg.Marshal(nil)
		if err != nil {
			return res, err
		}
		sentAt[seq] = time.Now()
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice()}); err != nil {
			return res, fmt.Errorf("ping from %s: %w", s.name, err)
		}
		res.Sent++
		for deadline := sentAt[seq].Add(time.Second); answered[seq] == 0; {
			if _, ok := read(deadline); !ok {
				break
			}
		}
	}
	for deadline := time.Now().Add(listen); ; {
		if _, ok := read(deadline); !ok {
			return res, nil
		}
	}
}
