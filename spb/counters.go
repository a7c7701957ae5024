package spb

// Counters only grow.
type Counters struct {
	Received         PDUCounters     `json:"received"`
	Sent             PDUCounters     `json:"sent"`
	Drops            DropCounters    `json:"drops"`
	Control          ControlCounters `json:"control"`
	AdjacencyChanges uint64          `json:"adjacencyChanges"`
	Originations     uint64          `json:"originations"`     // own fragments built
	Retransmissions  uint64          `json:"retransmissions"`  // LSPs sent again unacknowledged
	Purges           uint64          `json:"purges"`           // LSPs seen with, or aged to, lifetime 0
	CorruptLifetimes uint64          `json:"corruptLifetimes"` // RFC 7987 s3.2
	RestartsHelped   uint64          `json:"restartsHelped"`   // of neighbours (RFC 8706)
	AuthTolerated    uint64          `json:"authTolerated"`    // taken unverified (KeyChain.SendOnly)
	OwnLSPUnverified uint64          `json:"ownLspUnverified"` // RFC 5304 s2.1: outrun all the same
	SPFRuns          uint64          `json:"spfRuns"`
	ForwardingSets   uint64          `json:"forwardingSets"`  // Forwarding effects
	Agreements       uint64          `json:"agreements"`      // graphs that all neighbours agreed on
	SourceIDChanges  uint64          `json:"sourceIdChanges"` // SPSourceID taken by somebody else
}

// PDUCounters counts frames and what was in them.
type PDUCounters struct {
	Frames uint64 `json:"frames"`
	IIH    uint64 `json:"iih"`
	LSP    uint64 `json:"lsp"`
	CSNP   uint64 `json:"csnp"`
	PSNP   uint64 `json:"psnp"`
}

// DropCounters counts frames and entries not acted on, by reason.
type DropCounters struct {
	NotFabricPort   uint64 `json:"notFabricPort"`   // edge port, or port down
	Malformed       uint64 `json:"malformed"`       // frame or PDU structure
	Unsupported     uint64 `json:"unsupported"`     // PDU type SPB does not use
	OwnFrame        uint64 `json:"ownFrame"`        // our own source address came back
	AreaMismatch    uint64 `json:"areaMismatch"`    // hello without our area or level
	DuplicateSystem uint64 `json:"duplicateSystem"` // hello with our system id
	NoThreeWay      uint64 `json:"noThreeWay"`      // hello without a usable TLV 240
	NotForUs        uint64 `json:"notForUs"`        // hello naming another neighbour or circuit
	NoAdjacency     uint64 `json:"noAdjacency"`     // LSP or SNP before Up
	// Authentication; LSPs and SNPs only with an adjacency.
	AuthMissing        uint64 `json:"authMissing"`        // no TLV 10
	AuthBadDigest      uint64 `json:"authBadDigest"`      // wrong digest, or of a wrong length
	AuthUnknownKey     uint64 `json:"authUnknownKey"`     // key id that is not acceptable
	AuthUnexpectedType uint64 `json:"authUnexpectedType"` // other type than our keys', malformed, several
	BadPurge           uint64 `json:"badPurge"`           // RFC 6233: purge with more than a purge may have
	BadChecksum        uint64 `json:"badChecksum"`
	BadLSP             uint64 `json:"badLsp"`       // sequence number 0, too large, purge originator without purge
	DatabaseFull       uint64 `json:"databaseFull"` // Caps.MaxLSPs
	SNPSource          uint64 `json:"snpSource"`    // SNP not from the neighbour
	// Content of LSPs that is not used; counted whenever a node's LSP changes.
	StationsOverCap uint64 `json:"stationsOverCap"`
	RecordsOverCap  uint64 `json:"recordsOverCap"`
	BadRecord       uint64 `json:"badRecord"` // station record that does not decode
	// Records of other cores; counted whenever a node's LSP changes.
	GenInfoOverCap  uint64 `json:"genInfoOverCap"` // Caps.MaxRecordOctets
	BadGenInfo      uint64 `json:"badGenInfo"`     // record that does not decode
	ServicesOverCap uint64 `json:"servicesOverCap"`
	StaleDigest     uint64 `json:"staleDigest"` // SPB-Digest of a hello that was overtaken
}

// Counters returns a copy.
func (i *Instance) Counters() Counters { return i.counters }
