// Package api is the management interface of a switch: the contract the
// daemon implements, the server that offers it, the client that calls it.
//
//	tsnctl ── unix socket ──> Switch ─┐
//	                                  ├─> Backend (the daemon)
//	daemon ── TLS, certs ──> Switch, ─┘       │
//	          in-band         Peer            └─ Remote(node) ──> Client ── TLS ──> another daemon
//
// Backend and its types are plain Go; the protobuf messages in tsnswitchv1
// stop in convert.go. A Client implements the same interfaces as a Backend, so
// that a forwarded call is the same call. The protocol is Connect: gRPC and
// plain JSON over HTTP reach the same handlers:
//
//	curl --unix-socket /run/tsnswitchd.sock -H 'Content-Type: application/json' \
//	    -d '{}' http://tsnswitchd/tsnswitch.v1.Switch/ListStreams
//
// Missing: roles. Whoever can open the socket, or holds a certificate of the
// fabric's CA, may call everything its listener offers.
package api
