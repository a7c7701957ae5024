%% What distlink_stream makes of each control message (PROTOCOL.md, "Erlang
%% distribution over it"). Each line is a rule of Erlang's order of signals.
-module(distlink_order).
-export([check/0, broken/0, faults/1]).

check() ->
    _ = [case catch Got() of
             Want -> io:format("ok ~s~n", [Name]);
             Other -> io:format("bad ~s: ~p, want ~p~n", [Name, Other, Want])
         end || {Name, Got, Want} <- rules()],
    io:format("end~n").

%% broken() -> the names of rules that the modules loaded now do not keep
broken() -> [Name || {Name, Got, Want} <- rules(), (catch Got()) =/= Want].

rules() ->
    P1 = pid(1), P2 = pid(2), P3 = pid(3), Ref = make_ref_term(),
    S1 = {1 + erlang:phash2({1, 0}, 1023), none}, % of P1
    Of = fun(Name, C, Payload) -> {Name, fun() -> class(C, Payload) end, S1} end,
    %% Everything of a process goes on its stream: by pid, by name, to an alias,
    %% links, exits, monitors, spawn requests.
    [Of(Name, C, Payload) ||
        {Name, C, Payload} <-
            [{"send", {22, P1, P2}, msg}, {"send to another process", {22, P1, P3}, msg}, {"send by name", {6, P1, '', name}, msg},
             {"send with a trace token", {23, P1, P2, tok}, msg}, {"alias send", {33, P1, Ref}, msg},
             {"send of OTP 28", {37, 0, P1, P2}, msg}, {"to an alias, of OTP 28", {37, 4, P1, Ref}, msg},
             {"with a trace token, of OTP 28", {37, 10, P1, name, tok}, msg},
             {"link", {1, P1, P2}, none}, {"unlink", {35, 17, P1, P2}, none}, {"unlink with a long id", {35, 1 bsl 60, P1, P2}, none},
             {"unlink ack", {36, 17, P1, P2}, none}, {"exit", {24, P1, P2}, why}, {"exit/2", {26, P1, P2}, why},
             {"group leader", {7, P1, P2}, none}, {"monitor", {19, P1, P2, Ref}, none}, {"monitor by name", {19, P1, name, Ref}, none},
             {"demonitor", {20, P1, P2, Ref}, none}, {"down of a process", {28, P1, P2, Ref}, why},
             {"spawn request", {29, Ref, P1, P2, {m, f, 0}, []}, []}]] ++
    %% However the node's name is coded.
    [{Name, fun() -> whole(<<131, 68, 0, 104, 3, 97, 22, 88, Node/binary, 1:32, 0:32, 1:32, 97, 0>>) end, S1} ||
        {Name, Node} <- [{"a node in Latin-1", <<100, 5:16, "x@far">>}, {"a node, short in Latin-1", <<115, 5, "x@far">>},
                         {"a node with a long length", <<118, 5:16, "x@far">>}]] ++
    %% A spawn reply comes before what the new process says, so it is on its stream.
    [Of("spawn reply", {31, Ref, P2, 0, P1}, none), Of("spawn reply with a token", {32, Ref, P2, 1, P1, tok}, none),
     {"spawn error", fun() -> class({31, Ref, P2, 0, badarg}, none) end, {0, none}},
     %% The sender of this is a name: it must not overtake that process's messages,
     %% on whatever stream they are.
     {"down of a name", fun() -> class({28, name, P2, Ref}, why) end, {0, after_all}},
     %% Nobody's, and what this version does not know.
     {"send without a sender", fun() -> class({2, '', P2}, msg) end, {0, barrier}},
     {"what is not understood is counted", fun() -> unknown(P1, P2) end, [0, 0, 1, 2]},
     {"unknown", fun() -> class({99, 1, 2}, none) end, {0, barrier}},
     {"no pass-through", fun() -> whole(<<131, 69>>) end, {0, barrier}},
     {"fragments", fun() -> fragments(P1) end, true},
     {"fragments of a name's down", fun() -> name_fragments(P2, Ref) end, true},
     {"a class has streams of its own, entered after all before", fun classes/0, [{control, after_all}, {control, none}, {bulk, after_all}, {bulk, none}]},
     {"classes do not share streams", fun apart/0, 3},
     {"fragments stay where they began", fun() -> class_fragments(P1) end, true},
     {"many that are gone are one barrier", fun gone/0, [barrier, none]},
     {"many that are gone, in the middle of fragments", fun gone_in_fragments/0, [none, after_all]},
     {"what comes after the handshake waits for it", fun handshake/0, [1, 2]},
     {"a stream waits for what is lost of it", fun() -> lost([{1, none}, {1, none}]) end, {[], [1, 2, 3]}},
     {"another stream does not", fun() -> lost([{2, none}, {3, none}]) end, {[2, 3], [1]}},
     {"after all waits", fun() -> lost([{2, after_all}, {3, none}]) end, {[3], [1, 2]}},
     {"after all holds its stream, too", fun() -> lost([{2, after_all}, {2, none}, {3, none}]) end, {[4], [1, 2, 3]}},
     {"a barrier holds all behind it", fun() -> lost([{2, barrier}, {3, none}, {1, none}]) end, {[], [1, 2, 3, 4]}}].

classes() ->
    Packet = <<131, 68, 0, (control({22, self(), pid(2)}))/binary>>,
    Key = distlink_stream:key(self()),
    {S, bulk, none, St0} = distlink_stream:classify(Packet, distlink_stream:new()),
    {S1, C1, F1, St1} = distlink_stream:classify(Packet, distlink_stream:classes(#{Key => control}, St0)),
    {S1, C2, F2, St2} = distlink_stream:classify(Packet, distlink_stream:classes(#{Key => control}, St1)),
    {S, C3, F3, St3} = distlink_stream:classify(Packet, distlink_stream:classes(#{}, St2)),
    {S, C4, F4, _} = distlink_stream:classify(Packet, St3),
    true = S1 =/= S,
    [{C1, F1}, {C2, F2}, {C3, F3}, {C4, F4}].

unknown(P1, P2) ->
    {Ns, _} = lists:mapfoldl(fun(Packet, St0) ->
                                     {_, _, _, St} = distlink_stream:classify(Packet, St0),
                                     {distlink_stream:unknown(St), St}
                             end, distlink_stream:new(),
                             [[<<131, 68, 0>>, control({22, P1, P2})], [<<131, 68, 0>>, control({2, '', P2})],
                              [<<131, 68, 0>>, control({99, 1, 2})], <<131, 69>>]),
    Ns.

%% apart() -> how many streams a process has in three classes
apart() ->
    Packet = <<131, 68, 0, (control({22, self(), pid(2)}))/binary>>,
    Key = distlink_stream:key(self()),
    length(lists:usort([element(1, distlink_stream:classify(Packet, distlink_stream:classes(#{Key => C}, distlink_stream:new()))) ||
                           C <- [bulk, configured, control]])).

class_fragments(P) ->
    {S, bulk, none, St1} = distlink_stream:classify([<<131, 69, 5:64, 2:64, 0>>, control({22, P, pid(2)})], distlink_stream:new()),
    St2 = distlink_stream:classes(#{distlink_stream:key(P) => configured}, St1),
    {S, bulk, none, _} = distlink_stream:classify(<<131, 70, 5:64, 1:64, "x">>, St2),
    true.

%% A barrier would tear the fragments apart: each that is gone waits for itself then.
gone_in_fragments() ->
    Many = maps:from_list([{{pid, {N, 0}}, configured} || N <- lists:seq(1, 1500)]),
    {_, _, none, St} = distlink_stream:classify([<<131, 69, 5:64, 2:64, 0>>, control({22, pid(2000), pid(2)})], distlink_stream:classes(Many, distlink_stream:new())),
    St1 = distlink_stream:classes(#{}, St),
    {_, _, F1, St2} = distlink_stream:classify(<<131, 70, 5:64, 1:64, "x">>, St1),
    {_, _, F2, _} = distlink_stream:classify(<<131, 68, 0, (control({22, pid(1), pid(2)}))/binary>>, St2),
    [F1, F2].

gone() ->
    Many = maps:from_list([{{pid, {N, 0}}, configured} || N <- lists:seq(1, 1500)]),
    St = distlink_stream:classes(#{}, distlink_stream:classes(Many, distlink_stream:new())),
    Packet = <<131, 68, 0, (control({22, pid(1), pid(2)}))/binary>>,
    {_, bulk, F1, St1} = distlink_stream:classify(Packet, St),
    {_, bulk, F2, _} = distlink_stream:classify(Packet, St1),
    [F1, F2].

%% Fragments follow their first one's stream, whatever is between.
fragments(P) ->
    Head = control({22, P, pid(2)}),
    {S, _, none, St1} = distlink_stream:classify([<<131, 69, 5:64, 3:64, 0>>, Head], distlink_stream:new()),
    {S, _, none, St2} = distlink_stream:classify(<<131, 70, 5:64, 2:64, "x">>, St1),
    {S, _, none, St3} = distlink_stream:classify(<<131, 70, 5:64, 1:64, "x">>, St2),
    {0, _, barrier, _} = distlink_stream:classify(<<131, 70, 5:64, 1:64, "x">>, St3),
    St3 =:= distlink_stream:new().

name_fragments(P, Ref) ->
    Head = control({28, name, P, Ref}),
    {0, _, after_all, St1} = distlink_stream:classify(<<131, 69, 6:64, 2:64, 0, Head/binary>>, distlink_stream:new()),
    {0, _, after_all, St2} = distlink_stream:classify(<<131, 70, 6:64, 1:64, "x">>, St1),
    St2 =:= distlink_stream:new().

class(Control, none) -> whole(<<131, 68, 0, (control(Control))/binary>>);
class(Control, Payload) ->
    P = term_to_binary(Payload),
    Whole = whole([<<131, 68, 0>>, control(Control), P]),
    %% As pass-through it is the same.
    Whole = whole([<<112, 131>>, control(Control), P]),
    Whole.

whole(Packet) -> strip(distlink_stream:classify(Packet, distlink_stream:new())).

strip({Stream, _, Fence, _}) -> {Stream, Fence}.

control(T) -> <<131, B/binary>> = term_to_binary(T), B.

%% A process of another node, as a term.
pid(N) -> binary_to_term(<<131, 88, 119, 5, "x@far", N:32, 0:32, 1:32>>).
make_ref_term() -> binary_to_term(<<131, 90, 3:16, 119, 5, "y@far", 1:32, 7:32, 8:32, 9:32>>).

%% ---- Two ends of distlink_link, and a datagram that is lost ------------------

%% lost(Then) -> {Came past it, Came behind it}: message 1 is on stream 1, and
%% lost at first. Messages are named by when they were written.
lost(Then) ->
    {Ca, Sa} = ends(),
    {Before, C0} = distlink_link:flush(4000, distlink_link:write(4000, 9, bulk, none, {1, <<0>>}, Ca)), % that nothing is missing is usual
    {[<<0>>], S0} = distlink_link:deliveries(lists:foldl(fun(B, X) -> distlink_link:datagram(4100, same, B, X) end, Sa, Before)),
    Send = fun({Stream, Fence, N, Size}, {C, S, Lost}) ->
                   C1 = distlink_link:write(5000, Stream, bulk, Fence, {Size, [N, <<0:((Size - 1) * 8)>>]}, C),
                   {Datagrams, C2} = distlink_link:flush(5000, C1),
                   case N of
                       1 -> {C2, S, Datagrams};
                       _ -> {C2, lists:foldl(fun(B, X) -> distlink_link:datagram(5100, same, B, X) end, S, Datagrams), Lost}
                   end
           end,
    {_, S1, Lost} = lists:foldl(Send, {C0, S0, []}, [{1, none, 1, 100} | [{Stream, Fence, N, 20} || {N, {Stream, Fence}} <- lists:zip(lists:seq(2, 1 + length(Then)), Then)]]),
    {Past, S2} = distlink_link:deliveries(S1),
    S3 = lists:foldl(fun(B, X) -> distlink_link:datagram(5200, same, B, X) end, S2, Lost),
    {Behind, _} = distlink_link:deliveries(S3),
    {names(Past), names(Behind)}.

names(Ms) -> [binary:first(iolist_to_binary(M)) || M <- Ms].

%% handshake() -> what comes in which order: the last of the handshake, on stream
%% 0, is lost at first, and the first of the node's, on another, is not.
handshake() ->
    {C0, S0} = ends(),
    {Lost, C1} = distlink_link:flush(5000, distlink_link:write(5000, 0, control, none, {1, <<1>>}, C0)),
    {Then, _} = distlink_link:flush(5010, distlink_link:write(5010, 7, bulk, none, {1, <<2>>}, distlink_link:barrier(C1))),
    S1 = lists:foldl(fun(B, X) -> distlink_link:datagram(5100, same, B, X) end, S0, Then ++ Lost),
    names(element(1, distlink_link:deliveries(S1))).

%% ends() -> {Client, Server}, connected
ends() ->
    Config = distlink_sim:config(2, []),
    {[I1], C1} = distlink_link:flush(1000, distlink_link:client(Config, 11, 1000)),
    {ok, {init, #{id := Id}, _, _}, _} = distlink_wire:parse(iolist_to_binary(I1)),
    {[I2], C2} = distlink_link:flush(1100, distlink_link:datagram(1100, same, iolist_to_binary(distlink_wire:retry(Id, <<"token">>)), C1)),
    Init = iolist_to_binary(I2),
    {ok, {init, Params, _, _}, _} = distlink_wire:parse(Init),
    S1 = distlink_link:server(Config, 22, Params, Init, none, {{10, 0, 0, 1}, 4000}, 1200),
    exchange(8, 1300, distlink_link:datagram(1300, same, distlink_link:accept_packet(S1), C2), S1).

exchange(0, _, C, S) -> {C, S};
exchange(N, Now, C, S) ->
    {Bs, C1} = distlink_link:flush(Now, distlink_link:timers(Now, C)),
    S1 = lists:foldl(fun(B, X) -> distlink_link:datagram(Now, same, B, X) end, S, Bs),
    {As, S2} = distlink_link:flush(Now, distlink_link:timers(Now, S1)),
    exchange(N - 1, Now + 200, lists:foldl(fun(B, X) -> distlink_link:datagram(Now + 100, same, B, X) end, C1, As), S2).

%% ---- Planted faults -----------------------------------------------------------

%% faults([{Name, File}]) prints "ok Name: the rules it breaks" or "bad Name" for each
%% changed module, then "end".
faults(Faults) ->
    [] = broken(),
    _ = [begin
             {ok, M, Code} = compile:file(File, [binary, {i, Include}]),
             {M, Good, Was} = code:get_object_code(M),
             load(M, File, Code),
             Broken = broken(),
             load(M, Was, Good),
             case Broken of
                 [] -> io:format("bad ~s: no rule notices~n", [Name]);
                 _ -> io:format("ok ~s: ~s~n", [Name, lists:join(", ", Broken)])
             end
         end || {Name, File, Include} <- Faults],
    io:format("end~n").

load(M, File, Code) ->
    _ = code:purge(M),
    {module, M} = code:load_binary(M, File, Code).
