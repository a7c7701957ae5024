%% What a node knows of all its connections, registered as `distlink': traffic
%% classes of processes, handlers of events, reserved streams. It runs beside
%% net_kernel (distlink_dist:childspecs/0); connections go on without it.
%%
%%     gen_server:call({distlink, Node}, stats) -> {ok, [{Peer, Stats}]}, with the stream if one is reserved
%%
%% is for other nodes, a tsnswitchd among them.
-module(distlink_server).
-behaviour(gen_server).

-export([start_link/0, childspec/0, call/1, up/3, event/3]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(NAMES_AGAIN, 200). % ms between two looks at registered names
-define(MOST, 1000).       % processes and names with a class, and handlers

%% pids: Pid => {Class, Monitor}; names: Name => {Class, Pid | undefined};
%% up: Controller => {Node, Monitor}; streams: Controller => {Id, fun() that gives it back}.
-record(s, {pids = #{}, names = #{}, told = #{}, up = #{}, streams = #{}, handlers = #{}, timer}).

start_link() -> gen_server:start_link({local, distlink}, ?MODULE, [], []).

%% Its end must not be that of the distribution: temporary.
childspec() ->
    #{id => distlink, start => {?MODULE, start_link, []}, restart => temporary, modules => [?MODULE]}.

%% call(Request): the server is started anew where it has gone.
call(Request) ->
    case whereis(distlink) of
        undefined ->
            _ = whereis(net_sup) =/= undefined andalso supervisor:start_child(net_sup, childspec()),
            gen_server:call(distlink, Request);
        Pid -> gen_server:call(Pid, Request)
    end.

%% up(Node, Controller, Peer) and event/3 are said by controllers.
up(Node, Ctrl, Peer) -> gen_server:cast(distlink, {up, Node, Ctrl, Peer}).
event(Name, Measurements, Metadata) -> gen_server:cast(distlink, {event, Name, Measurements, Metadata}).

init([]) ->
    {ok, lists:foldl(fun({Node, Ctrl}, S) -> watch(Node, Ctrl, S) end, #s{}, distlink:connections())}.

handle_call(stats, From, #s{streams = Streams} = S) ->
    %% A controller may be busy: nobody else waits for it here.
    _ = spawn(fun() ->
                      Reserved = fun(Ctrl) -> case Streams of #{Ctrl := {Id, _}} -> #{stream => Id}; _ -> #{} end end,
                      gen_server:reply(From, {ok, [{Node, maps:merge(Stats, Reserved(Ctrl))} || {Node, Ctrl} <- distlink:connections(),
                                                                                          {ok, Stats} <- [distlink_controller:stats(Ctrl)]]})
              end),
    {noreply, S};
handle_call({class, Who, Class}, _, S) ->
    case lists:member(Class, [bulk, configured, control]) of
        true -> set_class(Who, Class, S);
        false -> {reply, {error, {class, Class}}, S}
    end;
handle_call(classes, _, #s{pids = Pids, names = Names} = S) ->
    {reply, lists:sort([{P, C} || {P, {C, _}} <- maps:to_list(Pids)] ++ [{N, C} || {N, {C, _}} <- maps:to_list(Names)]), S};
handle_call({attach, Id, Events, Fun, Config}, _, #s{handlers = Hs} = S) ->
    if
        is_map_key(Id, Hs) -> {reply, {error, already_exists}, S};
        map_size(Hs) >= ?MOST -> {reply, {error, system_limit}, S};
        true -> {reply, ok, S#s{handlers = Hs#{Id => {Events, Fun, Config}}}}
    end;
handle_call({detach, Id}, _, #s{handlers = Hs} = S) when is_map_key(Id, Hs) ->
    {reply, ok, S#s{handlers = maps:remove(Id, Hs)}};
handle_call({detach, _}, _, S) -> {reply, {error, not_found}, S};
handle_call({reserved, Ctrl, Id, GiveBack}, _, #s{up = Up, streams = Streams} = S) ->
    case Up of
        #{Ctrl := _} when not is_map_key(Ctrl, Streams) -> {reply, ok, S#s{streams = Streams#{Ctrl => {Id, GiveBack}}}};
        #{Ctrl := _} -> {reply, {error, already_reserved}, S};
        _ -> {reply, {error, not_connected}, S}
    end;
handle_call({is_reserved, Ctrl}, _, #s{streams = Streams} = S) -> {reply, is_map_key(Ctrl, Streams), S};
handle_call({release, Ctrl}, _, #s{streams = Streams} = S) ->
    case maps:take(Ctrl, Streams) of
        {{_, GiveBack}, Streams1} -> {reply, {ok, GiveBack}, S#s{streams = Streams1}};
        error -> {reply, {error, not_reserved}, S}
    end;
handle_call(_, _, S) -> {reply, {error, badarg}, S}.

handle_cast({up, Node, Ctrl, Peer}, S) ->
    S1 = watch(Node, Ctrl, S),
    {noreply, emit(nodeup, #{}, #{node => Node, peer => Peer}, S1)};
handle_cast({event, Name, Measurements, Metadata}, S) -> {noreply, emit(Name, Measurements, Metadata, S)};
handle_cast(_, S) -> {noreply, S}.

handle_info({'DOWN', Mon, process, Pid, Reason}, #s{up = Up, pids = Pids} = S) ->
    case {Up, Pids} of
        {#{Pid := {Node, Mon}}, _} -> {noreply, down(Node, Pid, Reason, S)};
        {_, #{Pid := {_, Mon}}} -> {noreply, tell(S#s{pids = maps:remove(Pid, Pids)})};
        _ -> {noreply, S}
    end;
handle_info(names, #s{names = Names} = S) ->
    Now = maps:map(fun(Name, {Class, _}) -> {Class, whereis(Name)} end, Names),
    {noreply, look(tell(S#s{names = Now, timer = undefined}))};
handle_info(_, S) -> {noreply, S}.

%% ---- Connections ----------------------------------------------------------

watch(Node, Ctrl, #s{up = Up, told = Told} = S) ->
    _ = map_size(Told) > 0 andalso (Ctrl ! {classes, Told}),
    S#s{up = Up#{Ctrl => {Node, erlang:monitor(process, Ctrl)}}}.

down(Node, Ctrl, Reason, #s{up = Up, streams = Streams} = S0) ->
    S1 = S0#s{up = maps:remove(Ctrl, Up), streams = maps:remove(Ctrl, Streams)},
    case Streams of
        #{Ctrl := {_, GiveBack}} -> _ = spawn(GiveBack), ok; % it asks another node
        _ -> ok
    end,
    S2 = case Reason of
             {distlink, 5, Text} -> emit(watchdog, #{}, #{node => Node, reason => Text}, S1);
             _ -> S1
         end,
    emit(nodedown, #{}, #{node => Node, reason => Reason}, S2).

%% ---- Classes ----------------------------------------------------------------

set_class(Pid, Class, #s{pids = Pids} = S) when is_pid(Pid), node(Pid) =:= node() ->
    Old = case Pids of #{Pid := {_, M}} -> erlang:demonitor(M, [flush]), maps:remove(Pid, Pids); _ -> Pids end,
    case Class of
        bulk -> {reply, ok, tell(S#s{pids = Old})};
        _ when map_size(Old) >= ?MOST -> {reply, {error, system_limit}, S};
        _ -> {reply, ok, tell(S#s{pids = Old#{Pid => {Class, erlang:monitor(process, Pid)}}})}
    end;
set_class(Name, bulk, #s{names = Names} = S) when is_atom(Name) ->
    {reply, ok, tell(S#s{names = maps:remove(Name, Names)})};
set_class(Name, _, #s{names = Names} = S) when is_atom(Name), map_size(Names) >= ?MOST -> {reply, {error, system_limit}, S};
set_class(Name, Class, #s{names = Names} = S) when is_atom(Name), Name =/= undefined ->
    {reply, ok, look(tell(S#s{names = Names#{Name => {Class, whereis(Name)}}}))};
set_class(Who, _, S) -> {reply, {error, {not_of_this_node, Who}}, S}.

%% look: names are registered and unregistered without a word.
look(#s{names = Names, timer = undefined} = S) when map_size(Names) > 0 ->
    S#s{timer = erlang:send_after(?NAMES_AGAIN, self(), names)};
look(S) -> S.

%% tell the controllers, if something has changed. What is said of a process
%% itself comes before what is said of its name.
tell(#s{pids = Pids, names = Names, told = Told, up = Up} = S) ->
    Named = maps:from_list([{P, C} || {C, P} <- maps:values(Names), is_pid(P)]),
    All = maps:merge(Named, maps:map(fun(_, {C, _}) -> C end, Pids)),
    case maps:from_list([{distlink_stream:key(P), C} || {P, C} <- maps:to_list(All)]) of
        Told -> S;
        Now -> _ = [Ctrl ! {classes, Now} || Ctrl <- maps:keys(Up)], S#s{told = Now}
    end.

%% ---- Events -----------------------------------------------------------------

%% emit calls who listens, and the telemetry application where there is one. A
%% handler that fails is detached, as there.
emit(Name, Measurements, Metadata, #s{handlers = Hs} = S) ->
    Event = [distlink, Name],
    _ = erlang:function_exported(telemetry, execute, 3) andalso telemetry(Event, Measurements, Metadata),
    S#s{handlers = maps:filter(fun(Id, {Events, Fun, Config}) ->
                                       not lists:member(Event, Events) orelse handled(Id, Fun, [Event, Measurements, Metadata, Config])
                               end, Hs)}.

telemetry(Event, Measurements, Metadata) ->
    try telemetry:execute(Event, Measurements, Metadata) catch _:_ -> ok end.

handled(Id, Fun, Args) ->
    try apply(Fun, Args) of
        _ -> true
    catch Class:Reason:Stack ->
            logger:error("distlink: handler ~p of ~p is detached: ~p ~p ~p", [Id, hd(Args), Class, Reason, Stack]),
            false
    end.
