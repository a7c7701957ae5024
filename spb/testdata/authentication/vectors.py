#!/usr/bin/env python3
"""Writes vectors.txt: PDUs with the authentication that RFC 5304 and RFC 5310
ask for, computed from plain hash functions only. Each line is

    algorithm  key id  secret (hexadecimal)  PDU (hexadecimal)
"""
import hashlib
import struct

HASHES = {  # hash, block size
    "hmac-md5": (hashlib.md5, 64),
    "hmac-sha-1": (hashlib.sha1, 64),
    "hmac-sha-224": (hashlib.sha224, 64),
    "hmac-sha-256": (hashlib.sha256, 64),
    "hmac-sha-384": (hashlib.sha384, 128),
    "hmac-sha-512": (hashlib.sha512, 128),
}


def mac(algorithm, secret, text):
    h, block = HASHES[algorithm]
    size = h().digest_size
    if algorithm == "hmac-md5":  # RFC 2104: hash what is longer than a block
        limit = block
    else:  # RFC 5310 s3.3 (1): Ko is as long as the digest
        limit = size
    if len(secret) > limit:
        secret = h(secret).digest()
    key = secret.ljust(block, b"\0")
    first = h(bytes(k ^ 0x36 for k in key) + text).digest()
    return h(bytes(k ^ 0x5C for k in key) + first).digest()


def tlv10(algorithm, key_id, data):
    head = b"\x36" if algorithm == "hmac-md5" else b"\x03" + struct.pack(">H", key_id)
    return bytes([10, len(head) + len(data)]) + head + data


def blank(algorithm):
    size = HASHES[algorithm][0]().digest_size
    return bytes(size) if algorithm == "hmac-md5" else bytes.fromhex("878fe1f3") * (size // 4)


def with_length(pdu):
    return pdu[:8] + struct.pack(">H", len(pdu)) + pdu[10:]


def psnp(algorithm, key_id, secret):
    def build(data):
        head = bytes.fromhex("831101001a010000" + "0000" + "02000000000500")
        return with_length(head + tlv10(algorithm, key_id, data))

    return build(mac(algorithm, secret, build(blank(algorithm))))


def checksum(pdu, at=24, start=12):
    """ISO 8473 checksum by trying every pair: the two sums come out as zero."""
    for x in range(1, 256):
        for y in range(1, 256):
            c0 = c1 = 0
            for n, octet in enumerate(pdu[start:]):
                octet = {at - start: x, at - start + 1: y}.get(n, octet)
                c0 = (c0 + octet) % 255
                c1 = (c1 + c0) % 255
            if c0 == 0 and c1 == 0:
                return pdu[:at] + bytes([x, y]) + pdu[at + 2 :]
    raise ValueError("no checksum")


def lsp(algorithm, key_id, secret, lifetime, tlvs):
    def build(life, data):
        head = bytes.fromhex("831b010012010000" + "0000") + struct.pack(">H", life)
        head += bytes.fromhex("0200000000050000" + "00000007" + "0000" + "01")
        return with_length(head + tlv10(algorithm, key_id, data) + tlvs)

    return checksum(build(lifetime, mac(algorithm, secret, build(0, blank(algorithm)))))


def line(algorithm, key_id, secret, pdu):
    print(algorithm, key_id, secret.hex(), pdu.hex())


for algorithm, (h, block) in HASHES.items():
    size = h().digest_size
    for n in (5, size, size + 3, block + 7):  # shorter, as long, longer than the digest, than a block
        secret = bytes((i * 7 + n) & 0xFF for i in range(n))
        line(algorithm, 0x1234, secret, psnp(algorithm, 0x1234, secret))
for algorithm in HASHES:
    name = bytes([137, 2]) + b"b6"
    originator = bytes([13, 7, 1]) + bytes.fromhex("020000000005")
    line(algorithm, 1, b"secret", lsp(algorithm, 1, b"secret", 1199, name))
    line(algorithm, 1, b"secret", lsp(algorithm, 1, b"secret", 0, originator))
