%% An inverted pendulum, linear about upright, that the wind pushes and a motor
%% holds. Angles are radians, times seconds, forces what they do to the angle's
%% speed: rad/s^2.
-module(pendulum).

-export([upright/0, after_time/3, fallen/1, lying/1, force/1, wind/1, degrees/1]).

-define(RATE, 4.43).    % 1/s: sqrt(g / length), a rod of half a metre
-define(POLES, 10.0).   % 1/s: how fast the controller brings it back
-define(STRONGEST, 100.0).
-define(GUST, 20.0).
-define(FALLEN, 0.7854).

%% A state is {Angle, Speed}.
upright() -> {0.0, 0.0}.

%% after_time(Seconds, Force, State): exact while Force is constant.
after_time(T, Force, {Angle, Speed}) ->
    Rest = Force / (?RATE * ?RATE),
    Grown = math:cosh(?RATE * T),
    Turned = math:sinh(?RATE * T),
    {(Angle + Rest) * Grown + Speed / ?RATE * Turned - Rest,
     (Angle + Rest) * ?RATE * Turned + Speed * Grown}.

fallen({Angle, _}) -> abs(Angle) > ?FALLEN.

lying({Angle, _}) when Angle > 0 -> {?FALLEN, 0.0};
lying(_) -> {-?FALLEN, 0.0}.

%% force(State) is the control law: both poles at -POLES.
force({Angle, Speed}) ->
    Wanted = -(?RATE * ?RATE + ?POLES * ?POLES) * Angle - 2 * ?POLES * Speed,
    max(-?STRONGEST, min(?STRONGEST, Wanted)).

%% wind(Random) -> {Force, Random}: the same gusts for the same seed.
wind(Random) ->
    {U, Next} = rand:uniform_s(Random),
    {?GUST * (2 * U - 1), Next}.

degrees({Angle, _}) -> Angle * 180 / math:pi().
