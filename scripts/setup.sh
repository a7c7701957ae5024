#!/bin/sh
# Installs the Debian packages that `make demo`, its LAB=twokernels, `make test` or `make bench-dist`
# need and that this machine lacks. As an ordinary user it names them instead.
#
# usage: scripts/setup.sh demo|twokernels|test|bench-dist
set -eu

want="erlang-base:erl iproute2:tc"
case "${1:-}" in
demo) ;;
twokernels) want="iproute2:tc" ;;
bench-dist) want="$want nftables:nft ethtool:ethtool" ;;
test) want="$want nftables:nft ethtool:ethtool tshark:tshark tcpdump:tcpdump linuxptp:ptp4l frr:isisd pipewire-bin:pipewire rebar3:rebar3 elixir:mix" ;;
*) echo "usage: $0 demo|twokernels|test|bench-dist" >&2; exit 2 ;;
esac

# User-mode Linux where this kernel falls short, where we are not root, and where
# two kernels are wanted.
host_is_enough() {
	[ "$1" = bench-dist ] && return 0
	[ "$1" != twokernels ] && [ "$(id -u)" = 0 ] || return 1
	config=/boot/config-$(uname -r)
	{ zcat /proc/config.gz 2>/dev/null || cat "$config" 2>/dev/null; } |
		awk '/^CONFIG_(NET_SCH_TAPRIO|BRIDGE_VLAN_FILTERING|VLAN_8021Q|NET_CLS_FLOWER|IFB|NET_SCH_TBF)=[ym]/ { n++ } END { exit n < 6 }'
}
if ! host_is_enough "$1"; then
	[ "$(uname -m)" = x86_64 ] || {
		echo "another kernel is needed (see lab/README.md), and User-mode Linux is for x86-64 only" >&2
		exit 1
	}
	want="$want user-mode-linux:linux.uml"
fi

missing=
for w in $want; do
	command -v "${w#*:}" >/dev/null 2>&1 || PATH=$PATH:/usr/sbin:/sbin:/usr/lib/frr command -v "${w#*:}" >/dev/null 2>&1 || missing="$missing ${w%%:*}"
done
# Libraries without a command; erlang-public-key brings erlang-crypto.
if [ "$1" = test ] && ! erl -noshell -eval 'crypto:info_lib(), {module, _} = code:ensure_loaded(public_key), halt(0).' >/dev/null 2>&1; then
	missing="$missing erlang-public-key"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
	echo "please install:$missing   (sudo apt-get install$missing)" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Programs are wanted, not services: nothing that is installed starts by itself.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
	trap 'rm -f "$log" "$policy"' EXIT
fi
# shellcheck disable=SC2086
if ! { apt-get install -y --no-install-recommends $missing >"$log" 2>&1 ||
	{ apt-get update >"$log" 2>&1 && apt-get install -y --no-install-recommends $missing >>"$log" 2>&1; }; }; then
	cat "$log" >&2
	echo "could not install:$missing" >&2
	exit 1
fi
