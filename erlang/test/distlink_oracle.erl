%% Random signals between processes of two nodes, and what Erlang promises of
%% them: between a pair of processes they come in the order they were sent, each
%% once. That is so over any carrier; stock TCP distribution passes.
%%
%% Each of the actors on both nodes does a random walk of its own seed:
%%
%%     by pid, by name, by alias, exit/2     carry one count for each pair of actors
%%     a big message (200 kB, fragments)     the same count, and a digest
%%     a child on the other node             by spawn_request, with monitor, link or a
%%                                           name to monitor: the reply is first, then
%%                                           what it says, counted, then its end, once
%%     demonitor, unlink                     no end comes after them
%%
%% run(Peer, Seed, Steps) -> ok, or what was seen out of order.
-module(distlink_oracle).

-compile(nowarn_deprecated_catch). % OTP 29
-export([run/3, soak/3, actor/2, child/3]).

-define(ACTORS, 5).
-define(PATIENCE, 120000).

%% soak(Peer, Seed, Seconds): runs of 300 steps with one seed after the other.
soak(Peer, Seed, Seconds) ->
    soak(Peer, Seed, erlang:monotonic_time(second) + Seconds, 0, #{}).

soak(Peer, Seed, End, Runs, Sum) ->
    case erlang:monotonic_time(second) >= End of
        true -> {ok, Runs, Sum};
        false ->
            case run(Peer, Seed + Runs, 300) of
                {ok, Counts} ->
                    More = maps:fold(fun(K, V, S) -> S#{K => V + maps:get(K, S, 0)} end, Sum, Counts),
                    soak(Peer, Seed, End, Runs + 1, More);
                Bad -> {Bad, seed, Seed + Runs}
            end
    end.

run(Peer, Seed, Steps) ->
    Ids = [{N, I} || N <- [node(), Peer], I <- lists:seq(1, ?ACTORS)],
    Pids = maps:from_list([{Id, spawn(N, ?MODULE, actor, [self(), {Id, Seed, Steps}])} || {N, _} = Id <- Ids]),
    Monitors = [erlang:monitor(process, P) || P <- maps:values(Pids)],
    maps:foreach(fun(_, P) -> P ! {all, Pids} end, Pids),
    Result = collect(maps:size(Pids), #{}),
    maps:foreach(fun(_, P) -> exit(P, kill) end, Pids),
    _ = [receive {'DOWN', M, process, _, _} -> ok after ?PATIENCE -> ok end || M <- Monitors],
    Result.

collect(0, Counts) -> {ok, Counts};
collect(N, Counts) ->
    receive
        {done, _, C} -> collect(N - 1, maps:fold(fun(K, V, S) -> S#{K => V + maps:get(K, S, 0)} end, Counts, C));
        {bad, Id, What} -> {bad, Id, What};
        {'DOWN', _, process, P, Reason} -> {bad, P, {ended, Reason}}
    after ?PATIENCE -> {bad, all, {silent, N}}
    end.

%% An actor. State:
%%   sent    by other actor, the last count
%%   got     by other actor, the last count
%%   alias   by other actor, its alias for us
%%   kids    by reference, what is next of a child: {reply | 1.. , How}
%%   over    references of which nothing may come any more
actor(Ctl, {{_, I} = Id, Seed, Steps}) ->
    process_flag(trap_exit, true),
    rand:seed(exsss, erlang:phash2({Seed, I, node() > 'b'})),
    Name = name(Id),
    try
        true = register(Name, self()),
        All = receive {all, A} -> A end,
        Others = [O || O <- lists:sort(maps:keys(All)), element(1, O) =/= node()],
        _ = [maps:get(O, All) ! {alias, Id, alias()} || O <- Others],
        S0 = #{id => Id, all => All, others => Others, sent => #{}, got => #{}, alias => #{}, kids => #{}, over => #{}, fin => #{}, count => #{}},
        S1 = aliases(S0, length(Others)),
        S2 = walk(S1, Steps),
        S3 = lists:foldl(fun(O, S) -> send(O, fin, S) end, S2, Others),
        S4 = rest(S3, length(Others)),
        Ctl ! {done, Id, maps:get(count, S4)},
        receive never -> ok end
    catch
        throw:What -> Ctl ! {bad, Id, What};
        C:R:Stack -> Ctl ! {bad, Id, {C, R, Stack}}
    end.

name({_, I}) -> list_to_atom("oracle_" ++ integer_to_list(I)).

aliases(S, 0) -> S;
aliases(#{alias := Known} = S, N) ->
    receive {alias, O, Alias} -> aliases(S#{alias := Known#{O => Alias}}, N - 1)
    after ?PATIENCE -> throw(no_aliases)
    end.

walk(S, 0) -> S;
walk(S, N) -> walk(drain(step(rand:uniform(20), S)), N - 1).

step(K, #{others := Others} = S) ->
    O = lists:nth(rand:uniform(length(Others)), Others),
    if
        K =< 5 -> send(O, pid, S);
        K =< 8 -> send(O, name, S);
        K =< 10 -> send(O, alias, S);
        K =< 12 -> send(O, exit2, S);
        K =:= 13 -> send(O, big, S);
        K =< 17 -> birth(O, lists:nth(K - 13, [monitor, link, name, request]), S);
        K =:= 18 -> abandon(S);
        K =:= 19 -> receive after 1 -> S end;
        true -> S
    end.

send(O, How, #{id := Id, sent := Sent, all := All, alias := Aliases} = S) ->
    N = maps:get(O, Sent, 0) + 1,
    To = maps:get(O, All),
    M = {m, Id, N, How},
    _ = case How of
            name -> {name(O), element(1, O)} ! M;
            alias -> maps:get(O, Aliases) ! M;
            exit2 -> exit(To, M);
            big ->
                B = binary:copy(<<N:32>>, 50000),
                To ! {big, Id, N, erlang:md5(B), B};
            _ -> To ! M
        end,
    count(How, S#{sent := Sent#{O => N}}).

count(What, #{count := C} = S) -> S#{count := C#{What => maps:get(What, C, 0) + 1}}.

%% A child of ours on the node of another. It says 1..K and ends.
birth({Node, _}, How, #{kids := Kids} = S) ->
    K = rand:uniform(4),
    Tag = make_ref(),
    Args = [self(), Tag, {How, K}],
    {Ref, Kid} = case How of
            monitor -> {spawn_request(Node, ?MODULE, child, Args, [monitor]), {reply, How, K, Tag}};
            link -> {spawn_request(Node, ?MODULE, child, Args, [link]), {reply, How, K, Tag}};
            _ -> {spawn_request(Node, ?MODULE, child, Args, []), {reply, How, K, Tag}}
        end,
    count(How, S#{kids := Kids#{Ref => Kid, Tag => Ref}}).

child(Parent, Tag, {name, K}) ->
    Name = list_to_atom("oracle_kid_" ++ integer_to_list(erlang:unique_integer([positive]) rem 5000)),
    case catch register(Name, self()) of
        true ->
            Parent ! {named, Tag, Name, node()},
            receive {go, Tag} -> ok end,
            say(Parent, Tag, 1, K);
        _ -> Parent ! {unnamed, Tag}
    end;
child(Parent, Tag, {_, K}) -> say(Parent, Tag, 1, K), exit({bye, Tag}).

say(Parent, Tag, N, K) when N =< K -> Parent ! {c, Tag, N}, say(Parent, Tag, N + 1, K);
say(_, _, _, _) -> ok.

%% abandon takes back the monitor of, or the link to, a child that lives for
%% all we know: nothing may come of its end then.
abandon(#{kids := Kids, over := Over} = S) ->
    case [{R, X} || {R, {N, How, _, _, _} = X} <- maps:to_list(Kids), is_integer(N), How =:= monitor orelse How =:= link] of
        [] -> S;
        [{Ref, {N, How, K, Tag, Pid}} | _] ->
            _ = case How of
                    monitor -> demonitor(Ref, [flush]);
                    link -> unlink(Pid), receive {'EXIT', Pid, _} -> ok after 0 -> ok end
                end,
            S1 = count(abandoned, S#{kids := Kids#{Ref => {N, none, K, Tag, Pid}}, over := Over#{Ref => true, Pid => true}}),
            case N > K of
                true -> buried(Ref, Tag, Pid, S1);
                false -> S1
            end
    end.

drain(S) ->
    receive M -> drain(got(M, S)) after 0 -> S end.

%% rest takes everything until all others have finished and all children ended.
rest(#{fin := Fin, kids := Kids} = S, N) when map_size(Fin) =:= N, map_size(Kids) =:= 0 -> S;
rest(#{kids := Kids, fin := Fin, id := Id} = S, N) ->
    receive M -> rest(got(M, S), N)
    after ?PATIENCE div 2 -> throw({stuck, Id, fin, maps:size(Fin), kids, maps:values(Kids)})
    end.

got({m, O, N, How}, S) -> counted(O, N, How, S);
got({'EXIT', From, {m, {Node, _} = O, N, exit2}}, #{all := All} = S) ->
    case maps:get(O, All) of
        From when node(From) =:= Node -> counted(O, N, exit2, S);
        Other -> throw({exit2_from, From, not_from, Other})
    end;
got({big, O, N, Digest, B}, S) ->
    case erlang:md5(B) of
        Digest -> counted(O, N, big, S);
        _ -> throw({damaged, O, N, byte_size(B)})
    end;
got({spawn_reply, Ref, ok, Pid}, #{kids := Kids} = S) ->
    case Kids of
        #{Ref := {reply, How, K, Tag}} -> S#{kids := Kids#{Ref := {1, How, K, Tag, Pid}}};
        _ -> throw({reply_again, Ref})
    end;
got({spawn_reply, _, error, Why}, _) -> throw({spawn, Why});
got({c, Tag, N}, #{kids := Kids} = S) ->
    Ref = maps:get(Tag, Kids, nobody),
    case maps:get(Ref, Kids, gone) of
        {N, How, K, _, Pid} when N =:= K, How =:= none orelse How =:= request -> buried(Ref, Tag, Pid, S);
        {N, How, K, _, Pid} when N =< K -> S#{kids := Kids#{Ref := {N + 1, How, K, Tag, Pid}}};
        Other -> throw({child_says, N, expected, Other})
    end;
got({named, Tag, Name, Node}, #{kids := Kids} = S) ->
    Ref = maps:get(Tag, Kids),
    {1, name, K, Tag, Pid} = maps:get(Ref, Kids),
    Mon = erlang:monitor(process, {Name, Node}),
    {Name, Node} ! {go, Tag},
    S#{kids := (maps:remove(Ref, Kids))#{Mon => {1, name, K, Tag, Pid}, Tag := Mon}};
got({unnamed, Tag}, #{kids := Kids} = S) ->
    {1, name, _, Tag, Pid} = maps:get(maps:get(Tag, Kids), Kids),
    buried(maps:get(Tag, Kids), Tag, Pid, S);
got({'DOWN', Ref, process, _, Reason}, #{kids := Kids, over := Over} = S) ->
    case maps:get(Ref, Kids, gone) of
        {N, How, K, Tag, Pid} when N > K, How =:= monitor orelse How =:= name -> ended(Reason, Tag, How), buried(Ref, Tag, Pid, S);
        Other -> throw({down, Reason, expected, Other, over, maps:is_key(Ref, Over)})
    end;
got({'EXIT', Pid, Reason}, #{kids := Kids} = S) ->
    case [{R, X} || {R, {_, link, _, _, P} = X} <- maps:to_list(Kids), P =:= Pid] of
        [{Ref, {N, link, K, Tag, _}}] when N > K -> ended(Reason, Tag, link), buried(Ref, Tag, Pid, S);
        Other -> throw({exit, Pid, Reason, expected, Other})
    end;
got(M, _) -> throw({unexpected, M}).

ended({bye, Tag}, Tag, How) when How =/= name -> ok;
ended(normal, _, name) -> ok;
ended(Reason, _, How) -> throw({ended, How, Reason}).

buried(Ref, Tag, _, #{kids := Kids} = S) -> S#{kids := maps:remove(Ref, maps:remove(Tag, Kids))}.

counted(O, N, How, #{got := Got, fin := Fin} = S) ->
    case maps:get(O, Got, 0) + 1 of
        N when How =:= fin -> S#{got := Got#{O => N}, fin := Fin#{O => N}};
        N -> S#{got := Got#{O => N}};
        Expected -> throw({from, O, How, got, N, expected, Expected})
    end.
