package spb

import (
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// The agreement protocol (802.1Q 13.17 and 28.4, RFC 6329 s4.3 and s13.2): no
// entry that could make a loop is installed before the neighbours have said
// that they hold none that it could make a loop with.
//
//	SPF: other graph ──> withdraw what is different ──Applied──> new digest, A+1
//	                                                             in every hello
//	install <── every neighbour in the graph says the same digest and echoes A
//
// Why that is enough. In a tree every bridge has a place: the port towards the
// root and the distance to it. Group frames leave a bridge only while its
// place stands, and a place stands across a change only if neither port nor
// distance is different. Of two neighbours whose places stand, the one that
// placed itself last had heard that the other's place was of the same graph,
// and the other had not left that graph since without hearing of it: that is what
// the echoed number is for. So along each link that carries a frame of the
// tree the distance grows, and there is no cycle; and as every bridge takes a
// frame from one port only, there is no second copy.
//
// A bridge whose daemon has died keeps its places. Its neighbours cannot agree
// with it on anything new, until they take the link out of the graph: then
// they neither send to it nor take anything from it.

// agreement is the state for the whole bridge.
type agreement struct {
	digest  agreementDigest // of the graph now
	pending bool            // what the graph asks for waits for the neighbours
	since   tsn.Instant     // of pending
	told    bool            // the wait has been reported
	// standing are the places that stand, by algorithm and root.
	standing [17]map[tsn.MAC]position
	// owners are the stations whose frames pass, and whose trees they follow: a
	// station that moved waits like a place that changed.
	owners map[claim]tsn.MAC
	// flooding: broadcast and unregistered groups may leave by floodPorts.
	flooding   bool
	floodPorts []tsn.Port
	// openPorts lead to neighbours that agreed on a graph with the link in it,
	// and it has been in the graph since: what they send is what stands. One
	// that was not asked yet may still send by the trees of an older graph.
	openPorts []tsn.Port
	// generation counts Forwarding effects; withdrawn is the one with which all
	// that is different is gone; confirmed is the last that the kernel has.
	generation, withdrawn, confirmed uint64
}

// strict is the mode in which unicast waits for agreement too. A cycle needs
// one bridge only that does not wait, so one bridge without the ingress check
// makes the whole fabric strict.
func (i *Instance) strict() bool {
	switch i.cfg.Strict {
	case StrictOn:
		return true
	case StrictOff:
		return false
	}
	return len(i.unlocked) > 0 || i.top.bare
}

// setUnlocked takes note of fabric ports without the ingress check.
func (i *Instance) setUnlocked(ports []tsn.Port) {
	i.unlocked = nil
	for _, p := range i.ports {
		if slices.Contains(ports, p.cfg.Port) {
			i.unlocked = append(i.unlocked, p.cfg.Port)
		}
	}
	i.own.dirty, i.top.dirty = true, true
}

// applied is the driver's answer to a Forwarding.
func (i *Instance) applied(ev Applied) {
	if ev.Err == "" && ev.Generation <= i.agree.generation {
		i.agree.confirmed = max(i.agree.confirmed, ev.Generation)
	}
}

// agreeing runs after every event: tell the neighbours what we hold, and
// install when all of them hold the same.
func (i *Instance) agreeing() {
	a := &i.agree
	if !i.top.published || a.confirmed < a.withdrawn {
		return
	}
	for _, p := range i.ports {
		if p.adj.state == isispdu.Up {
			i.advertiseDigest(p)
		}
	}
	if !a.pending || i.top.dirty && i.top.nextRun <= i.now {
		return
	}
	if waits := i.disagreeing(); len(waits) > 0 {
		if !a.told && i.now.Sub(a.since) >= agreementNews {
			a.told = true
			i.notice(NoticeNoAgreement, tsn.NoPort, fmt.Sprintf("group forwarding waits for %s: their view of the fabric differs", i.names(waits)))
		}
		return
	}
	a.pending = false
	i.counters.Agreements++
	i.placeAll()
	i.refreshState()
	i.publish()
}

// disagreeing lists the neighbours in the graph that have not agreed.
func (i *Instance) disagreeing() []tsn.MAC {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return nil
	}
	var out []tsn.MAC
	for _, e := range t.graph.edges[t.graph.first[self]:t.graph.first[self+1]] {
		far := t.nodes[e.to].system
		if !slices.ContainsFunc(i.ports, func(p *port) bool {
			return p.adj.state == isispdu.Up && p.adj.neighbor == far && i.agrees(p)
		}) {
			out = append(out, far)
		}
	}
	return out
}

// agreementDeadline is when agreeing has something to do by itself.
func (i *Instance) agreementDeadline() tsn.Instant {
	d, a := tsn.Never, &i.agree
	for _, p := range i.ports {
		d = min(d, p.exchange.again)
		if hold := a.since.Add(i.cfg.AgreementHold); a.pending && p.exchange.foreign && p.adj.state == isispdu.Up && hold > i.now {
			d = min(d, hold)
		}
	}
	if news := a.since.Add(agreementNews); a.pending && !a.told && news > i.now {
		d = min(d, news)
	}
	return d
}

// Agreement is how far the neighbours are with the graph of now.
type Agreement struct {
	Digest   string    `json:"digest"`
	Pending  bool      `json:"pending"`
	SinceNS  int64     `json:"sinceNs"`            // Instant of pending
	Waiting  []tsn.MAC `json:"waiting,omitempty"`  // neighbours that have not agreed
	Flooding bool      `json:"flooding"`           // broadcast may pass
	Strict   bool      `json:"strict"`             // unicast waits too
	Standing int       `json:"standing"`           // places that stand
	Withheld int       `json:"withheld,omitempty"` // places that wait
}

// Agreement returns the state of the agreement protocol.
func (i *Instance) Agreement() Agreement {
	a := &i.agree
	out := Agreement{
		Digest: fmt.Sprintf("%x", a.digest[2:4]) + fmt.Sprintf("-%x", a.digest[24:]), Pending: a.pending, SinceNS: int64(a.since),
		Flooding: a.flooding, Strict: i.strict(),
	}
	if a.pending {
		out.Waiting = i.disagreeing()
	}
	for _, alg := range i.algorithms {
		out.Standing += len(a.standing[alg])
		if tr := i.top.trees[alg]; tr != nil {
			out.Withheld += len(tr.settled)
		}
	}
	out.Withheld -= out.Standing
	return out
}

func (i *Instance) names(systems []tsn.MAC) string {
	s := ""
	for n, m := range systems {
		if n > 0 {
			s += ", "
		}
		if k := i.top.findNode(m); k >= 0 {
			s += i.top.name(k)
		} else {
			s += m.String()
		}
	}
	return s
}
