package daemon

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tsnswitch"
	"tsnswitch/internal/config"
	"tsnswitch/internal/ndproxy"
	"tsnswitch/spb"
)

// neighbours answers hosts that ask for stations elsewhere, where broadcast
// does not cross the fabric, and notes on ports that learn which address a
// station says it has: that is what other bridges answer from.
//
// A station's record has one address: IPv4 is preferred to a global IPv6
// address, and that to a link-local one.
type neighbours struct {
	mu      sync.Mutex
	proxy   ndproxy.Proxy
	answers bool
	said    map[tsn.MAC]saying
	unsaved bool
	full    uint64
	changed chan struct{}
}

type saying struct {
	address netip.Addr
	last    time.Time
}

// addressMemory survives a restart: hosts that know each other need not say
// their addresses again for a long time.
type addressMemory struct {
	Addresses map[tsn.MAC]netip.Addr `json:"addresses,omitempty"`
}

// load takes what an earlier run has noted.
func (n *neighbours) load(m addressMemory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = map[tsn.MAC]saying{}
	for mac, a := range m.Addresses {
		if a.IsValid() && len(n.said) < maxSayings {
			n.said[mac] = saying{address: a}
		}
	}
}

// save returns what to keep, if that is not on disk yet.
func (n *neighbours) save() (m addressMemory, unsaved bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.unsaved {
		return m, false
	}
	n.unsaved = false
	m.Addresses = map[tsn.MAC]netip.Addr{}
	for mac, s := range n.said {
		m.Addresses[mac] = s.address
	}
	return m, true
}

// addressOf is what the station has said, not valid if nothing.
func (n *neighbours) addressOf(mac tsn.MAC) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.said[mac].address
}

const (
	maxSayings   = 4096
	sayingKept   = time.Minute           // then another address of the same kind takes its place
	tableSpacing = 50 * time.Millisecond // between two readings of the stations
)

// sayingCounters are in status and metrics, beside those of the proxy.
type sayingCounters struct {
	TableFull uint64 // addresses not noted
}

func (n *neighbours) counters() (ndproxy.Counters, sayingCounters) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proxy.Counters(), sayingCounters{n.full}
}

// rank orders the kinds of addresses.
func rank(a netip.Addr) int {
	switch {
	case a.Is4():
		return 2
	case a.IsLinkLocalUnicast():
		return 0
	}
	return 1
}

// note reports whether the address is news of the station.
func (n *neighbours) note(mac tsn.MAC, a netip.Addr, now time.Time) bool {
	if n.said == nil {
		n.said = map[tsn.MAC]saying{}
	}
	old, known := n.said[mac]
	switch {
	case !known && len(n.said) >= maxSayings:
		n.full++
		return false
	case known && old.address == a:
		n.said[mac] = saying{a, now}
		return false
	case known && (rank(a) < rank(old.address) || rank(a) == rank(old.address) && now.Sub(old.last) < sayingKept):
		return false
	}
	n.said[mac], n.unsaved = saying{a, now}, true
	return true
}

func (n *neighbours) forget(mac tsn.MAC) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.said[mac]; known {
		delete(n.said, mac)
		n.unsaved = true
	}
}

// topologyChanged asks for a new table; it does not wait.
func (n *neighbours) topologyChanged() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// neighbourFrame takes an ARP or neighbour discovery frame of an edge port.
func (d *Daemon) neighbourFrame(port tsn.Port, frame []byte) (reply []byte) {
	n := &d.neighbours
	n.mu.Lock()
	reply, from := n.proxy.Receive(frame)
	i := slices.IndexFunc(d.cfg.Ports, func(p config.Port) bool { return p.Port == port })
	news := from.Address.IsValid() && i >= 0 && d.cfg.Ports[i].Learns() && n.note(from.MAC, from.Address, time.Now())
	n.mu.Unlock()
	if news {
		vid := from.VID
		if vid == 0 {
			vid = d.cfg.Ports[i].PVID
		}
		d.control.post(spb.StationSeen{MAC: from.MAC, VID: vid, Port: port, Address: from.Address})
	}
	return reply
}

// tellNeighbours says which ports were found to have no ingress check.
func (d *Daemon) tellNeighbours(unlocked []tsn.Port) {
	bare := slices.ContainsFunc(d.cfg.Ports, func(p config.Port) bool {
		return p.Role == "fabric" && slices.Contains(unlocked, p.Port)
	})
	mode := d.cfg.SPB.NeighbourProxy
	d.neighbours.mu.Lock()
	d.neighbours.answers = d.cfg.Role == config.RoleBridge && (mode == "on" || mode == "auto" && bare)
	d.neighbours.mu.Unlock()
	d.neighbours.topologyChanged()
}

// keepNeighbours keeps the table of stations elsewhere.
func (d *Daemon) keepNeighbours(ctx context.Context) {
	n := &d.neighbours
	n.topologyChanged()
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.changed:
		}
		n.mu.Lock()
		answers := n.answers
		n.mu.Unlock()
		if m, unsaved := n.save(); unsaved {
			if err := d.addresses.save(m); err != nil {
				d.log.Warn("stations' addresses are not kept for a restart", "err", err)
			}
		}
		if answers {
			var table map[netip.Addr]tsn.MAC
			if d.control.call(ctx, func() { table = elsewhere(d.machine.SPB.Stations(), d.cfg.SystemID) }) != nil {
				return
			}
			n.mu.Lock()
			n.proxy.SetTable(table)
			n.mu.Unlock()
		}
		select { // changes come in crowds
		case <-ctx.Done():
			return
		case <-time.After(tableSpacing):
		}
	}
}

// elsewhere is the table of what other bridges reach. The first record of a MAC
// is its owner's; an address that two stations have is that of the first, of
// which a configured one is before a learned one.
func elsewhere(stations []spb.Station, self tsn.MAC) map[netip.Addr]tsn.MAC {
	table, seen := map[netip.Addr]tsn.MAC{}, map[tsn.MAC]bool{}
	for _, learned := range []bool{false, true} {
		for _, s := range stations {
			a := s.ManagementAddress.Unmap().WithZone("")
			if s.Learned != learned || seen[s.MAC] {
				continue
			}
			seen[s.MAC] = true
			if _, taken := table[a]; !taken && a.IsValid() && s.Reachable && s.Bridge != self {
				table[a] = s.MAC
			}
		}
	}
	return table
}
