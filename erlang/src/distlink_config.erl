%% Configuration from the command line. Only init:get_argument/1 works when the
%% distribution starts: most applications' environments are not loaded then.
%%
%%     -distlink_ip A.B.C.D       address to bind; default: kernel's inet_dist_use_interface, or any
%%     -distlink_priority N       SO_PRIORITY of every datagram (7 needs CAP_NET_ADMIN)
%%     -distlink_bind DEV         SO_BINDTODEVICE
%%     -distlink_rate KBIT        rate on the wire, overhead included; default unlimited
%%     -distlink_keepalive MS     a peer silent for this long is dead; default 1500
%%     -distlink_datagram OCTETS  longest datagram; default 1400
%%     -distlink_window OCTETS    credit for the peer; default: from the receive buffer
%%     -distlink_budget OCTETS    taken out of the VM before senders are suspended; default 167772160
%%     -distlink_floor US         least 4 * rttvar in the probe time-out; default 1000
-module(distlink_config).

-export([read/0, ip/0, open/2, link_config/2, random/1]).

-record(config, {ip, priority, bind, rate, keepalive, datagram, window, budget, floor}).

read() ->
    #config{ip = ip(),
            priority = int(distlink_priority, 0, 15, undefined),
            bind = arg(distlink_bind),
            rate = int(distlink_rate, 1, 1 bsl 40, 0),
            keepalive = int(distlink_keepalive, 20, 3600000, 1500),
            datagram = int(distlink_datagram, 512, 65507, 1400),
            window = int(distlink_window, 4096, 1 bsl 31, undefined),
            budget = int(distlink_budget, 65536, 1 bsl 40, 160 bsl 20),
            floor = int(distlink_floor, 100, 1000000, 1000)}.

arg(Name) ->
    case init:get_argument(Name) of
        {ok, Values} ->
            case lists:last(Values) of
                [V] -> V;
                V -> erlang:error({badarg, Name, V})
            end;
        error -> undefined
    end.

int(Name, Min, Max, Default) ->
    case arg(Name) of
        undefined -> Default;
        S ->
            try list_to_integer(S) of
                N when N >= Min, N =< Max -> N;
                _ -> erlang:error({Name, S, {want, Min, Max}})
            catch error:badarg -> erlang:error({Name, S, {want, Min, Max}})
            end
    end.

ip() ->
    case arg(distlink_ip) of
        undefined ->
            case application:get_env(kernel, inet_dist_use_interface) of
                {ok, Ip} when tuple_size(Ip) =:= 4 -> Ip;
                _ -> any
            end;
        S ->
            case inet:parse_ipv4strict_address(S) of
                {ok, Ip} -> Ip;
                _ -> erlang:error({distlink_ip, S, {want, ipv4_address}})
            end
    end.

%% open(Port, Connected) -> {ok, Socket} | {error, Reason}
%% All options are set before the first datagram. reuseport lets each accepted
%% connection have its own connected socket on the listening port.
open(Port, Connect) ->
    #config{ip = Ip, priority = Priority, bind = Bind} = read(),
    case socket:open(inet, dgram, udp) of
        {ok, S} ->
            Steps = [fun() -> opt(S, priority, Priority) end,
                     fun() -> opt(S, bindtodevice, Bind) end,
                     fun() -> socket:setopt(S, {socket, reuseport}, true) end,
                     fun() -> buffers(S) end,
                     fun() -> bound(socket:bind(S, #{family => inet, addr => Ip, port => Port})) end,
                     fun() -> connect(S, Connect) end],
            case first_error(Steps) of
                ok -> {ok, S};
                Error -> _ = socket:close(S), Error
            end;
        Error -> Error
    end.

first_error([]) -> ok;
first_error([F | T]) ->
    case F() of
        ok -> first_error(T);
        Error -> Error
    end.

opt(_, _, undefined) -> ok;
opt(S, Name, Value) ->
    case socket:setopt(S, {socket, Name}, Value) of
        ok -> ok;
        {error, Reason} -> {error, {Name, Value, Reason}}
    end.

bound(ok) -> ok;
bound({ok, _}) -> ok;
bound(Error) -> Error.

connect(_, none) -> ok;
connect(S, {Ip, Port}) -> socket:connect(S, #{family => inet, addr => Ip, port => Port}).

%% As much as the kernel gives: SO_RCVBUFFORCE (33) goes beyond rmem_max for a
%% privileged node and is refused for others.
buffers(S) ->
    Want = 4 bsl 20,
    case socket:setopt_native(S, {socket, 33}, <<Want:32/native>>) of
        ok -> ok;
        _ -> _ = socket:setopt(S, {socket, rcvbuf}, Want)
    end,
    _ = socket:setopt(S, {socket, sndbuf}, 1 bsl 20),
    ok.

%% link_config(Socket, Setup) -> {Config of distlink_link, Budget}. The window is
%% an eighth of the receive buffer: the kernel charges a small datagram for
%% several times its length.
link_config(S, SetupUs) ->
    C = read(),
    Window = case C#config.window of
                 undefined ->
                     case socket:getopt(S, {socket, rcvbuf}) of
                         {ok, N} -> min(max(N div 4, 32768), 1 bsl 20);
                         _ -> 65536
                     end;
                 W -> W
             end,
    {#{max_datagram => C#config.datagram, window => Window, ack_delay => 1000,
       keepalive => C#config.keepalive * 1000, floor => C#config.floor, stall => 10000000,
       rate => C#config.rate, setup => SetupUs},
     C#config.budget}.

%% random(Octets) -> binary, without the crypto application.
random(N) ->
    {ok, Fd} = prim_file:open("/dev/urandom", [read, raw, binary]),
    {ok, B} = prim_file:read(Fd, N),
    ok = prim_file:close(Fd),
    N = byte_size(B),
    B.
