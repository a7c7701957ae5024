package mrp

import (
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
)

// table103 is table 10-3 as the standard lays it out: a row is an event, a
// column a state; "-" no change. In tx! and txLA! what is sent stands before
// the arrow: N New, J JoinIn or JoinMt, L Lv, s In or Mt, in brackets if it is
// only sent when it helps the encoding.
const table103 = `
               VO      VP    VN    AN       AA    QA    LA      AO      QO      AP    QP      LO
New!           VN      VN    -     -        VN    VN    VN      VN      VN      VN    VN      VN
Join!          VP      -     -     -        -     -     AA      AP      QP      -     -       VP
Lv!            -       VO    LA    LA       LA    LA    -       -       -       AO    QO      -
rNew!          -       -     -     -        -     -     -       -       -       -     -       -
rJoinIn!       AO      AP    -     -        QA    -     -       QO      -       QP    -       -
rJoinIn!p2p    -       -     -     -        QA    -     -       QO      -       QP    -       -
rIn!           -       -     -     -        -     -     -       -       -       -     -       -
rIn!p2p        -       -     -     -        QA    -     -       -       -       -     -       -
rJoinMt!       -       -     -     -        -     AA    -       -       AO      -     AP      VO
rMt!           -       -     -     -        -     AA    -       -       AO      -     AP      VO
rLv!           LO      -     -     VN       VP    VP    -       LO      LO      VP    VP      -
periodic!      -       -     -     -        -     AA    -       -       -       -     AP      -
tx!            [s]     J>AA  N>AN  N>AA     J>QA  [J]   L>VO    [s]     [s]     J>QA  [s]     s>VO
tx!IN          [s]     J>AA  N>AN  N>QA     J>QA  [J]   L>VO    [s]     [s]     J>QA  [s]     s>VO
txLA!          [s]>LO  s>AA  N>AN  N>QA     J>QA  J     [s]>LO  [s]>LO  [s]>LO  J>QA  J>QA    [s]
txLAF!         LO      -     -     VN       VP    VP    LO      LO      LO      VP    VP      -
`

func TestApplicantTable(t *testing.T) {
	causes := map[string]cause{
		"New!": causeNew, "Join!": causeJoin, "Lv!": causeLeave, "rJoinIn!": causeJoinIn, "rIn!": causeIn,
		"rJoinMt!": causeEmpty, "rMt!": causeEmpty, "rLv!": causeLeft, "periodic!": causePeriodic, "txLAF!": causeFull,
	}
	lines := strings.Split(strings.TrimSpace(table103), "\n")
	states := strings.Fields(lines[0])
	for _, line := range lines[1:] {
		row := strings.Fields(line)
		for i, cell := range row[1:] {
			from := applicant(i)
			if from.String() != states[i] {
				t.Fatalf("state %d is %s, the table's is %s", i, from, states[i])
			}
			event, p2p := strings.CutSuffix(row[0], "p2p")
			var got string
			if c, ok := causes[event]; ok {
				got = to(from, from.after(c, p2p))
			} else if event == "rNew!" {
				got = "-" // the participant gives the Applicant no such event
			} else {
				got = sendCell(from, event)
			}
			if got != cell {
				t.Errorf("%s in %s: %s, want %s", row[0], from, got, cell)
			}
		}
	}
}

func to(from, next applicant) string {
	if from == next {
		return "-"
	}
	return next.String()
}

func sendCell(from applicant, event string) string {
	s := from.sends(event == "txLA!", event == "tx!IN")
	cell := map[said]string{sayNew: "N", sayJoin: "J", sayLeave: "L", sayState: "s", mayJoin: "[J]", mayState: "[s]"}[s.say]
	if s.next != from {
		cell += ">" + s.next.String()
	}
	return cell
}

// Table 10-4: the Registrar, and what it indicates.
func TestRegistrarTable(t *testing.T) {
	const until = tsn.Instant(77)
	events := map[string]func(*registration) string{
		"rNew!":       func(r *registration) string { return map[bool]string{true: "+New"}[r.joined(true)] },
		"rJoinIn!":    func(r *registration) string { return map[bool]string{true: "+Join"}[r.joined(false)] },
		"rLv!":        func(r *registration) string { r.left(until); return "" },
		"leavetimer!": func(r *registration) string { return map[bool]string{true: "+Lv"}[r.gone()] },
	}
	for _, line := range strings.Split(strings.TrimSpace(`
rNew!        MT IN+New   IN IN+New  LV IN+New
rJoinIn!     MT IN+Join  IN IN      LV IN
rLv!         MT MT       IN LV      LV LV
leavetimer!  MT MT       IN MT+Lv   LV MT+Lv`), "\n") {
		row := strings.Fields(line)
		for i := 1; i < len(row); i += 2 {
			from := registrar(slices.Index([]string{"MT", "IN", "LV"}, row[i]))
			r := registration{state: from, leave: tsn.Never}
			if from == lv {
				r.leave = until
			}
			if got := events[row[0]](&r); r.state.String()+got != row[i+1] {
				t.Errorf("%s in %s: %s%s, want %s", row[0], from, r.state, got, row[i+1])
			}
			if running := r.leave != tsn.Never; running != (r.state == lv) {
				t.Errorf("%s in %s: leavetimer runs: %v", row[0], from, running)
			}
		}
	}
}

// What counts as a declaration decides whether a changed parameter is said again.
func TestDeclares(t *testing.T) {
	var got []string
	for a := range numApplicant {
		if a.declares() {
			got = append(got, a.String())
		}
	}
	if s := strings.Join(got, " "); s != "VP VN AN AA QA AP QP" {
		t.Error(s)
	}
}

// Table 10-5: LeaveAll, one row for an event, what follows in Active and Passive.
func TestLeaveAllTable(t *testing.T) {
	for _, c := range []struct {
		event           string
		active, passive bool // the state after it, from each
		restarts        bool
		do              func(*leaveAll)
	}{
		{"tx!", false, false, false, func(l *leaveAll) { l.sent() }},
		{"rLA!", false, false, true, func(l *leaveAll) { l.heard(7) }},
		{"leavealltimer!", true, true, true, func(l *leaveAll) { l.expire(7) }},
	} {
		for from, want := range map[bool]bool{true: c.active, false: c.passive} {
			l := leaveAll{active: from, timer: 3}
			if c.do(&l); l.active != want || (l.timer == 7) != c.restarts {
				t.Errorf("%s, active %v: %+v", c.event, from, l)
			}
		}
	}
}

// Table 10-5 in a participant: of two, the first whose timer runs out asks, and
// the other does not ask again.
func TestOneAsks(t *testing.T) {
	l := newLAN(t, MSRP(), 2, Timers{})
	l.stations[0].Join(0, Value{TypeListener, "\x02\x00\x00\x00\x00\x01\x00\x01"}, ListenerReady, true)
	l.run(1000 * second)
	a, b := l.stations[0].Counters().LeaveAlls, l.stations[1].Counters().LeaveAlls
	if sent := a[0] + b[0]; sent < 1000/15 || sent > 1000/10+2 {
		t.Errorf("%d LeaveAlls in 1000 s", sent)
	}
}
