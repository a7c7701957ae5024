%% Which stream a VM packet goes to, and what it waits for. Erlang orders signals
%% between each pair of processes; keying by the sender keeps that and more.
%%
%%     sender a process         its stream
%%     spawn reply              the stream of the process spawned: its messages come after
%%     sender a name            (a monitor by name goes down) after all before it; its
%%                              process is gone, so nobody need wait for it
%%     anything else            a barrier
-module(distlink_stream).

-export([new/0, classify/2]).

-define(STREAMS, 1023).

%% State: sequence id of an unfinished fragmented packet => how it is sent.
new() -> #{}.

%% classify(IoData, State) -> {Stream, Class, Fence, State}
%% Nearly always the sender is near the head of the packet. The longest thing
%% before it is two node names.
classify(Data, State) ->
    {{Stream, Fence}, State1} =
        case header(prefix(Data, 160), State) of
            {{0, _}, _} -> header(prefix(Data, 2048), State);
            Found -> Found
        end,
    {Stream, bulk, Fence, State1}.

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

header(<<131, 68, 0, Control/binary>>, State) -> {from(Control), State};
header(<<131, 69, _:64, 1:64, 0, Control/binary>>, State) -> {from(Control), State};
header(<<131, 69, Seq:64, _:64, 0, Control/binary>>, State) ->
    From = from(Control),
    {From, State#{Seq => From}};
header(<<131, 70, Seq:64, Left:64, _/binary>>, State) ->
    case State of
        #{Seq := From} when Left =:= 1 -> {From, maps:remove(Seq, State)};
        #{Seq := From} -> {From, State};
        _ -> {{0, barrier}, State}
    end;
header(<<112, 131, Control/binary>>, State) -> {from(Control), State};
header(_, State) -> {{0, barrier}, State}.

%% from(ControlMessage) -> {Stream, Fence}
from(Control) ->
    case sender(Control) of
        {pid, Key} -> {1 + erlang:phash2(Key, ?STREAMS), none};
        name -> {0, after_all};
        nobody -> {0, none};
        none -> {0, barrier}
    end.

%% The sender is element 2, except in those that carry an id before it, and in
%% spawn replies, which are of the process spawned.
sender(<<104, _, 97, Op, T/binary>>) when Op =:= 35; Op =:= 36; Op =:= 29; Op =:= 30 -> pid(skip(T));
sender(<<104, _, 97, Op, T/binary>>) when Op =:= 31; Op =:= 32 -> spawned(T);
sender(<<104, _, 97, 2, _/binary>>) -> none;
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
