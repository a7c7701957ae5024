%% Lanes (PROTOCOL.md): classes with a socket of their own do not share what is
%% known of a path, packet numbers included. The record #link{} has it of one
%% lane at a time, and of one lane of the peer's; the others' stands aside in
%% `lanes' and `peer_lanes'. Most connections have one of each, for which all
%% this costs nothing.
-module(distlink_lane).

-export([in/2, peer_in/2, of_class/2, of_ack/2, tag/2, in_control/1, over/2, start/2, count/1, change/4,
         idle/1, queued/1, in_flight/1, acks_at/1, peer_lanes/1]).

-include("distlink_link.hrl").

%% Lanes 1 to 3; 0 is for all that have no other.
-define(OWN, [{bulk, 1}, {configured, 2}, {control, 3}]).

%% in(N, Link): lane N is the current one.
in(N, #link{lane = N} = L) -> L;
in(N, #link{lane = Old, lanes = Lanes} = L) ->
    case maps:take(N, Lanes#{Old => leave(L)}) of
        {Lane, Others} -> enter(N, Lane, L#link{lanes = Others});
        error -> enter(N, #lane{seal = L#link.first_seal}, L#link{lanes = Lanes#{Old => leave(L)}})
    end.

leave(L) ->
    #lane{rate = L#link.rate, classes = L#link.classes, seal = L#link.seal, sent = L#link.sent, base = L#link.base,
          next = L#link.next, ack_asked = L#link.ack_asked, largest = L#link.largest, queued = L#link.queued, in_flight = L#link.in_flight,
          blocked_out = L#link.blocked_out, ping = L#link.ping, extra = L#link.extra, tokens = L#link.tokens,
          tokens_at = L#link.tokens_at, mtu = L#link.mtu, congestion = L#link.congestion, srtt = L#link.srtt,
          rttvar = L#link.rttvar, latest = L#link.latest, least = L#link.least, loss_at = L#link.loss_at,
          last_sent = L#link.last_sent, probes = L#link.probes}.

enter(N, #lane{} = A, L) ->
    L#link{lane = N, rate = A#lane.rate, classes = A#lane.classes, seal = A#lane.seal, sent = A#lane.sent, base = A#lane.base,
           next = A#lane.next, ack_asked = A#lane.ack_asked, largest = A#lane.largest, queued = A#lane.queued, in_flight = A#lane.in_flight,
           blocked_out = A#lane.blocked_out, ping = A#lane.ping, extra = A#lane.extra, tokens = A#lane.tokens,
           tokens_at = A#lane.tokens_at, mtu = A#lane.mtu, congestion = A#lane.congestion, srtt = A#lane.srtt,
           rttvar = A#lane.rttvar, latest = A#lane.latest, least = A#lane.least, loss_at = A#lane.loss_at,
           last_sent = A#lane.last_sent, probes = A#lane.probes}.

%% peer_in(N, Link): lane N of the peer's is the current one.
peer_in(N, #link{peer_lane = N} = L) -> L;
peer_in(N, #link{peer_lane = Old, peer_lanes = Lanes} = L) ->
    Saved = Lanes#{Old => #peer_lane{open = L#link.open, ranges = L#link.ranges, eliciter = L#link.eliciter, ack_at = L#link.ack_at,
                                     ack_now = L#link.ack_now, newest_at = L#link.newest_at}},
    {A, Others} = case maps:take(N, Saved) of
                      error -> {#peer_lane{open = L#link.first_open}, Saved};
                      Found -> Found
                  end,
    L#link{peer_lane = N, peer_lanes = Others, open = A#peer_lane.open, ranges = A#peer_lane.ranges, eliciter = A#peer_lane.eliciter,
           ack_at = A#peer_lane.ack_at, ack_now = A#peer_lane.ack_now, newest_at = A#peer_lane.newest_at}.

peer_lanes(#link{peer_lane = N, peer_lanes = Others}) -> [N | maps:keys(Others)].

%% acks_at(Link) -> when the first ACK is due, whatever lane it is about
acks_at(#link{ack_at = At, peer_lanes = Others}) when map_size(Others) =:= 0 -> At;
acks_at(#link{ack_at = At, peer_lanes = Others}) ->
    maps:fold(fun(_, #peer_lane{ack_at = X}, Least) -> min(X, Least) end, At, Others).

%% of_class(Class, Link) -> its lane
of_class(_, #link{own = Own}) when map_size(Own) =:= 0 -> 0;
of_class(Class, #link{own = Own, may_own = true}) when is_map_key(Class, Own) ->
    {_, N} = lists:keyfind(Class, 1, ?OWN),
    N;
of_class(_, _) -> 0.

%% of_ack(PeerLane, Link) -> ours for what acknowledges it: the one that carries
%% the same class, and control's for the one that carries several.
of_ack(0, L) -> of_class(control, L);
of_ack(N, L) ->
    {Class, _} = lists:keyfind(N, 2, ?OWN),
    of_class(Class, L).

%% tag(Datagram, Link): how flush/2 says by which socket it goes.
tag(B, #link{lane = 0}) -> B;
tag(B, #link{lane = N}) -> {lane, N, B}.

in_control(L) -> in(of_class(control, L), L).

%% over(Fun, Link): in each lane that has classes, the higher first.
over(Fun, #link{order_of_lanes = [N]} = L) -> Fun(in(N, L));
over(Fun, #link{order_of_lanes = Ns} = L) -> lists:foldl(fun(N, X) -> Fun(in(N, X)) end, L, Ns).

%% start(Now, Link) begins with each lane, on a path that is not yet known.
start(Now, L0) ->
    L = choose(L0),
    over(fun(#link{lane = N, congestion = G, own = Own, base_rate = Rate} = X) ->
                 Mtu = distlink_mtu:new(Now, X#link.both),
                 Size = distlink_mtu:size(Mtu),
                 X#link{classes = [C || C <- [control, configured, bulk], of_class(C, X) =:= N],
                        rate = case lists:keyfind(N, 2, ?OWN) of {C, _} -> maps:get(C, Own); false -> Rate end,
                        tokens = 0, tokens_at = Now, srtt = 0, rttvar = 0, least = 0, probes = 0, mtu = Mtu,
                        last_sent = case X#link.last_sent of 0 -> Now; At -> At end,
                        congestion = case G of undefined -> distlink_congestion:new(Size); _ -> distlink_congestion:reset(Size, G) end}
         end, L).

choose(L) ->
    L#link{order_of_lanes = lists:foldl(fun(C, Ns) ->
                                                N = of_class(C, L),
                                                case lists:member(N, Ns) of true -> Ns; false -> Ns ++ [N] end
                                        end, [], [control, configured, bulk])}.

%% change(Now, Rate, Own, Link) gives classes other lanes, and starts. What is on
%% its way by the old ones is sent again, as nobody waits for it there any more.
change(Now, Rate, Own, #link{own = Old} = L0) ->
    L1 = case maps:keys(Own) =:= maps:keys(Old) of
             true -> L0#link{own = Own, base_rate = Rate};
             false -> (give_up(L0))#link{own = Own, base_rate = Rate}
         end,
    case maps:keys(Own) =:= maps:keys(Old) of
        true -> start(Now, L1);
        false -> count(start(Now, L1))
    end.

give_up(L0) ->
    lists:foldl(fun(N, L) ->
                        #link{sent = Sent} = L1 = in(N, L),
                        L2 = lists:foldl(fun({PN, {_, Segs, _, _}}, X) -> distlink_recovery:again(PN, Segs, X) end, L1, lists:sort(maps:to_list(Sent))),
                        distlink_recovery:trim(L2#link{sent = #{}, loss_at = infinity, ping = false, classes = [], congestion = undefined,
                                                       mtu = undefined, queued = 0, in_flight = 0})
                end, L0, [L0#link.lane | maps:keys(L0#link.lanes)]).

%% count: what was queued and in flight is so in the lane that its class has now.
count(#link{own = Own} = L) when map_size(Own) =:= 0, map_size(L#link.lanes) =:= 0 -> L;
count(L0) ->
    Queued = distlink_send:queued_by_class(L0),
    over(fun(#link{classes = Classes} = L) ->
                 L#link{queued = lists:sum([maps:get(C, Queued, 0) || C <- Classes]),
                        in_flight = lists:sum([distlink_send:to_resend(C, L) || C <- Classes])}
         end, L0).

%% queued(Link), in_flight(Link) -> offsets, of all lanes
queued(#link{queued = Q, lanes = Others}) when map_size(Others) =:= 0 -> Q;
queued(#link{queued = Q, lanes = Others}) -> maps:fold(fun(_, #lane{queued = N}, Sum) -> Sum + N end, Q, Others).
in_flight(#link{in_flight = F, lanes = Others}) -> maps:fold(fun(_, #lane{in_flight = N}, Sum) -> Sum + N end, F, Others).

idle(#link{queued = 0, in_flight = 0, lanes = Others}) when map_size(Others) =:= 0 -> true;
idle(L) -> queued(L) =:= 0 andalso in_flight(L) =:= 0.
