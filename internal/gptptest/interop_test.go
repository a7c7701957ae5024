package gptptest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"tsnswitch/gptp/ptpmsg"
	"tsnswitch/internal/kerneltest"
)

// busy is gptp configuration that forgives a busy machine, as quick does for ptp4l.
const busy = "  announceInterval: 250ms\n  syncReceiptTimeout: 12\n"

// link is two namespaces and a wire between their interfaces p1.
func link(t testing.TB) (a, b *kerneltest.NetNS) {
	t.Helper()
	a, b = kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	wire(t, a, "p1", b, "p1")
	return a, b
}

var p1 = []string{"p1"}

// pmcID is a clock identity as pmc prints it, or a port of it.
func pmcID(id string, port ...int) string {
	for _, p := range port {
		id += fmt.Sprintf("-%d", p)
	}
	return id
}

// near fails the test if a measured time is not what it has to be. The bound
// is one that only a wrong formula breaks, whatever the machine does.
func near(t *testing.T, what string, ns int64) {
	t.Helper()
	const bound = 2_000_000
	t.Logf("%s: %d ns", what, ns)
	if ns < -bound || ns > bound {
		t.Errorf("%s: %d ns", what, ns)
	}
}

// ptp4l as grand master with the profile that linuxptp ships, changed only in
// the threshold, and a daemon with a clock 50 ppm fast and an hour ahead as its slave.
func TestSlaveOfPtp4l(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, b := link(t)
	c := startCapture(t, b, "p1")
	gm := startPtp4l(t, a, "gPTP.cfg", p1, []string{"--priority1=100"})
	d := startDaemon(t, b, options{ports: p1, gptp: "  clock: {kind: virtual, ppm: 50, offset: 1h}\n"})
	await(t, "we follow ptp4l", d.follows(gm.id))
	near(t, "true error", d.error())
	if s := d.status(); s.Domain != 0 || s.IsGrandmaster || s.StepsRemoved != 1 || s.Ports[0].State != "SlavePort" || !s.Ports[0].AsCapable ||
		math.Abs(s.RatePPM+50) > 20 {
		t.Errorf("%+v", s)
	}
	gm.expect("GET PORT_DATA_SET", 0, map[string]string{"portState": "MASTER", "versionNumber": "2"})
	gm.expect("GET PORT_DATA_SET_NP", 0, map[string]string{"asCapable": "1"})
	gm.expect("GET PARENT_DATA_SET", 0, map[string]string{"grandmasterIdentity": gm.id, "parentPortIdentity": pmcID(gm.id, 0)})
	c.save("ptp4l-master.1")
}

// The daemon as grand master of a ptp4l with the shipped profile: pmc reads
// there what the daemon says of itself.
func TestGrandMasterOfPtp4l(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, b := link(t)
	c := startCapture(t, a, "p1")
	d := startDaemon(t, a, options{ports: p1, gptp: "  priority1: 100\n  priority2: 77\n  clockClass: 187\n  clockAccuracy: 0x22\n" +
		"  clock: {kind: virtual}\n"})
	slave := startPtp4l(t, b, "gPTP.cfg", p1, []string{"--pi_proportional_const=0.7", "--pi_integral_const=0.3"})
	await(t, "ptp4l follows us", slave.said("UNCALIBRATED to SLAVE"))
	slave.expect("GET PARENT_DATA_SET", 0, map[string]string{
		"parentPortIdentity": pmcID(d.id, 1), "grandmasterIdentity": d.id,
		"grandmasterPriority1": "100", "grandmasterPriority2": "77", "gm.ClockClass": "187", "gm.ClockAccuracy": "0x22",
		"gm.OffsetScaledLogVariance": "0x4e5d",
	})
	slave.expect("GET CURRENT_DATA_SET", 0, map[string]string{"stepsRemoved": "1"})
	slave.expect("GET TIME_STATUS_NP", 0, map[string]string{
		"gmPresent": "true", "gmIdentity": d.id, "gmTimeBaseIndicator": "0",
		"scaledLastGmPhaseChange": "0",
	})
	slave.expect("GET TIME_PROPERTIES_DATA_SET", 0, map[string]string{"currentUtcOffsetValid": "0", "ptpTimescale": "1", "timeSource": "0xa0"})
	slave.expect("GET PORT_DATA_SET", 0, map[string]string{"portState": "SLAVE", "logSyncInterval": "-3"})
	slave.expect("GET PORT_DATA_SET_NP", 0, map[string]string{"asCapable": "1"})
	if s := d.status(); !s.IsGrandmaster || s.Ports[0].State != "MasterPort" || !s.Ports[0].AsCapable {
		t.Errorf("%+v", s)
	}
	follow, _ := sent[*ptpmsg.FollowUp](c, d.id)
	for _, m := range follow {
		if info, ok := m.Information(); !ok || info != (ptpmsg.FollowUpInformation{}) {
			t.Errorf("Follow_Up of a grand master on LocalClock: %+v", info)
		}
	}
	c.save("ptp4l-slave.1")
}

