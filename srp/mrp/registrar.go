package mrp

import tsn "tsnswitch"

// registrar is a state of the Registrar (802.1Q table 10-4).
type registrar uint8

const (
	mt registrar = iota // not registered
	in
	lv // left, and given time to be declared again
)

func (r registrar) String() string { return [...]string{"MT", "IN", "LV"}[r] }

// Mode is a Registrar's Administrative Control (10.7.2).
type Mode uint8

// Administrative control values.
const (
	Normal    Mode = iota
	Fixed          // always registered, whatever is said
	Forbidden      // never registered
)

// registration is a Registrar with its leavetimer.
type registration struct {
	state registrar
	mode  Mode
	leave tsn.Instant // leavetimer, Never if not running
}

// registered reports whether the attribute counts as registered: IN, or LV.
func (r *registration) registered() bool {
	return r.mode == Fixed || r.mode == Normal && r.state != mt
}

// in reports whether what is sent says JoinIn or In.
func (r *registration) in() bool {
	return r.mode == Fixed || r.mode == Normal && r.state == in
}

// joined handles rNew!, rJoinIn! and rJoinMt!. told is whether MAD_Join is indicated.
func (r *registration) joined(isNew bool) (told bool) {
	if r.mode != Normal {
		return false
	}
	told = isNew || r.state == mt
	r.state, r.leave = in, tsn.Never
	return told
}

// left handles rLv!, rLA!, txLA! and Re-declare!.
func (r *registration) left(until tsn.Instant) {
	if r.mode == Normal && r.state == in {
		r.state, r.leave = lv, until
	}
}

// gone handles leavetimer! and Flush!. told is whether MAD_Leave is indicated.
func (r *registration) gone() (told bool) {
	told = r.mode == Normal && r.state != mt
	if r.mode == Normal {
		r.state = mt
	}
	r.leave = tsn.Never
	return told
}
