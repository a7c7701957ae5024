package erlang_test

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"tsnswitch/distlink/beamtest"
)

// nameServer answers from a zone, and returns the text of an ERL_INETRC that has
// Erlang ask it and nobody else.
func nameServer(t *testing.T, zone map[string]dnsmessage.ResourceBody) (inetrc string) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := c.ReadFromUDP(b)
			if err != nil {
				return
			}
			if out := resolve(b[:n], zone); out != nil {
				_, _ = c.WriteToUDP(out, from)
			}
		}
	}()
	inetrc = filepath.Join(t.TempDir(), "inetrc")
	write(t, inetrc, fmt.Sprintf("{resolv_conf, \"\"}.\n{lookup, [dns]}.\nclear_ns.\n{nameserver, {127,0,0,9}, %d}.\nclear_search.\n", c.LocalAddr().(*net.UDPAddr).Port))
	return inetrc
}

// resolve answers one question; of a name that is not in the zone, with NXDOMAIN.
func resolve(question []byte, zone map[string]dnsmessage.ResourceBody) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.RCode, m.Additionals = true, true, dnsmessage.RCodeNameError, nil
	body, known := zone[strings.ToLower(q.Name.String())]
	if known {
		m.RCode = dnsmessage.RCodeSuccess
		_, isSRV := body.(*dnsmessage.SRVResource)
		if isSRV == (q.Type == dnsmessage.TypeSRV) {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: body}}
		}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// Without epmd: addresses by A records and one port for all; and SRV records with
// a port for each, whatever A records the name's host has.
func TestDNS(t *testing.T) {
	all, own := beamtest.Port(t, addrA, addrB, addrRelay), beamtest.Port(t, addrA)
	t.Setenv("ERL_INETRC", nameServer(t, map[string]dnsmessage.ResourceBody{
		"pc1.plant.test.": &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}, "pc2.plant.test.": &dnsmessage.AResource{A: [4]byte{127, 0, 0, 2}},
		"pc3.plant.test.":              &dnsmessage.AResource{A: [4]byte{127, 0, 0, 3}},
		"c._distlink._udp.plant.test.": &dnsmessage.SRVResource{Port: uint16(all), Target: dnsmessage.MustNewName("pc3.plant.test.")},
		"d._distlink._udp.plant.test.": &dnsmessage.SRVResource{Port: uint16(own), Target: dnsmessage.MustNewName("pc1.plant.test.")},
		"e._distlink._udp.plant.test.": &dnsmessage.SRVResource{Port: uint16(own), Target: dnsmessage.MustNewName("gone.plant.test.")},
	}))
	b := beamtest.Start(t, "distlink", "b@pc2.plant.test", all, sleep, "-distlink_ip", addrB)
	c := beamtest.Start(t, "distlink", "c@plant.test", all, sleep, "-distlink_ip", addrRelay)
	d := beamtest.Start(t, "distlink", "d@plant.test", all, sleep, "-distlink_ip", addrA, "-distlink_port", fmt.Sprint(own))
	a := beamtest.Start(t, "distlink", "a@pc1.plant.test", all,
		fmt.Sprintf(`P = [net_adm:ping(N) || N <- ['%s', '%s', '%s', 'e@plant.test', 'f@plant.test', 'b@pc9.plant.test']], io:format("~p ~p~n", [P, nodes()]), %s`, b.Name, c.Name, d.Name, sleep),
		"-distlink_ip", addrA, "-distlink_srv", "true", "-connect_all", "false")
	if l := a.Expect("[p", 2*patience); !strings.HasPrefix(l, "[pong,pong,pong,pang,pang,pang]") {
		t.Error(l)
	}
	if out := beamtest.BootFails(t, "distlink", "a@"+addrA, beamtest.Port(t, addrA), "-distlink_ip", addrA, "-distlink_srv", "please"); !strings.Contains(out, "distlink_srv") {
		t.Errorf("the message does not name the option:\n%s", out)
	}
}

// Which of several records counts.
func TestBestRecord(t *testing.T) {
	for _, c := range [][2]string{
		{`[]`, `unknown`},
		{`[{0,0,0,"."}]`, `unknown`},
		{`[{10,5,9101,"x"},{0,1,9102,"z"},{0,9,9103,"y"}]`, `{"y",9103}`},
	} {
		if out := run(t, t.TempDir(), nil, "erl", "-noshell", "-pa", beamtest.Code(t), "-eval", fmt.Sprintf(`io:format("~0p", [distlink_srv:best(%s)]), halt(0).`, c[0])); out != c[1] {
			t.Errorf("%s: %s, want %s", c[0], out, c[1])
		}
	}
}
