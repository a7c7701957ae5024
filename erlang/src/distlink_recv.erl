%% What arrives: packet numbers seen, segments to messages, messages in their
%% order, and what is acknowledged.
-module(distlink_recv).

-export([fresh/2, packet_number/2, segment/8, acks/4]).

-include("distlink_link.hrl").

-define(PACKET_RANGES, 64).
-define(ORDER_RANGES, 8192).
-define(MAX_STREAMS, 4096).
-define(MAX_MESSAGE, (256 bsl 20)).
-define(MESSAGE_COST, 64).      % octets that a message takes here beside its own
-define(HELD, (512 bsl 20)).    % of messages begun and not delivered, with what they cost

%% pending: out of order, disjoint, the highest offset first; cost: what was added
%% to that since it was asked.
-record(in, {next = 0, high = 0, pending = [], inside = false, parts = [], size = 0,
             order = 0, fence = 0, complete = [], cost = 0}).

%% fresh(N, Ranges): N has not been seen. Below the ranges that are remembered
%% none has: what is that late counts as lost.
fresh(N, [{High, _} | _]) when N > High -> true;
fresh(N, Ranges) -> fresh(N, Ranges, 0).

fresh(_, [], Count) -> Count < ?PACKET_RANGES;
fresh(N, [{High, Low} | _], _) when N >= Low -> N > High;
fresh(N, [_ | T], Count) -> fresh(N, T, Count + 1).

