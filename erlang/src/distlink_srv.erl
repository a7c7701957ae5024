%% Where a node is by DNS, its port included (RFC 2782, with the names of RFC 6763):
%% for b@plant.lan the record
%%
%%     b._distlink._udp.plant.lan.  SRV  0 0 9101 pc7.plant.lan.
%%
%% -distlink_srv true has it asked for. Of several records the first of the lowest
%% priority counts: a node is in one place.
-module(distlink_srv).

-export([wanted/0, where/2, best/1]).

wanted() -> distlink_config:flag(distlink_srv).

%% where(Name, Host) -> {Host, Port} | unknown
where(Name, Host) ->
    case wanted() of
        true -> best(inet_res:lookup(Name ++ "._distlink._udp." ++ Host, in, srv));
        false -> unknown
    end.

%% best([{Priority, Weight, Port, Target}]) -> {Target, Port} | unknown. The
%% target "." says that there is no such service.
best(Records) ->
    case lists:sort([{Priority, Target, Port} || {Priority, _, Port, Target} <- Records, Port > 0, Target =/= "", Target =/= "."]) of
        [{_, Target, Port} | _] -> {Target, Port};
        [] -> unknown
    end.
