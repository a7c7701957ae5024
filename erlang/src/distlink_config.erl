%% Configuration from the command line. Only init:get_argument/1 works when the
%% distribution starts: most applications' environments are not loaded then.
%%
%%     -distlink_psk FILE         pre-shared keys: lines "id key-in-hexadecimal"; the first is used to
%%                                connect, all are taken; read anew for each connection
%%     -distlink_cert FILE -distlink_key FILE -distlink_cacert FILE
%%                                certificates instead, in PEM; read anew for each connection
%%     -distlink_security none    no keys, on a closed VLAN; one of the three has to be said
%%     -distlink_ip ADDRESS       address to bind; default: kernel's inet_dist_use_interface, or any of
%%                                IPv4. With one of IPv6 (any: ::) the node's connections are all IPv6
%%     -distlink_priority N       SO_PRIORITY of every datagram (7 needs CAP_NET_ADMIN)
%%     -distlink_bind DEV         SO_BINDTODEVICE
%%     -distlink_rate KBIT        reserved rate on the wire, overhead included; default: congestion control
%%     -distlink_classes CLASS:OPTION=VALUE,... ...   classes that do not share this socket but have
%%                                their own: bulk, configured, control; priority, bind, rate as above
%%     -distlink_launch OPTION=VALUE,...   launch times where a rate is reserved, see distlink_launch
%%     -distlink_keepalive MS     a peer silent for this long is dead; default 900
%%     -distlink_datagram OCTETS  longest datagram; default 1472
%%     -distlink_window OCTETS    credit for the peer; default: from the receive buffer
%%     -distlink_budget OCTETS    taken out of the VM before senders are suspended; default 167772160
%%     -distlink_nodes NODE=ADDRESS[:PORT] ...   where nodes are, before any other way to find them
%%     -distlink_srv true         ask DNS for SRV records, see distlink_srv
%%     -distlink_port N           port to listen on
%%     -distlink_floor US         least 4 * rttvar in the probe time-out; default 1000
-module(distlink_config).

-export([read/0, nodes/0, port/0, flag/1, ip/0, family/0, sockaddr/1, keys/1, started/1, open/2, sockets/3, more/1, close/1, rates/1, paced/1, launch/2, socket/1, link_config/2, rate/1, random/1, id/0]).

-define(SOL_SOCKET, 1).
-define(SO_REUSEPORT, 15).
-define(ACTIVE, 128).         % datagrams received before the controller says that it wants more

-define(CLASSES, [{bulk, 1}, {configured, 2}, {control, 3}]). % and their lanes

-record(config, {ip, priority, bind, rate, classes, launch, keepalive, datagram, window, budget, floor}).

read() ->
    #config{ip = ip(),
            priority = int(distlink_priority, 0, 15, undefined),
            bind = arg(distlink_bind),
            rate = int(distlink_rate, 1, 1 bsl 40, 0),
            classes = arg_classes(),
            launch = arg_launch(),
            keepalive = int(distlink_keepalive, 20, 3600000, 900),
            datagram = int(distlink_datagram, 512, 65507, case family() of inet6 -> 1452; inet -> 1472 end),
            window = int(distlink_window, 4096, 1 bsl 31, undefined),
            budget = int(distlink_budget, 65536, 1 bsl 40, 160 bsl 20),
            floor = int(distlink_floor, 100, 1000000, 1000)}.

%% nodes() -> #{Node :: string() => {Host, Port | default}}: kernel's
%% distlink_nodes, [{Node, Host} | {Node, Host, Port}], and -distlink_nodes, which
%% may be there several times. Host is a name or an address.
nodes() ->
    Env = [env_node(E) || E <- application:get_env(kernel, distlink_nodes, [])],
    case init:get_argument(distlink_nodes) of
        {ok, Values} -> maps:from_list(Env ++ [arg_node(V) || V <- lists:append(Values)]);
        error -> maps:from_list(Env)
    end.