%% packet_number(N, Ranges) -> Ranges with the fresh N. Ranges descend.
packet_number(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
packet_number(N, Ranges) ->
    case insert(N, Ranges) of
        R when length(R) > ?PACKET_RANGES -> lists:droplast(R);
        R -> R
    end.

insert(N, []) -> [{N, N}];
insert(N, [{High, _} | _] = R) when N > High + 1 -> [{N, N} | R];
insert(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
insert(N, [{High, Low}, {N1, Low2} | T]) when N =:= Low - 1, N1 =:= N - 1 -> [{High, Low2} | T];
insert(N, [{High, Low} | T]) when N =:= Low - 1 -> [{High, N} | T];
insert(N, [H | T]) -> [H | insert(N, T)].

%% ---- Segments to messages ----------------------------------------------

segment(Flags, Stream, Offset, Order, Fence, Data, Now, #link{auth = #auth{proved = false}} = L) ->
    Pending = case L#link.ins of #{0 := In} -> In#in.pending; _ -> [] end,
    case distlink_auth:allowed(Stream, Offset + byte_size(Data) + (Flags bsr 1), length(Pending)) of
        %% A small piece does not keep a large datagram.
        true -> segment0(Flags, Stream, Offset, Order, Fence, binary:copy(Data), Now, L);
        false -> distlink_link:close(Now, 9, <<"no proof of who this is, but data">>, L)
    end;
segment(Flags, Stream, Offset, Order, Fence, Data, Now, L) -> segment0(Flags, Stream, Offset, Order, Fence, Data, Now, L).

segment0(Flags, Stream, Offset, Order, Fence, Data, Now, L0) ->
    case L0#link.ins of
        #{Stream := In} -> segment1(Flags, Stream, Offset, Order, Fence, Data, Now, In, L0);
        Ins when map_size(Ins) < ?MAX_STREAMS ->
            segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{}, L0);
        _ -> distlink_link:close(Now, 3, <<"too many streams">>, L0)
    end.

segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{high = High, next = Next} = In, L) ->
    End = Offset + byte_size(Data) + (Flags bsr 1),
    Used = L#link.used_in + max(0, End - High),
    if
        Used > L#link.told -> distlink_link:close(Now, 3, <<"credit exceeded">>, L);
        End =< Next -> L;
        Offset > Next ->
            In1 = In#in{high = max(High, End), pending = hold({Offset, End, Flags, Order, Fence, Data}, In#in.pending)},
            L#link{used_in = Used, ins = (L#link.ins)#{Stream => In1}};
        true ->
            case take(Offset, End, Flags, Order, Fence, Data, In#in{high = max(High, End), pending = lists:reverse(In#in.pending)}) of
                {error, Code, Text} -> distlink_link:close(Now, Code, Text, L);
                #in{cost = Cost} when L#link.held + Cost > ?HELD ->
                    distlink_link:close(Now, 2, <<"too much unfinished or behind a fence">>, L);
                #in{cost = Cost, pending = Pending} = In1 ->
                    Took = In1#in.next - Next,
                    deliver(Now, Stream, In1#in{cost = 0, pending = lists:reverse(Pending)},
                            L#link{used_in = Used, accepted = L#link.accepted + Took, held = L#link.held + Cost})
            end
    end.

%% hold keeps of a segment that came too early what is not held already, so that
%% what is held is never more than the credit.
hold(S, []) -> [copy(S)];
hold({Offset, End, _, _, _, _} = S, [{O, E, _, _, _, _} = H | T]) ->
    if
        O >= End -> [H | hold(S, T)];
        E =< Offset -> [copy(S), H | T];
        O =< Offset, E >= End -> [H | T];
        O >= Offset, E =< End -> hold(S, T);
        O > Offset -> [H | hold(upto(O, S), T)];
        true -> [copy(from(E, S)), H | T]
    end.

upto(At, {Offset, _, Flags, Order, Fence, Data}) ->
    {Offset, At, Flags band 1, Order, Fence, binary:part(Data, 0, At - Offset)}.

from(At, {Offset, End, Flags, _, _, Data}) ->
    N = At - Offset,
    <<_:N/binary, Rest/binary>> = Data,
    {At, End, Flags band 2, 0, 0, Rest}.

%% A small piece does not keep a large datagram.
copy(S) ->
    Data = element(6, S),
    case binary:referenced_byte_size(Data) > 2 * byte_size(Data) of
        true -> setelement(6, S, binary:copy(Data));
        false -> S
    end.

%% take appends a segment that starts at or before the next offset wanted, and
%% then what was waiting behind it.
take(Offset, End, Flags, Order, Fence, Data, #in{next = Next, pending = Pending} = In0) when End > Next ->
    Known = Next - Offset,
    First = Flags band 1 =:= 1,
    if
        Known =:= 0, First =:= In0#in.inside; Known > 0, not In0#in.inside -> {error, 3, <<"message boundaries do not match">>};
        true ->
            In1 = case Known =:= 0 andalso First of
                      true -> In0#in{inside = true, order = Order, fence = Fence, parts = [], size = 0, cost = In0#in.cost + ?MESSAGE_COST};
                      false -> In0
                  end,
            Skip = min(Known, byte_size(Data)),
            <<_:Skip/binary, New/binary>> = Data,
            Size = In1#in.size + byte_size(New),
            In2 = In1#in{next = End, size = Size, parts = [New | In1#in.parts], cost = In1#in.cost + byte_size(New)},
            if
                Size > ?MAX_MESSAGE -> {error, 6, <<"message too long">>};
                Flags band 2 =:= 2 ->
                    M = {In2#in.order, In2#in.fence, Size + ?MESSAGE_COST, message(In2#in.parts)},
                    take_more(Pending, In2#in{inside = false, parts = [], complete = [M | In2#in.complete]});
                true -> take_more(Pending, In2)
            end
    end;
take(_, _, _, _, _, _, #in{pending = Pending} = In) ->
    take_more(Pending, In).

take_more([{Offset, End, Flags, Order, Fence, Data} | T], #in{next = Next} = In) when Offset =< Next ->
    take(Offset, End, Flags, Order, Fence, Data, In#in{pending = T});
take_more(_, In) -> In.

message([One]) -> One;
message(Parts) -> lists:reverse(Parts).

%% deliver hands over what the stream, and others behind a fence, may give.
%% complete is newest first while it is short, so a fenced stream stays cheap.
deliver(_, Stream, #in{complete = []} = In, L) ->
    L#link{ins = (L#link.ins)#{Stream => In}};
deliver(_, Stream, #in{complete = [{Order, Fence, Cost, Data}]} = In, #link{orders = [{0, High}], blocked = [], auth = none} = L)
  when Order =:= High + 1, Fence =< Order ->
    L#link{ins = (L#link.ins)#{Stream => In#in{complete = []}}, orders = [{0, Order}],
           delivered = [Data | L#link.delivered], held = L#link.held - Cost, n_messages_in = L#link.n_messages_in + 1};
deliver(Now, Stream, In, L) ->
    Blocked = case lists:member(Stream, L#link.blocked) of
                  true -> L#link.blocked;
                  false -> L#link.blocked ++ [Stream]
              end,
    L1 = deliver_blocked(Now, L#link{ins = (L#link.ins)#{Stream => In}, blocked = Blocked}),
    case L1#link.state =:= open andalso length(L1#link.orders) > ?ORDER_RANGES of
        true -> distlink_link:close(Now, 3, <<"too much behind a fence">>, L1);
        false -> L1
    end.

deliver_blocked(Now, #link{blocked = Blocked} = L) ->
    Before = below(L#link.orders),
    {Still, L1} = lists:foldl(fun(Stream, Acc) -> deliver_stream(Now, Stream, Acc) end, {[], L#link{blocked = []}}, Blocked),
    L2 = L1#link{blocked = lists:reverse(Still)},
    case Still =/= [] andalso below(L2#link.orders) =/= Before of
        true -> deliver_blocked(Now, L2);
        false -> L2
    end.

deliver_stream(Now, Stream, {Still, #link{ins = Ins} = L}) ->
    #{Stream := In} = Ins,
    {Left, L1} = deliver_messages(Now, lists:reverse(In#in.complete), L),
    L2 = L1#link{ins = Ins#{Stream => In#in{complete = lists:reverse(Left)}}},
    case Left of
        [] -> {Still, L2};
        _ -> {[Stream | Still], L2}
    end.

deliver_messages(Now, [{Order, Fence, Cost, Data} | T] = Ms, #link{state = open} = L) ->
    case Fence =< below(L#link.orders) of
        true ->
            L1 = L#link{orders = ordered(Order, L#link.orders), held = L#link.held - Cost},
            deliver_messages(Now, T, delivered(Now, Data, L1));
        false -> {Ms, L}
    end;
deliver_messages(_, Ms, L) -> {Ms, L}.

delivered(Now, Data, #link{auth = #auth{proved = false}} = L) -> distlink_auth:take(Now, Data, L);
%% Who sends more than an AUTH has taken ours.
delivered(Now, Data, #link{auth = #auth{}} = L) -> delivered(Now, Data, distlink_auth:proved(Now, L));
delivered(_, Data, L) -> L#link{delivered = [Data | L#link.delivered], n_messages_in = L#link.n_messages_in + 1}.

%% Orders delivered: ascending ranges {Low, High}.
below([{0, High} | _]) -> High + 1;
below(_) -> 0.

ordered(N, [{Low, High} | T]) when N =:= High + 1 ->
    case T of
        [{Low2, High2} | T2] when Low2 =:= N + 1 -> [{Low, High2} | T2];
        _ -> [{Low, N} | T]
    end;
ordered(N, [{Low, High} | T]) when N =:= Low - 1 -> [{N, High} | T];
ordered(N, [{Low, _} | _] = R) when N < Low -> [{N, N} | R];
ordered(N, [{_, High} = H | T]) when N > High -> [H | ordered(N, T)];
ordered(N, []) -> [{N, N}];
ordered(_, R) -> R.

%% acks(Which, Now, Room, Link) -> {ACK frames, Room, Link}: those that wait, or are
%% due, and go by the current lane, as far as there is room.
acks(Which, Now, Room, #link{peer_lanes = Others} = L) when map_size(Others) =:= 0 -> acks([L#link.peer_lane], Which, Now, [], Room, L);
acks(Which, Now, Room, L) -> acks(distlink_lane:peer_lanes(L), Which, Now, [], Room, L).

acks([], _, _, Frames, Room, L) -> {Frames, Room, L};
acks([N | T], Which, Now, Frames, Room, #link{lane = Lane} = L0) ->
    L = distlink_lane:peer_in(N, L0),
    case wanted(Which, Now, L) andalso distlink_lane:of_ack(N, L) =:= Lane of
        false -> acks(T, Which, Now, Frames, Room, L);
        true ->
            {Ack, L1} = make_ack(Now, L),
            case byte_size(Ack) =< Room of
                true -> acks(T, Which, Now, [Ack | Frames], Room - byte_size(Ack), L1);
                false -> acks(T, Which, Now, Frames, Room, L)
            end
    end.

wanted(_, _, #link{ack_now = true}) -> true;
wanted(wait, _, #link{ack_at = At}) -> At =/= infinity;
wanted(due, Now, #link{ack_at = At}) -> Now >= At.

make_ack(Now, #link{accepted = A, window = W} = L) ->
    Limit = A + W,
    {distlink_wire:ack(numbers(L), min(max(Now - L#link.newest_at, 0), 16#FFFFFFFF), Limit),
     L#link{told = Limit, eliciter = 0, ack_at = infinity, ack_now = false}}.

numbers(#link{peer_lane = 0, ranges = Ranges}) -> Ranges;
numbers(#link{peer_lane = N, ranges = Ranges}) -> [{High bor (N bsl ?LANE_SHIFT), Low bor (N bsl ?LANE_SHIFT)} || {High, Low} <- Ranges].
