%% What a user asks about distlink connections.
-module(distlink).

-export([info/0, stats/1, register/2]).

%% info() -> [{Node, Stats}] for every distlink connection of this node.
info() ->
    lists:sort([{Node, S} || {Node, Pid} <- connections(), {ok, S} <- [distlink_controller:stats(Pid)]]).

%% stats(Node) -> {ok, Map} | {error, not_connected}
%% packets_sent, retransmitted, probes, rtt_us, queued (octets), in_flight ...
stats(Node) ->
    case lists:keyfind(Node, 1, connections()) of
        {_, Pid} -> distlink_controller:stats(Pid);
        false -> {error, not_connected}
    end.

%% net_kernel keeps the owner of each connection: the supervisor process linked
%% to our controller; the controller says in its dictionary which node it serves.
connections() ->
    [{Node, Pid} || {Node, Info} <- nodes_info(), {owner, Owner} <- Info, Pid <- controllers(Owner, Node)].

nodes_info() ->
    case net_kernel:nodes_info() of
        {ok, L} -> L;
        _ -> []
    end.

controllers(Owner, Node) when is_pid(Owner) ->
    case process_info(Owner, links) of
        {links, Links} ->
            [P || P <- Links, is_pid(P), {dictionary, D} <- [process_info(P, dictionary)],
                  lists:member({distlink_node, Node}, D)];
        undefined -> []
    end;
controllers(_, _) -> [].

%% register(Node, Controller) is called in the controller.
register(Node, Pid) when Pid =:= self() ->
    put(distlink_node, Node),
    ok.
