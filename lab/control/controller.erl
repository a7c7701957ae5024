%% The controller: a registered process that answers each sample with the force
%% for the motor. It has no state and no timer, so whatever comes late is late
%% because of the way.
-module(controller).

-export([start/0]).

start() ->
    Pid = spawn_opt(fun loop/0, [{priority, high}]),
    true = register(controller, Pid),
    ok = distlink:class(controller, control).

loop() ->
    receive
        {sample, Plant, N, State} ->
            %% Never wait for room on the way: an old force is of no use.
            _ = erlang:send(Plant, {force, N, pendulum:force(State)}, [nosuspend]),
            loop()
    end.
