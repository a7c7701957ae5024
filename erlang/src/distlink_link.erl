%% One end of a distlink connection as pure functions: no socket, no clock, no
%% process. PROTOCOL.md is the wire format; the Go package is the same machine.
%%
%%     datagram/4  write/6  timers/2      in: what happened, at microsecond Now > 0
%%     flush/2                            out: datagrams to send
%%     deliveries/1                       out: messages in their order
%%     deadline/1  state/1  peer/1        when to call timers/2; is it up; where is the peer
-module(distlink_link).

-export([client/3, server/7, secure/4, datagram/4, write/6, barrier/1, timers/2, flush/2, deliveries/1,
         deadline/1, state/1, close/4, queued/1, stats/1, accept_packet/1, max_datagram/1, peer/1, touch/3]).
-export_type([link/0, address/0]).

-define(PACKET_RANGES, 64).
-define(ORDER_RANGES, 8192).
-define(MAX_STREAMS, 4096).
-define(MAX_MESSAGE, (256 bsl 20)).
-define(WIRE_OVERHEAD, 70).
-define(MIN_PIECE, 64).
-define(TAG, 16).
-define(DATA_HEADER, 20).
-define(DEATH_PINGS, 8).
-define(BASE_DATAGRAM, 1200).
-define(BATCH, 24).               % datagrams made before they are sent: their RTT begins when they are made
-define(MIGRATE, 1).
-define(AES_128_GCM, 1).
-define(STARVED_ROUNDS, 64).      % nothing sent for this many round trips,
-define(STARVED_LEAST, 500000).   % at least this long, and looked at
-define(STARVED_STEPS, 4).        % this often

-type address() :: {inet:ip_address(), inet:port_number()}.
%% What a message waits for besides its stream, and what waits for it.
-type fence() :: none | after_all | barrier.
-type class() :: bulk | configured | control.

-record(in, {next = 0, high = 0, pending = [], inside = false, parts = [], size = 0,
             order = 0, fence = 0, complete = []}).
-record(out, {messages = queue:new(), bin, pos = 0, offset = 0}).
%% A segment on its way: its key is {Stream, Offset}.
-record(seg, {key, flags, order, data, class}).

-record(link,
        {role, state = connecting, id, rid = 0, most, window, keepalive, floor, stall, rate, ack_delay,
         setup_end, init_at, init_wait = 100000, token = <<>>, init, accept, random,
         key_id = <<>>, schedule = none, seal = none, open = none, migrate = false,
         peer = same, challenge = none, challenge_at = 0, to_send = [], more = false,
         %% receiving
         ranges = [], eliciter = 0, ack_at = infinity, ack_now = false, newest_at = 0,
         ins = #{}, blocked = [], orders = [], used_in = 0, accepted = 0, told = 0, held = 0,
         delivered = [],
         %% sending; queues per class: #class{resend, turn}
         outs = #{}, bulk = {[], queue:new()}, configured = {[], queue:new()}, control = {[], queue:new()},
         unacked = #{}, sent = #{}, base = 0, next = 0,
         largest = -1, used = 0, limit = 0, peer_window = 0, order = 0, fence = 0, queued = 0, in_flight = 0,
         blocked_out = false, ping = false, extra = 0, tokens = 0, tokens_at = 0, mtu, congestion,
         %% time
         srtt = 0, rttvar = 0, latest = 0, least = 0, peer_delay = 0, loss_at = infinity, last_sent = 0,
         probes = 0, heard_at = 0, ping_at = 0, pings = 0, suspected = false, progress = 0,
         sent_at = 0, starved_at = none, starved_steps = 0,
         %% counters
         n_sent = 0, n_received = 0, b_sent = 0, b_received = 0, n_resent = 0, n_probes = 0,
         n_duplicate = 0, n_malformed = 0, n_forged = 0, n_blocked = 0, n_starved = 0, n_moves = 0, n_holes = 0,
         n_messages_out = 0, n_messages_in = 0}).
-opaque link() :: #link{}.

