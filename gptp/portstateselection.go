package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// portStateSelection is PortStateSelection (10.3.13): from every port's best
// information it finds the grand master and each port's state.
type portStateSelection struct {
	in       *Instance
	reselect bool

	system     systemIdentity
	gm         priorityVector // gmPriorityVector; steps are this node's own distance
	gmPresent  bool           // the root may be grand master (priority1 < 255)
	slavePort  *port          // nil: this node is the root
	path       []ptpmsg.ClockIdentity
	properties timeProperties
}

func (b *portStateSelection) init(i *Instance) {
	b.in, b.reselect = i, true
	b.takeQuality()
	b.gm = b.systemVector()
}

// takeQuality makes systemIdentity from the configuration.
func (b *portStateSelection) takeQuality() {
	c := b.in.cfg
	b.system = makeSystemIdentity(c.Priority1,
		ptpmsg.ClockQuality{Class: c.ClockClass, Accuracy: c.Accuracy, OffsetScaledLogVariance: c.Variance},
		c.Priority2, b.in.sys.cfg.ClockIdentity)
}

// systemVector is systemPriorityVector (10.3.5.1).
func (b *portStateSelection) systemVector() priorityVector {
	return priorityVector{root: b.system, source: ptpmsg.PortIdentity{Clock: b.in.sys.cfg.ClockIdentity}}
}

// masterVector is masterPriorityVector of a port: what it announces.
func (b *portStateSelection) masterVector(p *port) priorityVector {
	return priorityVector{root: b.gm.root, steps: b.gm.steps, source: p.id, port: p.cfg.Port}
}

// run is updtStatesTree (10.3.13.2.4), or with external port configuration
// PortStateSettingExt's work, if there is reason to.
func (b *portStateSelection) run() {
	if !b.reselect {
		return
	}
	b.reselect = false
	old, oldPresent := b.before(), b.gmPresent

	root, state := b.root, b.state
	if ext := &b.in.ext; ext.enabled {
		root, state = func() { ext.root(b) }, ext.state
	}
	root()
	b.takeProperties()
	for _, p := range b.in.ports {
		b.assign(p, state(p))
	}
	if b.gmPresent && !oldPresent {
		b.announceAnew()
	}
	b.tellGrandMaster(old)
	if b.slavePort != old.slave || b.gmPresent != oldPresent {
		b.rootChanged(oldPresent)
	}
}

// root finds the grand master, and the port that leads there.
func (b *portStateSelection) root() {
	b.gm, b.slavePort = b.systemVector(), nil
	for _, p := range b.in.ports {
		path := p.info.priority // gmPathPriorityVector (10.3.5.4)
		path.steps++
		if p.info.is == infoReceived && p.info.priority.source.Clock != b.in.sys.cfg.ClockIdentity && path.compare(b.gm) < 0 {
			b.gm, b.slavePort = path, p
		}
	}
	b.gmPresent = b.gm.root.priority1() < 255
}

// state is that of a port (10.3.13.2.4, steps d to j).
func (b *portStateSelection) state(p *port) PortState {
	m := &p.info
	switch {
	case m.is == infoDisabled:
		return DisabledPort
	case p == b.slavePort:
		return SlavePort
	case m.is == infoReceived && b.masterVector(p).compare(m.priority) >= 0:
		return PassivePort
	}
	return MasterPort
}

// assign gives a port a state.
func (b *portStateSelection) assign(p *port, state PortState) {
	m := &p.info
	if state == MasterPort {
		if v := b.masterVector(p); m.is != infoMine || v != m.priority {
			m.is, m.priority, m.info = infoMine, v, announceInfo{}
			m.announceTimeout = tsn.Never
			p.announce.newInfo()
		}
	}
	if state == m.state {
		return
	}
	m.state = state
	m.armSync()
	p.rx.reset()
	p.announce.stateChanged()
	b.in.notice(NoticePortState, p.cfg.Port, state.String())
}

// takeProperties takes the path and the time properties from the slave port, or
// from the configuration.
func (b *portStateSelection) takeProperties() {
	old := b.properties
	b.properties = b.findProperties()
	if b.properties != old {
		b.announceAnew()
	}
}

// announceAnew makes every master port tell at once what its priority does not.
func (b *portStateSelection) announceAnew() {
	for _, p := range b.in.ports {
		if p.info.state == MasterPort {
			p.announce.newInfo()
		}
	}
}

func (b *portStateSelection) findProperties() timeProperties {
	self := b.in.sys.cfg.ClockIdentity
	if b.slavePort != nil {
		m := &b.slavePort.info
		b.path = append(append(b.path[:0], m.info.path...), self)
		return m.info.properties
	}
	b.path = append(b.path[:0], self)
	c := b.in.cfg
	t := timeProperties{flags: ptpmsg.FlagPtpTimescale, utcOffset: c.CurrentUtcOffset, timeSource: c.TimeSource}
	if c.CurrentUtcOffsetValid && c.CurrentUtcOffset != 0 {
		t.flags |= ptpmsg.FlagCurrentUtcOffsetValid
	}
	return t
}

// refresh is called when the slave port repeats its information, which may
// carry other time properties or another path.
func (b *portStateSelection) refresh(m *portAnnounceInformation) {
	if b.slavePort == m.p {
		b.takeProperties()
	}
}

// rootChanged starts and stops this node's own time.
func (b *portStateSelection) rootChanged(wasPresent bool) {
	switch {
	case b.slavePort != nil && b.gmPresent:
		if b.in.master.active {
			b.in.slave.servo.acquire() // held over for who knows how long
		}
		b.in.master.end()
		if !b.in.slave.locked && b.in.slave.synced {
			b.in.setSynced(false) // its own time is not the new grand master's
			b.in.publish(0)
		}
	case b.gmPresent:
		b.in.master.begin()
	default:
		b.in.master.end()
		if wasPresent || b.in.slave.synced {
			b.in.slave.lost()
		}
	}
}
