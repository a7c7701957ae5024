package spb

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"math/bits"
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

// agreementDigest is the content of SPB-Digest behind its flags: format,
// convention, number of edges (2), reserved (8), sum of the MD5 of all edges (20).
type agreementDigest [32]byte

// digestConvention tells apart what is summed: the standard's convention does
// not cover ports and overload, on which this switch's trees depend too. Of a
// neighbour with another convention nothing can be said, as if it had no digest.
const digestConvention = 0xf0

// position is where this bridge is in the tree of a root.
type position struct {
	parent tsn.Port // towards the root; NoPort at the root itself
	dist   distance
	source uint32 // SPSourceID of the root, which its group addresses contain
	// children are the ports towards the bridges below, ascending; only for
	// roots whose trees carry groups.
	children []tsn.Port
}

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
	// generation counts Forwarding effects; withdrawn is the one with which all
	// that is different is gone; confirmed is the last that the kernel has.
	generation, withdrawn, confirmed uint64
}

// exchange is the state for one neighbour.
type exchange struct {
	// Of ours: the number and digest in our hellos, and whether it was echoed.
	number uint8
	sent   agreementDigest
	valid  bool
	echoed bool
	again  tsn.Instant // repeat the hello, Never if it is not waited for
	wait   int64
	// Of theirs. foreign: hellos without a digest, or one of another convention.
	known, theirsValid, foreign bool
	theirs                      agreementDigest
	theirNumber                 uint8
	// stale counts hellos in a row that were out of turn with one number.
	stale, staleNumber uint8
}

// claim is a station in a VLAN.
type claim struct {
	vid tsn.VID
	mac tsn.MAC
}

// firstNumber differs from the echo of a neighbour that has heard nothing.
const firstNumber = 1

const (
	agreementRetry = 20 * millisecond // doubled up to the hello interval
	agreementNews  = 5 * second       // a wait that long is worth a notice
	// So many hellos in a row with a number out of turn are no longer old ones
	// that were overtaken: what we took for their number was wrong.
	maxStale = 4
)

// forgotten: the neighbour has begun a new exchange; what it said before does
// not count, and it has to hear us again.
func (x *exchange) forgotten(now tsn.Instant) {
	again := x.again
	if x.valid {
		again = now.Add(agreementRetry)
	}
	*x = exchange{number: x.number, sent: x.sent, valid: x.valid, again: again, wait: agreementRetry}
}

func newExchange() exchange { return exchange{number: firstNumber, again: tsn.Never} }

// digest sums the graph up: all that trees and group addresses depend on.
func (t *topology) digest() agreementDigest {
	g := &t.graph
	var d agreementDigest
	d[1] = digestConvention
	var sum digestSum
	edges, sums := 0, t.edgeSums.of(g)
	for u := range g.id {
		if !t.connected[u] {
			continue
		}
		n := &t.nodes[u]
		sum = sum.plus(n.claimSum)
		if n.source != 0 || n.bare {
			var m [8 + 4]byte
			copy(m[:], g.id[u][:])
			binary.BigEndian.PutUint32(m[8:], n.source)
			if n.bare {
				m[8] = 1
			}
			sum = sum.add(md5.Sum(m[:]))
		}
		for _, e := range g.edges[g.first[u]:g.first[u+1]] {
			if int(e.to) < u {
				continue
			}
			edges++
		}
		sum = sum.plus(sums[u])
	}
	binary.BigEndian.PutUint16(d[2:], uint16(edges))
	binary.BigEndian.PutUint32(d[12:], uint32(sum[2]))
	binary.BigEndian.PutUint64(d[16:], sum[1])
	binary.BigEndian.PutUint64(d[24:], sum[0])
	return d
}