%% client(Config, Id, Now): Config is a map with max_datagram, window, ack_delay,
%% keepalive, floor, stall, setup (microseconds), rate (kbit/s, 0: congestion
%% control), keys ([{Id, Secret}], the first is used; none: no security) and
%% random (a function from a number of octets to so many).
client(#{keys := Keys} = Config, Id, Now) ->
    L = (new(Config, Id, Now))#link{role = client, setup_end = Now + maps:get(setup, Config), init_at = Now},
    case Keys of
        [] -> L;
        [{KeyId, Secret} | _] ->
            Random = L#link.random,
            L#link{key_id = KeyId, schedule = {distlink_crypto:early(Secret), distlink_crypto:schedule(distlink_crypto:early(Secret), Random(32))}}
    end.

%% secure(Keys, Params, Binder, Init) -> {ok, Early | none} | {refuse, Text}: what a
%% server says to an INIT whose token is right.
secure([], #{security := 0}, _, _) -> {ok, none};
secure([], _, _, _) -> {refuse, <<"this side has no keys">>};
secure(Keys, #{security := 1, suites := S, key_id := KeyId}, Binder, Init) when S band ?AES_128_GCM =/= 0 ->
    case lists:keyfind(KeyId, 1, Keys) of
        {_, Secret} ->
            Early = distlink_crypto:early(Secret),
            Body = binary:part(Init, 0, byte_size(Init) - ?TAG),
            case distlink_crypto:same(distlink_crypto:binder(Early, Body), Binder) of
                true -> {ok, Early};
                false -> {refuse, <<"the key is another">>}
            end;
        false -> {refuse, <<"the key id is unknown">>}
    end;
secure(_, #{security := 1}, _, _) -> {refuse, <<"no cipher in common">>};
secure(_, _, _, _) -> {refuse, <<"this side wants a pre-shared key">>}.

%% server(Config, Id, Params, Init, Early, Peer, Now) -> Link | error: the INIT
%% has been checked; Peer is where it came from.
server(Config, Id, #{id := Rid} = Params, Init, Early, Peer, Now) ->
    L0 = new(Config, Id, Now),
    L = L0#link{role = server, rid = Rid, peer = Peer},
    case Early of
        none ->
            Accept = iolist_to_binary(distlink_wire:accept(Rid, params(L), <<>>)),
            establish(Now, Params, L#link{accept = Accept});
        _ ->
            Random = L#link.random,
            Schedule = distlink_crypto:schedule(Early, Random(32)),
            secure_server(Now, Schedule, Params, Init, L#link{schedule = {Early, Schedule}})
    end.

secure_server(Now, Schedule, #{id := Rid, public := Public} = Params, Init, L) ->
    Padded = iolist_to_binary(distlink_wire:accept(Rid, params(L), <<0:(?TAG * 8)>>)),
    Body = binary:part(Padded, 0, byte_size(Padded) - ?TAG),
    case distlink_crypto:session(Schedule, Public, Init, Body) of
        {Tag, Client, Server} ->
            establish(Now, Params, L#link{accept = <<Body/binary, Tag/binary>>, open = Client, seal = Server});
        error -> error
    end.

new(#{max_datagram := Max, window := W, ack_delay := D, keepalive := K, floor := F, stall := S, rate := R, random := Random}, Id, Now) ->
    #link{id = Id, most = Max, window = W, told = W, ack_delay = D, keepalive = K, floor = F, stall = S,
          rate = R, random = Random, tokens_at = Now, heard_at = Now, ping_at = Now, progress = Now}.

params(#link{id = Id, most = Max, window = W, ack_delay = D, schedule = S, key_id = KeyId}) ->
    P = #{id => Id, max => Max, security => 0, suites => 0, window => W, delay => D, capabilities => ?MIGRATE},
    case S of
        none -> P;
        {_, Schedule} ->
            P#{security => 1, suites => ?AES_128_GCM, public => distlink_crypto:public(Schedule), key_id => KeyId}
    end.

accept_packet(#link{accept = A}) -> A.

max_datagram(#link{mtu = M}) -> distlink_mtu:size(M).

state(#link{state = S}) -> S.

%% peer(Link) -> where the server's peer is now | same
peer(#link{peer = P}) -> P.

queued(#link{queued = Q}) -> Q.

%% deliveries(Link) -> {Messages in order, as iodata, Link}
deliveries(#link{delivered = []} = L) -> {[], L};
deliveries(#link{delivered = D} = L) -> {lists:reverse(D), L#link{delivered = []}}.

establish(Now, #{id := Rid, max := Max, window := Window, delay := Delay, capabilities := Caps},
          #link{most = Own, keepalive = K} = L) ->
    Mtu = distlink_mtu:new(Now, min(Own, Max)),
    L#link{state = open, rid = Rid, mtu = Mtu, congestion = distlink_congestion:new(distlink_mtu:size(Mtu)),
           limit = Window, peer_window = Window, migrate = Caps band ?MIGRATE =/= 0, tokens_at = Now,
           peer_delay = min(Delay, K div 8), heard_at = Now, ping_at = Now, pings = 0, progress = Now,
           sent_at = Now, last_sent = Now}.

%% touch(Now, Rate, Link): this side has a new address, or another socket: the
%% peer hears of it at once. What was known of the path is forgotten.
touch(Now, Rate, #link{state = open} = L) -> (new_path(Now, L#link{rate = Rate, tokens = 0, tokens_at = Now}))#link{ping = true};
touch(_, Rate, L) -> L#link{rate = Rate}.

new_path(Now, #link{mtu = M, congestion = G} = L) ->
    Mtu = distlink_mtu:new(Now, distlink_mtu:most(M)),
    L#link{srtt = 0, rttvar = 0, least = 0, probes = 0, mtu = Mtu,
           congestion = distlink_congestion:reset(distlink_mtu:size(Mtu), G)}.

stats(#link{mtu = Mtu, congestion = G, rate = Rate} = L) ->
    S = #{packets_sent => L#link.n_sent, packets_received => L#link.n_received,
          octets_sent => L#link.b_sent, octets_received => L#link.b_received,
          messages_sent => L#link.n_messages_out, messages_received => L#link.n_messages_in,
          retransmitted => L#link.n_resent, probes => L#link.n_probes,
          duplicates => L#link.n_duplicate, malformed => L#link.n_malformed, forged => L#link.n_forged,
          blocked => L#link.n_blocked, starved => L#link.n_starved, moves => L#link.n_moves,
          black_holes => L#link.n_holes, rate => Rate,
          rtt_us => L#link.srtt, rttvar_us => L#link.rttvar,
          waiting_control => waiting(L#link.control), waiting_configured => waiting(L#link.configured), waiting_bulk => waiting(L#link.bulk),
          queued => L#link.queued, in_flight => L#link.in_flight, streams => map_size(L#link.outs),
          security => case L#link.schedule of none -> none; _ -> psk end},
    case Mtu of
        undefined -> S;
        _ -> S#{datagram => distlink_mtu:size(Mtu), congestion_window => distlink_congestion:window(G)}
    end.

%% waiting(Class) -> how many streams have something to send, lost segments apart
waiting({_, Turn}) -> queue:len(Turn).

%% ---- Datagrams in -------------------------------------------------------

%% datagram(Now, From, Octets, Link): From is an address, or same for the
%% peer's as it is known.
datagram(Now, From, B, L) -> packets(Now, From, B, L#link{b_received = L#link.b_received + byte_size(B)}).

packets(_, _, <<>>, L) -> L;
packets(Now, From, B, L) ->
    case distlink_wire:parse(B) of
        {ok, P, Rest} ->
            Size = byte_size(B) - byte_size(Rest),
            L1 = packet(Now, From, P, binary:part(B, 0, Size), L#link{n_received = L#link.n_received + 1}),
            case L1#link.state of
                {closed, _, _, _} -> L1;
                _ -> packets(Now, From, Rest, L1)
            end;
        error ->
            L#link{n_malformed = L#link.n_malformed + 1}
    end.

packet(Now, From, {data, Id, PN, Body}, Raw, #link{state = open, id = Id} = L) ->
    case fresh(PN, L#link.ranges) andalso open(PN, Body, L) of
        %% What is answered has to be the peer's: with security a repeated
        %% packet may be anybody's.
        false -> L#link{n_duplicate = L#link.n_duplicate + 1, ack_now = L#link.ack_now orelse L#link.open =:= none};
        error -> L#link{n_forged = L#link.n_forged + 1};
        {Frames, Keys} ->
            case distlink_wire:frames(Frames) of
                {ok, Fs} -> data(Now, From, PN, Fs, byte_size(Raw), L#link{open = Keys});
                error -> L#link{open = Keys, n_malformed = L#link.n_malformed + 1}
            end
    end;
packet(Now, _, {retry, Id, Token}, _, #link{state = connecting, id = Id, token = <<>>} = L) when Token =/= <<>> ->
    L#link{token = binary:copy(Token), init = undefined, init_at = Now, init_wait = 100000};
packet(Now, _, {accept, Id, Params, Tag}, Raw, #link{state = connecting, id = Id} = L) ->
    case accepted(Params, Tag, Raw, L) of
        error -> L#link{n_forged = L#link.n_forged + 1};
        L1 -> (establish(Now, Params, L1))#link{ping = true}
    end;
packet(_, _, {refuse, Id, Code, Text}, _, #link{state = connecting, id = Id} = L) ->
    down(Code, binary:copy(Text), remote, L);
packet(_, _, {version, 4, V, Id, _}, _, #link{state = connecting, id = Id} = L) ->
    down(1, <<"peer speaks version ", (integer_to_binary(V))/binary>>, remote, L);
packet(_, _, {init, #{id := Rid}, _, _}, _, #link{role = server, rid = Rid, accept = A, to_send = Out} = L) ->
    L#link{to_send = [A | Out]}; % the ACCEPT was lost
packet(Now, _, {reset, Rid, PN}, _, #link{state = open, rid = Rid, sent = Sent} = L) when is_map_key(PN, Sent) ->
    case L of
        #link{schedule = none} -> down(7, <<"peer does not know this connection">>, remote, L);
        %% With security that is a hint from anybody: the peer is asked.
        #link{suspected = false} -> L#link{suspected = true, pings = 0, ping_at = Now};
        _ -> L
    end;
packet(_, _, _, _, L) ->
    L.

open(_, Body, #link{open = none}) -> {Body, none};
open(PN, Body, #link{open = Keys, id = Id}) -> distlink_crypto:open(Keys, Id, PN, Body).

%% accepted checks an ACCEPT: what the peer cannot have sent is dropped.
accepted(#{security := 0}, _, _, #link{schedule = none} = L) -> L;
accepted(#{security := 1, suites := ?AES_128_GCM, public := Public}, Tag, Raw, #link{schedule = {_, Schedule}, init = Init} = L) ->
    Body = binary:part(Raw, 0, byte_size(Raw) - ?TAG),
    case distlink_crypto:session(Schedule, Public, Init, Body) of
        {Own, Client, Server} ->
            case distlink_crypto:same(Own, Tag) of
                true -> L#link{seal = Client, open = Server};
                false -> error
            end;
        error -> error
    end;
accepted(_, _, _, _) -> error.

data(Now, From, PN, Frames, Size, L0) ->
    Ranges = packet_number(PN, L0#link.ranges),
    L1 = L0#link{ranges = Ranges, heard_at = Now, ping_at = Now, pings = 0, suspected = false},
    L2 = case Ranges of
             [{PN, _} | _] when From =/= same -> moving(Now, From, Size, L1);
             _ -> L1
         end,
    frames(Now, PN, Frames, false, L2).

%% moving asks at another address whether the peer is there.
moving(_, Peer, _, #link{peer = Peer} = L) -> L;
moving(Now, To, Size, #link{role = server, migrate = true, challenge_at = At, random = Random} = L0) when Now >= At ->
    Data = case L0#link.challenge of
               {To, D} -> D;
               _ -> Random(8)
           end,
    {B, L} = make_packet(Now, [distlink_wire:challenge(Data)], [], false, L0#link{challenge = {To, Data}}),
    case byte_size(B) =< Size of
        true -> L#link{to_send = [{To, B} | L#link.to_send], challenge_at = Now + probe_timeout(L#link{probes = 0})};
        false -> L % the number is spent, which harms nobody
    end;
moving(_, _, _, L) -> L.

frames(Now, PN, [{segment, Flags, Stream, Offset, Order, Fence, Data} | T], _, L) ->
    case segment(Flags, Stream, Offset, Order, Fence, Data, Now, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, true, L1);
        L1 -> L1
    end;
frames(Now, PN, [{ack, Ranges, Delay, Limit} | T], E, L) ->
    case ack(Now, Ranges, Delay, Limit, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, E, L1);
        L1 -> L1
    end;
frames(Now, PN, [{challenge, Data} | T], E, L) ->
    {B, L1} = make_packet(Now, [distlink_wire:response(Data)], [], false, L),
    frames(Now, PN, T, E, L1#link{to_send = [B | L1#link.to_send]});
frames(Now, PN, [{response, Data} | T], E, #link{challenge = {To, Data}} = L) ->
    L1 = new_path(Now, L#link{peer = To, challenge = none, challenge_at = 0, n_moves = L#link.n_moves + 1}),
    frames(Now, PN, T, E, L1);
frames(Now, PN, [{response, _} | T], E, L) -> frames(Now, PN, T, E, L);
frames(Now, PN, [ping | T], _, L) -> frames(Now, PN, T, true, L);
frames(_, _, [{close, Code, Text} | _], _, L) -> down(Code, binary:copy(Text), remote, L);
frames(_, _, [], false, L) -> L;
frames(Now, PN, [], true, #link{ranges = [{High, Low} | More], eliciter = N} = L) ->
    Urgent = N >= 1 orelse PN =/= High orelse (More =/= [] andalso Low =:= PN),
    L#link{eliciter = N + 1, ack_now = L#link.ack_now orelse Urgent,
           newest_at = case PN of High -> Now; _ -> L#link.newest_at end,
           ack_at = min(L#link.ack_at, Now + L#link.ack_delay)}.

%% fresh(N, Ranges): N has not been seen. Below the ranges that are remembered
%% none has: what is that late counts as lost.
fresh(N, [{High, _} | _]) when N > High -> true;
fresh(N, Ranges) -> fresh(N, Ranges, 0).

fresh(_, [], Count) -> Count < ?PACKET_RANGES;
fresh(N, [{High, Low} | _], _) when N >= Low -> N > High;
fresh(N, [_ | T], Count) -> fresh(N, T, Count + 1).

%% packet_number(N, Ranges) -> Ranges with the fresh N. Ranges descend.
packet_number(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
packet_number(N, Ranges) ->
    case insert(N, Ranges) of
        R when length(R) > ?PACKET_RANGES -> lists:droplast(R);
        R -> R
    end.

insert(N, []) -> [{N, N}];
insert(N, [{High, _} | _] = R) when N > High + 1 -> [{N, N} | R];
insert(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
insert(N, [{High, Low}, {N1, Low2} | T]) when N =:= Low - 1, N1 =:= N - 1 -> [{High, Low2} | T];
insert(N, [{High, Low} | T]) when N =:= Low - 1 -> [{High, N} | T];
insert(N, [H | T]) -> [H | insert(N, T)].

%% ---- Segments to messages ----------------------------------------------

segment(Flags, Stream, Offset, Order, Fence, Data, Now, L0) ->
    case L0#link.ins of
        #{Stream := In} -> segment1(Flags, Stream, Offset, Order, Fence, Data, Now, In, L0);
        Ins when map_size(Ins) < ?MAX_STREAMS ->
            segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{}, L0);
        _ -> close(Now, 3, <<"too many streams">>, L0)
    end.

segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{high = High, next = Next} = In, L) ->
    End = Offset + byte_size(Data) + (Flags bsr 1),
    Used = L#link.used_in + max(0, End - High),
    if
        Used > L#link.told -> close(Now, 3, <<"credit exceeded">>, L);
        End =< Next -> L;
        Offset > Next ->
            In1 = In#in{high = max(High, End), pending = hold({Offset, End, Flags, Order, Fence, Data}, In#in.pending)},
            L#link{used_in = Used, ins = (L#link.ins)#{Stream => In1}};
        true ->
            case take(Offset, End, Flags, Order, Fence, Data, In#in{high = max(High, End)}) of
                {error, Code, Text} -> close(Now, Code, Text, L);
                In1 ->
                    Took = In1#in.next - Next,
                    deliver(Now, Stream, In1, L#link{used_in = Used, accepted = L#link.accepted + Took})
            end
    end.

hold(S, []) -> [S];
hold(S, [H | T]) when element(1, S) > element(1, H) -> [H | hold(S, T)];
hold(S, [H | T]) when element(1, S) =:= element(1, H) ->
    [case element(2, S) > element(2, H) of true -> S; false -> H end | T];
hold(S, T) -> [S | T].

%% take appends a segment that starts at or before the next offset wanted, and
%% then what was waiting behind it.
take(Offset, End, Flags, Order, Fence, Data, #in{next = Next, pending = Pending} = In0) when End > Next ->
    Known = Next - Offset,
    First = Flags band 1 =:= 1,
    if
        Known =:= 0, First =:= In0#in.inside -> {error, 3, <<"message boundaries do not match">>};
        true ->
            In1 = case Known =:= 0 andalso First of
                      true -> In0#in{inside = true, order = Order, fence = Fence, parts = [], size = 0};
                      false -> In0
                  end,
            Skip = min(Known, byte_size(Data)),
            <<_:Skip/binary, New/binary>> = Data,
            Size = In1#in.size + byte_size(New),
            In2 = In1#in{next = End, size = Size, parts = [New | In1#in.parts]},
            if
                Size > ?MAX_MESSAGE -> {error, 6, <<"message too long">>};
                Flags band 2 =:= 2 ->
                    M = {In2#in.order, In2#in.fence, message(In2#in.parts)},
                    take_more(Pending, In2#in{inside = false, parts = [], complete = [M | In2#in.complete]});
                true -> take_more(Pending, In2)
            end
    end;
take(_, _, _, _, _, _, #in{pending = Pending} = In) ->
    take_more(Pending, In).

take_more([{Offset, End, Flags, Order, Fence, Data} | T], #in{next = Next} = In) when Offset =< Next ->
    take(Offset, End, Flags, Order, Fence, Data, In#in{pending = T});
take_more(_, In) -> In.

message([One]) -> One;
message(Parts) -> lists:reverse(Parts).

%% deliver hands over what the stream, and others behind a fence, may give.
%% complete is newest first while it is short, so a fenced stream stays cheap.
deliver(_, Stream, #in{complete = []} = In, L) ->
    L#link{ins = (L#link.ins)#{Stream => In}};
deliver(_, Stream, #in{complete = [{Order, Fence, Data}]} = In, #link{orders = [{0, High}], blocked = []} = L)
  when Order =:= High + 1, Fence =< Order ->
    L#link{ins = (L#link.ins)#{Stream => In#in{complete = []}}, orders = [{0, Order}],
           delivered = [Data | L#link.delivered], n_messages_in = L#link.n_messages_in + 1};
deliver(Now, Stream, In, L) ->
    Blocked = case lists:member(Stream, L#link.blocked) of
                  true -> L#link.blocked;
                  false -> L#link.blocked ++ [Stream]
              end,
    L1 = deliver_blocked(L#link{ins = (L#link.ins)#{Stream => In}, blocked = Blocked}),
    case length(L1#link.orders) > ?ORDER_RANGES of
        true -> close(Now, 3, <<"too much behind a fence">>, L1);
        false -> L1
    end.

deliver_blocked(#link{blocked = Blocked} = L) ->
    Before = below(L#link.orders),
    {Still, L1} = lists:foldl(fun deliver_stream/2, {[], L#link{blocked = []}}, Blocked),
    L2 = L1#link{blocked = lists:reverse(Still)},
    case Still =/= [] andalso below(L2#link.orders) =/= Before of
        true -> deliver_blocked(L2);
        false -> L2
    end.

deliver_stream(Stream, {Still, #link{ins = Ins} = L}) ->
    #{Stream := In} = Ins,
    {Left, L1} = deliver_messages(lists:reverse(In#in.complete), L),
    L2 = L1#link{ins = Ins#{Stream => In#in{complete = lists:reverse(Left)}}},
    case Left of
        [] -> {Still, L2};
        _ -> {[Stream | Still], L2}
    end.

deliver_messages([{Order, Fence, Data} | T] = Ms, L) ->
    case Fence =< below(L#link.orders) of
        true ->
            deliver_messages(T, L#link{orders = ordered(Order, L#link.orders), delivered = [Data | L#link.delivered],
                                       n_messages_in = L#link.n_messages_in + 1});
        false -> {Ms, L}
    end;
deliver_messages([], L) -> {[], L}.

%% Orders delivered: ascending ranges {Low, High}.
below([{0, High} | _]) -> High + 1;
below(_) -> 0.

ordered(N, [{Low, High} | T]) when N =:= High + 1 ->
    case T of
        [{Low2, High2} | T2] when Low2 =:= N + 1 -> [{Low, High2} | T2];
        _ -> [{Low, N} | T]
    end;
ordered(N, [{Low, High} | T]) when N =:= Low - 1 -> [{N, High} | T];
ordered(N, [{Low, _} | _] = R) when N < Low -> [{N, N} | R];
ordered(N, [{_, High} = H | T]) when N > High -> [H | ordered(N, T)];
ordered(N, []) -> [{N, N}];
ordered(_, R) -> R.

%% ---- Messages out -------------------------------------------------------

%% barrier(Link): the next message written is fenced behind all before it.
barrier(#link{order = O} = L) -> L#link{fence = O}.

%% write(Now, Stream, Class, Fence, {Size, IoData}, Link)
-spec write(integer(), integer(), class(), fence(), {integer(), iodata()}, link()) -> link().
write(Now, Stream, Class, Fence, {Size, Data}, #link{outs = Outs, order = Order} = L0) ->
    L = case idle(L0) of
            true -> L0#link{progress = Now, last_sent = Now};
            false -> L0
        end,
    Before = case Fence of none -> L#link.fence; _ -> Order end,
    Out = case Outs of #{Stream := O} -> O; _ -> #out{} end,
    L1 = case Out#out.bin =:= undefined andalso queue:is_empty(Out#out.messages) of
             true -> turn(Class, Stream, L);
             false -> L
         end,
    Out1 = Out#out{messages = queue:in({Size, Data, {Order, Before}, Class}, Out#out.messages)},
    L1#link{outs = Outs#{Stream => Out1}, order = Order + 1,
            fence = case Fence of barrier -> Order + 1; _ -> L#link.fence end,
            queued = L#link.queued + Size + 1, n_messages_out = L#link.n_messages_out + 1}.

idle(#link{in_flight = 0, queued = 0}) -> true;
idle(_) -> false.

%% What waits in a class: {Lost segments, oldest first; streams with something to send}.
class(bulk, #link{bulk = C}) -> C;
class(configured, #link{configured = C}) -> C;
class(control, #link{control = C}) -> C.

set_class(bulk, C, L) -> L#link{bulk = C};
set_class(configured, C, L) -> L#link{configured = C};
set_class(control, C, L) -> L#link{control = C}.

turn(Class, Stream, L) ->
    {Resend, Turn} = class(Class, L),
    set_class(Class, {Resend, queue:in(Stream, Turn)}, L).

%% pick(Link) -> {Class | none, Link}: the first class that could send a segment
%% now. What was acknowledged while it waited to be sent again is dropped.
pick(L0) ->
    case pick(control, L0) of
        {none, L1} ->
            case pick(configured, L1) of
                {none, L2} -> pick(bulk, L2);
                Found -> Found
            end;
        Found -> Found
    end.

pick(Class, #link{unacked = U} = L) ->
    case class(Class, L) of
        {[#seg{key = Key} | T], Turn} when not is_map_key(Key, U) -> pick(Class, set_class(Class, {T, Turn}, L));
        {[_ | _], _} -> {Class, L};
        {[], Turn} ->
            case queue:is_empty(Turn) of
                true -> {none, L};
                false -> credited(Class, credit(Class, L), L)
            end
    end.

credited(Class, Credit, #link{blocked_out = false} = L) when Credit > 0 -> {Class, L};
credited(Class, Credit, L) when Credit > 0 -> {Class, L#link{blocked_out = false}};
credited(_, _, #link{blocked_out = true} = L) -> {none, L};
credited(_, _, L) -> {none, L#link{blocked_out = true, n_blocked = L#link.n_blocked + 1}}.

%% credit(Class, Link): the last eighth is not for bulk.
credit(bulk, #link{used = Used, limit = Limit, peer_window = W}) -> max(0, Limit - W div 8 - Used);
credit(_, #link{used = Used, limit = Limit}) -> max(0, Limit - Used).

%% flush(Now, Link) -> {Datagrams, Link}: all that credit, rate and congestion
%% allow. A datagram is octets for the peer, or {Address, Octets}.
flush(Now, #link{state = connecting, init_at = At} = L0) when Now >= At ->
    #link{init = B} = L = make_init(L0),
    {[B], count(B, L#link{init_at = Now + L#link.init_wait, init_wait = min(2 * L#link.init_wait, 1000000)})};
flush(Now, #link{state = open, next = Next, to_send = Out} = L0) ->
    L1 = refill(Now, L0#link{to_send = [], more = false}),
    {Probe, L2} = case tokens(L1) andalso distlink_mtu:due(Now, L1#link.mtu) of
                      true -> probe_path(Now, L1);
                      false -> {[], L1}
                  end,
    {Datagrams, L3} = flush(Now, Probe ++ Out, L2),
    case watch(Now, L3#link.next =/= Next orelse Out =/= [], L3) of
        #link{state = {closed, _, _, [B]}} = L4 -> {Datagrams ++ [B], L4#link{state = setelement(4, L4#link.state, [])}};
        L4 -> {Datagrams, L4}
    end;
flush(_, #link{state = {closed, _, _, [B]}} = L) -> {[B], L#link{state = setelement(4, L#link.state, [])}};
flush(_, L) -> {[], L}.

%% The INIT is the same each time, once there is a token.
make_init(#link{init = undefined, schedule = none} = L) ->
    L#link{init = iolist_to_binary(distlink_wire:init(params(L), L#link.token, <<>>))};
make_init(#link{init = undefined, schedule = {Early, _}} = L) ->
    Padded = iolist_to_binary(distlink_wire:init(params(L), L#link.token, <<0:(?TAG * 8)>>)),
    Body = binary:part(Padded, 0, byte_size(Padded) - ?TAG),
    L#link{init = <<Body/binary, (distlink_crypto:binder(Early, Body))/binary>>};
make_init(L) -> L.

flush(Now, Acc, L) -> flush(?BATCH, Now, Acc, L).

flush(0, _, Acc, L) -> {lists:reverse(Acc), L#link{more = true}};
flush(N, Now, Acc, #link{ping = Ping} = L0) ->
    {Class, L1} = pick(L0),
    {Open, L2} = case Class of
                     none -> {false, L1};
                     _ -> window_open(L1)
                 end,
    case (Ping orelse Open) andalso tokens(L2) of
        true ->
            {B, L3} = packet_out(Now, L2),
            flush(N - 1, Now, [B | Acc], L3);
        false when L2#link.ack_now; Now >= L2#link.ack_at ->
            {Ack, L3} = make_ack(Now, L2),
            {B, L4} = make_packet(Now, [Ack], [], false, L3),
            {lists:reverse(Acc, [B]), L4};
        false -> {lists:reverse(Acc), L2}
    end.

tokens(#link{rate = 0}) -> true;
tokens(#link{tokens = T}) -> T > 0.

%% window_open(Link) -> {Whether congestion control lets a packet go, Link}
window_open(#link{rate = Rate, extra = Extra} = L) when Rate > 0; Extra > 0 -> {true, L};
window_open(#link{congestion = G} = L) ->
    case distlink_congestion:room(G) of
        true -> {true, L};
        false -> {false, L#link{congestion = distlink_congestion:limited(G)}}
    end.

room(#link{mtu = Mtu, seal = none}) -> distlink_mtu:size(Mtu) - ?DATA_HEADER;
room(#link{mtu = Mtu}) -> distlink_mtu:size(Mtu) - ?DATA_HEADER - ?TAG.

%% packet_out fills one packet: ACK, then class by class what was lost and a
%% piece of each stream in turn until it is full.
packet_out(Now, L0) ->
    Room0 = room(L0),
    {Frames0, Room1, L1} =
        case L0#link.ack_at of
            infinity -> {[], Room0, L0};
            _ ->
                {Ack, La} = make_ack(Now, L0),
                {[Ack], Room0 - byte_size(Ack), La}
        end,
    {Frames1, Room, L2} =
        case L1#link.ping of
            true -> {[<<1>> | Frames0], Room1 - 1, L1#link{ping = false}};
            false -> {Frames0, Room1, L1}
        end,
    {Frames, Segs, L3} =
        case L1#link.ping andalso L1#link.pings > 1 of
            true -> {Frames1, [], L2}; % where long packets do not get through, this one shall
            false -> fill(Room, Frames1, [], L2)
        end,
    Pad = case Segs of [] -> [<<0:128>>]; _ -> [] end, % as long as a CHALLENGE, which may answer it
    make_packet(Now, lists:reverse(Frames, Pad), Segs, true, L3#link{extra = max(0, L3#link.extra - 1)}).

fill(Room, Frames, Segs, L0) ->
    case pick(L0) of
        {none, L} -> {Frames, Segs, L};
        {Class, L1} ->
            case segment_of(Class, class(Class, L1), Room, L1) of
                {none, L} -> {Frames, Segs, L};
                {#seg{flags = F, key = {Stream, Offset}, order = O, data = Data} = Seg, L} ->
                    Hdr = distlink_wire:segment(F, Stream, Offset, O, byte_size(Data)),
                    fill(Room - byte_size(Hdr) - byte_size(Data), [Data, Hdr | Frames], [Seg | Segs], L)
            end
    end.

header_len(Flags, _) when Flags band 1 =:= 0 -> 15;
header_len(_, {_, 0}) -> 23;
header_len(_, _) -> 31.

span(#seg{flags = Flags, data = Data}) -> byte_size(Data) + (Flags bsr 1).

%% segment_of takes a segment of at most Room octets, header included, from a
%% class that has one.
segment_of(Class, {[], Turn}, Room, L) -> cut(Class, Turn, Room, L);
segment_of(Class, {[#seg{flags = F, order = O, data = Data} = Seg | T], Turn}, Room0, L0) ->
    Room = Room0 - header_len(F, O),
    L = L0#link{n_resent = L0#link.n_resent + 1},
    if
        byte_size(Data) =< Room -> {Seg, on_its_way(Seg, set_class(Class, {T, Turn}, L))};
        Room < ?MIN_PIECE -> {none, L0};
        true ->
            {Head, Tail} = split(Seg, Room),
            {Head, on_its_way(Head, waits(Tail, set_class(Class, {[Tail | T], Turn}, L)))}
    end.

%% split cuts a segment; the head keeps its key.
split(#seg{key = {Stream, Offset}, flags = F, data = Data} = Seg, N) ->
    <<Head:N/binary, Tail/binary>> = Data,
    {Seg#seg{flags = F band 1, data = Head},
     Seg#seg{key = {Stream, Offset + N}, flags = F band 2, data = Tail}}.

%% unacked: key => {number of its last packet or waits, span}; in_flight is the sum.
on_its_way(#seg{key = Key} = Seg, L) -> unacked(Key, L#link.next, span(Seg), L).
waits(#seg{key = Key} = Seg, L) -> unacked(Key, waits, span(Seg), L).

unacked(Key, Where, Span, #link{unacked = U, in_flight = F} = L) ->
    Old = case U of #{Key := {_, S}} -> S; _ -> 0 end,
    L#link{unacked = U#{Key => {Where, Span}}, in_flight = F + Span - Old}.

%% cut takes a piece of the stream whose turn it is.
cut(Class, Turn, Room, #link{outs = Outs} = L) ->
    {{value, Stream}, Turn1} = queue:out(Turn),
    #{Stream := Out0} = Outs,
    #out{bin = {Bin, Order, _}, pos = Pos, offset = Offset} = Out = head(Out0),
    First = case Pos of 0 -> 1; _ -> 0 end,
    Rest = byte_size(Bin) - Pos,
    Credit = credit(Class, L),
    N = min(min(Rest, Room - header_len(First, Order)), Credit),
    Last = N =:= Rest andalso N < Credit, % the end of the message needs one more
    if
        N < 0; not Last, N =:= 0; not Last, N < ?MIN_PIECE, N < Rest, N < Credit ->
            {none, L#link{outs = Outs#{Stream => Out}}};
        true ->
            Flags = First bor case Last of true -> 2; false -> 0 end,
            Seg = #seg{key = {Stream, Offset}, flags = Flags, order = Order, data = binary:part(Bin, Pos, N), class = Class},
            Span = span(Seg),
            Out1 = case Last of
                       true -> Out#out{bin = undefined, pos = 0, offset = Offset + Span};
                       false -> Out#out{pos = Pos + N, offset = Offset + Span}
                   end,
            L1 = set_class(Class, {[], Turn1}, L#link{outs = Outs#{Stream => Out1}, used = L#link.used + Span,
                                                      queued = L#link.queued - Span}),
            {Seg, on_its_way(Seg, turn_again(Stream, Out1, Class, L1))}
    end.

turn_again(Stream, #out{bin = undefined, messages = Q}, _, L) ->
    case queue:peek(Q) of
        empty -> L;
        {value, {_, _, _, Class}} -> turn(Class, Stream, L)
    end;
turn_again(Stream, _, Class, L) -> turn(Class, Stream, L).

%% head flattens the message at the head of a stream: only there it is copied.
head(#out{bin = undefined, messages = Q} = Out) ->
    {{value, {_, Data, Order, Class}}, Q1} = queue:out(Q),
    Out#out{bin = {iolist_to_binary(Data), Order, Class}, pos = 0, messages = Q1};
head(Out) -> Out.

make_ack(Now, #link{accepted = A, window = W} = L) ->
    Limit = A + W,
    {distlink_wire:ack(L#link.ranges, min(max(Now - L#link.newest_at, 0), 16#FFFFFFFF), Limit),
     L#link{told = Limit, eliciter = 0, ack_at = infinity, ack_now = false}}.

%% probe_path sends a packet of the size that is to be tried.
probe_path(Now, #link{mtu = Mtu} = L) ->
    Size = room(L) - distlink_mtu:size(Mtu) + distlink_mtu:next(Mtu),
    L1 = L#link{mtu = distlink_mtu:sent(Now, L#link.next, 4 * probe_timeout(L), Mtu)},
    {B, L2} = make_packet(Now, [<<1, 0:((Size - 1) * 8)>>], [], true, L1),
    {[B], L2}.

%% make_packet(Now, Frames, Segments, AsksForAck, Link) -> {Packet, Link}
make_packet(Now, Frames, Segs, Eliciting, #link{next = PN, rid = Rid, sent = Sent} = L0) ->
    {B, L1} = case L0#link.seal of
                  none -> {iolist_to_binary(distlink_wire:data(Rid, PN, Frames)), L0};
                  Keys ->
                      {Sealed, Keys1} = distlink_crypto:seal(Keys, Rid, PN, Frames),
                      {Sealed, L0#link{seal = Keys1}}
              end,
    L = count(B, L1#link{next = PN + 1, sent_at = Now}),
    Size = byte_size(B),
    if
        not Eliciting -> {B, L};
        Segs =:= [] -> {B, L#link{sent = Sent#{PN => {Now, [], Size, 0}}, last_sent = Now}};
        true ->
            {B, L#link{sent = Sent#{PN => {Now, Segs, Size, Size}}, last_sent = Now,
                       congestion = distlink_congestion:sent(Size, L#link.congestion)}}
    end.

count(B, #link{rate = Rate, tokens = T} = L) ->
    Size = byte_size(B),
    L#link{n_sent = L#link.n_sent + 1, b_sent = L#link.b_sent + Size,
           tokens = case Rate of 0 -> T; _ -> T - (Size + ?WIRE_OVERHEAD) * 8000 end}.

%% Tokens are bits times 1000: kbit/s times microseconds.
refill(_, #link{rate = 0} = L) -> L;
refill(Now, #link{rate = Rate, tokens = T, tokens_at = At, mtu = Mtu} = L) ->
    %% The bucket holds 2 ms: a timer here may be 2 ms late.
    Depth = max(2 * (distlink_mtu:size(Mtu) + ?WIRE_OVERHEAD) * 8000, Rate * 2000),
    L#link{tokens = min(T + (Now - At) * Rate, Depth), tokens_at = Now}.

%% ---- ACK, RTT, loss (RFC 9002 in the small) -----------------------------

ack(Now, [{Largest, _} | _], _, _, #link{next = Next} = L) when Largest >= Next ->
    close(Now, 3, <<"ACK of a packet never sent">>, L);
ack(Now, [{Largest, _} | _] = Ranges, Delay, Limit, #link{sent = Sent, limit = Old, next = Next} = L0) ->
    L1 = lists:foldl(fun(R, L) -> ack_range(Now, R, L) end, L0, Ranges),
    L2 = case Sent of
             #{Largest := {At, _, _, _}} ->
                 Rtt = max(1, Now - At - min(Delay, L1#link.peer_delay)),
                 (rtt(Now - At, Delay, L1))#link{congestion = distlink_congestion:sample(Now, Rtt, Largest, Next, L1#link.congestion)};
             _ -> L1
         end,
    L3 = case map_size(L2#link.sent) < map_size(Sent) of
             true -> L2#link{probes = 0, extra = 0};
             false -> L2
         end,
    L4 = case Limit > Old of
             true -> L3#link{limit = Limit, progress = Now};
             false -> L3
         end,
    trim(detect_loss(Now, L4#link{largest = max(Largest, L4#link.largest)})).

ack_range(Now, {High, Low}, #link{base = Base} = L) -> ack_each(Now, max(Low, Base), High, L).

ack_each(_, N, High, L) when N > High -> L;
ack_each(Now, N, High, #link{sent = Sent, congestion = G, mtu = M0} = L) ->
    case maps:take(N, Sent) of
        {{At, Segs, Size, Piped}, Sent1} ->
            M = distlink_mtu:acked(Now, N, Size, M0),
            G1 = distlink_congestion:packet(distlink_mtu:size(M), distlink_congestion:acked(Piped, At, G)),
            ack_each(Now, N + 1, High, ack_segments(Now, Segs, L#link{sent = Sent1, congestion = G1, mtu = M}));
        error -> ack_each(Now, N + 1, High, L)
    end.

ack_segments(Now, [#seg{key = Key} | T], #link{unacked = U, in_flight = F} = L) ->
    case U of
        #{Key := {_, Span}} ->
            ack_segments(Now, T, L#link{unacked = maps:remove(Key, U), in_flight = F - Span, progress = Now});
        _ -> ack_segments(Now, T, L)
    end;
ack_segments(_, [], L) -> L.

rtt(Rtt0, _, #link{srtt = 0} = L) ->
    Rtt = max(Rtt0, 1),
    L#link{srtt = Rtt, rttvar = Rtt div 2, latest = Rtt, least = Rtt};
rtt(Rtt0, Delay, #link{srtt = S, rttvar = V, least = Least0, peer_delay = Peer} = L) ->
    Rtt = max(Rtt0, 1),
    Least = min(Least0, Rtt),
    D = min(Delay, Peer),
    Adjusted = case Rtt - D >= Least of true -> Rtt - D; false -> Rtt end,
    L#link{latest = Rtt, least = Least, rttvar = (3 * V + abs(S - Adjusted)) div 4, srtt = (7 * S + Adjusted) div 8}.

%% Three later packets acknowledged, or one and 9/8 RTT passed.
detect_loss(Now, #link{srtt = S, latest = R} = L) ->
    Wait = max(max(S, R) * 9 div 8, 1000),
    detect_loss(L#link.base, Now, Wait, L#link{loss_at = infinity}).

detect_loss(N, _, _, #link{largest = Largest} = L) when N >= Largest -> L;
detect_loss(N, Now, Wait, #link{sent = Sent, largest = Largest, congestion = G} = L) ->
    case Sent of
        #{N := {At, Segs, Size, Piped}} when N + 3 =< Largest; Now >= At + Wait ->
            L1 = too_long(Now, N, Size, L#link{sent = maps:remove(N, Sent), congestion = distlink_congestion:lost(Now, At, Piped, G)}),
            detect_loss(N + 1, Now, Wait, again(N, Segs, L1));
        #{N := {At, _, _, _}} ->
            detect_loss(N + 1, Now, Wait, L#link{loss_at = min(L#link.loss_at, At + Wait)});
        _ -> detect_loss(N + 1, Now, Wait, L)
    end.

%% too_long tells the path's MTU of a packet lost.
too_long(Now, N, Size, #link{mtu = M0, congestion = G} = L) ->
    case distlink_mtu:lost(Now, N, Size, probe_timeout(L), M0) of
        {false, M} -> L#link{mtu = M};
        {true, M} ->
            L#link{mtu = M, congestion = distlink_congestion:packet(distlink_mtu:size(M), G), n_holes = L#link.n_holes + 1}
    end.

%% again queues the segments whose last packet was N.
again(N, Segs, L) -> again1(N, lists:reverse(Segs), L).

again1(N, [#seg{key = Key, class = Class} = Seg | T], #link{unacked = U} = L) ->
    case U of
        #{Key := {N, Span}} ->
            %% Cut anew meanwhile, only its head has this key.
            Part = case span(Seg) of Span -> Seg; _ -> element(1, split(Seg, Span)) end,
            {Resend, Turn} = class(Class, L),
            again1(N, T, waits(Part, set_class(Class, {Resend ++ [Part], Turn}, L)));
        _ -> again1(N, T, L)
    end;
again1(_, [], L) -> L.

%% base is the oldest packet still waited for.
trim(#link{base = B, next = N, sent = Sent} = L) when B < N, not is_map_key(B, Sent) -> trim(L#link{base = B + 1});
trim(L) -> L.

%% ---- Time ---------------------------------------------------------------

probe_timeout(#link{srtt = S0, rttvar = V0, floor = F, peer_delay = D, probes = N, keepalive = K}) ->
    {S, V} = case S0 of 0 -> {20000, 10000}; _ -> {S0, V0} end,
    min((S + max(4 * V, F) + D) bsl min(N, 16), max(K div 4, F)).

%% Whenever something is queued or on its way, this or the rate's timer is armed.
probe_at(L) ->
    case idle(L) of
        true -> infinity;
        false -> L#link.last_sent + probe_timeout(L)
    end.

%% deadline(Link) -> microseconds | infinity
deadline(#link{state = connecting, init_at = I, setup_end = E}) -> min(I, E);
deadline(#link{state = open, more = true}) -> 0;
deadline(#link{state = open, mtu = Mtu} = L) ->
    Stall = case idle(L) of true -> infinity; false -> L#link.progress + L#link.stall end,
    Due = distlink_mtu:due(L#link.tokens_at, Mtu),
    {Pace, Probe} =
        case tokens(L) of
            true -> {infinity, distlink_mtu:deadline(Mtu)};
            false ->
                At = L#link.tokens_at + (-L#link.tokens) div L#link.rate + 1,
                Wanted = L#link.ping orelse Due orelse element(1, pick(L)) =/= none,
                {case Wanted of true -> At; false -> infinity end,
                 case Due of true -> infinity; false -> distlink_mtu:deadline(Mtu) end}
        end,
    lists:min([L#link.ack_at, L#link.loss_at, probe_at(L), Pace, Probe, Stall, ping_deadline(L)]);
deadline(_) -> infinity.

%% timers(Now, Link) does what is due; flush/2 follows.
timers(Now, #link{state = connecting, setup_end = E} = L) when Now >= E ->
    down(8, <<"no answer to INIT">>, local, L);
timers(Now, #link{state = open} = L0) ->
    L1 = case Now >= L0#link.loss_at of
             true -> trim(detect_loss(Now, L0));
             false -> L0
         end,
    L2 = case Now >= probe_at(L1) of
             true -> probe(Now, L1);
             false -> L1
         end,
    L3 = case distlink_mtu:timeout(Now, L2#link.mtu) of
             true -> L2#link{mtu = distlink_mtu:failed(Now, probe_timeout(L2), L2#link.mtu)};
             false -> L2
         end,
    L4 = keepalive(Now, L3),
    case L4#link.state =:= open andalso not idle(L4) andalso Now >= L4#link.progress + L4#link.stall of
        true -> close(Now, 5, <<"queued data made no progress">>, L4);
        false -> L4
    end;
timers(_, L) -> L.

%% probe queues the segments of the two oldest packets again, or a PING. The
%% packets stay known, so that a late ACK still gives an RTT sample.
probe(Now, L0) ->
    case pick(L0#link{last_sent = Now}) of
        {Class, #link{in_flight = 0} = L} when Class =/= none -> L; % only the rate holds it back
        {_, L1} ->
            Probes = L1#link.probes + 1,
            L1a = newest_lost(Now, L1#link.next - 1, L1#link{probes = Probes, n_probes = L1#link.n_probes + 1}),
            L2 = probe(L1a#link.base, 2, L1a),
            {Class, L3} = pick(L2),
            L4 = L3#link{extra = 2, ping = L3#link.ping orelse Class =:= none},
            case Probes of
                3 -> L4#link{congestion = distlink_congestion:silence(L4#link.congestion)};
                _ -> L4
            end
    end.

probe(_, 0, L) -> L;
probe(N, _, #link{next = Next} = L) when N >= Next -> L;
probe(N, Left, #link{sent = Sent} = L) ->
    case Sent of
        #{N := {_, [_ | _] = Segs, _, _}} -> probe(N + 1, Left - 1, again(N, Segs, L));
        _ -> probe(N + 1, Left, L)
    end.

%% newest_lost: the newest packet tells whether long ones get through now.
newest_lost(_, N, #link{base = Base} = L) when N < Base -> L;
newest_lost(Now, N, #link{sent = Sent} = L) ->
    case Sent of
        #{N := {_, [_ | _], Size, _}} -> too_long(Now, N, Size, L);
        _ -> newest_lost(Now, N - 1, L)
    end.

%% The peer is dead only when it did not answer several PINGs: time alone may be
%% this side's own absence, and some get lost. One that did not answer the first,
%% or is suspected, is asked often.
ping_deadline(#link{suspected = true, ping_at = At, keepalive = K} = L) -> At + min(probe_timeout(L#link{probes = 0}), K div 16);
ping_deadline(#link{pings = P, ping_at = At, keepalive = K}) when P > 0 -> At + K div 16;
ping_deadline(#link{ping_at = At, keepalive = K}) -> At + K div 4.

keepalive(Now, #link{pings = P, heard_at = H, keepalive = K, suspected = Suspected} = L) ->
    case Now >= ping_deadline(L) of
        false -> L;
        true when P >= ?DEATH_PINGS, Suspected -> close(Now, 7, <<"peer does not know this connection">>, L);
        true when P >= ?DEATH_PINGS, Now >= H + K ->
            close(Now, 4, <<"peer silent for ", (integer_to_binary((Now - H) div 1000))/binary, " ms">>, L);
        true -> L#link{pings = P + 1, ping_at = Now, ping = true}
    end.

%% watch takes the link down when something is queued and nothing is sent: that
%% cannot be, and must not look like a living connection if it is.
watch(_, Sent, #link{queued = Q} = L) when Sent; Q =:= 0 ->
    L#link{starved_at = none, starved_steps = 0};
watch(Now, _, #link{starved_at = none} = L) ->
    L#link{starved_at = Now, starved_steps = 1};
watch(Now, _, #link{starved_at = Since, starved_steps = Steps, sent_at = SentAt, rate = Rate} = L) ->
    Pace = case Rate of 0 -> 0; _ -> 4 * (max_datagram(L) + ?WIRE_OVERHEAD) * 8000 div Rate end,
    Limit = lists:max([?STARVED_ROUNDS * L#link.srtt, ?STARVED_LEAST, L#link.keepalive]) + Pace,
    case Steps >= ?STARVED_STEPS andalso Now - Since > Limit andalso Now - SentAt > Limit of
        true -> close(Now, 5, <<"queued data and nothing sent">>, L#link{n_starved = L#link.n_starved + 1});
        false -> L#link{starved_steps = Steps + 1}
    end.

%% close(Now, Code, Text, Link) ends the connection; flush/2 then tells the peer.
close(_, _, _, #link{state = {closed, _, _, _}} = L) -> L;
close(Now, Code, Text, #link{state = open} = L) ->
    {B, L1} = make_packet(Now, [distlink_wire:close(Code, Text)], [], false, L),
    L1#link{state = {closed, Code, Text, [B]}};
close(_, Code, Text, L) ->
    down(Code, Text, local, L).

down(Code, Text, _Who, L) -> L#link{state = {closed, Code, Text, []}}.
