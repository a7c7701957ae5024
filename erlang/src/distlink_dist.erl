%% The carrier: erl -proto_dist distlink. Callbacks of net_kernel (OTP 25).
%% Nothing here may print through io: `user' does not run when listen is called.
-module(distlink_dist).
-behaviour(gen_dist).

-export([listen/1, listen/2, accept/1, accept_connection/5, setup/5, close/1, select/1, address/0,
         is_node_name/1, setopts/2, getopts/2, childspecs/0, refused/2, door/0]).
-export([acceptor/2, connect/4, supervisor/2, send/2, recv/3, output/3, tick/1, address/2, hs_data/1]).

-include_lib("kernel/include/net_address.hrl").
-define(ALONE, 2000). % ms that distlink has before TCP is tried
-define(VERSION, 6). % of the distribution's handshake
-define(TOKEN_LIFETIME, 10000000). % microseconds
-define(FLOOD, 100).        % datagrams without a pause
-define(WAITING, 256).      % connections whose handshake is not over,
-define(WAITING_OF_ONE, 64). % and those of one address
-define(COUNTED, [accepted, retries, bad_tokens, bad_keys, full, refused, resets, malformed]).

-record(listen, {socket, port, tcp = none}).
-define(TRIES, 20). % ports whose number TCP has taken

select(Node) ->
    Key = atom_to_list(Node),
    case {string:split(Key, "@"), distlink_config:nodes()} of
        {[_, _], #{Key := _}} -> true;
        {[_, Host], _} -> distlink_srv:wanted() orelse element(1, inet:getaddr(Host, distlink_config:family())) =:= ok;
        _ -> false
    end.

%% childspecs() -> what net_kernel's supervisor starts before it.
childspecs() -> {ok, [distlink_server:childspec()]}.

is_node_name(Node) -> dist_util:is_node_name(Node).

%% net_kernel:setopts(Node, [{priority, N}, {rate, KbitPerSecond}, {bind, Device}]):
%% the connection goes on through a new socket. For connections to come the command
%% line is what counts.
setopts(Ctrl, Options) when is_pid(Ctrl) -> distlink_controller:setopts(Ctrl, Options);
setopts(_, _) -> {error, enotsup}.

getopts(Ctrl, Names) when is_pid(Ctrl) -> distlink_controller:getopts(Ctrl, Names);
getopts(_, _) -> {error, enotsup}.

%% listen(Name) -> {ok, {Listen, Address, Creation}} | {error, Reason}
listen(Name) ->
    {ok, Host} = inet:gethostname(),
    listen(Name, Host).

listen(Name, Host) ->
    try listen1(Name, Host)
    catch Class:Reason:Stack ->
            %% net_kernel would drop where it came from.
            erlang:display({distlink_listen, Class, Reason, Stack}),
            {error, Reason}
    end.

listen1(Name, Host) ->
    _ = {distlink_config:keys(any), distlink_config:nodes(), distlink_srv:wanted()}, % what is wrong with them is better said now
    Epmd = net_kernel:epmd_module(),
    {First, Last} = ports(Epmd, Name, Host),
    case both(First, Last, ?TRIES) of
        {ok, #listen{port = Port} = Listen, Ip} ->
            case register_node(Epmd, Name, Port) of
                {ok, Creation} -> {ok, {Listen, net_address({Ip, Port}, Host), Creation}};
                Error ->
                    close(Listen),
                    refused(Error)
            end;
        {error, Reason} -> {error, {distlink, cannot_listen(First, Last), Reason}}
    end.

cannot_listen(First, Last) ->
    Ip = case distlink_config:ip() of any -> "any address"; A -> inet:ntoa(A) end,
    Ports = if
                Last > First -> io_lib:format("ports ~b to ~b", [First, Last]);
                First =:= 0 -> "any port";
                true -> io_lib:format("port ~b", [First])
            end,
    lists:flatten(["cannot listen at ", Ip, ", UDP ", Ports]).

%% refused: the port mapper takes a name once, and the second of two carriers
%% gets this answer.
refused({error, already_registered}) ->
    {error, {distlink, "epmd has this node already, by another -proto_dist: for TCP beside distlink say -distlink_tcp true", already_registered}};
refused(Error) -> Error.

%% register_node: where everybody is found without it, a port mapper that is not
%% there is no reason not to start. The creation is any but those of old nodes.
register_node(Epmd, Name, Port) ->
    case {Epmd:register_node(Name, Port, distlink_config:family()), distlink_config:port()} of
        {{error, econnrefused}, Fixed} when is_integer(Fixed) ->
            <<Creation:32>> = distlink_config:random(4),
            {ok, Creation bor 4};
        {Answer, _} -> Answer
    end.

%% both(First, Last, Tries) -> {ok, Listen, Ip} | {error, Reason}: UDP, and TCP
%% at the same number if it is wanted.
both(First, Last, Tries) ->
    case open(First, Last) of
        {ok, Socket} ->
            {ok, #{port := Port, addr := Ip}} = socket:sockname(Socket),
            case distlink_tcp:listen(Port) of
                {ok, Tcp} -> {ok, #listen{socket = Socket, port = Port, tcp = Tcp}, Ip};
                Error ->
                    _ = socket:close(Socket),
                    case Error of
                        {error, eaddrinuse} when First =:= 0, Tries > 1 -> both(0, 0, Tries - 1);
                        {error, eaddrinuse} when First > 0, Port < Last -> both(Port + 1, Last, Tries);
                        _ -> Error
                    end
            end;
        Error -> Error
    end.

ports(Epmd, Name, Host) ->
    case distlink_config:port() of
        undefined -> epmd_ports(Epmd, Name, Host);
        Port -> {Port, Port}
    end.

epmd_ports(Epmd, Name, Host) ->
    Fixed = case erlang:function_exported(Epmd, listen_port_please, 2) of
                true -> Epmd:listen_port_please(Name, Host);
                false -> {ok, 0}
            end,
    case {Fixed, application:get_env(kernel, inet_dist_listen_min)} of
        {{ok, Port}, _} when Port > 0 -> {Port, Port};
        {_, {ok, Min}} when is_integer(Min) -> {Min, application:get_env(kernel, inet_dist_listen_max, Min)};
        _ -> {0, 0}
    end.

%% The listening socket may share its port only with its own connections: two
%% nodes on one address and port would take each other's datagrams. A probe
%% without reuseport finds that out.
open(Port, Last) when Port > Last -> {error, eaddrinuse};
open(0, _) -> distlink_config:open(0, #{});
open(Port, Last) ->
    case free(Port) of
        ok -> distlink_config:open(Port, #{});
        {error, eaddrinuse} -> open(Port + 1, Last);
        Error -> Error
    end.

free(Port) ->
    {ok, S} = socket:open(distlink_config:family(), dgram, udp),
    R = socket:bind(S, distlink_config:sockaddr({distlink_config:ip(), Port})),
    _ = socket:close(S),
    case R of {ok, _} -> ok; _ -> R end.

net_address(Address, Host) ->
    #net_address{address = Address, host = Host, protocol = distlink, family = distlink_config:family()}.

address() ->
    {ok, Host} = inet:gethostname(),
    net_address(undefined, Host).

close(#listen{socket = Socket, tcp = Tcp}) ->
    _ = distlink_tcp:close(Tcp),
    socket:close(Socket).

%% ---- The door: the listening socket, stateless until a token comes back ----

accept(#listen{socket = Socket, tcp = Tcp} = Listen) ->
    ok = distlink_tcp:accept(Tcp),
    Pid = spawn_opt(?MODULE, acceptor, [self(), Listen], [link, {priority, max}]),
    _ = socket:setopt(Socket, {otp, controlling_process}, Pid),
    Pid ! {self(), go},
    Pid.

acceptor(Kernel, Listen) ->
    receive {Kernel, go} -> ok end,
    Counters = counters:new(length(?COUNTED), []),
    persistent_term:put({?MODULE, door}, Counters),
    put(door, Counters),
    accept_loop(0, Kernel, Listen, distlink_config:random(32), #{}).

%% door() -> what has met the listening socket
door() ->
    Counters = persistent_term:get({?MODULE, door}, undefined),
    maps:from_list([{What, case Counters of undefined -> 0; _ -> counters:get(Counters, I) end}
                    || {What, I} <- lists:zip(?COUNTED, lists:seq(1, length(?COUNTED)))]).

count(What) -> counters:add(get(door), place(What, ?COUNTED, 1), 1).

place(What, [What | _], I) -> I;
place(What, [_ | T], I) -> place(What, T, I + 1).

%% Known: {Address, SourceId} => Controller, own id => Controller, its monitor =>
%% these keys, and {waiting, Controller} => IP until its handshake is over. In a
%% flood (N datagrams without a pause) others have their turn.
accept_loop(?FLOOD, Kernel, Listen, Secret, Known) ->
    process_flag(priority, normal),
    accept_loop(?FLOOD + 1, Kernel, Listen, Secret, Known);
accept_loop(N, Kernel, #listen{socket = Socket} = Listen, Secret, Known0) ->
    Known = reap(Kernel, Known0),
    case socket:recvfrom(Socket, 0, [], nowait) of
        {ok, {#{addr := Ip, port := Port}, B}} ->
            accept_loop(N + 1, Kernel, Listen, Secret, door(Kernel, Listen, Secret, {Ip, Port}, B, Known));
        {select, {select_info, _, Ref}} ->
            _ = N > ?FLOOD andalso process_flag(priority, max),
            receive
                {'$socket', Socket, select, Ref} -> accept_loop(0, Kernel, Listen, Secret, Known);
                {'$socket', Socket, abort, {Ref, Reason}} -> exit(Reason);
                {proved, Ctrl} ->
                    _ = socket:cancel(Socket, {select_info, recvfrom, Ref}),
                    accept_loop(0, Kernel, Listen, Secret, proved(Kernel, Ctrl, Known));
                {'DOWN', Mon, process, _, Reason} ->
                    _ = socket:cancel(Socket, {select_info, recvfrom, Ref}),
                    accept_loop(0, Kernel, Listen, Secret, forget(Mon, Reason, Known))
            end;
        {error, closed} -> exit(closed);
        {error, _} -> accept_loop(N, Kernel, Listen, Secret, Known)
    end.

%% full: so many have not shown a certificate and the cookie yet, of this address or
%% of all, that they may be somebody who does not have it.
full({Ip, _}, Known) ->
    Waiting = [Of || {{waiting, _}, Of} <- maps:to_list(Known)],
    length(Waiting) >= ?WAITING orelse length([Of || Of <- Waiting, Of =:= Ip]) >= ?WAITING_OF_ONE.

reap(Kernel, Known) ->
    receive
        {'DOWN', Mon, process, _, Reason} -> reap(Kernel, forget(Mon, Reason, Known));
        {proved, Ctrl} -> reap(Kernel, proved(Kernel, Ctrl, Known));
        {up, Ctrl} -> reap(Kernel, maps:remove({waiting, Ctrl}, Known))
    after 0 -> Known
    end.

forget(Mon, Reason, Known) ->
    case maps:take(Mon, Known) of
        {[{From, _} | _] = Keys, Known1} ->
            case Reason of {security, Text} -> refused(From, Text); _ -> ok end,
            maps:without(Keys, Known1);
        error -> Known
    end.

%% refused({Ip, Port}, Text) says why somebody may not talk to us.
refused({Ip, Port}, Text) -> error_logger:warning_msg("** distlink: ~s, port ~b, is refused: ~s **~n", [inet:ntoa(Ip), Port, Text]).

%% proved: what connected is a peer now. Known has {unproven, Controller} until then.
proved(Kernel, Ctrl, Known) when is_map_key({unproven, Ctrl}, Known) ->
    give(Kernel, Ctrl),
    maps:remove({unproven, Ctrl}, Known);
proved(_, _, Known) -> Known.

door(Kernel, Listen, Secret, From, B, Known) ->
    case distlink_wire:parse(B) of
        {ok, {init, #{id := Id} = Params, Token, Binder}, Rest} ->
            case Known of
                #{{From, Id} := Ctrl} -> Ctrl ! {datagram, From, B}, Known;
                _ ->
                    Init = binary:part(B, 0, byte_size(B) - byte_size(Rest)),
                    init(Kernel, Listen, Secret, From, {Params, Token, Binder, Init}, Known)
            end;
        {ok, {data, Id, PN, _}, _} ->
            case Known of
                #{Id := Ctrl} -> Ctrl ! {datagram, From, B};
                _ -> count(resets), answer(Listen, From, distlink_wire:reset(Id, PN), B)
            end,
            Known;
        {ok, {version, 1, _, _, Source}, _} ->
            count(refused),
            answer(Listen, From, distlink_wire:refuse(Source, 1, <<>>), B), Known;
        _ -> count(malformed), Known
    end.

%% An answer is never longer than the question.
answer(#listen{socket = Socket}, From, Answer, Question) ->
    case iolist_size(Answer) =< byte_size(Question) of
        true -> _ = socket:sendto(Socket, Answer, distlink_config:sockaddr(From));
        false -> ok
    end.

init(_, Listen, Secret, From, {#{id := Id}, <<>>, _, Init}, Known) ->
    Token = token(Secret, From, Id, erlang:monotonic_time(microsecond)),
    count(retries),
    _ = answer(Listen, From, distlink_wire:retry(Id, Token), Init),
    Known;
init(Kernel, Listen, Secret, From, {#{id := Id} = Params, Token, Binder, Init}, Known) ->
    case valid(Secret, From, Id, Token) of
        false -> count(bad_tokens), Known;
        true ->
            case not full(From, Known) andalso secure(From, Params, Binder, Init) of
                false -> count(full), answer(Listen, From, distlink_wire:refuse(Id, 2, <<"too many have not proved themselves yet">>), Init), Known;
                {ok, Secured} -> accepted(Kernel, Listen, From, {Params, Init, Secured}, Known);
                {refuse, Text} -> count(bad_keys), answer(Listen, From, distlink_wire:refuse(Id, 9, Text), Init), Known
            end
    end.

%% secure: files that cannot be read any more keep others out, but do not end us.
secure(From, Params, Binder, Init) ->
    try distlink_link:secure(distlink_config:started(distlink_config:keys(any)), Params, Binder, Init)
    catch error:Reason ->
            refused(From, io_lib:format("~0p", [Reason])),
            {refuse, <<"this side cannot prove who it is">>}
    end.

accepted(Kernel, #listen{port = Port}, From, {#{id := Rid}, _, Secured} = Init, Known) ->
    Id = distlink_config:id(),
    {Ctrl, Mon} = distlink_controller:accept(Id, From, Port, Init, setup_time()),
    count(accepted),
    Known1 = Known#{{From, Rid} => Ctrl, Id => Ctrl, Mon => [{From, Rid}, Id, {unproven, Ctrl}, {waiting, Ctrl}],
                    {waiting, Ctrl} => element(1, From)},
    case Secured of
        {{certificate, _}, _} -> Known1#{{unproven, Ctrl} => true};
        _ -> give(Kernel, Ctrl), Known1
    end.

%% setup_time() -> milliseconds for the set-up, as net_kernel reads them
setup_time() ->
    case application:get_env(kernel, net_setuptime) of
        {ok, S} when is_number(S), S > 0 -> round(min(S, 120) * 1000);
        _ -> 7000
    end.

give(Kernel, Ctrl) -> ok = gen_dist:accepted(Kernel, Ctrl, {distlink, distlink_config:family(), fun(Pid) -> supervisor(Ctrl, Pid) end}).

token(Secret, {Ip, Port}, Id, At) ->
    M = [<<At:64/signed, Port:16, Id:64>>, << <<X:16>> || X <- tuple_to_list(Ip) >>],
    <<At:64/signed, (hmac(Secret, M))/binary>>.

valid(Secret, From, Id, <<At:64/signed, _/binary>> = Token) when byte_size(Token) =:= 24 ->
    Age = erlang:monotonic_time(microsecond) - At,
    distlink_crypto:same(Token, token(Secret, From, Id, At)) andalso Age >= 0 andalso Age =< ?TOKEN_LIFETIME;
valid(_, _, _, _) -> false.

%% HMAC-MD5 (RFC 2104): MD5 is built into the VM, and crypto may be absent.
hmac(Secret, M) ->
    Key = <<Secret/binary, 0:((64 - byte_size(Secret)) * 8)>>,
    Pad = fun(X) -> << <<(K bxor X)>> || <<K>> <= Key >> end,
    erlang:md5([Pad(16#5c), erlang:md5([Pad(16#36), M])]).

%% ---- Connections ----------------------------------------------------------

accept_connection(Acceptor, Ctrl, MyNode, Allowed, SetupTime) ->
    gen_dist:accept_connection(?MODULE, Acceptor, Ctrl, MyNode, {Allowed, SetupTime}).

setup(Node, Type, MyNode, LongOrShortNames, SetupTime) ->
    gen_dist:setup(?MODULE, Node, Type, MyNode, {LongOrShortNames, SetupTime}).

connect(Node, Name, Host, Timeout) ->
    case find(Node, Name, Host) of
        {ok, Ip, Port, Version} ->
            case reach(Ip, Port, Host, Timeout) of
                {ok, Ctrl} -> {ok, Ctrl, Version};
                {error, {security, Text} = Reason} ->
                    error_logger:warning_msg("** distlink: no connection to ~ts: ~s **~n", [Node, Text]),
                    {error, {distlink_connect, Reason}};
                {error, Reason} -> {error, {distlink_connect, Reason}}
            end;
        Error -> Error
    end.

supervisor(Ctrl, Pid) -> distlink_controller:supervisor(Ctrl, Pid).
send(Ctrl, Data) -> distlink_controller:send(Ctrl, Data).
recv(Ctrl, Length, Timeout) -> distlink_controller:recv(Ctrl, Length, Timeout).
output(Ctrl, Node, Handle) -> distlink_controller:handshake_complete(Ctrl, Node, Handle).
tick(Ctrl) -> distlink_controller:tick(Ctrl).

hs_data(Ctrl) when is_pid(Ctrl) -> undefined;
hs_data(Socket) -> distlink_tcp:hs_data(Socket).

%% reach(Ip, Port, Host, Timeout) -> {ok, Controller or TCP socket} | {error, Reason}
reach(Ip, Port, Host, Timeout) ->
    Tcp = distlink_tcp:wanted(),
    Wait = case Tcp of true -> min(Timeout, ?ALONE); false -> Timeout end,
    case distlink_controller:connect(Ip, Port, Host, Wait) of
        {ok, Ctrl} ->
            ok = distlink_controller:supervisor(Ctrl, self()),
            {ok, Ctrl};
        {error, Reason} when Tcp, Reason =:= setup_timeout; Tcp, Reason =:= econnrefused ->
            distlink_tcp:connect(Ip, Port, Timeout);
        Error -> Error
    end.

%% find(Node, Name, Host) -> {ok, Ip, Port, Version} | {error, Reason}: the map, SRV
%% records, and for what they do not say the port mapper, or DNS and the one port
%% of all nodes.
find(Node, Name, Host) ->
    case where(atom_to_list(Node), Name, Host) of
        {Where, Port} ->
            case {inet:getaddr(Where, distlink_config:family()), Port} of
                {{ok, Ip}, default} -> port(net_kernel:epmd_module(), Name, Ip);
                {{ok, Ip}, _} -> {ok, Ip, Port, ?VERSION};
                {{error, Reason}, _} -> {error, {distlink_address, Where, Reason}}
            end;
        unknown ->
            Epmd = net_kernel:epmd_module(),
            case address(Epmd, Name, Host) of
                {ok, _, _, _} = Found -> Found;
                {ok, Ip} -> port(Epmd, Name, Ip);
                Error -> {error, {distlink_address, Error}}
            end
    end.

where(Key, Name, Host) ->
    case distlink_config:nodes() of
        #{Key := Where} -> Where;
        _ -> distlink_srv:where(Name, Host)
    end.

port(Epmd, Name, Ip) ->
    case Epmd:port_please(Name, Ip) of
        {port, Port, Version} -> {ok, Ip, Port, Version};
        Error -> {error, {distlink_port, Error}}
    end.

address(Epmd, Name, Host) ->
    case erlang:function_exported(Epmd, address_please, 3) of
        true -> Epmd:address_please(Name, Host, distlink_config:family());
        false -> inet:getaddr(Host, distlink_config:family())
    end.

address(Ctrl, Node) ->
    case {distlink_controller:address(Ctrl), dist_util:split_node(Node)} of
        {{Ip, Port}, {node, _, Host}} -> net_address({Ip, Port}, Host);
        _ -> {error, no_node}
    end.
