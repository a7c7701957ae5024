package spb

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	tsn "tsnswitch"
	"tsnswitch/spb/isispdu"
)

const app = 40000

func publish(key, value string) PublishRecord {
	return PublishRecord{Application: app, Type: 7, Key: []byte(key), Value: []byte(value)}
}

func withdraw(key string) WithdrawRecord {
	return WithdrawRecord{Application: app, Type: 7, Key: []byte(key)}
}

// recordsText is what a node answers, a word for each record.
func recordsText(i *Instance) string {
	var b strings.Builder
	for _, n := range i.Records(app) {
		fmt.Fprintf(&b, "%d", n.SystemID[5])
		if !n.Reachable {
			b.WriteString("?")
		}
		for _, r := range n.Records {
			fmt.Fprintf(&b, " %s=%s", r.Key, r.Value)
		}
		b.WriteString(";")
	}
	return b.String()
}

func (l *lab) wantRecords(want string) {
	l.t.Helper()
	for k, n := range l.nodes {
		if n.dead {
			continue
		}
		if got := recordsText(n.Instance); got != want {
			l.t.Fatalf("b%d has %q, want %q", k+1, got, want)
		}
	}
}

// RFC 6823: what one node publishes all nodes read; a second value for a key
// replaces the first; what is withdrawn is gone; a node that crashes keeps its
// records, as not reachable, until its LSP ages out.
func TestRecordsSpread(t *testing.T) {
	l := newLab(t, 4, ring(4), func(_ int, c *Config) { c.MaxAge, c.RefreshInterval, c.ZeroAgeLifetime = 60*second, 40*second, second })
	l.allUp()
	l.run(2 * second)
	l.wantRecords("")
	l.step(1, publish("k", "one"))
	l.step(3, publish("z", "zz"))
	l.run(second)
	l.wantRecords("2 k=one;4 z=zz;")
	l.step(1, publish("k", "two"))
	l.step(1, publish("a", ""))
	l.run(second)
	l.wantRecords("2 a= k=two;4 z=zz;")
	l.sameDatabases()
	l.step(1, withdraw("k"))
	l.step(1, withdraw("nothing"))
	l.run(second)
	l.wantRecords("2 a=;4 z=zz;")
	l.nodes[1].dead = true
	for n, link := range l.links {
		if slices.Contains(link.node[:], 1) {
			l.setLink(n, false)
		}
	}
	l.run(second)
	l.wantRecords("2? a=;4 z=zz;")
	l.run(65 * second)
	l.wantRecords("4 z=zz;")
	for k, n := range l.nodes {
		if d := n.Counters().Drops; d.BadGenInfo+d.GenInfoOverCap != 0 {
			t.Errorf("b%d: %+v", k+1, d)
		}
	}
}

// A watcher hears of every change of a set, of nothing else, and first of what
// is there already.
func TestWatchRecords(t *testing.T) {
	l := newLab(t, 3, line(3), nil)
	l.allUp()
	l.run(2 * second)
	var heard []string
	l.onEffect = func(k int, e tsn.Effect) {
		if r, ok := e.(RecordsChanged); ok && k == 2 {
			s := fmt.Sprint(r.Application)
			for _, m := range r.Systems {
				s += fmt.Sprintf(" b%d", m[5])
			}
			heard = append(heard, s)
		}
	}
	expect := func(what string, want ...string) {
		t.Helper()
		l.run(second)
		if !slices.Equal(heard, want) {
			t.Fatalf("%s: heard %q, want %q", what, heard, want)
		}
		heard = nil
	}
	l.step(0, publish("k", "1"))
	expect("nobody watches")
	l.step(2, WatchRecords{Application: app, On: true})
	l.step(2, WatchRecords{Application: app, On: true})
	expect("begin", "40000 b1")
	l.step(0, publish("k", "1"))
	expect("the same again")
	l.step(0, publish("k", "2"))
	expect("another value", "40000 b1")
	l.step(0, PublishRecord{Application: app + 1, Key: []byte("k")})
	expect("another application")
	l.step(1, SetEndStations{})
	expect("stations")
	l.step(2, publish("mine", ""))
	expect("the own one", "40000 b3")
	l.setLink(0, false)
	expect("out of reach", "40000 b1")
	if got := recordsText(l.nodes[2].Instance); got != "1? k=2;3 mine=;" {
		t.Fatalf("%q", got)
	}
	l.setLink(0, true)
	expect("back", "40000 b1")
	l.step(0, withdraw("k"))
	expect("withdrawn", "40000 b1")
	l.step(2, WatchRecords{Application: app})
	l.step(0, publish("k", "3"))
	expect("the watch ended")
	if got := l.nodes[1].RecordApplications(); !slices.Equal(got, []uint16{app, app + 1}) {
		t.Errorf("applications %v", got)
	}
}

