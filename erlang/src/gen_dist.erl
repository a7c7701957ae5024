%% A behaviour for carriers of the Erlang distribution: what all have in common,
%% between net_kernel on one side and a transport on the other. A carrier X is a
%% module X_dist with this behaviour; erl -proto_dist X then uses it.
%%
%%     net_kernel     listen accept accept_connection setup close select   the carrier exports these;
%%                                                                         three are calls of this module
%%     gen_dist       the handshake, in a process per connection that supervises it
%%     transport      acceptor, connect, send, recv, output, tick, address (below)
%%
%% A connection is a process, its controller. It has two lives: during the handshake it
%% sends and receives for the supervisor; after output/3 it moves what the VM has
%% (dist_ctrl_get_data) out, and something, it or another process, puts what
%% comes in (dist_ctrl_put_data). It must keep the order in which the VM gives packets
%% between each two processes, and lose none: if it cannot, it has to end.
%%
%%     -module(x_dist).
%%     -behaviour(gen_dist).
%%     accept_connection(A, C, Node, Allowed, Time) -> gen_dist:accept_connection(?MODULE, A, C, Node, {Allowed, Time}).
%%     setup(Node, Type, My, Names, Time) -> gen_dist:setup(?MODULE, Node, Type, My, {Names, Time}).
%%     select(Node) -> ...
%%
%% Nothing may print through io in listen or acceptor: `user' is not there yet.
%% distlink_dist (UDP) and distlink_uds_dist (unix sockets) are carriers.
-module(gen_dist).

-export([accept_connection/5, setup/5, accepted/3]).
-export([do_accept/5, do_setup/6]).

-include_lib("kernel/include/net_address.hrl").
-include_lib("kernel/include/dist_util.hrl").

-define(DFLAG_SEND_SENDER, 16#80000).

%% The process that takes connections; it calls accepted/3 for each. Called in
%% net_kernel by the carrier's accept/1.
-callback acceptor(Kernel :: pid(), Listen :: term()) -> no_return().
%% connect(Node, Name, Host, Milliseconds): name and address become a connection
%% whose controller is linked to the caller. Version is that of the
%% handshake, 6.
-callback connect(node(), string(), string(), non_neg_integer()) -> {ok, Controller :: term(), Version :: integer()} | {error, term()}.
%% supervisor(Controller, Pid): both live and die together from now on.
-callback supervisor(Controller :: term(), pid()) -> ok | {error, term()}.
%% send and recv are of whole messages of the handshake; recv answers a list.
-callback send(Controller :: term(), iodata()) -> ok | {error, term()}.
-callback recv(Controller :: term(), Length :: non_neg_integer(), timeout()) -> {ok, [byte()]} | {error, term()}.
%% output(Controller, Node, Handle): the handshake is over, the VM has data.
-callback output(Controller :: term(), node(), Handle :: term()) -> ok | {error, term()}.
%% tick(Controller): the VM wants a sign of life sent.
-callback tick(Controller :: term()) -> ok.
%% address(Controller, Node) -> where the peer is, for nodes_info.
-callback address(Controller :: term(), node()) -> #net_address{} | {error, term()}.
%% hs_data(Controller) -> undefined, or a record of its own for a connection that
%% is none of this behaviour (a TCP socket beside it).
-callback hs_data(Controller :: term()) -> undefined | #hs_data{}.
%% setopts and getopts of a connection, for net_kernel:setopts/2 and getopts/2.
-callback setopts(Controller :: term(), [{atom(), term()}]) -> ok | {error, term()}.
-callback getopts(Controller :: term(), [atom()]) -> {ok, [{atom(), term()}]} | {error, term()}.
-optional_callbacks([hs_data/1, setopts/2, getopts/2]).

%% accepted(Kernel, Controller, {Protocol, Family, Give}) is called in the acceptor:
%% net_kernel, which finds the carrier by protocol and family of its address,
%% makes a supervisor, to which Give(Pid) gives the controller.
accepted(Kernel, Ctrl, {Protocol, Family, Give}) ->
    Kernel ! {accept, self(), Ctrl, Family, Protocol},
    receive
        {Kernel, controller, Pid} ->
            _ = Give(Pid),
            Pid ! {self(), controller},
            ok;
        {Kernel, unsupported_protocol} -> exit(unsupported_protocol)
    end.

accept_connection(Mod, Acceptor, Ctrl, MyNode, {Allowed, SetupTime}) ->
    spawn_opt(?MODULE, do_accept, [{Mod, self()}, Acceptor, Ctrl, MyNode, {Allowed, SetupTime}],
              dist_util:net_ticker_spawn_options()).

do_accept({Mod, Kernel}, Acceptor, Ctrl, MyNode, {Allowed, SetupTime}) ->
    receive
        {Acceptor, controller} ->
            Timer = dist_util:start_timer(SetupTime),
            dist_util:handshake_other_started(
              (data(Mod, Ctrl))#hs_data{kernel_pid = Kernel, this_node = MyNode, timer = Timer, allowed = Allowed})
    end.

setup(Mod, Node, Type, MyNode, {LongOrShortNames, SetupTime}) ->
    spawn_opt(?MODULE, do_setup, [{Mod, self()}, Node, Type, MyNode, LongOrShortNames, SetupTime],
              dist_util:net_ticker_spawn_options()).

do_setup({Mod, Kernel}, Node, Type, MyNode, LongOrShortNames, SetupTime) ->
    Timer = dist_util:start_timer(SetupTime),
    {Name, Host} = split(Node, LongOrShortNames),
    case Mod:connect(Node, Name, Host, min(SetupTime, 7000)) of
        {ok, Ctrl, Version} ->
            dist_util:reset_timer(Timer),
            dist_util:handshake_we_started(
              (data(Mod, Ctrl))#hs_data{kernel_pid = Kernel, other_node = Node, this_node = MyNode, timer = Timer,
                                        other_version = Version, request_type = Type});
        {error, Reason} -> ?shutdown2(Node, Reason)
    end.

split(Node, LongOrShortNames) ->
    case string:split(atom_to_list(Node), "@") of
        [Name, Host] ->
            Dotted = lists:member($., Host),
            Ip = inet:parse_strict_address(Host),
            if
                LongOrShortNames =:= longnames, not Dotted, element(1, Ip) =/= ok -> illegal(Node, "needs a long host name");
                LongOrShortNames =:= shortnames, Dotted -> illegal(Node, "needs a short host name");
                true -> {Name, Host}
            end;
        _ -> illegal(Node, "has no host part")
    end.

illegal(Node, Why) ->
    error_logger:error_msg("** distribution: node name ~p ~s **~n", [Node, Why]),
    ?shutdown(Node).

data(Mod, Ctrl) ->
    case erlang:function_exported(Mod, hs_data, 1) andalso Mod:hs_data(Ctrl) of
        #hs_data{} = Own -> Own;
        _ -> common(Mod, Ctrl)
    end.

common(Mod, Ctrl) ->
    #hs_data{socket = Ctrl,
             this_flags = 0,
             f_send = fun Mod:send/2,
             f_recv = fun Mod:recv/3,
             f_setopts_pre_nodeup = fun(_) -> ok end,
             f_setopts_post_nodeup = fun(_) -> ok end,
             f_getll = fun(C) -> {ok, C} end,
             f_address = fun Mod:address/2,
             f_handshake_complete = fun Mod:output/3,
             mf_tick = fun Mod:tick/1,
             mf_setopts = optional(Mod, setopts),
             mf_getopts = optional(Mod, getopts),
             add_flags = ?DFLAG_SEND_SENDER,
             %% No atom cache: each packet must stand for itself on its stream.
             reject_flags = dist_util:strict_order_flags()}.

optional(Mod, Name) ->
    case erlang:function_exported(Mod, Name, 2) of
        true -> fun Mod:Name/2;
        false -> fun(_, _) -> {error, enotsup} end
    end.
