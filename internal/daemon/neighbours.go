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
// A station's own record has one address: IPv4 is preferred to a global IPv6
// address, and that to a link-local one. If it has said more, all of them are in
// a record of their own (GENINFO, RFC 6823): type 1, key the MAC, value the
// addresses of 16 octets each, IPv4 mapped.
type neighbours struct {
	mu      sync.Mutex
	proxy   ndproxy.Proxy
	answers bool
	said    map[tsn.MAC]saying   // the one in the station's record
	all     map[tsn.MAC][]saying // every one, that one too
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
	Addresses map[tsn.MAC][]netip.Addr `json:"addresses,omitempty"` // the preferred one first
}

// load takes what an earlier run has noted.
func (n *neighbours) load(m addressMemory) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said, n.all = map[tsn.MAC]saying{}, map[tsn.MAC][]saying{}
	for mac, list := range m.Addresses {
		if len(n.said) >= maxSayings || len(list) == 0 || slices.ContainsFunc(list, func(a netip.Addr) bool { return !a.IsValid() }) {
			continue
		}
		n.said[mac] = saying{address: list[0]}
		for _, a := range list[:min(len(list), maxAddresses)] {
			n.all[mac] = append(n.all[mac], saying{address: a})
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
	m.Addresses = map[tsn.MAC][]netip.Addr{}
	for mac, s := range n.said {
		list := []netip.Addr{s.address}
		for _, other := range n.all[mac] {
			if other.address != s.address {
				list = append(list, other.address)
			}
		}
		m.Addresses[mac] = list
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
	maxAddresses = 8 // of a station

	// applicationAddresses is not registered; it is next to that of stations.
	applicationAddresses = 65533
	recordAddresses      = 1

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

// noteAll notes the address among all of the station, and reports whether that
// is news.
func (n *neighbours) noteAll(mac tsn.MAC, a netip.Addr, now time.Time) bool {
	if _, known := n.said[mac]; !known {
		return false // the table is full
	}
	if n.all == nil {
		n.all = map[tsn.MAC][]saying{}
	}
	list := n.all[mac]
	for i := range list {
		if list[i].address == a {
			list[i].last = now
			return false
		}
	}
	if len(list) < maxAddresses {
		n.all[mac], n.unsaved = append(list, saying{a, now}), true
		return true
	}
	oldest := 0
	for i := range list {
		if list[i].last.Before(list[oldest].last) {
			oldest = i
		}
	}
	if now.Sub(list[oldest].last) < sayingKept {
		n.full++
		return false
	}
	list[oldest], n.unsaved = saying{a, now}, true
	return true
}

// record is what to publish of a station, nil if it has said but one address.
func (n *neighbours) record(mac tsn.MAC) tsn.Event {
	list := n.all[mac]
	if len(list) < 2 {
		return nil
	}
	p := spb.PublishRecord{Application: applicationAddresses, Type: recordAddresses, Key: mac[:]}
	for _, s := range list {
		b := s.address.As16()
		p.Value = append(p.Value, b[:]...)
	}
	return p
}

// recordOf is record, for callers without the lock.
func (n *neighbours) recordOf(mac tsn.MAC) tsn.Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.record(mac)
}

func (n *neighbours) forget(mac tsn.MAC) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.all, mac)
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
	learns := from.Address.IsValid() && i >= 0 && d.cfg.Ports[i].Learns()
	news := learns && n.note(from.MAC, from.Address, time.Now())
	var record tsn.Event
	if learns && n.noteAll(from.MAC, from.Address, time.Now()) {
		record = n.record(from.MAC)
	}
	n.mu.Unlock()
	if news {
		vid := from.VID
		if vid == 0 {
			vid = d.cfg.Ports[i].PVID
		}
		d.control.post(spb.StationSeen{MAC: from.MAC, VID: vid, Port: port, Address: from.Address})
	}
	if record != nil {
		d.control.post(record)
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
	d.neighbours.answers = d.cfg.HasFabric() && (mode == "on" || mode == "auto" && bare)
	d.neighbours.mu.Unlock()
	d.neighbours.topologyChanged()
}

// keepNeighbours keeps the table of stations elsewhere.
func (d *Daemon) keepNeighbours(ctx context.Context) {
	n := &d.neighbours
	n.topologyChanged()
	d.control.post(spb.WatchRecords{Application: applicationAddresses, On: true})
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
			err := d.control.call(ctx, func() {
				stations := d.machine.SPB.Stations()
				stations = append(stations, said(stations, d.machine.SPB.Records(applicationAddresses))...)
				table = elsewhere(stations, d.cfg.SystemID)
			})
			if err != nil {
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

// said are the further addresses of learned stations, from the records of the
// bridges that own them.
func said(stations []spb.Station, records []spb.NodeRecords) (out []spb.Station) {
	owner := map[tsn.MAC]spb.Station{}
	for _, s := range stations {
		if _, known := owner[s.MAC]; !known {
			owner[s.MAC] = s
		}
	}
	for _, n := range records {
		for _, r := range n.Records {
			if r.Type != recordAddresses || len(r.Key) != 6 || len(r.Value)%16 != 0 || len(r.Value) > 16*maxAddresses {
				continue
			}
			s, known := owner[tsn.MAC(r.Key)]
			if !known || s.Bridge != n.SystemID || !s.Learned {
				continue
			}
			for v := r.Value; len(v) > 0; v = v[16:] {
				s.ManagementAddress = netip.AddrFrom16([16]byte(v[:16])).Unmap()
				out = append(out, s)
			}
		}
	}
	return out
}

// elsewhere is the table of what other bridges reach. The first record of a MAC
// is its owner's; an address that two stations have is that of the first, of
// which a configured one is before a learned one.
func elsewhere(stations []spb.Station, self tsn.MAC) map[netip.Addr]tsn.MAC {
	table, owner := map[netip.Addr]tsn.MAC{}, map[tsn.MAC]tsn.MAC{}
	for _, learned := range []bool{false, true} {
		for _, s := range stations {
			if s.Learned != learned {
				continue
			}
			if bridge, known := owner[s.MAC]; known && bridge != s.Bridge {
				continue
			}
			owner[s.MAC] = s.Bridge
			a := s.ManagementAddress.Unmap().WithZone("")
			if _, taken := table[a]; !taken && a.IsValid() && s.Reachable && s.Bridge != self {
				table[a] = s.MAC
			}
		}
	}
	return table
}
