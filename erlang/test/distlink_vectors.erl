%% The golden packets of distlink/testdata, taken apart and put together again.
-module(distlink_vectors).
-compile(nowarn_deprecated_catch). % OTP 29
-export([check/1, meaning/2]).

%% check(File) prints "ok NAME" or "bad NAME ..." for each vector, then "end".
check(File) ->
    {ok, B} = file:read_file(File),
    _ = [vector(Line) || Line <- string:split(B, "\n", all), Line =/= <<>>, binary:first(Line) =/= $#],
    io:format("end~n").

vector(Line) ->
    [Name, Hex] = string:split(Line, " "),
    Packet = << <<(list_to_integer([A, B], 16))>> || <<A, B>> <= Hex >>,
    case catch again(distlink_wire:parse(Packet)) of
        Packet -> io:format("ok ~s~n", [Name]);
        Other -> io:format("bad ~s ~p~n", [Name, Other])
    end,
    truncated(Name, Packet, byte_size(Packet) - 1).

%% No prefix of a packet parses and none crashes, nor does any prefix of frames.
truncated(_, _, -1) -> ok;
truncated(Name, Packet, N) ->
    case catch distlink_wire:parse(binary:part(Packet, 0, N)) of
        error -> ok;
        Other -> io:format("bad ~s cut to ~b: ~p~n", [Name, N, Other])
    end,
    case Packet of
        <<_, _:4, 5:4, _:18/binary, F/binary>> when N < byte_size(F) ->
            case catch distlink_wire:frames(binary:part(F, 0, N)) of
                error -> ok;
                {ok, _} -> ok;
                Crash -> io:format("bad ~s frames cut to ~b: ~p~n", [Name, N, Crash])
            end;
        _ -> ok
    end,
    truncated(Name, Packet, N - 1).

again({ok, {init, Params, Token, Proof}, <<>>}) -> iolist_to_binary(distlink_wire:init(Params, Token, Proof));
again({ok, {retry, Id, Token}, <<>>}) -> iolist_to_binary(distlink_wire:retry(Id, Token));
again({ok, {accept, Id, Params, Proof}, <<>>}) -> iolist_to_binary(distlink_wire:accept(Id, Params, Proof));
again({ok, {refuse, Id, Code, Text}, <<>>}) -> iolist_to_binary(distlink_wire:refuse(Id, Code, Text));
again({ok, {reset, Id, PN}, <<>>}) -> iolist_to_binary(distlink_wire:reset(Id, PN));
again({ok, {data, Id, PN, Frames}, <<>>}) ->
    {ok, Fs} = distlink_wire:frames(Frames),
    iolist_to_binary(distlink_wire:data(Id, PN, [frame(F) || F <- Fs])).

frame(ping) -> <<1>>;
frame({ack, Ranges, Delay, Limit}) -> distlink_wire:ack(Ranges, Delay, Limit);
frame({challenge, Data}) -> distlink_wire:challenge(Data);
frame({response, Data}) -> distlink_wire:response(Data);
frame({close, Code, Text}) -> distlink_wire:close(Code, Text);
frame({segment, Flags, Stream, Offset, Order, Fence, Data}) ->
    [distlink_wire:segment(Flags, Stream, Offset, {Order, Fence}, byte_size(Data)), Data].

%% meaning(In, Out) writes a line for each packet of a file: what it says, or error.
%% Packets have their length (16) before them.
meaning(In, Out) ->
    {ok, B} = file:read_file(In),
    ok = file:write_file(Out, [[meaning(P), $\n] || <<N:16, P:N/binary>> <= B]),
    io:format("ok written~nend~n").

meaning(B) ->
    case distlink_wire:parse(B) of
        error -> "error";
        {ok, {version, 1 = T, V, Id, Source}, Rest} -> say("version ~b ~b ~b ~b ~s", [T, V, Id, Source, hex(Rest)]);
        {ok, {version, T, V, Id, _}, Rest} -> say("version ~b ~b ~b ~s", [T, V, Id, hex(Rest)]);
        {ok, {init, Params, Token, Proof}, Rest} -> say("init ~s ~s ~s ~s", [params(Params), hex(Token), hex(Proof), hex(Rest)]);
        {ok, {retry, Id, Token}, Rest} -> say("retry ~b ~s ~s", [Id, hex(Token), hex(Rest)]);
        {ok, {accept, Id, Params, Proof}, Rest} -> say("accept ~b ~s ~s ~s", [Id, params(Params), hex(Proof), hex(Rest)]);
        {ok, {refuse, Id, Code, Text}, Rest} -> say("refuse ~b ~b ~s ~s", [Id, Code, hex(Text), hex(Rest)]);
        {ok, {reset, Id, PN}, Rest} -> say("reset ~b ~b ~s", [Id, PN, hex(Rest)]);
        {ok, {data, Id, PN, Octets}, Rest} ->
            case distlink_wire:frames(Octets) of
                error -> say("frames ~b ~b error ~s", [Id, PN, hex(Rest)]);
                {ok, Fs} -> say("data ~b ~b [~s] ~s", [Id, PN, lists:join(", ", [said(F) || F <- Fs]), hex(Rest)])
            end
    end.

params(#{id := Id, max := Max, security := S, suites := Suites, window := W, delay := D, capabilities := C} = P) ->
    [say("~b ~b ~b ~b ~b ~b ~b", [Id, Max, S, Suites, W, D, C]),
     case P of #{public := Public, key_id := KeyId} -> [$ , hex(Public), $ , hex(KeyId)]; _ -> [] end].

said(ping) -> "ping";
said({ack, Ranges, Delay, Limit}) -> [say("ack ~b ~b", [Delay, Limit]) | [say(" ~b-~b", [High, Low]) || {High, Low} <- Ranges]];
said({close, Code, Text}) -> say("close ~b ~s", [Code, hex(Text)]);
said({challenge, Data}) -> ["challenge ", hex(Data)];
said({response, Data}) -> ["response ", hex(Data)];
said({segment, Flags, Stream, Offset, Order, Fence, Data}) -> say("segment ~b ~b ~b ~b ~b ~s", [Flags, Stream, Offset, Order, Fence, hex(Data)]).

say(Format, Args) -> io_lib:format(Format, Args).
hex(B) -> [io_lib:format("~2.16.0b", [X]) || <<X>> <= B].
