%% A stream for a connection: a tsnswitchd is asked to admit it, then the
%% connection is paced to it and its datagrams get its priority. It is given
%% back at nodedown. A process of its own asks for it and waits for the end: when
%% that process is gone, with the whole node perhaps, the switch takes the stream
%% back (the request `lease').
-module(distlink_reserve).

-export([reserve/2, release/1, stream/2]).

-define(CALL, 130000). % ms: a tsnswitchd ends a call after two minutes
-define(CLASSES, [bulk, configured, control]).
-define(OVERHEAD, 42). % preamble, header, tag, FCS and gap of a frame

%% reserve(Node, Options) -> {ok, StreamId} | {error, Reason}. It is for what
%% goes from here to Node; the other way is Node's to reserve. Options:
%%
%%   rate              kbit/s on the wire; required
%%   frame             octets of the longest frame's payload; default 1500
%%   pcp               the stream's priority, 0..7; default 6, scheduled traffic as with tsnctl
%%   latency           ns, the most that is wanted; default 1 s
%%   talker, listener  stations as tsnctl knows them; default: the hosts of the two nodes' names
%%   priority          SO_PRIORITY of the datagrams; default: the stream's PCP
%%   bind              device whose VLAN the stream has
%%   launch            launch times, see distlink_launch
%%   classes           those that go by the stream, [control, configured] say; the others have sockets
%%                     of their own, as the command line says, and are under congestion
%%                     control. Default: all that have none by the command line
%%   switch            the daemon's node; default: -distlink_switch, or a
%%                     connected node called tsnswitchd, or tsnswitchd at our host
reserve(Node, Options) ->
    Me = self(),
    {Pid, Mon} = spawn_monitor(fun() -> holder(Me, Node, Options) end),
    receive
        {Pid, Result} -> erlang:demonitor(Mon, [flush]), Result;
        {'DOWN', Mon, process, _, Reason} -> {error, Reason}
    end.

%% holder goes on even if who asked for it dies.
holder(Caller, Node, Options) ->
    Result = reserve1(Node, Options),
    Caller ! {self(), Result},
    case Result of
        {ok, _} -> hold(Node, switch(Options));
        _ -> ok
    end.

%% hold: without the switch nobody answers for the stream, and without our server
%% nobody gives it back: the connection is best effort again.
hold(Node, Switch) ->
    Mon = erlang:monitor(process, {tsnswitchd, Switch}),
    Server = erlang:monitor(process, distlink),
    receive
        stop -> ok;
        {'DOWN', Mon, process, _, _} -> release(Node);
        {'DOWN', Server, process, _, _} ->
            case controller(Node) of
                {ok, Ctrl} -> distlink_controller:rebind(Ctrl, #{rate => 0});
                _ -> ok
            end
    end.

release(Node) ->
    apart(fun() ->
                  case controller(Node) of
                      {ok, Ctrl} -> release1(Ctrl);
                      Error -> Error
                  end
          end).

release1(Ctrl) ->
    case distlink_server:call({release, Ctrl}) of
        {ok, GiveBack} ->
            _ = distlink_controller:rebind(Ctrl, #{rate => 0}),
            GiveBack();
        Error -> Error
    end.

%% apart: what is begun is ended, too.
apart(Fun) ->
    {_, Mon} = spawn_monitor(fun() -> exit({done, Fun()}) end),
    receive
        {'DOWN', Mon, process, _, {done, Result}} -> Result;
        {'DOWN', Mon, process, _, Reason} -> {error, Reason}
    end.

controller(Node) ->
    case lists:keyfind(Node, 1, distlink:connections()) of
        {_, Ctrl} -> {ok, Ctrl};
        false -> {error, not_connected}
    end.

reserve1(Node, Options) ->
    case controller(Node) of
        {ok, Ctrl} ->
            case distlink_server:call({is_reserved, Ctrl}) of
                true -> {error, already_reserved};
                false -> add(Node, Ctrl, Options)
            end;
        Error -> Error
    end.

add(Node, Ctrl, Options) ->
    Switch = switch(Options),
    #{name := Name} = Spec = stream(Node, Options),
    _ = ask(Switch, {remove_stream, #{stream => Name}}), % of a former life of ours, perhaps
    case ask(Switch, {lease, add_stream, #{spec => Spec}}) of
        {ok, Answer} -> bind(Node, Ctrl, Switch, field(<<"stream">>, Answer), Options);
        Error -> Error
    end.

bind(Node, Ctrl, Switch, Stream, Options) ->
    Id = field(<<"id">>, Stream),
    Holder = self(),
    GiveBack = fun() ->
                       Result = case ask(Switch, {remove_stream, #{stream => Id}}) of {ok, _} -> ok; E -> E end,
                       Holder ! stop,
                       distlink_server:event(released, #{}, #{node => Node, stream => Id, switch => Switch}),
                       Result
               end,
    Priority = maps:get(priority, Options, field(<<"pcp">>, Stream)),
    To = maps:merge(#{rate => maps:get(rate, Options), priority => Priority}, maps:merge(maps:with([bind, launch], Options), others(Options))),
    case distlink_server:call({reserved, Ctrl, Id, GiveBack}) of
        ok ->
            case distlink_controller:rebind(Ctrl, To) of
                ok ->
                    distlink_server:event(reserved, #{rate => maps:get(rate, Options)}, #{node => Node, stream => Id, switch => Switch}),
                    {ok, Id};
                Error -> _ = release1(Ctrl), Error
            end;
        Error -> _ = GiveBack(), Error
    end.

%% others(Options) -> sockets of the classes that do not go by the stream
others(#{classes := Classes}) ->
    #{classes => maps:from_list([{C, distlink_config:socket(C)} || C <- ?CLASSES -- Classes])};
others(_) -> #{}.

%% stream(Node, Options) -> the stream that is asked for: one frame of the
%% longest kind as often as the rate needs it.
stream(Node, #{classes := Classes} = Options) ->
    case is_list(Classes) andalso Classes =/= [] andalso Classes -- ?CLASSES of
        [] -> stream(Node, maps:remove(classes, Options));
        _ -> exit({classes, "want some of bulk, configured, control"})
    end;
stream(Node, #{launch := Launch} = Options) ->
    case distlink_launch:valid(Launch) of
        ok -> stream(Node, maps:remove(launch, Options));
        {error, Reason} -> exit({launch, Reason})
    end;
stream(Node, #{rate := Rate} = Options) when is_integer(Rate), Rate > 0 ->
    Frame = maps:get(frame, Options, 1500),
    #{name => iolist_to_binary(io_lib:format("~s to ~s", [node(), Node])),
      talker => maps:get(talker, Options, host(node())),
      listener => maps:get(listener, Options, host(Node)),
      pcp => maps:get(pcp, Options, 6),
      max_frame_size => Frame, max_interval_frames => 1,
      interval_ns => (Frame + ?OVERHEAD) * 8000000 div Rate,
      max_latency_ns => maps:get(latency, Options, 1000000000)};
stream(_, _) -> exit({rate, "want kbit/s"}).

host(Node) -> iolist_to_binary(lists:nthtail(1, lists:dropwhile(fun(C) -> C =/= $@ end, atom_to_list(Node)))).

switch(#{switch := Switch}) -> Switch;
switch(_) ->
    case {init:get_argument(distlink_switch), [N || N <- nodes(connected), lists:prefix("tsnswitchd@", atom_to_list(N))]} of
        {{ok, Given}, _} -> list_to_atom(hd(lists:last(Given)));
        {_, [N | _]} -> N;
        _ -> list_to_atom("tsnswitchd@" ++ binary_to_list(host(node())))
    end.

ask(Switch, Request) ->
    try gen_server:call({tsnswitchd, Switch}, Request, ?CALL)
    catch exit:{Reason, _} -> {error, {Switch, Reason}}
    end.

%% Zero is not said in an answer.
field(Key, Map) -> maps:get(Key, Map, 0).
