package dataplane

import (
	"cmp"
	"fmt"
	"slices"

	tsn "tsnswitch"
)

// Priorities of streams (tsn.PriorityRules) are kept to them by flower filters:
//
//	egress   pref 0x74f0  a stream that leaves      skbedit priority PCP
//	         pref 0x7500  any other frame (guarded) skbedit priority 0
//	ingress  pref 0x7501  stream filters, see filter.go
//	         pref 0x7502  a stream that enters      as it is
//	         pref 0x7503  any other, by VLAN, PCP   vlan modify priority 0
//
// A stream that enters by a port with regeneration is not looked at by filters
// of later preference, ours or others'.

// RuleKind says what a rule does.
type RuleKind uint8

// The kinds.
const (
	// RuleAdmit lets a stream into the queue of its priority.
	RuleAdmit RuleKind = iota
	// RuleExempt keeps a stream out of regeneration.
	RuleExempt
	// RuleRegenerate gives frames of a VLAN with a priority another, 0 (802.1Q 6.9.4).
	RuleRegenerate
)

// Rule is one of them as the kernel holds it. The handle of RuleRegenerate is
// VLAN and priority alone; in VLAN 0 are frames with a priority and no VLAN.
type Rule struct {
	Port   tsn.Port
	Kind   RuleKind
	Handle tsn.StreamHandle
	Number uint32 // flower's handle, unique on the port and of the kind
	// Odd: it is not made as we make it.
	Odd bool
}

func compareRule(a, b Rule) int {
	return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Kind, b.Kind), tsn.CompareStreamHandles(a.Handle, b.Handle))
}

// rulePrefs are the preferences of the kinds.
var rulePrefs = [...]uint32{RuleAdmit: 0x74f0, RuleExempt: 0x7502, RuleRegenerate: 0x7503}

type (
	// SetRule makes a rule.
	SetRule struct{ Rule Rule }
	// DelRule removes one.
	DelRule struct{ Rule Rule }
)

// On returns the port.
func (o SetRule) On() tsn.Port { return o.Rule.Port }

// On returns the port.
func (o DelRule) On() tsn.Port { return o.Rule.Port }

// Do adds the rule.
func (o SetRule) Do(s *State) {
	i, _ := slices.BinarySearchFunc(s.Rules, o.Rule, compareRule)
	s.Rules = slices.Insert(s.Rules, i, o.Rule)
}

// Do removes the rule.
func (o DelRule) Do(s *State) {
	s.Rules = slices.DeleteFunc(s.Rules, func(r Rule) bool {
		return r.Port == o.Rule.Port && r.Kind == o.Rule.Kind && r.Number == o.Rule.Number
	})
}

// Text prints the op.
func (o SetRule) Text(c *Config) string { return "tc filter add " + o.Rule.text(c) }

// Text prints the op.
func (o DelRule) Text(c *Config) string { return "tc filter del " + o.Rule.text(c) }

func (r Rule) text(c *Config) string {
	s := fmt.Sprintf("dev %s %s pref %d flower ", c.ifname(r.Port), map[bool]string{true: "egress", false: "ingress"}[r.Kind == RuleAdmit], rulePrefs[r.Kind])
	switch r.Kind {
	case RuleAdmit:
		s += fmt.Sprintf("%s skbedit priority %d", r.Handle, r.Handle.PCP)
	case RuleExempt:
		s += fmt.Sprintf("%s pass", r.Handle)
	default:
		s += fmt.Sprintf("vlan %d pcp %d vlan modify priority 0", r.Handle.VID, r.Handle.PCP)
	}
	if r.Odd {
		s += " (made otherwise)"
	}
	return s
}

// rules makes the target's from those of the desired state. What a port has no
// way to do is left out; Features says so.
func (t *Target) rules(k Backend, d []tsn.PriorityRules) (errs []error) {
	for i, p := range d {
		if _, ok := k.Config().port(p.Port); !ok || i > 0 && d[i-1].Port >= p.Port {
			errs = append(errs, invalid("priorities of port %d: the port is not configured, or out of order", p.Port))
			continue
		}
		errs = append(errs, checkHandles(p.Port, p.Leaving, p.Guarded), checkHandles(p.Port, p.Entering, p.Regenerated))
		if i := slices.IndexFunc(t.Egress, func(e Egress) bool { return e.Port == p.Port }); i >= 0 {
			t.Egress[i].Guarded = p.Guarded
			t.addRules(p.Port, RuleAdmit, p.Leaving)
		}
		if p.Regenerated == 0 || k.Check(p.Port, FeatureRegeneration) != nil {
			continue
		}
		t.addRules(p.Port, RuleExempt, p.Entering)
		t.addRules(p.Port, RuleRegenerate, t.regenerated(p))
	}
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func checkHandles(p tsn.Port, hs []tsn.StreamHandle, of tsn.PrioritySet) error {
	for i, h := range hs {
		switch {
		case i > 0 && tsn.CompareStreamHandles(hs[i-1], h) >= 0:
			return invalid("port %d: %s is double or out of order", p, h)
		case h.Address.IsZero() || !h.VID.Valid() || !of.Has(h.PCP):
			return invalid("port %d: %s is no stream of priorities %s", p, h, of)
		}
	}
	return nil
}

func (t *Target) addRules(p tsn.Port, kind RuleKind, hs []tsn.StreamHandle) {
	for _, h := range hs {
		t.Rules = append(t.Rules, Rule{Port: p, Kind: kind, Handle: h})
	}
}

// regenerated are the priorities in each VLAN that frames may come in with:
// those of the port, and 0, of which the bridge keeps the priority.
func (t *Target) regenerated(p tsn.PriorityRules) (out []tsn.StreamHandle) {
	vids := append([]tsn.VID{0}, p.VLANs...)
	if t.Bridge != nil {
		for _, v := range t.Bridge.port(p.Port).VLANs {
			vids = append(vids, v.VID)
		}
	}
	for _, v := range vids {
		for pcp := range tsn.PCP(8) {
			if p.Regenerated.Has(pcp) {
				out = append(out, tsn.StreamHandle{VID: v, PCP: pcp})
			}
		}
	}
	return out
}

// planRules lets streams in before it shuts others out, and ends what is no
// longer wanted at last; but what is odd goes first, since there cannot be two
// filters for the same frames.
func planRules(have *State, t *Target, do func(Op)) {
	for _, r := range slices.Clone(have.Rules) {
		if r.Odd {
			do(DelRule{r})
		}
	}
	type place struct {
		port   tsn.Port
		kind   RuleKind
		number uint32
	}
	taken, next := map[place]bool{}, map[place]uint32{}
	for _, r := range have.Rules {
		taken[place{r.Port, r.Kind, r.Number}] = true
	}
	for kind := range RuleKind(len(rulePrefs)) {
		for _, w := range t.Rules {
			if w.Kind != kind {
				continue
			}
			if _, ok := slices.BinarySearchFunc(have.Rules, w, compareRule); ok {
				continue
			}
			if e := have.EgressOf(w.Port); !e.Hook {
				do(InstallHook{w.Port})
			}
			at := place{w.Port, w.Kind, 0}
			for w.Number = next[at] + 1; taken[place{w.Port, w.Kind, w.Number}]; w.Number++ {
			}
			next[at] = w.Number
			do(SetRule{w})
		}
	}
	for _, r := range slices.Clone(have.Rules) {
		if _, ok := slices.BinarySearchFunc(t.Rules, r, compareRule); !ok {
			do(DelRule{r})
		}
	}
}
