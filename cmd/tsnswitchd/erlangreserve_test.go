package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tsnswitch/distlink/beamtest"
	"tsnswitch/internal/api"
	"tsnswitch/internal/config"
	"tsnswitch/internal/kerneltest"
)

// erlangPort is where everybody of the test listens, each at an address of its own.
const erlangPort = 4370

// Erlang nodes on two hosts reserve a stream over two bridges, whose daemons are
// nodes, too: admitted and refused, released, given back by a node that is killed,
// and what a switch that is killed means.
func TestErlangReserves(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a kernel")
	}
	kerneltest.Run(t, kerneltest.Needs{Taprio: true, CBS: true, Flower: true, VLANFiltering: true, VLANDevices: true, Timeout: 5 * time.Minute}, func(t *testing.T) {
		beamtest.Code(t) // skips without Erlang
		t.Cleanup(beamtest.Cleanup)
		s := wire(t, "two bridges", twoBridges)
		if err := api.CreatePKI(filepath.Join(s.dir, "keys"), []string{"b1", "b2"}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		s.b1, s.b2 = s.bridge(t, "b1"), s.bridge(t, "b2")
		for _, b := range []*bridge{s.b1, s.b2} {
			s.erlang(t, b)
			b.start(t)
		}
		s.b1.settled(t)
		s.b2.settled(t)
		s.dress(t, "h1")
		s.dress(t, "h2")
		r := &reserving{site: s, switchd: erlangName(s.b1), other: erlangName(s.b2)}
		r.b = r.node(t, "h2", "receive after infinity -> ok end")
		for _, p := range []part{
			{"refused", r.refused},
			{"reserved", r.reserved},
			{"kill of the switch", r.killSwitch},
			{"kill of both", r.killBoth},
		} {
			if !t.Run(p.name, p.test) {
				break
			}
		}
	})
}

func erlangName(b *bridge) string { return "tsnswitchd@" + b.cfg.Management.Address.Addr().String() }

// erlang makes a bridge's daemon a node on its management address.
func (s *site) erlang(t *testing.T, b *bridge) {
	t.Helper()
	cookie := write(t, filepath.Join(s.dir, b.name+".cookie"), "c\n")
	if err := os.Chmod(cookie, 0o600); err != nil {
		t.Fatal(err)
	}
	b.cfg.Erlang = config.Erlang{
		Name: erlangName(b), CookieFile: cookie, DistlinkSecurity: "none", Write: true,
		Distlink: config.AddrPort{AddrPort: netip.AddrPortFrom(b.cfg.Management.Address.Addr(), erlangPort)},
	}
	b.writeConfig(t, b.conf, b.cfg)
}

func (s *site) host(name string) *config.Node {
	for i := range s.net.Nodes {
		if s.net.Nodes[i].Name == name {
			return &s.net.Nodes[i]
		}
	}
	return nil
}

