%% The distribution controller: one process that owns the socket of one
%% connection, runs distlink_link and moves packets between it and the VM.
%%
%%     VM --dist_ctrl_get_data--> distlink_stream --> distlink_link --> socket
%%     VM <--dist_ctrl_put_data--------------------- distlink_link <-- socket
-module(distlink_controller).

-export([connect/4, accept/5, supervisor/2, send/2, recv/3, handshake_complete/3, tick/1, address/1, stats/1, rebind/2,
         setopts/2, getopts/2]).
-export([init_client/4, init_server/6]).

-define(PULL, 128).   % VM packets taken before datagrams are looked at again
-define(DRAIN, 64).   % datagrams taken before the VM is looked at again
-define(EVENTS, 1000000). % microseconds between two events of a kind
-define(REFUSED, 2).
-define(UDP_SEGMENT, 103).
-define(TRAIN, 64).   % datagrams that the kernel cuts from one send, and their octets
-define(TRAIN_OCTETS, 64000).
-define(PATIENCE, 50). % ms that a send waits for room

%% own: #{Lane => {Receiver, Socket} of a class}.
-record(c, {receiver, socket, door, own = #{}, port, peer, link, budget, supervisor, mon, handle, streams,
            received = queue:new(), waiting, more_vm = false,
            phase = connecting, named = false, refused = 0, full = 0, vm_full = false, dropped_send = 0,
            trains = true, paced = [], launch = none, n_trains = 0, suspended_at = 0, congested_at = 0, resent = 0,
            options = #{}}).

%% connect(Ip, Port, Host, SetupMs) -> {ok, Controller} | {error, Reason}: Host is
%% what a certificate has to be for.
connect(Ip, Port, Host, SetupMs) ->
    {Pid, Mon} = start(init_client, [self(), {Ip, Port}, Host, SetupMs]),
    receive
        {Pid, up} -> erlang:demonitor(Mon, [flush]), {ok, Pid};
        {'DOWN', Mon, process, Pid, Reason} -> {error, Reason}
    end.

%% accept(Id, Peer, ListenPort, {Params, Init, Secured}, SetupMs) -> Controller and
%% its monitor. The INIT has been checked. With certificates the controller says
%% {proved, Controller} when its peer has proved itself.
accept(Id, Peer, ListenPort, Init, SetupMs) ->
    start(init_server, [Id, Peer, ListenPort, Init, SetupMs, self()]).

start(Function, Args) ->
    erlang:spawn_opt(?MODULE, Function, Args,
                     %% Packets are binaries. By default those of a long queue make every
                     %% collection a whole one, which copies the queue again and again.
                     [monitor, {priority, high}, {message_queue_data, off_heap}, {fullsweep_after, 30},
                      {min_bin_vheap_size, 1 bsl 25}, {min_heap_size, 1 bsl 14}]).

%% supervisor(Controller, Pid): Pid and the controller live and die together.
supervisor(Ctrl, Pid) -> call(Ctrl, {supervisor, Pid}).
send(Ctrl, Data) -> call(Ctrl, {send, Data}).
recv(Ctrl, _Length, Timeout) -> call(Ctrl, recv, Timeout).
handshake_complete(Ctrl, Node, Handle) -> call(Ctrl, {handshake_complete, Node, Handle}).
address(Ctrl) -> call(Ctrl, address).
stats(Ctrl) -> call(Ctrl, stats, 5000).
tick(Ctrl) -> Ctrl ! tick, ok.

%% rebind(Controller, Options) -> ok | {error, Reason}: the connection goes on
%% through new sockets. Options: priority, bind, ip (only where we connected),
%% rate (kbit/s, 0: congestion control), classes (#{Class => [{priority | bind | rate,
%% Value}]}, those with a socket of their own), launch (see distlink_launch), as on
%% the command line; what is not there is as it was on the command line.
rebind(Ctrl, Options) -> call(Ctrl, {rebind, Options}).

%% setopts(Controller, Options): rebind with those set before and these.
setopts(Ctrl, Options) ->
    case [O || O <- Options, not settable(O)] of
        [] -> call(Ctrl, {setopts, maps:from_list(Options)});
        Bad -> {error, {badarg, Bad}}
    end.

