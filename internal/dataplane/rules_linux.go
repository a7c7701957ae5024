package dataplane

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// TCA_VLAN_* and TCA_GACT_* (linux/tc_act).
const (
	vlanParms, vlanID, vlanPriority = 2, 3, 6
	vlanModify                      = 3
	gactParms                       = 2
	verdictOK                       = 0
)

func (r Rule) hook() uint32 {
	if r.Kind == RuleAdmit {
		return atEgress
	}
	return atIngress
}

// ruleAction is what a rule's filter does, as it is sent and read back.
type ruleAction struct {
	kind               string
	verdict            int32
	modify             uint32 // of a VLAN action
	vid                uint16
	priority, skbuffer uint32
}

func (r Rule) action() ruleAction {
	switch r.Kind {
	case RuleAdmit:
		return ruleAction{kind: "skbedit", verdict: verdictPipe, skbuffer: uint32(r.Handle.PCP)}
	case RuleExempt:
		return ruleAction{kind: "gact", verdict: verdictOK}
	}
	return ruleAction{kind: "vlan", verdict: verdictNext, modify: vlanModify, vid: uint16(r.Handle.VID)}
}

func ruleRequest(index int, r Rule) (request, error) {
	h := tcmsg(index, r.Number, r.hook(), filterInfo(rulePrefs[r.Kind]))
	return newRequest(unix.RTM_NEWTFILTER, netlink.Create|netlink.Excl, h, func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "flower")
		ae.Nested(nl.TCA_OPTIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(nl.TCA_FLOWER_KEY_ETH_TYPE, binary.BigEndian.AppendUint16(nil, unix.ETH_P_8021Q))
			if !r.Handle.Address.IsZero() {
				ae.Bytes(nl.TCA_FLOWER_KEY_ETH_DST, r.Handle.Address[:])
			}
			if !r.Handle.Source.IsZero() {
				ae.Bytes(nl.TCA_FLOWER_KEY_ETH_SRC, r.Handle.Source[:])
			}
			ae.Uint16(nl.TCA_FLOWER_KEY_VLAN_ID, uint16(r.Handle.VID))
			ae.Uint8(nl.TCA_FLOWER_KEY_VLAN_PRIO, uint8(r.Handle.PCP))
			ae.Nested(nl.TCA_FLOWER_ACT, func(ae *netlink.AttributeEncoder) error {
				ae.Nested(1, func(ae *netlink.AttributeEncoder) error {
					a := r.action()
					ae.String(nl.TCA_ACT_KIND, a.kind)
					ae.Nested(nl.TCA_ACT_OPTIONS, func(ae *netlink.AttributeEncoder) error {
						a.encode(ae)
						return nil
					})
					return nil
				})
				return nil
			})
			return nil
		})
	})
}

func delRuleRequest(index int, r Rule) (request, error) {
	return newRequest(unix.RTM_DELTFILTER, 0, tcmsg(index, r.Number, r.hook(), filterInfo(rulePrefs[r.Kind])), nil)
}

// encode writes struct tc_gen (index, capab, action, ...), which all actions
// have, and what is theirs.
func (a ruleAction) encode(ae *netlink.AttributeEncoder) {
	parms := make([]byte, 20)
	binary.NativeEndian.PutUint32(parms[8:], uint32(a.verdict))
	switch a.kind {
	case "skbedit":
		ae.Bytes(nl.TCA_SKBEDIT_PARMS, parms)
		ae.Uint32(nl.TCA_SKBEDIT_PRIORITY, a.skbuffer)
	case "gact":
		ae.Bytes(gactParms, parms)
	case "vlan":
		ae.Bytes(vlanParms, binary.NativeEndian.AppendUint32(parms, a.modify))
		ae.Uint16(vlanID, a.vid)
		ae.Uint8(vlanPriority, uint8(a.priority))
	}
}

