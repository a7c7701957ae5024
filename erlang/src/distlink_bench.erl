%% Checks and a small benchmark of a distribution connection, whatever carries
%% it. Each result is one line of JSON on standard output. The peer needs this
%% module in its code path and nothing else.
-module(distlink_bench).
-behaviour(gen_server).

-export([start/0, check/1, check_slow/2, rtt/3, rtt/5, rtt_line/4, rtt_line/6, until_answer/3, throughput/3, hol/4, hol/5]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export([remote_target/1, sink/2]).

-define(ECHO, distlink_bench_echo).

%% start() runs the echo server; it is idempotent.
start() ->
    case gen_server:start({local, ?ECHO}, ?MODULE, [], []) of
        {ok, Pid} -> {ok, Pid};
        {error, {already_started, Pid}} -> {ok, Pid}
    end.

init([]) -> {ok, none}.
handle_call(Request, _From, S) -> {reply, Request, S}.
handle_cast(_, S) -> {noreply, S}.
handle_info({echo, From, Ref, Term}, S) -> From ! {Ref, Term}, {noreply, S};
handle_info(_, S) -> {noreply, S}.

remote(Node) ->
    {ok, Pid} = erpc:call(Node, ?MODULE, start, [], 10000),
    Pid.

%% rtt(Node, N, GapMs) -> {P50, P99, Max, Sorted} of N gen_server calls with 64
%% octets each way, in microseconds, GapMs apart (0: one after the other).
rtt(Node, N, GapMs) -> rtt(Node, N, GapMs, 3600000, 1).

%% rtt(Node, N, GapMs, LimitMs, Callers): the calls are shared out to processes,
%% and are fewer when the time is over.
rtt(Node, N, GapMs, LimitMs, Callers) when N >= Callers, Callers > 0 ->
    Pid = remote(Node),
    Payload = binary:copy(<<"x">>, 64),
    _ = [gen_server:call(Pid, Payload) || _ <- lists:seq(1, 5)],
    End = erlang:monotonic_time(microsecond) + LimitMs * 1000,
    Share = fun() -> exit({calls, calls(Pid, Payload, N div Callers, GapMs, End, [])}) end,
    Started = [spawn_monitor(Share) || _ <- lists:seq(1, Callers)],
    Sorted = lists:sort(lists:append([called(P, Mon) || {P, Mon} <- Started])),
    {percentile(50, Sorted), percentile(99, Sorted), lists:last(Sorted), Sorted}.

called(Pid, Mon) ->
    receive
        {'DOWN', Mon, process, Pid, {calls, L}} -> L;
        {'DOWN', Mon, process, Pid, Reason} -> exit(Reason)
    end.

calls(_, _, 0, _, _, Acc) -> Acc;
calls(Pid, Payload, N, GapMs, End, Acc) ->
    T0 = erlang:monotonic_time(microsecond),
    Payload = gen_server:call(Pid, Payload, 60000),
    T = erlang:monotonic_time(microsecond) - T0,
    case GapMs of
        0 -> ok;
        _ -> receive after GapMs -> ok end
    end,
    More = case T0 + T > End of true -> 0; false -> N - 1 end,
    calls(Pid, Payload, More, GapMs, End, [T | Acc]).

percentile(P, Sorted) -> lists:nth(max(1, (length(Sorted) * P + 99) div 100), Sorted).

%% rtt_line(Label, Node, N, GapMs) measures and prints; all samples are printed
%% too when there are at most 5000.
rtt_line(Label, Node, N, GapMs) -> rtt_line(Label, Node, N, GapMs, 3600000, 1).

rtt_line(Label, Node, N, GapMs, LimitMs, Callers) ->
    {P50, P99, Max, Sorted} = rtt(Node, N, GapMs, LimitMs, Callers),
    Samples = case N =< 5000 of
                  true -> [",\"sorted_us\":[", lists:join(",", [integer_to_list(T) || T <- Sorted]), "]"];
                  false -> []
              end,
    line(["\"test\":\"rtt\",\"label\":", string(Label), field("n", length(Sorted)), field("gap_ms", GapMs),
          field("p50_us", P50), field("p99_us", P99), field("max_us", Max), Samples]),
    {P50, P99, Max}.

%% check(Node) -> ok | failed. Ping, message, exit through a link, DOWN of a
%% monitor, 1 MB messages intact both ways, order: some 7 MB in all.
check(Node) -> check(Node, [{"message_1MB", fun megabyte/1}, {"order", fun(N) -> order(N, 2000, 100000, 30000) end}]).

%% check_slow(Node, LimitMs) is check with 1 MB one way and less to keep in
%% order, each within LimitMs, for a connection of a few Mbit/s or less.
check_slow(Node, LimitMs) ->
    check(Node, [{"message_1MB", fun(N) -> {_, Text} = digested(N, LimitMs), Text end},
                 {"order", fun(N) -> order(N, 500, 10000, LimitMs) end}]).

check(Node, Bulk) ->
    Results = [run(Name, fun() -> F(Node) end) ||
                  {Name, F} <- [{"ping", fun ping/1}, {"message", fun message/1}, {"link", fun link_exit/1},
                                {"monitor", fun monitor_down/1}, {"monitor_by_name", fun monitor_name/1} | Bulk]],
    case lists:all(fun(R) -> R end, Results) of
        true -> ok;
        false -> failed
    end.

run(Name, Fun) ->
    T0 = erlang:monotonic_time(microsecond),
    {Ok, Detail} = try Fun() of
                       D -> {true, D}
                   catch Class:Reason -> {false, io_lib:format("~p:~0p", [Class, Reason])}
                   end,
    line(["\"test\":", string(Name), ",\"ok\":", atom_to_list(Ok),
          field("us", erlang:monotonic_time(microsecond) - T0), ",\"detail\":", string(Detail)]),
    Ok.

ping(Node) ->
    pong = net_adm:ping(Node),
    "pong".

message(Node) ->
    Pid = remote(Node),
    Ref = make_ref(),
    Pid ! {echo, self(), Ref, hello},
    receive {Ref, hello} -> ok after 5000 -> error(timeout) end,
    {?ECHO, Node} ! {echo, self(), Ref, again},
    receive {Ref, again} -> "by pid and by name" after 5000 -> error(timeout) end.

%% remote_target(Name): a process that exits with the reason it is sent.
remote_target(Name) ->
    _ = case Name of
            none -> ok;
            _ -> register(Name, self())
        end,
    receive {stop, Reason} -> exit(Reason) end.

link_exit(Node) ->
    Old = process_flag(trap_exit, true),
    Pid = spawn_link(Node, ?MODULE, remote_target, [none]),
    Pid ! {stop, broken},
    R = receive {'EXIT', Pid, Reason} -> Reason after 5000 -> timeout end,
    process_flag(trap_exit, Old),
    broken = R,
    "exit reason broken".

monitor_down(Node) ->
    {Pid, Mon} = spawn_monitor(Node, ?MODULE, remote_target, [none]),
    Pid ! {stop, gone},
    receive {'DOWN', Mon, process, Pid, gone} -> "down reason gone" after 5000 -> error(timeout) end.

monitor_name(Node) ->
    Pid = spawn(Node, ?MODULE, remote_target, [distlink_bench_target]),
    ok = wait_name(Node, distlink_bench_target, 100),
    Mon = erlang:monitor(process, {distlink_bench_target, Node}),
    Pid ! {stop, gone},
    receive {'DOWN', Mon, process, {distlink_bench_target, Node}, gone} -> "down by name" after 5000 -> error(timeout) end.

wait_name(_, _, 0) -> timeout;
wait_name(Node, Name, N) ->
    case erpc:call(Node, erlang, whereis, [Name]) of
        undefined -> wait_name(Node, Name, N - 1);
        _ -> ok
    end.

%% The peer computes a digest of what it got; we get the whole back too.
megabyte(Node) ->
    Pid = remote(Node),
    {B, Text} = digested(Node, 30000),
    Ref = make_ref(),
    Pid ! {echo, self(), Ref, B},
    receive {Ref, Back} when Back =:= B -> Text
    after 30000 -> error(timeout)
    end.

%% digested(Node, LimitMs): a megabyte whose digest the peer found to be what we sent.
digested(Node, LimitMs) ->
    B = list_to_binary([erlang:md5(<<I:32>>) || I <- lists:seq(1, 65536)]),
    Digest = erlang:md5(B),
    Digest = erpc:call(Node, erlang, md5, [B], LimitMs),
    {B, io_lib:format("~b octets, digest ~s", [byte_size(B), hex(Digest)])}.

%% Count messages of one process, every 50th of Octets, arrive in order.
order(Node, Count, Octets, LimitMs) ->
    Pid = remote(Node),
    Ref = make_ref(),
    Big = binary:copy(<<"o">>, Octets),
    Ns = lists:seq(1, Count),
    _ = [Pid ! {echo, self(), Ref, {N, case N rem 50 of 0 -> Big; _ -> <<>> end}} || N <- Ns],
    _ = [receive {Ref, {M, _}} -> M = N after LimitMs -> error({timeout, N}) end || N <- Ns],
    io_lib:format("~b in order", [Count]).

%% throughput(Node, Size, Ms): messages of Size octets as fast as they go.
throughput(Node, Size, Ms) ->
    Self = self(),
    Sink = spawn(Node, ?MODULE, sink, [Self, 0]),
    B = binary:copy(<<"t">>, Size),
    T0 = erlang:monotonic_time(microsecond),
    N = pump(Sink, B, T0 + Ms * 1000, 0),
    Sink ! {count, Self},
    N = receive {counted, C} -> C after 60000 -> error(timeout) end,
    Us = erlang:monotonic_time(microsecond) - T0,
    line(["\"test\":\"throughput\"", field("size", Size), field("messages_per_s", N * 1000000 div Us),
          field("kbit_per_s", N * Size * 8000 div Us)]),
    N * 1000000 div Us.

pump(Sink, B, End, N) ->
    Sink ! B,
    case N band 63 =:= 0 andalso erlang:monotonic_time(microsecond) > End of
        true -> N + 1;
        false -> pump(Sink, B, End, N + 1)
    end.

sink(Owner, N) ->
    receive
        {count, Owner} -> Owner ! {counted, N};
        {ack, From} -> From ! acked, sink(Owner, N);
        B when is_binary(B) -> sink(Owner, N + 1)
    end.

%% hol(Node, Size, N, GapMs): paced calls beside a process that keeps two bulk
%% messages of Size octets on the way.
hol(Node, Size, N, GapMs) -> hol(Node, Size, N, GapMs, 3600000).

%% hol(Node, Size, N, GapMs, LimitMs) makes fewer calls when the time is over.
hol(Node, Size, N, GapMs, LimitMs) ->
    Sink = spawn(Node, ?MODULE, sink, [self(), 0]),
    B = binary:copy(<<"b">>, Size),
    T0 = erlang:monotonic_time(microsecond),
    Bulk = spawn_link(fun() -> Sink ! B, Sink ! {ack, self()}, bulk(Sink, B, 0) end),
    {P50, P99, Max, Sorted} = rtt(Node, N, GapMs, LimitMs, 1),
    Bulk ! {stop, self()},
    Done = receive {bulk, D} -> D after 60000 -> 0 end,
    Us = erlang:monotonic_time(microsecond) - T0,
    exit(Sink, kill),
    line(["\"test\":\"hol\"", field("size", Size), field("n", length(Sorted)), field("p50_us", P50), field("p99_us", P99),
          field("max_us", Max), field("bulk_kbit_per_s", Done * Size * 8000 div Us)]),
    {P50, P99, Max}.

bulk(Sink, B, N) ->
    Sink ! B,
    Sink ! {ack, self()},
    receive acked -> ok end,
    receive {stop, From} -> From ! {bulk, N + 1}, ok
    after 0 -> bulk(Sink, B, N + 1)
    end.

line(Fields) -> io:put_chars(["{", Fields, "}\n"]).

field(Name, N) -> [",\"", Name, "\":", integer_to_list(N)].

string(S) ->
    ["\"", [case C of
                $" -> "\\\"";
                $\\ -> "\\\\";
                C when C < 32 -> " ";
                C -> C
            end || C <- lists:flatten(S)], "\""].

hex(B) -> [io_lib:format("~2.16.0b", [X]) || <<X>> <= B].

%% until_answer(Node, EachMs, LimitMs) pings with calls of EachMs until one is
%% answered, also through a loss of the connection, and prints how long it took.
until_answer(Node, EachMs, LimitMs) ->
    T0 = erlang:monotonic_time(millisecond),
    until_answer(Node, EachMs, T0, T0 + LimitMs).

until_answer(Node, EachMs, T0, End) ->
    Answer = try gen_server:call({?ECHO, Node}, ping, EachMs) catch _:Reason -> {no, Reason} end,
    Now = erlang:monotonic_time(millisecond),
    case Answer of
        ping -> answered(true, Now - T0);
        _ when Now > End -> answered(false, Now - T0);
        {no, {Why, _}} when Why =/= timeout ->
            %% no connection: the next call makes one; not faster than EachMs
            receive after EachMs -> ok end,
            until_answer(Node, EachMs, T0, End);
        _ -> until_answer(Node, EachMs, T0, End)
    end.

answered(Ok, Ms) ->
    line(["\"test\":\"until_answer\",\"ok\":", atom_to_list(Ok), field("us", Ms * 1000)]).
