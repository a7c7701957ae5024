%% Keys of a connection (PROTOCOL.md, Security), by the crypto application's
%% functions. Nothing here is called without security: a node without the
%% crypto application has distlink without security.
-module(distlink_crypto).

-export([early/1, schedule/2, public/1, binder/2, session/4, seal/4, open/4, same/2]).
-export_type([schedule/0, keys/0]).

-define(TAG, 16).
-define(EPOCH_BITS, 22).
-define(LANE_MASK, ((1 bsl 62) - 1)).

-opaque schedule() :: {Early :: binary(), Public :: binary(), Private :: binary()}.
%% Keys of one direction; those of the epoch before are for packets overtaken.
-opaque keys() :: {Epoch :: integer(), Secret :: binary(), Now :: {binary(), binary()}, Last :: {binary(), binary()} | none}.

%% early(PreSharedKey) -> Secret
early(Psk) -> extract(<<"distlink2">>, Psk).

%% schedule(Early, 32 random octets) -> Schedule
schedule(Early, Random) ->
    {Public, Private} = crypto:generate_key(ecdh, x25519, Random),
    {Early, Public, Private}.

public({_, Public, _}) -> Public.

%% binder(Early, Init without its binder) -> 16 octets
binder(Early, Init) -> binary:part(hmac(expand(Early, <<"binder">>, 32), Init), 0, ?TAG).

%% session(Schedule, PeersPublicKey, Init, Accept without its tag) ->
%%     {Tag, Client's keys, Server's keys, {Client's proof, Server's proof}} | error
session({Early, _, Private}, Peer, Init, Accept) ->
    try crypto:compute_key(ecdh, Peer, Private, x25519) of
        Shared ->
            Secret = extract(Early, Shared),
            Th = crypto:hash(sha256, [Init, Accept]),
            {expand(Secret, <<"accept", Th/binary>>, ?TAG),
             keys(0, expand(Secret, <<"client", Th/binary>>, 32), none),
             keys(0, expand(Secret, <<"server", Th/binary>>, 32), none),
             {expand(Secret, <<"client proof", Th/binary>>, 32), expand(Secret, <<"server proof", Th/binary>>, 32)}}
    catch error:_ -> error % a point of low order
    end.

keys(Epoch, Secret, Last) ->
    {Epoch, Secret, {expand(Secret, <<"key">>, 16), expand(Secret, <<"iv">>, 12)}, Last}.

advance({Epoch, Secret, Now, _}) -> keys(Epoch + 1, expand(Secret, <<"next">>, 32), Now).

%% seal(Keys, Id, PacketNumber, Frames) -> {Packet, Keys}
seal({Epoch, _, {Key, Iv}, _} = Keys, Id, PN, Frames) when (PN band ?LANE_MASK) bsr ?EPOCH_BITS =:= Epoch ->
    Header = distlink_wire:data_header(Id, PN, iolist_size(Frames) + ?TAG),
    {Cipher, Tag} = crypto:crypto_one_time_aead(aes_128_gcm, Key, nonce(Iv, PN), Frames, Header, ?TAG, true),
    {<<Header/binary, Cipher/binary, Tag/binary>>, Keys};
seal(Keys, Id, PN, Frames) ->
    seal(advance(Keys), Id, PN, Frames).

%% open(Keys, Id, PacketNumber, Sealed) -> {Frames, Keys} | error
open({Epoch, _, Now, Last} = Keys, Id, PN, Sealed) when byte_size(Sealed) >= ?TAG ->
    case (PN band ?LANE_MASK) bsr ?EPOCH_BITS of
        Epoch -> open(Keys, Now, Id, PN, Sealed);
        E when E + 1 =:= Epoch -> open(Keys, Last, Id, PN, Sealed);
        E when E =:= Epoch + 1 ->
            {_, _, Next, _} = Keys1 = advance(Keys),
            open(Keys1, Next, Id, PN, Sealed);
        _ -> error
    end;
open(_, _, _, _) -> error.

open(Keys, {Key, Iv}, Id, PN, Sealed) ->
    N = byte_size(Sealed) - ?TAG,
    <<Cipher:N/binary, Tag/binary>> = Sealed,
    Header = distlink_wire:data_header(Id, PN, byte_size(Sealed)),
    case crypto:crypto_one_time_aead(aes_128_gcm, Key, nonce(Iv, PN), Cipher, Header, Tag, false) of
        error -> error;
        Frames -> {Frames, Keys}
    end.

nonce(<<Head:4/binary, Tail:64>>, PN) -> <<Head/binary, (Tail bxor PN):64>>.

%% HKDF (RFC 5869) with SHA-256.
extract(Salt, Secret) -> hmac(Salt, Secret).

expand(Secret, Label, Len) -> expand(Secret, <<"distlink2 ", Label/binary>>, 1, <<>>, <<>>, Len).

expand(_, _, _, _, Acc, Len) when byte_size(Acc) >= Len -> binary:part(Acc, 0, Len);
expand(Secret, Info, I, Last, Acc, Len) ->
    T = hmac(Secret, <<Last/binary, Info/binary, I>>),
    expand(Secret, Info, I + 1, T, <<Acc/binary, T/binary>>, Len).

hmac(Key, Data) -> crypto:mac(hmac, sha256, Key, Data).

%% same(A, B): of equal length and content, in constant time.
same(A, B) when byte_size(A) =:= byte_size(B) ->
    lists:foldl(fun({X, Y}, D) -> (X bxor Y) bor D end, 0, lists:zip(binary_to_list(A), binary_to_list(B))) =:= 0;
same(_, _) -> false.
