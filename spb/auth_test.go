package spb

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

// chainOf signs with the first key and takes all of them.
func chainOf(keys ...Key) KeyChain {
	for n := range keys {
		keys[n].Send, keys[n].Accept = n == 0, true
	}
	return KeyChain{Keys: keys}
}

func bothChains(c KeyChain) Authentication { return Authentication{Hello: c, LSP: c} }

func sha256Key(id uint16, secret string) Key {
	return Key{ID: id, Algorithm: HMACSHA256, Secret: Secret(secret)}
}

// signed encodes a PDU as a neighbour that has the key would.
func signed(k Key, p isispdu.PDU) []byte {
	other := &Instance{}
	other.auth.set(bothChains(chainOf(k)))
	return other.encode(p)
}

// receiveRaw hands the instance an encoded PDU.
func (p *peer) receiveRaw(port tsn.Port, pdu []byte) {
	p.t.Helper()
	p.step(tsn.Received{Port: port, Frame: isispdu.AppendFrame(nil, isispdu.AllISs, nodeMAC(int(port)), pdu)})
}

// upWith is up for an instance with authentication.
func (p *peer) upWith(k Key) *peer {
	p.t.Helper()
	for port := tsn.Port(1); port <= 2; port++ {
		p.receiveRaw(port, signed(k, p.hello(port, isispdu.Initializing)))
		if s := p.inst.Neighbours()[port-1].State; s != "Up" {
			p.t.Fatalf("port %d is %s", port, s)
		}
	}
	p.wait(200 * millisecond)
	for _, port := range p.inst.ports {
		clear(port.srm)
	}
	return p
}

func withKeys(a Authentication) func(*Config) { return func(c *Config) { c.Authentication = a } }

// RFC 5304 s2 and RFC 5310 s3.3, s3.4 against PDUs made without this code
// (testdata/authentication): what we encode is the same, and what is the same is
// accepted. Secrets are shorter than, as long as and longer than the digest, and
// longer than the hash's block.
func TestDigestVectors(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "authentication", "vectors.txt"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 36 {
		t.Fatalf("%d vectors, want 36", len(lines))
	}
	for _, line := range lines {
		var name, secret, octets string
		k := Key{}
		if _, err := fmt.Sscan(line, &name, &k.ID, &secret, &octets); err != nil {
			t.Fatal(err)
		}
		if err := k.Algorithm.UnmarshalText([]byte(name)); err != nil {
			t.Fatal(err)
		}
		k.Secret, _ = hex.DecodeString(secret)
		want, _ := hex.DecodeString(octets)
		pdu, err := isispdu.Parse(want)
		if err != nil {
			t.Fatal(err)
		}
		i := &Instance{}
		i.auth.set(bothChains(chainOf(k)))
		if !i.authentic(&port{}, pdu, want) {
			t.Errorf("%s with a secret of %d octets is not accepted: %+v", name, len(k.Secret), i.counters.Drops)
		}
		switch pdu := pdu.(type) { // as it was before it was signed
		case *isispdu.LSP:
			pdu.TLVs, pdu.Checksum = pdu.TLVs[1:], 0
		case *isispdu.PSNP:
			pdu.TLVs = pdu.TLVs[1:]
		}
		if got := i.encode(pdu); !bytes.Equal(got, want) {
			t.Errorf("%s with a secret of %d octets:\n got %x\nwant %x", name, len(k.Secret), got, want)
		}
	}
}

