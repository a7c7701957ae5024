%% The wire format of distlink/PROTOCOL.md: packets and frames to octets and
%% back. Bad input is an error, never a crash.
-module(distlink_wire).

-export([parse/1, frames/1, init/3, retry/2, accept/3, refuse/3, reset/2, data/3, data_header/3,
         ack/3, close/2, challenge/1, response/1, segment/5]).
-export_type([packet/0, params/0, frame/0, range/0]).

-define(MAGIC, 16#DA).
-define(VERSION, 2).
-define(INIT_LEN, 256).
-define(TAG, 16).
-define(MAX_RANGES, 32).
-define(LANE_MASK, ((1 bsl 62) - 1)). % of a packet number: above it is the lane

%% delay is in microseconds; public and key_id are there with security.
-type params() :: #{id := pos_integer(), max := pos_integer(), security := byte(), suites := byte(),
                    window := pos_integer(), delay := non_neg_integer(), capabilities := non_neg_integer(),
                    public => <<_:256>>, key_id => binary()}.
-type range() :: {High :: non_neg_integer(), Low :: non_neg_integer()}.
-type packet() ::
        {init, params(), Token :: binary(), Binder :: binary()}
      | {retry, Id :: integer(), Token :: binary()}
      | {accept, Id :: integer(), params(), Tag :: binary()}
      | {refuse, Id :: integer(), Code :: byte(), Text :: binary()}
      | {data, Id :: integer(), PacketNumber :: integer(), Frames :: binary()}
      | {reset, Id :: integer(), PacketNumber :: integer()}
      | {version, Type :: byte(), Version :: byte(), Id :: integer(), Source :: integer()}.
-type frame() ::
        ping
      | {ack, [range()], DelayUs :: integer(), Limit :: integer()}
      | {close, Code :: byte(), Text :: binary()}
      | {challenge | response, <<_:64>>}
      | {segment, Flags :: byte(), Stream :: integer(), Offset :: integer(),
         Order :: integer(), Fence :: integer(), Data :: binary()}.

%% parse(Octets) takes the first packet off a datagram.
-spec parse(binary()) -> {ok, packet(), Rest :: binary()} | error.
parse(<<?MAGIC, ?VERSION:4, Type:4, Len:16, Id:64, T/binary>>) when Len >= 12, Len - 12 =< byte_size(T) ->
    N = Len - 12,
    <<Body:N/binary, Rest/binary>> = T,
    case body(Type, Id, Len, Body) of
        error -> error;
        Packet -> {ok, Packet, Rest}
    end;
parse(<<?MAGIC, Version:4, Type:4, Len:16, Id:64, T/binary>>) when Version =/= ?VERSION, Len >= 12, Len - 12 =< byte_size(T) ->
    N = Len - 12,
    <<Body:N/binary, Rest/binary>> = T,
    Source = case Body of <<S:64, _/binary>> -> S; _ -> 0 end,
    {ok, {version, Type, Version, Id, Source}, Rest};
parse(_) ->
    error.

body(5, Id, _, <<PN:64, Frames/binary>>) ->
    {data, Id, PN, Frames};
body(1, _, Len, B) when Len >= ?INIT_LEN ->
    case params(B) of
        {P, <<N, Token:N/binary, Rest/binary>>} when N =< 64 ->
            case proof(P, Rest) of
                error -> error;
                Proof -> {init, P, Token, Proof}
            end;
        _ -> error
    end;
body(2, Id, _, <<N, Token:N/binary, _/binary>>) when N =< 64 ->
    {retry, Id, Token};
body(3, Id, _, B) ->
    case params(B) of
        {P, Rest} ->
            case proof(P, Rest) of
                error -> error;
                Proof -> {accept, Id, P, Proof}
            end;
        error -> error
    end;
body(4, Id, _, <<Code, N, Text:N/binary, _/binary>>) ->
    {refuse, Id, Code, Text};
body(6, _, _, <<Id:64, PN:64, _/binary>>) ->
    {reset, Id, PN};
