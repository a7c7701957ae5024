package srp

import "tsnswitch"

// FailureCause is what makes this bridge fail a stream with a code.
type FailureCause struct {
	Code tsn.FailureCode
	// When says in which case, Remedy what would make the stream fit.
	When, Remedy string
}

// FailureCauses lists, in ascending order, every code of 802.1Q table 35-6 and
// of 802.1Qcc table 46-15, and when this bridge gives it. The bridge that is
// named beside a code is always the one that gave it: others pass both on.
func FailureCauses() []FailureCause {
	return []FailureCause{
		{1, "the classes together would exceed the port's share for streams", "less bandwidth, or other streams withdrawn"},
		{2, "no frame in an interval: the standard has no code for it", "declare at least one frame"},
		{3, "the class would exceed its share of the port, with what higher classes leave of theirs", "less bandwidth, or other streams of the class withdrawn"},
		{4, "another owner (a management client, distlink) holds a stream with this id; of two MSRP talkers the first stands", "another stream id"},
		{5, "another stream goes to the same destination in the same VLAN", "another destination address"},
		{6, "emergency streams have the bandwidth", "wait until they leave"},
		{7, "under a reservation the latency grew, by a slower link or by what the talker's side reports", "the listener asks anew"},
		{8, "the port is no part of the SR domain: it keeps no time, or its neighbour has the class at another priority or not at all", "see the domain of the port's neighbour"},
		{9, "the destination is neither a group nor a local address, or it is the broadcast address", "another destination address"},
		{10, "the table of streams is full, or the talker's port declares more than are taken from one", "fewer streams"},
		{11, "talkers are pruned, and MMRP has no room for what the listener may have registered", "fewer groups on the port"},
		{12, "the bridge stores no more group entries", "fewer streams to groups"},
		{13, "the priority is that of no SR class", "the priority of class A or B"},
		{14, "the frames are longer than the port takes", "shorter frames"},
		{15, "streams already come in by as many ports as may be", "another port, or a higher limit"},
		{16, "the talker declares two different wishes under one id", "withdraw the first, then declare the second"},
		{17, "the VLAN is none, is forbidden on the port, is no VLAN of the fabric, or the listener's port is not in it", "another VLAN, one of the fabric, or let the listener register it by MVRP"},
		{18, "the VLAN leaves the port untagged, and so without its priority", "make the port a tagged member"},
		{19, "the talker's neighbourhood has the class at another priority, or another class at this one", "the same priorities in the whole domain"},
		{20, "the port's neighbour speaks MSRP version 0, which cannot say how many frames come in a class's interval", "a neighbour of version 1, or a longer interval"},
		{21, "the way up to here takes longer than the talker or a listener allows", "another way, a faster link, or a greater maximum latency"},
		{22, "the talker cannot tag its frames, or does not say address, VLAN and priority: no bridge here does so for it", "frames with a tag, told apart by address and VLAN"},
		{23, "the frames are told apart by IP addresses, and no bridge here transforms streams", "frames told apart by address and VLAN"},
		{24, "the same, and the station offers to transform them in ways that are not known here", "frames told apart by address and VLAN"},
		{25, "the talker asks for times to transmit at or for replication of its frames, which only a central configuration plans", "request it as a scheduled stream (tsnctl stream)"},
	}
}
