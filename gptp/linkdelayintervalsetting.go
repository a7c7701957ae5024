package gptp

import (
	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// linkDelayIntervalSetting is LinkDelayIntervalSetting (11.2.21): the neighbour
// asks how often this port measures the link. The Common Mean Link Delay
// Service takes that from its own Signaling alone: no domain sets it for others.
func (d *linkDelay) linkDelayIntervalSetting(r ptpmsg.IntervalRequest) {
	d.wishes = wishes(r.Flags)
	notice := func(kind string, port tsn.Port, detail string) {
		d.l.sys.emit(tsn.Notice{Kind: kind, Port: port, Detail: detail})
	}
	if d.l.ask("Pdelay_Req", &d.interval, r.LinkDelay, &d.l.count, notice) {
		d.req.intervalChanged()
	}
}