// relayed is a daemon, whose clock is 100 ppm fast, between two ptp4ls.
type relayed struct {
	gm, slave    *ptp4l
	relay        *daemon
	above, below *capture
}

func startRelayed(t *testing.T) *relayed {
	t.Helper()
	a, r, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	wire(t, a, "p1", r, "p1")
	wire(t, r, "p2", b, "p1")
	x := &relayed{above: startCapture(t, r, "p1"), below: startCapture(t, r, "p2")}
	x.gm = startPtp4l(t, a, "gPTP.cfg", p1, quick, []string{"--priority1=100"})
	x.relay = startDaemon(t, r, options{ports: []string{"p1", "p2"}, gptp: busy + "  clock: {kind: virtual, ppm: 100, offset: -17s}\n"})
	x.slave = startPtp4l(t, b, "gPTP.cfg", p1, quick)
	x.settle()
	return x
}

// settle waits until everyone follows the grand master.
func (x *relayed) settle() {
	x.relay.t.Helper()
	await(x.relay.t, "the relay follows", x.relay.follows(x.gm.id))
	await(x.relay.t, "the slave follows", func() bool {
		return x.slave.pmc("GET PORT_DATA_SET", 0)["portState"] == "SLAVE" && x.slave.pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == x.gm.id
	})
}

// A relay is no boundary clock: the grand master's time and identity go
// through it, with the time that passes on the way and the rate added
// (802.1AS 10.2.12, 11.2.15). Seen by the slave behind it, and on the wire.
func TestRelayBetweenPtp4ls(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	x := startRelayed(t)
	await(t, "64 Syncs", func() bool { m, _ := sent[*ptpmsg.FollowUp](x.below, x.relay.id); return len(m) > 64 })
	x.slave.expect("GET PARENT_DATA_SET", 0, map[string]string{
		"parentPortIdentity": pmcID(x.relay.id, 2), "grandmasterIdentity": x.gm.id, "grandmasterPriority1": "100",
		"gm.ClockClass": "248", "gm.ClockAccuracy": "0xfe", "gm.OffsetScaledLogVariance": "0xffff",
	})
	x.slave.expect("GET CURRENT_DATA_SET", 0, map[string]string{"stepsRemoved": "2"})
	x.slave.expect("GET TIME_STATUS_NP", 0, map[string]string{"gmPresent": "true", "gmIdentity": x.gm.id})

	announces, _ := sent[*ptpmsg.Announce](x.below, x.relay.id)
	last := announces[len(announces)-1]
	path, _ := last.PathTrace(nil)
	if got := fmt.Sprint(path); last.GrandMaster.String() != x.gm.id || last.StepsRemoved != 1 || got != fmt.Sprintf("[%s %s]", x.gm.id, x.relay.id) {
		t.Errorf("Announce of grand master %s, %d steps, path %s", last.GrandMaster, last.StepsRemoved, got)
	}
	checkCorrection(t, x)
	x.above.save("ptp4l-both.1")
	x.below.save("ptp4l-both.2")
}