env_node({Node, Host}) when is_atom(Node) -> {atom_to_list(Node), {Host, default}};
env_node({Node, Host, Port}) when is_atom(Node), is_integer(Port), Port > 0, Port < 65536 -> {atom_to_list(Node), {Host, Port}};
env_node(E) -> bad_node(E).

arg_node(Text) ->
    case string:split(Text, "=") of
        [Node, Where] when Node =/= "", Where =/= "" ->
            case where(Where) of
                {"", _} -> bad_node(Text);
                {Host, ""} -> {Node, {Host, default}};
                {Host, ":" ++ Port} ->
                    try list_to_integer(Port) of
                        N when N > 0, N < 65536 -> {Node, {Host, N}};
                        _ -> bad_node(Text)
                    catch error:badarg -> bad_node(Text)
                    end;
                _ -> bad_node(Text)
            end;
        _ -> bad_node(Text)
    end.

%% where(Text) -> {Host, "" or what begins with the colon before the port}. An
%% IPv6 address with a port stands in brackets.
where("[" ++ Rest) ->
    case string:split(Rest, "]") of
        [Host, Port] -> {Host, Port};
        _ -> {"", ""}
    end;
where(Text) ->
    case {inet:parse_ipv6strict_address(Text), string:split(Text, ":")} of
        {{ok, _}, _} -> {Text, ""};
        {_, [Host, Port]} -> {Host, ":" ++ Port};
        {_, [Host]} -> {Host, ""}
    end.

-spec bad_node(string()) -> no_return().
bad_node(Text) -> erlang:error({distlink_nodes, Text, "want NODE=ADDRESS, NODE=ADDRESS:PORT or NODE=[IPv6 address]:PORT"}).

%% arg_classes() -> #{Class => #{priority, bind, rate}} of -distlink_classes
arg_classes() ->
    case init:get_argument(distlink_classes) of
        {ok, Values} -> maps:from_list([arg_class(V) || V <- lists:append(Values)]);
        error -> #{}
    end.

arg_class(Text) ->
    [Name | Options] = string:split(Text, ":"),
    Class = [C || {C, _} <- ?CLASSES, atom_to_list(C) =:= Name],
    try {hd(Class), maps:from_list([arg_option(string:split(O, "=")) || O <- string:lexemes(lists:append(Options), ",")])}
    catch error:_ -> erlang:error({distlink_classes, Text, "want bulk, configured or control, then :priority=N,bind=DEV,rate=KBIT"})
    end.

arg_option(["bind", Device]) when Device =/= "" -> {bind, Device};
arg_option(["priority", N]) -> {priority, number(N, 15)};
arg_option(["rate", N]) -> {rate, number(N, 1 bsl 40)}.

number(Text, Max) ->
    N = list_to_integer(Text),
    true = N >= 0 andalso N =< Max,
    N.

arg_launch() ->
    case arg(distlink_launch) of
        undefined -> none;
        Text ->
            Options = try [launch_option(string:split(O, "=")) || O <- string:lexemes(Text, ",")]
                      catch error:_ -> erlang:error({distlink_launch, Text, "want interval=NS,base=NS,frames=N,pace=NS,lead=NS,tai=S,deadline=true"})
                      end,
            case distlink_launch:valid(Options) of
                ok -> Options;
                {error, Reason} -> erlang:error({distlink_launch, Text, Reason})
            end
    end.

launch_option(["deadline", "true"]) -> {deadline, true};
launch_option([K, V]) ->
    [Name] = [O || O <- distlink_launch:options(), atom_to_list(O) =:= K],
    {Name, list_to_integer(V)}.

