%% Certificates between two ends of distlink_link, without a network: who is
%% refused and why, and what a peer that has not proved itself gets in.
-module(distlink_proof).
-export([check/0, identity/2]).

-include("../src/distlink_link.hrl").

-define(PEER, {{10, 0, 0, 1}, 4000}).

%% identity(Name, Trusted): a certificate is a name and its Ed25519 key.
identity(Name, Trusted) ->
    {Public, Private} = crypto:generate_key(eddsa, ed25519, crypto:hash(sha256, Name)),
    #{chain => [<<Public/binary, Name/binary>>],
      sign => fun(Content) -> crypto:sign(eddsa, none, Content, [Private, ed25519]) end,
      verify => fun([<<P:32/binary, Who/binary>> | _], Content, Signature) ->
                        case {lists:member(Who, Trusted), crypto:verify(eddsa, none, Content, Signature, [P, ed25519])} of
                            {true, true} -> ok;
                            {false, _} -> {error, <<"unknown authority">>};
                            _ -> {error, <<"wrong signature">>}
                        end
                end}.

%% check() prints "ok NAME" or "bad NAME ..." for each rule, then "end".
check() ->
    _ = rand:seed(exsss, 1),
    Alice = identity(<<"alice">>, [<<"bob">>]),
    Bob = identity(<<"bob">>, [<<"alice">>]),
    Mallory = identity(<<"mallory">>, [<<"alice">>, <<"bob">>]),
    {C, S} = talk(client(Alice), Bob),
    say("both are open", states(C, S) =:= {open, open}),
    say("both know whom they have", {distlink_link:chain(C), distlink_link:chain(S)} =:= {chain(Bob), chain(Alice)}),
    Early = distlink_link:write(1, 7, bulk, none, {5, <<"early">>}, client(Alice)),
    {_, S1} = talk(Early, Bob),
    say("what is written early arrives", element(1, distlink_link:deliveries(S1)) =:= [<<"early">>]),
    refused("client is refused", talk(client(Mallory), Bob), <<"unknown authority">>),
    refused("server is refused", talk(client(Alice), Mallory), <<"unknown authority">>),
    refused("another's certificate", talk(client(Mallory#{chain := chain(Alice)}), Bob), <<"wrong signature">>),
    refused("no AUTH", mad(0, control, <<"hello">>, Bob), <<"AUTH is malformed">>),
    refused("too many certificates", talk(client(Alice#{chain := lists:duplicate(5, <<"x">>)}), Bob), <<"AUTH is malformed">>),
    refused("data without proof", mad(1, bulk, <<"hello">>, Bob), <<"no proof of who this is, but data">>),
    refused("an endless AUTH", mad(0, control, <<0:(8 * 20000)>>, Bob), <<"no proof of who this is, but data">>),
    refused("crumbs", crumbs(Bob), <<"no proof of who this is, but data">>),
    {_, Silent} = silent(Bob),
    Late = distlink_link:timers(5000000, Silent),
    say("silence", distlink_link:deadline(Silent) =< 5000000 andalso matches(Late, 8, <<"no proof of who this is">>)),
    say("any octets", lists:all(fun(_) -> fuzz() end, lists:seq(1, 5000))),
    say("any segments", lists:all(fun(_) -> nobody(Silent#link{open = none}, 30) end, lists:seq(1, 200))),
    io:format("end~n").

say(Name, true) -> io:format("ok ~s~n", [Name]);
say(Name, Other) -> io:format("bad ~s ~0p~n", [Name, Other]).

chain(#{chain := Chain}) -> Chain.

states(C, S) -> {distlink_link:state(C), distlink_link:state(S)}.

refused(Name, {C, S}, Text) ->
    say(Name, matches(C, 9, Text) andalso matches(S, 9, Text) andalso nothing_in(S) andalso nothing_in(C)).

%% nothing_in: what still waits for the other's proof has delivered nothing.
nothing_in(#link{auth = #auth{proved = false}, delivered = D}) -> D =:= [];
nothing_in(_) -> true.

matches(L, Code, Text) ->
    case distlink_link:state(L) of
        {closed, Code, Text, _} -> true;
        _ -> false
    end.

config() ->
    #{max_datagram => 1472, window => 262144, ack_delay => 1000, keepalive => 900000, floor => 1000, stall => 10000000, rate => 0,
      setup => 2000000, random => fun rand:bytes/1}.

client(Identity) -> distlink_link:client((config())#{keys => {certificate, Identity}}, 11, 1).

%% mad(Stream, Class, Octets, Identity): a client does the set-up as one with a certificate, and then sends that.
mad(Stream, Class, Data, Identity) ->
    {C, S} = silent(Identity),
    talk(20, 300000, [], [], distlink_link:write(300000, Stream, Class, none, {byte_size(Data), Data}, C), S).

silent(Identity) -> talk((client(identity(<<"mad">>, [])))#link{auth = none}, Identity).

%% talk(Client, Server's identity) -> both ends when nothing is said any more
talk(C0, Identity) ->
    {[Init0], C1} = distlink_link:flush(1, C0),
    {ok, {init, #{id := Id}, <<>>, _}, <<>>} = distlink_wire:parse(Init0),
    {[Init], C2} = distlink_link:flush(2, distlink_link:datagram(2, same, iolist_to_binary(distlink_wire:retry(Id, <<"token">>)), C1)),
    {ok, {init, Params, _, Binder}, <<>>} = distlink_wire:parse(Init),
    {ok, Secured} = distlink_link:secure({certificate, Identity}, Params, Binder, Init),
    S = distlink_link:server(config(), 22, Params, Init, Secured, ?PEER, 3),
    talk(100, 4, [], [distlink_link:accept_packet(S)], C2, S).

talk(0, _, _, _, C, S) -> {C, S};
talk(N, Now, ToS, ToC, C0, S0) ->
    S1 = distlink_link:timers(Now, lists:foldl(fun(B, L) -> distlink_link:datagram(Now, ?PEER, B, L) end, S0, ToS)),
    C1 = distlink_link:timers(Now, lists:foldl(fun(B, L) -> distlink_link:datagram(Now, same, B, L) end, C0, ToC)),
    {FromS, S} = distlink_link:flush(Now, S1),
    {FromC, C} = distlink_link:flush(Now, C1),
    talk(N - 1, Now + 2000, FromC, FromS, C, S).

%% crumbs: single octets of an AUTH, each behind a hole.
crumbs(Identity) ->
    {C0, S0} = silent(Identity),
    {Bs, C} = lists:mapfoldl(fun(N, L) ->
                                     Segment = distlink_wire:segment(0, 0, 10 + 2 * N, {0, 0}, 1),
                                     distlink_send:make_packet(300000, [Segment, <<7>>], [], false, L)
                             end, C0, lists:seq(1, 100)),
    talk(5, 300000, Bs, [], C, S0).

%% nobody(Server, Packets): whatever pieces come, nothing is delivered, and
%% what waits is armed.
nobody(_, 0) -> true;
nobody(L0, N) ->
    Auth = <<1, 40:16, 0:320, 0:512>>,
    At = rand:uniform(byte_size(Auth)) - 1,
    Len = rand:uniform(byte_size(Auth) - At),
    Flags = case At of 0 -> 1; _ -> 0 end bor case At + Len =:= byte_size(Auth) of true -> 2; false -> 0 end,
    Order = case rand:uniform(5) of 1 -> {rand:uniform(3), rand:uniform(2) - 1}; _ -> {0, 0} end,
    Segment = [distlink_wire:segment(Flags, rand:uniform(20) div 20, At + rand:uniform(20) div 20, Order, Len), binary:part(Auth, At, Len)],
    B = iolist_to_binary(distlink_wire:data(22, 1000 - N, [Segment])),
    L1 = distlink_link:timers(300000, distlink_link:datagram(300000, ?PEER, B, L0)),
    {_, L} = distlink_link:flush(300000, L1),
    case {distlink_link:state(L), distlink_link:deliveries(L)} of
        {authenticating, {[], L}} -> distlink_link:deadline(L) =< 525000 andalso nobody(L, N - 1);
        {{closed, _, _, _}, {[], L}} -> true;
        _ -> false
    end.

%% fuzz: a changed AUTH is one that says the same again, or none.
fuzz() ->
    #{chain := Chain} = identity(<<"alice">>, []),
    B = <<2, << <<(byte_size(X)):16, X/binary>> || X <- Chain ++ Chain >>/binary, 0:512>>,
    At = rand:uniform(byte_size(B)) - 1,
    <<H:At/binary, _, T/binary>> = B,
    M = case rand:uniform(3) of 1 -> H; _ -> <<H/binary, (rand:uniform(256) - 1), T/binary>> end,
    case distlink_auth:parse(M) of
        error -> true;
        {ok, C, S} -> M =:= <<(length(C)), << <<(byte_size(X)):16, X/binary>> || X <- C >>/binary, S/binary>>
    end.
