%% Who this node is and whom it trusts, from PEM files, by the public_key
%% application's functions. Records of public_key are matched as tuples: it need
%% not be there to compile this.
-module(distlink_certificate).

-export([identity/2, is_for/2]).

-include_lib("kernel/include/file.hrl").

-define(ED25519, {1,3,101,112}).
-define(EC, {1,2,840,10045,2,1}).
-define(P256, {1,2,840,10045,3,1,7}).
-define(ALTERNATIVE_NAMES, {2,5,29,17}).
-define(EXTENDED_KEY_USAGE, {2,5,29,37}).
-define(MAX_CHAIN, 4).
-define(MAX_OCTETS, 15000).

%% identity({CertFile, KeyFile, CaFile}, Host) -> distlink_auth:identity(). The peer's
%% certificate has to be for Host, a name or an address; any takes all. What is
%% wrong with a file is an error {Option, File, Text}.
-spec identity({string(), string(), string()}, string() | any) -> distlink_auth:identity().
identity({CertFile, KeyFile, CaFile}, Host) ->
    Chain = certificates(distlink_cert, CertFile),
    [Leaf | _] = [decode(distlink_cert, CertFile, C) || C <- Chain],
    length(Chain) =< ?MAX_CHAIN orelse wrong(distlink_cert, CertFile, "more than 4 certificates"),
    iolist_size(Chain) =< ?MAX_OCTETS orelse wrong(distlink_cert, CertFile, "certificates of more than 15000 octets"),
    in_time(Leaf) =:= ok orelse wrong(distlink_cert, CertFile, binary_to_list(element(2, in_time(Leaf)))),
    Key = key(KeyFile),
    Kind = kind(Leaf),
    Kind =:= unusable andalso wrong(distlink_cert, CertFile, "its key is neither Ed25519 nor ECDSA P-256"),
    matches(Key, Leaf) orelse wrong(distlink_key, KeyFile, "is not the key of the certificate in " ++ CertFile),
    Cas = [{C, decode(distlink_cacert, CaFile, C)} || C <- certificates(distlink_cacert, CaFile)],
    #{chain => Chain,
      sign => fun(Content) -> public_key:sign(Content, digest(Kind), Key) end,
      verify => fun(Peers, Content, Signature) -> verify(Peers, Content, Signature, Cas, Host) end}.

-spec wrong(atom(), string(), term()) -> no_return().
wrong(Option, File, Text) -> erlang:error({Option, File, Text}).

read(Option, File) ->
    case prim_file:read_file(File) of
        {ok, B} -> B;
        {error, Reason} -> wrong(Option, File, Reason)
    end.

pem(Option, File) ->
    B = read(Option, File),
    try public_key:pem_decode(B)
    catch _:_ -> wrong(Option, File, "is not PEM")
    end.

certificates(Option, File) ->
    case [Der || {'Certificate', Der, not_encrypted} <- pem(Option, File)] of
        [] -> wrong(Option, File, "no certificate in PEM");
        Ders -> Ders
    end.

decode(Option, File, Der) ->
    try public_key:pkix_decode_cert(Der, otp)
    catch _:_ -> wrong(Option, File, "a certificate does not parse")
    end.

