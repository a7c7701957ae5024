%% Between set-up and the first message where there are certificates
%% (PROTOCOL.md, Certificates): both sides send one AUTH and nothing else. Pure
%% functions over the record of a connection; what is not pure is in the identity,
%% see distlink_certificate.
-module(distlink_auth).

-export([start/2, early/2, take/3, timers/2, proved/2, proofs/2, allowed/3, signed/3, parse/1]).
-export_type([identity/0]).

-include("distlink_link.hrl").

-define(MAX_CHAIN, 4).
-define(MAX_AUTH, 16384).
-define(MAX_SIGNATURE, 512).
-define(MAX_PIECES, 64). % of an AUTH that are kept out of order
-define(MAX_TEXT, 100).

%% chain: DER, this side's own certificate first. verify says whether a chain is
%% somebody to talk to and the signature that of its first over the content.
-type identity() :: #{chain := [binary()], sign := fun((binary()) -> binary()),
                      verify := fun(([binary()], binary(), binary()) -> ok | {error, binary()})}.

%% proofs({Client's, Server's}, Link): the secrets that signatures cover.
proofs(_, #link{auth = none} = L) -> L;
proofs({Client, Server}, #link{auth = A, role = client} = L) -> L#link{auth = A#auth{own = Client, peers = Server}};
proofs({Client, Server}, #link{auth = A, role = server} = L) -> L#link{auth = A#auth{own = Server, peers = Client}}.

%% start(Now, Link) sends this side's AUTH; the connection has just been set up.
start(_, #link{auth = none} = L) -> L;
start(Now, #link{auth = #auth{identity = #{chain := Chain, sign := Sign}, own = Own} = A, role = Role} = L) ->
    Certificates = [<<(length(Chain))>> | [<<(byte_size(C)):16, C/binary>> || C <- Chain]],
    Auth = [Certificates, Sign(signed(Role, Own, Certificates))],
    Until = case Role of client -> L#link.setup_end; server -> Now + L#link.patience end,
    distlink_send:write(Now, 0, control, none, {iolist_size(Auth), Auth}, L#link{auth = A#auth{until = Until}}).

%% early(Message, Link): what is written before both have proved themselves waits.
early(Message, #link{auth = #auth{early = Early} = A} = L) -> L#link{auth = A#auth{early = [Message | Early]}}.

%% take(Now, Octets, Link) takes the peer's first message.
take(Now, Data, #link{auth = #auth{identity = #{verify := Verify}, peers = Peers} = A, role = Role} = L) ->
    case checked(iolist_to_binary(Data), Verify, other(Role), Peers) of
        {ok, Chain} -> L#link{auth = A#auth{proved = true}, peer_chain = Chain};
        {error, Text} -> distlink_link:close(Now, 9, binary:part(Text, 0, min(byte_size(Text), ?MAX_TEXT)), L)
    end.

checked(B, Verify, Role, Proof) ->
    case parse(B) of
        {ok, Chain, Signature} ->
            Certificates = binary:part(B, 0, byte_size(B) - byte_size(Signature)),
            case Verify(Chain, signed(Role, Proof, Certificates), Signature) of
                ok -> {ok, Chain};
                Error -> Error
            end;
        error -> {error, <<"AUTH is malformed">>}
    end.

other(client) -> server;
other(server) -> client.

%% timers(Now, Link) looks whether both AUTHs have arrived, or should have.
timers(_, #link{auth = none} = L) -> L;
timers(Now, #link{auth = #auth{proved = Proved, until = Until}} = L) ->
    case Proved andalso distlink_lane:idle(L) of
        true -> proved(Now, L);
        false when Now >= Until -> distlink_link:close(Now, 8, <<"no proof of who this is">>, L);
        false -> L
    end.

%% proved(Now, Link) begins what is done with a peer that both sides have proved
%% to be who they are; what was written meanwhile goes.
proved(Now, #link{auth = #auth{early = Early}} = L) ->
    lists:foldr(fun({Stream, Class, Fence, Message}, X) -> distlink_send:write(Now, Stream, Class, Fence, Message, X) end,
                L#link{auth = none}, Early).

%% allowed(Stream, End of the segment, Pieces kept) of a peer that has not proved itself.
allowed(0, End, Pieces) -> End =< ?MAX_AUTH + 1 andalso Pieces < ?MAX_PIECES;
allowed(_, _, _) -> false.

%% signed(Role, Proof, Certificates) is what a signature covers: who signs, that it
%% has the keys of this connection, and the certificates.
signed(Role, Proof, Certificates) ->
    <<"distlink2 ", (atom_to_binary(Role))/binary, " auth", 0, Proof/binary, (crypto:hash(sha256, Certificates))/binary>>.

%% parse(Octets) -> {ok, Chain, Signature} | error
-spec parse(binary()) -> {ok, [binary()], binary()} | error.
parse(<<N, T/binary>>) when N >= 1, N =< ?MAX_CHAIN -> parse(N, T, []);
parse(_) -> error.

parse(0, Signature, Chain) when byte_size(Signature) >= 1, byte_size(Signature) =< ?MAX_SIGNATURE ->
    {ok, lists:reverse(Chain), Signature};
parse(N, <<Len:16, C:Len/binary, T/binary>>, Chain) when N > 0 -> parse(N - 1, T, [C | Chain]);
parse(_, _, _) -> error.
