package spb

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// GENINFO as a service (RFC 6823): the link-state database carries opaque
// records of other cores, which name their application by a number.
//
//	PublishRecord, WithdrawRecord ──> own LSP ──> flooding ──> every node
//	WatchRecords ──> RecordsChanged whenever some node's set is another one
//	Records(application) reads what all nodes publish
//
// A record is known by application, type and key; a second one with the same
// three replaces the first. On the wire it is one sub-TLV of that type:
//
//	octet 0   length of the key
//	      1-  the key, then the value up to the end
//
// Records live as long as the LSP that carries them: a node that withdraws or
// purges takes them back, one that falls silent is forgotten with its LSP
// (MaxAge). One that cannot be reached is still listed, as not reachable. A
// daemon that starts again publishes nothing until its cores publish again.
// Fragments arrive one by one, so while several records change a receiver may
// see a part of it; records that do not change stay where they are. A change
// of records alone costs no SPF run.

// MaxRecord is how many octets key and value of a record have together: what
// is left of TLV 251 (255 octets) after flags, application, sub-TLV header and
// key length. A record is never split.
const MaxRecord = 255 - 3 - 2 - 1

// NoticeRecordRefused is the Notice about a record that was not published.
const NoticeRecordRefused = "record-refused"

type (
	// PublishRecord floods a record, or replaces it. What is refused (see
	// CanPublish) is a Notice and changes nothing.
	PublishRecord struct {
		Application uint16
		Type        uint8
		Key, Value  []byte
	}
	// WithdrawRecord takes a record back; an unknown one is no error.
	WithdrawRecord struct {
		Application uint16
		Type        uint8
		Key         []byte
	}
	// WatchRecords starts or stops RecordsChanged for an application. If there
	// are records already, the first one comes at once.
	WatchRecords struct {
		Application uint16
		On          bool
	}
	// RecordsChanged is an effect: Records(Application) answers differently
	// for these nodes, ascending. It follows the TopologyChanged of its Step.
	RecordsChanged struct {
		Application uint16
		Systems     []tsn.MAC
	}
)

// RecordError says why a record is not published.
type RecordError struct {
	Application uint16
	Type        uint8
	Key         []byte
	Why         string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %d/%d/%x is not published: %s", e.Application, e.Type, e.Key, e.Why)
}

// record is a record with text for octets, so that it can be compared.
type record struct {
	application uint16
	kind        uint8
	key, value  string
}

func (r record) sameKey(s record) bool {
	return r.application == s.application && r.kind == s.kind && r.key == s.key
}

// octets is the length of the sub-TLV.
func (r record) octets() int { return 3 + len(r.key) + len(r.value) }

func compareRecords(a, b record) int {
	return cmp.Or(cmp.Compare(a.application, b.application), cmp.Compare(a.kind, b.kind), cmp.Compare(a.key, b.key))
}

// geninfo is the state of the service.
type geninfo struct {
	own     []record // ascending
	octets  int      // of own
	watched []uint16 // ascending
	nodes   []nodeRecords
	stale   []tsn.MAC // whose LSPs are others than nodes was read from
	// generation of the topology that reachable was read from.
	generation uint64
}

// nodeRecords is what one node publishes.
type nodeRecords struct {
	system    tsn.MAC
	reachable bool
	records   []record // ascending
}

// CanPublish returns nil, or a *RecordError that says why the record would be
// refused.
func (i *Instance) CanPublish(p PublishRecord) error {
	g, r := &i.gen, record{p.Application, p.Type, string(p.Key), string(p.Value)}
	refuse := func(format string, a ...any) error {
		return &RecordError{p.Application, p.Type, bytes.Clone(p.Key), fmt.Sprintf(format, a...)}
	}
	if p.Application == applicationStations {
		return refuse("application %d is the switch's own", p.Application)
	}
	if n := len(p.Key) + len(p.Value); n > MaxRecord {
		return refuse("key and value have %d octets, at most %d", n, MaxRecord)
	}
	total := g.octets + r.octets()
	if at, found := slices.BinarySearchFunc(g.own, r, compareRecords); found {
		total -= g.own[at].octets()
	}
	if limit := i.cfg.Caps.MaxRecordOctets; total > limit {
		return refuse("this bridge's records would have %d octets, at most %d: withdraw some", total, limit)
	}
	return nil
}

func (i *Instance) publishRecord(p PublishRecord) {
	if err := i.CanPublish(p); err != nil {
		i.notice(NoticeRecordRefused, tsn.NoPort, err.Error())
		return
	}
	if i.gen.add(record{p.Application, p.Type, string(p.Key), string(p.Value)}) {
		i.own.dirty = true
	}
}

