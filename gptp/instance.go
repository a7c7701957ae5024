package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// Instance is one PTP Instance: the time of one domain.
type Instance struct {
	sys   *System
	cfg   DomainConfig
	ports []*port // ascending

	bmca   portStateSelection
	ext    portStateSettingExt
	slave  clockSlaveSync
	master clockMasterSyncSend
	state  timeState
	sync   ptpInstanceSyncStatus
}

// newInstance makes the Instance of a domain. common: it measures links by the
// Common Mean Link Delay Service.
func newInstance(s *System, dc DomainConfig, common bool, seed *uint64) *Instance {
	i := &Instance{sys: s, cfg: dc}
	for _, l := range s.links {
		i.ports = append(i.ports, newPort(i, l, l.delay(common), seed))
	}
	i.master.init(i)
	i.slave.init(i)
	i.state.in, i.sync.in = i, i
	i.ext.init(i)
	i.bmca.init(i)
	return i
}

// port is the PTP Port on a port of the machine, or nil.
func (i *Instance) port(n tsn.Port) *port {
	for _, p := range i.ports {
		if p.cfg.Port == n {
			return p
		}
	}
	return nil
}

// timers runs what is due and returns the next deadline.
func (i *Instance) timers() tsn.Instant {
	for _, p := range i.ports {
		p.info.timer()
		p.capableRx.timer()
	}
	i.bmca.run()
	i.master.timer()
	i.state.update()
	i.sync.update()
	next := i.master.next
	for _, p := range i.ports {
		next = min(next, p.timer())
	}
	return next
}

func (i *Instance) notice(kind string, port tsn.Port, detail string) {
	i.sys.emit(tsn.Notice{Kind: kind, Port: port, Detail: detail, Domain: i.cfg.Domain})
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
	i.sys.emit(RelationChanged{
		Domain: i.cfg.Domain, Target: i.sys.standby == nil && i == i.sys.instances[0], Relation: i.slave.relation, Synced: i.slave.synced,
		GrandMaster: i.GrandMaster(), OffsetNS: offset, UtcOffset: i.utcOffset(),
	})
}

// utcOffset is currentUtcOffset if that is valid, else 0.
func (i *Instance) utcOffset() int16 {
	if i.bmca.properties.flags&ptpmsg.FlagCurrentUtcOffsetValid == 0 {
		return 0
	}
	return i.bmca.properties.utcOffset
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
		i.state.why = ""
	}
	i.notice(kind, tsn.NoPort, i.GrandMaster().String())
}