// dress gives a host its address as the fabric knows it, and one in the VLANs of
// streams and of management.
func (s *site) dress(t *testing.T, name string) {
	t.Helper()
	h, nl, fab := s.host(name), s.ns[name].Netlink(), s.net.Fabric
	port, err := nl.LinkByName("p1")
	if err != nil {
		t.Fatal(err)
	}
	mac, _ := net.ParseMAC(h.SystemID.String())
	err = nl.LinkSetHardwareAddr(port, mac)
	for vid, at := range map[uint16]netip.Prefix{
		uint16(fab.StreamVID):     netip.PrefixFrom(h.Stream.Addr, fab.StreamNet.Bits()),
		uint16(fab.ManagementVID): netip.PrefixFrom(h.Management.Addr, fab.ManagementNet.Bits()),
	} {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.ParentIndex = fmt.Sprintf("p1.%d", vid), port.Attrs().Index
		vlan := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(vid), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q, EgressQosMap: map[uint32]uint32{}}
		for p := range uint32(8) {
			vlan.EgressQosMap[p] = p
		}
		ip := &netlink.Addr{IPNet: &net.IPNet{IP: at.Addr().AsSlice(), Mask: net.CIDRMask(at.Bits(), 32)}}
		err = errors.Join(err, nl.LinkAdd(vlan), nl.AddrAdd(vlan, ip), nl.LinkSetUp(vlan))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// reserving is the network with an Erlang node on h2; those on h1 come and go.
type reserving struct {
	*site
	b              *beamtest.Node
	switchd, other string // node names of b1, the first hop of h1, and b2
}

// node starts a node at a host's address in the VLAN of streams.
func (r *reserving) node(t *testing.T, host, eval string) (n *beamtest.Node) {
	t.Helper()
	// One scheduler that sleeps: a busy wait would take the processor from the bridges.
	args := []string{"-distlink_switch", r.switchd, "-distlink_keepalive", "5000", "-connect_all", "false", "+S", "1:1", "+sbwt", "none"}
	r.ns[host].Do(func() {
		n = beamtest.Start(t, "distlink", host+"@"+r.host(host).Stream.String(), erlangPort, eval, args...)
	})
	return n
}

// reserver is a node on h1 that connects, hears events and evaluates more with B,
// the other node, O, options, Ask, which reserves, and Reserve, which asks until the
// switch says yes: on a busy machine one bridge may be too slow for the other.
func (r *reserving) reserver(t *testing.T, eval string) *beamtest.Node {
	t.Helper()
	return r.node(t, "h1", fmt.Sprintf(`B = '%s', Me = self(), O = #{rate => 20000, talker => "h1", listener => "h2"},
 Ping = fun F(N) -> case net_adm:ping(N) of pong -> ok; _ -> receive after 200 -> F(N) end end end, Ping(B), Ping('%s'), Ping('%s'),
 ok = distlink:attach(x, [[distlink, reserved], [distlink, released]], fun([_, E], _, #{node := N}, _) -> Me ! {E, N} end, x),
 Ask = fun(Options) -> case distlink:reserve(B, Options) of {ok, Id} -> receive {reserved, B} -> io:format("reserved ~s ~p~n", [Id, maps:get(rate, distlink:info(B))]) end; {error, E} -> io:format("refused ~0tp~n", [E]), E end end,
 Reserve = fun F(Options) -> case Ask(Options) of ok -> ok; _ -> receive after 500 -> Ping(B), F(Options) end end end,
 %s, receive after infinity -> ok end`, r.b.Name, r.switchd, r.other, eval))
}

// streams waits until a bridge has these many in the fabric.
func (r *reserving) streams(t *testing.T, b *bridge, n int) (all []api.StreamState) {
	t.Helper()
	b.until(t, fmt.Sprintf("knows %d streams", n), func(ctx context.Context) (err error) {
		if all, err = b.client.ListStreams(ctx); err == nil && len(all) != n {
			err = fmt.Errorf("%d streams", len(all))
		}
		return err
	})
	return all
}

const boot = 90 * time.Second // with a handful of processes in a slow guest

// refused: by admission with its reason, and for a station that nobody knows.
func (r *reserving) refused(t *testing.T) {
	a := r.reserver(t, `Ask(O#{rate => 90000}), Ask(O#{listener => "h9"}), Ask(O#{switch => 'tsnswitchd@192.0.2.1'})`)
	for _, want := range []string{"bandwidth", "h9", "tsnswitchd@192.0.2.1"} {
		if l := a.Expect("refused", boot); !strings.Contains(l, want) {
			t.Errorf("%s does not name %s", l, want)
		}
	}
	r.streams(t, r.b1, 0)
}

// reserved: the stream is on the path of both bridges, the connection knows it, and
// the switch is told by the node.
func (r *reserving) reserved(t *testing.T) {
	a := r.reserver(t, `Reserve(O), ok = distlink_bench:check_slow(B, 60000), ok = distlink:release(B), receive {released, B} -> io:format("released ~p~n", [maps:get(rate, distlink:info(B))]) end`)
	l := a.Expect("reserved", boot)
	st := r.streams(t, r.b2, 1)[0]
	if l != "reserved "+st.Stream.ID.String()+" 20000" || len(st.Path) != 2 || st.Owner != "b1" || st.State != api.StreamReserved {
		t.Errorf("%s: %+v", l, st)
	}
	r.b1.until(t, "hears of the stream's connection", func(ctx context.Context) error {
		d, err := r.b1.client.Dist(ctx)
		if err != nil {
			return err
		}
		for _, l := range d.Links {
			if l.StreamID == st.Stream.ID.String() && l.Peer == r.b.Name && l.Carrier != nil && l.Carrier.Rate == 20000 {
				return nil
			}
		}
		return fmt.Errorf("links %+v", d.Links)
	})
	if l := a.Expect("released", 2*boot); l != "released 0" {
		t.Error(l)
	}
	r.streams(t, r.b1, 0)
}

// killSwitch: the connection is best effort when the switch is away (and ends when
// the fabric has given its bridge up), and is reserved again when it is back.
func (r *reserving) killSwitch(t *testing.T) {
	a := r.reserver(t, fmt.Sprintf(`Reserve(O), receive {released, B} -> io:format("released ~p~n", [case distlink:stats(B) of {ok, #{rate := R}} -> R; _ -> 0 end]) end, Ping('%s'), Ping(B), Reserve(O)`, r.switchd))
	a.Expect("reserved", boot)
	_ = r.b1.end(t, syscall.SIGKILL)
	if l := a.Expect("released", boot); l != "released 0" {
		t.Error(l)
	}
	r.b1.start(t)
	r.b1.settled(t)
	a.Expect("reserved", boot)
	r.streams(t, r.b1, 1)
	a.Kill() // which the switch sees, and takes the stream back
	r.streams(t, r.b1, 0)
}

// killBoth: what a node had leased is not left behind where the switch that it asked
// has died, too: the talker's first hop, or one that passed it on.
func (r *reserving) killBoth(t *testing.T) {
	for _, b := range []*bridge{r.b1, r.b2} {
		a := r.reserver(t, fmt.Sprintf(`Reserve(O#{switch => '%s'})`, erlangName(b)))
		a.Expect("reserved", boot)
		_ = b.end(t, syscall.SIGKILL)
		a.Kill()
		b.start(t)
		b.settled(t)
		r.streams(t, r.b1, 0)
	}
}
