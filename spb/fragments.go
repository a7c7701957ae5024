package spb

import (
	"slices"

	"tsnswitch/spb/isispdu"
)

// maxFragments is how many fragments the LSP number octet can count.
const maxFragments = 256

// layout remembers in which fragment each piece of the own LSP travels, so
// that one change does not flood everything again. A piece is a TLV, or one
// element of a TLV that is a list; it is known by its octets. place may know
// pieces that are gone: if they come back, they come where they were.
type layout struct {
	place map[string]uint8
	used  [maxFragments]bool // fragments with content
}

// piece is an element on its own, in a TLV that may take in others like it.
type piece struct {
	tlv    isispdu.TLV
	octets int // of the element, without the TLV around it
	key    string
	pinned bool // belongs to fragment 0
}

// pieces takes the TLVs apart, in order. What is not a list belongs to
// fragment 0, and so does SPB-Inst (RFC 6329 s14.1).
func pieces(tlvs []isispdu.TLV) []piece {
	out := make([]piece, 0, len(tlvs))
	var v []byte
	add := func(t isispdu.TLV, head int, pinned bool) {
		v = append(t.AppendValue(v[:0]), t.Code())
		out = append(out, piece{tlv: t, octets: len(v) - 1 - head, key: string(v), pinned: pinned})
	}
	for _, t := range tlvs {
		switch t := t.(type) {
		case *isispdu.ExtISReach:
			for k := range t.Neighbors {
				add(&isispdu.ExtISReach{Neighbors: t.Neighbors[k : k+1]}, 0, false)
			}
		case *isispdu.MTCapability:
			if hasInst(t) {
				add(t, 0, true)
				continue
			}
			for k := range t.SubTLVs {
				add(&isispdu.MTCapability{MT: t.MT, SubTLVs: t.SubTLVs[k : k+1]}, 2, false)
			}
		case *isispdu.GenInfo:
			for k := range t.Records {
				g := *t
				g.Records = t.Records[k : k+1]
				add(&g, len(g.AppendValue(nil))-isispdu.TLVLen(g.Records[0]), false)
			}
		default:
			add(t, 0, true)
		}
	}
	return out
}

// merge puts pieces that follow each other into common TLVs of at most 255
// octets.
func merge(list []piece) []isispdu.TLV {
	var out []isispdu.TLV
	room := 0 // left in the last TLV
	for k, p := range list {
		if k > 0 && p.octets <= room && sameList(list[k-1].tlv, p.tlv) {
			join(out[len(out)-1], p.tlv)
			room -= p.octets
			continue
		}
		out = append(out, listCopy(p.tlv))
		room = 255 + 2 - isispdu.TLVLen(p.tlv)
	}
	return out
}

// sameList tells whether b's elements may stand in the list a.
func sameList(a, b isispdu.TLV) bool {
	switch a := a.(type) {
	case *isispdu.ExtISReach:
		_, ok := b.(*isispdu.ExtISReach)
		return ok
	case *isispdu.MTCapability:
		b, ok := b.(*isispdu.MTCapability)
		return ok && a.MT == b.MT && !hasInst(a) && !hasInst(b)
	case *isispdu.GenInfo:
		b, ok := b.(*isispdu.GenInfo)
		return ok && a.Application == b.Application && a.Flags == b.Flags && a.IPv4 == b.IPv4 && a.IPv6 == b.IPv6
	}
	return false
}

func hasInst(t *isispdu.MTCapability) bool {
	_, ok := isispdu.Find[*isispdu.SPBInst](t.SubTLVs)
	return ok
}

// join appends the elements of b to the list a.
func join(a, b isispdu.TLV) {
	switch a := a.(type) {
	case *isispdu.ExtISReach:
		a.Neighbors = append(a.Neighbors, b.(*isispdu.ExtISReach).Neighbors...)
	case *isispdu.MTCapability:
		a.SubTLVs = append(a.SubTLVs, b.(*isispdu.MTCapability).SubTLVs...)
	case *isispdu.GenInfo:
		a.Records = append(a.Records, b.(*isispdu.GenInfo).Records...)
	}
}

// listCopy is a list that joining may change; other TLVs stay as they are.
func listCopy(t isispdu.TLV) isispdu.TLV {
	switch t := t.(type) {
	case *isispdu.ExtISReach:
		return &isispdu.ExtISReach{Neighbors: slices.Clone(t.Neighbors)}
	case *isispdu.MTCapability:
		return &isispdu.MTCapability{MT: t.MT, SubTLVs: slices.Clone(t.SubTLVs)}
	case *isispdu.GenInfo:
		g := *t
		g.Records = slices.Clone(t.Records)
		return &g
	}
	return t
}

