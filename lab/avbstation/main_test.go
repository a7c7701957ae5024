package main

import (
	"strings"
	"testing"

	"tsnswitch"
	"tsnswitch/internal/avbstation"
)

func TestTalker(t *testing.T) {
	s := &station{Station: &avbstation.Station{MAC: tsn.MAC{2, 0, 0, 0, 0, 1}}, vid: 2}
	got, err := s.talker("7:91:e0:f0:00:fe:01:224")
	if err != nil || got.StreamID.String() != "02-00-00-00-00-01:0007" || got.DestinationAddress.String() != "91:e0:f0:00:fe:01" || got.MaxFrameSize != 224 || got.VID != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"": "want ID:ADDRESS:OCTETS", "7": "want ID:ADDRESS:OCTETS", "x:91:e0:f0:00:fe:01:224": "invalid syntax",
		"7:91:e0:f0:00:fe:224": "six octets", "7:91:e0:f0:00:fe:01:70000": "out of range",
	} {
		if _, err := s.talker(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
