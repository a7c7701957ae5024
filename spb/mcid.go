package spb

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"

	"tsnswitch/spb/isispdu"
)

// mstidSPBM is the MSTID of VLANs under SPBM (802.1Q 27.4).
const mstidSPBM = 0xffc

// mcidKey is the Configuration Digest signature key (802.1Q 13.8).
var mcidKey = []byte{0x13, 0xac, 0x06, 0xa6, 0x2e, 0x47, 0xfd, 0x51, 0xf9, 0x5d, 0x2b, 0xa2, 0x43, 0xcd, 0x03, 0x46}

// makeMCID is the MST configuration identifier with an empty name: every VLAN
// on the CIST but the Base VIDs.
func makeMCID(vids []BaseVID) isispdu.MCID {
	var table [2 * 4096]byte
	for _, v := range vids {
		binary.BigEndian.PutUint16(table[2*int(v.VID):], mstidSPBM)
	}
	h := hmac.New(md5.New, mcidKey)
	h.Write(table[:])
	var m isispdu.MCID
	copy(m[35:], h.Sum(nil))
	return m
}
