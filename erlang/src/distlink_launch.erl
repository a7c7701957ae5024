%% Launch times (SO_TXTIME): the kernel's etf, or a device, lets each datagram go at
%% its own time in its stream's window, to which the timers of a VM cannot aim. They
%% are for a connection with a reserved rate, whose datagrams go by the socket of
%% all classes that have none of their own. Where the kernel refuses them, datagrams
%% leave when the rate lets them, and the statistics say why.
%%
%% Options, a list or a map; times are ns:
%%   interval, base   a window each so often, one beginning at base (CLOCK_TAI; default 0)
%%   frames, pace     datagrams in each window (1), and from one to the next; without interval: no windows, just that pace
%%   lead             how long before its launch time a datagram is at least handed to the kernel: more than
%%                    the etf's delta (500000)
%%   deadline         true where the etf has deadline_mode
%%   tai              seconds that CLOCK_TAI is before UTC; default: what the kernel has (/proc/timer_list, for root)
-module(distlink_launch).

-export([options/0, valid/1, new/3, launch/2, take/2, control/1, stats/1]).
-export_type([launch/0]).

-define(SO_TXTIME, 61).
-define(CLOCK_TAI, 11).
-define(SOF_TXTIME_DEADLINE_MODE, 1).

%% next: number of the next slot, counted from base; tai: ns.
-record(launch, {base, interval, frames, pace, lead, tai, next = 0, launched = 0}).
-opaque launch() :: #launch{} | none | {refused, term()}.

options() -> [interval, base, frames, pace, lead, deadline, tai].

%% valid(Options) -> ok | {error, Reason}
valid(Options) when is_list(Options) -> valid(maps:from_list([O || {_, _} = O <- Options]), length(Options));
valid(Options) when is_map(Options) -> valid(Options, map_size(Options));
valid(_) -> {error, "want a list or a map"}.

valid(Options, N) ->
    case maps:keys(maps:without(options(), Options)) of
        [] when map_size(Options) =:= N ->
            case [K || {K, V} <- maps:to_list(Options), not good(K, V)] of
                [] -> slots(maps:get(interval, Options, 0), maps:get(frames, Options, 1), maps:get(pace, Options, 0));
                [Bad | _] -> {error, {Bad, map_get(Bad, Options)}}
            end;
        Unknown -> {error, {unknown, Unknown}}
    end.

good(deadline, V) -> is_boolean(V);
good(frames, V) -> is_integer(V) andalso V > 0;
good(K, V) when K =:= base; K =:= tai -> is_integer(V);
good(_, V) -> is_integer(V) andalso V >= 0.

slots(0, _, 0) -> {error, "want an interval or a pace"};
slots(0, _, _) -> ok;
slots(_, 1, _) -> ok;
slots(Interval, Frames, Pace) when Pace > 0, Pace * (Frames - 1) < Interval -> ok;
slots(_, _, _) -> {error, "the frames do not fit into the interval"}.

%% new(Socket, Options, Rate) enables them. Options: none, or valid/1 has taken them.
new(_, none, _) -> none;
new(_, _, 0) -> {refused, "no rate is reserved"};
new(Socket, Options0, _) ->
    Options = if is_list(Options0) -> maps:from_list(Options0); true -> Options0 end,
    case tai(Options) of
        unknown -> {refused, "the offset of CLOCK_TAI is not known: give tai"};
        Tai -> enable(Socket, Options, Tai)
    end.

enable(Socket, Options, Tai) ->
    Flags = case Options of #{deadline := true} -> ?SOF_TXTIME_DEADLINE_MODE; _ -> 0 end,
    case socket:setopt_native(Socket, {socket, ?SO_TXTIME}, <<?CLOCK_TAI:32/native, Flags:32/native>>) of
        ok ->
            launch(Options, Tai);
        {error, Reason} -> {refused, {so_txtime, Reason}} % without CAP_NET_ADMIN
    end.

%% launch(Options, Tai) -> Launch of options that valid/1 has taken
launch(Options, Tai) ->
    Pace = maps:get(pace, Options, 0),
    {Interval, Frames} = case maps:get(interval, Options, 0) of 0 -> {Pace, 1}; I -> {I, maps:get(frames, Options, 1)} end,
    #launch{base = maps:get(base, Options, 0), interval = Interval, frames = Frames, pace = Pace,
            lead = maps:get(lead, Options, 500000), tai = Tai * 1000000000}.

tai(#{tai := Tai}) -> Tai;
tai(_) ->
    case prim_file:read_file("/proc/timer_list") of
        {ok, B} ->
            case {offset(<<"clock 1:">>, B), offset(<<"clock 3:">>, B)} of
                {Utc, Tai} when is_integer(Utc), is_integer(Tai) -> (Tai - Utc) div 1000000000;
                _ -> unknown
            end;
        _ -> unknown
    end.

%% offset(Clock, TimerList): 1 is CLOCK_REALTIME, 3 CLOCK_TAI.
offset(Clock, List) ->
    case string:split(List, Clock) of
        [_, After] ->
            case string:split(After, <<".offset:">>) of
                [_, <<Digits:64/binary, _/binary>>] -> element(1, string:to_integer(string:trim(Digits, leading)));
                _ -> unknown
            end;
        _ -> unknown
    end.

%% control(Launch) -> {Control messages of the next datagram, Launch}
control(#launch{tai = Tai, lead = Lead, launched = N} = L0) ->
    {At, L} = take(os:system_time(nanosecond) + Tai + Lead, L0),
    {[#{level => socket, type => ?SO_TXTIME, data => <<At:64/native>>}], L#launch{launched = N + 1}};
control(L) -> {[], L}.

%% take(Earliest, Launch) -> {Launch time, Launch}: the first slot then or later
%% that was not taken.
take(Earliest, #launch{base = Base, interval = Interval, frames = Frames, next = Next} = L) ->
    First = first(floor_div(Earliest - Base, Interval) * Frames, Frames, Earliest, L),
    N = max(Next, First),
    {at(N, L), L#launch{next = N + 1}}.

first(N, 0, _, _) -> N;
first(N, Left, Earliest, L) ->
    case at(N, L) >= Earliest of
        true -> N;
        false -> first(N + 1, Left - 1, Earliest, L)
    end.

at(N, #launch{base = Base, interval = Interval, frames = Frames, pace = Pace}) ->
    Window = floor_div(N, Frames),
    Base + Window * Interval + (N - Window * Frames) * Pace.

floor_div(A, B) when A < 0, A rem B =/= 0 -> A div B - 1;
floor_div(A, B) -> A div B.

%% stats(Launch) -> none | #{launched} | #{refused}
stats(#launch{launched = N}) -> #{launched => N};
stats({refused, Why}) -> #{refused => Why};
stats(none) -> none.
