package spb

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// A group address that begins with 33:33 belongs to IPv6: no bridge chooses
// such a number, none can be configured, and one that somebody else uses
// makes no entry.
func TestSourceIDLeavesIPv6Alone(t *testing.T) {
	services := []Service{{ISID: 0x1000, VID: vidA, Transmit: true, Receive: true}}
	l := newLab(t, 2, line(2), func(k int, c *Config) {
		c.Services = services
		if k == 0 {
			c.SystemID = tsn.MAC{2, 0, 0, 0x03, 0x33, 0x05}
		}
	})
	l.allUp()
	l.run(5 * second)
	for k, n := range l.nodes {
		g := n.Services()[0].Group
		if g.IsZero() || g[0] == 0x33 && g[1] == 0x33 {
			t.Errorf("b%d sends to %s", k+1, g)
		}
		if !slices.ContainsFunc(n.state.MDB, func(e tsn.MDBEntry) bool { return e.Group == g }) {
			t.Errorf("b%d has no entry for %s", k+1, g)
		}
	}
	c := l.nodes[0].cfg
	c.SPSourceID = 0x33312
	if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "IPv6") {
		t.Errorf("0x33312: %v", err)
	}
	for v, want := range map[uint32]bool{0: false, 0x332ff: true, 0x33300: false, 0x333ff: false, 0x33400: true, 0x00333: true} {
		if validSource(v) != want {
			t.Errorf("%#x: valid %t", v, !want)
		}
	}
}
