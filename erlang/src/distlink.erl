%% What a user asks about distlink connections, and asks of them.
-module(distlink).

-export([info/0, info/1, stats/1, door/0, class/2, classes/0, reserve/2, release/1, attach/4, detach/1]).
-export([connections/0, register/3]).

%% info() -> [{Node, Stats}] for every distlink connection of this node.
info() ->
    lists:sort([{Node, S} || {Node, Pid} <- connections(), {ok, S} <- [distlink_controller:stats(Pid)]]).

%% info(Node) -> Stats of one; it has to be connected.
info(Node) ->
    case stats(Node) of
        {ok, S} -> S;
        {error, Reason} -> error(Reason, [Node])
    end.

%% stats(Node) -> {ok, Map} | {error, not_connected}
%% packets_sent, retransmitted, probes, rtt_us, queued (octets), in_flight ...
stats(Node) ->
    case lists:keyfind(Node, 1, connections()) of
        {_, Pid} -> distlink_controller:stats(Pid);
        false -> {error, not_connected}
    end.

%% door() -> #{accepted, retries, bad_tokens, ...}: what has met the listening socket
%% of this node. full: refused as too many others have not shown the cookie yet.
door() -> distlink_dist:door().

%% class(PidOrName, bulk | configured | control) -> ok | {error, Reason}: what
%% this process of this node sends to others goes before what lower classes
%% send; bulk, the lowest, is what everybody has who is not named. It may be
%% changed at any time and no message is overtaken by it. A name means whoever
%% is registered so, looked up again five times a second.
class(Who, Class) -> distlink_server:call({class, Who, Class}).

%% classes() -> [{PidOrName, Class}]
classes() -> distlink_server:call(classes).

%% attach(Id, Events, Fun, Config) -> ok | {error, already_exists}. Events:
%%   [distlink, nodeup]      metadata node, peer
%%   [distlink, nodedown]    node, reason
%%   [distlink, suspended]   node; queued (octets): the VM suspends senders
%%   [distlink, congestion]  node; retransmitted, rtt_us, congestion_window: there was loss within a second
%%   [distlink, watchdog]    node, reason: data was queued and nothing was sent
%%   [distlink, reserved], [distlink, released]  node, stream, switch
%% Fun(Event, Measurements, Metadata, Config) is called in the process
%% `distlink' and detached if it fails; it must not call this module.
attach(Id, Events, Fun, Config) when is_list(Events), is_function(Fun, 4) ->
    distlink_server:call({attach, Id, Events, Fun, Config}).

%% detach(Id) -> ok | {error, not_found}
detach(Id) -> distlink_server:call({detach, Id}).

%% reserve(Node, Options) -> {ok, Stream} | {error, Reason}: see distlink_reserve.
reserve(Node, Options) -> distlink_reserve:reserve(Node, Options).

%% release(Node) -> ok | {error, Reason}: the stream is given back, the
%% connection goes on as best effort.
release(Node) -> distlink_reserve:release(Node).

%% connections() -> [{Node, Controller}]. net_kernel keeps the owner of each: the
%% supervisor process linked to our controller; the controller says in its
%% dictionary which node it serves.
connections() ->
    [{Node, Pid} || {Node, Info} <- nodes_info(), {owner, Owner} <- Info, Pid <- controllers(Owner, Node)].

%% net_kernel may not be there, or not yet.
nodes_info() ->
    try net_kernel:nodes_info() of
        {ok, L} -> L;
        _ -> []
    catch _:_ -> []
    end.

controllers(Owner, Node) when is_pid(Owner) ->
    case process_info(Owner, links) of
        {links, Links} ->
            [P || P <- Links, is_pid(P), {dictionary, D} <- [process_info(P, dictionary)],
                  lists:member({distlink_node, Node}, D)];
        undefined -> []
    end;
controllers(_, _) -> [].

%% register(Node, Controller, Peer) is called in the controller.
register(Node, Pid, Peer) when Pid =:= self() ->
    put(distlink_node, Node),
    distlink_server:up(Node, Pid, Peer).