body(_, _, _, _) ->
    error.

params(<<Id:64, Max:16, Security, Suites, Window:32, Delay:32, Caps:32, T/binary>>)
  when Id > 0, Max >= 512, Max =< 65507, Window > 0 ->
    P = #{id => Id, max => Max, security => Security, suites => Suites, window => Window, delay => Delay,
          capabilities => Caps},
    case T of
        _ when Security =:= 0 -> {P, T};
        <<Public:32/binary, N, KeyId:N/binary, Rest/binary>> when N =< 32 ->
            {P#{public => Public, key_id => KeyId}, Rest};
        _ -> error
    end;
params(_) ->
    error.

%% The last octets of a packet with security.
proof(#{security := 0}, _) -> <<>>;
proof(_, B) when byte_size(B) >= ?TAG -> binary:part(B, byte_size(B), -?TAG);
proof(_, _) -> error.

%% frames(Octets) parses all frames of a DATA packet or none.
-spec frames(binary()) -> {ok, [frame()]} | error.
frames(B) -> frames(B, []).

frames(<<2:5, 0:1, Last:1, 0:1, Stream:32, Offset:64, Len:16, Data:Len/binary, T/binary>>, Acc)
  when Offset =< 1 bsl 62, Len + Last > 0 ->
    frames(T, [{segment, Last bsl 1, Stream, Offset, 0, 0, Data} | Acc]);
frames(<<2:5, 0:1, Last:1, 1:1, Stream:32, Offset:64, Len:16, Order:64, Data:Len/binary, T/binary>>, Acc)
  when Offset =< 1 bsl 62, Len + Last > 0 ->
    frames(T, [{segment, 1 bor (Last bsl 1), Stream, Offset, Order, 0, Data} | Acc]);
frames(<<2:5, 1:1, Last:1, 1:1, Stream:32, Offset:64, Len:16, Order:64, Fence:64, Data:Len/binary, T/binary>>, Acc)
  when Offset =< 1 bsl 62, Len + Last > 0, Fence =< Order ->
    frames(T, [{segment, 1 bor (Last bsl 1), Stream, Offset, Order, Fence, Data} | Acc]);
frames(<<2, Largest:64, Delay:32, Limit:64, N, T/binary>>, Acc) when N >= 1, N =< ?MAX_RANGES, byte_size(T) >= N * 8 ->
    S = N * 8,
    <<R:S/binary, Rest/binary>> = T,
    case ranges(R, Largest, first, []) of
        error -> error;
        Ranges -> frames(Rest, [{ack, Ranges, Delay, Limit} | Acc])
    end;
frames(<<1, T/binary>>, Acc) -> frames(T, [ping | Acc]);
frames(<<3, Code, N, Text:N/binary, T/binary>>, Acc) -> frames(T, [{close, Code, Text} | Acc]);
frames(<<4, Data:8/binary, T/binary>>, Acc) -> frames(T, [{challenge, Data} | Acc]);
frames(<<5, Data:8/binary, T/binary>>, Acc) -> frames(T, [{response, Data} | Acc]);
frames(<<0, _/binary>>, Acc) -> {ok, lists:reverse(Acc)};
frames(<<>>, Acc) -> {ok, lists:reverse(Acc)};
frames(_, _) -> error.

ranges(<<>>, _, _, Acc) -> lists:reverse(Acc);
ranges(<<0:32, Run:32, T/binary>>, High, first, []) when Run >= 1, Run - 1 =< High band ?LANE_MASK ->
    ranges(T, High - Run + 1, next, [{High, High - Run + 1}]);
ranges(<<Gap:32, Run:32, T/binary>>, Low, next, Acc) when Gap >= 1, Run >= 1, Low band ?LANE_MASK >= Gap + Run ->
    High = Low - Gap - 1,
    ranges(T, High - Run + 1, next, [{High, High - Run + 1} | Acc]);
ranges(_, _, _, _) -> error.

%% Encoders.

packet(Type, Id, Body) ->
    Len = 12 + iolist_size(Body),
    [<<?MAGIC, ?VERSION:4, Type:4, Len:16, Id:64>> | Body].

encode(#{id := Id, max := Max, security := Security, suites := Suites, window := W, delay := D, capabilities := C} = P) ->
    B = <<Id:64, Max:16, Security, Suites, W:32, D:32, C:32>>,
    case P of
        #{public := Public, key_id := KeyId} -> <<B/binary, Public/binary, (byte_size(KeyId)), KeyId/binary>>;
        _ -> B
    end.

%% init(Params, Token, Binder): the binder is empty without security.
-spec init(params(), binary(), binary()) -> iolist().
init(Params, Token, Binder) ->
    B = <<(encode(Params))/binary, (byte_size(Token)), Token/binary>>,
    Pad = max(0, ?INIT_LEN - 12 - byte_size(B) - byte_size(Binder)) * 8,
    packet(1, 0, [<<B/binary, 0:Pad, Binder/binary>>]).

-spec retry(integer(), binary()) -> iolist().
retry(Id, Token) -> packet(2, Id, [byte_size(Token), Token]).

-spec accept(integer(), params(), binary()) -> iolist().
accept(Id, Params, Tag) -> packet(3, Id, [encode(Params), Tag]).

-spec refuse(integer(), byte(), binary()) -> iolist().
refuse(Id, Code, Text) -> packet(4, Id, [Code, byte_size(Text), Text]).

-spec reset(integer(), integer()) -> iolist().
reset(Id, PN) -> packet(6, 0, [<<Id:64, PN:64>>]).

-spec data(integer(), integer(), iolist()) -> iolist().
data(Id, PN, Frames) -> [data_header(Id, PN, iolist_size(Frames)) | Frames].

%% data_header(Id, PacketNumber, Length) is what stands before that many octets.
-spec data_header(integer(), integer(), integer()) -> binary().
data_header(Id, PN, Len) -> <<?MAGIC, ?VERSION:4, 5:4, (20 + Len):16, Id:64, PN:64>>.

-spec ack([range()], integer(), integer()) -> binary().
ack([{Largest, _} | _] = Ranges, Delay, Limit) ->
    Few = lists:sublist(Ranges, ?MAX_RANGES),
    B = << <<Gap:32, Run:32>> || {Gap, Run} <- gaps(Few, first) >>,
    <<2, Largest:64, Delay:32, Limit:64, (length(Few)), B/binary>>.

gaps([], _) -> [];
gaps([{High, Low0} | T], Above) ->
    Low = max(Low0, High - 65535), % older numbers were acknowledged long ago
    Gap = case Above of first -> 0; _ -> Above - High - 1 end,
    [{Gap, High - Low + 1} | gaps(T, Low)].

-spec close(byte(), binary()) -> binary().
close(Code, Text) -> <<3, Code, (byte_size(Text)), Text/binary>>.

-spec challenge(binary()) -> binary().
challenge(Data) -> <<4, Data:8/binary>>.

-spec response(binary()) -> binary().
response(Data) -> <<5, Data:8/binary>>.

%% segment(Flags, Stream, Offset, {Order, Fence}, Length) is the frame without
%% its data. Flags: 1 FIRST, 2 LAST. Fence 0 is none.
-spec segment(0..3, integer(), integer(), {integer(), integer()}, integer()) -> binary().
segment(Flags, Stream, Offset, {Order, Fence}, Len) when Flags band 1 =:= 1, Fence > 0 ->
    <<(16#14 bor Flags), Stream:32, Offset:64, Len:16, Order:64, Fence:64>>;
segment(Flags, Stream, Offset, {Order, _}, Len) when Flags band 1 =:= 1 ->
    <<(16#10 bor Flags), Stream:32, Offset:64, Len:16, Order:64>>;
segment(Flags, Stream, Offset, _, Len) ->
    <<(16#10 bor Flags), Stream:32, Offset:64, Len:16>>.
