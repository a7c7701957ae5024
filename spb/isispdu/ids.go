package isispdu

import (
	"bytes"
	"fmt"

	tsn "tsnswitch"
)

// LSPID names an LSP: system identifier (6), pseudonode number, fragment
// number (ISO/IEC 10589 9.8).
type LSPID [8]byte

// MakeLSPID names fragment number fragment of a system (pseudonode 0).
func MakeLSPID(sys tsn.MAC, fragment uint8) LSPID {
	return LSPID{sys[0], sys[1], sys[2], sys[3], sys[4], sys[5], 0, fragment}
}

// MaxLSPID is the end of the whole range of a CSNP.
var MaxLSPID = LSPID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// System returns the system identifier.
func (l LSPID) System() tsn.MAC { return tsn.MAC(l[:6]) }

// Pseudonode returns the pseudonode number; 0 is the system itself.
func (l LSPID) Pseudonode() uint8 { return l[6] }

// Fragment returns the LSP number.
func (l LSPID) Fragment() uint8 { return l[7] }

// Compare orders identifiers as octet strings, the order of a CSNP.
func (l LSPID) Compare(m LSPID) int { return bytes.Compare(l[:], m[:]) }

// String prints 0200.0000.0001.00-00.
func (l LSPID) String() string {
	return fmt.Sprintf("%x.%x.%x.%02x-%02x", l[0:2], l[2:4], l[4:6], l[6], l[7])
}

// MarshalText prints the identifier as String does.
func (l LSPID) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// NodeID is a system identifier with a pseudonode number, as source of an SNP
// and as neighbour in TLV 22.
type NodeID [7]byte

// MakeNodeID returns the system itself (pseudonode 0).
func MakeNodeID(sys tsn.MAC) NodeID {
	return NodeID{sys[0], sys[1], sys[2], sys[3], sys[4], sys[5], 0}
}

// System returns the system identifier.
func (n NodeID) System() tsn.MAC { return tsn.MAC(n[:6]) }

// Pseudonode returns the pseudonode number; 0 is the system itself.
func (n NodeID) Pseudonode() uint8 { return n[6] }

// String prints 0200.0000.0001.00.
func (n NodeID) String() string {
	return fmt.Sprintf("%x.%x.%x.%02x", n[0:2], n[2:4], n[4:6], n[6])
}
