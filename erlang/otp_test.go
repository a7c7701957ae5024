package erlang_test

import (
	"fmt"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// OTP 27 has no warnings for these sources either.
func TestCompilesOn27(t *testing.T) {
	if err := beamtest.OTP27(t).CompileAll(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// What is used of OTP is there: functions, the handshake's record, flags,
// callbacks. The modules that OTP 27 looks at were compiled for 25.
func TestAPI(t *testing.T) {
	t.Run("installed", func(t *testing.T) { ruleLines(t, "distlink_api:check()", 30) })
	t.Run("27", func(t *testing.T) { ruleLinesOn(t, older(t), "distlink_api:check()", 30) })
}

// older is OTP 27, if the installed Erlang, which compiles, is not newer.
func older(t *testing.T) beamtest.Erlang {
	t.Helper()
	new := beamtest.OTP27(t)
	if n := beamtest.Stock.Release(t); n > 27 {
		t.Skipf("the installed OTP %d compiles for no older one", n)
	}
	return new
}

// Nodes of OTP 25 and 27, with certificates or keys and the same compiled modules, on a bad
// network: checks, calls beside 64 KiB messages, random signals both ways.
func TestOTP27(t *testing.T) {
	needCrypto(t)
	new, old := older(t), beamtest.Stock
	psk := []string{"-distlink_psk", keyFile(t, keyOne)}
	here, there := psk, psk
	if beamtest.HasPublicKey(t) {
		ca := beamtest.NewAuthority(t, "ca", nil)
		here, there = ca.Certificate(beamtest.Ed25519(t), ca, addrA), ca.Certificate(beamtest.P256(t), ca, addrRelay)
	}
	for _, c := range []struct {
		name        string
		a, b        beamtest.Erlang
		here, there []string
	}{{"27to25", new, old, here, there}, {"25to27", old, new, here, there}, {"27to27", new, new, psk, psk}} {
		t.Run(c.name, func(t *testing.T) {
			port := badRelay(t)
			name := "b@" + addrRelay
			c.b.Start(t, "distlink", name, port, sleep, append(c.there, "-distlink_ip", addrB)...)
			a := c.a.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`R = distlink_bench:check('%[1]s'), distlink_bench:rtt('%[1]s', 100, 1), distlink_bench:hol('%[1]s', 65536, 50, 2),
 io:format("checked ~p~n", [R]), %[2]s, %[3]s, %[4]s`, name, oracle(name, 1, 150), known(name), sleep), append(c.here, "-distlink_ip", addrA)...)
			checkLines(t, a)
			passes(t, a)
			allKnown(t, a)
		})
	}
}
