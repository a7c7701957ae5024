%% One end of a distlink connection as pure functions: no socket, no clock, no
%% process. PROTOCOL.md is the wire format; the Go package is the same machine.
%%
%%     datagram/4  write/6  timers/2      in: what happened, at microsecond Now > 0
%%     flush/2                            out: datagrams to send
%%     deliveries/1                       out: messages in their order
%%     deadline/1  state/1  peer/1        when to call timers/2; is it up; where is the peer
%%
%% Here are set-up, the kinds of packets and time; distlink_recv, distlink_send
%% distlink_recovery and distlink_auth have the rest, over the record of distlink_link.hrl.
-module(distlink_link).

-export([client/3, server/7, secure/4, datagram/4, write/6, barrier/1, timers/2, flush/2, deliveries/1,
         deadline/1, state/1, close/4, queued/1, stats/1, accept_packet/1, peer/1, chain/1, touch/4]).
-export_type([link/0, address/0, class/0, fence/0]).

-include("distlink_link.hrl").

-define(DEATH_PINGS, 8).
-define(MIGRATE, 1).
-define(LANES, 2).
-define(OVERHEAD_IPV4, 70).       % of a datagram on the wire: UDP, IP, Ethernet with a tag, preamble and gap
-define(OVERHEAD_IPV6, 90).
-define(AES_128_GCM, 1).
-define(STARVED_ROUNDS, 64).      % nothing sent for this many round trips,
-define(STARVED_LEAST, 500000).   % at least this long, and looked at
-define(STARVED_STEPS, 4).        % this often

-type address() :: {inet:ip_address(), inet:port_number()}.
%% What a message waits for besides its stream, and what waits for it.
-type fence() :: none | after_all | barrier.
-type class() :: bulk | configured | control.
-opaque link() :: #link{}.

