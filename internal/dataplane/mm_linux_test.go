package dataplane

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/genetlink/genltest"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

var mmFamily = genetlink.Family{ID: 0x14, Version: 1, Name: unix.ETHTOOL_GENL_NAME}

// mmDevice is a MAC merge sublayer: it takes what is set, and tells it.
type mmDevice struct {
	t     testing.TB
	attrs map[uint16][]byte
	stats bool // were asked for
}

func (d *mmDevice) answer(m genetlink.Message, _ netlink.Message) ([]genetlink.Message, error) {
	ad, err := netlink.NewAttributeDecoder(m.Data)
	if err != nil {
		return nil, err
	}
	got := map[uint16][]byte{}
	for ad.Next() {
		got[ad.Type()] = ad.Bytes()
	}
	if err := ad.Err(); err != nil {
		return nil, err
	}
	if err := each(got[mmHeader], func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case unix.ETHTOOL_A_HEADER_DEV_NAME:
			if ad.String() != "p1" {
				d.t.Errorf("asked about %q", ad.String())
			}
		case unix.ETHTOOL_A_HEADER_FLAGS:
			d.stats = ad.Uint32() == ethtoolFlagStats
		}
	}); err != nil {
		return nil, err
	}
	if m.Header.Command == unix.ETHTOOL_MSG_MM_SET {
		for k, v := range got {
			d.attrs[k] = v
		}
		return nil, genltest.Error(0) // the acknowledgement
	}
	return []genetlink.Message{{Header: genetlink.Header{Command: unix.ETHTOOL_MSG_MM_GET_REPLY, Version: 1}, Data: d.reply()}}, nil
}

func (d *mmDevice) reply() []byte {
	ae := netlink.NewAttributeEncoder()
	for k := uint16(mmPMACEnabled); k <= mmVerifyTime; k++ {
		if v, ok := d.attrs[k]; ok {
			ae.Bytes(k, v)
		}
	}
	ae.Uint8(mmTxActive, 1)
	ae.Uint8(mmVerifyStatus, 3)
	if d.stats {
		ae.Nested(mmStats, func(ae *netlink.AttributeEncoder) error {
			for i := range uint16(6) {
				ae.Uint64(i+2, uint64(i)+10)
			}
			return nil
		})
	}
	b, err := ae.Encode()
	if err != nil {
		d.t.Fatal(err)
	}
	return b
}

func mmOf(t testing.TB, answer genltest.Func) *mmConn {
	m := newMM(genltest.Dial(genltest.ServeFamily(mmFamily, answer)))
	t.Cleanup(func() { m.close() })
	return m
}

// What is set is read back, with the state and the counters of 802.3 30.14.
func TestMACMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := &mmDevice{t: t, attrs: map[uint16][]byte{}}
		m := mmOf(t, d.answer)
		want := MACMerge{
			Enabled: rapid.Bool().Draw(rt, "enabled"), Verify: rapid.Bool().Draw(rt, "verify"),
			VerifyTime:  rapid.Int64Range(1, 128).Draw(rt, "ms") * msec,
			AddFragSize: uint8(rapid.IntRange(0, 3).Draw(rt, "size")),
		}
		if err := want.Validate(); err != nil {
			rt.Fatal(err)
		}
		if err := m.set("p1", want); err != nil {
			rt.Fatal(err)
		}
		got, err := m.get("p1")
		full := MACMergeStatus{MACMerge: want, Active: true, Verify: "succeeded", Counts: MACMergeCounters{10, 11, 12, 13, 14, 15}}
		if err != nil || !reflect.DeepEqual(got, full) {
			rt.Fatalf("%+v, %v; want %+v", got, err, full)
		}
	})
}

// A kernel without the messages, and a driver without the sublayer, are told
// apart from a fault.
func TestMACMergeMissing(t *testing.T) {
	m := mmOf(t, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, genltest.Error(int(unix.EOPNOTSUPP))
	})
	if _, err := m.get("p1"); !lacks(err) {
		t.Errorf("got %v", err)
	}
	m = mmOf(t, func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) { return nil, nil })
	if _, err := m.get("p1"); err == nil || lacks(err) {
		t.Errorf("no answer: %v", err)
	}
	none := newMM(genltest.Dial(func(genetlink.Message, netlink.Message) ([]genetlink.Message, error) {
		return nil, os.ErrNotExist
	}))
	defer none.close()
	if _, err := none.get("p1"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no ethtool netlink") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []MACMerge{{VerifyTime: 0}, {VerifyTime: 129 * msec}, {VerifyTime: msec + 1}, {VerifyTime: msec, AddFragSize: 4}} {
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}

// FuzzMACMerge: any reply is read or refused.
func FuzzMACMerge(f *testing.F) {
	d := &mmDevice{t: f, stats: true, attrs: map[uint16][]byte{mmTxEnabled: {1}, mmVerifyTime: {10, 0, 0, 0}}}
	f.Add(d.reply())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeMM(b)
		if err == nil && s.Counts != (MACMergeCounters{}) && len(b) < 12 {
			t.Fatalf("%+v from %d octets", s, len(b))
		}
	})
}

// FuzzQdisc: so are the options of etf and the statistics of gates.
func FuzzQdisc(f *testing.F) {
	ae := netlink.NewAttributeEncoder()
	encodeETF(etf{Delta: 5, ClockID: clockTAI, Flags: etfOffload})(ae)
	b, err := ae.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	ae = netlink.NewAttributeEncoder()
	ae.Uint64(2, 7)
	if b, err = ae.Encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := decodeETF(b); err == nil && e != (etf{}) && len(b) < 16 {
			t.Fatalf("%+v from %d octets", e, len(b))
		}
		var g GateCounters
		if err := each(b, g.decode); err == nil && g != (GateCounters{}) && len(b) < 12 {
			t.Fatalf("%+v from %d octets", g, len(b))
		}
	})
}

// etf's options round trip.
func TestETFRoundTrip(t *testing.T) {
	for _, device := range []bool{false, true} {
		want := launchETF(PortConfig{LaunchDelta: 123_456}, device)
		ae := netlink.NewAttributeEncoder()
		encodeETF(want)(ae)
		b, err := ae.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeETF(b); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
}