%% launch(Socket, Options) -> Launch of distlink_launch, for the socket of all
launch({_, Sender}, Options) -> distlink_launch:new(Sender, maps:get(launch, Options, (read())#config.launch), rate(Options)).

%% classes(Options) -> #{Class => Options of its own socket}
classes(#{classes := Classes}) -> maps:map(fun(_, O) when is_list(O) -> maps:from_list(O); (_, O) -> O end, Classes);
classes(_) -> (read())#config.classes.

%% rates(Options) -> #{Class => kbit/s, 0: none} of those
rates(Options) -> maps:map(fun(_, O) -> maps:get(rate, O, 0) end, classes(Options)).

%% paced(Options) -> lanes with a reserved rate
paced(Options) ->
    [0 || rate(Options) > 0] ++ [proplists:get_value(C, ?CLASSES) || {C, Rate} <- maps:to_list(rates(Options)), Rate > 0].

%% socket(Class) -> options of its socket on the command line
socket(Class) ->
    C = read(),
    maps:get(Class, C#config.classes, #{priority => C#config.priority, bind => C#config.bind}).

%% port() -> the port of -distlink_port, or undefined
port() -> int(distlink_port, 1, 65535, undefined).

%% flag(Name) -> is -Name true; it is not where it is not given.
flag(Name) ->
    case init:get_argument(Name) of
        {ok, Values} ->
            case lists:last(Values) of
                ["true"] -> true;
                ["false"] -> false;
                V -> erlang:error({Name, V, {want, [true, false]}})
            end;
        error -> false
    end.

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
                {ok, Ip} when tuple_size(Ip) =:= 4; tuple_size(Ip) =:= 8 -> Ip;
                _ -> any
            end;
        S ->
            case inet:parse_strict_address(S) of
                {ok, Ip} -> Ip;
                _ -> erlang:error({distlink_ip, S, {want, address}})
            end
    end.

%% family() -> inet | inet6: that of the address, and of all peers
family() -> family(ip()).

family(Ip) when tuple_size(Ip) =:= 8 -> inet6;
family(_) -> inet.

%% sockaddr({Ip, Port}) -> what socket calls want
sockaddr({Ip, Port}) -> #{family => family(Ip), addr => Ip, port => Port}.

%% keys(Host) -> [{Id, Key}] | {certificate, Identity} | [], as the command line
%% says; a peer's certificate has to be for Host (any: whatever it is for).
keys(Host) ->
    case {arg(distlink_psk), files(), arg(distlink_security)} of
        {undefined, none, "none"} -> [];
        {undefined, none, undefined} ->
            erlang:error({distlink, "give -distlink_psk FILE, or -distlink_cert, -distlink_key and -distlink_cacert, or -distlink_security none for a closed network"});
        {File, none, undefined} ->
            is_there([crypto]) orelse erlang:error({distlink_psk, "needs the crypto application (Debian: erlang-crypto; in a release: among its applications)"}),
            case prim_file:read_file(File) of
                {ok, B} -> key_lines(File, 1, string:split(B, "\n", all));
                {error, Reason} -> erlang:error({distlink_psk, File, Reason})
            end;
        {undefined, Files, undefined} ->
            is_there([crypto, asn1rt_nif, public_key]) orelse
                erlang:error({distlink_cert, "needs the public_key application (Debian: erlang-public-key; in a release: among its applications)"}),
            {certificate, distlink_certificate:identity(started(Files), Host)};
        {undefined, none, Security} -> erlang:error({distlink_security, Security, "want none"});
        _ -> erlang:error({distlink, "of -distlink_psk, -distlink_cert and -distlink_security one is wanted"})
    end.

files() ->
    case [arg(A) || A <- [distlink_cert, distlink_key, distlink_cacert]] of
        [undefined, undefined, undefined] -> none;
        Files ->
            lists:member(undefined, Files) andalso erlang:error({distlink_cert, "-distlink_cert, -distlink_key and -distlink_cacert are all wanted"}),
            list_to_tuple(Files)
    end.

%% In embedded mode a module with an on_load function, as crypto is, is not
%% there yet when the distribution starts, but its file is known.
is_there(Modules) -> lists:all(fun is_one_there/1, Modules).

is_one_there(Module) ->
    case code:ensure_loaded(Module) of
        {module, _} -> true;
        {error, embedded} -> is_list(code:where_is_file(atom_to_list(Module) ++ ".beam"));
        _ -> false
    end.

%% started(Keys) -> Keys: a connection that uses keys before the boot script has
%% come to the on_load functions has them run now.
started([]) -> [];
started(Keys) ->
    erlang:module_loaded(crypto) orelse init:run_on_load_handlers(),
    Keys.

key_lines(File, _, []) -> erlang:error({distlink_psk, File, "no key"});
key_lines(File, N, Lines) ->
    case [K || {I, Line} <- lists:zip(lists:seq(N, length(Lines)), Lines), K <- key_line(File, I, Line)] of
        [] -> key_lines(File, N, []);
        Keys -> Keys
    end.

key_line(File, N, Line0) ->
    [Line | _] = string:split(Line0, "#"),
    case string:lexemes(Line, " \t\r") of
        [] -> [];
        [Id, Hex] when byte_size(Id) =< 32, byte_size(Hex) >= 32, byte_size(Hex) rem 2 =:= 0 ->
            try [{Id, << <<(binary_to_integer(H, 16))>> || <<H:2/binary>> <= Hex >>}]
            catch error:badarg -> erlang:error({distlink_psk, File, N, "the key is not hexadecimal"})
            end;
        [_, _] -> erlang:error({distlink_psk, File, N, "want an id of at most 32 and a key of at least 16 octets"});
        _ -> erlang:error({distlink_psk, File, N, "want a key id and a key in hexadecimal"})
    end.

%% rate(Options) -> kbit/s, 0: none
rate(#{rate := Rate}) when is_integer(Rate), Rate >= 0 -> Rate;
rate(_) -> (read())#config.rate.

%% open(Port, Options) -> {ok, Socket} | {error, Reason}: to listen. All options are
%% set before the first datagram. reuseport lets each accepted connection have its
%% own connected socket on the listening port.
open(Port, Options) ->
    case socket:open(family(), dgram, udp) of
        {ok, S} ->
            Steps = [fun() -> socket:setopt(S, {socket, reuseport}, true) end,
                     fun() -> options(S, Options) end,
                     fun() -> only(S, family()) end,
                     fun() -> bound(socket:bind(S, sockaddr({ip(Options), Port}))) end],
            case first_error(Steps) of
                ok -> {ok, S};
                Error -> _ = socket:close(S), Error
            end;
        Error -> Error
    end.

%% sockets(Port, Peer, Options) -> {ok, Socket, #{Lane => Socket of a class}} | {error, Reason}
%% All are at one address, so that the peer sees one. What comes goes to any of them.
sockets(Port, Peer, Options) ->
    case {open(Port, Peer, Options), maps:to_list(classes(Options))} of
        {{ok, S}, []} -> {ok, S, #{}};
        {{ok, {_, Sender} = S}, Classes} ->
            {ok, #{addr := Ip, port := Own}} = socket:sockname(Sender),
            case own(Classes, Own, Peer, Ip, #{}) of
                {ok, Sockets} -> {ok, S, Sockets};
                Error -> close(S), Error
            end;
        {Error, _} -> Error
    end.

own([], _, _, _, Sockets) -> {ok, Sockets};
own([{Class, Options} | T], Port, Peer, Ip, Sockets) ->
    All = maps:merge(#{priority => undefined, bind => undefined}, Options),
    case open(Port, Peer, All#{ip => Ip}) of
        {ok, S} -> own(T, Port, Peer, Ip, Sockets#{proplists:get_value(Class, ?CLASSES) => S});
        {error, Reason} ->
            lists:foreach(fun close/1, maps:values(Sockets)),
            {error, {Class, Reason}}
    end.

%% open(Port, Peer, Options) -> {ok, {Receiver, Sender}} | {error, Reason}: for one
%% connection. Both are one socket. The inet driver receives: schedulers wait for
%% its datagrams themselves, where those of a `socket` cost one more wake-up of a
%% thread, half the time of a call between idle nodes. What sends is a `socket`,
%% as that has sendmsg.
open(Port, {Ip, PeerPort}, Options) ->
    Raw = [{raw, ?SOL_SOCKET, ?SO_REUSEPORT, <<1:32/native>>} | [{ipv6_v6only, true} || family(Ip) =:= inet6]],
    case gen_udp:open(Port, [family(Ip), binary, {active, false}, {ip, ip(Options)}, {buffer, 65536}, {read_packets, 32} | Raw]) of
        {ok, Receiver} ->
            {ok, Fd} = inet:getfd(Receiver),
            {ok, Sender} = socket:open(Fd, #{dup => true}),
            Steps = [fun() -> options(Sender, Options) end,
                     fun() -> socket:connect(Sender, sockaddr({Ip, PeerPort})) end,
                     fun() -> joined(Sender) end,
                     fun() -> inet:setopts(Receiver, [{active, ?ACTIVE}]) end],
            case first_error(Steps) of
                ok -> {ok, {Receiver, Sender}};
                Error -> close({Receiver, Sender}), Error
            end;
        Error -> Error
    end.

%% more(Receiver): it has given as many datagrams as it was allowed to.
more(Receiver) -> inet:setopts(Receiver, [{active, ?ACTIVE}]).

%% close closes the receiver first: socket:close makes its descriptor block, and
%% with it what it is a duplicate of, from which a scheduler would then read, and wait.
close({Receiver, Sender}) ->
    ok = gen_udp:close(Receiver),
    socket:close(Sender).

ip(Options) -> maps:get(ip, Options, (read())#config.ip).

options(S, Options) ->
    C = read(),
    first_error([fun() -> opt(S, priority, maps:get(priority, Options, C#config.priority)) end,
                 fun() -> opt(S, bindtodevice, maps:get(bind, Options, C#config.bind)) end,
                 fun() -> buffers(S) end]).

%% only: an IPv6 socket takes no IPv4.
only(S, inet6) -> socket:setopt(S, {ipv6, v6only}, true);
only(_, inet) -> ok.

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

%% As much as the kernel gives: SO_RCVBUFFORCE (33) goes beyond rmem_max for a
%% privileged node and is refused for others.
buffers(S) ->
    Want = 4 bsl 20,
    case socket:setopt_native(S, {socket, 33}, <<Want:32/native>>) of
        ok -> ok;
        _ -> _ = socket:setopt(S, {socket, rcvbuf}, Want)
    end,
    _ = socket:setopt(S, {socket, sndbuf}, 1 bsl 20),
    %% The path's MTU is searched for: no fragments, and no router's word.
    _ = socket:setopt(S, {ip, mtu_discover}, probe),
    _ = socket:setopt(S, {ipv6, mtu_discover}, probe),
    ok.

%% The kernel may join datagrams of a connection (UDP_GRO, 104): packets say
%% their own length. Where it is refused they come one by one.
joined(S) ->
    _ = socket:setopt_native(S, {udp, 104}, <<1:32/native>>),
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
       rate => C#config.rate, lanes => rates(#{}), ipv6 => family() =:= inet6, setup => SetupUs, random => fun random/1},
     C#config.budget}.

%% id() -> a connection id
id() ->
    <<Id:64>> = random(8),
    max(Id, 1).

%% random(Octets) -> binary, without the crypto application.
random(N) ->
    {ok, Fd} = prim_file:open("/dev/urandom", [read, raw, binary]),
    {ok, B} = prim_file:read(Fd, N),
    ok = prim_file:close(Fd),
    N = byte_size(B),
    B.
