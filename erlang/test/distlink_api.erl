%% What this carrier uses of OTP, held against the OTP that runs it.
-module(distlink_api).
-export([check/0]).

-include_lib("kernel/include/dist_util.hrl").

-define(SEND_SENDER, 16#80000).
-define(OPTIONAL, [telemetry]). % called only where they are loaded
-define(PACKAGES, [crypto, public_key]). % called only with keys, with certificates

check() ->
    Ebin = filename:dirname(code:which(?MODULE)),
    Beams = filelib:wildcard(filename:join(Ebin, "{gen_dist,distlink*}.beam")),
    Own = [list_to_atom(filename:basename(F, ".beam")) || F <- Beams],
    _ = [calls(F, Own) || F <- Beams],
    rule("record hs_data", header("dist_util.hrl", record, hs_data), record_info(fields, hs_data)),
    rule("DFLAG_SEND_SENDER", header("dist.hrl", macro, 'DFLAG_SEND_SENDER'), ?SEND_SENDER),
    {erts_dflags, Default, _, _, Rejectable, StrictOrder} = erts_internal:get_dflags(),
    rule("the atom cache is all that wants strict order", StrictOrder, 16#2000),
    rule("it can be rejected", Rejectable band StrictOrder, StrictOrder),
    rule("send says the sender", Default band ?SEND_SENDER, ?SEND_SENDER),
    callbacks(),
    io:format("end~n").

%% calls: every function of others that a module calls is there.
calls(File, Own) ->
    {ok, {Module, [{imports, Imports}]}} = beam_lib:chunks(File, [imports]),
    Absent = [M || M <- ?PACKAGES, code:which(M) =:= non_existing],
    Missing = [I || {M, _, _} = I <- Imports, not lists:member(M, Own ++ ?OPTIONAL ++ Absent), not there(I)],
    rule(["calls of ", atom_to_list(Module)], Missing, []).

there({M, F, A}) ->
    _ = code:ensure_loaded(M),
    erlang:function_exported(M, F, A) orelse erlang:is_builtin(M, F, A) orelse {F, A} =:= {module_info, 0}.

%% callbacks: what net_kernel asks of the stock carrier, ours has, too. The rest of
%% what the stock one exports is its own affair; something new has to be looked at.
callbacks() ->
    Known = [{accept_loop, 3}, {do_accept, 7}, {do_setup, 7}, {gen_accept, 2}, {gen_accept_connection, 6}, {gen_address, 1},
             {gen_listen, 3}, {gen_select, 2}, {gen_setup, 6}, {gen_hs_data, 2}, {getstat, 1}, {tick, 2}, {nodelay, 0},
             {fam_address, 1}, {fam_listen, 4}, {fam_select, 2}, {fam_setup, 4}, {merge_options, 2}, {merge_options, 3},
             {module_info, 0}, {module_info, 1}],
    Asked = inet_tcp_dist:module_info(exports) -- Known,
    rule("callbacks of net_kernel", Asked -- distlink_dist:module_info(exports), []).

%% header(File, record | macro, Name): from the header of the kernel that runs.
header(File, Kind, Name) ->
    {ok, Epp} = epp:open(filename:join([code:lib_dir(kernel), "include", File]), []),
    Forms = forms(Epp),
    Found = case Kind of
                record -> [[field(F) || F <- Fields] || {attribute, _, record, {N, Fields}} <- Forms, N =:= Name];
                macro -> [Value || {Name1, [{none, {none, Tokens}}]} <- epp:macro_defs(Epp), Name1 =:= {atom, Name}, Value <- [value(Tokens)]]
            end,
    epp:close(Epp),
    case Found of
        [X] -> X;
        _ -> {not_found, Found}
    end.

forms(Epp) ->
    case epp:parse_erl_form(Epp) of
        {eof, _} -> [];
        {ok, Form} -> [Form | forms(Epp)];
        _ -> forms(Epp)
    end.

field({typed_record_field, F, _}) -> field(F);
field({record_field, _, {atom, _, Name}}) -> Name;
field({record_field, _, {atom, _, Name}, _}) -> Name.

value([{integer, _, N}]) -> N;
value(Tokens) -> Tokens.

rule(Name, Is, Is) -> io:format("ok ~s~n", [Name]);
rule(Name, Is, Want) -> io:format("bad ~s: ~0p, want ~0p~n", [Name, Is, Want]).
