package sim_test

import (
	"testing"

	"tsnswitch/internal/config"
	"tsnswitch/internal/sim"
	"tsnswitch/spb"
)

// A fabric with keys comes to stand as one without does, with frames lost and a
// bridge that starts again, and nothing fails to authenticate.
func TestAuthenticatedFabric(t *testing.T) {
	n := randomNetwork(t, 5, 10, 6, 4)
	n.Fabric.Auth = config.Auth{
		Keys:      []config.AuthKey{{ID: 1, Algorithm: spb.HMACSHA256, Secret: "area"}},
		HelloKeys: []config.AuthKey{{ID: 1, Algorithm: spb.HMACMD5, Secret: "link"}},
	}
	l := build(t, n, sim.Options{Seed: 5, Loss: 0.02})
	l.settle()
	l.checkPlane()
	l.Stop("b3")
	l.Run(second / 2)
	if err := l.Start("b3"); err != nil {
		t.Fatal(err)
	}
	l.settle()
	l.checkPlane()
	for _, x := range n.Nodes {
		if s := l.Node(x.Name).Control.SPB; s != nil {
			if d := s.Counters().Drops; d.AuthMissing+d.AuthBadDigest+d.AuthUnknownKey+d.AuthUnexpectedType+d.BadPurge != 0 {
				t.Errorf("%s drops %+v", x.Name, d)
			}
			if k := s.Authentication(); len(k.LSP.Keys) != 1 || len(k.Hello.Keys) != 1 {
				t.Errorf("%s has %+v", x.Name, k)
			}
		}
	}
}
