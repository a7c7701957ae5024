package spb

import "tsnswitch/spb/isispdu"

// protocols is TLV 129.
func (i *Instance) protocols() *isispdu.Protocols {
	t := &isispdu.Protocols{NLPIDs: []byte{isispdu.NLPIDSPB}}
	if i.cfg.CompatIPv4 {
		t.NLPIDs = append(t.NLPIDs, isispdu.NLPIDIPv4)
	}
	return t
}

// pad fills a hello up with TLV 8 (ISO/IEC 10589 8.2.3): a link that cannot
// carry the largest frames must not come up. Room for TLV 10 stays free.
func pad(h *isispdu.IIH) {
	left := isispdu.MaxPDU - authRoom - len(mustAppend(h))
	for left >= 2 {
		n := min(left-2, 255)
		h.TLVs = append(h.TLVs, &isispdu.Padding{Octets: make([]byte, n)})
		left -= 2 + n
	}
}
