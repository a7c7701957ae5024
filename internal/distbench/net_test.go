package distbench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const addressA, addressB = "10.97.0.1", "10.97.0.2"

// link is the wire between both nodes: veth, or veth with a rate and with
// frames that are lost at random, both ways.
type link struct {
	mbit int     // 0: as fast as it goes
	loss float64 // percent
}

// twoSpaces are two network namespaces and a link.
type twoSpaces struct{ names map[string]string }

func need(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("network namespaces need root")
	}
	for tool, pkg := range map[string]string{"ip": "iproute2", "tc": "iproute2", "ethtool": "ethtool", "nft": "nftables"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("%s is not installed (Debian: apt-get install %s)", tool, pkg)
		}
	}
}

func run(b *testing.B, command string) {
	b.Helper()
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		b.Fatalf("%s: %v\n%s", command, err, out)
	}
}

func newNet(b *testing.B, l link) *twoSpaces {
	b.Helper()
	n := &twoSpaces{map[string]string{}}
	b.Cleanup(n.close) // also after a failure
	for _, x := range []string{"a", "b"} {
		n.names[x] = fmt.Sprintf("distbench-%s%d", x, os.Getpid())
		run(b, "ip netns add "+n.names[x])
	}
	run(b, fmt.Sprintf("ip link add eth0 netns %s type veth peer name eth0 netns %s", n.names["a"], n.names["b"]))
	for x, address := range map[string]string{"a": addressA, "b": addressB} {
		in := "ip netns exec " + n.names[x] + " "
		run(b, in+"ip addr add "+address+"/24 dev eth0")
		run(b, in+"ip link set lo up")
		run(b, in+"ip link set eth0 up")
		if l.mbit > 0 {
			// A frame is as long as on a wire: no segmentation behind the shaper.
			run(b, in+"ethtool -K eth0 tso off gso off gro off")
			run(b, fmt.Sprintf("%stc qdisc add dev eth0 root tbf rate %dmbit burst 32k limit 256k", in, l.mbit))
		}
		if l.loss > 0 {
			n.lose(b, x, l.loss)
		}
	}
	return n
}

func (n *twoSpaces) lose(b *testing.B, x string, percent float64) {
	b.Helper()
	cmd := exec.Command("ip", "netns", "exec", n.names[x], "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf("table netdev loss {\nchain in {\ntype filter hook ingress device \"eth0\" priority 0\nnumgen random mod 10000 < %d counter drop\n}\n}\n", int(percent*100)))
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("nft: %v\n%s", err, out)
	}
}

func (n *twoSpaces) close() {
	for _, name := range n.names {
		_ = exec.Command("ip", "netns", "del", name).Run()
	}
}

// node is an Erlang node that was started in a space.
type node struct {
	cmd   *exec.Cmd
	lines chan string
	errs  bytes.Buffer
}

func (n *twoSpaces) start(b *testing.B, x, code, name string, port int, c carrier, expr string) *node {
	b.Helper()
	args := append([]string{
		"netns", "exec", n.names[x], *lang, "-noshell", "-setcookie", "c", "-pa", code, "-proto_dist", c.dist, "-name", name,
		"-start_epmd", "false", "-erl_epmd_port", strconv.Itoa(port),
	}, c.args...)
	out := &node{cmd: exec.Command("ip", append(args, "-eval", expr+".")...), lines: make(chan string, 100)}
	out.cmd.Env = append(os.Environ(), "ERL_CRASH_DUMP=/dev/null")
	out.cmd.Stderr = &out.errs
	pipe, err := out.cmd.StdoutPipe()
	if err == nil {
		err = out.cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		s := bufio.NewScanner(pipe)
		s.Buffer(nil, 1<<22)
		for s.Scan() {
			out.lines <- s.Text()
		}
		close(out.lines)
	}()
	return out
}

// patience is above all rows; a carrier that stalls has failed.
const patience = 3 * time.Minute

// line is the next one, or what went wrong.
func (n *node) line(b *testing.B) string {
	b.Helper()
	select {
	case l, ok := <-n.lines:
		if !ok {
			return "the node ended: " + n.errs.String()
		}
		return l
	case <-time.After(patience):
		return fmt.Sprintf("nothing for %v", patience)
	}
}

func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}
