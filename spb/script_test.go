package spb

import (
	"fmt"
	"math"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// script writes what happens in a lab as a text to read: a heading for each
// thing that is done, and below it what is sent and noticed. Of hellos only
// those are shown that say something else than the one before on their port, and
// LSPs that only refresh are left out with their acknowledgements.
type script struct {
	*lab
	text    strings.Builder
	start   tsn.Instant
	hello   map[string]string
	content map[isispdu.LSPID]string // of an LSP, without what numbers it
	seen    map[string]bool          // LSP ID and sequence number: a refresh
	told    int                      // notices written
}

func newScript(l *lab) *script {
	s := &script{lab: l, hello: map[string]string{}, content: map[isispdu.LSPID]string{}, seen: map[string]bool{}}
	l.tap = func(from int, e tsn.Send) bool {
		s.notices()
		if line := s.line(from, e); line != "" {
			fmt.Fprintf(&s.text, "%8d us  b%d port %d  %s\n", s.now.Sub(s.start)/1000, from+1, e.Port, line)
		}
		return true
	}
	return s
}

// do runs f under a heading, and then the lab for a while.
func (s *script) do(heading string, ns int64, f func()) {
	s.start = s.now
	fmt.Fprintf(&s.text, "\n%s\n", heading)
	f()
	s.run(ns)
	s.notices()
}

func (s *script) notices() {
	for ; s.told < len(s.log); s.told++ {
		if _, what, ok := strings.Cut(s.log[s.told], " "); ok {
			fmt.Fprintf(&s.text, "             notice  %s\n", what)
		}
	}
}

// line is one PDU on one line, "" if it says nothing new.
func (s *script) line(from int, e tsn.Send) string {
	_, _, b, err := isispdu.ParseFrame(e.Frame)
	if err != nil {
		return ""
	}
	pdu, err := isispdu.Parse(b)
	if err != nil {
		return err.Error()
	}
	switch p := pdu.(type) {
	case *isispdu.IIH:
		tw, _ := isispdu.Find[*isispdu.ThreeWay](p.TLVs)
		r, _ := isispdu.Find[*isispdu.Restart](p.TLVs)
		line, port := fmt.Sprintf("hello %s, %s", tw.State, r), fmt.Sprint(from, e.Port)
		line = strings.TrimSuffix(line, ", restart")
		if s.hello[port] == line {
			return ""
		}
		s.hello[port] = line
		return line
	case *isispdu.LSP:
		version := fmt.Sprintf("%s/%d", p.ID, p.SequenceNumber)
		body := string(b[26:]) // flags and TLVs
		refresh, known := s.seen[version]
		if refresh || !known && s.content[p.ID] == body && s.now.Sub(s.start) > 300*second {
			s.seen[version] = true
			return ""
		}
		s.seen[version], s.content[p.ID] = false, body
		line := fmt.Sprintf("LSP %s sequence %d", p.ID, p.SequenceNumber)
		if p.RemainingLifetime == 0 {
			return line + " purged"
		}
		if p.Flags&isispdu.FlagOverload != 0 {
			line += " overload"
		}
		for _, t := range isispdu.All[*isispdu.ExtISReach](p.TLVs) {
			for _, n := range t.Neighbors {
				line += " -> " + n.ID.System().String()[12:]
			}
		}
		return line
	case *isispdu.CSNP:
		return "CSNP" + entriesText(p.TLVs)
	case *isispdu.PSNP:
		for _, t := range isispdu.All[*isispdu.LSPEntries](p.TLVs) {
			for _, e := range t.Entries {
				if !s.seen[fmt.Sprintf("%s/%d", e.ID, e.SequenceNumber)] {
					return "PSNP" + entriesText(p.TLVs)
				}
			}
		}
	}
	return ""
}

func entriesText(tlvs []isispdu.TLV) string {
	s := ""
	for _, t := range isispdu.All[*isispdu.LSPEntries](tlvs) {
		for _, e := range t.Entries {
			s += fmt.Sprintf(" %s/%d", e.ID, e.SequenceNumber)
			if e.RemainingLifetime == 0 && e.SequenceNumber != 0 {
				s += " purged"
			}
		}
	}
	return s
}

func (s *script) restart(k int) {
	s.lab.start(k)
	for _, link := range s.links {
		for side := range 2 {
			if link.node[side] == k && link.up {
				s.step(k, tsn.LinkChanged{Port: link.port[side], Up: true, Rate: tsn.Gbps})
			}
		}
	}
}

// scriptLab is a line of n bridges without end stations.
func scriptLab(t *testing.T, n int, change func(k int, c *Config)) *script {
	return newScript(newLab(t, n, line(n), func(k int, c *Config) {
		c.BaseVIDs, c.EndStations = c.BaseVIDs[:1], nil
		if change != nil {
			change(k, c)
		}
	}))
}

// The scripts in testdata, one for each way in which the protocol leaves its
// quiet state.
func TestScripts(t *testing.T) {
	for name, run := range map[string]func(t *testing.T) *script{
		"restart": scriptRestart, "start": scriptStart, "purge": scriptPurge,
		"duplicate": scriptDuplicate, "wrap": scriptWrap, "overload": scriptOverload,
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", strings.TrimPrefix(run(t).text.String(), "\n"))
		})
	}
}

