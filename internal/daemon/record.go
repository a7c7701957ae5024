package daemon

import (
	"tsnswitch/gptp"
	"tsnswitch/internal/record"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Every event that the daemon gives a machine, so that a recorded run can be
// replayed. qbv.Applied carries an error value, which no trace can: a run
// replays exactly as long as the kernel refused nothing.
func init() {
	record.Register("spb.SetEndStations", spb.SetEndStations{})
	record.Register("spb.SetOverload", spb.SetOverload{})
	record.Register("gptp.SetSource", gptp.SetSource{})
	record.Register("srp.PutReservations", srp.PutReservations{})
	record.Register("qbv.Clock", qbv.Clock{})
	record.Register("qbv.Stage", qbv.Stage{})
	record.Register("qbv.Commit", qbv.Commit{})
	record.Register("qbv.Abort", qbv.Abort{})
	record.Register("qbv.ReadBack", qbv.ReadBack{})
}
