package gptp

// announceIntervalSetting is AnnounceIntervalSetting (10.3.17).
func (p *port) announceIntervalSetting(v int8) {
	if p.ask("Announce", &p.intervals.announce, v) {
		p.announce.intervalChanged()
	}
}
