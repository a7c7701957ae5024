package gptp

import (
	"slices"
	"testing"

	tsn "tsnswitch"
)

// Cold start: however far apart the nodes of a chain are powered on, all ports
// are asCapable 3.5 s after the last, and all clocks synced after 5 s; with port
// states from outside, so that no Announce has to be waited for, after 2 s.
func TestColdStart(t *testing.T) {
	external := func(p profile) profile {
		return profile{p.name, func(i int, c *Config) {
			softThreshold(i, c)
			c.Domains[0].ExternalPortConfiguration = true
			c.Domains[0].DesiredStates = map[tsn.Port]PortState{1: SlavePort, 2: MasterPort}
			if i == 0 {
				c.Domains[0].DesiredStates[1] = MasterPort
			}
		}, p.node}
	}
	for _, c := range []struct {
		name    string
		profile profile
		apart   int64 // ns that nodes are powered on within
		synced  int64 // ms
	}{
		{"hardware", steady, 0, 5000},
		{"hardware", steady, 20 * second, 5000},
		{"software", soft, 0, 5000},
		{"software", soft, 20 * second, 5000},
		{"hardware, external", external(steady), 0, 2000},
		{"software, external", external(soft), 0, 2000},
	} {
		var capable, synced []int64
		for seed := range int64(30) {
			a, b := c.profile.coldStart(t, seed, 4, c.apart)
			capable, synced = append(capable, a), append(synced, b)
		}
		slices.Sort(capable)
		slices.Sort(synced)
		t.Logf("%-18s within %2d s: asCapable after %4d ms (median) %4d (most), synced after %4d, %4d", c.name, c.apart/second,
			capable[15], capable[29], synced[15], synced[29])
		if capable[29] > 3500 || synced[29] > c.synced {
			t.Errorf("%s: too slow", c.name)
		}
	}
}

// coldStart powers a chain on and returns the times, ms, from the last node's
// power on to all asCapable and to all synced.
func (p profile) coldStart(t testing.TB, seed int64, hops int, apart int64) (capable, synced int64) {
	s := newSim(t, seed)
	n := s.chain(hops+1, p.config)
	last := int64(0)
	for i, x := range n {
		p.node(i, x, s.rng)
		if apart > 0 {
			x.dead = true
			at := s.rng.Int63n(apart)
			last = max(last, at)
			s.after(at, func() {
				x.dead = false
				x.restart(x.offset, x.ppm)
			})
		}
	}
	s.run(last)
	capable = s.until(20*second, func() bool {
		return !slices.ContainsFunc(n[1:], func(x *simNode) bool { return !x.portStatus(1).AsCapable })
	})
	synced = s.until(20*second, func() bool {
		return !slices.ContainsFunc(n, func(x *simNode) bool { return !x.Synced() || x.GrandMaster() != n[0].sys.cfg.ClockIdentity })
	})
	return (capable - last) / millisecond, (synced - last) / millisecond
}
