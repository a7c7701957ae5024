// Package erldist speaks the Erlang distribution protocol as far as a small
// hidden node needs it: handshake version 6 in both roles, control messages in
// pass-through packets, and a bounded subset of the external term format
// (Erlang distribution protocol and external term format, ERTS user's guide).
//
//	udplink.Link <- Transport -> Node.Connect or Node.Accept -> AppendRegSend, ParseMessage
//
// It offers no atom cache and no fragments, so that the peer sends whole,
// self-contained packets. What messages do is package hidden's. Missing in
// terms: funs and bit strings.
package erldist
