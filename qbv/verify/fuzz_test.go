package verify

import (
	"testing"

	"tsnswitch/qbv/schedtest"
)

// FuzzCheck: no input makes Check panic or take long, and it says the same twice.
func FuzzCheck(f *testing.F) {
	f.Add([]byte("1234567890"))
	f.Add([]byte{3, 1, 5, 0, 0, 13, 200, 100, 50, 7, 7, 7})
	f.Fuzz(func(t *testing.T, data []byte) {
		p, s := schedtest.Arbitrary(data)
		rep, err := Check(p, s)
		if (err == nil) == (p.Validate() != nil) {
			t.Fatalf("the problem: %v, Check: %v", p.Validate(), err)
		}
		if err != nil {
			return
		}
		again, _ := Check(p, s)
		if rep.FaultCount != again.FaultCount || rep.Valid() != (rep.Err() == nil) {
			t.Fatal("not the same twice")
		}
	})
}
