package gptp

// syncIntervalSetting is SyncIntervalSetting (10.3.18): the neighbour asks how
// often this port sends Sync while it is a master.
func (p *port) syncIntervalSetting(v int8) {
	if !p.ask("Sync", &p.intervals.sync, v) {
		return
	}
	if m := &p.in.master; m.active {
		m.next = min(m.next, p.in.sys.now.Add(m.interval()))
	}
}