// Refused: the switch's own application, what no TLV can hold, what is above
// the cap of a bridge. A refusal is a Notice and a typed error, and changes
// nothing; withdrawing makes room.
func TestRecordRefused(t *testing.T) {
	cfg := peerConfig()
	cfg.Caps.MaxRecordOctets = 600
	i, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	i.Step(0, tsn.Timeout{})
	offer := func(p PublishRecord) (refused bool) {
		t.Helper()
		err := i.CanPublish(p)
		for _, e := range i.Step(i.now+1, p) {
			if n, ok := e.(tsn.Notice); ok && n.Kind == NoticeRecordRefused {
				refused = true
			}
		}
		var typed *RecordError
		if errors.As(err, &typed) != refused {
			t.Fatalf("%+v: refused %t, error %v", p, refused, err)
		}
		return refused
	}
	room := MaxRecord - 1
	long := strings.Repeat("v", room)
	if !offer(PublishRecord{Application: applicationStations}) || !offer(publish("k", long+"v")) {
		t.Error("not refused")
	}
	if offer(publish("a", long)) || offer(publish("b", long)) || !offer(publish("c", long)) || offer(publish("a", long[1:]+"w")) {
		t.Error("the cap is not kept")
	}
	i.Step(i.now+1, withdraw("a"))
	if offer(publish("c", long)) {
		t.Error("there is room again")
	}
	i.Step(i.now.Add(second), tsn.Timeout{})
	if got := i.Records(app); len(got) != 1 || len(got[0].Records) != 2 || string(got[0].Records[1].Value) != long {
		t.Errorf("%v", got)
	}
	// What it floods decodes to the same.
	for _, l := range i.db.lsps {
		pdu, err := isispdu.Parse(l.raw)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := pdu.Append(nil); err != nil || !bytes.Equal(again[:len(l.raw)], l.raw) {
			t.Errorf("LSP %s does not come back", l.pdu.ID)
		}
	}
}

// What another node sends above our cap, or not laid out as records are, is
// dropped and counted; the rest counts.
func TestReceivedRecordsAreBounded(t *testing.T) {
	l := newLab(t, 2, line(2), func(k int, c *Config) {
		if k == 1 {
			c.Caps.MaxRecordOctets = 19
		}
	})
	l.allUp()
	l.run(2 * second)
	l.step(0, publish("a", "1234"))
	l.step(0, publish("b", "12345678"))
	l.run(second)
	if got := recordsText(l.nodes[1].Instance); got != "1 a=1234;" || l.nodes[1].Counters().Drops.GenInfoOverCap == 0 {
		t.Errorf("%q, %+v", got, l.nodes[1].Counters().Drops)
	}
	for _, v := range [][]byte{{}, {1}, {5, 'a'}} {
		if r, ok := parseRecord(app, 1, v); ok {
			t.Errorf("%x is %+v", v, r)
		}
	}
}

// ISO/IEC 10589 7.2.5: fragments of a node without a live fragment 0 do not
// count. A key in two fragments is what the first one says.
func TestRecordFragments(t *testing.T) {
	i, err := New(peerConfig())
	if err != nil {
		t.Fatal(err)
	}
	i.Step(0, tsn.Timeout{})
	put := func(fragment uint8, purged bool, records ...record) {
		g := geninfo{own: records}
		l := &isispdu.LSP{ID: isispdu.MakeLSPID(nodeMAC(6), fragment), SequenceNumber: 1, RemainingLifetime: 1000, TLVs: g.recordTLVs()}
		raw, err := l.Seal()
		if err != nil {
			t.Fatal(err)
		}
		i.store(&storedLSP{pdu: l, raw: raw, expires: tsn.Instant(1000 * second), purged: purged})
	}
	want := func(text string) {
		t.Helper()
		i.Step(i.now+1, tsn.Timeout{})
		if got := recordsText(i); got != text {
			t.Errorf("%q, want %q", got, text)
		}
	}
	put(1, false, record{app, 7, "k", "late"}, record{app, 7, "m", "3"})
	want("")
	put(0, false, record{app, 7, "k", "first"})
	want("7? k=first m=3;")
	put(0, true)
	want("")
	put(0, false)
	want("7? k=late m=3;")
	put(1, true)
	want("")
}

