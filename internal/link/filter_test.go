package link

import (
	"testing"

	"golang.org/x/net/bpf"

	"tsnswitch"
)

// IEEE 802.3 3.2.6 (length/type up to 1500 is a length) and ISO/IEC 10589
// 8.4.8 (LLC FE FE 03). The tap prefix needs kernel metadata, which the
// virtual machine has not; TestControlFrames sees it at work.
func TestControlFrameFilter(t *testing.T) {
	vm, err := bpf.NewVM(controlFrame())
	must(t, err)
	da := tsn.MAC(controlGroups[0])
	for _, tc := range []struct {
		name  string
		frame []byte
		want  bool
	}{
		{"hello", ethernet(da, station, 46, 0xfe, 0xfe, 0x03, 0x83), true},
		{"longest length", ethernet(da, station, 1500, 0xfe, 0xfe, 0x03, 0x83), true},
		{"EtherType above 1500", ethernet(da, station, 1501, 0xfe, 0xfe, 0x03, 0x83), false},
		{"own", ethernet(da, station, 0x88b5), true},
		{"CFM", ethernet(da, station, 0x8902), true},
		{"next to own", ethernet(da, station, 0x88b6), false},
		{"IPv4", ethernet(da, station, 0x0800, 0xfe, 0xfe, 0x03, 0x83), false},
		{"STP", ethernet(da, station, 46, 0x42, 0x42, 0x03, 0x00), false},
		{"other DSAP", ethernet(da, station, 46, 0xaa, 0xfe, 0x03, 0x83), false},
		{"other SSAP", ethernet(da, station, 46, 0xfe, 0xaa, 0x03, 0x83), false},
		{"not UI", ethernet(da, station, 46, 0xfe, 0xfe, 0x7f, 0x83), false},
		{"cut after LLC", ethernet(da, station, 46, 0xfe, 0xfe), false},
		{"empty", nil, false},
	} {
		n, err := vm.Run(tc.frame)
		must(t, err)
		if (n > 0) != tc.want {
			t.Errorf("%s: filter keeps %d octets", tc.name, n)
		}
	}
	if _, err := controlFilter(); err != nil {
		t.Error(err)
	}
}