key(File) ->
    case prim_file:read_file_info(File) of
        {ok, #file_info{type = regular, mode = Mode}} when Mode band 8#007 =/= 0 ->
            wrong(distlink_key, File, "everybody may read or write it: chmod 0600");
        _ -> ok
    end,
    case [E || {Type, _, _} = E <- pem(distlink_key, File), Type =:= 'PrivateKeyInfo' orelse Type =:= 'ECPrivateKey'] of
        [{_, _, not_encrypted} = E | _] ->
            try public_key:pem_entry_decode(E)
            catch _:_ -> wrong(distlink_key, File, "the key does not parse") % no more: it would print parts of it
            end;
        _ -> wrong(distlink_key, File, "no Ed25519 or ECDSA P-256 key in PEM, without a password")
    end.

%% matches(Key, Leaf): what the key signs the certificate's verifies.
matches(Key, Leaf) ->
    try signed_by(Leaf, <<"distlink">>, public_key:sign(<<"distlink">>, digest(kind(Leaf)), Key))
    catch _:_ -> false
    end.

%% {'OTPCertificate', {'OTPTBSCertificate', Version, Serial, Algorithm, Issuer, Validity,
%% Subject, PublicKeyInfo, Ids, Ids, Extensions}, Algorithm, Signature}
validity({'OTPCertificate', Tbs, _, _}) -> element(6, Tbs).
public({'OTPCertificate', Tbs, _, _}) -> element(8, Tbs).
extensions({'OTPCertificate', Tbs, _, _}) ->
    case element(11, Tbs) of
        List when is_list(List) -> List;
        _ -> []
    end.

kind(Cert) ->
    case public(Cert) of
        {'OTPSubjectPublicKeyInfo', {'PublicKeyAlgorithm', ?ED25519, _}, _} -> ed25519;
        {'OTPSubjectPublicKeyInfo', {'PublicKeyAlgorithm', ?EC, {namedCurve, ?P256}}, _} -> p256;
        _ -> unusable
    end.

digest(ed25519) -> none;
digest(p256) -> sha256.

signed_by(Cert, Content, Signature) ->
    {_, {_, Algorithm, _}, Point} = public(Cert),
    Curve = case Algorithm of ?EC -> ?P256; _ -> Algorithm end,
    try public_key:verify(Content, digest(kind(Cert)), Signature, {Point, {namedCurve, Curve}})
    catch _:_ -> false
    end.

%% verify(Chain, Content, Signature, Authorities, Host) -> ok | {error, Text}
verify(Chain, Content, Signature, Cas, Host) ->
    try [{Der, public_key:pkix_decode_cert(Der, otp)} || Der <- Chain] of
        [{_, Leaf} = First | Between] ->
            steps([fun() -> in_time(Leaf) end,
                   fun() -> trusted([First], Between, [Ca || {_, C} = Ca <- Cas, in_time(C) =:= ok]) end,
                   fun() -> is_for(Leaf, Host) end,
                   fun() -> signature(Leaf, Content, Signature) end])
    catch _:_ -> {error, <<"a certificate does not parse">>}
    end.

steps([]) -> ok;
steps([Step | T]) ->
    case Step() of
        ok -> steps(T);
        Error -> Error
    end.

signature(Leaf, Content, Signature) ->
    case kind(Leaf) =/= unusable andalso signed_by(Leaf, Content, Signature) of
        true -> ok;
        false -> {error, <<"the signature is wrong">>}
    end.

%% trusted(Path, Between, Authorities): Path is the leaf and whoever signed before
%% it, nearest to the authority first.
trusted([{_, Last} | _] = Path, Between, Cas) ->
    case [R || {Ca, Otp} <- Cas, public_key:pkix_is_issuer(Last, Otp), R <- [path(Ca, Path)]] of
        [] -> longer(Path, Between, Cas);
        Results ->
            case lists:member(ok, Results) of
                true -> ok;
                false -> hd(Results)
            end
    end.

longer([{_, Last} | _] = Path, Between, Cas) ->
    case lists:partition(fun({_, Otp}) -> public_key:pkix_is_issuer(Last, Otp) end, Between) of
        {[Next | More], Others} -> trusted([Next | Path], More ++ Others, Cas);
        {[], _} -> {error, <<"the certificate is of an unknown authority">>}
    end.

path(Ca, Path) ->
    case public_key:pkix_path_validation(Ca, [Der || {Der, _} <- Path], [{verify_fun, {fun extension/3, []}}]) of
        {ok, _} -> ok;
        {error, {bad_cert, invalid_signature}} -> {error, <<"the certificate is of an unknown authority">>};
        {error, {bad_cert, Why}} -> {error, iolist_to_binary(io_lib:format("the certificate is refused: ~0p", [Why]))}
    end.

%% What a key is for in other protocols is not asked; any other critical extension
%% that is not known is a reason to refuse.
extension(_, {bad_cert, _} = Bad, _) -> {fail, Bad};
extension(_, {extension, {'Extension', ?EXTENDED_KEY_USAGE, _, _}}, S) -> {valid, S};
extension(_, {extension, _}, S) -> {unknown, S};
extension(_, _, S) -> {valid, S}.

%% is_for(Certificate, Host) -> ok | {error, Text}: the certificate, in DER or
%% decoded, is for that name or address.
is_for(_, any) -> ok;
is_for(Cert, Host) when is_binary(Cert) -> is_for(public_key:pkix_decode_cert(Cert, otp), Host);
is_for(Cert, Host) ->
    Id = case inet:parse_strict_address(Host) of
             {ok, Ip} -> {ip, Ip};
             {error, _} -> {dns_id, Host}
         end,
    Match = [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}],
    %% Without the extension the common name would do.
    case lists:keymember(?ALTERNATIVE_NAMES, 2, extensions(Cert)) andalso public_key:pkix_verify_hostname(Cert, [Id], Match) of
        true -> ok;
        false -> {error, iolist_to_binary(["the certificate is not for ", Host])}
    end.

in_time(Cert) ->
    {'Validity', From, To} = validity(Cert),
    {{Y, Mo, D}, {H, Mi, S}} = calendar:universal_time(),
    Now = lists:flatten(io_lib:format("~4..0b~2..0b~2..0b~2..0b~2..0b~2..0bZ", [Y, Mo, D, H, Mi, S])),
    case {time(From), time(To)} of
        {_, End} when Now > End -> {error, <<"the certificate expired at ", (readable(End))/binary>>};
        {Begin, _} when Now < Begin -> {error, <<"the certificate is not valid before ", (readable(Begin))/binary>>};
        _ -> ok
    end.

time({generalTime, T}) -> T;
time({utcTime, [Y | _] = T}) when Y < $5 -> "20" ++ T;
time({utcTime, T}) -> "19" ++ T.

readable([A, B, C, D, M1, M2, D1, D2, H1, H2, I1, I2, S1, S2 | _]) ->
    list_to_binary([A, B, C, D, $-, M1, M2, $-, D1, D2, $T, H1, H2, $:, I1, I2, $:, S1, S2, $Z]).
