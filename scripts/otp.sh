#!/bin/sh
# Puts the Erlang of another Debian into the user's cache, beside whatever Erlang is
# installed; once. What it prints on standard output is the `erl` to run. Debian 13,
# trixie, has OTP 27.
#
#     scripts/otp.sh [SUITE]                  default: trixie
#     make bench-dist ERL=$(scripts/otp.sh)
#
# Nothing is installed: the packages are unpacked, the C library among them, as these
# programs want a newer one than Debian 12 has. apt checks the signatures as always, with
# a list of its own; the address and the keys are those of the machine's own Debian source.
set -eu

packages="erlang-base erlang-crypto erlang-public-key erlang-asn1
	erlang-ssl erlang-inets erlang-parsetools erlang-eunit erlang-tools erlang-syntax-tools
	libc6 libgcc-s1 libstdc++6 libtinfo6 zlib1g libssl3t64 libzstd1 libsctp1"
suite=${1:-trixie}
cache=${TSN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsnswitch}
out=$cache/otp/$suite
work=$out.part

say() { echo "otp: $*" >&2; }
die() { say "$*"; exit 1; }

apt_private() {
	apt-get -qq -o APT::Sandbox::User=root -o Acquire::Retries=1 -o Acquire::http::Timeout=20 \
		-o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" \
		-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- "$@"
}

fetch() {
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n1)
	[ -n "$uri" ] || # before the first `apt-get update`
		uri=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
			/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | head -n1)
	[ -n "$uri" ] || die "apt has no source of Debian's"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -e $keys ] || die "$keys is missing (Debian: apt-get install debian-archive-keyring)"
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
	echo "deb [target=Packages signed-by=$keys] $uri $suite main" >"$work/sources.list"
	say "asking for the list of $suite (10 MB)"
	apt_private update >&2 || die "cannot read the list of $suite"
	say "downloading Erlang and its libraries (22 MB)"
	# shellcheck disable=SC2086
	(cd "$work/debs" && apt_private download $packages >&2) || die "cannot download the packages"
}

# wrap runs a program by the unpacked C library: it knows no other place for it.
wrap() {
	mv "$1" "$1.elf"
	cat >"$1" <<-END
		#!/bin/sh
		exec "$loader" --library-path "$libraries" --argv0 "$2" "$1.elf" "\$@"
	END
	chmod 755 "$1"
}

# unpack makes a tree that knows its own place, which is why it is moved before.
unpack() {
	for deb in "$work"/debs/*.deb; do
		dpkg-deb -x "$deb" "$out.tree"
	done
	root=$out.tree/usr/lib/erlang
	loader=$(find "$out.tree" -name 'ld-linux*.so.*' ! -type l | head -n1)
	libraries=${loader%/*}
	for file in "$root"/erts-*/bin/beam.smp; do bin=${file%/*}; done
	for program in beam.smp erl_child_setup inet_gethost erlexec erlc escript erl_call heart epmd; do
		wrap "$bin/$program" "$bin/$program"
	done
	cat >"$bin/erl" <<-END
		#!/bin/sh
		ROOTDIR=$root BINDIR=$bin EMU=beam PROGNAME=erl
		export ROOTDIR BINDIR EMU PROGNAME
		exec "$bin/erlexec" "\$@"
	END
	chmod 755 "$bin/erl"
	release=$("$bin/erl" -noshell -eval 'crypto:info_lib(), io:put_chars(erlang:system_info(otp_release)), halt().') ||
		die "what was unpacked does not run"
	say "OTP $release"
	mkdir -p "$out/bin"
	ln -sf "$bin/erlc" "$out/bin/erlc"
	ln -sf "$bin/erl" "$out/bin/erl" # last: its presence says that all is there
}

if [ ! -x "$out/bin/erl" ]; then
	[ "$(uname -s)" = Linux ] && command -v dpkg-deb >/dev/null || die "this needs a Debian"
	mkdir -p "$cache/otp"
	exec 9>"$out.lock"
	flock 9
	if [ ! -x "$out/bin/erl" ]; then
		rm -rf "$work" "$out" "$out.tree"
		fetch
		unpack
		rm -rf "$work"
	fi
fi
echo "$out/bin/erl"
