%% What was sent and may be lost: ACK, RTT, loss, probes (RFC 9002 in the small).
-module(distlink_recovery).

-export([ack/5, detect_loss/2, again/3, trim/1, probe/2, probe_at/1, probe_timeout/1]).

-include("distlink_link.hrl").

%% ack(Now, Ranges, Delay, Limit, Link): an ACK is of one lane.
ack(Now, [{Largest, _} | _] = Ranges, Delay, Limit, #link{lane = 0} = L) when Largest =< ?LANE_MASK -> lane_ack(Now, Ranges, Delay, Limit, L);
ack(Now, [{Largest, _} | _] = Ranges, Delay, Limit, L) ->
    lane_ack(Now, [{High band ?LANE_MASK, Low band ?LANE_MASK} || {High, Low} <- Ranges], Delay, Limit,
             distlink_lane:in(Largest bsr ?LANE_SHIFT, L)).

lane_ack(Now, [{Largest, _} | _], _, _, #link{next = Next} = L) when Largest >= Next ->
    distlink_link:close(Now, 3, <<"ACK of a packet never sent">>, L);
lane_ack(Now, [{Largest, _} | _] = Ranges, Delay, Limit, #link{sent = Sent, limit = Old, next = Next} = L0) ->
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

%% Three later packets acknowledged, or one and 9/8 RTT passed. Those of other
%% lanes say nothing: they go by another queue.
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
            Part = case distlink_send:span(Seg) of Span -> Seg; _ -> element(1, distlink_send:split(Seg, Span)) end,
            {Resend, Turn} = distlink_send:class(Class, L),
            again1(N, T, distlink_send:waits(Part, distlink_send:set_class(Class, {Resend ++ [Part], Turn}, L)));
        _ -> again1(N, T, L)
    end;
again1(_, [], L) -> L.

%% base is the oldest packet still waited for.
trim(#link{base = B, next = N, sent = Sent} = L) when B < N, not is_map_key(B, Sent) -> trim(L#link{base = B + 1});
trim(L) -> L.

probe_timeout(#link{srtt = S0, rttvar = V0, floor = F, peer_delay = D, probes = N, keepalive = K}) ->
    {S, V} = case S0 of 0 -> {20000, 10000}; _ -> {S0, V0} end,
    min((S + max(4 * V, F) + D) bsl min(N, 16), max(K div 4, F)).

%% Whenever something is queued or on its way, this or the rate's timer is armed.
probe_at(L) ->
    case distlink_send:idle(L) of
        true -> infinity;
        false -> L#link.last_sent + probe_timeout(L)
    end.

%% probe queues the segments of the two oldest packets again, or a PING. The
%% packets stay known, so that a late ACK still gives an RTT sample.
probe(Now, L0) ->
    {Class, L1} = distlink_send:pick(L0#link{last_sent = Now}),
    case Class =/= none andalso L1#link.in_flight =:= 0 andalso (L1#link.rate > 0 orelse distlink_congestion:room(L1#link.congestion)) of
        true -> L1; % only the rate holds it back
        false -> probe_now(Now, L1)
    end.

probe_now(Now, #link{probes = Before} = L0) ->
    Probes = Before + 1,
    L1 = newest_lost(Now, L0#link.next - 1, L0#link{probes = Probes, n_probes = L0#link.n_probes + 1}),
    {Class, L2} = distlink_send:pick(probe(L1#link.base, 2, L1)),
    L = L2#link{extra = 2, ping = L2#link.ping orelse Class =:= none},
    case Probes of
        3 -> L#link{congestion = distlink_congestion:silence(L#link.congestion)};
        _ -> L
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
