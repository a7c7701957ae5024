package ptpmsg

import tsn "tsnswitch"

var (
	macA   = tsn.MAC{0x02, 0, 0, 0, 0, 0x0a}
	macB   = tsn.MAC{0x02, 0, 0, 0, 0, 0x0b}
	clockA = ClockIdentityFromMAC(macA)
	clockB = ClockIdentityFromMAC(macB)
)

type sample struct {
	name string
	msg  Message
	len  int // messageLength
}

// samples is one message of every kind and of every TLV this package knows.
func samples() []sample {
	head := func(flags uint16, seq uint16, control uint8, logInterval int8) Header {
		return Header{
			MajorSdoID: MajorSdoID, Flags: flags, Source: PortIdentity{clockA, 1}, SequenceID: seq,
			Control: control, LogInterval: logInterval,
		}
	}
	follow := &FollowUp{Header: head(0, 77, 2, -3), PreciseOrigin: Timestamp{1 << 40, 999_999_999}}
	follow.Correction = IntervalFromNS(123.5)
	follow.TLVs = []TLV{FollowUpInformation{
		CumulativeScaledRateOffset: ScaledRateFromRatio(1 - 100e-6), GmTimeBaseIndicator: 7,
		LastGmPhaseChange: ScaledFromNS(-1_000_000_001), ScaledLastGmFreqChange: ScaledRateFromRatio(1 + 1e-6),
	}.TLV()}
	signal := &Signaling{
		Header: head(0, 9, 5, LogIntervalNone), Target: PortIdentity{clockB, 3},
		TLVs: []TLV{IntervalRequest{LinkDelay: -128, TimeSync: -4, Announce: 127, Flags: 3}.TLV()},
	}
	oneStep := &Sync{
		Header: head(0, 78, 0, -3),
		TLVs:   []TLV{FollowUpInformation{CumulativeScaledRateOffset: ScaledRateFromRatio(1 + 50e-6), GmTimeBaseIndicator: 9}.TLV()},
	}
	oneStep.SetOrigin(Timestamp{1700000000, 5})
	signaling := func(seq uint16, tlvs ...TLV) *Signaling {
		return &Signaling{Header: head(0, seq, 5, LogIntervalNone), Target: AnyPort, TLVs: tlvs}
	}
	return []sample{
		{"sync", &Sync{Header: head(FlagTwoStep, 77, 0, -3)}, 44},
		{"follow-up", follow, 76},
		{"pdelay-req", &PdelayReq{Header: head(0, 5, 5, 0)}, 54},
		{"pdelay-resp", &PdelayResp{
			Header:         head(FlagTwoStep, 5, 5, LogIntervalNone),
			RequestReceipt: Timestamp{12, 34}, Requesting: PortIdentity{clockB, 1},
		}, 54},
		{"pdelay-resp-follow-up", &PdelayRespFollowUp{
			Header:         head(0, 5, 5, LogIntervalNone),
			ResponseOrigin: Timestamp{12, 56}, Requesting: PortIdentity{clockB, 1},
		}, 54},
		{"announce", &Announce{
			Header: head(FlagPtpTimescale|FlagCurrentUtcOffsetValid, 3, 5, 0), CurrentUtcOffset: 37,
			Priority1: 246, Quality: ClockQuality{248, 0xfe, 0x4e5d}, Priority2: 248, GrandMaster: clockA, TimeSource: 0xa0,
			TLVs: []TLV{PathTraceTLV([]ClockIdentity{clockA})},
		}, 76},
		{"announce-four-hops", &Announce{
			Header: head(FlagPtpTimescale, 4, 5, 0), Priority1: 246, Quality: ClockQuality{248, 0xfe, 0x4e5d},
			Priority2: 248, GrandMaster: clockB, StepsRemoved: 3, TimeSource: 0xa0,
			TLVs: []TLV{PathTraceTLV([]ClockIdentity{clockB, {1}, {2}, clockA})},
		}, 100},
		{"signaling", signal, 60},
		{"sync-one-step", oneStep, 76},
		{"gptp-capable", signaling(10, GptpCapable{LogInterval: -1, Flags: 1}.TLV()), 60},
		{"gptp-capable-interval-request", signaling(11, GptpCapableIntervalRequest{LogInterval: IntervalStop}.TLV()), 58},
		{"all-requests", signaling(12,
			IntervalRequest{LinkDelay: 0, TimeSync: IntervalInitial, Announce: IntervalLeave, Flags: 7}.TLV(),
			GptpCapableIntervalRequest{LogInterval: 2}.TLV()), 74},
	}
}
