package daemon

import (
	"tsnswitch/internal/node"
	"tsnswitch/internal/record"
	"tsnswitch/qbv"
	"tsnswitch/spb"
	"tsnswitch/srp"
)

// Every event that the daemon gives a machine, so that a recorded run can be
// replayed; those of the timing machine are in package gptplog.
func init() {
	record.Register("node.SetUnlocked", node.SetUnlocked{})
	record.Register("node.SetStreamGates", node.SetStreamGates{})
	record.Register("spb.SetEndStations", spb.SetEndStations{})
	record.Register("spb.SetOverload", spb.SetOverload{})
	record.Register("spb.SetKeys", spb.SetKeys{})
	record.Register("spb.PublishRecord", spb.PublishRecord{})
	record.Register("spb.WithdrawRecord", spb.WithdrawRecord{})
	record.Register("spb.WatchRecords", spb.WatchRecords{})
	record.Register("spb.Ping", spb.Ping{})
	record.Register("spb.Trace", spb.Trace{})
	record.Register("spb.CancelPing", spb.CancelPing{})
	record.Register("spb.PauseEcho", spb.PauseEcho{})
	record.Register("spb.PrepareRestart", spb.PrepareRestart{})
	record.Register("spb.StationSeen", spb.StationSeen{})
	record.Register("spb.StationGone", spb.StationGone{})
	record.Register("spb.SetServices", spb.SetServices{})
	record.Register("spb.Applied", spb.Applied{})
	record.Register("srp.PutReservations", srp.PutReservations{})
	record.Register("srp.PutProxies", srp.PutProxies{})
	record.Register("srp.SetASCapable", srp.SetASCapable{})
	record.Register("srp.SetBlocked", srp.SetBlocked{})
	record.Register("srp.Restore", srp.Restore{})
	record.Register("qbv.Clock", qbv.Clock{})
	record.Register("qbv.Stage", qbv.Stage{})
	record.Register("qbv.Commit", qbv.Commit{})
	record.Register("qbv.Abort", qbv.Abort{})
	record.Register("qbv.Restore", qbv.Restore{})
	record.Register("qbv.Applied", qbv.Applied{})
	record.Register("qbv.ReadBack", qbv.ReadBack{})
}
