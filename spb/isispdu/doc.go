// Package isispdu is the codec of the IS-IS PDUs that IS-IS-SPB speaks: bytes
// to structs and back, without state.
//
//	Ethernet frame --ParseFrame--> PDU octets --Parse--> *IIH *LSP *CSNP *PSNP *Other
//	Ethernet frame <-AppendFrame-- PDU octets <-Append-- (TLVs in order)
//
// Covered: ISO/IEC 10589 clause 9 (point-to-point IIH, level 1 LSP, CSNP and
// PSNP; the LAN and level 2 kinds as *Other, which SPB does not use), RFC 1195
// and RFC 5308 (protocols and addresses), RFC 5301 (host name), RFC 5303
// (three-way handshake), RFC 5305 and RFC 5307 (extended IS reachability), RFC
// 5120 (TLV 222 and 229), RFC 5304 and RFC 5310 (authentication, the TLV only:
// no key is known here), RFC 6232 and RFC 6233 (purges), RFC 6329 (SPB TLVs),
// RFC 6823 (GENINFO), RFC 7813 (explicit trees) and RFC 8706 (restart). One file
// per PDU or TLV family, parse and append side by side.
//
// Decoding and encoding again gives the same octets: reserved bits are kept,
// and a TLV or sub-TLV that is unknown, or whose content does not have the
// layout of its code, is kept as Raw. Only damage to the PDU's own structure
// (header, length, a TLV running past the end) is an error.
//
// What other implementations sent, in testdata/captures, comes back octet for
// octet. tshark and tcpdump print every PDU and TLV that the switch sends
// without finding fault; the tests name what those two do not know.
//
// Not here yet: the contents of TLVs that SPB has no use for, IP reachability
// among them. They are Raw.
package isispdu
