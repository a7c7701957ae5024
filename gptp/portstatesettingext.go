package gptp

import (
	"fmt"
	"maps"

	tsn "tsnswitch"
)

// SetPortStates changes DomainConfig.DesiredStates, as an event. States that
// CheckPortStates finds fault with are refused as a whole, with a Notice.
type SetPortStates struct {
	Domain uint8
	States map[tsn.Port]PortState // all of them: what is not there has its default
}

// CheckPortStates says why SetPortStates would be refused, or nil.
func (s *System) CheckPortStates(ev SetPortStates) error {
	i := s.Instance(ev.Domain)
	switch {
	case i == nil:
		return fmt.Errorf("there is no domain %d", ev.Domain)
	case !i.ext.enabled:
		return fmt.Errorf("domain %d chooses its port states itself", ev.Domain)
	}
	return s.cfg.checkStates(ev.States)
}

// portStateSettingExt is PortStateSettingExt (10.3.15): the states of ports as
// they are desired from outside, in place of PortStateSelection.
type portStateSettingExt struct {
	in      *Instance
	enabled bool // externalPortConfigurationEnabled
	desired map[tsn.Port]PortState
}

func (e *portStateSettingExt) init(i *Instance) {
	e.in, e.enabled, e.desired = i, i.cfg.ExternalPortConfiguration, maps.Clone(i.cfg.DesiredStates)
}

func (s *System) setPortStates(ev SetPortStates) {
	if err := s.CheckPortStates(ev); err != nil {
		s.emit(tsn.Notice{Kind: NoticeConfigRefused, Detail: err.Error()})
		return
	}
	i := s.Instance(ev.Domain)
	i.ext.desired = maps.Clone(ev.States)
	i.bmca.reselect = true
}

// root takes the grand master from the port that is to be slave. There is none
// while that port has not heard an Announce, or has missed too many messages.
func (e *portStateSettingExt) root(b *portStateSelection) {
	b.gm, b.slavePort = b.systemVector(), nil
	for _, p := range e.in.ports {
		if e.want(p) == SlavePort {
			b.slavePort = p
		}
	}
	if b.slavePort == nil {
		b.gmPresent = b.gm.root.priority1() < 255
		return
	}
	m := &b.slavePort.info
	if m.is == infoMine { // from when it was a MasterPort
		m.age()
		b.reselect = false
	}
	b.gmPresent = m.is == infoReceived && !m.syncLost
	if m.is == infoReceived {
		b.gm = m.priority
		b.gm.steps++
	}
}

func (e *portStateSettingExt) want(p *port) PortState {
	if s, ok := e.desired[p.cfg.Port]; ok {
		return s
	}
	if p.cfg.MasterOnly {
		return MasterPort
	}
	return DisabledPort
}

// state is updtPortState (10.3.15.2.1).
func (e *portStateSettingExt) state(p *port) PortState {
	if !p.asCapable {
		return DisabledPort
	}
	return e.want(p)
}
