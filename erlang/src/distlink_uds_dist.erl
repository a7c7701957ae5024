%% A carrier over unix sockets, for nodes of one machine: erl -proto_dist
%% distlink_uds -distlink_uds DIR. A node is the socket DIR/NODE; who may enter the
%% directory may connect. It is also the smallest example of gen_dist: a stream
%% that is reliable already needs a process for each direction and no more.
-module(distlink_uds_dist).
-behaviour(gen_dist).

-export([listen/1, listen/2, accept/1, accept_connection/5, setup/5, close/1, select/1, address/0, is_node_name/1]).
-export([acceptor/2, connect/4, supervisor/2, send/2, recv/3, output/3, tick/1, address/2]).
-export([controller/2, input/2]).

-include_lib("kernel/include/net_address.hrl").

-define(AHEAD, 64). % packets that the kernel may hand over before it is asked again
-record(listen, {socket, path}).

select(Node) -> length(string:split(atom_to_list(Node), "@")) =:= 2.
is_node_name(Node) -> dist_util:is_node_name(Node).
address() -> {ok, Host} = inet:gethostname(), net_address(undefined, Host).
accept_connection(Acceptor, Ctrl, MyNode, Allowed, Time) ->
    gen_dist:accept_connection(?MODULE, Acceptor, Ctrl, MyNode, {Allowed, Time}).
setup(Node, Type, MyNode, Names, Time) -> gen_dist:setup(?MODULE, Node, Type, MyNode, {Names, Time}).

net_address(Address, Host) -> #net_address{address = Address, host = Host, protocol = distlink_uds, family = inet}.

listen(Name) ->
    {ok, Host} = inet:gethostname(),
    listen(Name, Host).

listen(Name, Host) ->
    try listen1(lists:concat([Name, "@", Host]), Host)
    catch Class:Reason:Stack ->
            erlang:display({distlink_uds_listen, Class, Reason, Stack}),
            {error, Reason}
    end.