// edgeDigest is the MD5 of one link, the same seen from either end.
func (g *graph) edgeDigest(u int32, e edge) [md5.Size]byte {
	a, b, pa, pb := u, e.to, e.port, e.farPort
	if bytes.Compare(g.id[a][:], g.id[b][:]) > 0 {
		a, b, pa, pb = b, a, pb, pa
	}
	var m [8 + 8 + 4 + 2 + 2 + 1]byte
	copy(m[0:], g.id[a][:])
	copy(m[8:], g.id[b][:])
	binary.BigEndian.PutUint32(m[16:], e.metric)
	binary.BigEndian.PutUint16(m[20:], uint16(pa))
	binary.BigEndian.PutUint16(m[22:], uint16(pb))
	if !g.transit[a] {
		m[24] |= 1
	}
	if !g.transit[b] {
		m[24] |= 2
	}
	return md5.Sum(m[:])
}

// claimDigest is the MD5 of one station that a bridge says it reaches.
func claimDigest(id tsn.BridgeID, a bMAC) [md5.Size]byte {
	var m [8 + 6 + 2 + 4]byte
	copy(m[0:], id[:])
	copy(m[8:], a.mac[:])
	binary.BigEndian.PutUint16(m[14:], uint16(a.vid))
	binary.BigEndian.PutUint32(m[16:], a.claim)
	return md5.Sum(m[:])
}

// digestSum is the sum of digests, 20 octets used, least significant first.
type digestSum [3]uint64

func (s digestSum) add(d [md5.Size]byte) digestSum {
	return s.plus(digestSum{binary.BigEndian.Uint64(d[8:]), binary.BigEndian.Uint64(d[:])})
}

func (s digestSum) plus(t digestSum) (out digestSum) {
	var carry uint64
	for k := range out {
		out[k], carry = bits.Add64(s[k], t[k], carry)
	}
	return out
}

// newGraph compares the graph of an SPF run with the one before, and takes
// down what does not stand in it.
func (i *Instance) newGraph() {
	a, t := &i.agree, &i.top
	d := t.digest()
	changed := d != a.digest || !t.published
	a.digest = d
	if changed {
		if !a.pending {
			a.since, a.told = i.now, false
		}
		a.pending = true
	}
	if !t.published {
		i.adopt()
		return
	}
	if !a.pending { // same graph: groups may have come and gone
		i.placeAll()
		return
	}
	i.keepPlaces()
}

// keepPlaces leaves only what stands in the graph of now.
func (i *Instance) keepPlaces() {
	a, t := &i.agree, &i.top
	for _, alg := range i.algorithms {
		roots := i.groupRoots(alg)
		for mac, old := range a.standing[alg] {
			k := t.findNode(mac)
			now, ok := i.placeOf(alg, k)
			switch {
			case !ok:
				delete(a.standing[alg], mac)
			case now.parent != old.parent || now.dist != old.dist:
				delete(a.standing[alg], mac)
				a.flooding = false // its broadcast would travel by two trees
			case slices.Contains(roots, k) && now.source == old.source:
				children := i.childrenOf(alg, k)
				old.children = slices.DeleteFunc(slices.Clone(old.children), func(p tsn.Port) bool { return !slices.Contains(children, p) })
				a.standing[alg][mac] = old
			default:
				old.children, old.source = nil, now.source
				a.standing[alg][mac] = old
			}
		}
	}
	owners := i.ownersNow()
	for c, system := range a.owners {
		if owners[c] != system {
			delete(a.owners, c)
		}
	}
	ports := i.checkedPorts()
	a.floodPorts = slices.DeleteFunc(a.floodPorts, func(p tsn.Port) bool { return !slices.Contains(ports, p) })
}

// placeAll lets the places of now stand.
func (i *Instance) placeAll() {
	a, t := &i.agree, &i.top
	for _, alg := range i.algorithms {
		roots := i.groupRoots(alg)
		all := make(map[tsn.MAC]position, len(t.nodes))
		for k := range t.nodes {
			p, ok := i.placeOf(alg, int32(k))
			if !ok {
				continue
			}
			if slices.Contains(roots, int32(k)) {
				p.children = i.childrenOf(alg, int32(k))
			}
			all[t.nodes[k].system] = p
		}
		a.standing[alg] = all
	}
	a.flooding, a.floodPorts, a.owners = true, i.checkedPorts(), i.ownersNow()
}

