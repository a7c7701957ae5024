package isispdu

import "encoding/binary"

// Places inside an LSP (ISO/IEC 10589 9.8). The checksum covers LSP ID to the
// end; remaining lifetime is outside, so that it can be counted down.
const (
	lspLifetimeAt = 10
	lspSumFrom    = 12
	lspChecksumAt = 24
)

// fletcher returns the two running sums of ISO 8473 over b, modulo 255.
func fletcher(b []byte) (c0, c1 int) {
	for len(b) > 0 {
		// 5802 octets are the most that cannot overflow 31 bits.
		n := min(len(b), 5802)
		for _, x := range b[:n] {
			c0 += int(x)
			c1 += c0
		}
		c0 %= 255
		c1 %= 255
		b = b[n:]
	}
	return c0, c1
}

// SetChecksum computes the Fletcher checksum of an encoded LSP (ISO/IEC 10589
// 7.3.11), writes it into the LSP and returns it.
func SetChecksum(lsp []byte) uint16 {
	body := lsp[lspSumFrom:]
	at := lspChecksumAt - lspSumFrom
	body[at], body[at+1] = 0, 0
	c0, c1 := fletcher(body)
	x := ((len(body)-at-1)*c0 - c1) % 255
	if x <= 0 {
		x += 255
	}
	y := 510 - c0 - x
	if y > 255 {
		y -= 255
	}
	body[at], body[at+1] = byte(x), byte(y)
	return binary.BigEndian.Uint16(body[at:])
}

// ChecksumOK verifies an encoded LSP. A checksum of zero is never right.
func ChecksumOK(lsp []byte) bool {
	if len(lsp) < lspHeaderLen || (lsp[lspChecksumAt] == 0 && lsp[lspChecksumAt+1] == 0) {
		return false
	}
	c0, c1 := fletcher(lsp[lspSumFrom:])
	return c0 == 0 && c1 == 0
}

// SetRemainingLifetime writes the field of an encoded LSP, in seconds. The
// checksum does not cover it.
func SetRemainingLifetime(lsp []byte, seconds uint16) {
	binary.BigEndian.PutUint16(lsp[lspLifetimeAt:], seconds)
}

// ClearForDigest zeroes lifetime and checksum of an encoded LSP, as it is when
// its authentication is computed (RFC 5304 s2, RFC 5310 s3.4).
func ClearForDigest(lsp []byte) {
	clear(lsp[lspLifetimeAt : lspLifetimeAt+2])
	clear(lsp[lspChecksumAt : lspChecksumAt+2])
}
