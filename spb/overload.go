package spb

import (
	"strings"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// waitingTime is how long the overload bit stays set after an LSP did not fit
// the database (ISO/IEC 10589 7.3.19).
const waitingTime = 60 * second

// overload gathers the reasons to set the overload bit. The bit keeps others
// from sending through this bridge; what is attached to it stays reachable.
type overload struct {
	operator string      // "" is not asked for
	startup  tsn.Instant // OverloadOnStartup ends
	full     tsn.Instant // waitingTime ends; the database was full
	// unsynchronised: a start in which not all is known yet (RFC 8706 s3.4.1).
	unsynchronised bool
	told           string
}

// reason lists why the overload bit is set, "" if it is not.
func (o *overload) reason(now tsn.Instant) string {
	var why []string
	if o.operator != "" {
		why = append(why, o.operator)
	}
	if o.startup > now {
		why = append(why, "just started")
	}
	if o.unsynchronised {
		why = append(why, "database not yet synchronised")
	}
	if o.full > now {
		why = append(why, "link-state database full")
	}
	return strings.Join(why, "; ")
}

// deadline is when a reason ends.
func (o *overload) deadline(now tsn.Instant) tsn.Instant {
	d := tsn.Never
	for _, end := range []tsn.Instant{o.startup, o.full} {
		if end > now {
			d = min(d, end)
		}
	}
	return d
}

// setOverload handles SetOverload.
func (i *Instance) setOverload(ev SetOverload) {
	i.over.operator = ""
	if ev.On {
		i.over.operator = cleanReason(ev.Reason)
	}
}

func cleanReason(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return "asked for by the operator"
	}
	return strings.ToValidUTF8(s[:min(len(s), 255)], "")
}

// databaseFull drops an LSP that does not fit (7.3.19): a bridge that does not
// know the whole region is no place to send through.
func (i *Instance) databaseFull(p *port, id isispdu.LSPID) {
	i.counters.Drops.DatabaseFull++
	if i.over.full <= i.now {
		i.notice(NoticeDatabaseFull, p.cfg.Port, "LSP "+id.String()+" dropped: raise the cap or find who floods")
	}
	i.over.full = i.now.Add(waitingTime)
}

// updateOverload makes the own LSP follow the reasons.
func (i *Instance) updateOverload() {
	why := i.over.reason(i.now)
	if why != i.over.told {
		i.own.dirty = true
	}
	i.over.told = why
}