// checkCorrection compares what the relay's Follow_Ups say with the kernel's
// clock, which is the grand master's: preciseOriginTimestamp + correctionField is
// when the Sync left.
func checkCorrection(t *testing.T, x *relayed) {
	t.Helper()
	origins := map[ptpmsg.Timestamp]bool{}
	up, _ := sent[*ptpmsg.FollowUp](x.above, x.gm.id)
	for _, m := range up {
		origins[m.PreciseOrigin] = true
	}
	syncs, at := sent[*ptpmsg.Sync](x.below, x.relay.id)
	left := map[uint16]int64{}
	for i, m := range syncs {
		left[m.SequenceID] = at[i]
	}
	follow, _ := sent[*ptpmsg.FollowUp](x.below, x.relay.id)
	checked := 0
	var worst int64
	for _, m := range follow[len(follow)-16:] {
		if !origins[m.PreciseOrigin] {
			t.Errorf("Follow_Up %d: preciseOriginTimestamp %v is none of the grand master's", m.SequenceID, m.PreciseOrigin)
		}
		if m.Correction.NS() <= 0 {
			t.Errorf("Follow_Up %d: correctionField %.0f ns", m.SequenceID, m.Correction.NS())
		}
		info, ok := m.Information()
		if ppm := (info.CumulativeScaledRateOffset.Ratio() - 1) * 1e6; !ok || math.Abs(ppm+100) > 30 {
			t.Errorf("Follow_Up %d: cumulativeScaledRateOffset %.3f ppm, want about -100", m.SequenceID, ppm)
		}
		if ns, ok := left[m.SequenceID]; ok {
			off := int64(m.PreciseOrigin.Seconds)*1_000_000_000 + int64(m.PreciseOrigin.Nanoseconds) + int64(m.Correction.NS()) - ns
			checked++
			if abs(off) > abs(worst) {
				worst = off
			}
		}
	}
	near(t, fmt.Sprintf("the worst of %d Follow_Ups is off the departure of its Sync by", checked), worst)
	if checked == 0 {
		t.Error("no Follow_Up has a Sync")
	}
}

func abs(n int64) int64 { return max(n, -n) }

// The grand master behind a relay dies, somebody else takes over for all, and
// it takes its place back when it returns. Then the relay dies and comes back.
func TestRestarts(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	x := startRelayed(t)
	x.gm.kill()
	await(t, "the relay is grand master", func() bool { return x.relay.status().IsGrandmaster })
	await(t, "the slave follows the relay", func() bool {
		return x.slave.pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == x.relay.id
	})
	x.gm.start()
	x.settle()
	x.relay.kill()
	await(t, "the slave is grand master", func() bool {
		return x.slave.pmc("GET PARENT_DATA_SET", 0)["grandmasterIdentity"] == x.slave.id
	})
	x.relay.start()
	x.settle()
}

// A ptp4l whose priority changes takes over, and yields again.
func TestTakeOverByPriority(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, b := link(t)
	d := startDaemon(t, a, options{ports: p1, gptp: busy + "  priority1: 100\n"})
	p := startPtp4l(t, b, "gPTP.cfg", p1, quick)
	await(t, "ptp4l follows us", p.said("UNCALIBRATED to SLAVE"))
	p.expect("SET PRIORITY1 50", 0, map[string]string{"priority1": "50"})
	await(t, "we follow ptp4l", d.follows(p.id))
	near(t, "true error", d.error())
	p.expect("SET PRIORITY1 200", 0, map[string]string{"priority1": "200"})
	await(t, "we are grand master", func() bool { return d.status().IsGrandmaster })
	await(t, "ptp4l follows us again", func() bool { return p.pmc("GET PORT_DATA_SET", 0)["portState"] == "SLAVE" })
}

