%% Nodes that stay connected to each other, bulk between two, and what it all costs.
-module(distlink_mesh).
-export([mesh/1, cost/2, bulk/3, digest/0, flood/3]).

%% mesh(Nodes): this node is one of them. Connects to all that are missing, again
%% and again; prints "complete" when it has all, "parted" when only those of its
%% half of the list are left, "down" and why for each that is lost.
mesh(Nodes) ->
    ok = net_kernel:monitor_nodes(true, #{nodedown_reason => true}),
    {First, Second} = lists:split((length(Nodes) + 1) div 2, Nodes),
    Half = case lists:member(node(), First) of true -> First; false -> Second end,
    mesh(lists:sort(Nodes -- [node()]), lists:sort(Half -- [node()]), none).

mesh(All, Half, Said) ->
    Here = lists:sort(nodes()),
    _ = [spawn(net_kernel, connect_node, [N]) || N <- All -- Here],
    Say = if Here =:= All -> "complete"; Here =:= Half -> "parted"; true -> Said end,
    _ = Say =:= Said orelse io:format("~s~n", [Say]),
    receive
        {nodeup, _, _} -> ok;
        {nodedown, _, #{nodedown_reason := Why}} -> io:format("down ~0p~n", [Why])
    after 1000 -> ok
    end,
    mesh(All, Half, Say).

%% cost(Nodes, Steps) connects to as many of the nodes as each step says and prints
%% what the VM has allocated then (KiB), and the controllers of it.
cost(Nodes, Steps) ->
    _ = [begin
             _ = [true = net_kernel:connect_node(N) || N <- lists:sublist(Nodes, Step)],
             receive after 1500 -> ok end, % the ticks and probes of new connections
             _ = [erlang:garbage_collect(P) || P <- processes()],
             Own = lists:sum([begin {memory, M} = process_info(P, memory), M end || {_, P} <- distlink:connections()]),
             io:format("cost ~b ~b ~b~n", [Step, erlang:memory(total) div 1024, Own div 1024]),
             io:get_line("")
         end || Step <- Steps],
    ok.

%% bulk(Peer, Octets, Rounds): two processes send a message of so many octets each, a
%% round; what arrives is looked at there. Prints "round N".
bulk(Peer, Octets, Rounds) ->
    ok = net_kernel:monitor_nodes(true),
    true = net_kernel:connect_node(Peer),
    _ = [begin
             Workers = [spawn_monitor(fun() -> sent(Peer, N * 10 + I, Octets) end) || I <- [1, 2]],
             _ = [receive {'DOWN', M, _, _, normal} -> ok; {'DOWN', M, _, _, Why} -> exit(Why) end || {_, M} <- Workers],
             io:format("round ~b~n", [N])
         end || N <- lists:seq(1, Rounds)],
    receive {nodedown, _} = Down -> exit(Down) after 0 -> ok end,
    io:format("bulk ok~n").

sent(Peer, Seed, Octets) ->
    Piece = list_to_binary([erlang:md5(<<Seed:32, I:32>>) || I <- lists:seq(1, 4096)]),
    B = binary:copy(Piece, Octets div byte_size(Piece)),
    Digest = erlang:md5(B),
    spawn(Peer, ?MODULE, digest, []) ! {self(), B},
    receive {digest, Digest} -> ok end.

digest() ->
    receive {From, B} -> From ! {digest, erlang:md5(B)} end.

%% flood(Peer, Octets, Count): messages of so many octets, one after the other, as
%% fast as the VM lets us; prints "flood ok" when all have arrived.
flood(Peer, Octets, Count) ->
    true = net_kernel:connect_node(Peer),
    Pid = spawn(Peer, fun() -> F = fun F(0) -> receive From -> From ! arrived end; F(N) -> receive B when is_binary(B) -> F(N - 1) end end, F(Count) end),
    _ = [begin Pid ! binary:copy(<<N>>, Octets), erlang:garbage_collect() end || N <- lists:seq(1, Count)],
    Pid ! self(),
    receive arrived -> io:format("flood ok~n") end.
