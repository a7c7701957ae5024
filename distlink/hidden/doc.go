// Package hidden is an Erlang node in Go: a hidden one, whose processes are
// mailboxes that Go code reads. It answers pings, sends and receives messages,
// links and monitors, calls gen_servers and is called.
//
//	node := hidden.New(hidden.Config{Name: "tool@10.20.0.9", Cookie: "secret"})
//	go node.Serve(ctx, hidden.AcceptFrom(listener))   // or node.Dial(ctx, peer, transport)
//	p := node.Spawn("echo")
//	for m := range p.Mailbox() { ... }
//
//	node.go      connections by peer name, names, the processes
//	conn.go      one connection: what each control message does
//	process.go   what a process can do
//	genserver.go the call protocol of gen_server, both sides
//	transport.go distribution over distlink and over TCP
//
// As on any Erlang node signals between two processes stay in order, and a
// connection that ends is told to those who monitor (noconnection) or are
// linked. What the node does not do, it does not offer in the handshake: spawn
// requests, aliases, fragments, the atom cache. A message with a term that
// package erldist cannot read (a fun) is dropped and counted.
package hidden
