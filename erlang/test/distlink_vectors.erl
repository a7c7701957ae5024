%% The golden packets of distlink/testdata, taken apart and put together again.
-module(distlink_vectors).
-compile(nowarn_deprecated_catch). % OTP 29
-export([check/1]).

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
