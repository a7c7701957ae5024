// Package gptp is IEEE 802.1AS-2020 as a state machine without I/O: grand
// master, relay (PTP Relay Instance, any number of ports) and end station (one
// port) are the same System with another configuration.
//
// A System is the time-aware system (7.2.1): linkPorts, which measure the links
// for all, and one Instance (PTP Instance) for each domain, with its own ports
// and best master.
//
//	         tsn.Received (ingress stamp)    tsn.Sent (egress stamp)   tsn.LinkChanged  SetSource  Timeout
//	                    |                          |                        |              |         |
//	       +------------v--------------------------v------------------------v--------------v---------v--+
//	port   | MDPdelayReq  MDPdelayResp   MDSyncReceive -> PortSyncSyncReceive    PortAnnounceReceive     |
//	       |  asCapable, meanLinkDelay                         |                 PortAnnounceInformation |
//	       |  neighborRateRatio                                v                          |              |
//	node   |            ClockMasterSyncSend ----------> SiteSyncSync             PortStateSelection      |
//	       |                                             |         |                      |              |
//	       |                    ClockSlaveSync + servo <-+         v                      v              |
//	port   |                             |         PortSyncSyncSend -> MDSyncSend   PortAnnounceTransmit |
//	       +-----------------------------|-------------------------------------------------------------+
//	                                     v                       |
//	             RelationChanged, tsn.Notice                  tsn.Send (priority 7; Tag on event messages)
//
// With external port configuration PortAnnounceInformationExt and
// PortStateSettingExt stand for the two of selection. With hot standby
// PtpInstanceSyncStatus judges each domain, and HotStandbySystem makes one
// relation of two.
//
// Clauses: 10.2 (time-synchronization machines), 10.3 (best master), 11.2
// (full-duplex media-dependent machines), 8 and 9 as far as they meet these,
// and the hot standby of 802.1ASdm-2024. One file per state machine, named as
// the standard names it.
//
// Time. Stamps are readings of a free-running LocalClock. Nothing here steers
// a clock: the result is a tsn.ClockRelation from LocalTime to gPTP time,
// published by RelationChanged; the edge converts with it or steers by it.
//
// Missing: sending one-step; adapting computation to what a neighbour's message
// interval request says beside the intervals (status shows it).
package gptp

import (
	"fmt"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// RelationChanged says how LocalClock relates to gPTP time from now on. With
// hot standby the target's relation is one of its own, told beside those of the
// two domains: it has the primary's number in Relation.PTP, and Domain is the
// one it is taken from.
type RelationChanged struct {
	Domain      uint8
	Target      bool // the edge's clocks and gates go by this relation
	Relation    tsn.ClockRelation
	Synced      bool                 // follows GrandMaster, or is GrandMaster itself
	GrandMaster ptpmsg.ClockIdentity // own identity while this node is it
	OffsetNS    int64                // what the last Sync found this clock ahead by, before correction
	// UtcOffset is the grand master's currentUtcOffset, s; 0 unless it is valid.
	UtcOffset int16
}

// SetSource replaces Config.Source, as an event: the time this node gives as
// grand master. Old and new are compared at Relation.Local, which should be
// about now. While it gives a time held over from an earlier grand master,
// the new source only counts if Jump is set. A change of phase above
// Config.StepThreshold is told to everyone in lastGmPhaseChange.
type SetSource struct {
	Relation tsn.ClockRelation
	Jump     bool
}

// SetClockQuality changes what a domain says of this node as grand master, as
// an event; the best master is selected anew. Zero means the default, as in
// DomainConfig.
type SetClockQuality struct {
	Domain     uint8
	ClockClass uint8
	Accuracy   uint8  // clockAccuracy
	Variance   uint16 // offsetScaledLogVariance
	TimeSource uint8
}

func (s *System) setClockQuality(ev SetClockQuality) {
	i := s.Instance(ev.Domain)
	if i == nil {
		s.emit(tsn.Notice{Kind: NoticeConfigRefused, Detail: fmt.Sprintf("there is no domain %d", ev.Domain)})
		return
	}
	c := &i.cfg
	c.ClockClass, c.Accuracy, c.Variance, c.TimeSource = ev.ClockClass, ev.Accuracy, ev.Variance, ev.TimeSource
	c.normalise()
	i.bmca.takeQuality()
	i.bmca.reselect = true
}

// Kinds of tsn.Notice that an Instance gives.
const (
	NoticeAsCapable       = "as-capable"        // a port became asCapable
	NoticeNotAsCapable    = "not-as-capable"    // Detail is the reason
	NoticePortState       = "port-state"        // Detail is the new state
	NoticeGrandMaster     = "grand-master"      // Detail is the old one, the new one and why
	NoticeSynced          = "synced"            // the clock follows the grand master
	NoticeNotSynced       = "not-synced"        // it does not any more
	NoticeHoldover        = "holdover"          // the grand master is gone and its time goes on; Detail is the rate held
	NoticeStep            = "clock-step"        // gPTP time jumped; Detail is by how much
	NoticeSyncTimeout     = "sync-timeout"      // no Sync for syncReceiptTimeout intervals
	NoticeAnnounceTimeout = "announce-timeout"  // no Announce for announceReceiptTimeout intervals
	NoticeAnnounceLoop    = "announce-loop"     // an Announce came back to a node of its path
	NoticeAnnounceRefused = "announce-refused"  // a MasterOnly port heard a better grand master; Detail says who
	NoticeHotStandby      = "hot-standby"       // Detail is the new state of the hot standby system
	NoticeConfigRefused   = "config-refused"    // an event that asks for what cannot be; Detail is why
	NoticeInterval        = "interval"          // the neighbour asked for another message interval; Detail says which
	NoticePdelaySilence   = "pdelay-silence"    // no Pdelay_Req for 5 minutes: several answers to each
	NoticeSourceChanged   = "gm-source-changed" // Detail is the phase change
)

// gptpPriority is the class that time synchronization frames leave in.
const gptpPriority tsn.PCP = 7

// stallGrace is how late a Step may be before receipt time-outs are put off by
// as much: after a stall of this node the missed messages are still queued.
const stallGrace = 50_000_000
