%% The set-up and the sealed packets of distlink/testdata/security.txt.
-module(distlink_security).
-export([check/1]).

%% check(File) prints "ok NAME" or "bad NAME" for each line, then "end".
check(File) ->
    {ok, B} = file:read_file(File),
    V = maps:from_list([vector(L) || L <- string:split(B, "\n", all), L =/= <<>>, binary:first(L) =/= $#]),
    #{<<"psk">> := Psk, <<"client-private">> := ClientPrivate, <<"server-private">> := ServerPrivate,
      <<"init">> := Init, <<"accept">> := Accept} = V,
    {ok, {init, #{public := ClientPublic, id := ClientId} = Params, _, Binder}, <<>>} = distlink_wire:parse(Init),
    {ok, {accept, ClientId, #{public := ServerPublic, id := ServerId}, Tag}, <<>>} = distlink_wire:parse(Accept),
    Early = distlink_crypto:early(Psk),
    say("binder", distlink_link:secure([{<<"new">>, Psk}], Params, Binder, Init) =:= {ok, {psk, Early}}),
    say("another key", element(1, distlink_link:secure([{<<"new">>, <<Psk/binary, 0>>}], Params, Binder, Init)) =:= refuse),
    Body = binary:part(Accept, 0, byte_size(Accept) - 16),
    Client = distlink_crypto:schedule(Early, ClientPrivate),
    Server = distlink_crypto:schedule(Early, ServerPrivate),
    say("public keys", {distlink_crypto:public(Client), distlink_crypto:public(Server)} =:= {ClientPublic, ServerPublic}),
    {T1, C1, S1, _} = distlink_crypto:session(Client, ServerPublic, Init, Body),
    {T2, C2, S2, _} = distlink_crypto:session(Server, ClientPublic, Init, Body),
    say("tag", T1 =:= Tag andalso T2 =:= Tag),
    say("both sides", {C1, S1} =:= {C2, S2}),
    say("low order", distlink_crypto:session(Client, <<0:256>>, Init, Body) =:= error),
    _ = [packet(Name, Keys, Id, PN, maps:get(Name, V)) ||
            {Name, Keys, Id, PN} <- [{<<"client-packet-7">>, C1, ServerId, 7},
                                     {<<"client-packet-epoch-1">>, C1, ServerId, 1 bsl 22},
                                     {<<"client-packet-lane-2-epoch-1">>, C1, ServerId, (2 bsl 62) bor (1 bsl 22)},
                                     {<<"server-packet-9">>, S1, ClientId, 9}]],
    certificate(V),
    io:format("end~n").

%% The set-up with certificates, and what is signed. The test's certificates are a
%% public key and a name.
certificate(#{<<"certificate-init">> := Init, <<"certificate-accept">> := Accept, <<"certificate-client-private">> := Private,
              <<"client-signs">> := ClientSigns, <<"server-signs">> := ServerSigns, <<"client-auth">> := Auth,
              <<"client-packet-0">> := Packet}) ->
    {ok, {init, #{security := 2, key_id := <<>>} = Params, _, Binder}, <<>>} = distlink_wire:parse(Init),
    {ok, {accept, _, #{security := 2, public := ServerPublic, id := ServerId}, Tag}, <<>>} = distlink_wire:parse(Accept),
    Early = distlink_crypto:early(<<>>),
    say("certificate binder", distlink_link:secure({certificate, x}, Params, Binder, Init) =:= {ok, {{certificate, x}, Early}}),
    Body = binary:part(Accept, 0, byte_size(Accept) - 16),
    {T, C, _, {ClientProof, ServerProof}} = distlink_crypto:session(distlink_crypto:schedule(Early, Private), ServerPublic, Init, Body),
    say("certificate tag", T =:= Tag),
    packet(<<"client-packet-0">>, C, ServerId, 0, Packet),
    {ok, [<<Public:32/binary, "alice">>], Signature} = distlink_auth:parse(Auth),
    Certificates = binary:part(Auth, 0, byte_size(Auth) - byte_size(Signature)),
    say("client signs", distlink_auth:signed(client, ClientProof, Certificates) =:= ClientSigns),
    say("client signed", crypto:verify(eddsa, none, ClientSigns, Signature, [Public, ed25519])),
    <<Begin:22/binary, Proof:32/binary, _/binary>> = ServerSigns,
    say("server signs", {Begin, Proof} =:= {<<"distlink2 server auth", 0>>, ServerProof}),
    Cut = [distlink_auth:parse(binary:part(Auth, 0, N)) || N <- lists:seq(0, byte_size(Auth) - 1)],
    say("cut auth", not lists:member(distlink_auth:parse(Auth), Cut) andalso lists:sublist(Cut, byte_size(Certificates) + 1) =:= [error || _ <- lists:seq(0, byte_size(Certificates))]).

vector(Line) ->
    [Name, Hex] = string:split(Line, " "),
    {Name, << <<(binary_to_integer(H, 16))>> || <<H:2/binary>> <= Hex >>}.

packet(Name, Keys, Id, PN, Packet) ->
    {Again, _} = distlink_crypto:seal(Keys, Id, PN, <<1>>),
    say([Name, " sealed"], Again =:= Packet),
    {ok, {data, Id, PN, Sealed}, <<>>} = distlink_wire:parse(Packet),
    say([Name, " opened"], element(1, distlink_crypto:open(Keys, Id, PN, Sealed)) =:= <<1>>),
    N = byte_size(Sealed) - 1,
    <<Most:N/binary, Last>> = Sealed,
    say([Name, " changed"], distlink_crypto:open(Keys, Id, PN, <<Most/binary, (Last bxor 1)>>) =:= error),
    say([Name, " two epochs on"], distlink_crypto:open(Keys, Id, PN + (2 bsl 22), Sealed) =:= error),
    say([Name, " cut"], distlink_crypto:open(Keys, Id, PN, binary:part(Sealed, 0, 15)) =:= error).

say(Name, true) -> io:format("ok ~s~n", [Name]);
say(Name, false) -> io:format("bad ~s~n", [Name]).
