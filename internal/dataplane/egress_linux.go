package dataplane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

func (k *kernel) readEgress(p PortConfig, qs []qdisc) (Egress, error) {
	e := Egress{Port: p.Port}
	l := k.links[p.Ifname]
	for _, q := range qs {
		if q.index != l.index || q.parent != netlinkRoot || q.handle == 0 {
			continue
		}
		e.Root = q.kind
		if p.Offload == Ungated && k.ungated(p.Port, q) {
			e.Root, e.Rooted, e.Ungated, e.Oper = "", true, true, AllOpen(k.cfg.ClassMap.Classes())
		}
		if q.kind != "taprio" || p.Offload == Ungated {
			continue
		}
		cl := k.classes(p.Port)
		t, err := cl.decodeTaprio(q.options)
		if err != nil {
			return e, err
		}
		launch := p.Offload != OffloadTxTime || k.launches(p, qs)
		if e.Rooted = q.handle == rootHandle && launch && t.Root.equal(cl.root(k.cfg.ClassMap, p)); e.Rooted {
			k.fill(&e, t, p)
			e.Stalled = l.carrier != k.carrier[p.Port] || k.overdue(p.Port, &e)
			if k.wentBack(p.Port) {
				e = Egress{Port: p.Port, Root: "a taprio whose clock was set back"}
			}
		}
	}
	if p.Preemption != nil {
		if m, err := k.mm.get(p.Ifname); err == nil {
			e.MACMerge = m.MACMerge
		}
	}
	if e.Rooted {
		k.readLaunch(&e, qs)
		if err := k.readShapers(&e, l.index, qs); err != nil {
			return e, err
		}
	}
	if e.Hook = hasClsact(qs, l.index); !e.Hook {
		return e, nil
	}
	cl, err := k.c.classifier(l.index)
	e.Classifier, e.Guarded = cl.whole(), cl.guarded
	return e, err
}

// overdue reports an admin schedule that should have started long ago. One
// with a base time in the past starts within a cycle of being sent.
func (k *kernel) overdue(p tsn.Port, e *Egress) bool {
	if e.Admin == nil || time.Since(k.sentAt[p]) < overdueAfter {
		return false
	}
	now, err := k.GateNow(p)
	return err == nil && now-e.Admin.Base > int64(overdueAfter)
}

// wentBack reports that the gate clock was set back under a software taprio. Its
// timer waits for the time that was next before: until then gates stand still and
// no other schedule begins, also one that is sent now. Only a new root helps.
func (k *kernel) wentBack(p tsn.Port) bool {
	if k.port(p).Offload != OffloadNone {
		return false
	}
	stepped, err := steppedBy()
	if err != nil {
		return false
	}
	if before, known := k.stepped[p]; !known || stepped > before {
		k.stepped[p] = stepped
	}
	return k.stepped[p]-stepped > standsStill
}

// standsStill is for how long, in ns, gates may stand still after a step back.
const standsStill = 100_000_000

// steppedBy is what all steps of CLOCK_TAI together have made of it: only they
// change its distance from CLOCK_MONOTONIC. The two are not read at once: on a
// busy machine much time may pass between, and then they are read again.
func steppedBy() (int64, error) {
	for range 10 {
		before, err := monotonicNow()
		if err != nil {
			return 0, err
		}
		tai, err := taiNow()
		if err != nil {
			return 0, err
		}
		after, err := monotonicNow()
		if err != nil {
			return 0, err
		}
		if after-before < standsStill/10 {
			return tai - before, nil
		}
	}
	return 0, errors.New("the machine is too busy to compare two clocks")
}

func monotonicNow() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0, fmt.Errorf("CLOCK_MONOTONIC: %w", err)
	}
	return ts.Nano(), nil
}

// overdueAfter is beyond the longest cycle taprio takes, which a change of
// schedules may have to wait for.
const overdueAfter = 5 * time.Second

func (k *kernel) readShapers(e *Egress, index int, qs []qdisc) (err error) {
	for _, q := range qs {
		for c := range tsn.TrafficClass(k.cfg.ClassMap.Classes()) {
			if k.cfg.ClassMap.Unused().Has(c) || q.index != index || q.kind != "cbs" || q.parent != k.cbsParent(e.Port, c) {
				continue
			}
			if e.Shapers[c], err = decodeCBS(q.options); err != nil {
				return fmt.Errorf("class %d: cbs options: %w", c, err)
			}
		}
	}
	return nil
}

// parent names the class as a class of the root.
func (k *kernel) parent(p tsn.Port, c tsn.TrafficClass) uint32 {
	return uint32(rootHandle | (k.classes(p).tc(c) + 1))
}

