package erlang_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tsnswitch/distlink/beamtest"
)

// faults are the rules of order, each as what is wrong without it: a text of a
// module replaced by another. Erlang orders the signals between each pair of
// processes; PROTOCOL.md says what that asks of streams and fences.
var faults = []struct{ name, module, from, to string }{
	// Whose stream a packet goes on.
	{"a process has several streams", "stream", "{pid, Key} -> {1 + erlang:phash2(Key, ?STREAMS), none};", "{pid, _} -> {rand:uniform(?STREAMS), none};"},
	{"who is told has the stream, not who says it", "stream", "sender(<<104, _, 97, _, T/binary>>) -> pid(T);", "sender(<<104, _, 97, _, T/binary>>) -> pid(skip_pid(T));"},
	{"a spawn reply is its parent's", "stream", "sender(<<104, _, 97, Op, T/binary>>) when Op =:= 31; Op =:= 32 -> spawned(T);", "sender(<<104, _, 97, Op, T/binary>>) when Op =:= 31; Op =:= 32 -> pid(skip(T));"},
	{"a spawn reply has a stream of its own", "stream", "Op =:= 31; Op =:= 32 -> spawned(T);", "Op =:= 31; Op =:= 32, T =/= <<>> -> {pid, reply};"},
	{"a spawn error waits like a name", "stream", "        name -> nobody;\n", "        name -> name;\n"},
	{"an unlink is nobody's", "stream", "Op =:= 35; Op =:= 36; Op =:= 29", "Op =:= 36; Op =:= 29"},
	{"an unlink's acknowledgement is nobody's", "stream", "Op =:= 35; Op =:= 36; Op =:= 29", "Op =:= 35; Op =:= 29"},
	{"a spawn request is nobody's", "stream", "Op =:= 36; Op =:= 29; Op =:= 30", "Op =:= 36; Op =:= 30"},
	{"an alias send of OTP 28 is nobody's", "stream", "; Op =:= 37 -> pid", " -> pid"},
	{"a long id is not stepped over", "stream", "skip(<<110, N, _, _:N/binary, T/binary>>) -> T;\n", ""},
	{"a node's name in Latin-1 is not read", "stream", "pid(<<88, 100, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};\n", ""},
	{"a node's short name in Latin-1 is not read", "stream", "pid(<<88, 115, N, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};\n", ""},
	{"a node's long name is not read", "stream", "pid(<<88, 118, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};\n", ""},
	{"pass-through is not read", "stream", "header(<<112, 131, Control/binary>>, State) -> from(Control, State);\n", ""},
	// What a packet waits for.
	{"the down of a name overtakes its process", "stream", "name -> {0, after_all};", "name -> {0, none};"},
	{"a send without a sender is a name's", "stream", "sender(<<104, _, 97, 2, _/binary>>) -> unsaid; % made before the flags were known\n", ""},
	{"a send without a sender waits for nobody", "stream", "_ -> {0, barrier} % unsaid", "_ -> {0, none} % unsaid"},
	{"what is not understood waits for nobody", "stream", "unknown_packet(#s{unknown = N} = State) -> {{0, bulk, barrier}", "unknown_packet(#s{unknown = N} = State) -> {{0, bulk, none}"},
	{"what is not understood is not counted", "stream", "State#s{unknown = N + 1}", "State#s{unknown = N}"},
	// Fragments.
	{"fragments are not remembered", "stream", "{From, State1#s{open = Open#{Seq => From}}};", "_ = {Seq, Open}, {From, State1};"},
	{"fragments are remembered for ever", "stream", "{From, State#s{open = maps:remove(Seq, Open)}};", "{From, State};"},
	// Classes.
	{"a new class does not wait for the old", "stream", "{{beside(Class, Stream), Class, after_all}, State#s", "{{beside(Class, Stream), Class, Fence}, State#s"},
	{"bulk again does not wait for the class", "stream", "{{Stream, bulk, after_all}, State#s", "{{Stream, bulk, Fence}, State#s"},
	{"each packet of a class waits", "stream", "Class, after_all}, State#s{classes = Classes#{Sender := {Class, settled}}}", "Class, after_all}, State"},
	{"classes share streams", "stream", "Stream + 2 * ?STREAMS", "Stream + ?STREAMS"},
	{"a class is on the streams of bulk", "stream", "beside(configured, Stream) -> Stream + ?STREAMS;", "beside(configured, Stream) -> Stream;"},
	{"those that are gone are no barrier", "stream", "S#s{barrier = true, classes", "S#s{barrier = false, classes"},
	{"the barrier is for ever", "stream", "barrier, State1#s{barrier = false}};", "barrier, State1};"},
	{"a barrier in the middle of fragments", "stream", "when Gone > ?GONE, map_size(Open) =:= 0 ->", "when Gone > ?GONE, is_map(Open) ->"},
	// Streams and fences on the way.
	{"a message does not wait for its stream", "recv", "        Offset > Next ->\n", "        Offset > Next, Flags > 3 ->\n"},
	{"nothing waits for a fence", "recv", "case Fence =< below(L#link.orders) of", "case Fence >= 0 orelse below(L#link.orders) of"},
	{"the fast way does not look at fences", "recv", "when Order =:= High + 1, Fence =< Order ->", "when Order > High ->"},
	{"what is behind a fence stays there", "recv", "        true -> deliver_blocked(Now, L2);\n", "        true -> L2;\n"},
	{"a fence is not sent", "send", "Before = case Fence of none -> L#link.fence; _ -> Order end,", "Before = L#link.fence,"},
	{"nothing waits for a barrier", "send", "fence = case Fence of barrier -> Order + 1; _ -> L#link.fence end,", ""},
	{"after all is a barrier", "send", "fence = case Fence of barrier -> Order + 1; _ -> L#link.fence end,", "fence = case Fence of none -> L#link.fence; _ -> Order + 1 end,"},
	{"the handshake is overtaken", "link", "barrier(#link{order = O} = L) -> L#link{fence = O}.", "barrier(L) -> L."},
}

// Every rule of order has a test that fails without it.
func TestOrderFaults(t *testing.T) {
	dir := t.TempDir()
	include, err := filepath.Abs("src")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for i, f := range faults {
		module := "distlink_" + f.module + ".erl"
		source, err := os.ReadFile(filepath.Join("src", module))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(source), f.from) != 1 {
			t.Errorf("%s: %s says %d times %s", f.name, module, strings.Count(string(source), f.from), f.from)
			continue
		}
		file := filepath.Join(dir, fmt.Sprint(i), module)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(source), f.from, f.to, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf(`{"%s", "%s", "%s"}`, f.name, file, include))
	}
	beamtest.Code(t) // skips without Erlang
	ruleLines(t, "distlink_order:faults(["+strings.Join(list, ",")+"])", len(faults))
}