func (a *ruleAction) decode(ad *netlink.AttributeDecoder) {
	parms := func(b []byte) {
		if len(b) >= 20 {
			a.verdict = int32(binary.NativeEndian.Uint32(b[8:]))
		}
		if len(b) >= 24 {
			a.modify = binary.NativeEndian.Uint32(b[20:])
		}
	}
	switch t := ad.Type(); a.kind {
	case "skbedit":
		switch t {
		case nl.TCA_SKBEDIT_PARMS:
			parms(ad.Bytes()[:min(20, len(ad.Bytes()))])
		case nl.TCA_SKBEDIT_PRIORITY:
			a.skbuffer = ad.Uint32()
		}
	case "gact":
		if t == gactParms {
			parms(ad.Bytes()[:min(20, len(ad.Bytes()))])
		}
	case "vlan":
		switch t {
		case vlanParms:
			parms(ad.Bytes())
		case vlanID:
			a.vid = ad.Uint16()
		case vlanPriority:
			a.priority = uint32(ad.Uint8())
		}
	}
}

// rules reads the rules of a port, and how many frames of each priority were
// let into its queue.
func (c *conn) rules(p tsn.Port, index int) (rs []Rule, admitted [8]uint64, err error) {
	for _, hook := range []uint32{atEgress, atIngress} {
		ms, err := c.dump(unix.RTM_GETTFILTER, tcmsg(index, 0, hook, 0), nil)
		if err != nil {
			return nil, admitted, fmt.Errorf("listing rules of priorities: %w", err)
		}
		for _, m := range ms {
			r := Rule{Port: p, Number: binary.NativeEndian.Uint32(m[8:])}
			if !r.at(binary.NativeEndian.Uint32(m[16:]), hook) || r.Number == 0 { // 0: the head of the whole preference
				continue
			}
			frames, err := r.parse(m[20:])
			if err != nil {
				return nil, admitted, fmt.Errorf("listing rules of priorities: %w", err)
			}
			if r.Kind == RuleAdmit {
				admitted[r.Handle.PCP&7] += frames
			}
			rs = append(rs, r)
		}
	}
	return rs, admitted, nil
}

// at gives the rule the kind of a preference.
func (r *Rule) at(info, hook uint32) bool {
	for kind, pref := range rulePrefs {
		if r.Kind = RuleKind(kind); info == filterInfo(pref) && r.hook() == hook {
			return true
		}
	}
	return false
}

func (r *Rule) parse(attrs []byte) (frames uint64, err error) {
	var f streamFilter
	if err := each(attrs, func(ad *netlink.AttributeDecoder) {
		if ad.Type() == nl.TCA_OPTIONS {
			nested(ad, f.key)
		}
	}); err != nil {
		return 0, err
	}
	r.Handle = f.Handle
	if len(f.actions) != 1 {
		r.Odd = true
		return 0, nil
	}
	got := ruleAction{kind: f.actions[0].kind}
	err = each(f.actions[0].options, got.decode)
	r.Odd = got != r.action()
	return f.actions[0].seen, err
}

// readRules reads the rules of every port that can have some.
func (k *kernel) readRules(s *State) error {
	s.Rules = nil
	for _, p := range k.cfg.Ports {
		if !s.EgressOf(p.Port).Hook {
			continue
		}
		rs, _, err := k.c.rules(p.Port, k.links[p.Ifname].index)
		if err != nil {
			return fmt.Errorf("port %d: %w", p.Port, err)
		}
		s.Rules = append(s.Rules, rs...)
	}
	s.Sort()
	return nil
}

// probeRules makes one of those that regeneration takes.
func (c *conn) probeRules(index int) error {
	for _, kind := range []RuleKind{RuleExempt, RuleRegenerate} {
		if err := c.send(ruleRequest(index, Rule{Kind: kind, Number: 1, Handle: tsn.StreamHandle{VID: 2, PCP: 3}})); err != nil {
			return err
		}
	}
	return nil
}
