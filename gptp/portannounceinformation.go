package gptp

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// infoIs says where a port's priority vector comes from (10.3.10.3).
type infoIs uint8

const (
	infoDisabled infoIs = iota
	infoReceived
	infoMine
	infoAged
)

// PortState is a port's role in the tree of time (table 10-2).
type PortState uint8

// The states.
const (
	DisabledPort PortState = iota // not asCapable
	MasterPort                    // gives time
	SlavePort                     // takes time
	PassivePort                   // another way to a master that has a better one
)

var portStateNames = [...]string{"DisabledPort", "MasterPort", "SlavePort", "PassivePort"}

// String gives the standard's name.
func (s PortState) String() string { return portStateNames[s&3] }

// MarshalText prints the state as String does.
func (s PortState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (s *PortState) UnmarshalText(b []byte) error {
	k := slices.Index(portStateNames[:], string(b))
	if k < 0 {
		return fmt.Errorf("no such port state: %q", b)
	}
	*s = PortState(k)
	return nil
}

// announceInfo is what a qualified Announce says beside its priority vector.
type announceInfo struct {
	path        []ptpmsg.ClockIdentity
	tlvs        []ptpmsg.TLV // to pass on as they are
	properties  timeProperties
	logInterval int8
}

// portAnnounceInformation is PortAnnounceInformation (10.3.12): the best
// information this port has, and when it is too old.
type portAnnounceInformation struct {
	p        *port
	is       infoIs
	state    PortState      // set by PortStateSelection
	priority priorityVector // portPriorityVector
	info     announceInfo

	announceTimeout tsn.Instant // Never unless is == infoReceived
	syncTimeout     tsn.Instant // Never unless state == SlavePort
	syncInterval    int64       // last told by the neighbour, ns
	syncLost        bool        // sync receipt time-out, with external port configuration
}

func (m *portAnnounceInformation) init(p *port) {
	m.p, m.announceTimeout, m.syncTimeout = p, tsn.Never, tsn.Never
	m.syncInterval = intervalNS(p.cfg.LogSyncInterval)
}

// capableChanged enters DISABLED, or leaves it for AGED.
func (m *portAnnounceInformation) capableChanged() {
	if m.p.asCapable {
		m.age()
		return
	}
	m.p.in.state.lost(m.p, NoticeNotAsCapable)
	m.is, m.info, m.syncLost = infoDisabled, announceInfo{}, false
	m.announceTimeout, m.syncTimeout = tsn.Never, tsn.Never
	m.p.in.bmca.reselect = true
}

// age enters AGED: selection will make the port a master.
func (m *portAnnounceInformation) age() {
	m.is, m.info, m.syncLost = infoAged, announceInfo{}, false
	m.announceTimeout, m.syncTimeout = tsn.Never, tsn.Never
	m.p.in.bmca.reselect = true
}

// received is rcvInfo (10.3.12.2.1) and the states behind it.
func (m *portAnnounceInformation) received(v priorityVector, info announceInfo) {
	same := m.is == infoReceived && v.source == m.priority.source
	switch {
	case same && v.compare(m.priority) == 0: // RepeatedMasterInfo
	case same || v.compare(m.priority) < 0: // SuperiorMasterInfo
		m.is, m.priority = infoReceived, v
		m.armSync() // a new grand master has its first Sync to send yet
		m.p.in.bmca.reselect = true
	default: // InferiorMasterInfo, OtherInfo
		return
	}
	m.heard(info)
}

// heard takes what an Announce says beside the priority vector.
func (m *portAnnounceInformation) heard(info announceInfo) {
	m.info = info
	m.announceTimeout = m.p.in.sys.now.Add(int64(m.p.cfg.AnnounceReceiptTimeout) * intervalNS(info.logInterval))
	if m.state == SlavePort {
		m.p.in.bmca.refresh(m)
	}
}

// syncReceived restarts the sync receipt time-out.
func (m *portAnnounceInformation) syncReceived(logInterval int8) {
	m.syncInterval = intervalNS(logInterval)
	m.syncReturned()
	m.armSync()
}

func (m *portAnnounceInformation) armSync() {
	m.syncTimeout = tsn.Never
	if m.state == SlavePort && m.is == infoReceived {
		m.syncTimeout = m.p.in.sys.now.Add(int64(m.p.cfg.SyncReceiptTimeout) * m.syncInterval)
	}
}

// putOff moves the time-outs by how long this node itself was stalled.
func (m *portAnnounceInformation) putOff(late int64) {
	m.announceTimeout = m.announceTimeout.Add(late)
	m.syncTimeout = m.syncTimeout.Add(late)
}

func (m *portAnnounceInformation) timer() {
	now := m.p.in.sys.now
	switch {
	case now >= m.syncTimeout:
		m.p.count.SyncReceiptTimeouts++
		m.p.in.notice(NoticeSyncTimeout, m.p.cfg.Port, "")
		m.p.in.state.lost(m.p, NoticeSyncTimeout)
		if m.p.in.ext.enabled {
			m.syncTimeoutExt()
		} else {
			m.age()
		}
	case now >= m.announceTimeout:
		m.p.count.AnnounceReceiptTimeouts++
		m.p.in.notice(NoticeAnnounceTimeout, m.p.cfg.Port, "")
		m.p.in.state.lost(m.p, NoticeAnnounceTimeout)
		m.age()
	}
}
