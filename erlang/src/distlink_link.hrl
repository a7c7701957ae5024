%% What the parts of one connection share: distlink_link (set-up, time),
%% distlink_recv, distlink_send and distlink_recovery.

-define(LANE_SHIFT, 62). % of a packet number
-define(LANE_MASK, ((1 bsl ?LANE_SHIFT) - 1)).
-define(TAG, 16).

%% A segment on its way: its key is {Stream, Offset}.
-record(seg, {key, flags, order, data, class}).

%% What is known of a lane that is not the current one, see distlink_lane.
-record(lane, {rate = 0, classes = [], seal, sent = #{}, base = 0, next = 0, ack_asked = 0, largest = -1, queued = 0, in_flight = 0,
               blocked_out = false, ping = false, extra = 0, tokens = 0, tokens_at = 0, mtu, congestion, srtt = 0,
               rttvar = 0, latest = 0, least = 0, loss_at = infinity, last_sent = 0, probes = 0}).
-record(peer_lane, {open, ranges = [], eliciter = 0, ack_at = infinity, ack_now = false, newest_at = 0}).

%% Before both sides have proved themselves with certificates, see distlink_auth.
%% own and peers are what their signatures cover.
-record(auth, {identity, own, peers, until, proved = false, early = []}).

-record(link,
        {role, state = connecting, id, rid = 0, most, window, keepalive, floor, stall, rate, ack_delay, overhead,
         setup_end, init_at, init_wait = 100000, token = <<>>, init, accept, random,
         key_id = <<>>, security = none, auth = none, peer_chain = [], schedule = none, seal = none, open = none, migrate = false,
         peer = same, challenge = none, challenge_at = 0, asked = none, to_send = [], more = false, both = 0,
         %% lanes: the current ones, the others, and what classes have their own
         lane = 0, lanes = #{}, peer_lane = 0, peer_lanes = #{}, own = #{}, may_own = false, order_of_lanes = [0],
         base_rate = 0, classes = [control, configured, bulk], first_seal = none, first_open = none,
         %% receiving
         ranges = [], eliciter = 0, ack_at = infinity, ack_now = false, newest_at = 0,
         ins = #{}, blocked = [], orders = [], used_in = 0, accepted = 0, told = 0, held = 0,
         delivered = [],
         %% sending; queues per class: #class{resend, turn}
         outs = #{}, bulk = {[], queue:new()}, configured = {[], queue:new()}, control = {[], queue:new()},
         unacked = #{}, sent = #{}, base = 0, next = 0, ack_asked = 0,
         largest = -1, used = 0, limit = 0, peer_window = 0, order = 0, fence = 0, queued = 0, in_flight = 0,
         blocked_out = false, ping = false, extra = 0, tokens = 0, tokens_at = 0, mtu, congestion,
         %% time
         srtt = 0, rttvar = 0, latest = 0, least = 0, peer_delay = 0, loss_at = infinity, last_sent = 0,
         probes = 0, heard_at = 0, ping_at = 0, pings = 0, suspected = false, patience = 0, progress = 0,
         looked_at = 0, starved = 0,
         %% counters
         n_sent = 0, n_received = 0, b_sent = 0, b_received = 0, n_resent = 0, n_probes = 0,
         n_duplicate = 0, n_malformed = 0, n_forged = 0, n_blocked = 0, n_starved = 0, n_moves = 0, n_holes = 0,
         n_messages_out = 0, n_messages_in = 0,
         n_bulk = 0, n_configured = 0, n_control = 0}).
