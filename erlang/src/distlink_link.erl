%% One end of a distlink connection as pure functions: no socket, no clock, no
%% process. PROTOCOL.md is the wire format; the Go package is the same machine.
%%
%%     datagram/3  write/5  timers/2      in: what happened, at microsecond Now
%%     flush/2                            out: datagrams to send
%%     deliveries/1                       out: messages in their order
%%     deadline/1  state/1                when to call timers/2; is it up
-module(distlink_link).

-export([client/3, server/4, datagram/3, write/5, barrier/1, timers/2, flush/2, deliveries/1,
         deadline/1, state/1, close/4, queued/1, stats/1, accept_packet/1, max_datagram/1]).
-export_type([link/0]).

-define(PACKET_RANGES, 64).
-define(ORDER_RANGES, 8192).
-define(MAX_STREAMS, 4096).
-define(MAX_MESSAGE, (256 bsl 20)).
-define(WIRE_OVERHEAD, 70).
-define(MIN_PIECE, 64).
-define(SEG_MAX, 31).
-define(DEATH_PINGS, 3).

-record(in, {next = 0, high = 0, pending = [], inside = false, parts = [], size = 0,
             order = 0, fence = 0, complete = []}).
-record(out, {messages = queue:new(), bin, pos = 0, offset = 0}).

-record(link,
        {role, state = connecting, id, rid = 0, max, window, keepalive, floor, stall, rate, ack_delay,
         setup_end, init_at, init_wait = 100000, token = <<>>,
         %% receiving
         ranges = [], eliciter = 0, ack_at = infinity, ack_now = false, newest_at = 0,
         ins = #{}, blocked = [], orders = [], used_in = 0, accepted = 0, told = 0, held = 0,
         delivered = [],
         %% sending
         outs = #{}, turn = queue:new(), resend = [], unacked = #{}, sent = #{}, base = 0, next = 0,
         largest = -1, used = 0, limit = 0, order = 0, fence = 0, queued = 0, in_flight = 0,
         blocked_out = false, ping = false, tokens = 0, tokens_at = 0,
         %% time
         srtt = 0, rttvar = 0, latest = 0, least = 0, peer_delay = 0, loss_at = infinity, last_sent = 0,
         probes = 0, heard_at = 0, ping_at = 0, pings = 0, progress = 0,
         %% counters
         n_sent = 0, n_received = 0, b_sent = 0, b_received = 0, n_resent = 0, n_probes = 0,
         n_duplicate = 0, n_malformed = 0, n_blocked = 0, n_messages_out = 0, n_messages_in = 0}).
-opaque link() :: #link{}.

%% client(Config, Id, Now): Config is a map with max_datagram, window, ack_delay,
%% keepalive, floor, stall, setup (microseconds), rate (kbit/s, 0 unlimited).
client(Config, Id, Now) ->
    L = new(Config, Id, Now),
    L#link{role = client, setup_end = Now + maps:get(setup, Config), init_at = Now}.

