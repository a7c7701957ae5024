#!/bin/sh
# Regenerates the protobuf and Connect code from proto/. Needs protoc; the
# two plugins are the versions go.mod pins.
set -eu
cd "$(dirname "$0")"
protoc --proto_path=proto \
	--plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
	--plugin=protoc-gen-connect-go="$(go tool -n protoc-gen-connect-go)" \
	--go_out=../.. --go_opt=module=tsnswitch \
	--connect-go_out=../.. --connect-go_opt=module=tsnswitch --connect-go_opt=simple \
	tsnswitch/v1/types.proto tsnswitch/v1/switch.proto tsnswitch/v1/peer.proto
