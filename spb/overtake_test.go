package spb

import "testing"

// ISO/IEC 10589 7.3.16.1: a system that hears an LSP of its own earlier life
// overtakes it. Copies over many links, and repeated ones, are one LSP: they
// must not postpone that again and again.
func TestOvertakeOnce(t *testing.T) {
	var links [][2]int
	for range 8 {
		links = append(links, [2]int{0, 1})
	}
	l := newLab(t, 2, links, func(_ int, c *Config) { c.RetransmitInterval = 500 * millisecond })
	l.allUp()
	l.run(30 * second)
	for n := range links { // the other way to a high number
		l.setLink(n, false)
		l.run(second)
	}
	l.start(1)
	l.allUp()
	l.run(3 * second)
	l.sameDatabases()
	if n := l.nodes[1].Counters().Originations; n < 2 {
		t.Errorf("%d originations since the restart", n)
	}
}