// Another domain, minorVersionPTP 1: in both directions at once.
func TestDomainAndMinorVersion(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, r, b := kerneltest.NewNetNS(t), kerneltest.NewNetNS(t), kerneltest.NewNetNS(t)
	wire(t, a, "p1", r, "p1")
	wire(t, r, "p2", b, "p1")
	below := startCapture(t, r, "p2")
	domain := []string{"--domainNumber=20"}
	gm := startPtp4l(t, a, "gPTP.cfg", p1, quick, domain, []string{"--priority1=100"})
	d := startDaemon(t, r, options{ports: []string{"p1", "p2"}, gptp: busy + "  domain: 20\n  minorVersion: 1\n"})
	slave := startPtp4l(t, b, "gPTP.cfg", p1, quick, domain)
	await(t, "the relay follows", d.follows(gm.id))
	await(t, "the slave follows", slave.said("UNCALIBRATED to SLAVE"))
	slave.expect("GET PARENT_DATA_SET", 20, map[string]string{"grandmasterIdentity": gm.id, "parentPortIdentity": pmcID(d.id, 2)})
	for _, f := range below.all() {
		if _, payload, err := ptpmsg.ParseFrame(f.frame); err == nil && f.out && (payload[1] != 0x12 || payload[4] != 20) {
			t.Fatalf("versionPTP octet %#x, domain %d", payload[1], payload[4])
		}
	}
}

// A ptp4l of another domain is no grand master of this one.
func TestForeignDomain(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, b := link(t)
	startCapture(t, b, "p1")
	p := startPtp4l(t, a, "gPTP.cfg", p1, quick, []string{"--domainNumber=7", "--priority1=1"})
	d := startDaemon(t, b, options{ports: p1, gptp: busy})
	await(t, "ptp4l is master", p.said("assuming the grand master role"))
	await(t, "ptp4l is heard", func() bool { return d.counter("gptp_other_domain") > 20 })
	if s := d.status(); !s.IsGrandmaster {
		t.Errorf("%+v", s)
	}
}

// A slave of the automotive profile: no best master selection, asCapable from the start,
// and when its servo is stable it asks for another Sync interval in a Signaling
// message.
func TestAutomotiveSlave(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	a, b := link(t)
	c := startCapture(t, a, "p1")
	d := startDaemon(t, a, options{ports: p1, gptp: busy + "  priority1: 100\n"})
	slave := startPtp4l(t, b, "automotive-slave.cfg", p1, []string{
		"--pi_proportional_const=0.7", "--pi_integral_const=0.3", "--servo_offset_threshold=100000", "--servo_num_offset_values=4",
	})
	await(t, "the automotive slave's servo is stable", slave.said(" s3 "))
	await(t, "it asks for a Sync a second", func() bool { m, _ := sent[*ptpmsg.Signaling](c, slave.id); return len(m) > 0 })
	await(t, "it is sent one", func() bool { m, _ := sent[*ptpmsg.Sync](c, d.id); return m[len(m)-1].LogInterval == 0 })
	slave.expect("GET PORT_DATA_SET", 0, map[string]string{"portState": "SLAVE"})
	if s := d.status(); !s.IsGrandmaster || !s.Ports[0].AsCapable {
		t.Errorf("%+v", s)
	}
}

// One frame in eight lost both ways, for a relay between two ptp4ls: nobody is
// lost with them.
func TestPacketLoss(t *testing.T) {
	need(t, "ptp4l", "pmc", "setpriv")
	t.Parallel()
	x := startRelayed(t)
	loseFrames(t, x.relay.ns, "p1", 12)
	loseFrames(t, x.relay.ns, "p2", 12)
	seen, _ := sent[*ptpmsg.FollowUp](x.above, x.gm.id)
	before := len(seen)
	await(t, "48 more Syncs", func() bool { m, _ := sent[*ptpmsg.FollowUp](x.above, x.gm.id); return len(m) > before+48 })
	if s := x.relay.status(); !s.Synchronized || s.Grandmaster != x.gm.id || !s.Ports[0].AsCapable || !s.Ports[1].AsCapable {
		t.Errorf("%+v", s)
	}
	if x.relay.counter("gptp_lost_follow_ups")+x.relay.counter("gptp_lost_responses")+x.relay.counter("gptp_lost_transmit_stamps") == 0 {
		t.Error("nothing was lost")
	}
	near(t, "true error of the relay", x.relay.error())
	if text := strings.Join(x.slave.output(), "\n"); strings.Contains(text, "FAULTY") {
		t.Error("ptp4l is faulty")
	}
}
