%% Stock distribution over TCP beside distlink, for a cluster that moves from one
%% to the other node by node: -distlink_tcp true. TCP has the number of the UDP
%% port, so one entry at epmd, or one fixed port, is both. A peer that does not
%% answer distlink is asked by TCP.
-module(distlink_tcp).

-export([wanted/0, listen/1, close/1, accept/1, connect/3, hs_data/1]).
-export([accept_loop/2]).

-include_lib("kernel/include/net_address.hrl").
-include_lib("kernel/include/dist_util.hrl").

%% wanted() -> is there TCP beside distlink
wanted() -> distlink_config:flag(distlink_tcp).

%% listen(Port) -> {ok, Socket | none} | {error, Reason}
listen(Port) ->
    case wanted() of
        false -> {ok, none};
        true -> (driver()):listen(Port, [{active, false}, {packet, 2}, {reuseaddr, true}, {backlog, 128} | ip()])
    end.

driver() ->
    case distlink_config:family() of
        inet -> inet_tcp;
        inet6 -> inet6_tcp
    end.

ip() ->
    case distlink_config:ip() of
        any -> [];
        Ip -> [{ip, Ip}]
    end.

close(none) -> ok;
close(Socket) -> gen_tcp:close(Socket).

%% accept(Socket): net_kernel knows one protocol here, and distlink_dist finds out
%% by the kind of the socket which it is.
accept(none) -> ok;
accept(Socket) ->
    Pid = spawn_opt(?MODULE, accept_loop, [whereis(net_kernel), Socket], [link, {priority, max}]),
    gen_tcp:controlling_process(Socket, Pid).

accept_loop(Kernel, Listen) ->
    case (driver()):accept(Listen) of
        {ok, Socket} ->
            Kernel ! {accept, self(), Socket, distlink_config:family(), distlink},
            receive
                {Kernel, controller, Pid} ->
                    _ = inet_tcp:controlling_process(Socket, Pid),
                    Pid ! {self(), controller};
                {Kernel, unsupported_protocol} -> exit(unsupported_protocol)
            end,
            accept_loop(Kernel, Listen);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= econnaborted ->
            receive after 100 -> accept_loop(Kernel, Listen) end;
        {error, Reason} -> exit(Reason)
    end.

connect(Ip, Port, Timeout) ->
    (driver()):connect(Ip, Port, [{active, false}, {packet, 2} | ip()], Timeout).

%% What inet_tcp_dist says of a socket.
hs_data(Socket) ->
    #hs_data{socket = Socket,
             this_flags = 0,
             f_send = fun inet_tcp:send/2,
             f_recv = fun inet_tcp:recv/3,
             f_setopts_pre_nodeup = fun(S) -> inet:setopts(S, [{active, false}, {packet, 4}, {nodelay, true}]) end,
             f_setopts_post_nodeup = fun(S) -> inet:setopts(S, [{active, true}, {deliver, port}, {packet, 4}, binary, {nodelay, true}]) end,
             f_getll = fun inet:getll/1,
             f_address = fun address/2,
             mf_tick = fun tick/1,
             mf_getstat = fun getstat/1,
             mf_setopts = fun inet:setopts/2,
             mf_getopts = fun inet:getopts/2}.

address(Socket, Node) ->
    case {inet:peername(Socket), dist_util:split_node(Node)} of
        {{ok, Address}, {node, _, Host}} -> #net_address{address = Address, host = Host, protocol = tcp, family = distlink_config:family()};
        _ -> {error, no_node}
    end.

tick(Socket) ->
    case inet_tcp:send(Socket, [], [force]) of
        {error, closed} -> self() ! {tcp_closed, Socket}, {error, closed};
        R -> R
    end.

getstat(Socket) ->
    case inet:getstat(Socket, [recv_cnt, send_cnt, send_pend]) of
        {ok, L} ->
            Get = fun(Key) -> proplists:get_value(Key, L, 0) end,
            {ok, Get(recv_cnt), Get(send_cnt), Get(send_pend)};
        Error -> Error
    end.