// arrange lays the TLVs out in fragments of at most room octets of TLVs. What
// has a place keeps it; what is new goes where there is room. When half of the
// fragments in use would do, or the numbers run out, everything is packed
// afresh. fits is false if something had to be left out: the last of the list.
func (l *layout) arrange(tlvs []isispdu.TLV, room int) (fragments [maxFragments][]isispdu.TLV, fits bool) {
	list, kinds := byKind(pieces(tlvs))
	budget := elementBudget(kinds, room)
	place, count, fits := assign(list, l.place, budget)
	octets := 0
	for _, p := range list {
		octets += p.octets
	}
	if least := (octets + budget - 1) / budget; !fits || 2*least <= count {
		if fresh, n, ok := assign(list, nil, budget); !fits || 2*n <= count {
			place, fits = fresh, ok
		}
	}
	l.used = [maxFragments]bool{}
	if len(l.place) == 0 || len(l.place) > 2*len(list) {
		l.place = make(map[string]uint8, len(list)) // forget what has long gone
	}
	var content [maxFragments][]piece
	for k, f := range place {
		if f < 0 {
			continue
		}
		content[f] = append(content[f], list[k])
		l.used[f] = true
		if old, ok := l.place[list[k].key]; !ok || int(old) != f {
			l.place[list[k].key] = uint8(f)
		}
	}
	for f := range content {
		fragments[f] = merge(content[f])
	}
	return fragments, fits
}

// learn takes over the places that an earlier life of this node gave, so that
// after a restart the LSP is the same octet for octet.
func (l *layout) learn(fragment uint8, tlvs []isispdu.TLV) {
	if l.place == nil {
		l.place = map[string]uint8{}
	}
	for _, p := range pieces(tlvs) {
		l.place[p.key] = fragment
	}
}

// byKind brings pieces that may share a TLV together, in the order of each
// kind's first, and counts the kinds.
func byKind(list []piece) (sorted []piece, kinds int) {
	var groups [][]piece
next:
	for _, p := range list {
		for g := range groups {
			if sameList(groups[g][0].tlv, p.tlv) {
				groups[g] = append(groups[g], p)
				continue next
			}
		}
		groups = append(groups, []piece{p})
	}
	return slices.Concat(groups...), len(groups)
}

// elementBudget is how many octets of elements always fit room octets,
// whatever the division into TLVs. The head of a TLV has at most 7 octets. Of
// two neighbouring TLVs of one kind the elements have more than 245 octets
// together, otherwise they would be one; so E octets of k kinds need at most
// 2E/245 + k TLVs.
func elementBudget(kinds, room int) int {
	const head, pair = 7, 245
	return (room - head*kinds) * pair / (pair + 2*head)
}

// assign gives every piece a fragment with at most budget octets of elements,
// -1 if none has room, and counts the fragments with content. before is where
// pieces were, or nil.
func assign(list []piece, before map[string]uint8, budget int) (place []int, count int, fits bool) {
	place = make([]int, len(list))
	var size, pieces [maxFragments]int
	put := func(k, f, n int) {
		size[f] += n * list[k].octets
		pieces[f] += n
	}
	for k, p := range list {
		place[k] = -1
		if f, ok := before[p.key]; ok {
			place[k] = int(f)
		}
		if p.pinned {
			place[k] = 0
		}
		if place[k] >= 0 {
			put(k, place[k], 1)
		}
	}
	// A fragment that a change overfilled gives up its last pieces.
	for k := len(list) - 1; k >= 0; k-- {
		if f := place[k]; f >= 0 && !list[k].pinned && size[f] > budget {
			put(k, f, -1)
			place[k] = -1
		}
	}
	fits = true
	from := 0
	for k, p := range list {
		if place[k] >= 0 {
			continue
		}
		f := from
		for f < maxFragments && size[f]+p.octets > budget {
			f++
		}
		if f == maxFragments {
			fits = false
			continue
		}
		place[k] = f
		put(k, f, 1)
		if before == nil {
			from = f // in order, so that equal lists have equal fragments
		}
	}
	for _, n := range pieces {
		if n > 0 {
			count++
		}
	}
	return place, count, fits
}