// tcpdump computes HMAC-MD5 on its own. SNPs are left out: tcpdump 4.99.3 zeroes
// in them what would be lifetime and checksum in an LSP. (It does so in hellos
// too, where those octets of ours are zero.) Of the types of RFC 5310 it prints
// the key id and the octets, and tshark 4.0 does no more.
func TestTcpdumpVerifiesMD5(t *testing.T) {
	tcpdump, err := exec.LookPath("tcpdump")
	if err != nil {
		t.Skip("tcpdump is not installed")
	}
	file := filepath.Join(t.TempDir(), "auth.pcap")
	k := Key{ID: 1, Algorithm: HMACMD5, Secret: Secret("correct horse")}
	l := newLab(t, 2, line(2), func(_ int, c *Config) { c.Authentication = bothChains(chainOf(k)) })
	var frames [][]byte
	types := map[byte]int{}
	l.tap = func(_ int, s tsn.Send) bool {
		if _, _, b, err := isispdu.ParseFrame(s.Frame); err == nil && b[4] <= byte(isispdu.TypeL1LSP) {
			frames = append(frames, s.Frame)
			types[b[4]]++
		}
		return true
	}
	l.allUp()
	l.run(second)
	if err := os.WriteFile(file, pcapOf(frames), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(secret string) string {
		out, err := exec.Command(tcpdump, "-n", "-v", "-M", secret, "-r", file).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	out := run("correct horse")
	if strings.Contains(out, "(unchecked)") {
		t.Skip("tcpdump was built without a cryptography library")
	}
	if n := strings.Count(out, "(valid)"); n != len(frames) || types[17] < 4 || types[18] < 2 {
		t.Errorf("%d of %d digests are valid, PDU types %v:\n%s", n, len(frames), types, out)
	}
	if n := strings.Count(run("wrong horse"), "(invalid)"); n != len(frames) {
		t.Errorf("%d of %d digests are invalid with another secret", n, len(frames))
	}
}

// pcapOf is a capture file of Ethernet frames.
func pcapOf(frames [][]byte) []byte {
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0}
	for _, f := range frames {
		n := []byte{byte(len(f)), byte(len(f) >> 8), 0, 0}
		b = append(append(append(append(b, make([]byte, 8)...), n...), n...), f...)
	}
	return b
}

// A network authenticates with each algorithm: every IS-IS frame carries TLV 10,
// nothing is dropped, and the fabric is the same as without.
func TestAuthenticatedNetwork(t *testing.T) {
	for _, name := range AuthAlgorithmNames() {
		var a AuthAlgorithm
		if err := a.UnmarshalText([]byte(name)); err != nil {
			t.Fatal(err)
		}
		auth := Authentication{
			Hello: chainOf(Key{ID: 7, Algorithm: a, Secret: Secret("link " + name)}),
			LSP:   chainOf(Key{ID: 8, Algorithm: a, Secret: Secret("area " + name)}),
		}
		l := newLab(t, 4, ring(4), func(_ int, c *Config) { c.Authentication = auth })
		l.tap = func(_ int, s tsn.Send) bool {
			if _, _, b, err := isispdu.ParseFrame(s.Frame); err == nil {
				if _, _, ok := isispdu.AuthenticationData(b); !ok {
					t.Errorf("%s: a PDU of type %d is not signed", name, b[4])
				}
			}
			return true
		}
		l.allUp()
		l.run(200 * millisecond)
		l.sameDatabases()
		l.checkForwarding()
		l.setLink(0, false)
		l.run(200 * millisecond)
		l.sameDatabases()
		for k, n := range l.nodes {
			if d := n.Counters().Drops; d != (DropCounters{NoAdjacency: d.NoAdjacency}) {
				t.Errorf("%s: b%d drops %+v", name, k+1, d)
			}
		}
	}
}

// RFC 5304 s2 and RFC 5310 s3.5: what does not authenticate is dropped before
// anything looks into it, and counted by what is wrong with it.
func TestAuthenticationFailures(t *testing.T) {
	good := sha256Key(1, "secret")
	md5 := Key{ID: 1, Algorithm: HMACMD5, Secret: Secret("secret")}
	p := newPeer(t, withKeys(bothChains(chainOf(good)))).upWith(good)
	before := p.inst.DatabaseDigest()
	lsp := func() *isispdu.LSP { return p.lsp(5, 1, "b6") }
	sealed := func(l *isispdu.LSP) []byte { b, _ := l.Seal(); return b }
	flipped := signed(good, lsp())
	flipped[len(flipped)-1] ^= 1
	isispdu.SetChecksum(flipped)
	withTLV := func(tlvs ...isispdu.TLV) []byte {
		l := lsp()
		l.TLVs = append(l.TLVs, tlvs...)
		return sealed(l)
	}
	hello := p.hello(1, isispdu.Down)
	unsigned, _ := hello.Append(nil)
	psnp, _ := (&isispdu.PSNP{Source: isispdu.MakeNodeID(nodeMAC(1))}).Append(nil)
	for name, c := range map[string]struct {
		pdu     []byte
		counter func(*DropCounters) *uint64
	}{
		"LSP without":     {sealed(lsp()), func(d *DropCounters) *uint64 { return &d.AuthMissing }},
		"hello without":   {unsigned, func(d *DropCounters) *uint64 { return &d.AuthMissing }},
		"PSNP without":    {psnp, func(d *DropCounters) *uint64 { return &d.AuthMissing }},
		"flipped":         {flipped, func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"other secret":    {signed(sha256Key(1, "guess"), lsp()), func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"hello, other":    {signed(sha256Key(1, "guess"), p.hello(1, isispdu.Down)), func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"other length":    {signed(Key{ID: 1, Algorithm: HMACSHA512, Secret: good.Secret}, lsp()), func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"empty digest":    {withTLV(&isispdu.Authentication{Type: isispdu.AuthCrypto, KeyID: 1}), func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"unknown key":     {signed(sha256Key(2, "secret"), lsp()), func(d *DropCounters) *uint64 { return &d.AuthUnknownKey }},
		"HMAC-MD5":        {signed(md5, lsp()), func(d *DropCounters) *uint64 { return &d.AuthUnexpectedType }},
		"cleartext":       {withTLV(&isispdu.Authentication{Type: isispdu.AuthCleartext, Data: []byte("secret")}), func(d *DropCounters) *uint64 { return &d.AuthUnexpectedType }},
		"malformed TLV":   {withTLV(&isispdu.Raw{Type: isispdu.CodeAuthentication}), func(d *DropCounters) *uint64 { return &d.AuthUnexpectedType }},
		"two TLVs":        {signed(good, &isispdu.LSP{ID: lsp().ID, SequenceNumber: 1, RemainingLifetime: 9, TLVs: []isispdu.TLV{&isispdu.Authentication{Type: isispdu.AuthHMACMD5, Data: make([]byte, 16)}}}), func(d *DropCounters) *uint64 { return &d.AuthUnexpectedType }},
		"neighbour's own": {signed(sha256Key(1, "guess"), p.lsp(1, 9, "b2")), func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
	} {
		want := p.inst.Counters().Drops
		p.receiveRaw(1, c.pdu)
		*c.counter(&want)++
		if got := p.inst.Counters().Drops; got != want {
			t.Errorf("%s: counters\n%+v, want\n%+v", name, got, want)
		}
		if len(p.sent) > 0 {
			t.Errorf("%s: answered %v", name, p.sent)
		}
	}
	if p.inst.DatabaseDigest() != before || p.inst.Neighbours()[0].State != "Up" {
		t.Error("something that did not authenticate was taken")
	}
	p.receiveRaw(1, signed(good, lsp()))
	if _, ok := p.stored(5); !ok {
		t.Error("the authentic LSP was not taken")
	}
}

// One notice a minute and port tells people; the counters have the rest.
func TestAuthenticationNotices(t *testing.T) {
	good := sha256Key(1, "secret")
	p := newPeer(t, withKeys(bothChains(chainOf(good)))).upWith(good)
	told := 0
	for range 130 {
		p.wait(second)
		p.receive(1, p.lsp(5, 1, "b6"))
		for _, n := range p.notices {
			if n.Kind == NoticeAuthentication {
				told++
			}
		}
	}
	if told != 3 || p.inst.Counters().Drops.AuthMissing != 130 {
		t.Errorf("told %d times of %d", told, p.inst.Counters().Drops.AuthMissing)
	}
}

// The keys of hellos and those of LSPs and SNPs are two things (RFC 5304 s2).
func TestSeparateKeys(t *testing.T) {
	link, area := sha256Key(1, "link"), sha256Key(1, "area")
	p := newPeer(t, withKeys(Authentication{Hello: chainOf(link), LSP: chainOf(area)})).upWith(link)
	p.receiveRaw(1, signed(link, p.lsp(5, 1, "b6")))
	p.receiveRaw(1, signed(area, p.hello(1, isispdu.Up)))
	if n := p.inst.Counters().Drops.AuthBadDigest; n != 2 {
		t.Errorf("%d dropped, want 2", n)
	}
	p.receiveRaw(1, signed(area, p.lsp(5, 1, "b6")))
	if _, ok := p.stored(5); !ok {
		t.Error("not taken with the area key")
	}
}

// Without keys a signed PDU is taken as if it were not (RFC 5304 s2).
func TestNoKeysTakesSigned(t *testing.T) {
	p := newPeer(t, nil).up()
	p.receiveRaw(1, signed(sha256Key(1, "secret"), p.lsp(5, 1, "b6")))
	if _, ok := p.stored(5); !ok {
		t.Error("not taken")
	}
}

// RFC 6233 s3 and RFC 6232 s3.
func TestAuthenticatedPurges(t *testing.T) {
	key := sha256Key(1, "secret")
	poi := &isispdu.PurgeOriginator{Systems: []tsn.MAC{nodeMAC(1)}}
	body := []isispdu.TLV{&isispdu.AreaAddresses{Areas: [][]byte{{1}}}, &isispdu.Hostname{Name: "b6"}}
	for name, c := range map[string]struct {
		key      Key
		lifetime uint16
		tlvs     []isispdu.TLV
		purged   bool
		counter  func(*DropCounters) *uint64
	}{
		"header only":         {key, 0, nil, true, nil},
		"originator":          {key, 0, []isispdu.TLV{poi, &isispdu.Hostname{Name: "b2"}}, true, nil},
		"originator, unknown": {key, 0, []isispdu.TLV{poi, &isispdu.Raw{Type: 200}}, true, nil},
		"unknown":             {key, 0, []isispdu.TLV{&isispdu.Raw{Type: 200}}, false, func(d *DropCounters) *uint64 { return &d.BadPurge }},
		"body":                {key, 0, body, false, func(d *DropCounters) *uint64 { return &d.BadPurge }},
		"body, originator":    {key, 0, append([]isispdu.TLV{poi}, body...), false, func(d *DropCounters) *uint64 { return &d.BadPurge }},
		"other key":           {sha256Key(1, "guess"), 0, nil, false, func(d *DropCounters) *uint64 { return &d.AuthBadDigest }},
		"living originator":   {key, 9, []isispdu.TLV{poi}, false, func(d *DropCounters) *uint64 { return &d.BadLSP }},
	} {
		p := newPeer(t, withKeys(bothChains(chainOf(key)))).upWith(key)
		p.receiveRaw(1, signed(key, p.lsp(5, 3, "b6")))
		want := p.inst.Counters().Drops
		if c.counter != nil {
			*c.counter(&want)++
		}
		p.receiveRaw(1, signed(c.key, &isispdu.LSP{
			ID: p.lsp(5, 3, "").ID, SequenceNumber: 3, RemainingLifetime: c.lifetime, Flags: isispdu.FlagLevel1, TLVs: c.tlvs,
		}))
		if got, _ := p.stored(5); (got.RemainingLifetime == 0) != c.purged {
			t.Errorf("%s: lifetime %d, purged wanted: %t", name, got.RemainingLifetime, c.purged)
		}
		if got := p.inst.Counters().Drops; got != want {
			t.Errorf("%s: counters\n%+v, want\n%+v", name, got, want)
		}
	}
}

// The lifetime is not signed: neither an LSP with lifetime 0 nor a purge with
// another one is taken (RFC 5304 s2, RFC 6233 s3).
func TestLifetimeIsNoPurge(t *testing.T) {
	key := sha256Key(1, "secret")
	p := newPeer(t, withKeys(bothChains(chainOf(key)))).upWith(key)
	l := p.lsp(5, 3, "b6")
	l.TLVs = append(l.TLVs, &isispdu.AreaAddresses{Areas: [][]byte{{1}}})
	raw := signed(key, l)
	p.receiveRaw(1, raw)
	isispdu.SetRemainingLifetime(raw, 0)
	p.receiveRaw(1, raw)
	if got, _ := p.stored(5); got.RemainingLifetime == 0 || p.inst.Counters().Drops.BadPurge != 1 {
		t.Errorf("lifetime %d, counters %+v", got.RemainingLifetime, p.inst.Counters().Drops)
	}
	purge := signed(key, &isispdu.LSP{ID: l.ID, SequenceNumber: 4, TLVs: []isispdu.TLV{&isispdu.PurgeOriginator{Systems: []tsn.MAC{nodeMAC(5)}}}})
	isispdu.SetRemainingLifetime(purge, 1000)
	p.receiveRaw(1, purge)
	if got, _ := p.stored(5); got.SequenceNumber != 3 || p.inst.Counters().Drops.BadLSP != 1 {
		t.Errorf("sequence number %d, counters %+v", got.SequenceNumber, p.inst.Counters().Drops)
	}
}

// RFC 6233 s3: our own purge has lost its body, names us, and is signed.
func TestOwnPurge(t *testing.T) {
	key := sha256Key(1, "secret")
	p := newPeer(t, func(c *Config) {
		c.Authentication, c.MaxAge = bothChains(chainOf(key)), 20*second
		c.RefreshInterval = 10 * second
	}).upWith(key)
	p.receiveRaw(1, signed(key, p.lsp(5, 3, "b6")))
	p.wait(1100 * second)
	var found bool
	for _, pdu := range p.sent[2] {
		l, ok := pdu.(*isispdu.LSP)
		if !ok || l.ID != p.lsp(5, 3, "").ID || l.RemainingLifetime != 0 {
			continue
		}
		found = true
		var got []string
		for _, tlv := range l.TLVs {
			got = append(got, tlv.String())
		}
		if want := []string{"authentication key 1, 32 octets", "purged by [02:00:00:00:00:01]", `hostname "b1"`}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("purge with %q, want %q", got, want)
		}
	}
	if !found {
		t.Error("nothing was purged")
	}
}

// The transition mode of RFC 5304 s2: sign, take everything, count what would
// have been dropped.
func TestSendOnly(t *testing.T) {
	key := sha256Key(1, "secret")
	chain := chainOf(key)
	chain.SendOnly = true
	p := newPeer(t, withKeys(bothChains(chain)))
	p.receive(1, p.hello(1, isispdu.Initializing))
	p.receive(1, p.lsp(5, 1, "b6"))
	if _, ok := p.stored(5); !ok || p.inst.Neighbours()[0].State != "Up" {
		t.Error("unsigned PDUs were not taken")
	}
	p.receiveRaw(1, signed(key, p.lsp(6, 1, "b7")))
	if c := p.inst.Counters(); c.AuthTolerated != 2 || c.Drops != (DropCounters{}) {
		t.Errorf("tolerated %d, drops %+v", c.AuthTolerated, c.Drops)
	}
	p.wait(second)
	for _, pdu := range p.sent[1] {
		if _, ok := isispdu.Find[*isispdu.Authentication](tlvsOf(pdu)); !ok {
			t.Errorf("type %d was sent unsigned", pdu.Type())
		}
	}
}

// A key is changed without a lost adjacency, a dropped PDU or a different path:
// the new one acceptable everywhere, then used, then alone. The algorithm
// changes with it, and links fail and come back meanwhile.
func TestHitlessKeyChange(t *testing.T) {
	old, young := Key{ID: 1, Algorithm: HMACMD5, Secret: Secret("old")}, Key{ID: 2, Algorithm: HMACSHA512, Secret: Secret("young")}
	l := newLab(t, 4, ring(4), func(_ int, c *Config) {
		c.Authentication = bothChains(chainOf(old))
		c.HelloInterval, c.RefreshInterval = 100*millisecond, 5*second
	})
	l.allUp()
	l.run(second)
	changes := make([]uint64, 4)
	for k, n := range l.nodes {
		changes[k] = n.Counters().AdjacencyChanges
	}
	for _, chain := range []KeyChain{chainOf(old, young), chainOf(young, old), chainOf(young)} {
		for k := range l.nodes {
			l.step(k, SetKeys{bothChains(chain)})
			l.run(700 * millisecond)
			l.step(k, SetOverload{On: true, Reason: "test"})
			l.run(200 * millisecond)
			l.step(k, SetOverload{})
			l.run(200 * millisecond)
			l.sameDatabases()
			l.checkForwarding()
		}
	}
	l.run(6 * second)
	l.sameDatabases()
	for k, n := range l.nodes {
		if d := n.Counters().Drops; d != (DropCounters{NoAdjacency: d.NoAdjacency}) {
			t.Errorf("b%d drops %+v", k+1, d)
		}
		if n.Counters().AdjacencyChanges != changes[k] {
			t.Errorf("b%d lost an adjacency", k+1)
		}
		for _, d := range n.Database() {
			if d.Lines[0] != "authentication key 2, 64 octets" {
				t.Errorf("b%d holds %s with %q", k+1, d.ID, d.Lines[0])
			}
		}
	}
}

// A new key to sign with sends the own LSP again at once; a key that is only
// accepted does not.
func TestKeyChangeOriginates(t *testing.T) {
	old, young := sha256Key(1, "old"), sha256Key(2, "young")
	p := newPeer(t, withKeys(bothChains(chainOf(old)))).upWith(old)
	own := func() LSPInfo { d, _ := p.stored(0); return d }
	was := own().SequenceNumber
	p.step(SetKeys{bothChains(chainOf(old, young))})
	p.wait(2 * second)
	if own().SequenceNumber != was {
		t.Error("sent again for a key that is only accepted")
	}
	p.step(SetKeys{bothChains(chainOf(young, old))})
	p.wait(2 * second)
	if own().SequenceNumber != was+1 || own().Lines[0] != "authentication key 2, 32 octets" {
		t.Errorf("sequence number %d after %d, %s", own().SequenceNumber, was, own().Lines[0])
	}
	p.step(SetKeys{})
	p.wait(2 * second)
	if own().SequenceNumber != was+2 || strings.HasPrefix(own().Lines[0], "auth") {
		t.Errorf("sequence number %d after %d, %s", own().SequenceNumber, was, own().Lines[0])
	}
}

// The digest differs with every sequence number and is no content: an own LSP
// that says the same is not sent again.
func TestSameContentIsNotSentAgain(t *testing.T) {
	key := sha256Key(1, "secret")
	p := newPeer(t, withKeys(bothChains(chainOf(key)))).upWith(key)
	before := p.inst.Counters().Originations
	p.step(SetEndStations{})
	p.wait(2 * second)
	if n := p.inst.Counters().Originations - before; n != 0 {
		t.Errorf("%d originations of what had been said", n)
	}
	p.step(SetEndStations{[]EndStation{{MAC: stationMAC(1), Port: edgePort}}})
	p.wait(2 * second)
	if p.inst.Counters().Originations == before {
		t.Error("no origination of something new")
	}
}

// A refresh changes the digest and nothing else: no SPF.
func TestRefreshIsNoChange(t *testing.T) {
	key := sha256Key(1, "secret")
	p := newPeer(t, func(c *Config) { c.Authentication, c.RefreshInterval = bothChains(chainOf(key)), 10*second }).upWith(key)
	p.receiveRaw(1, signed(key, p.lsp(5, 1, "b6")))
	p.wait(second)
	before := p.inst.Counters()
	p.receiveRaw(1, signed(key, p.lsp(5, 2, "b6")))
	p.wait(30 * second)
	after := p.inst.Counters()
	if after.SPFRuns != before.SPFRuns || after.Originations < before.Originations+2 {
		t.Errorf("%d SPF runs and %d originations more", after.SPFRuns-before.SPFRuns, after.Originations-before.Originations)
	}
	p.receiveRaw(1, signed(key, p.lsp(5, 3, "b7")))
	p.wait(second)
	if p.inst.Counters().SPFRuns == after.SPFRuns {
		t.Error("no SPF run for another content")
	}
}

// RFC 5304 s2.1: an LSP of ours that does not authenticate but has a higher
// number is outrun, within reason.
func TestOutrunUnverifiedOwnLSP(t *testing.T) {
	key := sha256Key(1, "secret")
	for name, c := range map[string]struct {
		seq      uint32
		lifetime uint16
		fragment uint8
		want     bool
	}{
		"of an earlier life": {50, 1000, 0, true},
		"lower":              {1, 1000, 0, false},
		"purge":              {50, 0, 0, false},
		"out of reach":       {1 << 30, 1000, 0, false},
		"the last":           {0xffffffff, 1000, 0, false},
	} {
		p := newPeer(t, withKeys(bothChains(chainOf(key)))).upWith(key)
		was, _ := p.stored(0)
		l := p.lsp(0, c.seq, "b1")
		l.RemainingLifetime = c.lifetime
		p.receiveRaw(1, signed(sha256Key(1, "before"), l))
		p.wait(second)
		now, _ := p.stored(0)
		if want := was.SequenceNumber; c.want {
			if now.SequenceNumber != c.seq+1 || p.inst.Counters().OwnLSPUnverified != 1 {
				t.Errorf("%s: number %d", name, now.SequenceNumber)
			}
		} else if now.SequenceNumber != want || p.inst.Counters().OwnLSPUnverified != 0 {
			t.Errorf("%s: number %d, was %d", name, now.SequenceNumber, want)
		}
	}
}

// Keys that cannot be meant are refused whole, and no text names a secret.
func TestBadKeys(t *testing.T) {
	key := sha256Key(1, "secret")
	p := newPeer(t, withKeys(bothChains(chainOf(key))))
	noSend, noAccept := chainOf(key), chainOf(key)
	noSend.Keys = []Key{{ID: 1, Algorithm: HMACMD5, Secret: Secret("s"), Accept: true}}
	noAccept.Keys = []Key{{ID: 1, Algorithm: HMACMD5, Secret: Secret("s"), Send: true}}
	many := make([]Key, maxKeys+1)
	for n := range many {
		many[n] = sha256Key(uint16(n), "secret")
	}
	for name, c := range map[string]KeyChain{
		"given twice":     chainOf(key, key),
		"no algorithm":    chainOf(Key{ID: 1, Secret: Secret("secret")}),
		"no secret":       chainOf(Key{ID: 9, Algorithm: HMACSHA256}),
		"long secret":     chainOf(sha256Key(1, strings.Repeat("secret", 50))),
		"two to sign":     {Keys: []Key{{ID: 1, Algorithm: HMACMD5, Secret: Secret("s"), Send: true, Accept: true}, {ID: 2, Algorithm: HMACMD5, Secret: Secret("s"), Send: true}}},
		"none to sign":    noSend,
		"none acceptable": noAccept,
		"too many":        chainOf(many...),
		"only send":       {SendOnly: true},
	} {
		p.step(SetKeys{bothChains(c)})
		if len(p.notices) != 1 || p.notices[0].Kind != NoticeBadKeys || strings.Contains(p.notices[0].Detail, "secretsecret") {
			t.Errorf("%s: %+v", name, p.notices)
		}
		cfg := peerConfig()
		cfg.Authentication.Hello = c
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
	if d, err := json.Marshal(p.inst.Authentication()); err != nil || strings.Contains(string(d), "secret\":\"") || !strings.Contains(string(d), "hmac-sha-256") {
		t.Errorf("%s %v", d, err)
	}
}

// A secret is in no text, and a trace without secrets replays: a key whose
// secret is left out has the one that is known under its number.
func TestSecretsStayHere(t *testing.T) {
	key := sha256Key(1, "xyzzy")
	ev := SetKeys{bothChains(chainOf(sha256Key(2, "plugh"), key))}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		text := fmt.Sprintf(verb, ev)
		for _, s := range []string{"xyzzy", "787", "120 121", "plugh", "706c"} {
			if strings.Contains(text, s) {
				t.Errorf("%s prints %s", verb, text)
			}
		}
	}
	b, err := json.Marshal(ev)
	if err != nil || bytes.Contains(b, []byte("xyzzy")) || bytes.Contains(b, []byte("plugh")) {
		t.Fatalf("%s %v", b, err)
	}
	var back SetKeys
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	future := chainOf(key, sha256Key(2, "plugh")) // in the configuration, not used yet
	future.Keys[1].Accept = false
	p := newPeer(t, withKeys(bothChains(future)))
	p.step(back)
	if len(p.notices) != 0 {
		t.Fatalf("refused: %+v", p.notices)
	}
	p.receiveRaw(1, signed(sha256Key(2, "plugh"), p.hello(1, isispdu.Initializing)))
	if p.inst.Neighbours()[0].State != "Up" {
		t.Errorf("not taken with the known secret: %+v", p.inst.Counters().Drops)
	}
}

// The largest TLV 10 fits every PDU that is filled up, and taking it instead of
// the smallest moves nothing into another fragment.
func TestAuthenticationFits(t *testing.T) {
	small, large := Key{ID: 1, Algorithm: HMACMD5, Secret: Secret("secret")}, Key{ID: 2, Algorithm: HMACSHA512, Secret: Secret("secret")}
	p := newPeer(t, func(c *Config) {
		c.Authentication = bothChains(chainOf(small))
		for n := range 600 {
			c.EndStations = append(c.EndStations, EndStation{MAC: stationMAC(n), Port: edgePort, Name: fmt.Sprintf("station-%d", n)})
		}
	}).upWith(small)
	for n := range 300 {
		p.receiveRaw(1, signed(small, p.lsp(5+n, 1, "b6")))
	}
	contents := func() string {
		var s strings.Builder
		for _, d := range p.inst.Database() {
			if d.ID.System() == nodeMAC(0) {
				fmt.Fprintln(&s, d.ID, d.Lines[1:])
			}
		}
		return s.String()
	}
	before := contents()
	p.step(SetKeys{bothChains(chainOf(large, small))})
	p.wait(11 * second)
	if contents() != before {
		t.Error("the fragments are others with another key")
	}
	full := map[isispdu.Type]int{}
	for _, pdu := range p.sent[2] {
		b, err := pdu.Append(nil)
		if err != nil || len(b) > isispdu.ReceiveLSPBufferSize {
			t.Errorf("type %d has %d octets, %v", pdu.Type(), len(b), err)
		}
		if len(b) > isispdu.ReceiveLSPBufferSize-300 {
			full[pdu.Type()]++
		}
	}
	if full[isispdu.TypeL1LSP] < 10 || full[isispdu.TypeL1CSNP] < 4 {
		t.Errorf("full PDUs by type: %v", full)
	}
}
