package gptp

// sendSync is PortSyncSyncSend (10.2.12): a master port passes the information
// on at once. A Sync is never repeated on a timer with old information: a relay
// sends as often as it receives, but not more often than its syncInterval. The
// interval announced to the neighbour is the slower of the two, so that its
// receipt time-out fits.
func (p *port) sendSync(s portSyncSync) {
	if p == s.from || p.info.state != MasterPort || !p.asCapable {
		return
	}
	log, own := p.intervals.sync.current, p.intervals.sync.ns()
	if own == forever {
		return
	}
	if s.from != nil {
		// Equal intervals are syncLocked (10.2.12.2): half an interval absorbs the
		// jitter of arrival. A faster master is thinned out to our own rate.
		gap := own / 2
		if s.logInterval < log {
			gap = own - intervalNS(s.logInterval)/2
		}
		if p.tx.sentOnce && p.in.sys.now.Sub(p.tx.lastSync) < gap {
			return
		}
		s.logInterval = max(s.logInterval, log)
	} else {
		// ClockMaster ticks at the fastest port's interval.
		if p.tx.sentOnce && p.in.sys.now.Sub(p.tx.lastSync) < own-p.in.master.interval()/2 {
			return
		}
		s.logInterval = log
	}
	p.tx.send(s)
}