// cbsParent is where the cbs of a class hangs.
func (k *kernel) cbsParent(p tsn.Port, c tsn.TrafficClass) uint32 {
	if o := k.port(p).Offload; o == OffloadFull || o == Ungated {
		return k.parent(p, c)
	}
	return uint32(prioHandle+int(c)<<16) | 1
}

const netlinkRoot = 0xffffffff // TC_H_ROOT

// classOf tells the class of which q is the child of our root.
func (k *kernel) classOf(q qdisc, p tsn.Port) (tsn.TrafficClass, bool) {
	cl, queue := k.classes(p), int(q.parent&0xffff)-1
	if q.index != k.index(p) || q.parent&0xffff0000 != rootHandle || queue < 0 || queue >= cl.queues() {
		return 0, false
	}
	return cl.class(queue), true
}

func hasClsact(qs []qdisc, index int) bool {
	return slices.ContainsFunc(qs, func(q qdisc) bool { return q.index == index && q.kind == "clsact" })
}

// installRoot ends with the all-open schedule running, since one that is
// replaced before its start makes the next start at the wrong time.
func (k *kernel) installRoot(ctx context.Context, p tsn.Port) error {
	index := k.index(p)
	qs, err := k.c.qdiscs()
	if err != nil {
		return err
	}
	for _, q := range qs {
		if q.index == index && q.parent == netlinkRoot && q.handle == rootHandle {
			if err := k.c.delQdisc(index, netlinkRoot); err != nil {
				return fmt.Errorf("removing the old root: %w", err)
			}
		}
	}
	delete(k.stepped, p)
	if err := k.makeRoot(k.port(p), AllOpen(k.classes(p).n)); err != nil {
		return err
	}
	k.before[p] = nil
	k.sdu[p] = [tsn.MaxTrafficClasses]uint32{}
	k.sent(p)
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return poll(ctx, func() (bool, error) { return k.operational(p) })
}

// makeRoot makes a root where there is none: a taprio, or without gates a mqprio.
func (k *kernel) makeRoot(p PortConfig, s *Schedule) error {
	cl := k.classes(p.Port)
	root := cl.root(k.cfg.ClassMap, p)
	if p.Offload == Ungated {
		return k.c.setMQPrio(k.index(p.Port), root)
	}
	err := k.c.setQdisc(netlink.Create|netlink.Replace, k.index(p.Port), rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		cl.encodeTaprio(ae, root, false, s, perClass{})
	})
	switch {
	case p.Offload == OffloadFull && lacks(err):
		return k.refuse(p.Port, FeatureOffload, err.Error())
	case err == nil && p.Offload == OffloadTxTime:
		return k.graftLaunch(p)
	}
	return err
}

// sent remembers the link's history, to see later that it was down.
func (k *kernel) sent(p tsn.Port) {
	if ls, err := k.c.links(); err == nil {
		k.carrier[p], k.sentAt[p] = ls[k.cfg.ifname(p)].carrier, time.Now()
	}
}

func (k *kernel) operational(p tsn.Port) (bool, error) {
	pc, ok := k.cfg.port(p)
	if !ok {
		return false, fmt.Errorf("port %d is not configured", p)
	}
	qs, err := k.c.qdiscs()
	if err != nil {
		return false, err
	}
	e, err := k.readEgress(pc, qs)
	return e.Admin == nil, err
}

func (k *kernel) installClassifier(o InstallClassifier) error {
	p := o.Port
	qs, err := k.c.qdiscs()
	if err != nil {
		return err
	}
	var cl classifier
	index, has := k.index(p), hasClsact(qs, k.index(p))
	if has {
		if cl, err = k.c.classifier(index); err != nil {
			return err
		}
	}
	return k.c.setFilters(index, o.Guarded, cl.found, has)
}

func (k *kernel) setShaper(o SetShaper) error {
	index, handle := k.index(o.Port), uint32(cbsHandle+int(o.Class)<<16)
	switch {
	case o.Shaper == (Shaper{}):
		return k.c.setPfifo(index, k.parent(o.Port, o.Class))
	case o.Change: // by handle alone, see the package documentation
		return k.c.setQdisc(0, index, handle, 0, "cbs", encodeCBS(o.Shaper))
	case k.port(o.Port).Offload == OffloadNone:
		if err := k.c.setPrio(index, uint32(prioHandle+int(o.Class)<<16), k.parent(o.Port, o.Class)); err != nil {
			return fmt.Errorf("prio above cbs: %w", err)
		}
	}
	return k.c.setQdisc(netlink.Create|netlink.Replace, index, handle, k.cbsParent(o.Port, o.Class), "cbs", encodeCBS(o.Shaper))
}

