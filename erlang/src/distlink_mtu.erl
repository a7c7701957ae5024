%% Search for the longest datagram that the path carries (RFC 8899), as
%% PROTOCOL.md says under "Recovery"; pure functions, microseconds.
-module(distlink_mtu).

-export([new/2, size/1, most/1, due/2, deadline/1, next/1, sent/4, acked/4, lost/5, timeout/2, failed/3]).

-define(BASE, 1200).
-define(GRAIN, 16).           % octets closer than this are close enough
-define(TRIES, 3).            % probes of a size until it counts as too long
-define(AGAIN, 600000000).    % PMTU_RAISE_TIMER
-define(BLACK_HOLE, 6).       % long packets lost in a row

%% high: longest that may still be carried; probe: size on its way, 0 none;
%% big_lost, lost_least: long packets lost in a row, and the least of them: what is
%% shorter says nothing when it gets through; big_ack, big_ack_size: one above the
%% highest of the longest packets acknowledged, and their size.
-record(mtu, {size, most, high, probe = 0, number = 0, tries = 0, at, big_lost = 0, lost_least = 0,
              big_ack = 0, big_ack_size = 0}).

new(Now, Most) ->
    Size = min(?BASE, Most),
    #mtu{size = Size, most = Most, high = Most, at = case Size of Most -> infinity; _ -> Now end}.

size(#mtu{size = S}) -> S.
most(#mtu{most = M}) -> M.
deadline(#mtu{at = At}) -> At.

due(Now, #mtu{probe = 0, at = At}) -> Now >= At;
due(_, _) -> false.

timeout(Now, #mtu{probe = P, at = At}) -> P > 0 andalso Now >= At.

%% failed(Now, Wait, Mtu): the probe on its way was not answered.
failed(Now, Wait, #mtu{number = N} = M) -> element(2, lost(Now, N, 0, Wait, M)).

%% next(Mtu) -> the size to probe: the longest, then half-way.
next(#mtu{high = Most, most = Most}) -> Most;
next(#mtu{size = S, high = H}) -> (S + H + 1) div 2.

sent(Now, Number, Patience, M) -> M#mtu{probe = next(M), number = Number, at = Now + Patience}.

acked(Now, Number, Size, #mtu{probe = P, number = N} = M0) ->
    M1 = case Size > ?BASE andalso Size >= M0#mtu.lost_least of
             true -> M0#mtu{big_lost = 0, lost_least = 0};
             false -> M0
         end,
    M = case Size > ?BASE andalso Size >= M1#mtu.big_ack_size of
            true -> M1#mtu{big_ack = max(M1#mtu.big_ack, Number + 1), big_ack_size = Size};
            false -> M1
        end,
    if
        P > 0, Number =:= N -> settle(Now, 0, M#mtu{size = P, tries = 0});
        true -> M
    end.

%% lost(Now, Number, Size, Wait, Mtu) -> {Narrower, Mtu}
lost(Now, N, _, Wait, #mtu{probe = P, number = N, tries = T} = M) when P > 0 ->
    case T + 1 of
        ?TRIES -> {false, settle(Now, Wait, M#mtu{high = P - 1, tries = 0})};
        T1 -> {false, settle(Now, Wait, M#mtu{tries = T1})}
    end;
%% Short, a probe that was given up, or overtaken by one as long.
lost(_, N, Size, _, #mtu{size = S, big_ack = A, big_ack_size = AS} = M) when Size =< ?BASE; Size > S; N < A, Size =< AS ->
    {false, M};
lost(_, _, Size, _, #mtu{big_lost = B, lost_least = Least} = M) when B + 1 < ?BLACK_HOLE ->
    {false, M#mtu{big_lost = B + 1, lost_least = case Least of 0 -> Size; _ -> min(Least, Size) end}};
lost(Now, _, _, Wait, M) ->
    {true, M#mtu{size = ?BASE, high = M#mtu.most, probe = 0, tries = 0, big_lost = 0, lost_least = 0,
                 big_ack_size = 0, at = Now + 8 * Wait}}.

settle(_, _, #mtu{size = Most, most = Most} = M) -> M#mtu{probe = 0, at = infinity};
settle(Now, _, #mtu{high = H, size = S} = M) when H - S < ?GRAIN ->
    M#mtu{probe = 0, high = M#mtu.most, tries = 0, at = Now + ?AGAIN};
settle(Now, Wait, M) -> M#mtu{probe = 0, at = Now + Wait}.
