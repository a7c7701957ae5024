"""Runs one method of a tsnkit checkout on a pair of CSV files and writes what it
found as qbv-solution/1.

    tsnkit.py CHECKOUT METHOD TASK_CSV TOPO_CSV BUDGET_S SOLUTION_JSON

The last line of the output is {"result": TEXT, "cpu_s": SECONDS}: the CPU time
of stating and solving the problem, without loading it. More CPU than the
budget ends the process. Of all simple paths, which may be very many, the four
shortest are given to methods that choose among them.
"""

import importlib
import itertools
import json
import resource
import sys
import time

import networkx as nx


def load(checkout, method):
    sys.path[:0] = [checkout, checkout + "/src"]
    for package in ("algorithms", "models"):
        try:
            return getattr(importlib.import_module(f"tsnkit.{package}.{method}"), method)
        except ModuleNotFoundError as e:
            if not str(e.name).startswith("tsnkit"):
                raise
    sys.exit(f"no method {method} in {checkout}")


def utilities():
    for name in ("tsnkit.core", "tsnkit.utils"):
        if name in sys.modules:
            return sys.modules[name]


def few_paths(n):
    def paths(graph, source, target, cutoff=None):
        return itertools.islice(nx.shortest_simple_paths(graph, source, target), n)

    return paths


def no_wait(task, links, at):
    """Starts, in slots, of a frame that waits nowhere."""
    out = []
    for link in links:
        out.append(at)
        at += task.get_t_trans(link) + link.t_proc
    return out


def of_dt(m):
    for s in m.task:
        starts = [m.config_hash[s] + m._delay[s][l] - s.get_t_trans(l) for l in s.links]
        yield s, s.links, {0: (starts, [0] * len(starts))}


def of_ls(m):
    for s in m.task:
        links = m._paths[s].links
        yield s, links, {0: (no_wait(s, links, m._offset[s]), [0] * len(links))}


def of_ls_tb(m):
    at = {frame: m.assign[i] for i, frame in enumerate(m.af)}
    for s in m.task:
        pairs = [at[(s, l)] for l in s.links]
        yield s, s.links, {0: ([p[0] for p in pairs], [p[1] for p in pairs])}


def of_smt_wa(m):
    value = lambda x: m.model_output.eval(x, model_completion=True).as_long()
    for s in m.task:
        v = [m.task_vars[s][l] for l in s.links]
        yield s, s.links, {0: ([value(x["phi"]) for x in v], [value(x["p"]) for x in v])}


def of_smt_pr(m):
    value = lambda x: m.model_output.eval(x, model_completion=True).as_long()
    m.set_queue_assignment()
    for s in m.task:
        queues = [m._queue_log[s, l] for l in s.links]
        yield s, s.links, {
            k: ([value(m.r[s][l][k][0]) for l in s.links], queues) for k in s.get_frame_indexes(m.task.lcm)
        }


def solution(m, method, slot):
    streams = []
    for s, links, frames in globals()["of_" + method](m):
        one = {"id": int(s), "route": [[int(l.src), int(l.dst)] for l in links]}
        frames = [
            {"k": k, "starts": [int(t) * slot for t in starts], "queues": [int(q) for q in queues]}
            for k, (starts, queues) in frames.items()
        ]
        if method == "smt_pr":
            one["frames"] = frames
        else:
            one["starts"], one["queues"] = frames[0]["starts"], frames[0]["queues"]
        streams.append(one)
    return {"format": "qbv-solution/1", "instance": "tsnkit", "cycle_ns": int(m.task.lcm) * slot, "streams": streams}


def main():
    checkout, method, task, topo, budget, out = sys.argv[1:]
    kind = load(checkout, method)
    utils = utilities()
    nx.all_simple_paths = few_paths(4 if method == "ls" else 1)
    m = kind()
    m.init(task, topo)
    used = time.process_time()
    limit = int(used + float(budget)) + 1
    utils.T_LIMIT = limit
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    m.prepare()
    stat = m.solve()
    cpu = time.process_time() - used
    if stat.result == utils.Result.schedulable:
        with open(out, "w") as f:
            json.dump(solution(m, method, utils.T_SLOT), f)
    print(json.dumps({"result": stat.result.name, "cpu_s": cpu}))


main()
