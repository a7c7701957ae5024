// Package gptp is IEEE 802.1AS-2020 as a state machine without I/O: grand
// master, relay (PTP Relay Instance, any number of ports) and end station (one
// port) are the same Instance with another configuration.
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
// Clauses: 10.2 (time-synchronization machines), 10.3 (best master), 11.2
// (full-duplex media-dependent machines), 8 and 9 as far as they meet these.
// One file per state machine, named as the standard names it.
//
// Time. Stamps are readings of a free-running LocalClock. Nothing here steers
// a clock: the result is a tsn.ClockRelation from LocalTime to gPTP time,
// published by RelationChanged; the edge converts with it or steers by it.
//
// Missing: one-step Sync (a receiver drops it, counted), external port
// configuration (10.3.1.3), the Common Mean Link Delay Service (11.2.17; Pdelay
// runs per Instance, with the Instance's domain number), gPTP-capable
// signalling (10.4, so an Instance of a domain other than 0 takes asCapable
// from Pdelay alone), acting on message interval requests (they are counted),
// propagation of forwardable unknown TLVs, the five minutes' silence after
// multiple Pdelay_Resp, and hot standby (802.1ASdm).
package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// RelationChanged says how LocalClock relates to gPTP time from now on.
type RelationChanged struct {
	Relation    tsn.ClockRelation
	Synced      bool                 // follows GrandMaster, or is GrandMaster itself
	GrandMaster ptpmsg.ClockIdentity // own identity while this node is it
	OffsetNS    int64                // what the last Sync found this clock ahead by, before correction
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

// Kinds of tsn.Notice that an Instance gives.
const (
	NoticeAsCapable       = "as-capable"        // a port became asCapable
	NoticeNotAsCapable    = "not-as-capable"    // Detail is the reason
	NoticePortState       = "port-state"        // Detail is the new state
	NoticeGrandMaster     = "grand-master"      // Detail is the new grand master
	NoticeSynced          = "synced"            // the clock follows the grand master
	NoticeNotSynced       = "not-synced"        // it does not any more
	NoticeStep            = "clock-step"        // gPTP time jumped; Detail is by how much
	NoticeSyncTimeout     = "sync-timeout"      // no Sync for syncReceiptTimeout intervals
	NoticeAnnounceTimeout = "announce-timeout"  // no Announce for announceReceiptTimeout intervals
	NoticeAnnounceLoop    = "announce-loop"     // an Announce came back to a node of its path
	NoticeSourceChanged   = "gm-source-changed" // Detail is the phase change
)

// gptpPriority is the class that time synchronization frames leave in.
const gptpPriority tsn.PCP = 7

// stallGrace is how late a Step may be before receipt time-outs are put off by
// as much: after a stall of this node the missed messages are still queued.
const stallGrace = 50_000_000

// Instance is one PTP Instance: a tsn.Machine.
//
// Events: tsn.Received, tsn.Sent, tsn.LinkChanged, tsn.Timeout, SetSource.
// Effects: tsn.Send, tsn.Notice, RelationChanged.
type Instance struct {
	cfg   Config
	ports []*port // ascending

	now      tsn.Instant
	deadline tsn.Instant
	started  bool
	fx       []tsn.Effect
	dec      ptpmsg.Decoder
	tag      uint64

	// The newest pair of LocalClock and now, to tell about what LocalClock reads.
	stampLocal tsn.LocalTime
	stampNow   tsn.Instant

	bmca   portStateSelection
	slave  clockSlaveSync
	master clockMasterSyncSend
}

// New checks the configuration and makes an Instance with every port down.
func New(cfg Config) (*Instance, error) {
	cfg, err := cfg.normal()
	if err != nil {
		return nil, err
	}
	i := &Instance{cfg: cfg}
	seed := cfg.Seed
	for _, pc := range cfg.Ports {
		i.ports = append(i.ports, newPort(i, pc, &seed))
	}
	i.master.init(i)
	i.slave.init(i)
	i.bmca.init(i)
	return i, nil
}

// Deadline implements tsn.Machine.
func (i *Instance) Deadline() tsn.Instant { return i.deadline }

// Step implements tsn.Machine.
func (i *Instance) Step(now tsn.Instant, ev tsn.Event) []tsn.Effect {
	i.fx = i.fx[:0]
	if late := now.Sub(i.deadline); i.started && i.deadline != tsn.Never && late > stallGrace {
		for _, p := range i.ports {
			p.info.putOff(late)
		}
	}
	i.now = now
	if !i.started {
		i.started = true
		i.bmca.run()
	}
	switch ev := ev.(type) {
	case tsn.Received:
		i.received(ev)
	case tsn.Sent:
		i.sent(ev)
	case tsn.LinkChanged:
		if p := i.port(ev.Port); p != nil {
			p.setUp(ev.Up)
		}
	case SetSource:
		i.master.setSource(ev)
	}
	i.timers()
	return i.fx
}

// timers runs what is due, then finds the next deadline.
func (i *Instance) timers() {
	for _, p := range i.ports {
		p.req.timer()
		p.info.timer()
	}
	i.bmca.run()
	i.master.timer()
	i.deadline = i.master.next
	for _, p := range i.ports {
		p.announce.timer()
		for _, t := range []tsn.Instant{p.req.next, p.info.announceTimeout, p.info.syncTimeout, p.announce.next} {
			i.deadline = min(i.deadline, t)
		}
	}
}

func (i *Instance) port(n tsn.Port) *port {
	for _, p := range i.ports {
		if p.cfg.Port == n {
			return p
		}
	}
	return nil
}

func (i *Instance) emit(e tsn.Effect) { i.fx = append(i.fx, e) }

func (i *Instance) notice(kind string, port tsn.Port, detail string) {
	i.emit(tsn.Notice{Kind: kind, Port: port, Detail: detail})
}

// stamped remembers the newest reading of LocalClock.
func (i *Instance) stamped(l tsn.LocalTime) { i.stampLocal, i.stampNow = l, i.now }

// localNow estimates LocalClock's reading; good to the latency of the last
// stamp, which is enough to hang a relation on.
func (i *Instance) localNow() tsn.LocalTime {
	return i.stampLocal + tsn.LocalTime(i.now.Sub(i.stampNow))
}

// GrandMaster returns the identity of the grand master this node knows.
func (i *Instance) GrandMaster() ptpmsg.ClockIdentity { return i.bmca.gm.root.clock() }

// IsGrandMaster reports whether this node itself is the grand master.
func (i *Instance) IsGrandMaster() bool { return i.bmca.gmPresent && i.bmca.slavePort == nil }

// Relation returns the relation last published.
func (i *Instance) Relation() tsn.ClockRelation { return i.slave.relation }

// Synced reports whether Relation follows the grand master (or this is it).
func (i *Instance) Synced() bool { return i.slave.synced }

// publish tells the edge the relation.
func (i *Instance) publish(offset int64) {
	i.emit(RelationChanged{
		Relation: i.slave.relation, Synced: i.slave.synced,
		GrandMaster: i.GrandMaster(), OffsetNS: offset,
	})
}

// setSynced changes Synced with a notice; the caller publishes.
func (i *Instance) setSynced(v bool) {
	if v == i.slave.synced {
		return
	}
	i.slave.synced = v
	kind := NoticeNotSynced
	if v {
		kind = NoticeSynced
	}
	i.notice(kind, tsn.NoPort, i.GrandMaster().String())
}