// ownersNow is who owns each station in the graph of now.
func (i *Instance) ownersNow() map[claim]tsn.MAC {
	out := map[claim]tsn.MAC{}
	for _, b := range i.cfg.BaseVIDs {
		for _, o := range i.top.owned[b.VID] {
			out[claim{b.VID, o.mac}] = i.top.nodes[o.node].system
		}
	}
	return out
}

// owns reports whether it stands that a station belongs to a node.
func (a *agreement) owns(vid tsn.VID, station, system tsn.MAC) bool {
	return a.owners[claim{vid, station}] == system
}

// checkedPorts are the ports of the links that this bridge has in the graph,
// towards bridges that check what they take. One that cannot would take a
// broadcast from every side.
func (i *Instance) checkedPorts() []tsn.Port {
	t := &i.top
	self := t.findNode(i.cfg.SystemID)
	if self < 0 {
		return nil
	}
	var out []tsn.Port
	for _, e := range t.graph.edges[t.graph.first[self]:t.graph.first[self+1]] {
		if !t.nodes[e.to].bare {
			out = append(out, e.port)
		}
	}
	return out
}

// adopt begins with the places that the kernel holds already, of an earlier
// life: what is as this graph wants it stands, all else is withdrawn.
func (i *Instance) adopt() {
	a := &i.agree
	a.owners = map[claim]tsn.MAC{}
	for _, alg := range i.algorithms {
		a.standing[alg] = map[tsn.MAC]position{}
	}
	if i.cfg.Adopted == nil {
		return
	}
	i.placeAll()
	kernel := i.cfg.Adopted
	has := map[tsn.FDBEntry]bool{}
	for _, e := range kernel.FDB {
		e.Sticky = false
		has[e] = true
	}
	for _, b := range i.cfg.BaseVIDs {
		for mac, p := range a.standing[b.Algorithm] {
			if p.parent != tsn.NoPort && !has[tsn.FDBEntry{MAC: mac, VID: b.VID, Port: p.parent}] {
				delete(a.standing[b.Algorithm], mac)
				a.flooding = false
			}
		}
	}
	for c, system := range a.owners {
		if port := i.portTowards(c, system); port != tsn.NoPort && !has[tsn.FDBEntry{MAC: c.mac, VID: c.vid, Port: port}] {
			delete(a.owners, c)
		}
	}
	for _, p := range kernel.Ports {
		if !p.BcastFlood {
			a.floodPorts = slices.DeleteFunc(a.floodPorts, func(q tsn.Port) bool { return q == p.Port })
		}
	}
	i.adoptGroups(kernel)
}

// portTowards is the port by which this bridge reaches a station of a node.
func (i *Instance) portTowards(c claim, system tsn.MAC) tsn.Port {
	b, err := i.baseVID(c.vid)
	if err != nil {
		return tsn.NoPort
	}
	if system == i.cfg.SystemID {
		return i.stationPort(c.mac)
	}
	p, _ := i.placeOf(b.Algorithm, i.top.findNode(system))
	return p.parent
}

// placeOf is this bridge's place in the tree of node k now, without children.
func (i *Instance) placeOf(alg uint8, k int32) (position, bool) {
	tr := i.top.trees[alg]
	if k < 0 || tr == nil || tr.dist[k] == unreachable {
		return position{}, false
	}
	return position{parent: i.top.towards[alg][k], dist: tr.dist[k], source: i.top.nodes[k].source}, true
}

// stands reports whether the place for a root does.
func (a *agreement) stands(alg uint8, root tsn.MAC) bool {
	_, ok := a.standing[alg][root]
	return ok
}