listen1(Node, Host) ->
    Path = path(Node),
    case gen_tcp:connect({local, Path}, 0, [local]) of
        {ok, Other} -> _ = gen_tcp:close(Other), {error, {duplicate_name, Path}};
        {error, _} -> % what a killed node has left
            _ = prim_file:delete(Path),
            case gen_tcp:listen(0, [local, {ifaddr, {local, Path}}, {backlog, 128} | options()]) of
                {ok, Socket} ->
                    <<Creation:32>> = distlink_config:random(4),
                    {ok, {#listen{socket = Socket, path = Path}, net_address(Path, Host), Creation bor 4}};
                {error, Reason} -> {error, {Path, Reason}}
            end
    end.

path(Node) ->
    case init:get_argument(distlink_uds) of
        {ok, Values} -> hd(lists:last(Values)) ++ "/" ++ Node;
        error -> erlang:error({distlink_uds, "give -distlink_uds DIRECTORY"})
    end.

options() -> [{active, false}, {packet, 2}].

close(#listen{socket = Socket, path = Path}) ->
    _ = prim_file:delete(Path),
    gen_tcp:close(Socket).

accept(#listen{socket = Socket}) ->
    Kernel = self(),
    Pid = spawn_opt(fun() -> receive go -> acceptor(Kernel, Socket) end end, [link, {priority, max}]),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    Pid.

acceptor(Kernel, Listen) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Ctrl = start(Socket),
            ok = gen_dist:accepted(Kernel, Ctrl, {distlink_uds, inet, fun(Pid) -> supervisor(Ctrl, Pid) end}),
            acceptor(Kernel, Listen);
        {error, Reason} when Reason =:= emfile; Reason =:= enfile; Reason =:= econnaborted ->
            receive after 100 -> acceptor(Kernel, Listen) end;
        {error, Reason} -> exit(Reason)
    end.

connect(Node, _, _, Timeout) ->
    Path = path(atom_to_list(Node)),
    case gen_tcp:connect({local, Path}, 0, [local | options()], Timeout) of
        {ok, Socket} ->
            Ctrl = start(Socket),
            ok = supervisor(Ctrl, self()),
            {ok, Ctrl, 6};
        {error, Reason} -> {error, {Path, Reason}}
    end.

start(Socket) ->
    Ctrl = spawn_opt(?MODULE, controller, [Socket, self()], [{priority, high}, {message_queue_data, off_heap}]),
    ok = gen_tcp:controlling_process(Socket, Ctrl),
    Ctrl ! go,
    Ctrl.

supervisor(Ctrl, Pid) -> call(Ctrl, {supervisor, Pid}).
send(Ctrl, Data) -> call(Ctrl, {send, Data}).
recv(Ctrl, _, Timeout) -> call(Ctrl, {recv, Timeout}).
output(Ctrl, _, Handle) -> call(Ctrl, {output, Handle}).
tick(Ctrl) -> Ctrl ! tick, ok.
address(Ctrl, Node) ->
    {node, _, Host} = dist_util:split_node(Node),
    net_address(call(Ctrl, peer), Host).

call(Ctrl, Request) ->
    Mon = erlang:monitor(process, Ctrl),
    Ctrl ! {call, {self(), Mon}, Request},
    receive
        {Mon, Reply} -> erlang:demonitor(Mon, [flush]), Reply;
        {'DOWN', Mon, process, _, _} -> {error, closed}
    end.

%% The controller, until the handshake is over. Until it has a supervisor it
%% depends on who made it.
controller(Socket, Parent) ->
    Mon = erlang:monitor(process, Parent),
    receive
        go -> handshake(Socket, Mon);
        {'DOWN', Mon, process, _, _} -> ok
    end.

handshake(Socket, Mon) ->
    receive
        {call, {Pid, Ref}, Request} ->
            {Answer, Next} = request(Request, Socket, Mon),
            Pid ! {Ref, Answer},
            Next();
        {'DOWN', Mon, process, _, _} -> ok
    end.

request({supervisor, Pid}, Socket, Mon) ->
    link(Pid),
    erlang:demonitor(Mon, [flush]),
    {ok, fun() -> handshake(Socket, none) end};
request({send, Data}, Socket, Mon) -> {gen_tcp:send(Socket, Data), fun() -> handshake(Socket, Mon) end};
request({recv, Timeout}, Socket, Mon) -> {gen_tcp:recv(Socket, 0, Timeout), fun() -> handshake(Socket, Mon) end};
request(peer, Socket, Mon) -> {Socket, fun() -> handshake(Socket, Mon) end};
request({output, Handle}, Socket, _) ->
    Input = spawn_opt(?MODULE, input, [Socket, Handle], [link, {priority, high}, {message_queue_data, off_heap}]),
    ok = inet:setopts(Socket, [binary, {packet, 4}]),
    ok = gen_tcp:controlling_process(Socket, Input),
    ok = erlang:dist_ctrl_input_handler(Handle, Input),
    Input ! go,
    erlang:dist_ctrl_get_data_notification(Handle),
    {ok, fun() -> out(Socket, Handle) end}.

%% Output: it may wait for the peer to read; input goes on meanwhile.
out(Socket, Handle) ->
    receive
        dist_data -> drain(Socket, Handle);
        tick -> sent(gen_tcp:send(Socket, []));
        {call, {Pid, Ref}, _} -> Pid ! {Ref, {error, badarg}}
    end,
    out(Socket, Handle).

drain(Socket, Handle) ->
    case erlang:dist_ctrl_get_data(Handle) of
        none -> erlang:dist_ctrl_get_data_notification(Handle);
        Data -> sent(gen_tcp:send(Socket, Data)), drain(Socket, Handle)
    end.

sent(ok) -> ok;
sent({error, _}) -> exit(connection_closed).

input(Socket, Handle) ->
    receive go -> in(Socket, Handle, inet:setopts(Socket, [{active, ?AHEAD}])) end.

in(Socket, Handle, ok) ->
    receive
        {tcp, Socket, Data} -> erlang:dist_ctrl_put_data(Handle, Data), in(Socket, Handle, ok);
        {tcp_passive, Socket} -> in(Socket, Handle, inet:setopts(Socket, [{active, ?AHEAD}]));
        {tcp_closed, Socket} -> exit(connection_closed);
        {tcp_error, Socket, Reason} -> exit(Reason)
    end;
in(_, _, {error, _}) -> exit(connection_closed).
