// Package isispdu is the codec of the IS-IS PDUs that IS-IS-SPB speaks: bytes
// to structs and back, without state.
//
//	Ethernet frame --ParseFrame--> PDU octets --Parse--> *IIH *LSP *CSNP *PSNP
//	Ethernet frame <-AppendFrame-- PDU octets <-Append-- (TLVs in order)
//
// Covered: ISO/IEC 10589 clause 9 (point-to-point IIH, level 1 LSP, CSNP and
// PSNP), RFC 1195 and RFC 5308 (protocols and addresses), RFC 5301 (host
// name), RFC 5303 (three-way handshake), RFC 5305 and RFC 5307 (extended IS
// reachability), RFC 6329 (SPB TLVs) and RFC 6823 (GENINFO). One file per
// PDU or TLV family, parse and append side by side.
//
// Decoding and encoding again gives the same octets: reserved bits are kept,
// and a TLV or sub-TLV that is unknown, or whose content does not have the
// layout of its code, is kept as Raw. Only damage to the PDU's own structure
// (header, length, a TLV running past the end) is an error.
//
// Not here yet: LAN and level 2 PDUs, authentication (TLV 10), SPBV-ADDR, the
// opaque ECT algorithm sub-TLVs, RFC 7813 and multi topology (TLV 222). They
// decode as Raw.
package isispdu