// add publishes a record.
func (g *geninfo) add(r record) (changed bool) {
	at, found := slices.BinarySearchFunc(g.own, r, compareRecords)
	switch {
	case !found:
		g.own = slices.Insert(g.own, at, r)
	case g.own[at] == r:
		return false
	default:
		g.octets -= g.own[at].octets()
		g.own[at] = r
	}
	g.octets += r.octets()
	return true
}

func (i *Instance) withdrawRecord(w WithdrawRecord) {
	g, r := &i.gen, record{application: w.Application, kind: w.Type, key: string(w.Key)}
	if at, found := slices.BinarySearchFunc(g.own, r, compareRecords); found {
		g.octets -= g.own[at].octets()
		g.own = slices.Delete(g.own, at, at+1)
		i.own.dirty = true
	}
}

func (i *Instance) watchRecords(w WatchRecords) {
	g := &i.gen
	at, on := slices.BinarySearch(g.watched, w.Application)
	switch {
	case w.On == on:
	case on:
		g.watched = slices.Delete(g.watched, at, at+1)
	default:
		g.watched = slices.Insert(g.watched, at, w.Application)
		var systems []tsn.MAC
		for _, n := range g.nodes {
			if len(n.of(w.Application)) > 0 {
				systems = append(systems, n.system)
			}
		}
		if systems != nil {
			i.effects = append(i.effects, RecordsChanged{w.Application, systems})
		}
	}
}

// of is the part of one application.
func (n nodeRecords) of(application uint16) []record {
	from, _ := slices.BinarySearchFunc(n.records, application, func(r record, a uint16) int { return cmp.Compare(r.application, a) })
	to := from
	for to < len(n.records) && n.records[to].application == application {
		to++
	}
	return n.records[from:to]
}

// recordTLVs packs the own records into as few TLVs as their order allows;
// which fragment each of them is in, and stays in, is the layout's business.
func (g *geninfo) recordTLVs() []isispdu.TLV {
	var out []isispdu.TLV
	var last *isispdu.GenInfo
	left := 0
	for _, r := range g.own {
		if last == nil || last.Application != r.application || r.octets() > left {
			last = &isispdu.GenInfo{Flags: isispdu.GenInfoS, Application: r.application}
			out = append(out, last)
			left = 255 - 3
		}
		value := append([]byte{byte(len(r.key))}, r.key...)
		last.Records = append(last.Records, &isispdu.Raw{Type: r.kind, Value: append(value, r.value...)})
		left -= r.octets()
	}
	return out
}

// parseRecord reads a sub-TLV.
func parseRecord(application uint16, kind uint8, v []byte) (r record, ok bool) {
	if len(v) == 0 || int(v[0]) > len(v)-1 {
		return r, false
	}
	n := 1 + int(v[0])
	return record{application, kind, string(v[1:n]), string(v[n:])}, true
}

// lspChanged notes that an LSP in the database has other content. It reports
// whether that may concern anything but records.
func (g *geninfo) lspChanged(old, now *storedLSP) bool {
	g.touch(now.pdu.ID)
	return !bytes.Equal(withoutRecords(old), withoutRecords(now))
}

func (g *geninfo) touch(id isispdu.LSPID) {
	if s := id.System(); id.Pseudonode() == 0 && !slices.Contains(g.stale, s) {
		g.stale = append(g.stale, s)
	}
}

// withoutRecords is flags and TLVs of an LSP, less the records of other cores
// and the authentication; nil if there is no live LSP or it holds nothing else.
func withoutRecords(l *storedLSP) []byte {
	const flags, body = 26, 27
	if l == nil || l.purged {
		return nil
	}
	var out []byte
	for b := l.raw[body:]; len(b) >= 2; {
		n := 2 + int(b[1])
		if n > len(b) {
			break // cannot be: the PDU was parsed
		}
		foreign := b[0] == isispdu.CodeGenInfo && n >= 5 && binary.BigEndian.Uint16(b[3:]) != applicationStations
		if !foreign && b[0] != isispdu.CodeAuthentication {
			out = append(out, b[:n]...)
		}
		b = b[n:]
	}
	if out == nil && l.pdu.ID.Fragment() != 0 {
		return nil
	}
	return append(out, l.raw[flags])
}

// updateRecords reads the records of nodes whose LSPs have changed, and tells
// the watchers what is different.
func (i *Instance) updateRecords() {
	g := &i.gen
	var news []recordNews
	slices.SortFunc(g.stale, compareMAC)
	for _, s := range g.stale {
		at, known := g.find(s)
		fresh := nodeRecords{system: s, records: i.readNode(s)}
		old := nodeRecords{system: s}
		if known {
			old = g.nodes[at]
		}
		for _, a := range g.watched {
			if !slices.Equal(old.of(a), fresh.of(a)) {
				news = append(news, recordNews{a, s})
			}
		}
		switch {
		case known && len(fresh.records) == 0:
			g.nodes = slices.Delete(g.nodes, at, at+1)
		case known:
			g.nodes[at].records = fresh.records
		case len(fresh.records) > 0:
			fresh.reachable = i.reaches(s)
			g.nodes = slices.Insert(g.nodes, at, fresh)
		}
	}
	g.stale = g.stale[:0]
	if g.generation != i.top.generation {
		g.generation = i.top.generation
		news = append(news, i.updateReachable()...)
	}
	i.tell(news)
}

