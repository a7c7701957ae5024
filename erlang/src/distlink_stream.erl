%% Which stream a VM packet goes to, and what it waits for. Erlang orders signals
%% between each pair of processes; keying by the sender keeps that and more.
%%
%%     sender a process         its stream
%%     spawn reply              the stream of the process spawned: its messages come after
%%     sender a name            (a monitor by name goes down) after all before it; its
%%                              process is gone, so nobody need wait for it
%%     anything else            a barrier
-module(distlink_stream).

-export([new/0, classify/2, classes/2, key/1, unknown/1]).

-define(STREAMS, 1023). % of each class
-define(GONE, 1000).    % processes that had a class and have not sent since

%% open: sequence id of an unfinished fragmented packet => how it is sent;
%% classes: sender => {Class, moved | settled}; unknown: packets that this module
%% does not understand.
-record(s, {open = #{}, classes = #{}, barrier = false, unknown = 0}).

new() -> #s{}.

%% unknown(State) -> how many packets were barriers because their sender was not found:
%% none, unless the VM is newer than this module.
unknown(#s{unknown = N}) -> N.

%% key(Pid) -> what classes/2 calls a process of this node
key(Pid) ->
    <<131, Term/binary>> = term_to_binary(Pid),
    pid(Term).

%% classes(#{Key => Class}, State): who is not in it is bulk. A process whose
%% class changes goes on on another stream: what it sends first there is after
%% all that was sent before.
classes(New, #s{classes = Old} = S) ->
    Gone = maps:map(fun(_, _) -> {bulk, moved} end, maps:without(maps:keys(New), Old)),
    Here = maps:map(fun(Key, Class) ->
                            case Old of
                                #{Key := {Class, How}} -> {Class, How};
                                _ -> {Class, moved}
                            end
                    end, New),
    trim(maps:size(maps:filter(fun(_, How) -> How =:= {bulk, moved} end, Gone)), S#s{classes = maps:merge(Gone, Here)}).

%% Most of those that are gone have ended: one barrier does for them all. It
%% would not, if a message were on its way in fragments.
trim(Gone, #s{open = Open, classes = Classes} = S) when Gone > ?GONE, map_size(Open) =:= 0 ->
    S#s{barrier = true, classes = maps:filter(fun(_, How) -> How =/= {bulk, moved} end, Classes)};
trim(_, S) -> S.

%% classify(IoData, State) -> {Stream, Class, Fence, State}
%% Nearly always the sender is near the head of the packet. The longest thing
%% before it is two node names.
classify(Data, State) ->
    {{Stream, Class, Fence}, State1} =
        case header(prefix(Data, 160), State) of
            {{0, _, _}, _} -> header(prefix(Data, 2048), State);
            Found -> Found
        end,
    case State1 of
        #s{barrier = true} -> {Stream, Class, barrier, State1#s{barrier = false}};
        _ -> {Stream, Class, Fence, State1}
    end.

%% prefix(IoData, N) -> its first N octets, or all of a binary
prefix(B, _) when is_binary(B) -> B;
prefix(L, N) -> iolist_to_binary(first(L, N)).

first([H | T], N) when is_binary(H) ->
    case byte_size(H) of
        S when S < N -> [H | first(T, N - S)];
        _ -> [binary:part(H, 0, N)]
    end;
first([H | T], N) when is_integer(H), N > 0 -> [H | first(T, N - 1)];
first([H | T], N) when N > 0 -> first([iolist_to_binary(H) | T], N);
first(B, N) when is_binary(B) -> first([B], N);
first(_, _) -> [].

header(<<131, 68, 0, Control/binary>>, State) -> from(Control, State);
header(<<131, 69, _:64, 1:64, 0, Control/binary>>, State) -> from(Control, State);
header(<<131, 69, Seq:64, _:64, 0, Control/binary>>, State) ->
    {From, #s{open = Open} = State1} = from(Control, State),
    {From, State1#s{open = Open#{Seq => From}}};
header(<<131, 70, Seq:64, Left:64, _/binary>>, #s{open = Open} = State) ->
    case Open of
        #{Seq := From} when Left =:= 1 -> {From, State#s{open = maps:remove(Seq, Open)}};
        #{Seq := From} -> {From, State};
        _ -> unknown_packet(State)
    end;
header(<<112, 131, Control/binary>>, State) -> from(Control, State);
header(_, State) -> unknown_packet(State).

unknown_packet(#s{unknown = N} = State) -> {{0, bulk, barrier}, State#s{unknown = N + 1}}.

%% from(ControlMessage, State) -> {{Stream, Class, Fence}, State}
from(Control, #s{classes = Classes} = State) ->
    Sender = sender(Control),
    {Stream, Fence} = place(Sender),
    case Classes of
        #{Sender := {Class, settled}} -> {{beside(Class, Stream), Class, Fence}, State};
        #{Sender := {bulk, moved}} -> {{Stream, bulk, after_all}, State#s{classes = maps:remove(Sender, Classes)}};
        #{Sender := {Class, moved}} ->
            {{beside(Class, Stream), Class, after_all}, State#s{classes = Classes#{Sender := {Class, settled}}}};
        _ when Sender =:= none -> unknown_packet(State);
        _ -> {{Stream, bulk, Fence}, State}
    end.

%% Each class has streams of its own.
beside(bulk, Stream) -> Stream;
beside(configured, Stream) -> Stream + ?STREAMS;
beside(control, Stream) -> Stream + 2 * ?STREAMS.

%% place(Sender) -> {Stream, Fence}
place(Sender) ->
    case Sender of
        {pid, Key} -> {1 + erlang:phash2(Key, ?STREAMS), none};
        name -> {0, after_all};
        nobody -> {0, none};
        _ -> {0, barrier} % unsaid, or none found
    end.

%% The sender is element 2, except in those that carry an id or (37, OTP 28's sends)
%% flags before it, and in spawn replies, which are of the process spawned.
sender(<<104, _, 97, Op, T/binary>>) when Op =:= 35; Op =:= 36; Op =:= 29; Op =:= 30; Op =:= 37 -> pid(skip(T));
sender(<<104, _, 97, Op, T/binary>>) when Op =:= 31; Op =:= 32 -> spawned(T);
sender(<<104, _, 97, 2, _/binary>>) -> unsaid; % made before the flags were known
sender(<<104, _, 97, _, T/binary>>) -> pid(T);
sender(_) -> none.

%% {31, ReqId, To, Flags, Result} and {32, ReqId, To, Flags, Result, TraceToken}.
%% A result that is no process is an error's name: nobody spoke before it or will.
spawned(T) ->
    case pid(skip(skip_pid(skip(T)))) of
        name -> nobody;
        Other -> Other
    end.

%% A pid on this node: the node part is the same for all.
pid(<<88, 119, N, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 118, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 115, N, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 100, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<Atom, _/binary>>) when Atom =:= 119; Atom =:= 118; Atom =:= 115; Atom =:= 100 -> name;
pid(_) -> none.

skip_pid(<<88, Atom, N, _:N/binary, _:96, T/binary>>) when Atom =:= 119; Atom =:= 115 -> T;
skip_pid(<<88, Atom, N:16, _:N/binary, _:96, T/binary>>) when Atom =:= 118; Atom =:= 100 -> T;
skip_pid(_) -> <<>>.

%% skip steps over an integer or a reference.
skip(<<97, _, T/binary>>) -> T;
skip(<<98, _:32, T/binary>>) -> T;
skip(<<110, N, _, _:N/binary, T/binary>>) -> T;
skip(<<90, Ids:16, 119, N, _:N/binary, _:32, T0/binary>>) -> ids(Ids, T0);
skip(<<90, Ids:16, 118, N:16, _:N/binary, _:32, T0/binary>>) -> ids(Ids, T0);
skip(<<90, Ids:16, 100, N:16, _:N/binary, _:32, T0/binary>>) -> ids(Ids, T0);
skip(<<90, Ids:16, 115, N, _:N/binary, _:32, T0/binary>>) -> ids(Ids, T0);
skip(_) -> <<>>.

ids(N, B) ->
    S = N * 4,
    case B of
        <<_:S/binary, T/binary>> -> T;
        _ -> <<>>
    end.
