package gptp

import (
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// A MasterOnly port accepts no grand master in any domain, says once who wanted
// to be one, counts every try, and goes on giving time.
func TestMasterOnly(t *testing.T) {
	s := newSolo(t, 2, func(c *Config) {
		patient(c)
		c.Domains = []DomainConfig{{Domain: 0}, {Domain: 20}}
		c.CommonLinkDelay = false
		c.Ports[0].MasterOnly = true
	})
	s.capable(1)
	s.capable(2)
	other := s.sys.instances[1].ports[0]
	other.asCapable = true
	other.info.capableChanged()
	s.step(tsn.Timeout{})
	s.out = nil

	s.receive(1, announceFrom(254, 0, neighbour.Clock)) // a host that does not know yet
	if s.noticed(NoticeAnnounceRefused) != 0 || s.portCounters(1).AnnounceRefused != 1 {
		t.Fatalf("a worse grand master: %v", s.notices)
	}
	for range 3 {
		s.receive(1, announceFrom(1, 0, neighbour.Clock))
		s.syncFrom(1, 1, s.at, 1)
	}
	in20 := announceFrom(1, 0, neighbour.Clock)
	in20.Domain = 20
	s.receive(1, in20)
	if !s.IsGrandMaster() || !s.sys.instances[1].IsGrandMaster() || s.portCounters(1).AnnounceRefused != 4 || other.count.AnnounceRefused != 1 {
		t.Fatalf("%+v", s.sys.Status())
	}
	if s.noticed(NoticeAnnounceRefused) != 2 {
		t.Fatalf("%v", s.notices)
	}
	last := s.notices[len(s.notices)-1]
	detail := last.Detail
	if last.Domain != 20 || !strings.Contains(detail, neighbour.String()) || !strings.Contains(detail, "priority1 1,") {
		t.Errorf("%q", detail)
	}
	st := s.Status().Ports
	if !st[0].MasterOnly || !st[0].AsCapable || st[0].State != MasterPort || st[1].MasterOnly {
		t.Errorf("%+v", st)
	}
	s.wait(150 * millisecond)
	if syncs, at := take[*ptpmsg.Sync](s); len(syncs) == 0 || at[0].port != 1 {
		t.Error("no Sync")
	}

	// The other port accepts the same; on the first one another link is told anew.
	s.link(1, false)
	s.capable(1)
	s.receive(1, announceFrom(1, 0, neighbour.Clock))
	if s.noticed(NoticeAnnounceRefused) != 3 {
		t.Errorf("%v", s.notices)
	}
	s.receive(2, announceFrom(1, 0, neighbour.Clock))
	if s.IsGrandMaster() {
		t.Error("port 2 refused it too")
	}
}