settable({priority, N}) -> is_integer(N) andalso N >= 0 andalso N =< 15;
settable({rate, N}) -> is_integer(N) andalso N >= 0;
settable({bind, Device}) -> is_list(Device);
settable({launch, none}) -> true;
settable({launch, Launch}) -> distlink_launch:valid(Launch) =:= ok;
settable({classes, #{} = Classes}) ->
    lists:all(fun({Class, Options}) ->
                      lists:member(Class, [bulk, configured, control]) andalso is_list(Options) andalso
                          lists:all(fun(O) -> settable(O) andalso lists:member(element(1, O), [priority, rate, bind]) end, Options)
              end, maps:to_list(Classes));
settable(_) -> false.

%% getopts(Controller, Names) -> {ok, [{Name, Value}]} of those that have been set
getopts(Ctrl, Names) -> call(Ctrl, {getopts, Names}).

call(Ctrl, Request) -> call(Ctrl, Request, infinity).
call(Ctrl, Request, Timeout) ->
    Mon = erlang:monitor(process, Ctrl),
    Ctrl ! {call, {self(), Mon}, Request},
    receive
        {Mon, Reply} -> erlang:demonitor(Mon, [flush]), Reply;
        {'DOWN', Mon, process, _, _} -> {error, closed}
    after Timeout ->
            erlang:demonitor(Mon, [flush]),
            {error, timeout}
    end.

reply({Pid, Ref}, Reply) -> Pid ! {Ref, Reply}, ok.

%% Since the VM started: monotonic time may be negative.
now_us() -> erlang:monotonic_time(microsecond) - get(distlink_start).

clock() ->
    put(distlink_start, erlang:convert_time_unit(erlang:system_info(start_time), native, microsecond) - 1).

init_client(Parent, Peer, Host, SetupMs) ->
    process_flag(trap_exit, true),
    _ = clock(),
    Mon = erlang:monitor(process, Parent),
    case distlink_config:sockets(0, Peer, #{}) of
        {ok, {Receiver, Socket}, Own} ->
            {Config, Budget} = distlink_config:link_config(Socket, SetupMs * 1000),
            C = #c{receiver = Receiver, socket = Socket, own = Own, port = 0, peer = Peer, budget = Budget, supervisor = Parent, mon = Mon,
                   paced = distlink_config:paced(#{}), launch = distlink_config:launch({Receiver, Socket}, #{}),
                   link = distlink_link:client(Config#{keys => distlink_config:started(distlink_config:keys(Host))}, distlink_config:id(), now_us()), streams = distlink_stream:new()},
            connecting(flush(C), Parent);
        {error, Reason} -> exit(Reason)
    end.

%% The loop until the peer has answered.
connecting(C, Parent) ->
    case distlink_link:state(C#c.link) of
        open ->
            Parent ! {self(), up},
            loop(C#c{phase = handshake});
        authenticating -> connecting(step(C), Parent);
        connecting ->
            %% One ICMP error is a hint; when each question again gets one, nobody is there.
            _ = C#c.refused >= ?REFUSED andalso exit(econnrefused),
            connecting(step(C), Parent)
    end.

init_server(Id, Peer, ListenPort, {Params, Init, Secured}, SetupMs, Acceptor) ->
    process_flag(trap_exit, true),
    _ = clock(),
    Mon = erlang:monitor(process, Acceptor),
    case distlink_config:sockets(ListenPort, Peer, #{}) of
        {ok, {Receiver, Socket}, Own} ->
            {Config, Budget} = distlink_config:link_config(Socket, SetupMs * 1000),
            case distlink_link:server(Config, Id, Params, Init, Secured, Peer, now_us()) of
                error -> exit(public_key);
                Link ->
                    C = #c{receiver = Receiver, socket = Socket, own = Own, port = ListenPort, peer = Peer, budget = Budget, door = Acceptor, supervisor = Acceptor, mon = Mon,
                           paced = distlink_config:paced(#{}), launch = distlink_config:launch({Receiver, Socket}, #{}), link = Link, streams = distlink_stream:new(), phase = first_phase(Link)},
                    loop(transmit([distlink_link:accept_packet(Link)], C))
            end;
        {error, Reason} -> exit(Reason)
    end.

first_phase(Link) ->
    case distlink_link:state(Link) of
        authenticating -> authenticating;
        open -> handshake
    end.

loop(C) -> loop(step(C)).

%% step waits for one thing, then does all there is to do and sends once: that
%% is where small packets come to share a datagram.
step(C0) ->
    C1 = receive Message -> handle(Message, C0) after timeout(C0) -> C0 end,
    C2 = drain(?DRAIN, C1),
    #c{link = Link} = C3 = pull(C2),
    C4 = follow(put_data(C3#c{link = distlink_link:timers(now_us(), Link)})),
    %% Credit or acknowledgements may have made room for more of the VM's data.
    Now = now_us(),
    check(congested(Now, flush(Now, C4))).

%% follow connects the socket to where the peer is now.
follow(#c{link = L, peer = Peer} = C) ->
    case distlink_link:peer(L) of
        same -> C;
        Peer -> C;
        To ->
            {_, C1} = reopen(To, C#c.options, C),
            C1#c{peer = To}
    end.

%% reopen(Peer, Options, C) -> {ok | {error, Reason}, C}. On an error the old
%% sockets stay: silence decides.
reopen(Peer, Options, #c{port = Port} = C) ->
    case distlink_config:sockets(Port, Peer, Options) of
        {ok, {Receiver, Socket}, Own} ->
            close_sockets(C),
            {ok, C#c{receiver = Receiver, socket = Socket, own = Own, trains = true, paced = distlink_config:paced(Options),
                   launch = distlink_config:launch({Receiver, Socket}, Options)}};
        Error -> {Error, C}
    end.

close_sockets(#c{receiver = R, socket = S, own = Own}) ->
    lists:foreach(fun distlink_config:close/1, [{R, S} | maps:values(Own)]).

timeout(#c{more_vm = true}) -> 0;
timeout(#c{link = Link, vm_full = Full, budget = Budget}) ->
    case distlink_link:deadline(Link) of
        infinity -> infinity;
        At ->
            case Full andalso distlink_link:queued(Link) < Budget of
                true -> 0;
                false -> max(0, (At - now_us() + 999) div 1000)
            end
    end.

handle({udp, _, Ip, Port, B}, C) -> datagram({Ip, Port}, B, C);
handle({udp_passive, R}, C) -> more(R, C);
%% An ICMP error is a hint that somebody may have sent: silence, or the peer's
%% own RESET, decides.
handle({udp_error, R, _}, C) -> more(R, C#c{refused = C#c.refused + 1});
handle({udp_closed, R}, #c{receiver = R}) -> exit({distlink_socket, closed});
handle(dist_data, C) -> C#c{more_vm = true};
handle(tick, #c{handle = undefined} = C) -> C;
handle(tick, #c{link = L} = C) -> C#c{link = distlink_link:write(now_us(), 0, control, none, {0, <<>>}, L)};
handle({classes, Classes}, C) -> C#c{streams = distlink_stream:classes(Classes, C#c.streams)};
handle({call, From, Request}, C) -> request(Request, From, C);
%% What met the listening socket: a repeated INIT before ours was connected, or
%% the peer at a new address.
handle({datagram, From, B}, #c{link = L} = C) -> C#c{link = distlink_link:datagram(now_us(), From, B, L)};
handle({'DOWN', Mon, process, _, Reason}, #c{mon = Mon} = C) -> orderly(Reason, C);
%% From the supervisor, or from net_kernel, which waits for our end: it links
%% to the controller and disconnects a node by exit(Controller, disconnect).
handle({'EXIT', _, Reason}, C) -> orderly(Reason, C);
handle(_, C) -> C.

request({supervisor, Pid}, From, C) ->
    erlang:demonitor(C#c.mon, [flush]),
    link(Pid),
    reply(From, ok),
    C#c{supervisor = Pid, mon = undefined};
request({send, Data}, From, #c{link = L} = C) ->
    reply(From, ok),
    C#c{link = distlink_link:write(now_us(), 0, control, none, {iolist_size(Data), Data}, L)};
request(recv, From, #c{received = Q} = C) ->
    case queue:out(Q) of
        {{value, M}, Q1} -> reply(From, {ok, binary_to_list(iolist_to_binary(M))}), C#c{received = Q1};
        {empty, _} -> C#c{waiting = From}
    end;
request({handshake_complete, Node, Handle}, From, #c{link = L} = C) ->
    ok = erlang:dist_ctrl_input_handler(Handle, self()),
    _ = erlang:dist_ctrl_set_opt(Handle, get_size, true),
    reply(From, ok),
    erlang:dist_ctrl_get_data_notification(Handle),
    distlink:register(Node, self(), C#c.peer),
    _ = is_pid(C#c.door) andalso (C#c.door ! {up, self()}),
    C#c{handle = Handle, phase = node, link = distlink_link:barrier(L)};
request({setopts, Options}, From, C) -> request({rebind, maps:merge(C#c.options, Options)}, From, C);
request({getopts, Names}, From, C) ->
    reply(From, {ok, maps:to_list(maps:with(Names, C#c.options))}),
    C;
request({rebind, Options}, From, #c{peer = Peer, port = Port} = C) ->
    %% A listener's connection keeps the address that its peer knows.
    Allowed = case Port of 0 -> Options; _ -> maps:remove(ip, Options) end,
    {Answer, C1} = reopen(Peer, Allowed, C),
    reply(From, Answer),
    case Answer of
        ok ->
            Link = distlink_link:touch(now_us(), distlink_config:rate(Options), distlink_config:rates(Options), C1#c.link),
            C1#c{options = Allowed, link = Link};
        _ -> C1
    end;
request(address, From, C) -> reply(From, C#c.peer), C;
request(stats, From, #c{link = L} = C) ->
    S = distlink_link:stats(L),
    reply(From, {ok, S#{peer => C#c.peer, budget => C#c.budget, vm_suspended => C#c.full, unknown => distlink_stream:unknown(C#c.streams),
                        icmp_refused => C#c.refused, trains => C#c.n_trains, launch => distlink_launch:stats(C#c.launch), send_errors => C#c.dropped_send}}),
    C;
request(_, From, C) -> reply(From, {error, badarg}), C.

%% drain takes the datagrams that are there.
drain(0, C) -> C;
drain(N, C) ->
    receive
        {udp, _, Ip, Port, B} -> drain(N - 1, datagram({Ip, Port}, B, C))
    after 0 -> C
    end.

datagram(Peer, B, #c{peer = Peer, link = L} = C) -> C#c{link = distlink_link:datagram(now_us(), same, B, L)};
datagram(From, B, #c{link = L} = C) -> C#c{link = distlink_link:datagram(now_us(), From, B, L)}.

%% more: the socket goes on to receive, if it is not one that has been closed.
more(R, #c{receiver = R} = C) ->
    ok = distlink_config:more(R),
    C;
more(R, #c{own = Own} = C) ->
    _ = [ok = distlink_config:more(R) || {Of, _} <- maps:values(Own), Of =:= R],
    C.

%% put_data hands what has arrived to the VM, or to the handshake before that.
put_data(#c{link = L0} = C) ->
    case distlink_link:deliveries(L0) of
        {[], _} -> put_early(C);
        {Ms, L} -> put_data(Ms, C#c{link = L})
    end.

%% What came before the handshake was complete must not wait for what comes
%% after it: there may be nothing.
put_early(#c{handle = undefined} = C) -> C;
put_early(#c{received = Q} = C) ->
    case queue:is_empty(Q) of
        true -> C;
        false -> put_data([], C)
    end.

put_data(Ms, #c{handle = undefined, received = Q} = C) ->
    case name_is_proven(Ms, C) of
        ok -> wake(C#c{named = true, received = lists:foldl(fun queue:in/2, Q, Ms)});
        {error, Text} ->
            distlink_dist:refused(C#c.peer, Text),
            C#c{link = distlink_link:close(now_us(), 9, Text, C#c.link)}
    end;
put_data(Ms, #c{handle = H, received = Q} = C) ->
    %% Packets that came between the last handshake message and its completion.
    lists:foreach(fun(M) -> erlang:dist_ctrl_put_data(H, M) end, queue:to_list(Q)),
    lists:foreach(fun(M) -> erlang:dist_ctrl_put_data(H, M) end, Ms),
    C#c{received = queue:new()}.

%% name_is_proven: who connects says its name first, which has to be of a host that
%% its certificate is for. Without that who has one could be any node.
name_is_proven([Name | _], #c{named = false, port = Port, link = L}) when Port =/= 0 ->
    case {distlink_link:chain(L), iolist_to_binary(Name)} of
        {[], _} -> ok;
        {[Leaf | _], <<$N, _:96, N:16, Node:N/binary, _/binary>>} -> of_host(Leaf, Node);
        {[Leaf | _], <<$n, _:48, Node/binary>>} -> of_host(Leaf, Node);
        _ -> {error, <<"no name of a node">>}
    end;
name_is_proven(_, _) -> ok.

of_host(Leaf, Node) -> distlink_certificate:is_for(Leaf, binary_to_list(lists:last(binary:split(Node, <<"@">>)))).

wake(#c{waiting = undefined} = C) -> C;
wake(#c{waiting = From} = C) -> request(recv, From, C#c{waiting = undefined}).

%% pull takes what the VM has, as long as the budget lasts: what stays with the
%% VM is one queue in which everybody waits, what is here is many streams.
pull(#c{more_vm = false, vm_full = false} = C) -> C;
pull(#c{handle = undefined} = C) -> C;
pull(C) -> pull(?PULL, now_us(), C#c{vm_full = false}).

pull(0, _, C) -> C#c{more_vm = true};
pull(N, Now, #c{handle = H, link = L, budget = Budget} = C) ->
    case distlink_link:queued(L) >= Budget of
        true -> suspended(Now, C#c{more_vm = false, vm_full = true, full = C#c.full + 1});
        false ->
            case erlang:dist_ctrl_get_data(H) of
                none ->
                    erlang:dist_ctrl_get_data_notification(H),
                    C#c{more_vm = false};
                {Size, Data} ->
                    {Stream, Class, Fence, Streams} = distlink_stream:classify(Data, C#c.streams),
                    pull(N - 1, Now, C#c{link = distlink_link:write(Now, Stream, Class, Fence, {Size, Data}, L), streams = Streams})
            end
    end.

%% suspended and congested say so, at most once a second each.
suspended(Now, #c{suspended_at = At} = C) when Now < At -> C;
suspended(Now, C) ->
    distlink_server:event(suspended, #{queued => distlink_link:queued(C#c.link)}, #{node => get(distlink_node)}),
    C#c{suspended_at = Now + ?EVENTS}.

congested(Now, #c{handle = Handle, congested_at = At} = C) when Handle =:= undefined; Now < At -> C;
congested(Now, #c{link = L, resent = Before} = C) ->
    case distlink_link:stats(L) of
        #{retransmitted := Before} -> C#c{congested_at = Now + ?EVENTS};
        #{retransmitted := N} = S ->
            distlink_server:event(congestion, (maps:with([rtt_us, congestion_window], S))#{retransmitted => N - Before},
                                  #{node => get(distlink_node)}),
            C#c{congested_at = Now + ?EVENTS, resent = N}
    end.

flush(C) -> flush(now_us(), C).

flush(Now, #c{link = L0} = C) ->
    {Datagrams, L} = distlink_link:flush(Now, L0),
    transmit(Datagrams, C#c{link = L}).

%% transmit sends datagrams, each by the socket of its lane.
transmit([], C) -> C;
transmit([{lane, N, _} | _] = Bs, #c{own = Own} = C) ->
    {Mine, Rest} = lists:splitwith(fun({lane, M, _}) -> M =:= N; (_) -> false end, Bs),
    transmit(Rest, transmit([B || {lane, _, B} <- Mine], {element(2, map_get(N, Own)), trains(N, C), 0}, C));
transmit(Bs, #c{socket = S} = C) ->
    {Mine, Rest} = lists:splitwith(fun({lane, _, _}) -> false; (_) -> true end, Bs),
    transmit(Rest, transmit(Mine, {S, trains(0, C), ?PATIENCE}, C)).

trains(N, #c{trains = Trains, paced = Paced}) -> Trains andalso not lists:member(N, Paced).

%% transmit(Datagrams, {Socket, Trains, Milliseconds that may be waited for room}, C):
%% those of one length in a row, and a shorter one behind them, go with one call
%% (UDP_SEGMENT) where the kernel can, and where no rate is reserved, whose
%% shaper wants frames and not trains of them. For the queue of one class the
%% others do not wait: what it has no room for is as if lost on the way.
transmit([], _, C) -> C;
transmit([B1, B2 | T] = Bs, {_, true, _} = Out, C) when is_binary(B1), is_binary(B2), byte_size(B2) =< byte_size(B1) ->
    Size = byte_size(B1),
    case train(Size, ?TRAIN_OCTETS div Size, [B1], [B2 | T]) of
        {[_], _} -> transmit_one(Bs, Out, C);
        {Train, Rest} -> transmit_train(Size, Train, Rest, Out, C)
    end;
transmit(Bs, Out, C) -> transmit_one(Bs, Out, C).

%% train(Size, Most, Train, Datagrams) -> {Train, Rest}
train(Size, Most, Train, [B | T]) when is_binary(B), byte_size(B) =:= Size, length(Train) < Most, length(Train) < ?TRAIN ->
    train(Size, Most, [B | Train], T);
train(Size, Most, Train, [B | T]) when is_binary(B), byte_size(B) < Size, length(Train) < Most, length(Train) < ?TRAIN ->
    {lists:reverse([B | Train]), T};
train(_, _, Train, T) -> {lists:reverse(Train), T}.

transmit_train(Size, Train, Rest, {S, _, Wait} = Out, C) ->
    Ctrl = [#{level => udp, type => ?UDP_SEGMENT, data => <<Size:16/native>>}],
    case socket:sendmsg(S, #{iov => Train, ctrl => Ctrl}, [], Wait) of
        ok -> transmit(Rest, Out, C#c{n_trains = C#c.n_trains + 1});
        {error, econnrefused} -> % an old ICMP error: the train was not sent
            transmit(Train ++ Rest, Out, C#c{refused = C#c.refused + 1});
        {error, timeout} -> transmit(Rest, Out, C#c{dropped_send = C#c.dropped_send + length(Train)});
        _ -> transmit(Train ++ Rest, {S, false, Wait}, C#c{trains = false}) % this kernel or device has none
    end.

transmit_one([{{_, _} = To, B} | T], {S, _, _} = Out, C) ->
    _ = socket:sendto(S, B, distlink_config:sockaddr(To)),
    transmit(T, Out, C);
transmit_one([B | T], {S, _, Wait} = Out, #c{socket = S, launch = Launch} = C) when Launch =/= none ->
    {Ctrl, Launch1} = distlink_launch:control(Launch),
    transmit(T, Out, sent(socket:sendmsg(S, #{iov => [B], ctrl => Ctrl}, [], Wait), B, Out, C#c{launch = Launch1}));
transmit_one([B | T], {S, _, Wait} = Out, C) ->
    transmit(T, Out, sent(socket:send(S, B, [], Wait), B, Out, C)).

sent(ok, _, _, C) -> C;
sent({error, econnrefused}, B, {S, _, Wait}, C) -> % an old ICMP error: the datagram was not sent
    _ = socket:send(S, B, [], Wait),
    C#c{refused = C#c.refused + 1};
sent(_, _, _, C) -> C#c{dropped_send = C#c.dropped_send + 1}. % as if lost on the way

%% check ends the process when the link is down: never silent loss.
check(#c{link = L, phase = authenticating, supervisor = Acceptor} = C) ->
    case distlink_link:state(L) of
        authenticating -> C;
        open -> Acceptor ! {proved, self()}, C#c{phase = handshake};
        {closed, Code, Text, _} -> exit(reason(Code, Text))
    end;
check(#c{link = L, phase = Phase} = C) ->
    case distlink_link:state(L) of
        {closed, _, _, _} when Phase =:= handshake -> closed(C);
        {closed, Code, Text, _} -> exit(reason(Code, Text));
        _ -> C
    end.

%% closed serves the handshake after the peer has gone, as a closed TCP socket
%% would: what came before can still be read. Dying here would take the setup
%% process with us, and with it an attempt that net_kernel is about to replace
%% by the peer's (the status "nok" of a simultaneous connect).
closed(#c{waiting = undefined} = C) ->
    close_sockets(C),
    closed_loop(C);
closed(#c{waiting = From} = C) ->
    reply(From, {error, closed}),
    closed(C#c{waiting = undefined}).

closed_loop(#c{received = Q} = C) ->
    receive
        {call, From, recv} ->
            case queue:is_empty(Q) of
                true -> reply(From, {error, closed}), closed_loop(C);
                false -> closed_loop(request(recv, From, C))
            end;
        {call, From, {supervisor, _} = R} -> closed_loop(request(R, From, C));
        {call, From, _} -> reply(From, {error, closed}), closed_loop(C);
        {'EXIT', _, _} -> exit(normal);
        {'DOWN', Mon, process, _, _} when Mon =:= C#c.mon -> exit(normal)
    after 60000 -> exit(normal)
    end.

reason(0, _) -> connection_closed;
reason(4, _) -> net_tick_timeout;
reason(7, _) -> connection_reset;
reason(8, _) -> setup_timeout;
reason(9, Text) -> {security, Text};
reason(Code, Text) -> {distlink, Code, Text}.

%% orderly tells the peer when the VM drops the connection.
orderly(Reason, #c{link = L} = C) ->
    _ = flush(C#c{link = distlink_link:close(now_us(), 0, <<"closed">>, L)}),
    exit(Reason).