// recordNews: that application's records of that system are different.
type recordNews struct {
	application uint16
	system      tsn.MAC
}

func (i *Instance) updateReachable() (news []recordNews) {
	g := &i.gen
	for k := range g.nodes {
		n := &g.nodes[k]
		if now := i.reaches(n.system); now != n.reachable {
			n.reachable = now
			for _, a := range g.watched {
				if len(n.of(a)) > 0 {
					news = append(news, recordNews{a, n.system})
				}
			}
		}
	}
	return news
}

// tell makes one effect for each application.
func (i *Instance) tell(news []recordNews) {
	slices.SortFunc(news, func(a, b recordNews) int {
		return cmp.Or(cmp.Compare(a.application, b.application), compareMAC(a.system, b.system))
	})
	news = slices.Compact(news)
	for k, n := range news {
		if k == 0 || news[k-1].application != n.application {
			i.effects = append(i.effects, RecordsChanged{Application: n.application})
		}
		last := len(i.effects) - 1
		e := i.effects[last].(RecordsChanged)
		e.Systems = append(e.Systems, n.system)
		i.effects[last] = e
	}
}

func (g *geninfo) find(s tsn.MAC) (at int, known bool) {
	return slices.BinarySearchFunc(g.nodes, s, func(n nodeRecords, s tsn.MAC) int { return compareMAC(n.system, s) })
}

// readNode reads the records in a node's LSP. Without a live fragment 0 there
// are none (ISO/IEC 10589 7.2.5). A key that two fragments have, as while it
// moves, counts as the first one says.
func (i *Instance) readNode(s tsn.MAC) []record {
	if l := i.db.lsps[isispdu.MakeLSPID(s, 0)]; l == nil || l.purged {
		return nil
	}
	var out []record
	octets := 0
	at, _ := slices.BinarySearchFunc(i.db.order, isispdu.MakeLSPID(s, 0), isispdu.LSPID.Compare)
	for _, id := range i.db.order[at:] {
		if id.System() != s || id.Pseudonode() != 0 {
			break
		}
		l := i.db.lsps[id]
		if l.purged {
			continue
		}
		for _, t := range isispdu.All[*isispdu.GenInfo](l.pdu.TLVs) {
			if t.Application == applicationStations {
				continue
			}
			for _, sub := range t.Records {
				octets += isispdu.TLVLen(sub)
				if octets > i.cfg.Caps.MaxRecordOctets {
					i.counters.Drops.GenInfoOverCap++
				} else if r, ok := parseRecord(t.Application, sub.Code(), sub.(*isispdu.Raw).Value); ok {
					out = append(out, r)
				} else {
					i.counters.Drops.BadGenInfo++
				}
			}
		}
	}
	slices.SortStableFunc(out, compareRecords)
	return slices.CompactFunc(out, record.sameKey)
}

// reaches reports whether frames can be sent to a system, itself included.
func (i *Instance) reaches(s tsn.MAC) bool {
	k, t := i.top.findNode(s), i.top.trees[i.cfg.BaseVIDs[0].Algorithm]
	return k >= 0 && t != nil && t.dist[k] != unreachable
}

// NodeRecord is a record that a node publishes.
type NodeRecord struct {
	Type  uint8  `json:"type"`
	Key   []byte `json:"key"`
	Value []byte `json:"value"`
}

// NodeRecords is what one node publishes for an application.
type NodeRecords struct {
	SystemID    tsn.MAC      `json:"systemId"`
	Application uint16       `json:"application"`
	Reachable   bool         `json:"reachable"`
	Records     []NodeRecord `json:"records"` // by type and key
}

// Records lists the records of an application by node, this one included once
// its LSP is out. Nodes without any are left out.
func (i *Instance) Records(application uint16) []NodeRecords {
	out := []NodeRecords{}
	for _, n := range i.gen.nodes {
		part := n.of(application)
		if len(part) == 0 {
			continue
		}
		v := NodeRecords{SystemID: n.system, Application: application, Reachable: n.reachable}
		for _, r := range part {
			v.Records = append(v.Records, NodeRecord{r.kind, []byte(r.key), []byte(r.value)})
		}
		out = append(out, v)
	}
	return out
}

// RecordApplications lists the applications that have records, ascending.
func (i *Instance) RecordApplications() []uint16 {
	out := []uint16{}
	for _, n := range i.gen.nodes {
		for _, r := range n.records {
			out = append(out, r.application)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
