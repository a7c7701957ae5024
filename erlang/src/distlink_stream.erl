%% Which stream a VM packet goes to. Erlang orders signals between each pair of
%% processes; keying by the sender keeps that and more. What no process sent
%% (a monitor by name going down, an unknown control message) is a barrier.
-module(distlink_stream).

-export([new/0, classify/2]).

-define(STREAMS, 1023).

%% State: sequence id of an unfinished fragmented packet => its stream.
new() -> #{}.

%% classify(IoData, State) -> {Stream, Barrier, State}
classify(Data, State) -> header(prefix(Data), State).

%% The head of the packet, enough for header and control message's sender: the
%% longest thing before it is two node names.
prefix(B) when is_binary(B) -> B;
prefix(L) ->
    case iolist_size(L) =< 2048 of
        true -> iolist_to_binary(L);
        false -> iolist_to_binary(first(L, 2048))
    end.

first(B, _) when is_binary(B) -> B;
first([H | _], N) when is_binary(H), byte_size(H) >= N -> H;
first([H | T], N) when is_binary(H) -> [H | first(T, N - byte_size(H))];
first([H | T], N) when is_integer(H) -> [H | first(T, N - 1)];
first([H | T], N) -> 
    F = iolist_to_binary(H),
    case byte_size(F) of
        S when S >= N -> F;
        S -> [F | first(T, N - S)]
    end;
first([], _) -> [].

header(<<131, 68, 0, Control/binary>>, State) -> from(Control, State);
header(<<131, 69, Seq:64, Left:64, 0, Control/binary>>, State) ->
    {Stream, Barrier, _} = R = from(Control, State),
    case Left of
        1 -> R;
        %% A fragmented barrier keeps only its first fragment fenced; no other
        %% fragment may overtake it, so they follow on its stream.
        _ -> {Stream, Barrier, State#{Seq => Stream}}
    end;
header(<<131, 70, Seq:64, Left:64, _/binary>>, State) ->
    case State of
        #{Seq := Stream} when Left =:= 1 -> {Stream, Stream =:= 0, maps:remove(Seq, State)};
        #{Seq := Stream} -> {Stream, Stream =:= 0, State};
        _ -> {0, true, State}
    end;
header(<<112, 131, Control/binary>>, State) -> from(Control, State);
header(_, State) -> {0, true, State}.

from(Control, State) ->
    case sender(Control) of
        {pid, Key} -> {1 + erlang:phash2(Key, ?STREAMS), false, State};
        none -> {0, true, State}
    end.

%% sender(ControlMessage) -> {pid, Key} | none. The sender is element 2, except
%% in those that carry an id before it.
sender(<<104, _, 97, Op, T/binary>>) when Op =:= 35; Op =:= 36; Op =:= 29; Op =:= 30 -> pid(skip(T));
sender(<<104, _, 97, Op, _/binary>>) when Op =:= 31; Op =:= 32 -> none; % spawn reply: fenced
sender(<<104, _, 97, 2, _/binary>>) -> none;
sender(<<104, _, 97, _, T/binary>>) -> pid(T);
sender(_) -> none.

%% A pid on this node: the node part is the same for all.
pid(<<88, 119, N, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 118, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 115, N, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(<<88, 100, N:16, _:N/binary, Id:32, Serial:32, _/binary>>) -> {pid, {Id, Serial}};
pid(_) -> none.

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
