// Package erlnode lets Erlang nodes do what tsnctl does: a gen_server named
// tsnswitchd on a hidden node, in front of the management API.
//
//	gen_server:call({tsnswitchd, 'tsnswitchd@10.255.0.1'}, {get_status, #{}}).
//	{ok, #{<<"name">> => <<"b1">>, ...}}
//	gen_server:call(Server, {add_stream, #{talker => <<"A">>, listener => <<"B">>, ...}}).
//	gen_server:call(Server, {subscribe, watch_events, #{}}).
//	{ok, Ref}    then {tsnswitchd, Ref, Event} ..., {tsnswitchd, Ref, done | {error, E}}
//	gen_server:call(Server, {unsubscribe, Ref}).
//	gen_server:call(Server, {lease, add_stream, #{spec => ...}}).    removed when the caller ends
//	gen_server:call(Server, methods).
//
// Methods and fields are those of service Switch in internal/api/proto, in
// snake case: atoms or binaries for names, binaries, lists of characters or
// atoms for strings, #{} for messages, lists for repeated fields. Answers have
// binaries for strings and for the keys of maps, in the spelling that
// `tsnctl -o json` has where the method's answer is a View, and otherwise in
// that of the schema's JSON names. null stands for nothing.
//
//	server.go   the requests, who may do what, subscriptions
//	lease.go    streams that end with who asked for them
//	carriers.go what Erlang nodes say of their connections
//	methods.go  their names, and which of them change something
//	convert.go  terms <-> messages, JSON -> terms
//
// An error is {error, {Code, Text}} with the API's code word as an atom, as
// tsnctl prints it. A subscription ends with its subscriber.
package erlnode
