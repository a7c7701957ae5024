package dataplane

import (
	"github.com/mdlayher/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	tsn "tsnswitch"
)

// setMQPrio makes a root that gives each class its queue and nothing else. Its
// options begin with struct tc_mqprio_qopt, not with an attribute.
func (c *conn) setMQPrio(index int, root taprioRoot) error {
	qopt := root.Qopt
	qopt[17] = 0 // hw: the driver has no say in the map
	return c.modify(unix.RTM_NEWQDISC, netlink.Create|netlink.Replace, tcmsg(index, rootHandle, netlinkRoot, 0), func(ae *netlink.AttributeEncoder) {
		ae.String(nl.TCA_KIND, "mqprio")
		ae.Bytes(nl.TCA_OPTIONS, append(qopt[:], 0, 0)) // aligned: the kernel looks for attributes behind it
	})
}

// ungated reports whether a root is the mqprio that setMQPrio makes.
func (k *kernel) ungated(p tsn.Port, q qdisc) bool {
	if q.kind != "mqprio" || q.handle != rootHandle || len(q.options) < sizeofMqprioQopt {
		return false
	}
	want := k.classes(p).root(k.cfg.ClassMap, k.port(p))
	have := want
	copy(have.Qopt[:], q.options)
	return have.equal(want)
}