%% server(Config, Id, Params, Now): the token of the INIT has been checked.
server(Config, Id, Params, Now) ->
    establish(Now, Params, (new(Config, Id, Now))#link{role = server}).

new(#{max_datagram := Max, window := W, ack_delay := D, keepalive := K, floor := F, stall := S, rate := R}, Id, Now) ->
    #link{id = Id, max = Max, window = W, told = W, ack_delay = D, keepalive = K, floor = F, stall = S,
          rate = R, tokens_at = Now, heard_at = Now, ping_at = Now, progress = Now}.

params(#link{id = Id, max = Max, window = W, ack_delay = D}) -> {Id, Max, 0, W, D}.

accept_packet(#link{rid = Rid} = L) -> distlink_wire:accept(Rid, params(L)).

max_datagram(#link{max = Max}) -> Max.

state(#link{state = S}) -> S.

queued(#link{queued = Q}) -> Q.

%% deliveries(Link) -> {Messages in order, as iodata, Link}
deliveries(#link{delivered = []} = L) -> {[], L};
deliveries(#link{delivered = D} = L) -> {lists:reverse(D), L#link{delivered = []}}.

establish(Now, {Rid, Max, _, Window, Delay}, #link{max = Own, keepalive = K} = L) ->
    L#link{state = open, rid = Rid, max = min(Own, Max), limit = Window, tokens_at = Now,
           peer_delay = min(Delay, K div 8), heard_at = Now, ping_at = Now, pings = 0, progress = Now}.

stats(L) ->
    #{packets_sent => L#link.n_sent, packets_received => L#link.n_received,
      octets_sent => L#link.b_sent, octets_received => L#link.b_received,
      messages_sent => L#link.n_messages_out, messages_received => L#link.n_messages_in,
      retransmitted => L#link.n_resent, probes => L#link.n_probes,
      duplicates => L#link.n_duplicate, malformed => L#link.n_malformed, blocked => L#link.n_blocked,
      rtt_us => L#link.srtt, rttvar_us => L#link.rttvar,
      queued => L#link.queued, in_flight => L#link.in_flight, streams => map_size(L#link.outs)}.

%% ---- Datagrams in -------------------------------------------------------

datagram(Now, B, L) -> packets(Now, B, L#link{b_received = L#link.b_received + byte_size(B)}).

packets(_, <<>>, L) -> L;
packets(Now, B, L) ->
    case distlink_wire:parse(B) of
        {ok, P, Rest} ->
            L1 = packet(Now, P, L#link{n_received = L#link.n_received + 1}),
            case L1#link.state of
                {closed, _, _, _} -> L1;
                _ -> packets(Now, Rest, L1)
            end;
        error ->
            L#link{n_malformed = L#link.n_malformed + 1}
    end.

packet(Now, {data, Id, PN, Frames}, #link{state = open, id = Id} = L) ->
    case distlink_wire:frames(Frames) of
        {ok, Fs} -> data(Now, PN, Fs, L#link{heard_at = Now, ping_at = Now, pings = 0});
        error -> L#link{n_malformed = L#link.n_malformed + 1}
    end;
packet(Now, {retry, Id, Token}, #link{state = connecting, id = Id, token = <<>>} = L) when Token =/= <<>> ->
    L#link{token = binary:copy(Token), init_at = Now, init_wait = 100000};
packet(Now, {accept, Id, Params}, #link{state = connecting, id = Id} = L) ->
    (establish(Now, Params, L))#link{ping = true};
packet(_, {refuse, Id, Code, Text}, #link{state = connecting, id = Id} = L) ->
    down(Code, binary:copy(Text), remote, L);
packet(_, {version, 4, V, Id, _}, #link{state = connecting, id = Id} = L) ->
    down(1, <<"peer speaks version ", (integer_to_binary(V))/binary>>, remote, L);
packet(_, {reset, Rid, PN}, #link{state = open, rid = Rid, sent = Sent} = L) when is_map_key(PN, Sent) ->
    down(7, <<"peer does not know this connection">>, remote, L);
packet(_, _, L) ->
    L.

data(Now, PN, Frames, L0) ->
    case packet_number(PN, L0#link.ranges) of
        duplicate ->
            L0#link{n_duplicate = L0#link.n_duplicate + 1, ack_now = true};
        Ranges ->
            frames(Now, PN, Frames, false, L0#link{ranges = Ranges})
    end.

frames(Now, PN, [{segment, Flags, Stream, Offset, Order, Fence, Data} | T], _, L) ->
    case segment(Flags, Stream, Offset, Order, Fence, Data, Now, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, true, L1);
        L1 -> L1
    end;
frames(Now, PN, [{ack, Ranges, Delay, Limit} | T], E, L) ->
    case ack(Now, Ranges, Delay, Limit, L) of
        #link{state = open} = L1 -> frames(Now, PN, T, E, L1);
        L1 -> L1
    end;
frames(Now, PN, [ping | T], _, L) -> frames(Now, PN, T, true, L);
frames(_, _, [{close, Code, Text} | _], _, L) -> down(Code, binary:copy(Text), remote, L);
frames(_, _, [], false, L) -> L;
frames(Now, PN, [], true, #link{ranges = [{High, Low} | More], eliciter = N} = L) ->
    Urgent = N >= 1 orelse PN =/= High orelse (More =/= [] andalso Low =:= PN),
    L#link{eliciter = N + 1, ack_now = L#link.ack_now orelse Urgent,
           newest_at = case PN of High -> Now; _ -> L#link.newest_at end,
           ack_at = min(L#link.ack_at, Now + L#link.ack_delay)}.

%% packet_number(N, Ranges) -> Ranges with N | duplicate. Ranges descend.
packet_number(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
packet_number(N, Ranges) ->
    case insert(N, Ranges) of
        duplicate -> duplicate;
        R when length(R) > ?PACKET_RANGES -> lists:droplast(R);
        R -> R
    end.

insert(N, []) -> [{N, N}];
insert(N, [{High, _} | _] = R) when N > High + 1 -> [{N, N} | R];
insert(N, [{High, Low} | T]) when N =:= High + 1 -> [{N, Low} | T];
insert(N, [{_, Low} | _]) when N >= Low -> duplicate;
insert(N, [{High, Low}, {N1, Low2} | T]) when N =:= Low - 1, N1 =:= N - 1 -> [{High, Low2} | T];
insert(N, [{High, Low} | T]) when N =:= Low - 1 -> [{High, N} | T];
insert(N, [H | T]) ->
    case insert(N, T) of
        duplicate -> duplicate;
        R -> [H | R]
    end.

%% ---- Segments to messages ----------------------------------------------

segment(Flags, Stream, Offset, Order, Fence, Data, Now, L0) ->
    case L0#link.ins of
        #{Stream := In} -> segment1(Flags, Stream, Offset, Order, Fence, Data, Now, In, L0);
        Ins when map_size(Ins) < ?MAX_STREAMS ->
            segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{}, L0);
        _ -> close(Now, 3, <<"too many streams">>, L0)
    end.

segment1(Flags, Stream, Offset, Order, Fence, Data, Now, #in{high = High, next = Next} = In, L) ->
    End = Offset + byte_size(Data) + (Flags bsr 1),
    Used = L#link.used_in + max(0, End - High),
    if
        Used > L#link.told -> close(Now, 3, <<"credit exceeded">>, L);
        End =< Next -> L;
        Offset > Next ->
            In1 = In#in{high = max(High, End), pending = hold({Offset, End, Flags, Order, Fence, Data}, In#in.pending)},
            L#link{used_in = Used, ins = (L#link.ins)#{Stream => In1}};
        true ->
            case take(Offset, End, Flags, Order, Fence, Data, In#in{high = max(High, End)}) of
                {error, Code, Text} -> close(Now, Code, Text, L);
                In1 ->
                    Took = In1#in.next - Next,
                    deliver(Now, Stream, In1, L#link{used_in = Used, accepted = L#link.accepted + Took})
            end
    end.

hold(S, []) -> [S];
hold(S, [H | T]) when element(1, S) > element(1, H) -> [H | hold(S, T)];
hold(S, [H | T]) when element(1, S) =:= element(1, H) ->
    [case element(2, S) > element(2, H) of true -> S; false -> H end | T];
hold(S, T) -> [S | T].

%% take appends a segment that starts at or before the next offset wanted, and
%% then what was waiting behind it.
take(Offset, End, Flags, Order, Fence, Data, #in{next = Next, pending = Pending} = In0) when End > Next ->
    Known = Next - Offset,
    First = Flags band 1 =:= 1,
    if
        Known =:= 0, First =:= In0#in.inside -> {error, 3, <<"message boundaries do not match">>};
        true ->
            In1 = case Known =:= 0 andalso First of
                      true -> In0#in{inside = true, order = Order, fence = Fence, parts = [], size = 0};
                      false -> In0
                  end,
            Skip = min(Known, byte_size(Data)),
            <<_:Skip/binary, New/binary>> = Data,
            Size = In1#in.size + byte_size(New),
            In2 = In1#in{next = End, size = Size, parts = [New | In1#in.parts]},
            if
                Size > ?MAX_MESSAGE -> {error, 6, <<"message too long">>};
                Flags band 2 =:= 2 ->
                    M = {In2#in.order, In2#in.fence, message(In2#in.parts)},
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
deliver(_, Stream, #in{complete = [{Order, Fence, Data}]} = In, #link{orders = [{0, High}], blocked = []} = L)
  when Order =:= High + 1, Fence =< Order ->
    L#link{ins = (L#link.ins)#{Stream => In#in{complete = []}}, orders = [{0, Order}],
           delivered = [Data | L#link.delivered], n_messages_in = L#link.n_messages_in + 1};
deliver(Now, Stream, In, L) ->
    Blocked = case lists:member(Stream, L#link.blocked) of
                  true -> L#link.blocked;
                  false -> L#link.blocked ++ [Stream]
              end,
    L1 = deliver_blocked(L#link{ins = (L#link.ins)#{Stream => In}, blocked = Blocked}),
    case length(L1#link.orders) > ?ORDER_RANGES of
        true -> close(Now, 3, <<"too much behind a fence">>, L1);
        false -> L1
    end.

deliver_blocked(#link{blocked = Blocked} = L) ->
    Before = below(L#link.orders),
    {Still, L1} = lists:foldl(fun deliver_stream/2, {[], L#link{blocked = []}}, Blocked),
    L2 = L1#link{blocked = lists:reverse(Still)},
    case Still =/= [] andalso below(L2#link.orders) =/= Before of
        true -> deliver_blocked(L2);
        false -> L2
    end.

deliver_stream(Stream, {Still, #link{ins = Ins} = L}) ->
    #{Stream := In} = Ins,
    {Left, L1} = deliver_messages(lists:reverse(In#in.complete), L),
    L2 = L1#link{ins = Ins#{Stream => In#in{complete = lists:reverse(Left)}}},
    case Left of
        [] -> {Still, L2};
        _ -> {[Stream | Still], L2}
    end.

deliver_messages([{Order, Fence, Data} | T] = Ms, L) ->
    case Fence =< below(L#link.orders) of
        true ->
            deliver_messages(T, L#link{orders = ordered(Order, L#link.orders), delivered = [Data | L#link.delivered],
                                       n_messages_in = L#link.n_messages_in + 1});
        false -> {Ms, L}
    end;
deliver_messages([], L) -> {[], L}.

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

%% ---- Messages out -------------------------------------------------------

%% barrier(Link): the next message written is fenced behind all before it.
barrier(#link{order = O} = L) -> L#link{fence = O}.

%% write(Now, Stream, Barrier, {Size, IoData}, Link)
write(Now, Stream, Barrier, {Size, Data}, #link{outs = Outs, order = Order} = L0) ->
    L = case idle(L0) of
            true -> L0#link{progress = Now};
            false -> L0
        end,
    Fence = case Barrier of true -> Order; false -> L#link.fence end,
    Out = case Outs of #{Stream := O} -> O; _ -> #out{} end,
    Turn = case Out#out.bin =:= undefined andalso queue:is_empty(Out#out.messages) of
               true -> queue:in(Stream, L#link.turn);
               false -> L#link.turn
           end,
    Out1 = Out#out{messages = queue:in({Size, Data, Order, Fence}, Out#out.messages)},
    L#link{outs = Outs#{Stream => Out1}, turn = Turn, order = Order + 1,
           fence = case Barrier of true -> Order + 1; false -> L#link.fence end,
           queued = L#link.queued + Size + 1, n_messages_out = L#link.n_messages_out + 1}.

idle(#link{in_flight = 0, queued = 0, resend = []}) -> true;
idle(_) -> false.

%% flush(Now, Link) -> {Datagrams, Link}: all that credit and rate allow.
flush(Now, #link{state = connecting, init_at = At} = L) when Now >= At ->
    B = distlink_wire:init(params(L), L#link.token),
    {[B], count(B, L#link{init_at = Now + L#link.init_wait, init_wait = min(2 * L#link.init_wait, 1000000)})};
flush(Now, #link{state = open} = L) -> flush(Now, [], refill(Now, L));
flush(_, #link{state = {closed, _, _, [B]}} = L) -> {[B], L#link{state = setelement(4, L#link.state, [])}};
flush(_, L) -> {[], L}.

flush(Now, Acc, #link{ping = Ping} = L0) ->
    {Can, L} = sendable(L0),
    if
        (Can orelse Ping) andalso (L#link.rate =:= 0 orelse L#link.tokens > 0) ->
            {B, L1} = packet_out(Now, L),
            flush(Now, [B | Acc], L1);
        L#link.ack_now; Now >= L#link.ack_at ->
            {Ack, L1} = make_ack(Now, L),
            {B, L2} = transmit(Now, [Ack], [], false, L1),
            {lists:reverse(Acc, [B]), L2};
        true -> {lists:reverse(Acc), L}
    end.

sendable(#link{resend = [{Key, _, _, _} | T], unacked = U} = L) when not is_map_key(Key, U) -> sendable(L#link{resend = T});
sendable(#link{resend = [_ | _]} = L) -> {true, L};
sendable(#link{queued = 0} = L) -> {false, L};
sendable(#link{used = Used, limit = Limit, blocked_out = false} = L) when Used >= Limit ->
    {false, L#link{blocked_out = true, n_blocked = L#link.n_blocked + 1}};
sendable(#link{used = Used, limit = Limit} = L) when Used >= Limit -> {false, L};
sendable(#link{blocked_out = true} = L) -> {true, L#link{blocked_out = false}};
sendable(L) -> {true, L}.

packet_out(Now, #link{max = Max} = L0) ->
    Room0 = Max - 20,
    {Frames0, Room1, L1} =
        case L0#link.ack_at of
            infinity -> {[], Room0, L0};
            _ ->
                {Ack, La} = make_ack(Now, L0),
                {[Ack], Room0 - byte_size(Ack), La}
        end,
    {Frames1, Room, L2} =
        case L1#link.ping of
            true -> {[<<1>> | Frames0], Room1 - 1, L1#link{ping = false}};
            false -> {Frames0, Room1, L1}
        end,
    {Frames, Segs, L3} = fill(Room, Frames1, [], L2),
    case Segs of
        [] when Frames =:= Frames0, Frames0 =/= [] -> transmit(Now, Frames, [], false, L3);
        _ -> transmit(Now, lists:reverse(Frames), Segs, true, L3)
    end.

fill(Room, Frames, Segs, L0) ->
    case sendable(L0) of
        {false, L} -> {Frames, Segs, L};
        {true, #link{resend = [{Key, _, Hdr, Data} = Seg | T]} = L} ->
            Need = byte_size(Hdr) + byte_size(Data),
            if
                Need =< Room ->
                    U = (L#link.unacked)#{Key => L#link.next},
                    fill(Room - Need, [Data, Hdr | Frames], [Seg | Segs],
                         L#link{resend = T, unacked = U, n_resent = L#link.n_resent + 1});
                true -> {Frames, Segs, L}
            end;
        {true, L} ->
            case cut(Room - ?SEG_MAX, L) of
                {none, L1} -> {Frames, Segs, L1};
                {{_, _, Hdr, Data} = Seg, L1} ->
                    fill(Room - byte_size(Hdr) - byte_size(Data), [Data, Hdr | Frames], [Seg | Segs], L1)
            end
    end.

%% cut takes a piece of the stream whose turn it is. A segment is
%% {{Stream, Offset}, Span, Header, Data}.
cut(Room, L) when Room < 0 -> {none, L};
cut(Room, #link{turn = Turn, outs = Outs, used = Used, limit = Limit} = L) ->
    {{value, Stream}, Turn1} = queue:out(Turn),
    #{Stream := Out0} = Outs,
    #out{bin = {Bin, Order, Fence}, pos = Pos, offset = Offset} = Out = head(Out0),
    Rest = byte_size(Bin) - Pos,
    Credit = Limit - Used,
    N = min(min(Rest, Room), Credit),
    Last = N =:= Rest andalso N < Credit,
    if
        not Last, N < ?MIN_PIECE, N < Rest, N < Credit; not Last, N =:= 0 ->
            {none, L#link{outs = Outs#{Stream => Out}}};
        true ->
            Flags = case Pos of 0 -> 1; _ -> 0 end bor case Last of true -> 2; false -> 0 end,
            Hdr = distlink_wire:segment(Flags, Stream, Offset, {Order, Fence}, N),
            Data = binary:part(Bin, Pos, N),
            Span = N + (Flags bsr 1),
            Out1 = case Last of
                       true -> Out#out{bin = undefined, pos = 0, offset = Offset + Span};
                       false -> Out#out{pos = Pos + N, offset = Offset + Span}
                   end,
            More = not Last orelse not queue:is_empty(Out1#out.messages),
            Key = {Stream, Offset},
            {{Key, Span, Hdr, Data},
             L#link{outs = Outs#{Stream => Out1}, turn = case More of true -> queue:in(Stream, Turn1); false -> Turn1 end,
                    used = Used + Span, queued = L#link.queued - Span, in_flight = L#link.in_flight + Span,
                    unacked = (L#link.unacked)#{Key => L#link.next}}}
    end.

%% head flattens the message at the head of a stream: only there it is copied.
head(#out{bin = undefined, messages = Q} = Out) ->
    {{value, {_, Data, Order, Fence}}, Q1} = queue:out(Q),
    Out#out{bin = {iolist_to_binary(Data), Order, Fence}, pos = 0, messages = Q1};
head(Out) -> Out.

make_ack(Now, #link{accepted = A, window = W} = L) ->
    Limit = A + W,
    {distlink_wire:ack(L#link.ranges, min(max(Now - L#link.newest_at, 0), 16#FFFFFFFF), Limit),
     L#link{told = Limit, eliciter = 0, ack_at = infinity, ack_now = false}}.

transmit(Now, Frames, Segs, Eliciting, #link{next = PN, sent = Sent} = L0) ->
    B = iolist_to_binary(distlink_wire:data(L0#link.rid, PN, Frames)),
    L = count(B, L0#link{next = PN + 1}),
    case Eliciting of
        true -> {B, L#link{sent = Sent#{PN => {Now, Segs}}, last_sent = Now}};
        false -> {B, L}
    end.

count(B, #link{rate = Rate, tokens = T} = L) ->
    Size = iolist_size(B),
    L#link{n_sent = L#link.n_sent + 1, b_sent = L#link.b_sent + Size,
           tokens = case Rate of 0 -> T; _ -> T - (Size + ?WIRE_OVERHEAD) * 8000 end}.

%% Tokens are bits times 1000: kbit/s times microseconds.
refill(_, #link{rate = 0} = L) -> L;
refill(Now, #link{rate = Rate, tokens = T, tokens_at = At, max = Max} = L) ->
    %% The bucket holds 2 ms: a timer here may be 2 ms late.
    Depth = max(2 * (Max + ?WIRE_OVERHEAD) * 8000, Rate * 2000),
    L#link{tokens = min(T + (Now - At) * Rate, Depth), tokens_at = Now}.

%% ---- ACK, RTT, loss (RFC 9002 in the small) -----------------------------

ack(Now, [{Largest, _} | _], _, _, #link{next = Next} = L) when Largest >= Next ->
    close(Now, 3, <<"ACK of a packet never sent">>, L);
ack(Now, [{Largest, _} | _] = Ranges, Delay, Limit, #link{sent = Sent, limit = Old} = L0) ->
    L1 = case Sent of
             #{Largest := {At, _}} -> rtt(Now - At, Delay, L0);
             _ -> L0
         end,
    L2 = lists:foldl(fun(R, L) -> ack_range(Now, R, L) end, L1, Ranges),
    L3 = case map_size(L2#link.sent) < map_size(Sent) of
             true -> L2#link{probes = 0};
             false -> L2
         end,
    L4 = case Limit > Old of
             true -> L3#link{limit = Limit, progress = Now};
             false -> L3
         end,
    trim(detect_loss(Now, L4#link{largest = max(Largest, L4#link.largest)})).

ack_range(Now, {High, Low}, #link{base = Base} = L) -> ack_each(Now, max(Low, Base), High, L).

ack_each(_, N, High, L) when N > High -> L;
ack_each(Now, N, High, #link{sent = Sent} = L) ->
    case maps:take(N, Sent) of
        {{_, Segs}, Sent1} -> ack_each(Now, N + 1, High, ack_segments(Now, Segs, L#link{sent = Sent1}));
        error -> ack_each(Now, N + 1, High, L)
    end.

ack_segments(Now, [{Key, Span, _, _} | T], #link{unacked = U, in_flight = F} = L) when is_map_key(Key, U) ->
    ack_segments(Now, T, L#link{unacked = maps:remove(Key, U), in_flight = F - Span, progress = Now});
ack_segments(Now, [_ | T], L) -> ack_segments(Now, T, L);
ack_segments(_, [], L) -> L.

rtt(Rtt0, _, #link{srtt = 0} = L) ->
    Rtt = max(Rtt0, 1),
    L#link{srtt = Rtt, rttvar = Rtt div 2, latest = Rtt, least = Rtt};
rtt(Rtt0, Delay, #link{srtt = S, rttvar = V, least = Least0, peer_delay = Peer} = L) ->
    Rtt = max(Rtt0, 1),
    Least = min(Least0, Rtt),
    D = min(Delay, Peer),
    Adjusted = case Rtt - D >= Least of true -> Rtt - D; false -> Rtt end,
    L#link{latest = Rtt, least = Least, rttvar = (3 * V + abs(S - Adjusted)) div 4, srtt = (7 * S + Adjusted) div 8}.

%% Three later packets acknowledged, or one and 9/8 RTT passed.
detect_loss(Now, #link{srtt = S, latest = R} = L) ->
    Wait = max(max(S, R) * 9 div 8, 1000),
    detect_loss(L#link.base, Now, Wait, L#link{loss_at = infinity}).

detect_loss(N, _, _, #link{largest = Largest} = L) when N >= Largest -> L;
detect_loss(N, Now, Wait, #link{sent = Sent, largest = Largest} = L) ->
    case Sent of
        #{N := {At, Segs}} when N + 3 =< Largest; Now >= At + Wait ->
            detect_loss(N + 1, Now, Wait, again(N, Segs, L#link{sent = maps:remove(N, Sent)}));
        #{N := {At, _}} ->
            detect_loss(N + 1, Now, Wait, L#link{loss_at = min(L#link.loss_at, At + Wait)});
        _ -> detect_loss(N + 1, Now, Wait, L)
    end.

again(N, Segs, #link{unacked = U} = L) ->
    Lost = [S || {Key, _, _, _} = S <- lists:reverse(Segs), maps:get(Key, U, none) =:= N],
    L#link{resend = L#link.resend ++ Lost}.

%% base is the oldest packet still waited for.
trim(#link{base = B, next = N, sent = Sent} = L) when B < N, not is_map_key(B, Sent) -> trim(L#link{base = B + 1});
trim(L) -> L.

%% ---- Time ---------------------------------------------------------------

probe_timeout(#link{srtt = S0, rttvar = V0, floor = F, peer_delay = D, probes = N, keepalive = K}) ->
    {S, V} = case S0 of 0 -> {20000, 10000}; _ -> {S0, V0} end,
    min((S + max(4 * V, F) + D) bsl min(N, 16), max(K div 4, F)).

probe_at(#link{resend = [_ | _]}) -> infinity;
probe_at(#link{in_flight = F, queued = Q, used = Used, limit = Limit} = L) when F > 0; Q > 0, Used >= Limit ->
    L#link.last_sent + probe_timeout(L);
probe_at(_) -> infinity.

%% deadline(Link) -> microseconds | infinity
deadline(#link{state = connecting, init_at = I, setup_end = E}) -> min(I, E);
deadline(#link{state = open} = L) ->
    Stall = case idle(L) of true -> infinity; false -> L#link.progress + L#link.stall end,
    Pace = case L of
               #link{rate = R, tokens = T, tokens_at = At} when R > 0, T =< 0 ->
                   case L#link.ping orelse element(1, sendable(L)) of
                       true -> At + (-T) div R + 1;
                       false -> infinity
                   end;
               _ -> infinity
           end,
    min(min(min(L#link.ack_at, L#link.loss_at), min(probe_at(L), Pace)),
        min(Stall, L#link.ping_at + L#link.keepalive div 4));
deadline(_) -> infinity.

%% timers(Now, Link) does what is due; flush/2 follows.
timers(Now, #link{state = connecting, setup_end = E} = L) when Now >= E ->
    down(8, <<"no answer to INIT">>, local, L);
timers(Now, #link{state = open} = L0) ->
    L1 = case Now >= L0#link.loss_at of
             true -> trim(detect_loss(Now, L0));
             false -> L0
         end,
    L2 = case Now >= probe_at(L1) of
             true -> probe(L1);
             false -> L1
         end,
    L3 = keepalive(Now, L2),
    case L3#link.state =:= open andalso not idle(L3) andalso Now >= L3#link.progress + L3#link.stall of
        true -> close(Now, 5, <<"queued data made no progress">>, L3);
        false -> L3
    end;
timers(_, L) -> L.

%% probe queues the segments of the two oldest packets again, or a PING. The
%% packets stay known, so that a late ACK still gives an RTT sample.
probe(L0) ->
    L1 = L0#link{probes = L0#link.probes + 1, n_probes = L0#link.n_probes + 1},
    case probe(L1#link.base, 2, L1) of
        #link{resend = []} = L -> L#link{ping = true};
        L -> L
    end.

probe(_, 0, L) -> L;
probe(N, _, #link{next = Next} = L) when N >= Next -> L;
probe(N, Left, #link{sent = Sent, resend = Before} = L) ->
    case Sent of
        #{N := {_, Segs}} when Segs =/= [] ->
            case again(N, Segs, L) of
                #link{resend = Before} -> probe(N + 1, Left, L);
                L1 -> probe(N + 1, Left - 1, L1)
            end;
        _ -> probe(N + 1, Left, L)
    end.

%% The peer is dead only when it did not answer three PINGs: time alone may be
%% this side's own absence.
keepalive(Now, #link{ping_at = At, keepalive = K} = L) when Now < At + K div 4 -> L;
keepalive(Now, #link{pings = P, heard_at = H, keepalive = K} = L) when P >= ?DEATH_PINGS, Now >= H + K ->
    close(Now, 4, <<"peer silent for ", (integer_to_binary((Now - H) div 1000))/binary, " ms">>, L);
keepalive(Now, #link{pings = P} = L) ->
    L#link{pings = P + 1, ping_at = Now, ping = true}.

%% close(Now, Code, Text, Link) ends the connection; flush/2 then tells the peer.
close(_, _, _, #link{state = {closed, _, _, _}} = L) -> L;
close(Now, Code, Text, #link{state = open} = L) ->
    {B, L1} = transmit(Now, [distlink_wire:close(Code, Text)], [], false, L),
    L1#link{state = {closed, Code, Text, [B]}};
close(_, Code, Text, L) ->
    down(Code, Text, local, L).

down(Code, Text, _Who, L) -> L#link{state = {closed, Code, Text, []}}.
