package config

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tsnswitch"
)

// PlanNetwork is a network of which only SPB is of interest: who is joined to
// whom, at what metric. It is what `tsnctl plan paths --file` reads, YAML or
// JSON. A key that is left out or null has its default.
type PlanNetwork struct {
	Nodes []PlanNode `yaml:"nodes"`
	Links []PlanLink `yaml:"links"`
}

// PlanNode is a bridge. Name and SysID are required, and nobody else has them.
type PlanNode struct {
	Name       string     `yaml:"name"`
	SysID      SysID      `yaml:"sysid"`
	Priority   uint16     `yaml:"priority"`   // bridge priority [0x8000]
	SPSourceID SPSourceID `yaml:"spsourceid"` // has no say in paths
	Overload   bool       `yaml:"overload"`   // paths end here, none crosses
}

func (n *PlanNode) setDefaults() { n.Priority = 0x8000 }

// PlanLink joins two nodes by name. An end whose metric is left out, null or
// 16777215 does not advertise the link, which then is not used.
type PlanLink struct {
	A       string `yaml:"a"`
	B       string `yaml:"b"`
	MetricA uint32 `yaml:"metric_a"`
	MetricB uint32 `yaml:"metric_b"`
}

// notAdvertised is the largest metric: the link is not for SPB (RFC 6329 s14.2).
const notAdvertised = 1<<24 - 1

func (l *PlanLink) setDefaults() { l.MetricA, l.MetricB = notAdvertised, notAdvertised }

// maxPlanDocument allows for some ten thousand nodes.
const maxPlanDocument = 64 << 20

// SysID is a system identifier, written 02:00:00:00:00:01, 02-00-00-00-00-01,
// 0200.0000.0001 or 020000000001.
type SysID tsn.MAC

func (s SysID) String() string { return tsn.MAC(s).String() }

// UnmarshalText parses those forms.
func (s *SysID) UnmarshalText(b []byte) error {
	text := string(b)
	if m, err := tsn.ParseMAC(text); err == nil {
		*s = SysID(m)
		return nil
	}
	if len(text) == 14 && text[4] == '.' && text[9] == '.' {
		text = text[:4] + text[5:9] + text[10:]
	}
	octets, err := hex.DecodeString(text)
	if err != nil || len(octets) != 6 {
		return fmt.Errorf("%q is not a system id; write six octets: 02:00:00:00:00:01 or 0200.0000.0001", b)
	}
	*s = SysID(octets)
	return nil
}

// SPSourceID is 20 bits, written 0x70001, 458753 or 7.00.01.
type SPSourceID uint32

// UnmarshalText parses those forms.
func (s *SPSourceID) UnmarshalText(b []byte) error {
	text := string(b)
	if len(text) == 7 && text[1] == '.' && text[4] == '.' {
		text = "0x" + strings.ReplaceAll(text, ".", "")
	}
	n, err := strconv.ParseUint(text, 0, 20)
	if err != nil {
		return fmt.Errorf("%q is not an SPSourceID; write 20 bits: 0x70001, 458753 or 7.00.01", b)
	}
	*s = SPSourceID(n)
	return nil
}

// LoadPlanNetwork reads and checks a file. It also takes a file of the lab
// (Network): of that, the bridges and the links between them. The error is
// Errors unless the file cannot be read.
func LoadPlanNetwork(file string) (*PlanNetwork, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n, err := ParsePlanNetwork(file, data)
	if err == nil {
		return n, nil
	}
	if lab, labErr := ParseNetwork(file, data); labErr == nil {
		return lab.plan(), nil
	}
	return nil, err
}

func (n *Network) plan() *PlanNetwork {
	p := &PlanNetwork{}
	for _, x := range n.Nodes {
		if x.Kind == KindBridge {
			p.Nodes = append(p.Nodes, PlanNode{Name: x.Name, SysID: SysID(x.SystemID), Priority: x.Priority})
		}
	}
	for _, l := range n.Links {
		if n.Node(l.A.Node).Kind == KindBridge && n.Node(l.B.Node).Kind == KindBridge {
			p.Links = append(p.Links, PlanLink{l.A.Node, l.B.Node, l.Metric, l.Metric})
		}
	}
	return p
}

// ParsePlanNetwork checks a document; file is its name in errors.
func ParsePlanNetwork(file string, data []byte) (*PlanNetwork, error) {
	if bytes.IndexByte(data, '\t') >= 0 && json.Valid(data) {
		// JSON may be indented with tabs, YAML not. In JSON strings they are escaped.
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	n := &PlanNetwork{}
	d, ok := (&document{file: file, nullIsDefault: true, limit: maxPlanDocument}).decode(data, n)
	if ok || len(d.errs) == 0 {
		n.check(d)
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *PlanNetwork) check(d *document) {
	if len(n.Nodes) == 0 {
		d.bad("nodes", "there are none")
	}
	names, ids := map[string]string{}, map[SysID]string{}
	for i, x := range n.Nodes {
		key := fmt.Sprintf("nodes[%d]", i)
		if x.Name == "" {
			d.bad(key+".name", "is missing")
		} else {
			unique(d, names, key+".name", x.Name)
		}
		switch m := tsn.MAC(x.SysID); {
		case d.absent(key + ".sysid"):
			d.bad(key+".sysid", "is missing")
		case m.IsZero() || m.IsGroup():
			d.bad(key+".sysid", "%s is not an individual address", m)
		default:
			unique(d, ids, key+".sysid", x.SysID)
		}
	}
	for i, l := range n.Links {
		key := fmt.Sprintf("links[%d]", i)
		for _, end := range []struct {
			key, name string
			metric    uint32
		}{{"a", l.A, l.MetricA}, {"b", l.B, l.MetricB}} {
			if _, known := names[end.name]; end.name == "" {
				d.bad(key+"."+end.key, "is missing")
			} else if !known {
				d.bad(key+"."+end.key, "no node is called %q", end.name)
			}
			if end.metric > notAdvertised {
				d.bad(key+".metric_"+end.key, "%d is outside 0..16777215 (16777215 or null: the link is not advertised)", end.metric)
			}
		}
		if l.A == l.B && l.A != "" {
			d.bad(key, "joins %q to itself", l.A)
		}
	}
}
