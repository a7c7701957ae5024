package daemon

import (
	"testing"

	"tsnswitch/internal/dataplane"
	"tsnswitch/spb"
)

// The data plane keeps back what the core sends to groups.
func TestProbeIsKeptBack(t *testing.T) {
	if !dataplane.IsControlGroup(spb.EdgeProbeGroup) {
		t.Errorf("the bridge forwards %s", spb.EdgeProbeGroup)
	}
}
