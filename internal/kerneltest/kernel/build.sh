#!/bin/sh
# Builds the project's own User-mode Linux kernel, once, into the user's cache:
#
#     ${TSN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsnswitch}/kernel/<id>/linux
#
# <id> is the first 16 hex digits of the sha256 of config.fragment; the Go side
# (uml.OwnKernel) computes the same name from the same, embedded, file.
#
# The source is Debian's linux-source package, unpacked into a work folder and
# removed afterwards; it is not installed. Where the machine's own apt lists do
# not have it, a private list of the release's backports suite is used, with its
# state beside the work folder, so that the machine's apt stays as it is.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
fragment=$here/config.fragment
source=$(sed -n 's/^# source: //p' "$fragment")
id=$(sha256sum "$fragment" | cut -c1-16)
cache=${TSN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tsnswitch}
out=$cache/kernel/$id
work=$out.build

say() { echo "kernel: $*"; }
die() { echo "kernel: $*" >&2; exit 1; }

need_tools() {
	missing=
	for pair in flex:flex bison:bison m4:m4 bc:bc make:make gcc:gcc ld:binutils xz:xz-utils; do
		command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
	done
	[ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
	[ -n "$missing" ] || return 0
	[ "$(id -u)" = 0 ] || die "missing build tools; as root run: apt-get install$missing"
	say "installing$missing"
	# shellcheck disable=SC2086 # $missing is meant to split
	apt-get install -qq -y --no-install-recommends $missing >/dev/null || {
		apt-get update -qq && apt-get install -qq -y --no-install-recommends $missing >/dev/null
	} || die "apt-get install$missing failed"
}

# apt_private runs apt-get on a list of its own: the release's backports suite, at
# the address and with the keyring of the machine's own Debian source.
apt_private() {
	priv=$work/apt
	mkdir -p "$priv/lists/partial" "$priv/archives/partial"
	uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' | head -n1)
	[ -n "$uri" ] || die "apt has no source of Debian's, so $source cannot be fetched"
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	signed=
	[ ! -e $keys ] || signed="[signed-by=$keys]"
	echo "deb $signed $uri $(. /etc/os-release && echo "$VERSION_CODENAME")-backports main" >"$priv/sources.list"
	apt-get -qq -o APT::Sandbox::User=root -o Dir::State::lists="$priv/lists" -o Dir::Cache="$priv" \
		-o Dir::Etc::sourcelist="$priv/sources.list" -o Dir::Etc::sourceparts=- "$@"
}

fetch() {
	[ -e "$work/source.deb" ] && return
	say "downloading $source"
	(
		cd "$work"
		apt-get -qq -o APT::Sandbox::User=root download "$source" 2>/dev/null || {
			say "the machine's apt lists do not have it; asking the backports suite"
			apt_private update && apt_private download "$source"
		} || die "cannot download $source"
		mv "${source}"_*.deb source.deb
	)
}

unpack() {
	[ -e "$work/src/Makefile" ] && return
	say "unpacking $source $(dpkg-deb -f "$work/source.deb" Version)"
	dpkg-deb -x "$work/source.deb" "$work/deb"
	rm -rf "$work/part" && mkdir "$work/part"
	tar -xJf "$work/deb/usr/src/$source.tar.xz" -C "$work/part" --strip-components=1
	rm -rf "$work/deb" && mv "$work/part" "$work/src"
}

um() { make -s -C "$work/src" ARCH=um O="$work/obj" "$@"; }

configure() {
	say "configuring"
	mkdir -p "$work/obj"
	um defconfig >"$work/config.log" 2>&1
	cat "$fragment" >>"$work/obj/.config"
	um olddefconfig >>"$work/config.log" 2>&1
	for line in $(grep '=y$' "$fragment"); do
		grep -qx "$line" "$work/obj/.config" || die "this source does not honour $line (see $work/config.log)"
	done
}

# progress prints how far a build is, until it is killed.
progress() {
	while sleep 30 >/dev/null 2>&1 9>&-; do
		say "$(find "$work/obj" -name '*.o' | wc -l) of about 1170 objects"
	done
}

build() {
	say "compiling (about 10 CPU minutes)"
	export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=tsnswitch KBUILD_BUILD_HOST=tsnswitch
	progress &
	ticker=$!
	trap 'kill $ticker 2>/dev/null' EXIT
	um -j"$(nproc)" linux >"$work/build.log" 2>&1 || {
		tail -n 20 "$work/build.log" >&2
		die "the build failed (see $work/build.log)"
	}
}

main() {
	if [ -x "$out/linux" ]; then
		say "$out/linux (cached)"
		return
	fi
	mkdir -p "$work"
	exec 9>"$work/lock"
	flock -n 9 || die "another build is running in $work"
	need_tools
	fetch
	unpack
	configure
	build
	mkdir -p "$out"
	strip -o "$out/linux.part" "$work/obj/linux"
	cp "$work/obj/.config" "$out/config"
	mv "$out/linux.part" "$out/linux" # last: its presence says the build is whole
	rm -rf "$work"
	say "$out/linux"
}
main
