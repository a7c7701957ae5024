%% A peer that dies and comes back, as its survivor sees it: every monitor and link
%% fires once, what was before is dead, and nothing sent to the old incarnation comes
%% to the new one.
-module(distlink_faults).
-export([survivor/2, sink/0, idle/0, watch/0, load/1, keep/1]).

-define(PROCESSES, 20).
-define(TALKERS, 4).
-define(PATIENCE, 60000).

%% survivor(Peer, talking | quiet) prints "connected", "down", "again" and "survived ok".
survivor(Peer, How) ->
    process_flag(trap_exit, true),
    connect(Peer),
    ok = net_kernel:monitor_nodes(true),
    Old = [spawn(Peer, ?MODULE, idle, []) || _ <- lists:seq(1, ?PROCESSES)],
    Sink = erpc:call(Peer, erlang, whereis, [sink]),
    Links = [begin link(P), P end || P <- [Sink | Old]],
    Monitors = [erlang:monitor(process, P) || P <- [{sink, Peer}, Sink | Old], _ <- [1, 2]],
    Talkers = [talker(Peer, 1, [Sink | Old]) || How =:= talking, _ <- lists:seq(1, ?TALKERS)],
    true = erpc:call(Peer, erlang, is_process_alive, [Sink]), % all of that is there now
    io:format("connected~n"),
    receive {nodedown, Peer} -> ok end,
    io:format("down~n"),
    _ = [begin exit(P, kill), receive {'EXIT', P, _} -> ok end end || P <- Talkers],
    _ = [receive {'DOWN', M, process, _, noconnection} -> ok after ?PATIENCE -> exit({no_down, M}) end || M <- Monitors],
    _ = [receive {'EXIT', P, noconnection} -> ok after ?PATIENCE -> exit({no_exit, P}) end || P <- Links],
    connect(Peer),
    io:format("again~n"),
    New = spawn(Peer, ?MODULE, idle, []),
    _ = [P ! {generation, 1} || P <- Old],
    Dead = [erlang:monitor(process, P) || P <- [Sink | Old]],
    _ = [receive {'DOWN', M, process, _, noproc} -> ok after ?PATIENCE -> exit({not_dead, M}) end || M <- Dead],
    true = creation(New) =/= creation(Sink),
    Talk = [talker(Peer, 2, []) || _ <- lists:seq(1, ?TALKERS)],
    _ = [begin P ! finish, receive {'EXIT', P, normal} -> ok after ?PATIENCE -> exit({talker, P}) end end || P <- Talk],
    {sink, Peer} ! {report, self()},
    receive
        {report, [2]} -> ok;
        {report, Generations} -> exit({heard_by_the_new_incarnation, Generations})
    after ?PATIENCE -> exit(no_report)
    end,
    receive
        {nodeup, Peer} -> receive Other -> exit({more, Other}) after 100 -> ok end
    after ?PATIENCE -> exit(no_nodeup)
    end,
    io:format("survived ok~n").

connect(Peer) ->
    case net_kernel:connect_node(Peer) andalso catched(fun() -> erpc:call(Peer, erlang, whereis, [sink]) end) of
        Pid when is_pid(Pid) -> ok;
        _ -> receive after 20 -> connect(Peer) end
    end.

catched(F) ->
    try F() catch _:_ -> failed end.

creation(Pid) ->
    B = term_to_binary(Pid),
    binary:part(B, byte_size(B), -4).

%% A talker says its generation to the sink by name and to processes, while there
%% is a connection, until it is killed or has to finish.
talker(Peer, Generation, Pids) ->
    spawn_link(fun() -> talk(Peer, {generation, Generation, binary:copy(<<0>>, 3000)}, Pids) end).

talk(Peer, Message, Pids) ->
    _ = [erlang:send(To, Message, [noconnect]) || To <- [{sink, Peer} | Pids]],
    receive
        finish ->
            {sink, Peer} ! {report, self()},
            receive {report, _} -> ok end
    after 1 -> talk(Peer, Message, Pids)
    end.

%% The sink notes which generations it hears.
sink() ->
    register(sink, self()),
    sink([]).

sink(Heard) ->
    receive
        {generation, N, _} -> sink(lists:usort([N | Heard]));
        {report, From} -> From ! {report, Heard}, sink(Heard)
    end.

idle() -> receive stop -> ok end.

%% load(Peer): 100 kB messages, ten on the way, and calls beside them; "round N" every
%% half second or so.
load(Peer) ->
    connect(Peer),
    _ = spawn_link(fun watch/0),
    load(Peer, binary:copy(<<0>>, 100000), 1).

load(Peer, Big, N) ->
    End = erlang:monotonic_time(millisecond) + 500,
    loaded(Peer, Big, End),
    io:format("round ~b~n", [N]),
    load(Peer, Big, N + 1).

loaded(Peer, Big, End) ->
    _ = [{sink, Peer} ! {generation, 1, Big} || _ <- lists:seq(1, 10)],
    {sink, Peer} ! {report, self()},
    receive {report, _} -> ok end,
    case erlang:monotonic_time(millisecond) > End of
        true -> ok;
        false -> loaded(Peer, Big, End)
    end.

%% keep(Peer) stays connected to Peer and says something all the time; prints as
%% watch/0 does.
keep(Peer) ->
    ok = net_kernel:monitor_nodes(true, #{node_type => all, nodedown_reason => true}),
    _ = spawn_link(fun() -> keep_talking(Peer) end),
    watching().

keep_talking(Peer) ->
    _ = net_kernel:connect_node(Peer),
    {nobody, Peer} ! binary:copy(<<0>>, 1000),
    receive after 20 -> keep_talking(Peer) end.

%% watch() prints what happens to connections.
watch() ->
    ok = net_kernel:monitor_nodes(true, #{node_type => all, nodedown_reason => true}),
    io:format("watching~n"),
    watching().

watching() ->
    receive
        {nodeup, N, _} -> io:format("up ~s~n", [N]);
        {nodedown, N, #{nodedown_reason := R}} -> io:format("down ~s ~p~n", [N, R])
    end,
    watching().
