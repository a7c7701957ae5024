%% The window of a connection without a configured rate (PROTOCOL.md,
%% Recovery): NewReno that also gives way to delay; pure functions, microseconds.
-module(distlink_congestion).

-export([new/1, reset/2, packet/2, room/1, limited/1, window/1, sent/2, acked/3, lost/4, sample/5, silence/1]).

-define(INITIAL, 10).
-define(LEAST, 2).
-define(DELAY_LEAST, 8).           % packets that delay alone leaves
-define(TARGET, 600).              % queue on the way that is left alone
-define(RIVAL_DELAY, 2000).        % queue that may be a rival's
-define(ROUND, 10000).             % a round is at least that long: a busy machine delays some packets, a queue all
-define(SAMPLES, 8).               % in slow start that many are enough to see it
-define(BASE_WINDOW, 5000000).     % the base RTT is the least of one to two of them
-define(FUTILE, 8).                % rounds of giving way to no effect
-define(RIVAL, 5000000).           % plain NewReno then

-record(g, {window, threshold = 1 bsl 30, pipe = 0, packet, recovery = 0,
            base = none, before = none, base_end = 0, round = 0, round_end = 0, rtt = none, samples = 0, last_queue = 0,
            futile = 0, gave_way = 0, rival = 0, full = false}).

new(Packet) -> #g{packet = Packet, window = ?INITIAL * Packet}.

reset(Packet, #g{pipe = Pipe}) -> (new(Packet))#g{pipe = Pipe}.

packet(Packet, G) -> G#g{packet = Packet}.

window(#g{window = W}) -> W.

%% room(G): may a packet more be sent. Where it is not so, call limited/1. One
%% always may: packets may have become longer than the window was.
room(#g{pipe = 0}) -> true;
room(#g{pipe = Pipe, packet = P, window = W}) -> Pipe + P =< W.

limited(#g{full = true} = G) -> G;
limited(G) -> G#g{full = true}.

sent(Size, #g{pipe = P} = G) -> G#g{pipe = P + Size}.

acked(Size, At, #g{pipe = P, recovery = R, full = Full, window = W} = G0) ->
    G = G0#g{pipe = P - Size},
    if
        At < R; not Full -> G;
        W < G#g.threshold -> G#g{window = W + Size};
        true -> G#g{window = W + max(1, G#g.packet * Size div W)}
    end.

lost(Now, At, Size, #g{pipe = P, recovery = R} = G) ->
    case Size =:= 0 orelse At < R of
        true -> G#g{pipe = P - Size};
        false ->
            W = max(G#g.window * 7 div 10, ?LEAST * G#g.packet),
            G#g{pipe = P - Size, recovery = Now, window = W, threshold = W}
    end.

%% sample(Now, Rtt without the peer's delay, Acked, Next, G)
sample(Now, Rtt, Acked, Next, #g{base_end = End} = G0) ->
    G1 = case Now >= End of
             true -> G0#g{before = G0#g.base, base = none, base_end = Now + ?BASE_WINDOW};
             false -> G0
         end,
    G = G1#g{base = min(G1#g.base, Rtt), rtt = min(G1#g.rtt, Rtt), samples = G1#g.samples + 1}, % an atom is more than any number
    Fast = G#g.window < G#g.threshold andalso G#g.samples >= ?SAMPLES andalso queue(G) > ?TARGET,
    case (Acked >= G#g.round andalso Now >= G#g.round_end) orelse Fast of
        true -> (end_round(Now, queue(G), G))#g{round = Next, round_end = Now + ?ROUND, rtt = none, samples = 0, full = false};
        false -> G
    end.

%% queue(G) -> the least delay of the round beyond the path's own
queue(#g{rtt = Rtt, base = Base, before = Before}) -> Rtt - min(Base, Before).

%% Delay that giving way does not lessen is a rival's.
end_round(Now, Queue, #g{rival = Rival, futile = F0, window = W, last_queue = Last} = G0) ->
    {F, From} = case Queue > ?RIVAL_DELAY andalso Queue > Last * 3 div 4 of
                    true -> {F0 + 1, G0#g.gave_way};
                    false -> {0, W}
                end,
    G = G0#g{futile = F, gave_way = From, last_queue = Queue},
    if
        Now < Rival; Queue =< ?TARGET -> G;
        %% What was given away is taken back as fast as in slow start.
        F > ?FUTILE -> G#g{futile = 0, rival = Now + ?RIVAL, threshold = max(G#g.threshold, From)};
        true ->
            Base = min(G#g.base, G#g.before),
            Fits = W * (Base + ?TARGET) div (Base + Queue),
            W1 = min(W, lists:max([Fits, W div 2, ?DELAY_LEAST * G#g.packet])),
            G#g{window = W1, threshold = W1}
    end.

%% silence(G): probes stay unanswered; who comes back starts slowly.
silence(#g{packet = P} = G) -> G#g{window = ?LEAST * P}.
