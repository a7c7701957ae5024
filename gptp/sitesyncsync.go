package gptp

// siteSyncSync is SiteSyncSync (10.2.7): what comes from the slave port, or
// from ClockMaster while this node is grand master, goes to the clock and to
// every other port.
func (i *Instance) siteSyncSync(s portSyncSync) {
	if !i.bmca.gmPresent || s.from != i.bmca.slavePort {
		return
	}
	if s.from != nil {
		i.slave.receive(s)
		s.rateDrift = i.slave.servo.drift * 1e-9
	}
	for _, p := range i.ports {
		p.sendSync(s)
	}
}