func (k *kernel) setSchedule(o SetSchedule) error {
	sched, pc, cl := *o.Schedule, k.port(o.Port), k.classes(o.Port)
	// The steps before this one took their time: look again.
	if now, err := k.GateNow(o.Port); err == nil && !sched.allOpen(cl.n) && sched.Base <= now {
		if o.Why == "" {
			return &BaseTimeError{o.Port, sched.Base, now}
		}
		sched.advance(now + restartLead)
	}
	var per perClass
	if k.probed.missing[FeatureMaxSDU] == "" {
		per.MaxSDU = &o.MaxSDU
	}
	if k.probed.missing[FeaturePreemption] == "" && pc.Offload == OffloadFull {
		per.Preemptible = &o.Preemptible
	}
	ran := k.running(pc)
	if err := k.takeOver(pc); err != nil {
		return fmt.Errorf("the schedule before: %w", err)
	}
	sched.Base += k.early(pc)
	if err := k.replace(o, &sched, per); err != nil {
		return k.judgeSchedule(o, err)
	}
	k.before[o.Port], k.sdu[o.Port] = ran, o.MaxSDU
	k.sent(o.Port)
	return nil
}

// judgeSchedule finds the feature that a device in full offload lacks.
func (k *kernel) judgeSchedule(o SetSchedule, err error) error {
	switch {
	case k.port(o.Port).Offload != OffloadFull || !lacks(err):
	case o.MaxSDU != [tsn.MaxTrafficClasses]uint32{}:
		return k.refuse(o.Port, FeatureMaxSDU, err.Error())
	case o.Preemptible != [tsn.MaxTrafficClasses]bool{}:
		return k.refuse(o.Port, FeaturePreemption, err.Error())
	}
	return err
}

// taprioRequest asks for another schedule under the root.
func (k *kernel) taprioRequest(p tsn.Port, clock int32, s *Schedule, per perClass) (request, error) {
	cl := k.classes(p)
	root := cl.root(k.cfg.ClassMap, k.port(p))
	if root.ClockID >= 0 {
		root.ClockID = clock
	}
	return qdiscRequest(netlink.Replace, k.index(p), rootHandle, netlinkRoot, "taprio", func(ae *netlink.AttributeEncoder) {
		cl.encodeTaprio(ae, root, true, s, per)
	})
}

// replace sends a schedule. At every request software taprio opens all gates
// until its timer expires next, which is when the entry that runs ends. So
// another request goes before, for what runs now to begin in a moment: to that
// moment the timer is set then, with which what ran goes on. If the moment has
// passed before the kernel was told of it, both are sent again.
func (k *kernel) replace(o SetSchedule, s *Schedule, per perClass) error {
	set, err := k.taprioRequest(o.Port, clockTAI, s, per)
	if err != nil || k.port(o.Port).Offload != OffloadNone || o.Over == nil || o.Over.allOpen(k.classes(o.Port).n) || !o.Over.whole() {
		return k.c.send(set, err)
	}
	takes, err := k.rehearse(o)
	inTime := false
	for tries := 4; err == nil && !inTime && tries >= 0; tries-- {
		inTime, err = k.replaceAt(o, set, max(4*takes, 2000), tries > 0)
	}
	return err
}

// replaceAt sends set behind a request for what runs to begin in so many ns. It
// reports whether both surely came before that. If half of the time has passed
// before it sends, it does not if it may be asked again.
func (k *kernel) replaceAt(o SetSchedule, set request, in int64, again bool) (inTime bool, err error) {
	now, err := taiNow()
	if err != nil {
		return false, err
	}
	moment := o.Over.from(now+in, k.GateLimits(o.Port).MinInterval)
	goOn, err := k.taprioRequest(o.Port, clockTAI, moment, perClass{})
	if err != nil {
		return false, err
	}
	b, _ := pack([]request{goOn, set}, 0)
	if t, err := taiNow(); err != nil || again && t > now+in/2 {
		return false, err
	}
	k.c.writes += 2
	if err := k.c.transmit(b); err != nil {
		return false, err
	}
	done, err := taiNow()
	failed := map[int]error{}
	if err := errors.Join(err, k.c.collect(1, failed)); err != nil {
		return false, err
	}
	return done < moment.Base, failed[1]
}

// rehearse returns how long, in ns, the kernel takes for a schedule: it sends
// the one that runs, with a clock for which it will be refused.
func (k *kernel) rehearse(o SetSchedule) (int64, error) {
	r, err := k.taprioRequest(o.Port, unix.CLOCK_REALTIME, o.Over, perClass{})
	if err != nil {
		return 0, err
	}
	begun, err := taiNow()
	if err != nil {
		return 0, err
	}
	if err := k.c.send(r, nil); err == nil {
		return 0, fmt.Errorf("port %d: a schedule for another clock was taken", o.Port)
	}
	ended, err := taiNow()
	return ended - begun, err
}
