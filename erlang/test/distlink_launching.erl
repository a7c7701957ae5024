%% Launch times: which slots are taken, and which options are not.
-module(distlink_launching).
-export([check/0]).

%% check() prints "ok NAME" or "bad NAME" for each rule, then "end".
check() ->
    %% Two in a window; one that is over is not taken, nor one before a later one.
    slots("windows", #{base => 300, interval => 1000, frames => 2, pace => 10},
          [{0, 300}, {0, 310}, {0, 1300}, {5000, 5300}, {5301, 5310}, {5301, 6300}, {100, 6310}]),
    slots("a pace", #{pace => 100}, [{0, 0}, {1, 100}, {950, 1000}, {0, 1100}]),
    slots("before the base", #{base => 1000, interval => 100}, [{-250, 1000}, {-250, 1100}, {999, 1200}]),
    _ = [say(Name, element(1, {distlink_launch:valid(O)}) =:= ok) || {Name, O} <- [{"list", [{interval, 1000}]}, {"map", #{pace => 1, lead => 0, tai => 37}}]],
    _ = [say(["refused ", Name], element(1, distlink_launch:valid(O)) =:= error) ||
            {Name, O} <- [{"nothing", []}, {"an unknown one", [{interval, 1}, {speed, 1}]}, {"negative", #{interval => -1}},
                          {"frames without pace", #{interval => 1000, frames => 2}}, {"too many frames", #{interval => 1000, frames => 3, pace => 500}},
                          {"no frame", #{interval => 1000, frames => 0}}, {"twice", [{pace, 1}, {pace, 2}]}, {"no list", soon}, {"no pair", [{pace, 1}, deadline]}]],
    io:format("end~n").

slots(Name, Options, Want) ->
    {Got, _} = lists:mapfoldl(fun({Earliest, _}, L0) -> {At, L} = distlink_launch:take(Earliest, L0), {{Earliest, At}, L} end,
                              distlink_launch:launch(Options, 0), Want),
    say(Name, Got =:= Want).

say(Name, true) -> io:format("ok ~s~n", [Name]);
say(Name, false) -> io:format("bad ~s~n", [Name]).
