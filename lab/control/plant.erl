%% The plant: steps a pendulum in real time, sends a sample each period and
%% applies the force that comes back. From sample to force may take one period:
%% that is the deadline.
%%
%% What makes it as punctual as a BEAM can be:
%%   - high priority, and a heap that need not grow while it runs
%%   - timers at absolute times: lateness of one period is not handed on to the next
%%   - results go into atomics, so that nothing is left for the garbage collector
%%   - the samples' phase fits the gates: they wait for their window, if there is
%%     one, no longer than they have to
-module(plant).

-export([run/4]).

-define(MS, 1000000).        % ns
-define(NEVER, -1).          % no force came
-define(SLEPT, -2).          % there was no sample
-define(GRACE, 1000).        % ms for the last forces to arrive
-define(DOWN, 500 * ?MS).    % a pendulum that fell lies for this long
-define(FIELDS, 3).          % of a period: latency and lateness (us), angle (1/100 degree)

-record(s, {peer, t0, period, count, results, sent, % atomics; sent: ns since t0
            n = -1,                                 % the period that was begun last
            pendulum, at, force = 0.0, forced = -1, % state at a time, with the force of that sample
            wind = 0.0, random, down = false, falls = 0, lost = 0}).

%% run(Peer, PeriodMs, Count, {CycleNs, OpenNs, LeadNs}) samples Count periods,
%% whose samples are taken at least LeadNs before the gate opens, which it does at
%% OpenNs of the system's clock and every CycleNs; then it prints one line of JSON.
run(Peer, PeriodMs, Count, Gate) ->
    {Pid, Mon} = spawn_opt(fun() -> plant(Peer, PeriodMs * ?MS, Count, Gate) end,
                           [monitor, {priority, high}, {min_heap_size, 100000}]),
    receive {'DOWN', Mon, process, Pid, Reason} -> {done, Line} = Reason, io:put_chars(Line) end.

plant(Peer, Period, Count, Gate) ->
    register(plant, self()),
    ok = distlink:class(plant, control),
    ok = net_kernel:monitor_nodes(true),
    T0 = first(Gate),
    S = loop(wake(#s{peer = Peer, t0 = T0, period = Period, count = Count,
                     results = atomics:new(Count * ?FIELDS, [{signed, true}]), sent = atomics:new(Count, []),
                     pendulum = pendulum:upright(), at = T0, random = rand:seed_s(exsss, {1, 2, 3})})),
    exit({done, json(S)}).

%% first(Gate) is a whole millisecond of the monotonic clock, since timers have
%% no finer ones, and of the next hundred the one with the least time before the gate opens.
first({Cycle, Open, Lead}) ->
    Soon = erlang:monotonic_time(millisecond) + 100,
    Offset = erlang:time_offset(nanosecond),
    Wait = fun(Ms) -> Lead + mod(Open - Lead - Ms * ?MS - Offset, Cycle) end,
    {_, Best} = lists:min([{Wait(Ms), Ms} || Ms <- lists:seq(Soon, Soon + 99)]),
    Best * ?MS.

mod(A, B) -> ((A rem B) + B) rem B.

%% wake sets the timer of the next period.
wake(#s{n = N, count = Count} = S) when N + 1 =:= Count ->
    _ = erlang:start_timer(?GRACE, self(), over),
    S;
wake(#s{n = N} = S) ->
    _ = erlang:start_timer(begins(N + 1, S) div ?MS, self(), begins, [{abs, true}]),
    S.

begins(N, #s{t0 = T0, period = P}) -> T0 + N * P.

loop(S) ->
    receive
        {timeout, _, begins} -> loop(wake(sample(erlang:monotonic_time(nanosecond), S)));
        {force, N, Force} -> loop(force(erlang:monotonic_time(nanosecond), N, Force, S));
        {timeout, _, over} -> S;
        {nodedown, _} -> loop(S#s{lost = S#s.lost + 1});
        {nodeup, _} -> loop(S)
    end.

%% sample begins a period. Periods that this process slept through are skipped:
%% they have neither sample nor force. How late this one is counts from its begin.
sample(Now, #s{peer = Peer, t0 = T0, period = P, count = Count} = S0) ->
    N = min((Now - T0) div P, Count - 1),
    S1 = lists:foldl(fun skip/2, S0, lists:seq(S0#s.n + 1, N - 1)),
    {Wind, Random} = pendulum:wind(S1#s.random),
    S = move(Now, S1),
    atomics:put(S#s.sent, N + 1, Now - T0),
    %% Never wait for room on the way: the next sample is worth more.
    _ = erlang:send({controller, Peer}, {sample, self(), N, S#s.pendulum}, [nosuspend]),
    record(N, ?NEVER, (Now - begins(N, S)) div 1000, S#s{n = N, wind = Wind, random = Random}).

skip(N, S) ->
    {_, Random} = pendulum:wind(S#s.random),
    record(N, ?SLEPT, S#s.period div 1000, S#s{random = Random}).

record(N, Latency, Late, #s{results = R, pendulum = P} = S) ->
    I = N * ?FIELDS,
    atomics:put(R, I + 1, Latency),
    atomics:put(R, I + 2, Late),
    atomics:put(R, I + 3, round(100 * pendulum:degrees(P))),
    S.

%% force applies what came for period N, unless something newer came before.
force(Now, N, Force, #s{t0 = T0, results = R, sent = Sent} = S) ->
    atomics:put(R, N * ?FIELDS + 1, (Now - T0 - atomics:get(Sent, N + 1)) div 1000),
    case N > S#s.forced of
        true -> (move(Now, S))#s{force = Force, forced = N};
        false -> S
    end.

%% move brings the pendulum to the present. One that fell is set up again.
move(Now, #s{down = Since} = S) when is_integer(Since), Now - Since < ?DOWN -> S#s{at = Now};
move(Now, #s{down = Since} = S) when is_integer(Since) ->
    S#s{down = false, pendulum = pendulum:upright(), force = 0.0, at = Now};
move(Now, #s{at = At, pendulum = P0, force = F, wind = W} = S) ->
    P = pendulum:after_time((Now - At) / 1.0e9, F + W, P0),
    case pendulum:fallen(P) of
        true -> S#s{pendulum = pendulum:lying(P), at = Now, down = Now, falls = S#s.falls + 1};
        false -> S#s{pendulum = P, at = Now}
    end.

json(#s{results = R, count = Count, falls = Falls, lost = Lost}) ->
    Field = fun(K) -> lists:join($,, [integer_to_list(atomics:get(R, N * ?FIELDS + K)) || N <- lists:seq(0, Count - 1)]) end,
    io_lib:format("{\"test\":\"loop\",\"falls\":~b,\"lost\":~b,\"latency_us\":[~s],\"late_us\":[~s],\"centidegrees\":[~s]}~n",
                  [Falls, Lost, Field(1), Field(2), Field(3)]).
