package mrp

// applicant is a state of the Applicant (802.1Q table 10-3).
type applicant uint8

// Very anxious, Anxious, Quiet, Leaving x Observer, Passive, Active (10.7.6.1).
const (
	vo applicant = iota
	vp
	vn
	an
	aa
	qa
	la
	ao
	qo
	ap
	qp
	lo
	numApplicant
	same = numApplicant // in a table: no transition
)

func (a applicant) String() string {
	return [...]string{"VO", "VP", "VN", "AN", "AA", "QA", "LA", "AO", "QO", "AP", "QP", "LO", "-"}[a]
}

// cause is an event of the Applicant other than a transmit opportunity.
type cause uint8

const (
	causeNew cause = iota
	causeJoin
	causeLeave
	causeJoinIn
	causeIn // on a point-to-point LAN only
	causeEmpty
	causeLeft // rLv!, rLA!, Re-declare!
	causePeriodic
	causeFull // txLAF!
	numCauses
)

// applicantTable is table 10-3 without its transmissions.
var applicantTable = [numCauses][numApplicant]applicant{
	//              VO    VP    VN    AN    AA    QA    LA    AO    QO    AP    QP    LO
	causeNew:      {vn, vn, same, same, vn, vn, vn, vn, vn, vn, vn, vn},
	causeJoin:     {vp, same, same, same, same, same, aa, ap, qp, same, same, vp},
	causeLeave:    {same, vo, la, la, la, la, same, same, same, ao, qo, same},
	causeJoinIn:   {ao, ap, same, same, qa, same, same, qo, same, qp, same, same},
	causeIn:       {same, same, same, same, qa, same, same, same, same, same, same, same},
	causeEmpty:    {same, same, same, same, same, aa, same, same, ao, same, ap, vo},
	causeLeft:     {lo, same, same, vn, vp, vp, same, lo, lo, vp, vp, same},
	causePeriodic: {same, same, same, same, same, aa, same, same, same, same, ap, same},
	causeFull:     {lo, same, same, vn, vp, vp, lo, lo, lo, vp, vp, same},
}

// after returns the state after c. pointToPoint is operPointToPointMAC: on such
// a LAN an observer needs not take note of others' joins (note 1), and an In
// says that all who are there have registered it.
func (a applicant) after(c cause, pointToPoint bool) applicant {
	switch {
	case c == causeJoinIn && pointToPoint && (a == vo || a == vp):
		return a
	case c == causeIn && !pointToPoint:
		return a
	}
	if next := applicantTable[c][a]; next != same {
		return next
	}
	return a
}

// said is what a transmit opportunity lets an attribute say.
type said uint8

const (
	nothing  said = iota
	sayNew        // sN
	sayJoin       // sJ: JoinIn or JoinMt
	sayLeave      // sL
	sayState      // s: In or Mt
	mayJoin       // [sJ]: only if it helps to encode others
	mayState      // [s]
)

// optional reports whether leaving it out loses nothing.
func (s said) optional() bool { return s == mayJoin || s == mayState || s == nothing }

type sending struct {
	say  said
	next applicant
}

// sendTable is the tx! row, leaveAllTable the txLA! row of table 10-3.
var sendTable = [numApplicant]sending{
	vo: {mayState, vo}, vp: {sayJoin, aa}, vn: {sayNew, an}, an: {sayNew, qa}, aa: {sayJoin, qa}, qa: {mayJoin, qa},
	la: {sayLeave, vo}, ao: {mayState, ao}, qo: {mayState, qo}, ap: {sayJoin, qa}, qp: {mayState, qp}, lo: {sayState, vo},
}

var leaveAllTable = [numApplicant]sending{
	vo: {mayState, lo}, vp: {sayState, aa}, vn: {sayNew, an}, an: {sayNew, qa}, aa: {sayJoin, qa}, qa: {sayJoin, qa},
	la: {mayState, lo}, ao: {mayState, lo}, qo: {mayState, lo}, ap: {sayJoin, qa}, qp: {sayJoin, qa}, lo: {mayState, lo},
}

// sends returns what a does at a transmit opportunity. registered is whether the
// Registrar is IN: a new attribute is said again until it is (note 8).
func (a applicant) sends(leaveAll, registered bool) sending {
	s := sendTable[a]
	if leaveAll {
		s = leaveAllTable[a]
	}
	if a == an && !leaveAll && !registered {
		s.next = aa
	}
	return s
}

// wants reports whether a has something to say: it needs a transmit opportunity.
func (a applicant) wants() bool { return !sendTable[a].say.optional() }

// declares reports whether a stands for a declaration of this system.
func (a applicant) declares() bool {
	switch a {
	case vp, vn, an, aa, qa, ap, qp:
		return true
	}
	return false
}

// event is the AttributeEvent of what is said.
func (s said) event(registered bool) Event {
	switch s {
	case sayNew:
		return New
	case sayLeave:
		return Lv
	case sayJoin, mayJoin:
		if registered {
			return JoinIn
		}
		return JoinMt
	}
	if registered {
		return In
	}
	return Mt
}
