package udplink_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tsnswitch/distlink"
	"tsnswitch/distlink/beamtest"
	"tsnswitch/distlink/udplink"
)

// 1 MB messages both ways at once through a bad network arrive intact and in
// order, or the link goes down; nothing is left running afterwards.
func TestMegabytesThroughLossyRelay(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Run("transfer", func(t *testing.T) {
		l, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		relayPort := beamtest.Port(t, "127.0.0.3")
		relay := beamtest.NewRelay(t, fmt.Sprintf("127.0.0.3:%d", relayPort), l.Addr().String(),
			&beamtest.Relay{Loss: 0.02, Duplicate: 0.02, Reorder: 0.02, Late: 2 * time.Millisecond})
		c, err := udplink.Dial(within(t), fmt.Sprintf("127.0.0.3:%d", relayPort), udplink.Config{Insecure: true})
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		const n = 5
		content := func(i int) []byte { return bytes.Repeat([]byte{byte(i), 2, 3, byte(i >> 1)}, 1<<18) }
		errs := make(chan error, 4)
		for _, link := range []*udplink.Link{c, s} {
			go func() {
				for i := range n {
					if err := link.Send(distlink.Message{Stream: 3, Data: content(i)}); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
			go func() {
				for i := range n {
					m, err := link.Recv()
					if err == nil && !bytes.Equal(m.Data, content(i)) {
						err = fmt.Errorf("message %d differs", i)
					}
					if err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if relay.Drops() == 0 || c.Stats().Retransmitted == 0 {
			t.Errorf("drops %d, retransmitted %d", relay.Drops(), c.Stats().Retransmitted)
		}
		_ = c.Close()
		_ = l.Close()
		if _, err := c.Recv(); !errors.Is(err, udplink.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
	goleak.VerifyNone(t, before)
}

// The peer's silence is an error within the keep-alive time.
func TestSilenceIsAnError(t *testing.T) {
	l, err := udplink.Listen(within(t), "127.0.0.1:0", udplink.Config{Insecure: true, Config: distlink.Config{KeepAlive: 200e6}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	relayPort := beamtest.Port(t, "127.0.0.3")
	relay := beamtest.NewRelay(t, fmt.Sprintf("127.0.0.3:%d", relayPort), l.Addr().String(), &beamtest.Relay{})
	c, err := udplink.Dial(within(t), fmt.Sprintf("127.0.0.3:%d", relayPort), udplink.Config{Insecure: true, Config: distlink.Config{KeepAlive: 200e6}})
	if err != nil {
		t.Fatal(err)
	}
	relay.Black()
	start := time.Now()
	_, err = c.Recv()
	var down *udplink.DownError
	if !errors.As(err, &down) || down.Code != distlink.CodeKeepAlive || time.Since(start) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
}

// A set-up that nobody answers ends with a reason.
func TestNobodyListens(t *testing.T) {
	port := beamtest.Port(t, "127.0.0.4")
	_, err := udplink.Dial(within(t), fmt.Sprintf("127.0.0.4:%d", port), udplink.Config{Insecure: true, Config: distlink.Config{SetupTimeout: 300e6}})
	var down *udplink.DownError
	if !errors.As(err, &down) || down.Code != distlink.CodeSetupTimeout {
		t.Errorf("error %v", err)
	}
}
