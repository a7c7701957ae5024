%% What distlink_stream makes of each control message (PROTOCOL.md, "Erlang
%% distribution over it"). Each line is a rule of Erlang's order of signals.
-module(distlink_order).
-export([check/0]).

check() ->
    P1 = pid(1), P2 = pid(2), P3 = pid(3), Ref = make_ref_term(),
    {S1, none} = class({22, P1, P2}, msg),
    %% Everything of a process goes on its stream: by pid, by name, to an alias,
    %% links, exits, monitors, spawn requests.
    _ = [rule(Name, class(C, Payload), {S1, none}) ||
            {Name, C, Payload} <-
                [{"send to another process", {22, P1, P3}, msg}, {"send by name", {6, P1, '', name}, msg},
                 {"send with a trace token", {23, P1, P2, tok}, msg}, {"alias send", {33, P1, Ref}, msg},
                 {"send of OTP 28", {37, 0, P1, P2}, msg}, {"to an alias, of OTP 28", {37, 4, P1, Ref}, msg}, {"with a trace token, of OTP 28", {37, 10, P1, name, tok}, msg},
                 {"link", {1, P1, P2}, none}, {"unlink", {35, 17, P1, P2}, none}, {"unlink with a long id", {35, 1 bsl 60, P1, P2}, none},
                 {"unlink ack", {36, 17, P1, P2}, none}, {"exit", {24, P1, P2}, why}, {"exit/2", {26, P1, P2}, why},
                 {"group leader", {7, P1, P2}, none}, {"monitor", {19, P1, P2, Ref}, none}, {"monitor by name", {19, P1, name, Ref}, none},
                 {"demonitor", {20, P1, P2, Ref}, none}, {"down of a process", {28, P1, P2, Ref}, why},
                 {"spawn request", {29, Ref, P1, P2, {m, f, 0}, []}, []}]],
    %% A spawn reply comes before what the new process says, so it is on its stream.
    rule("spawn reply", class({31, Ref, P2, 0, P1}, none), {S1, none}),
    rule("spawn reply with a token", class({32, Ref, P2, 1, P1, tok}, none), {S1, none}),
    rule("spawn error", class({31, Ref, P2, 0, badarg}, none), {0, none}),
    %% The sender of this is a name: it must not overtake that process's messages,
    %% on whatever stream they are.
    rule("down of a name", class({28, name, P2, Ref}, why), {0, after_all}),
    %% Nobody's, and what this version does not know.
    rule("send without a sender", class({2, '', P2}, msg), {0, barrier}),
    rule("what is not understood is counted", unknown(P1, P2), [0, 0, 1, 2]),
    rule("unknown", class({99, 1, 2}, none), {0, barrier}),
    rule("no pass-through", strip(distlink_stream:classify(<<131, 69>>, distlink_stream:new())), {0, barrier}),
    rule("fragments", fragments(S1, P1), true),
    rule("fragments of a name's down", name_fragments(P2, Ref), true),
    rule("a class has streams of its own, entered after all before", classes(), [{control, after_all}, {control, none}, {bulk, after_all}, {bulk, none}]),
    rule("fragments stay where they began", class_fragments(S1, P1), true),
    rule("many that are gone are one barrier", gone(), [barrier, none]),
    io:format("end~n").

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

class_fragments(S, P) ->
    {S, bulk, none, St1} = distlink_stream:classify([<<131, 69, 5:64, 2:64, 0>>, control({22, P, pid(2)})], distlink_stream:new()),
    St2 = distlink_stream:classes(#{distlink_stream:key(P) => configured}, St1),
    {S, bulk, none, _} = distlink_stream:classify(<<131, 70, 5:64, 1:64, "x">>, St2),
    true.

gone() ->
    Many = maps:from_list([{{pid, {N, 0}}, configured} || N <- lists:seq(1, 1500)]),
    St = distlink_stream:classes(#{}, distlink_stream:classes(Many, distlink_stream:new())),
    Packet = <<131, 68, 0, (control({22, pid(1), pid(2)}))/binary>>,
    {_, bulk, F1, St1} = distlink_stream:classify(Packet, St),
    {_, bulk, F2, _} = distlink_stream:classify(Packet, St1),
    [F1, F2].

%% Fragments follow their first one's stream, whatever is between.
fragments(S, P) ->
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

class(Control, none) -> strip(distlink_stream:classify(<<131, 68, 0, (control(Control))/binary>>, distlink_stream:new()));
class(Control, Payload) ->
    P = term_to_binary(Payload),
    Packet = [<<131, 68, 0>>, control(Control), P],
    Whole = strip(distlink_stream:classify(Packet, distlink_stream:new())),
    %% As pass-through it is the same.
    Whole = strip(distlink_stream:classify([<<112, 131>>, control(Control), P], distlink_stream:new())),
    Whole.

strip({Stream, _, Fence, _}) -> {Stream, Fence}.

control(T) -> <<131, B/binary>> = term_to_binary(T), B.

%% A process of another node, as a term.
pid(N) -> binary_to_term(<<131, 88, 119, 5, "x@far", N:32, 0:32, 1:32>>).
make_ref_term() -> binary_to_term(<<131, 90, 3:16, 119, 5, "y@far", 1:32, 7:32, 8:32, 9:32>>).

rule(Name, Same, Same) -> io:format("ok ~s~n", [Name]);
rule(Name, Got, Want) -> io:format("bad ~s: ~p, want ~p~n", [Name, Got, Want]).
