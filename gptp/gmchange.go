package gptp

import (
	"bytes"
	"fmt"

	tsn "tsnswitch"
)

// identityParts are the parts of a systemIdentity in the order of their rank.
var identityParts = []struct {
	name     string
	from, to int
}{
	{"priority1", 0, 1},
	{"clockClass", 1, 2},
	{"clockAccuracy", 2, 3},
	{"offsetScaledLogVariance", 3, 5},
	{"priority2", 5, 6},
	{"clockIdentity", 6, 14},
}

// betterBy says what makes a better than b, or "" if it is not.
func (s systemIdentity) betterBy(b systemIdentity) string {
	for _, p := range identityParts {
		switch mine, other := s[p.from:p.to], b[p.from:p.to]; bytes.Compare(mine, other) {
		case -1:
			return fmt.Sprintf("better %s, %s < %s", p.name, rankText(mine), rankText(other))
		case 1:
			return ""
		}
	}
	return ""
}

func rankText(b []byte) string {
	switch len(b) {
	case 1:
		return fmt.Sprint(b[0])
	case 2:
		return fmt.Sprintf("0x%x", b)
	}
	return fmt.Sprintf("%x", b)
}

// gmBefore is what a change of grand master is told from.
type gmBefore struct {
	root  systemIdentity
	slave *port
	lost  string // kind of the Notice that took it away; empty: it is still there
}

func (b *portStateSelection) before() gmBefore {
	g := gmBefore{root: b.gm.root, slave: b.slavePort}
	if g.slave != nil && g.slave.info.is != infoReceived {
		g.lost = b.in.state.why
	}
	return g
}

// tellGrandMaster gives the Notice of another grand master: the old one, the new
// one, and why.
func (b *portStateSelection) tellGrandMaster(old gmBefore) {
	if b.gm.root.clock() == old.root.clock() {
		return
	}
	why := b.gm.root.betterBy(old.root)
	switch {
	case old.lost != "":
		why = fmt.Sprintf("%s at port %d", old.lost, old.slave.cfg.Port)
	case why != "" && b.slavePort != nil:
		why += fmt.Sprintf(", at port %d", b.slavePort.cfg.Port)
	case why == "" && b.slavePort != nil:
		why = fmt.Sprintf("port %d tells of another one", b.slavePort.cfg.Port)
	case why == "":
		why = "no port tells of one any more"
	}
	b.in.notice(NoticeGrandMaster, tsn.NoPort, fmt.Sprintf("%s -> %s: %s", old.root.clock(), b.gm.root.clock(), why))
}