// Records do not move a path: publishing runs no SPF anywhere.
func TestRecordsCostNoSPF(t *testing.T) {
	l := newLab(t, 3, ring(3), nil)
	l.allUp()
	l.run(2 * second)
	runs := l.nodes[1].Counters().SPFRuns
	for n := range 100 { // enough for a second fragment
		l.step(0, publish(fmt.Sprint(n), strings.Repeat("v", 100)))
		l.run(100 * millisecond)
	}
	l.step(0, withdraw("0"))
	l.run(second)
	if got := l.nodes[1].Counters().SPFRuns; got != runs {
		t.Errorf("%d SPF runs for records", got-runs)
	}
	if n := len(l.nodes[1].Records(app)[0].Records); n != 99 {
		t.Errorf("%d records", n)
	}
	l.sameDatabases()
}

// Any series of publish, withdraw, link flaps and restarts ends, everywhere,
// in what the publishers meant.
func TestRecordsProperty(t *testing.T) {
	for seed := range uint64(40) {
		r := prng{seed}
		n := 3 + int(r.below(5))
		l := newLab(t, n, random(seed, n, 3), nil)
		l.allUp()
		l.run(2 * second)
		meant := make([]map[string]string, n)
		for k := range meant {
			meant[k] = map[string]string{}
		}
		down := map[int]bool{}
		for range 60 {
			k := int(r.below(int64(n)))
			key := fmt.Sprint(r.below(12))
			switch r.below(6) {
			case 0, 1, 2:
				value := strings.Repeat(string(rune('a'+r.below(26))), int(r.below(200)))
				meant[k][key] = value
				l.step(k, publish(key, value))
			case 3:
				delete(meant[k], key)
				l.step(k, withdraw(key))
			case 4:
				link := int(r.below(int64(len(l.links))))
				down[link] = !down[link]
				l.setLink(link, !down[link])
			case 5:
				if r.below(4) == 0 { // a crash: its cores publish nothing yet
					meant[k] = map[string]string{}
					l.start(k)
					for e, link := range l.links {
						if slices.Contains(link.node[:], k) {
							l.setLink(e, false)
							l.setLink(e, !down[e])
						}
					}
				}
			}
			l.run(r.below(300 * millisecond))
		}
		for e := range l.links {
			l.setLink(e, true)
		}
		l.run(30 * second)
		want := ""
		for k, m := range meant {
			if len(m) == 0 {
				continue
			}
			want += fmt.Sprintf("%d", k+1)
			keys := []string{}
			for key := range m {
				keys = append(keys, key)
			}
			slices.Sort(keys)
			for _, key := range keys {
				want += " " + key + "=" + m[key]
			}
			want += ";"
		}
		l.wantRecords(want)
		l.sameDatabases()
	}
}

// The database shows the switch's own records in words, and others as octets.
func TestOwnRecordsInWords(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.9")
	own := &isispdu.GenInfo{Application: applicationStations, Records: []isispdu.TLV{
		&isispdu.Raw{Type: recordStation, Value: appendStation(nil, EndStation{MAC: stationMAC(0), Port: 3, Name: "h1", ManagementAddress: addr})},
		&isispdu.Raw{Type: recordLearned, Value: appendStation([]byte{0, 0, 0, 7}, EndStation{MAC: stationMAC(1), Port: 4})},
		&isispdu.Raw{Type: recordBridge, Value: []byte{bridgeBare}},
		&isispdu.Raw{Type: recordOverload, Value: []byte("fan\n2")},
		&isispdu.Raw{Type: recordStation, Value: []byte{1}},
		&isispdu.Raw{Type: 99, Value: []byte{2}},
	}}
	want := `geninfo application 65534 (station 02:ee:00:00:00:01 port 3 "h1" at 10.0.0.9)` +
		` (station 02:ee:00:00:00:02 port 4, learned, claim 7) (bridge without ingress check) (overload: "fan\n2") (code 1: 01) (code 99: 02)`
	if got := tlvLine(own); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	other := &isispdu.GenInfo{Application: app, Records: own.Records[3:4]}
	if got := tlvLine(other); got != other.String() {
		t.Error(got)
	}
}

// Whatever octets a sub-TLV has, it is read as it would be written, or not.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{1, 'k', 'v'})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, v []byte) {
		r, ok := parseRecord(app, 3, v)
		if !ok || len(v) > MaxRecord+1 {
			return
		}
		g := geninfo{own: []record{r}}
		tlvs := g.recordTLVs()
		if sub := tlvs[0].(*isispdu.GenInfo).Records[0].(*isispdu.Raw); len(tlvs) != 1 || !bytes.Equal(sub.Value, v) || isispdu.TLVLen(tlvs[0]) > 257 {
			t.Fatalf("%x came back as %x", v, sub.Value)
		}
	})
}
