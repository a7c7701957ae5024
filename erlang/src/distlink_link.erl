%% One end of a distlink connection as pure functions: no socket, no clock, no
%% process. PROTOCOL.md is the wire format; the Go package is the same machine.
%%
%%     datagram/4  write/6  timers/2      in: what happened, at microsecond Now > 0
%%     flush/2                            out: datagrams to send
%%     deliveries/1                       out: messages in their order
%%     deadline/1  state/1  peer/1        when to call timers/2; is it up; where is the peer
%%
%% Here are set-up, the kinds of packets and time; distlink_recv, distlink_send
%% and distlink_recovery have the rest, over the record of distlink_link.hrl.
-module(distlink_link).

-export([client/3, server/7, secure/4, datagram/4, write/6, barrier/1, timers/2, flush/2, deliveries/1,
         deadline/1, state/1, close/4, queued/1, stats/1, accept_packet/1, max_datagram/1, peer/1, touch/3]).
-export_type([link/0, address/0, class/0, fence/0]).

-include("distlink_link.hrl").

-define(DEATH_PINGS, 8).
-define(MIGRATE, 1).
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

%% write(Now, Stream, Class, Fence, {Size, IoData}, Link)
-spec write(integer(), integer(), class(), fence(), {integer(), iodata()}, link()) -> link().
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

packet(Now, From, {data, Id, PN, Body}, Raw, #link{state = open, id = Id} = L) ->
    case distlink_recv:fresh(PN, L#link.ranges) andalso open(PN, Body, L) of
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
    Ranges = distlink_recv:packet_number(PN, L0#link.ranges),
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
    {B, L} = distlink_send:make_packet(Now, [distlink_wire:challenge(Data)], [], false, L0#link{challenge = {To, Data}}),
    case byte_size(B) =< Size of
        true -> L#link{to_send = [{To, B} | L#link.to_send], challenge_at = Now + distlink_recovery:probe_timeout(L#link{probes = 0})};
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
    {B, L1} = distlink_send:make_packet(Now, [distlink_wire:response(Data)], [], false, L),
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

%% flush(Now, Link) -> {Datagrams, Link}: all that credit, rate and congestion
%% allow. A datagram is octets for the peer, or {Address, Octets}.
flush(Now, #link{state = connecting, init_at = At} = L0) when Now >= At ->
    #link{init = B} = L = make_init(L0),
    {[B], distlink_send:count(B, L#link{init_at = Now + L#link.init_wait, init_wait = min(2 * L#link.init_wait, 1000000)})};
flush(Now, #link{state = open, next = Next, to_send = Out} = L0) ->
    L1 = distlink_send:refill(Now, L0#link{to_send = [], more = false}),
    {Probe, L2} = case distlink_send:tokens(L1) andalso distlink_mtu:due(Now, L1#link.mtu) of
                      true -> distlink_send:probe_path(Now, L1);
                      false -> {[], L1}
                  end,
    {Datagrams, L3} = distlink_send:datagrams(Now, Probe ++ Out, L2),
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

%% ---- Time ---------------------------------------------------------------

%% deadline(Link) -> microseconds | infinity
deadline(#link{state = connecting, init_at = I, setup_end = E}) -> min(I, E);
deadline(#link{state = open, more = true}) -> 0;
deadline(#link{state = open, mtu = Mtu} = L) ->
    Stall = case distlink_send:idle(L) of true -> infinity; false -> L#link.progress + L#link.stall end,
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
    lists:min([L#link.ack_at, L#link.loss_at, distlink_recovery:probe_at(L), Pace, Probe, Stall, ping_deadline(L)]);
deadline(_) -> infinity.

%% timers(Now, Link) does what is due; flush/2 follows.
timers(Now, #link{state = connecting, setup_end = E} = L) when Now >= E ->
    down(8, <<"no answer to INIT">>, local, L);
timers(Now, #link{state = open} = L0) ->
    L1 = case Now >= L0#link.loss_at of
             true -> distlink_recovery:trim(distlink_recovery:detect_loss(Now, L0));
             false -> L0
         end,
    L2 = case Now >= distlink_recovery:probe_at(L1) of
             true -> distlink_recovery:probe(Now, L1);
             false -> L1
         end,
    L3 = case distlink_mtu:timeout(Now, L2#link.mtu) of
             true -> L2#link{mtu = distlink_mtu:failed(Now, distlink_recovery:probe_timeout(L2), L2#link.mtu)};
             false -> L2
         end,
    L4 = keepalive(Now, L3),
    case L4#link.state =:= open andalso not distlink_send:idle(L4) andalso Now >= L4#link.progress + L4#link.stall of
        true -> close(Now, 5, <<"queued data made no progress">>, L4);
        false -> L4
    end;
timers(_, L) -> L.

%% The peer is dead only when it did not answer several PINGs: time alone may be
%% this side's own absence, and some get lost. One that did not answer the first,
%% or is suspected, is asked often.
ping_deadline(#link{suspected = true, ping_at = At, keepalive = K} = L) -> At + min(distlink_recovery:probe_timeout(L#link{probes = 0}), K div 16);
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
    {B, L1} = distlink_send:make_packet(Now, [distlink_wire:close(Code, Text)], [], false, L),
    L1#link{state = {closed, Code, Text, [B]}};
close(_, Code, Text, L) ->
    down(Code, Text, local, L).

down(Code, Text, _Who, L) -> L#link{state = {closed, Code, Text, []}}.
