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

// Nodes of OTP 25 and 27, with keys and the same compiled modules, on a bad
// network: checks, calls beside 1 MiB messages, random signals both ways.
func TestOTP27(t *testing.T) {
	needCrypto(t)
	new, old := beamtest.OTP27(t), beamtest.Stock
	for _, c := range []struct {
		name string
		a, b beamtest.Erlang
	}{{"27to25", new, old}, {"25to27", old, new}, {"27to27", new, new}} {
		t.Run(c.name, func(t *testing.T) {
			port := badRelay(t)
			name := "b@" + addrRelay
			keys := []string{"-distlink_psk", keyFile(t, keyOne)}
			c.b.Start(t, "distlink", name, port, sleep, append(keys, "-distlink_ip", addrB)...)
			a := c.a.Start(t, "distlink", "a@"+addrA, port, fmt.Sprintf(`R = distlink_bench:check('%[1]s'), distlink_bench:rtt('%[1]s', 100, 1), distlink_bench:hol('%[1]s', 1048576, 100, 2),
 io:format("checked ~p~n", [R]), %[2]s`, name, oracle(name, 1, 300)), append(keys, "-distlink_ip", addrA)...)
			checkLines(t, a)
			passes(t, a)
		})
	}
}
