%% What leaves: messages queued by stream and class, cut into segments, packed
%% into datagrams as credit, rate and congestion allow.
-module(distlink_send).

-export([write/6, idle/1, datagrams/3, make_packet/5, probe_path/2, count/2, refill/2, tokens/1, pick/1,
         class/2, set_class/3, waits/2, split/2, span/1, queued_by_class/1, to_resend/2]).

-include("distlink_link.hrl").

%% After so many packets that are remembered, an ACK alone asks for an ACK; not
%% more often, or two ends would ask each other for ever.
-define(REMEMBERED, 256).
-define(MIN_PIECE, 64).
-define(DATA_HEADER, 20).
-define(BATCH, 24).               % datagrams made before they are sent: their RTT begins when they are made

-record(out, {messages = queue:new(), bin, pos = 0, offset = 0}).

%% write(Now, Stream, Class, Fence, {Size, IoData}, Link) queues a message.
write(Now, Stream, Class, Fence, {Size, Data}, #link{outs = Outs, order = Order} = L0) ->
    La = case distlink_lane:idle(L0) of
             true -> L0#link{progress = Now};
             false -> L0
         end,
    Lb = distlink_lane:in(distlink_lane:of_class(Class, La), La),
    L = case idle(Lb) of
            true -> Lb#link{last_sent = Now};
            false -> Lb
        end,
    Before = case Fence of none -> L#link.fence; _ -> Order end,
    Out = case Outs of #{Stream := O} -> O; _ -> #out{} end,
    L1 = case Out#out.bin =:= undefined andalso queue:is_empty(Out#out.messages) of
             true -> turn(Class, Stream, L);
             false -> L
         end,
    Out1 = Out#out{messages = queue:in({Size, Data, {Order, Before}, Class}, Out#out.messages)},
    L1#link{outs = Outs#{Stream => Out1}, order = Order + 1,
            fence = case Fence of barrier -> Order + 1; _ -> L#link.fence end,
            queued = L#link.queued + Size + 1, n_messages_out = L#link.n_messages_out + 1}.

%% idle(Link): the current lane is.
idle(#link{in_flight = 0, queued = 0}) -> true;
idle(_) -> false.

%% queued_by_class(Link) -> #{Class => offsets not yet sent once}
queued_by_class(#link{outs = Outs}) ->
    maps:fold(fun(_, #out{messages = Q, bin = Bin, pos = Pos}, Sums) ->
                      Begun = case Bin of {B, _, C} -> add(C, byte_size(B) - Pos, Sums); undefined -> Sums end,
                      lists:foldl(fun({Size, _, _, C}, S) -> add(C, Size, S) end, Begun, queue:to_list(Q))
              end, #{}, Outs).

add(Class, Size, Sums) -> maps:update_with(Class, fun(N) -> N + Size + 1 end, Size + 1, Sums).

%% to_resend(Class, Link) -> offsets of what is to be sent again
to_resend(Class, #link{unacked = U} = L) ->
    {Resend, _} = class(Class, L),
    lists:sum([element(2, map_get(K, U)) || K <- lists:usort([Key || #seg{key = Key} <- Resend]), is_map_key(K, U)]).

%% What waits in a class: {Lost segments, oldest first; streams with something to send}.
class(bulk, #link{bulk = C}) -> C;
class(configured, #link{configured = C}) -> C;
class(control, #link{control = C}) -> C.

set_class(bulk, C, L) -> L#link{bulk = C};
set_class(configured, C, L) -> L#link{configured = C};
set_class(control, C, L) -> L#link{control = C}.

turn(Class, Stream, L) ->
    {Resend, Turn} = class(Class, L),
    set_class(Class, {Resend, queue:in(Stream, Turn)}, L).

%% pick(Link) -> {Class | none, Link}: the first class of the current lane that
%% could send a segment now. What was acknowledged while it waited to be sent
%% again is dropped.
pick(#link{classes = Classes} = L) -> pick_first(Classes, L).

pick_first([Class | T], L0) ->
    case pick(Class, L0) of
        {none, L} -> pick_first(T, L);
        Found -> Found
    end;
pick_first([], L) -> {none, L}.

pick(Class, #link{unacked = U} = L) ->
    case class(Class, L) of
        {[#seg{key = Key} | T], Turn} when not is_map_key(Key, U) -> pick(Class, set_class(Class, {T, Turn}, L));
        {[_ | _], _} -> {Class, L};
        {[], Turn} ->
            case queue:is_empty(Turn) of
                true -> {none, L};
                false -> credited(Class, credit(Class, L), L)
            end
    end.

credited(Class, Credit, #link{blocked_out = false} = L) when Credit > 0 -> {Class, L};
credited(Class, Credit, L) when Credit > 0 -> {Class, L#link{blocked_out = false}};
credited(_, _, #link{blocked_out = true} = L) -> {none, L};
credited(_, _, L) -> {none, L#link{blocked_out = true, n_blocked = L#link.n_blocked + 1}}.

%% credit(Class, Link): the last eighth is not for bulk.
credit(bulk, #link{used = Used, limit = Limit, peer_window = W}) -> max(0, Limit - W div 8 - Used);
credit(_, #link{used = Used, limit = Limit}) -> max(0, Limit - Used).

%% datagrams(Now, Datagrams, Link) -> {Datagrams and before them those made now in the
%% current lane, the last first, Link}
datagrams(Now, Acc, L) -> datagrams(?BATCH, Now, Acc, L).

datagrams(0, _, Acc, L) -> {Acc, L#link{more = true}};
datagrams(N, Now, Acc, #link{ping = Ping} = L0) ->
    {Class, L1} = pick(L0),
    {Open, L2} = case Class of
                     none -> {false, L1};
                     _ -> window_open(L1)
                 end,
    case (Ping orelse Open) andalso tokens(L2) of
        true ->
            {B, L3} = packet_out(Now, L2),
            datagrams(N - 1, Now, [distlink_lane:tag(B, L3) | Acc], L3);
        false ->
            case distlink_recv:acks(due, Now, room(L2), L2) of
                {[], _, L3} -> {Acc, L3};
                {Acks, _, L3} ->
                    {B, L4} = acks_out(Now, Acks, L3),
                    datagrams(N - 1, Now, [distlink_lane:tag(B, L4) | Acc], L4)
            end
    end.

%% acks_out sends ACKs alone. Once in a while they ask for one: only that tells of
%% packets that this side need not remember.
acks_out(Now, Acks, #link{next = Next, ack_asked = Asked, base = Base} = L) when Next >= Base + ?REMEMBERED, Next >= Asked + ?REMEMBERED ->
    make_packet(Now, [<<1>> | Acks], [], true, L#link{ack_asked = Next});
acks_out(Now, Acks, L) -> make_packet(Now, Acks, [], false, L).

tokens(#link{rate = 0}) -> true;
tokens(#link{tokens = T}) -> T > 0.

%% window_open(Link) -> {Whether congestion control lets a packet go, Link}
window_open(#link{rate = Rate, extra = Extra} = L) when Rate > 0; Extra > 0 -> {true, L};
window_open(#link{congestion = G} = L) ->
    case distlink_congestion:room(G) of
        true -> {true, L};
        false -> {false, L#link{congestion = distlink_congestion:limited(G)}}
    end.

room(#link{mtu = Mtu, seal = none}) -> distlink_mtu:size(Mtu) - ?DATA_HEADER;
room(#link{mtu = Mtu}) -> distlink_mtu:size(Mtu) - ?DATA_HEADER - ?TAG.

%% packet_out fills one packet: ACKs, then class by class what was lost and a
%% piece of each stream in turn until it is full.
packet_out(Now, L0) ->
    Room0 = room(L0),
    {Frames0, Room1, L1} = distlink_recv:acks(wait, Now, Room0, L0),
    {Frames1, Room, L2} =
        case L1#link.ping of
            true -> {[<<1>> | Frames0], Room1 - 1, L1#link{ping = false}};
            false -> {Frames0, Room1, L1}
        end,
    {Frames, Segs, L3} =
        case L1#link.ping andalso L1#link.pings > 1 of
            true -> {Frames1, [], L2}; % where long packets do not get through, this one shall
            false -> fill(Room, Frames1, [], L2)
        end,
    Pad = case Segs of [] -> [<<0:128>>]; _ -> [] end, % as long as a CHALLENGE, which may answer it
    make_packet(Now, lists:reverse(Frames, Pad), Segs, true, L3#link{extra = max(0, L3#link.extra - 1)}).

fill(Room, Frames, Segs, L0) ->
    case pick(L0) of
        {none, L} -> {Frames, Segs, L};
        {Class, L1} ->
            case segment_of(Class, class(Class, L1), Room, L1) of
                {none, L} -> {Frames, Segs, L};
                {#seg{flags = F, key = {Stream, Offset}, order = O, data = Data} = Seg, L} ->
                    Hdr = distlink_wire:segment(F, Stream, Offset, O, byte_size(Data)),
                    fill(Room - byte_size(Hdr) - byte_size(Data), [Data, Hdr | Frames], [Seg | Segs], L)
            end
    end.

header_len(Flags, _) when Flags band 1 =:= 0 -> 15;
header_len(_, {_, 0}) -> 23;
header_len(_, _) -> 31.

span(#seg{flags = Flags, data = Data}) -> byte_size(Data) + (Flags bsr 1).

%% segment_of takes a segment of at most Room octets, header included, from a
%% class that has one.
segment_of(Class, {[], Turn}, Room, L) -> cut(Class, Turn, Room, L);
segment_of(Class, {[#seg{flags = F, order = O, data = Data} = Seg | T], Turn}, Room0, L0) ->
    Room = Room0 - header_len(F, O),
    L = L0#link{n_resent = L0#link.n_resent + 1},
    if
        byte_size(Data) =< Room -> {Seg, on_its_way(Seg, set_class(Class, {T, Turn}, L))};
        Room < ?MIN_PIECE -> {none, L0};
        true ->
            {Head, Tail} = split(Seg, Room),
            {Head, on_its_way(Head, waits(Tail, set_class(Class, {[Tail | T], Turn}, L)))}
    end.

%% split cuts a segment; the head keeps its key.
split(#seg{key = {Stream, Offset}, flags = F, data = Data} = Seg, N) ->
    <<Head:N/binary, Tail/binary>> = Data,
    {Seg#seg{flags = F band 1, data = Head},
     Seg#seg{key = {Stream, Offset + N}, flags = F band 2, data = Tail}}.

%% unacked: key => {number of its last packet or waits, span}; in_flight is the sum.
on_its_way(#seg{key = Key} = Seg, L) -> unacked(Key, L#link.next, span(Seg), L).
waits(#seg{key = Key} = Seg, L) -> unacked(Key, waits, span(Seg), L).

unacked(Key, Where, Span, #link{unacked = U, in_flight = F} = L) ->
    Old = case U of #{Key := {_, S}} -> S; _ -> 0 end,
    L#link{unacked = U#{Key => {Where, Span}}, in_flight = F + Span - Old}.

%% cut takes a piece of the stream whose turn it is.
cut(Class, Turn, Room, #link{outs = Outs} = L) ->
    {{value, Stream}, Turn1} = queue:out(Turn),
    #{Stream := Out0} = Outs,
    #out{bin = {Bin, Order, _}, pos = Pos, offset = Offset} = Out = head(Out0),
    First = case Pos of 0 -> 1; _ -> 0 end,
    Rest = byte_size(Bin) - Pos,
    Credit = credit(Class, L),
    N = min(min(Rest, Room - header_len(First, Order)), Credit),
    Last = N =:= Rest andalso N < Credit, % the end of the message needs one more
    if
        N < 0; not Last, N =:= 0; not Last, N < ?MIN_PIECE, N < Rest, N < Credit ->
            {none, L#link{outs = Outs#{Stream => Out}}};
        true ->
            Flags = First bor case Last of true -> 2; false -> 0 end,
            Seg = #seg{key = {Stream, Offset}, flags = Flags, order = Order, data = binary:part(Bin, Pos, N), class = Class},
            Span = span(Seg),
            Out1 = case Last of
                       true -> Out#out{bin = undefined, pos = 0, offset = Offset + Span};
                       false -> Out#out{pos = Pos + N, offset = Offset + Span}
                   end,
            L1 = set_class(Class, {[], Turn1}, L#link{outs = Outs#{Stream => Out1}, used = L#link.used + Span,
                                                      queued = L#link.queued - Span}),
            {Seg, on_its_way(Seg, turn_again(Stream, Out1, Class, L1))}
    end.

turn_again(Stream, #out{bin = undefined, messages = Q}, _, L) ->
    case queue:peek(Q) of
        empty -> L;
        {value, {_, _, _, Class}} -> turn(Class, Stream, L)
    end;
turn_again(Stream, _, Class, L) -> turn(Class, Stream, L).

%% head flattens the message at the head of a stream: only there it is copied.
head(#out{bin = undefined, messages = Q} = Out) ->
    {{value, {_, Data, Order, Class}}, Q1} = queue:out(Q),
    Out#out{bin = {iolist_to_binary(Data), Order, Class}, pos = 0, messages = Q1};
head(Out) -> Out.

%% probe_path sends a packet of the size that is to be tried.
probe_path(Now, #link{mtu = Mtu} = L) ->
    Size = room(L) - distlink_mtu:size(Mtu) + distlink_mtu:next(Mtu),
    L1 = L#link{mtu = distlink_mtu:sent(Now, L#link.next, 4 * distlink_recovery:probe_timeout(L), Mtu)},
    {B, L2} = make_packet(Now, [<<1, 0:((Size - 1) * 8)>>], [], true, L1),
    {distlink_lane:tag(B, L2), L2}.

%% make_packet(Now, Frames, Segments, AsksForAck, Link) -> {Packet, Link}
make_packet(Now, Frames, Segs, Eliciting, #link{lane = Lane, next = PN, rid = Rid, sent = Sent} = L0) ->
    Number = (Lane bsl ?LANE_SHIFT) bor PN,
    {B, L1} = case L0#link.seal of
                  none -> {iolist_to_binary(distlink_wire:data(Rid, Number, Frames)), L0};
                  Keys ->
                      {Sealed, Keys1} = distlink_crypto:seal(Keys, Rid, Number, Frames),
                      {Sealed, L0#link{seal = Keys1}}
              end,
    L = by_class(Segs, count(B, L1#link{next = PN + 1})),
    Size = byte_size(B),
    if
        not Eliciting -> {B, L};
        Segs =:= [] -> {B, L#link{sent = Sent#{PN => {Now, [], Size, 0}}, last_sent = Now}};
        true ->
            {B, L#link{sent = Sent#{PN => {Now, Segs, Size, Size}}, last_sent = Now,
                       congestion = distlink_congestion:sent(Size, L#link.congestion)}}
    end.

%% by_class counts a datagram by the highest class in it. The last segment is
%% the first that was put in.
by_class([], #link{n_control = N} = L) -> L#link{n_control = N + 1};
by_class(Segs, L) ->
    case lists:last(Segs) of
        #seg{class = bulk} -> L#link{n_bulk = L#link.n_bulk + 1};
        #seg{class = configured} -> L#link{n_configured = L#link.n_configured + 1};
        #seg{class = control} -> L#link{n_control = L#link.n_control + 1}
    end.

count(B, #link{rate = Rate, tokens = T} = L) ->
    Size = byte_size(B),
    L#link{n_sent = L#link.n_sent + 1, b_sent = L#link.b_sent + Size,
           tokens = case Rate of 0 -> T; _ -> T - (Size + L#link.overhead) * 8000 end}.

%% Tokens are bits times 1000: kbit/s times microseconds.
refill(_, #link{rate = 0} = L) -> L;
refill(Now, #link{rate = Rate, tokens = T, tokens_at = At, mtu = Mtu} = L) ->
    %% The bucket holds 2 ms: a timer here may be 2 ms late.
    Depth = max(2 * (distlink_mtu:size(Mtu) + L#link.overhead) * 8000, Rate * 2000),
    L#link{tokens = min(T + (Now - At) * Rate, Depth), tokens_at = Now}.
