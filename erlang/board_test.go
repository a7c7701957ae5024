package erlang_test

import (
	"fmt"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// boardArgs are the block of README.md for a board with 128 MB.
func boardArgs(t *testing.T) []string {
	t.Helper()
	var args []string
	for _, l := range strings.Split(readme(t, "+S 1:1\n"), "\n") {
		args = append(args, strings.Fields(l)...)
	}
	return args
}

// A node that may have 128 MiB, with what README.md says for such a board, sends
// more than that to a peer it reaches at 500 Mbit/s: what it
// makes faster than the link carries waits in its senders.
func TestSmallBoard(t *testing.T) {
	limit := beamtest.Limit(t, 128<<20)
	net := beamtest.NewNet(t, 2, beamtest.Link{Mbit: 500})
	peer := net.Start(1, fmt.Sprintf("io:get_line(\"\"), distlink_mesh:flood('%s', 1048576, 40), %s", net.Name(0), sleep))
	board := net.StartIn(limit, 0, fmt.Sprintf("distlink_mesh:flood('%s', 1048576, 140), %s", net.Name(1), sleep), boardArgs(t)...)
	board.Expect("flood ok", 3*patience)
	t.Logf("sent 140 MiB; the board had at most %d KiB", peak(t, limit))
	peer.Say("")
	peer.Expect("flood ok", 3*patience)
	t.Logf("and took 40 MiB; at most %d KiB", peak(t, limit))
}

func peak(t *testing.T, limit *beamtest.Memory) int {
	t.Helper()
	n, err := limit.Peak()
	if err != nil {
		t.Fatal(err)
	}
	return n / 1024
}
