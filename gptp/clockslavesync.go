package gptp

import (
	"fmt"
	"math"

	tsn "tsnswitch"
	"tsnswitch/gptp/ptpmsg"
)

// clockSlaveSync is ClockSlaveSync (10.2.13) with the servo behind it: it turns
// the slave port's Syncs into the relation of LocalClock to gPTP time.
type clockSlaveSync struct {
	in       *Instance
	relation tsn.ClockRelation // also while grand master
	synced   bool
	servo    servo
	locked   bool // servo's relation has been good at least once

	gm                  ptpmsg.ClockIdentity // whom the servo follows
	gmTimeBaseIndicator uint16
	lastGmPhaseChange   ptpmsg.ScaledNS
}

func (c *clockSlaveSync) init(i *Instance) {
	c.in, c.relation = i, i.master.source
	c.servo.stepThreshold = float64(i.sys.cfg.StepThreshold)
}

func (c *clockSlaveSync) receive(s portSyncSync) {
	i := c.in
	if gm := i.GrandMaster(); gm != c.gm || s.gmTimeBaseIndicator != c.gmTimeBaseIndicator {
		c.gm, c.gmTimeBaseIndicator = gm, s.gmTimeBaseIndicator
		c.servo.acquire()
	}
	c.lastGmPhaseChange = s.lastGmPhaseChange
	ptp := tsn.PTPTime{NS: s.preciseOrigin, Domain: i.cfg.Domain}
	ptp = ptp.Add(int64(math.Round(s.followUpCorrection + s.linkDelay*s.rateRatio)))
	r := c.servo.sample(c.relation, s.ingress, ptp, (s.rateRatio-1)*1e9)
	if r.stepped {
		i.notice(NoticeStep, tsn.NoPort, fmt.Sprintf("%d ns", -r.offset))
	}
	if !r.changed {
		if c.servo.acquired { // an outlier
			i.sync.sample(r.offset)
		}
		return
	}
	c.relation = r.relation
	if r.stepped {
		i.setSynced(false)
	}
	if c.servo.settled() {
		c.locked = true
		i.setSynced(true)
	}
	i.sync.sample(r.offset)
	i.publish(r.offset)
}

// lost is called when no grand master gives time any more.
func (c *clockSlaveSync) lost() {
	c.gm = ptpmsg.ClockIdentity{}
	if c.locked {
		c.relation, _ = c.holdover(c.in.sys.localNow())
	}
	c.in.setSynced(false)
	c.in.publish(0)
}

// holdover is the relation to go on with without Syncs: the same time at local,
// the mean rate. ok is false if there never was a good one.
func (c *clockSlaveSync) holdover(local tsn.LocalTime) (r tsn.ClockRelation, ok bool) {
	if !c.locked {
		return r, false
	}
	return tsn.ClockRelation{Local: local, PTP: c.relation.At(local), RatePPB: c.holdoverRate()}, true
}

// holdoverRate is the mean rate of late, or what there is.
func (c *clockSlaveSync) holdoverRate() float64 {
	if c.servo.meanCount > 0 {
		return c.servo.meanRate
	}
	return c.relation.RatePPB
}
