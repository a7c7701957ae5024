package framesim_test

import (
	"testing"

	"tsnswitch/qbv/framesim"
	"tsnswitch/qbv/schedtest"
	"tsnswitch/qbv/verify"
)

// FuzzRun: no input makes Run panic or go on for ever, and what the verifier
// accepts holds.
func FuzzRun(f *testing.F) {
	f.Add([]byte("1234567890"))
	f.Add([]byte{3, 1, 5, 0, 0, 13, 200, 100, 50, 7, 7, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, s := schedtest.Arbitrary(data)
		res, err := framesim.Run(p, s, framesim.Options{Rounds: 6, MaxEvents: 1 << 16})
		if rep, checked := verify.Check(p, s); checked == nil && rep.Valid() {
			if err != nil {
				t.Fatal(err)
			}
			if !res.Truncated {
				holds(t, "fuzzed", p, s, rep)
			}
		}
	})
}
