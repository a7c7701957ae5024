package gptp

import tsn "tsnswitch"

// PortAnnounceInformationExt (10.3.14): with external port configuration the
// SlavePort takes every qualified Announce, whatever its priority, and nothing
// it hears or misses changes a state.

// receivedExt is rcvInfoExt (10.3.14.2.1), with recordOtherAnnounceInfo.
func (m *portAnnounceInformation) receivedExt(v priorityVector, info announceInfo) {
	if m.state != SlavePort {
		m.p.count.AnnounceDiscarded++
		return
	}
	if m.is != infoReceived || v != m.priority {
		m.is, m.priority = infoReceived, v
		m.armSync()
		m.p.in.bmca.reselect = true
	}
	m.heard(info)
}

// syncTimeoutExt leaves the state, and the Announce that names the grand
// master: the next Sync from there is as good as ever.
func (m *portAnnounceInformation) syncTimeoutExt() {
	m.syncLost = true
	m.syncTimeout = tsn.Never
	m.p.in.bmca.reselect = true
}

// syncReturned ends what syncTimeoutExt began.
func (m *portAnnounceInformation) syncReturned() {
	if m.syncLost {
		m.syncLost = false
		m.p.in.bmca.reselect = true
	}
}