// RFC 8706: a daemon that dies and comes back, unnoticed behind its neighbours.
func scriptRestart(t *testing.T) *script {
	s := scriptLab(t, 3, func(_ int, c *Config) { c.StartupHold = 3 * second })
	s.do("three bridges in a line start beside kernels that forward already", second, s.allUp)
	s.do("the daemon of b2 is killed and starts again", 2*second, func() {
		kernel := s.nodes[1].state
		s.nodes[1].cfg.Adopted = &kernel
		s.restart(1)
	})
	return s
}

// RFC 8706 s3.4.1.2: a bridge that has nothing to keep.
func scriptStart(t *testing.T) *script {
	s := scriptLab(t, 3, nil)
	s.nodes[2].cfg.SuppressOnStart = 5 * second
	s.nodes[2].dead = true
	s.do("b1 and b2", second, func() { s.setLink(0, true); s.setLink(1, true) })
	s.do("b3 starts, and asks b2 to wait", 2*second, func() { s.restart(2) })
	return s
}

// ISO/IEC 10589 7.3.16.4: stations that need more fragments come and go; a
// bridge that is gone ages out.
func scriptPurge(t *testing.T) *script {
	s := scriptLab(t, 3, func(_ int, c *Config) { c.HelloInterval, c.CSNPInterval = 20*second, 3600*second })
	s.do("three bridges in a line", second, s.allUp)
	s.do("80 stations come to b1", second, func() { s.step(0, SetEndStations{Stations: manyStations(80)}) })
	s.do("they leave: the fragments that were added are purged", second, func() { s.step(0, SetEndStations{}) })
	s.do("b3 is cut off: its LSP reaches its age and is purged, then forgotten", 1300*second, func() { s.setLink(1, false) })
	fmt.Fprint(&s.text, "\nthe database of b1\n")
	for _, d := range s.nodes[0].Database() {
		fmt.Fprintln(&s.text, d.ID)
	}
	return s
}

// ISO/IEC 10589 7.3.16.1: two bridges with one system id.
func scriptDuplicate(t *testing.T) *script {
	s := scriptLab(t, 3, func(k int, c *Config) {
		c.CSNPInterval = 3600 * second
		if k == 2 {
			c.SystemID, c.HostName = nodeMAC(0), "clone"
		}
	})
	s.do("b1 and b2", second, func() { s.setLink(0, true) })
	s.do("b3 has the system id of b1", 8*second, func() { s.setLink(1, true) })
	fmt.Fprintf(&s.text, "\nb1 says: %s\n", s.nodes[0].Status().DuplicateSystem)
	return s
}

// ISO/IEC 10589 7.3.16.1: the sequence numbers run out.
func scriptWrap(t *testing.T) *script {
	s := scriptLab(t, 2, func(_ int, c *Config) { c.HelloInterval, c.CSNPInterval = 20*second, 3600*second })
	s.do("two bridges", second, s.allUp)
	s.do("b1 uses its last but one number, and then changes twice", second, func() {
		s.nodes[0].own.sequence[0] = math.MaxUint32 - 1
		s.step(0, SetOverload{On: true})
		s.run(100 * millisecond)
		s.step(0, SetOverload{})
	})
	s.do("silence, until every copy must be gone", 1262*second, func() {})
	return s
}

// Overload: drained by the operator; and a database that is full.
func scriptOverload(t *testing.T) *script {
	s := scriptLab(t, 3, func(k int, c *Config) {
		c.CSNPInterval = 3600 * second
		if k == 2 {
			c.Caps.MaxLSPs = 2
		}
	})
	s.do("b1 and b2", second, func() { s.setLink(0, true) })
	s.do("b2 is drained", second, func() { s.step(1, SetOverload{On: true, Reason: "fan failed"}) })
	s.do("and comes back", second, func() { s.step(1, SetOverload{}) })
	s.do("b3 has room for two LSPs, its own and one more", second, func() { s.setLink(1, true) })
	fmt.Fprintf(&s.text, "\nb3 says: %s\n", s.nodes[2].Status().OverloadReason)
	return s
}
