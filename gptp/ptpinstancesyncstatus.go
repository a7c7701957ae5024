package gptp

// ptpInstanceSyncStatus is PtpInstanceSyncStatus (802.1ASdm, managed as 14.7a):
// isSynced says whether a domain's time is good enough for hot standby.
// offsetFromTimeTransmitterMax is Config.StepThreshold.
type ptpInstanceSyncStatus struct {
	in       *Instance
	isSynced bool
	syncs    int // rxSyncCountTimeReceiverP, since there was no grand master
	met      int // offsets within the limit, in a row
	exceeded int // and beyond it
}

const (
	rxSyncCountTimeReceiverPThresh = 3
	offsetMaxMetCountThresh        = 3
	offsetMaxExceededCountThresh   = 3
)

// sample takes offsetFromTimeTransmitter of one Sync, ns.
func (m *ptpInstanceSyncStatus) sample(offset int64) {
	m.syncs++
	if limit := m.in.sys.cfg.StepThreshold; offset > limit || offset < -limit {
		m.met = 0
		m.exceeded++
	} else {
		m.exceeded = 0
		m.met++
	}
	switch {
	case m.exceeded >= offsetMaxExceededCountThresh:
		m.isSynced = false
	case m.met >= offsetMaxMetCountThresh && m.syncs > rxSyncCountTimeReceiverPThresh && m.in.slave.synced:
		m.isSynced = true
	}
}

// update takes what changes without a Sync: a grand master is synchronized to
// itself, and without one (gmPresent, sync receipt time-out) nobody is.
func (m *ptpInstanceSyncStatus) update() {
	switch {
	case m.in.IsGrandMaster():
		m.isSynced = true
	case m.in.slave.synced:
		return
	default:
		m.isSynced = false
	}
	m.syncs, m.met, m.exceeded = 0, 0, 0
}
