package dataplane

import (
	"fmt"

	"github.com/mdlayher/netlink"
)

// MACMerge is what the MAC merge sublayer of a port shall do (802.3 clause 99,
// managed by 30.14): whether preemptible frames are sent in fragments and those
// of the peer put together.
type MACMerge struct {
	Enabled bool
	// Verify: the peer is asked first whether it can do the same, and asked
	// again every VerifyTime (whole ms, 1..128) until it answers.
	Verify     bool
	VerifyTime int64 // ns
	// AddFragSize: a fragment that is not the last has 64*(1+AddFragSize)
	// octets, its check sequence included; 0..3 (30.14.1.7).
	AddFragSize uint8
}

// Validate reports what 802.3 does not allow.
func (m MACMerge) Validate() error {
	if m.VerifyTime < msec || m.VerifyTime > 128*msec || m.VerifyTime%msec != 0 {
		return fmt.Errorf("verify time %d ns is not 1..128 whole ms", m.VerifyTime)
	}
	if m.AddFragSize > 3 {
		return fmt.Errorf("addFragSize %d is outside 0..3", m.AddFragSize)
	}
	return nil
}

const msec = 1_000_000

// minFragment is the fragment without its check sequence, as the kernel has it.
func (m MACMerge) minFragment() uint32 { return 64*(1+uint32(m.AddFragSize)) - 4 }

// MACMergeStatus is what became of it.
type MACMergeStatus struct {
	MACMerge
	Active bool   // fragments are sent: enabled, and the peer has answered if asked
	Verify string // aMACMergeStatusVerify
	Counts MACMergeCounters
}

// MACMergeCounters are those of 802.3 30.14.1.8 to 30.14.1.13, by clause 99's
// names.
type MACMergeCounters struct {
	FrameAssErrors, FrameSMDErrors, FrameAssOK uint64
	FragsRx, FragsTx, Holds                    uint64
}

// verifyStatus are the words for enum ethtool_mm_verify_status.
var verifyStatus = [...]string{"unknown", "initial", "verifying", "succeeded", "failed", "disabled"}

// Attributes of ETHTOOL_MSG_MM_GET and _SET (linux/ethtool_netlink.h).
const (
	mmHeader        = 1
	mmPMACEnabled   = 2
	mmTxEnabled     = 3
	mmTxActive      = 4
	mmTxMinFrag     = 5
	mmVerifyEnabled = 7
	mmVerifyStatus  = 8
	mmVerifyTime    = 9
	mmStats         = 11
)

// encodeMM writes the settings behind the header.
func encodeMM(ae *netlink.AttributeEncoder, m MACMerge) {
	ae.Uint8(mmPMACEnabled, onOff(m.Enabled))
	ae.Uint8(mmTxEnabled, onOff(m.Enabled))
	ae.Uint32(mmTxMinFrag, m.minFragment())
	ae.Uint8(mmVerifyEnabled, onOff(m.Verify))
	ae.Uint32(mmVerifyTime, uint32(m.VerifyTime/msec))
}

func onOff(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// decodeMM reads a reply. Enabled needs both directions.
func decodeMM(b []byte) (MACMergeStatus, error) {
	var s MACMergeStatus
	var pmac, tx bool
	err := each(b, func(ad *netlink.AttributeDecoder) {
		switch ad.Type() {
		case mmPMACEnabled:
			pmac = ad.Uint8() != 0
		case mmTxEnabled:
			tx = ad.Uint8() != 0
		case mmTxActive:
			s.Active = ad.Uint8() != 0
		case mmTxMinFrag:
			s.AddFragSize = uint8(min(ad.Uint32()/64, 255))
		case mmVerifyEnabled:
			s.MACMerge.Verify = ad.Uint8() != 0
		case mmVerifyStatus:
			s.Verify = verifyStatus[min(int(ad.Uint8()), len(verifyStatus)-1)]
		case mmVerifyTime:
			s.VerifyTime = int64(ad.Uint32()) * msec
		case mmStats:
			nested(ad, s.Counts.decode)
		}
	})
	s.Enabled = pmac && tx
	if err != nil {
		return MACMergeStatus{}, fmt.Errorf("MAC merge state: %w", err)
	}
	return s, nil
}

func (c *MACMergeCounters) decode(ad *netlink.AttributeDecoder) {
	for i, v := range []*uint64{&c.FrameAssErrors, &c.FrameSMDErrors, &c.FrameAssOK, &c.FragsRx, &c.FragsTx, &c.Holds} {
		if int(ad.Type()) == i+2 { // 1 is padding
			*v = ad.Uint64()
		}
	}
}

func (m MACMerge) String() string {
	on := map[bool]string{false: "off", true: "on"}
	return fmt.Sprintf("pmac-enabled %s tx-enabled %[1]s verify-enabled %s verify-time %d tx-min-frag-size %d",
		on[m.Enabled], on[m.Verify], m.VerifyTime/msec, m.minFragment())
}