%% client(Config, Id, Now): Config is a map with max_datagram, window, ack_delay,
%% keepalive, floor, stall, setup (microseconds), rate (kbit/s, 0: congestion
%% control), lanes (#{Class => rate}: those with a socket of their own), ipv6
%% (boolean), keys ([{Id, Secret}], the first is used; {certificate, Identity};
%% []: no security) and random (a function from a number of octets to so many).
client(#{keys := Keys} = Config, Id, Now) ->
    L = (new(Config, Id, Now))#link{role = client, setup_end = Now + maps:get(setup, Config), init_at = Now},
    case Keys of
        [] -> L;
        {certificate, Identity} -> schedule(distlink_crypto:early(<<>>), identify(Identity, L));
        [{KeyId, Secret} | _] -> schedule(distlink_crypto:early(Secret), L#link{security = psk, key_id = KeyId})
    end.

schedule(Early, #link{random = Random} = L) -> L#link{schedule = {Early, distlink_crypto:schedule(Early, Random(32))}}.

identify(Identity, L) -> L#link{security = certificate, auth = #auth{identity = Identity}}.

%% secure(Keys, Params, Binder, Init) -> {ok, Secured} | {refuse, Text}: what a
%% server says to an INIT whose token is right; Secured is for server/7.
secure([], #{security := 0}, _, _) -> {ok, none};
secure([], _, _, _) -> {refuse, <<"this side has no keys">>};
secure({certificate, Identity}, #{security := 2} = Params, Binder, Init) ->
    case secure_psk([{<<>>, <<>>}], Params, Binder, Init) of
        {ok, {psk, Early}} -> {ok, {{certificate, Identity}, Early}};
        Refused -> Refused
    end;
secure({certificate, _}, _, _, _) -> {refuse, <<"this side wants a certificate">>};
secure(Keys, #{security := 1} = Params, Binder, Init) -> secure_psk(Keys, Params, Binder, Init);
secure(_, _, _, _) -> {refuse, <<"this side wants a pre-shared key">>}.

secure_psk(Keys, #{suites := S, key_id := KeyId}, Binder, Init) when S band ?AES_128_GCM =/= 0 ->
    case lists:keyfind(KeyId, 1, Keys) of
        {_, Secret} ->
            Early = distlink_crypto:early(Secret),
            Body = binary:part(Init, 0, byte_size(Init) - ?TAG),
            case distlink_crypto:same(distlink_crypto:binder(Early, Body), Binder) of
                true -> {ok, {psk, Early}};
                false -> {refuse, <<"the key is another">>}
            end;
        false -> {refuse, <<"the key id is unknown">>}
    end;
secure_psk(_, _, _, _) -> {refuse, <<"no cipher in common">>}.

%% server(Config, Id, Params, Init, Secured, Peer, Now) -> Link | error: the INIT
%% has been checked; Peer is where it came from.
server(Config, Id, #{id := Rid} = Params, Init, Secured, Peer, Now) ->
    L0 = new(Config, Id, Now),
    %% The ACCEPT may get lost, and the client is slow to ask again.
    L = L0#link{role = server, rid = Rid, peer = Peer, patience = maps:get(setup, Config)},
    case Secured of
        none ->
            Accept = iolist_to_binary(distlink_wire:accept(Rid, params(L), <<>>)),
            establish(Now, Params, L#link{accept = Accept});
        {psk, Early} -> secure_server(Now, Params, Init, schedule(Early, L#link{security = psk}));
        {{certificate, Identity}, Early} -> secure_server(Now, Params, Init, schedule(Early, identify(Identity, L)))
    end.

secure_server(Now, #{id := Rid, public := Public} = Params, Init, #link{schedule = {_, Schedule}} = L) ->
    Padded = iolist_to_binary(distlink_wire:accept(Rid, params(L), <<0:(?TAG * 8)>>)),
    Body = binary:part(Padded, 0, byte_size(Padded) - ?TAG),
    case distlink_crypto:session(Schedule, Public, Init, Body) of
        {Tag, Client, Server, Proofs} ->
            establish(Now, Params, distlink_auth:proofs(Proofs, L#link{accept = <<Body/binary, Tag/binary>>, open = Client, seal = Server}));
        error -> error
    end.

new(#{max_datagram := Max, window := W, ack_delay := D, keepalive := K, floor := F, stall := S, rate := R, random := Random} = Config, Id, Now) ->
    #link{id = Id, most = Max, window = W, told = W, ack_delay = D, keepalive = K, floor = F, stall = S,
          overhead = case Config of #{ipv6 := true} -> ?OVERHEAD_IPV6; _ -> ?OVERHEAD_IPV4 end,
          rate = R, base_rate = R, own = maps:get(lanes, Config, #{}), random = Random, tokens_at = Now, heard_at = Now, ping_at = Now, progress = Now}.

params(#link{id = Id, most = Max, window = W, ack_delay = D, schedule = S, key_id = KeyId} = L) ->
    P = #{id => Id, max => Max, security => 0, suites => 0, window => W, delay => D, capabilities => ?MIGRATE bor ?LANES},
    case S of
        none -> P;
        {_, Schedule} ->
            P#{security => number(L#link.security), suites => ?AES_128_GCM, public => distlink_crypto:public(Schedule), key_id => KeyId}
    end.

number(none) -> 0;
number(psk) -> 1;
number(certificate) -> 2.

accept_packet(#link{accept = A}) -> A.

%% state(Link) -> connecting | authenticating | open | {closed, Code, Text, _}
state(#link{state = open, auth = #auth{}}) -> authenticating;
state(#link{state = S}) -> S.

%% chain(Link) -> the certificates (DER) of a peer that has proved itself, its own
%% first; [] where there are none.
chain(#link{peer_chain = Chain}) -> Chain.

%% peer(Link) -> where the server's peer is now | same
peer(#link{peer = P}) -> P.

queued(L) -> distlink_lane:queued(L).

%% deliveries(Link) -> {Messages in order, as iodata, Link}
deliveries(#link{delivered = []} = L) -> {[], L};
deliveries(#link{delivered = D} = L) -> {lists:reverse(D), L#link{delivered = []}}.

establish(Now, #{id := Rid, max := Max, window := Window, delay := Delay, capabilities := Caps},
          #link{most = Own, keepalive = K} = L) ->
    L1 = L#link{state = open, rid = Rid, both = min(Own, Max), limit = Window, peer_window = Window,
                migrate = Caps band ?MIGRATE =/= 0, may_own = Caps band ?LANES =/= 0,
                first_seal = L#link.seal, first_open = L#link.open,
                peer_delay = min(Delay, K div 8), heard_at = Now, ping_at = Now, pings = 0, progress = Now,
                looked_at = Now, last_sent = Now},
    distlink_auth:start(Now, distlink_lane:count(distlink_lane:start(Now, L1))).

%% touch(Now, Rate, Lanes, Link): this side has a new address, or other sockets: the
%% peer hears of it at once. What was known of the path is forgotten.
touch(Now, Rate, Lanes, #link{state = open} = L) -> ping(distlink_lane:change(Now, Rate, Lanes, L));
touch(_, Rate, Lanes, L) -> L#link{rate = Rate, base_rate = Rate, own = Lanes}.

%% ping: a PING goes by the lane of control.
ping(L) -> (distlink_lane:in_control(L))#link{ping = true}.

stats(L0) -> stats_in(distlink_lane:in_control(L0)).

stats_in(#link{mtu = Mtu, congestion = G, rate = Rate} = L) ->
    S = #{packets_sent => L#link.n_sent, packets_received => L#link.n_received,
          octets_sent => L#link.b_sent, octets_received => L#link.b_received,
          messages_sent => L#link.n_messages_out, messages_received => L#link.n_messages_in,
          retransmitted => L#link.n_resent, probes => L#link.n_probes,
          duplicates => L#link.n_duplicate, malformed => L#link.n_malformed, forged => L#link.n_forged,
          blocked => L#link.n_blocked, starved => L#link.n_starved, moves => L#link.n_moves,
          black_holes => L#link.n_holes, rate => Rate,
          rtt_us => L#link.srtt, rttvar_us => L#link.rttvar,
          waiting_control => waiting(L#link.control), waiting_configured => waiting(L#link.configured), waiting_bulk => waiting(L#link.bulk),
          datagrams_control => L#link.n_control, datagrams_configured => L#link.n_configured, datagrams_bulk => L#link.n_bulk,
          lanes => lanes(L),
          queued => distlink_lane:queued(L), in_flight => distlink_lane:in_flight(L), streams => map_size(L#link.outs),
          security => L#link.security},
    case Mtu of
        undefined -> S;
        _ -> S#{datagram => distlink_mtu:size(Mtu), congestion_window => distlink_congestion:window(G)}
    end.

%% lanes(Link) -> #{Class => what is known of its own lane}
lanes(#link{state = open, own = Own, may_own = true} = L0) ->
    maps:map(fun(Class, _) ->
                     L = distlink_lane:in(distlink_lane:of_class(Class, L0), L0),
                     #{rtt_us => L#link.srtt, rate => L#link.rate, in_flight => L#link.in_flight, queued => L#link.queued,
                       datagram => distlink_mtu:size(L#link.mtu), congestion_window => distlink_congestion:window(L#link.congestion)}
             end, Own);
lanes(_) -> #{}.

%% waiting(Class) -> how many streams have something to send, lost segments apart
waiting({_, Turn}) -> queue:len(Turn).

%% write(Now, Stream, Class, Fence, {Size, IoData}, Link)
-spec write(integer(), integer(), class(), fence(), {integer(), iodata()}, link()) -> link().
write(_, Stream, Class, Fence, Message, #link{auth = #auth{}} = L) -> distlink_auth:early({Stream, Class, Fence, Message}, L);
write(Now, Stream, Class, Fence, Message, L) -> distlink_send:write(Now, Stream, Class, Fence, Message, L).

%% barrier(Link): the next message written is fenced behind all before it.
barrier(#link{order = O} = L) -> L#link{fence = O}.

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

packet(Now, From, {data, Id, Number, Body}, Raw, #link{state = open, id = Id} = L0) ->
    L = distlink_lane:peer_in(Number bsr ?LANE_SHIFT, L0),
    PN = Number band ?LANE_MASK,
    case distlink_recv:fresh(PN, L#link.ranges) andalso open(Number, Body, L) of
        %% Not answered: what is sent again has a new number.
        false -> L#link{n_duplicate = L#link.n_duplicate + 1};
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
        L1 -> ping(establish(Now, Params, L1))
    end;
packet(_, _, {refuse, Id, Code, Text}, _, #link{state = connecting, id = Id} = L) ->
    down(Code, binary:copy(Text), remote, L);
packet(_, _, {version, 4, V, Id, _}, _, #link{state = connecting, id = Id} = L) ->
    down(1, <<"peer speaks version ", (integer_to_binary(V))/binary>>, remote, L);
packet(_, _, {init, #{id := Rid}, _, _}, _, #link{role = server, rid = Rid, accept = A, to_send = Out} = L) ->
    L#link{to_send = [A | Out]}; % the ACCEPT was lost
packet(Now, _, {reset, Rid, Number}, _, #link{state = open, rid = Rid} = L0) ->
    L = #link{sent = Sent} = distlink_lane:in(Number bsr ?LANE_SHIFT, L0),
    case L of
        _ when not is_map_key(Number band ?LANE_MASK, Sent) -> L;
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
accepted(#{security := N, suites := ?AES_128_GCM, public := Public}, Tag, Raw, #link{schedule = {_, Schedule}, init = Init} = L) ->
    Body = binary:part(Raw, 0, byte_size(Raw) - ?TAG),
    case distlink_crypto:session(Schedule, Public, Init, Body) of
        {Own, Client, Server, Proofs} ->
            case distlink_crypto:same(Own, Tag) andalso N =:= number(L#link.security) of
                true -> distlink_auth:proofs(Proofs, L#link{seal = Client, open = Server});
                false -> error
            end;
        error -> error
    end;
accepted(_, _, _, _) -> error.

data(Now, From, PN, Frames, Size, L0) ->
    Ranges = distlink_recv:packet_number(PN, L0#link.ranges),
    L1 = L0#link{ranges = Ranges, heard_at = Now, ping_at = Now, pings = 0, suspected = false, patience = 0},
    L2 = case Ranges of
             [{PN, _} | _] when From =/= same -> moving(Now, From, Size, L1);
             _ -> L1
         end,
    answer(Now, frames(Now, PN, Frames, false, L2)).

%% answer answers one CHALLENGE of a packet, however many ask: no more out than in.
answer(Now, #link{state = open, asked = Data} = L) when Data =/= none ->
    {B, L1} = distlink_send:make_packet(Now, [distlink_wire:response(Data)], [], false, distlink_lane:in_control(L#link{asked = none})),
    L1#link{to_send = [distlink_lane:tag(B, L1) | L1#link.to_send]};
answer(_, L) -> L.

%% moving asks at another address whether the peer is there.
moving(_, Peer, _, #link{peer = Peer} = L) -> L;
moving(Now, To, Size, #link{role = server, migrate = true, challenge_at = At, random = Random} = L0) when Now >= At ->
    Data = case L0#link.challenge of
               {To, D} -> D;
               _ -> Random(8)
           end,
    {B, L} = distlink_send:make_packet(Now, [distlink_wire:challenge(Data)], [], false, distlink_lane:in_control(L0#link{challenge = {To, Data}})),
    case byte_size(B) =< Size of
        true -> L#link{to_send = [{To, B} | L#link.to_send],
                         %% Who moves is not heard meanwhile.
                         challenge_at = Now + min(distlink_recovery:probe_timeout(L#link{probes = 0}), L#link.keepalive div 16)};
        false -> L % the number is spent, which harms nobody
    end;
moving(_, _, _, L) -> L.

frames(Now, PN, [{segment, Flags, Stream, Offset, Order, Fence, Data} | T], _, L) ->
    case distlink_recv:segment(Flags, Stream, Offset, Order, Fence, Data, Now, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, true, L1);
        L1 -> L1
    end;
frames(Now, PN, [{ack, Ranges, Delay, Limit} | T], E, L) ->
    case distlink_recovery:ack(Now, Ranges, Delay, Limit, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, E, L1);
        L1 -> L1
    end;
frames(Now, PN, [{challenge, Data} | T], E, L) ->
    frames(Now, PN, T, E, L#link{asked = Data});
frames(Now, PN, [{response, Data} | T], E, #link{challenge = {To, Data}} = L) ->
    L1 = distlink_lane:start(Now, L#link{peer = To, challenge = none, challenge_at = 0, n_moves = L#link.n_moves + 1}),
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

%% flush(Now, Link) -> {Datagrams, Link}: all that credit, rate and congestion
%% allow. A datagram is octets for the peer, {Address, Octets}, or {lane, N, Octets} if
%% it goes by the socket of a class: 1 bulk, 2 configured, 3 control.
flush(Now, #link{state = connecting, init_at = At} = L0) when Now >= At ->
    #link{init = B} = L = make_init(L0),
    {[B], distlink_send:count(B, L#link{init_at = Now + L#link.init_wait, init_wait = min(2 * L#link.init_wait, 1000000)})};
flush(Now, #link{state = open, n_sent = Before, to_send = Out} = L0) ->
    #link{to_send = Datagrams} = L1 = distlink_lane:over(fun(L) -> flush_lane(Now, L) end, L0#link{more = false}),
    case watch(Now, L1#link.n_sent =/= Before orelse Out =/= [], L1#link{to_send = []}) of
        #link{state = {closed, _, _, [B]}} = L2 -> {lists:reverse(Datagrams, [B]), L2#link{state = setelement(4, L2#link.state, [])}};
        L2 -> {lists:reverse(Datagrams), L2}
    end;
flush(_, #link{state = {closed, _, _, [B]}} = L) -> {[B], L#link{state = setelement(4, L#link.state, [])}};
flush(_, L) -> {[], L}.

flush_lane(Now, #link{to_send = Out} = L0) ->
    L1 = distlink_send:refill(Now, L0),
    {Acc, L2} = case distlink_send:tokens(L1) andalso distlink_mtu:due(Now, L1#link.mtu) of
                    true ->
                        {Probe, La} = distlink_send:probe_path(Now, L1),
                        {[Probe | Out], La};
                    false -> {Out, L1}
                end,
    {Datagrams, L3} = distlink_send:datagrams(Now, Acc, L2),
    L3#link{to_send = Datagrams}.

%% The INIT is the same each time, once there is a token.
make_init(#link{init = undefined, schedule = none} = L) ->
    L#link{init = iolist_to_binary(distlink_wire:init(params(L), L#link.token, <<>>))};
make_init(#link{init = undefined, schedule = {Early, _}} = L) ->
    Padded = iolist_to_binary(distlink_wire:init(params(L), L#link.token, <<0:(?TAG * 8)>>)),
    Body = binary:part(Padded, 0, byte_size(Padded) - ?TAG),
    L#link{init = <<Body/binary, (distlink_crypto:binder(Early, Body))/binary>>};
make_init(L) -> L.

%% ---- Time ---------------------------------------------------------------

%% deadline(Link) -> microseconds | infinity
deadline(#link{state = connecting, init_at = I, setup_end = E}) -> min(I, E);
deadline(#link{state = open, more = true}) -> 0;
deadline(#link{state = open, order_of_lanes = Ns} = L) ->
    Stall = case distlink_lane:idle(L) of true -> infinity; false -> L#link.progress + L#link.stall end,
    Auth = case L#link.auth of none -> infinity; #auth{until = Until} -> Until end,
    lists:min([distlink_lane:acks_at(L), Stall, Auth, ping_deadline(L) | [lane_deadline(distlink_lane:in(N, L)) || N <- Ns]]);
deadline(_) -> infinity.

lane_deadline(#link{mtu = Mtu} = L) ->
    Due = distlink_mtu:due(L#link.tokens_at, Mtu),
    {Pace, Probe} =
        case distlink_send:tokens(L) of
            true -> {infinity, distlink_mtu:deadline(Mtu)};
            false ->
                At = L#link.tokens_at + (-L#link.tokens) div L#link.rate + 1,
                Wanted = L#link.ping orelse Due orelse element(1, distlink_send:pick(L)) =/= none,
                {case Wanted of true -> At; false -> infinity end,
                 case Due of true -> infinity; false -> distlink_mtu:deadline(Mtu) end}
        end,
    lists:min([L#link.loss_at, distlink_recovery:probe_at(L), Pace, Probe]).

%% timers(Now, Link) does what is due; flush/2 follows.
timers(Now, #link{state = connecting, setup_end = E} = L) when Now >= E ->
    down(8, <<"no answer to INIT">>, local, L);
timers(Now, #link{state = open} = L0) ->
    L = keepalive(Now, distlink_lane:over(fun(X) -> lane_timers(Now, X) end, distlink_auth:timers(Now, L0))),
    case L#link.state =:= open andalso not distlink_lane:idle(L) andalso Now >= L#link.progress + L#link.stall of
        true -> close(Now, 5, <<"queued data made no progress">>, L);
        false -> L
    end;
timers(_, L) -> L.

lane_timers(Now, L0) ->
    L1 = case Now >= L0#link.loss_at of
             true -> distlink_recovery:trim(distlink_recovery:detect_loss(Now, L0));
             false -> L0
         end,
    L2 = case Now >= distlink_recovery:probe_at(L1) of
             true -> distlink_recovery:probe(Now, L1);
             false -> L1
         end,
    case distlink_mtu:timeout(Now, L2#link.mtu) of
        true -> L2#link{mtu = distlink_mtu:failed(Now, distlink_recovery:probe_timeout(L2), L2#link.mtu)};
        false -> L2
    end.

%% The peer is dead only when it did not answer several PINGs: time alone may be
%% this side's own absence, and some get lost. One that did not answer the first,
%% or is suspected, is asked often.
ping_deadline(#link{suspected = true, ping_at = At, keepalive = K} = L) ->
    At + min(distlink_recovery:probe_timeout((distlink_lane:in_control(L))#link{probes = 0}), K div 16);
ping_deadline(#link{pings = P, ping_at = At, keepalive = K}) when P > 0 -> At + K div 16;
ping_deadline(#link{ping_at = At, keepalive = K}) -> At + K div 4.

keepalive(Now, #link{heard_at = H, keepalive = K} = L) ->
    case Now - ping_deadline(L) of
        Late when Late < 0 -> L;
        Late when Late > K div 16 -> ask(Now, L#link{heard_at = H + Late}); % this side did not run: that is not the peer's silence
        _ -> ask(Now, L)
    end.

ask(Now, #link{pings = P, suspected = true} = L) when P >= ?DEATH_PINGS -> close(Now, 7, <<"peer does not know this connection">>, L);
ask(Now, #link{pings = P, heard_at = H, keepalive = K, patience = Patience} = L) when P >= ?DEATH_PINGS, Now >= H + K, Now >= H + Patience ->
    close(Now, 4, <<"peer silent for ", (integer_to_binary((Now - H) div 1000))/binary, " ms">>, L);
ask(Now, #link{pings = P} = L) -> ping(L#link{pings = P + 1, ping_at = Now}).

%% watch takes the link down when something is queued and nothing is sent: that
%% cannot be, and must not look like a living connection if it is.
watch(Now, Sent, L) ->
    case Sent orelse distlink_lane:queued(L) =:= 0 of
        true -> L#link{looked_at = Now, starved = 0};
        false -> starved(Now, L)
    end.

%% Time in which this side did not run counts little.
starved(Now, #link{looked_at = At, starved = For0, order_of_lanes = Ns} = L) ->
    Limit = lists:max([?STARVED_LEAST | [starved_limit(distlink_lane:in(N, L)) || N <- Ns]]),
    For = For0 + min(Now - At, Limit div ?STARVED_STEPS),
    case For > Limit of
        true -> close(Now, 5, <<"queued data and nothing sent">>, L#link{n_starved = L#link.n_starved + 1});
        false -> L#link{looked_at = Now, starved = For}
    end.

starved_limit(#link{rate = Rate, mtu = Mtu} = L) ->
    Pace = case Rate of 0 -> 0; _ -> 4 * (distlink_mtu:size(Mtu) + L#link.overhead) * 8000 div Rate end,
    max(?STARVED_ROUNDS * L#link.srtt, L#link.keepalive) + Pace.

%% close(Now, Code, Text, Link) ends the connection; flush/2 then tells the peer.
close(_, _, _, #link{state = {closed, _, _, _}} = L) -> L;
close(Now, Code, Text, #link{state = open} = L) ->
    {B, L1} = distlink_send:make_packet(Now, [distlink_wire:close(Code, Text)], [], false, distlink_lane:in_control(L)),
    L1#link{state = {closed, Code, Text, [distlink_lane:tag(B, L1)]}};
close(_, Code, Text, L) ->
    down(Code, Text, local, L).

down(Code, Text, _Who, L) -> L#link{state = {closed, Code, Text, []}}.
