package beamtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
)

// Link is the wire of each node of a Net.
type Link struct {
	Mbit int     // 0: as fast as it goes
	Loss float64 // percent of the frames that come in
}

// Net is one network namespace for each node, on two bridges with a trunk between
// them: the first half of the nodes on one, the rest on the other.
type Net struct {
	t      *testing.T
	hub    string
	spaces []string
}

var nets atomic.Int32

const trunk = "trunk"

// NewNet makes a network for n nodes; it ends with the test, which is skipped
// where something for it is missing.
func NewNet(t *testing.T, n int, l Link) *Net {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "tc": "iproute2", "nft": "nftables", "ethtool": "ethtool"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed (Debian: apt-get install %s)", tool, pkg)
		}
	}
	prefix := fmt.Sprintf("beam%d-%d-", os.Getpid(), nets.Add(1))
	net := &Net{t: t, hub: prefix + "hub"}
	t.Cleanup(net.close) // also after a failure
	net.run("ip netns add " + net.hub)
	net.in(net.hub, "ip link add "+trunk+" type veth peer name "+trunk+"1")
	for i, end := range []string{trunk, trunk + "1"} {
		net.in(net.hub, fmt.Sprintf("ip link add br%d type bridge", i))
		net.in(net.hub, fmt.Sprintf("ip link set br%d up", i))
		net.in(net.hub, fmt.Sprintf("ip link set %s master br%d up", end, i))
	}
	for i := range n {
		space := fmt.Sprintf("%s%d", prefix, i)
		net.spaces = append(net.spaces, space)
		net.run("ip netns add " + space)
		net.run(fmt.Sprintf("ip link add eth0 netns %s type veth peer name port%d netns %s", space, i, net.hub))
		net.in(net.hub, fmt.Sprintf("ip link set port%d master br%d up", i, i*2/n))
		net.in(space, "ip link set lo up")
		net.in(space, "ip addr add "+net.Address(i)+"/24 dev eth0")
		net.in(space, "ip link set eth0 up")
		net.shape(space, l)
	}
	return net
}

// shape: frames are as long as on a wire, so nothing joins them behind the shaper.
func (n *Net) shape(space string, l Link) {
	n.t.Helper()
	if l.Mbit > 0 {
		n.in(space, "ethtool -K eth0 tso off gso off gro off")
		n.in(space, fmt.Sprintf("tc qdisc add dev eth0 root tbf rate %dmbit burst 32k limit 256k", l.Mbit))
	}
	if l.Loss > 0 {
		n.filter(space, fmt.Sprintf("numgen random mod 10000 < %d counter drop", int(l.Loss*100)))
	}
}

func (n *Net) filter(space, rule string) {
	n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", space, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("table netdev loss {\nchain in {\ntype filter hook ingress device \"eth0\" priority 0\n" + rule + "\n}\n}\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// Address of node i.
func (n *Net) Address(i int) string { return fmt.Sprintf("10.98.0.%d", i+1) }

// Name of node i.
func (n *Net) Name(i int) string { return fmt.Sprintf("n%d@%s", i, n.Address(i)) }

// Start boots node i with distlink and no keys.
func (n *Net) Start(i int, eval string, args ...string) *Node {
	n.t.Helper()
	return n.StartOver("distlink", i, eval, append(args, "-distlink_ip", n.Address(i))...)
}

// StartIn is Start with a limit of memory.
func (n *Net) StartIn(m *Memory, i int, eval string, args ...string) *Node {
	n.t.Helper()
	return n.start("distlink", i, m.inside(), eval, append(args, "-distlink_ip", n.Address(i)))
}

// StartOver boots node i with another carrier.
func (n *Net) StartOver(carrier string, i int, eval string, args ...string) *Node {
	n.t.Helper()
	return n.start(carrier, i, nil, eval, args)
}

func (n *Net) start(carrier string, i int, inside []string, eval string, args []string) *Node {
	n.t.Helper()
	inside = append(inside, "ip", "netns", "exec", n.spaces[i])
	return Stock.start(n.t, carrier, n.Name(i), eval, inside, nil, append(args, "-start_epmd", "false", "-erl_epmd_port", "9100"))
}

// Unplug takes node i's link down at its own end, Plug brings it back.
func (n *Net) Unplug(i int) { n.in(n.spaces[i], "ip link set eth0 down") }

// Plug is the opposite of Unplug.
func (n *Net) Plug(i int) { n.in(n.spaces[i], "ip link set eth0 up") }

// Cut parts both halves, without a word to either.
func (n *Net) Cut() { n.in(n.hub, "ip link set "+trunk+" down") }

// Heal is the opposite of Cut.
func (n *Net) Heal() { n.in(n.hub, "ip link set "+trunk+" up") }

// Deafen drops what comes to node i, which can still send.
func (n *Net) Deafen(i int) { n.filter(n.spaces[i], "counter drop") }

// Hear is the opposite of Deafen.
func (n *Net) Hear(i int) { n.in(n.spaces[i], "nft delete table netdev loss") }

// Dropped is how many frames were lost on their way to node i.
func (n *Net) Dropped(i int) int {
	n.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.spaces[i], "nft", "list", "table", "netdev", "loss").Output()
	if err != nil {
		n.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(out), "counter packets ")
	var packets int
	if _, err := fmt.Sscan(after, &packets); err != nil {
		n.t.Fatalf("no counter in %s", out)
	}
	return packets
}

func (n *Net) in(space, command string) {
	n.t.Helper()
	n.run("ip netns exec " + space + " " + command)
}

func (n *Net) run(command string) {
	n.t.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func (n *Net) close() {
	for _, space := range append(n.spaces, n.hub) {
		_ = exec.Command("ip", "netns", "del", space).Run()
	}
}
