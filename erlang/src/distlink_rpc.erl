%% bin/distlink-rpc: one call to a node from a shell script. erl_call speaks TCP
%% only.
-module(distlink_rpc).

-export([main/0]).

%% main(): Node, Module, Function and Args (a list as Erlang writes it) are the
%% plain arguments. Exit codes: 0, 1 for a call that failed, 2 for one that is wrong.
main() ->
    case init:get_plain_arguments() of
        [Node, M, F] -> run(Node, M, F, "[]");
        [Node, M, F, Args] -> run(Node, M, F, Args);
        _ -> stop(2, "usage: distlink-rpc NODE MODULE FUNCTION ['[Arg, ...]']", [])
    end.

run(Node0, M, F, Text) ->
    Node = list_to_atom(Node0),
    Args = args(Text),
    case net_kernel:connect_node(Node) of
        true ->
            case rpc:call(Node, list_to_atom(M), list_to_atom(F), Args) of
                {badrpc, Reason} -> stop(1, "~p", [Reason]);
                Result -> io:format("~tp~n", [Result]), halt(0)
            end;
        _ -> stop(1, "no connection to ~s", [Node])
    end.

args(Text) ->
    case erl_scan:string(Text ++ ".") of
        {ok, Tokens, _} ->
            case erl_parse:parse_term(Tokens) of
                {ok, Args} when is_list(Args) -> Args;
                _ -> stop(2, "the arguments are no list: ~ts", [Text])
            end;
        _ -> stop(2, "the arguments are no Erlang: ~ts", [Text])
    end.

stop(Code, Format, Args) ->
    io:format(standard_error, "distlink-rpc: " ++ Format ++ "~n", Args),
    halt(Code).
