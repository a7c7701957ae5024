%% Two ends of distlink_link in virtual time, over a network to which things
%% happen (mishap/2). All follows from a seed: also what is sent, octet by octet.
-module(distlink_sim).
-export([run/2, lanes/0, fuzz/2, hostile/1, config/2]).
-compile(nowarn_deprecated_catch). % OTP 29

-define(MESSAGES, 60).

%% line: kbit/s, 0 any; room: microseconds of queue before it; busy: End => until
%% when its line is; held: what came for an end that does not run.
-record(w, {now = 1000, seq = 0, queue = gb_sets:new(), ends, keys, loss, dup, jitter, narrow, corrupt = 0,
            delay = 100, line = 0, room = 0, busy = #{}, addr = {{10, 0, 0, 1}, 4000}, paused = none, held = [],
            got = #{c => [], s => []}, hash = 0, one_lane = false}).

%% run(Seeds, Keys) prints "ok seed N" or "bad seed N Why" for each, then "end".
run(Seeds, Keys) ->
    _ = [report(N, catch one(N, Keys)) || N <- lists:seq(1, Seeds)],
    io:format("end~n").

report(N, ok) -> io:format("ok seed ~b~n", [N]);
report(N, Why) -> io:format("bad seed ~b ~0p~n", [N, Why]).

one(N, Keys) when N rem 16 =:= 1 ->
    Hash = world(N, Keys),
    Hash = world(N, Keys),
    ok;
one(N, Keys) ->
    _ = world(N, Keys),
    ok.

world(N, Keys0) ->
    _ = rand:seed(exsss, N),
    Keys = case N rem 4 of 0 -> Keys0; 2 when Keys0 =/= [] -> {certificate, distlink_proof:identity(<<"x">>, [<<"x">>])}; _ -> [] end,
    W = #w{keys = Keys, loss = rand:uniform() * 0.12, dup = rand:uniform() * 0.1,
           jitter = case N rem 4 of 2 -> rand:uniform(300000); _ -> rand:uniform(3000) end, % set-up packets come late and again
           narrow = case N rem 3 of 0 -> 1200 + rand:uniform(272); _ -> 65535 end,
           ends = #{c => distlink_link:client(config(N, Keys), 11, 1000), s => none}},
    W1 = until(fun(#w{ends = #{c := C, s := S}}) -> S =/= none andalso distlink_link:state(C) =:= open end, 60000000, out(c, W)),
    {Wc, W2} = talk(c, W1#w{jitter = min(W1#w.jitter, 3000)}),
    {Ws, W3} = talk(s, W2),
    W4 = until(fun(#w{got = #{c := C, s := S}}) -> length(C) + length(S) =:= 2 * ?MESSAGES end, 60000000, W3#w{loss = min(W3#w.loss, 0.05)}),
    ok = ordered(Wc, lists:reverse(maps:get(s, W4#w.got))),
    ok = ordered(Ws, lists:reverse(maps:get(c, W4#w.got))),
    W5 = until(fun(#w{ends = E}) -> lists:all(fun(L) -> left(L) =:= 0 end, maps:values(E)) end, 60000000, W4),
    ok = cost(W5),
    W5#w.hash.

left(L) ->
    #{queued := Q, in_flight := F} = distlink_link:stats(L),
    Q + F.

%% cost: what is sent is in proportion to what is said; nothing is sent again and again.
cost(#w{ends = Ends}) ->
    Sent = lists:sum([maps:get(octets_sent, distlink_link:stats(L)) || L <- maps:values(Ends)]),
    Sent < 8000000 orelse throw({octets, Sent, [distlink_link:stats(L) || L <- maps:values(Ends)]}),
    ok.

%% mishap(N, World): what happens to a link while it is used. Each is survived.
mishap(1, W) -> W#w{loss = rand:uniform() * 0.15};
mishap(2, W) -> W#w{dup = rand:uniform() * 0.2};
mishap(3, W) -> W#w{jitter = rand:uniform(4000)};
mishap(4, W) -> W#w{corrupt = rand:uniform() * 0.05};
mishap(5, W) -> W#w{delay = rand:uniform(30000)};
mishap(6, W) -> W#w{narrow = 1200 + rand:uniform(272)};
mishap(7, W) -> W#w{narrow = 1200};
mishap(8, W) -> W#w{narrow = 65535};
mishap(9, W) -> W#w{line = 260000 + rand:uniform(50000), room = 1000 + rand:uniform(20000)};
mishap(10, W) -> W#w{line = 260000 + rand:uniform(50000), room = 50000 + rand:uniform(100000)}; % a long queue
mishap(11, W) -> W#w{line = 0};
mishap(12, #w{loss = Loss} = W) -> % a short outage
    W1 = idle(rand:uniform(400000), W#w{loss = 1}),
    together(W1#w{loss = Loss});
mishap(13, #w{ends = #{c := C} = Ends, now = Now} = W) -> % another address
    W1 = W#w{addr = {{10, 0, 0, 1}, 5000 + rand:uniform(1000)}},
    Rate = maps:get(rate, distlink_link:stats(C)),
    out(c, W1#w{ends = Ends#{c := distlink_link:timers(Now, distlink_link:touch(Now, Rate, some_lanes(), C))}});
mishap(14, W) -> pause(c, W);
mishap(15, W) -> pause(s, W);
mishap(16, #w{now = Now} = W) -> W#w{now = Now + rand:uniform(3000000)}; % nobody runs
mishap(_, W) -> W.

idle(For, W) -> until(fun(_) -> false end, For, W).

pause(End, W) ->
    W1 = idle(rand:uniform(500000), W#w{paused = End}),
    W2 = lists:foldl(fun(B, X) -> arrive(End, B, X) end, W1#w{paused = none, held = []}, lists:reverse(W1#w.held)),
    together(W2).

%% together waits until both have heard each other: the next outage is another.
together(#w{ends = Ends} = W) ->
    Before = maps:map(fun(_, L) -> heard(L) end, Ends),
    until(fun(#w{ends = E}) -> maps:fold(fun(K, L, Ok) -> Ok andalso heard(L) > maps:get(K, Before) end, true, E) end, 10000000, W).

heard(L) -> maps:get(packets_received, distlink_link:stats(L)).

%% lanes() prints "ok ..." where nothing is lost and nothing is sent again, although
%% each class takes another time; in one lane a good part would be. A change of
%% lanes has at most what is under way sent again.
lanes() ->
    All = #{bulk => 0, configured => 0, control => 0},
    _ = [begin
             _ = rand:seed(exsss, 5),
             Config = (config(3, []))#{rate => 0, lanes => Lanes},
             W = #w{keys = [], loss = 0, dup = 0, jitter = 1, narrow = 65535, one_lane = OneLane,
                    ends = #{c => distlink_link:client(Config, 11, 1000), s => none}},
             W1 = until(fun(#w{ends = #{c := C}}) -> distlink_link:state(C) =:= open end, 60000000, out(c, W)),
             W2 = lists:foldl(fun(I, X) -> mixed(I, Change, X) end, W1, lists:seq(1, 300)),
             W3 = until(fun(#w{got = #{s := S}}) -> length(S) =:= 900 end, 60000000, W2),
             #{retransmitted := R, lanes := L, datagrams_control := D} = distlink_link:stats(map_get(c, W3#w.ends)),
             say(Good(R) andalso maps:keys(L) =:= maps:keys(Lanes) andalso D > 100, [Name, R, D])
         end || {Name, Lanes, OneLane, Change, Good} <- [{"own lanes", All, false, 0, fun(R) -> R < 5 end},
                                                         {"control has one", #{control => 0}, false, 0, fun(R) -> R < 5 end},
                                                         {"changed", All, false, 40, fun(R) -> R > 5 andalso R < 500 end},
                                                         {"all in one", #{}, true, 0, fun(R) -> R > 100 end}]],
    io:format("end~n").

say(Good, What) -> io:format("~s ~0p~n", [case Good of true -> ok; false -> bad end, What]).

%% mixed writes a message of each class.
mixed(I, Change, #w{now = Now, ends = #{c := L} = Ends} = W) ->
    Lb = case Change > 0 andalso I rem Change of
             0 -> distlink_link:touch(Now, 0, #{control => 0}, L);
             1 -> distlink_link:touch(Now, 0, #{bulk => 0, configured => 0, control => 0}, L);
             _ -> L
         end,
    L1 = lists:foldl(fun({Class, Stream, Size}, X) -> distlink_link:write(Now, Stream, Class, none, {Size + 4, [<<131, 98>>, <<0:(Size * 8 + 16)>>]}, X) end,
                     Lb, [{bulk, 1, 4000}, {configured, 2, 1500}, {control, 3, 60}]),
    until(fun(_) -> false end, 1000, out(c, W#w{ends = Ends#{c := distlink_link:timers(Now, L1)}})).

config(N, Keys) ->
    #{max_datagram => 1472, window => case N rem 4 of 1 -> 4000; _ -> 262144 end, ack_delay => 1000,
      keepalive => 900000, floor => 1000, stall => 10000000, setup => 60000000,
      rate => case N rem 3 of 1 -> 100000; _ -> 0 end, lanes => case N rem 5 of X when X > 2 -> some_lanes(); _ -> #{} end, keys => Keys, random => fun rand:bytes/1}.

%% some_lanes() -> classes with lanes of their own, and their rates
some_lanes() ->
    maps:from_list([{C, 50000 * (rand:uniform(2) - 1)} || C <- [bulk, configured, control], rand:uniform(2) =:= 1]).

%% talk(End, World) -> {Messages written, World}. Some give classes other lanes now and then.
talk(End, W) -> talk(End, 0, #{}, [], W).

talk(_, ?MESSAGES, _, Acc, W) -> {lists:reverse(Acc), W};
talk(End, Order, Index, Acc, #w{ends = Ends, now = Now} = W) ->
    Stream = rand:uniform(5),
    I = maps:get(Stream, Index, 0),
    Fence = case rand:uniform(15) of 1 -> barrier; 2 -> after_all; _ -> none end,
    Class = lists:nth(rand:uniform(3), [bulk, configured, control]),
    M = {Order, Stream, I, Fence},
    Data = [term_to_binary(M), <<0:(rand:uniform(case rand:uniform(8) of 1 -> 40000; _ -> 400 end) * 8)>>],
    #{End := L} = Ends,
    La = case Order rem 20 =:= 10 andalso rand:uniform(2) of
             1 -> distlink_link:touch(Now, 100000 * (rand:uniform(2) - 1), some_lanes(), L);
             _ -> L
         end,
    L1 = distlink_link:write(Now, Stream, Class, Fence, {iolist_size(Data), Data}, La),
    W1 = out(End, W#w{ends = Ends#{End := distlink_link:timers(Now, L1)}}),
    W2 = idle(rand:uniform(3000), W1),
    W3 = case rand:uniform(6) of 1 -> mishap(rand:uniform(16), W2); _ -> W2 end,
    talk(End, Order + 1, Index#{Stream => I + 1}, [M | Acc], W3).

%% ordered(Written, Delivered): each once, in the order of its stream and of the fences.
ordered(Written, Delivered) ->
    true = lists:sort(Written) =:= lists:sort(Delivered),
    At = maps:from_list(lists:zip(Delivered, lists:seq(1, length(Delivered)))),
    _ = [before(A, B, At) || {OA, SA, _, FA} = A <- Written, {OB, SB, _, FB} = B <- Written,
                             OA < OB, SA =:= SB orelse FB =/= none orelse FA =:= barrier],
    ok.

before(A, B, At) -> map_get(A, At) < map_get(B, At) orelse throw({overtaken, A, B}).

%% until(Condition, Microseconds, World)
until(Done, For, #w{now = Now} = W) -> until(Done, For, Now + For, W).

until(Done, For, End, W) ->
    case Done(W) of
        true -> W;
        false ->
            case step(End, W) of
                done when For =< 500000 -> W#w{now = End};
                done -> throw({stuck, [distlink_link:stats(L) || {_, L} <- maps:to_list(W#w.ends), L =/= none]});
                W1 -> until(Done, For, End, W1)
            end
    end.

step(End, #w{queue = Q, ends = Ends, paused = Paused} = W) ->
    {At, Who} = lists:min([{distlink_link:deadline(L), E} || {E, L} <- maps:to_list(Ends), L =/= none, E =/= Paused]),
    case gb_sets:is_empty(Q) orelse element(1, gb_sets:smallest(Q)) > At of
        true when At >= End -> done;
        true ->
            Now = max(W#w.now, At),
            #{Who := L} = Ends,
            out(Who, W#w{now = Now, ends = Ends#{Who := distlink_link:timers(Now, L)}});
        false ->
            case gb_sets:take_smallest(Q) of
                {{T, _, _, _}, _} when T >= End -> done;
                {{T, _, To, B}, Q1} -> arrive(To, B, W#w{now = max(W#w.now, T), queue = Q1})
            end
    end.

arrive(To, B, #w{paused = To, held = Held} = W) -> W#w{held = [B | Held]};
arrive(s, B, #w{ends = #{s := none}} = W) -> door(distlink_wire:parse(B), B, W);
arrive(To, B, #w{ends = Ends, now = Now} = W) ->
    #{To := L} = Ends,
    From = case To of s -> W#w.addr; c -> same end,
    L1 = distlink_link:datagram(Now, From, B, L),
    out(To, W#w{ends = Ends#{To := distlink_link:timers(Now, L1)}}).

door({ok, {init, #{id := Id}, <<>>, _}, <<>>}, _, W) -> send(s, W#w.addr, distlink_wire:retry(Id, <<"token">>), W);
door({ok, {init, Params, _, Binder}, <<>>}, B, #w{keys = Keys, now = Now, ends = Ends} = W) ->
    {ok, Early} = distlink_link:secure(Keys, Params, Binder, B),
    S = distlink_link:server(config(2, Keys), 22, Params, B, Early, W#w.addr, Now),
    send(s, W#w.addr, distlink_link:accept_packet(S), W#w{ends = Ends#{s := S}});
door(_, _, W) -> W.

%% out takes what an end has to send and to deliver, and looks at it.
out(End, #w{ends = Ends, now = Now, got = Got} = W) ->
    #{End := L0} = Ends,
    {Datagrams, L1} = distlink_link:flush(Now, L0),
    {Ms, L} = distlink_link:deliveries(L1),
    #{End := Old} = Got,
    New = lists:foldl(fun(M, Acc) -> [binary_to_term(iolist_to_binary(M)) | Acc] end, Old, Ms),
    ok = armed(Now, L),
    Peer = case End of s -> distlink_link:peer(L); c -> W#w.addr end,
    lists:foldl(fun(B, X) -> send(End, Peer, B, X) end, W#w{ends = Ends#{End := L}, got = Got#{End := New}}, Datagrams).

%% What holds data always has a wake-up, and a near one.
armed(Now, L) ->
    case {distlink_link:state(L), distlink_link:deadline(L)} of
        {connecting, _} -> ok;
        {_, 0} -> ok; % a batch has been made: at once
        {authenticating, At} when At > Now, At =< Now + 225000 -> ok;
        {open, At} when At > Now, At =< Now + 225000 -> ok;
        {open, At} ->
            #{queued := Q, in_flight := F} = distlink_link:stats(L),
            case Q + F of
                0 when At > Now -> ok;
                _ -> throw({not_armed, At - Now, distlink_link:stats(L)})
            end;
        {Closed, _} -> throw(Closed)
    end.

%% send(End, Where its peer is thought to be, Datagram, World). A higher lane is a
%% faster way.
send(From, _, {To, B}, W) -> send(From, To, B, W);
send(s, Addr, _, #w{addr = Other} = W) when Addr =/= Other -> W; % nobody is there
send(From, _, {lane, N, B}, W) -> by_line(From, (3 - N) * 700, iolist_to_binary(B), W);
send(From, _, B, #w{one_lane = true, seq = Seq} = W) -> by_line(From, case Seq rem 12 < 4 of true -> 0; false -> 1400 end, iolist_to_binary(B), W);
send(From, _, B, W) -> by_line(From, 1400, iolist_to_binary(B), W).

by_line(_, _, B, #w{narrow = N} = W) when byte_size(B) > N -> W;
by_line(From, Slower, B, #w{now = Now, line = Line, room = Room, busy = Busy, hash = Hash} = W0) ->
    W = W0#w{hash = erlang:phash2({Hash, Now, B})},
    Free = max(Now, maps:get(From, Busy, 0)),
    if
        Line =:= 0 -> copies(From, B, Now + Slower, W);
        Free - Now > Room -> W;
        true ->
            At = Free + (byte_size(B) + 70) * 8000 div Line,
            copies(From, B, At + Slower, W#w{busy = Busy#{From => At}})
    end.

copies(From, B, At, W) ->
    To = case From of c -> s; s -> c end,
    Copies = case rand:uniform() < W#w.dup of true -> 2; false -> 1 end,
    lists:foldl(fun(_, X) -> copy(To, corrupt(B, X), At, X) end, W, lists:seq(1, Copies)).

copy(_, lost, _, W) -> W;
copy(To, B, At, #w{seq = Seq, queue = Q, loss = Loss, jitter = J, delay = Delay} = W) ->
    case rand:uniform() < Loss of
        true -> W;
        false -> W#w{seq = Seq + 1, queue = gb_sets:add({At + Delay + rand:uniform(J), Seq, To, B}, Q)}
    end.

%% Without keys the UDP checksum finds it; with keys this is one who writes that, too.
corrupt(B, #w{corrupt = C, keys = Keys}) ->
    case rand:uniform() < C of
        false -> B;
        true when Keys =:= [] -> lost;
        true ->
            At = rand:uniform(byte_size(B)) - 1,
            <<H:At/binary, X, T/binary>> = B,
            <<H/binary, (X bxor rand:uniform(255)), T/binary>>
    end.

%% hostile(File): each table that a peer fills has an end, and it is the peer that
%% goes, with a reason. File has the golden packets.
hostile(File) ->
    {ok, Text} = file:read_file(File),
    [_, Line | _] = string:split(Text, "\n", all),
    [_, Hex] = string:split(Line, " "),
    Init = << <<(binary_to_integer(H, 16))>> || <<H:2/binary>> <= Hex >>,
    {ok, {init, Params, _, _}, _} = distlink_wire:parse(Init),
    Open = distlink_link:server(config(2, []), 22, Params, Init, none, {{10, 0, 0, 1}, 4000}, 1000),
    Segment = fun(Flags, Stream, Offset, Order, Size) -> [distlink_wire:segment(Flags, Stream, Offset, Order, Size), <<0:(Size * 8)>>] end,
    _ = [case mad(0, Most, Frames, Open) of
             {closed, Code, Reason, _} -> io:format("ok ~s: ~s~n", [Name, Reason]);
             Other -> io:format("bad ~s: ~0p~n", [Name, Other])
         end || {Name, Code, Most, Frames} <-
                    [{"streams", 3, 5000, fun(I) -> Segment(3, I, 0, {I, 0}, 0) end},
                     {"credit", 3, 1000, fun(I) -> Segment(0, 1, 1000 + 1000 * I, {0, 0}, 1000) end},
                     {"an ACK of what was not sent", 3, 1, fun(_) -> distlink_wire:ack([{1 bsl 40, 0}], 0, 0) end},
                     {"orders with gaps", 3, 9000, fun(I) -> Segment(3, 1, I, {2 * I + 2, 0}, 0) end},
                     {"a message within another", 3, 2, fun(I) -> Segment(1, 1, I, {I, 0}, 1) end},
                     {"the end of none", 3, 1, fun(_) -> [Segment(3, 1, 0, {0, 0}, 3), Segment(2, 1, 2, {0, 0}, 5)] end},
                     {"a message too long", 6, 5000, fun(I) -> Segment(case I of 0 -> 1; _ -> 0 end, 1, 60000 * I, {0, 0}, 60000) end},
                     {"unfinished messages on many streams", 2, 10000, fun(I) -> Segment(case I < 1000 of true -> 1; _ -> 0 end, I rem 1000, (I div 1000) * 60000, {I, 0}, 60000) end}]],
    io:format("end~n").

mad(N, Most, _, L) when N > Most -> distlink_link:state(L);
mad(N, Most, Frames, L0) ->
    Now = 2000 + N * 100,
    L1 = distlink_link:datagram(Now, same, iolist_to_binary(distlink_wire:data(22, N, Frames(N))), L0),
    case distlink_link:state(L1) of
        open ->
            {_, L2} = distlink_link:flush(Now, distlink_link:timers(Now, L1)),
            {_, L} = distlink_link:deliveries(L2),
            mad(N + 1, Most, Frames, L);
        Closed -> Closed
    end.

%% fuzz(Rounds, File): mutations of the golden packets go into both decoders, the
%% stream classifier and connections in each state; nothing may crash, and what a
%% connection keeps has a bound.
fuzz(Rounds, File) ->
    _ = rand:seed(exsss, 7),
    {ok, Text} = file:read_file(File),
    Packets = [ << <<(binary_to_integer(H, 16))>> || <<H:2/binary>> <= Hex >>
               || Line <- string:split(Text, "\n", all), Line =/= <<>>, binary:first(Line) =/= $#, [_, Hex] <- [string:split(Line, " ")]],
    Init = hd(Packets),
    {ok, {init, #{id := Id} = Params, _, _}, _} = distlink_wire:parse(Init),
    Open = distlink_link:server(config(2, []), 16#a1a2a3a4a5a6a7a8, Params, Init, none, {{10, 0, 0, 1}, 4000}, 1000),
    {_, Connecting} = distlink_link:flush(1000, distlink_link:client(config(2, []), Id, 1000)), % RETRY and ACCEPT are for it
    {_, Closed} = distlink_link:flush(1000, distlink_link:close(1000, 0, <<"over">>, Open)),
    _ = [begin
             {Most, Ends} = fuzz(Rounds, 0, list_to_tuple(Packets), L, L, 0, 0),
             io:format("~s ~s: ~b rounds, ~b times it ended, at most ~b words~n", [case Most < 200000 of true -> ok; false -> bad end, Name, Rounds, Ends, Most])
         end || {Name, L} <- [{"open", Open}, {"connecting", Connecting}, {"closed", Closed}]],
    io:format("end~n").

fuzz(0, _, _, _, _, Most, Ends) -> {Most, Ends};
fuzz(N, PN, Packets, Fresh, L0, Most, Ends) ->
    B = iolist_to_binary([numbered(PN + I, mutate(element(rand:uniform(tuple_size(Packets)), Packets))) || I <- lists:seq(1, rand:uniform(3))]),
    try
        Now = 1000 + PN * 100,
        _ = distlink_wire:parse(B),
        _ = distlink_wire:frames(B),
        _ = distlink_stream:classify(B, distlink_stream:new()),
        From = case rand:uniform(10) of 1 -> {{10, 0, 0, 9}, rand:uniform(9)}; _ -> same end,
        La = case distlink_link:state(L0) of
                 open when N rem 20 =:= 0 -> distlink_link:write(Now, rand:uniform(9), bulk, none, {byte_size(B), B}, L0);
                 _ -> L0
             end,
        L1 = distlink_link:timers(Now, distlink_link:datagram(Now, From, B, La)),
        {_, L2} = distlink_link:flush(Now, L1),
        {_, L} = distlink_link:deliveries(L2),
        _ = distlink_link:deadline(L),
        _ = distlink_link:stats(L),
        Size = case N rem 100 of 0 -> erts_debug:flat_size(L); _ -> 0 end,
        case distlink_link:state(L) =:= distlink_link:state(Fresh) of
            true -> fuzz(N - 1, PN + 3, Packets, Fresh, L, max(Most, Size), Ends);
            false when PN > 30, PN rem 7 > 0 -> fuzz(N - 1, PN + 3, Packets, Fresh, L, max(Most, Size), Ends); % some more for those that have ended
            false -> fuzz(N - 1, 0, Packets, Fresh, Fresh, max(Most, Size), Ends + 1)
        end
    catch C:R:S -> io:format("bad ~0p ~0p~n", [B, {C, R, hd(S)}]), {Most, Ends}
    end.

%% numbered(PacketNumber, Packet): most DATA packets are new ones.
numbered(PN, <<Head:12/binary, Old:64, Frames/binary>>) when binary_part(Head, 1, 1) =:= <<16#25>> ->
    case rand:uniform(10) of
        1 -> <<Head/binary, Old:64, Frames/binary>>;
        _ -> <<Head/binary, (PN bor (Old band (3 bsl 62))):64, Frames/binary>>
    end;
numbered(_, Packet) -> Packet.

mutate(B) ->
    case rand:uniform(6) of
        1 -> binary:part(B, 0, rand:uniform(byte_size(B)) - 1);
        2 -> <<B/binary, (rand:bytes(rand:uniform(20)))/binary>>;
        3 -> B;
        _ ->
            lists:foldl(fun(_, X) ->
                                At = rand:uniform(byte_size(X)) - 1,
                                <<H:At/binary, _, T/binary>> = X,
                                <<H/binary, (rand:uniform(256) - 1), T/binary>>
                        end, B, lists:seq(1, rand:uniform(4)))
    end.