// reachable tells whether frames to and from a root may pass: unicast follows
// the graph at once, unless the strict mode is on; a new root must wait while
// its broadcast would be flooded.
func (i *Instance) reachable(alg uint8, root tsn.MAC) bool {
	return i.agree.stands(alg, root) || (!i.strict() && !i.agree.flooding)
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

// advertiseDigest puts the digest into the hellos of a port, one number after
// the other: the next only when the last was echoed.
func (i *Instance) advertiseDigest(p *port) {
	x := &p.exchange
	if x.valid && x.sent == i.agree.digest {
		return
	}
	if x.valid && !x.echoed {
		return
	}
	if x.valid {
		x.number = (x.number + 1) & 3
	}
	x.valid, x.sent, x.echoed, x.wait = true, i.agree.digest, false, agreementRetry
	p.nextHello = i.now
	x.again = i.now.Add(x.wait)
}

// repeatDigest sends a hello again whose digest was not echoed.
func (i *Instance) repeatDigest(p *port) {
	x := &p.exchange
	if x.again > i.now {
		return
	}
	x.again = tsn.Never
	if p.adj.state == isispdu.Up && x.valid && !x.echoed && !x.foreign {
		x.wait = min(2*x.wait, i.cfg.HelloInterval)
		x.again = i.now.Add(x.wait)
		p.nextHello = i.now
	}
}

// digestTLV is what a hello of the port says.
func (i *Instance) digestTLV(p *port) isispdu.TLV {
	x := &p.exchange
	t := &isispdu.SPBDigest{Agreement: bytes.Clone(x.sent[:])}
	if x.valid {
		t.Flags = 1<<4 | x.number<<2
	}
	if x.known {
		t.Flags |= x.theirNumber
	}
	return t
}

// receiveDigest takes the neighbour's digest from a hello (RFC 6329 s13.2).
func (i *Instance) receiveDigest(p *port, tlvs []isispdu.TLV) {
	if p.adj.state != isispdu.Up {
		return
	}
	x := &p.exchange
	d, ok := findDigest(tlvs)
	valid := d != nil && d.Flags&(1<<4) != 0
	if d == nil || valid {
		i.vouch(p)
	}
	if d == nil || valid && !ok {
		x.foreign = true
		return
	}
	// Without V the neighbour has begun anew, and so will its numbers.
	x.foreign = false
	number, echo := d.Flags>>2&3, d.Flags&3
	if x.known && x.theirsValid && valid && (number-x.theirNumber)&3 > 1 {
		if x.stale++; x.staleNumber != number {
			x.stale, x.staleNumber = 1, number
		}
		if x.stale < maxStale {
			i.counters.Drops.StaleDigest++ // an old hello, overtaken on its way
			return
		}
	}
	x.stale = 0
	theirs := agreementDigest(d.Agreement)
	news := valid && (!x.known || number != x.theirNumber || theirs != x.theirs)
	if valid {
		x.known, x.theirNumber, x.theirs = true, number, theirs
	}
	x.theirsValid = valid
	if x.valid && !x.echoed && echo == x.number {
		x.echoed, x.again = true, tsn.Never
	}
	if news {
		p.nextHello = i.now // they wait for the echo
	}
}

// vouch takes note of a neighbour that answers for its kernel, or does not
// know how to.
func (i *Instance) vouch(p *port) {
	if !p.vouched {
		p.vouched = true
		i.top.dirty = i.top.dirty || slices.Contains(i.unlocked, p.cfg.Port)
	}
}

func findDigest(tlvs []isispdu.TLV) (*isispdu.SPBDigest, bool) {
	for _, c := range isispdu.All[*isispdu.MTPortCap](tlvs) {
		if c.MT&0xfff != 0 {
			continue
		}
		if d, ok := isispdu.Find[*isispdu.SPBDigest](c.SubTLVs); ok {
			return d, len(d.Agreement) == len(agreementDigest{}) && d.Agreement[1] == digestConvention
		}
	}
	return nil, false
}

// agrees reports whether the neighbour of a port holds nothing that is not of
// our graph, and knows that we do neither.
func (i *Instance) agrees(p *port) bool {
	x := &p.exchange
	if x.foreign {
		return i.now.Sub(i.agree.since) >= i.cfg.AgreementHold
	}
	return x.known && x.theirsValid && x.theirs == i.agree.digest && x.valid && x.sent == i.agree.digest && x.echoed
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
