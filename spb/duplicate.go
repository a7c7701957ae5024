package spb

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

const (
	// suspicion is how many times in a row somebody must outdo an own LSP
	// fragment before another bridge with our system id is the explanation. A
	// restart or a purge by mistake outdoes a fragment once.
	suspicion = 3
	// evidence of a duplicate counts for so long.
	evidence = 120 * second
)

// duplicate is what this bridge knows about another one with its system id.
type duplicate struct {
	fights [maxFragments]uint8 // times that each own fragment was outdone
	until  tsn.Instant         // evidence goes stale
	why    string              // "": no duplicate
}

// outdone takes note that a port brought an own LSP newer than ours.
func (i *Instance) outdone(p *port, id isispdu.LSPID) {
	n := id.Fragment()
	if i.dup.fights[n]++; i.dup.fights[n] >= suspicion {
		i.dup.fights[n] = 0
		i.duplicateSystem(p, fmt.Sprintf("somebody behind port %d keeps sending our LSP %s: another bridge has our system id", p.cfg.Port, id))
	}
}

// duplicateHello is a hello from our own system id: of another bridge, or of
// ourselves.
func (i *Instance) duplicateHello(p *port) {
	i.counters.Drops.DuplicateSystem++
	i.duplicateSystem(p, fmt.Sprintf("port %d hears hellos from our own system id: another bridge has it, or the port is cabled back to this bridge", p.cfg.Port))
}

// duplicateSystem reports a duplicate, again only after it had been gone.
func (i *Instance) duplicateSystem(p *port, why string) {
	if i.dup.why == "" {
		i.notice(NoticeDuplicateSystem, p.cfg.Port, why+": give each bridge its own")
	}
	i.dup.why, i.dup.until = why, i.now.Add(evidence)
}

// deadline is when old evidence is dropped.
func (d *duplicate) deadline() tsn.Instant {
	if d.why == "" {
		return tsn.Never
	}
	return d.until
}

func (d *duplicate) expire(now tsn.Instant) {
	if d.until <= now {
		d.why = ""
	}
}
