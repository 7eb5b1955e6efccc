#!/usr/bin/env python3
"""One file from four sources at 50, 100, 200 and 400 Mbit/s, whose links are shaped; and what happens when
the fastest of them fails.

  plain      all four stay
  kill       the fastest source's server is killed half-way
  cut        its link falls silent half-way: nothing is closed, nothing answered
  throttle   its link drops to 1 Mbit/s half-way
  slowstart  its link has 1 Mbit/s from the start

  SIZE_MIB=256 RUNS=5 benches/multi.py [SCENARIO...]        further settings: harness.py

Contenders: ours, and as `before` the programs in OLD_BIN; aria2 tuned (-s4 -x1 -k1M, short time-outs) and with its
defaults, from nginx; libtorrent v2. What is not installed is left out. Needs root, for network namespaces.

Half-way is half of the time that all four need at full rate. Ideal is the time in which the bits fit through
what the sources have in that scenario; on Ethernet the headers alone cost 1.046 of it. LIMIT=60 is the
longest a run may take, in seconds.
"""
import functools
import os
import sys

import contenders as tools
from harness import (MIB, Bench, against, count, needs_root, of, print_failures, print_surroundings, setting, table,
                     verified)

SIZE = setting("SIZE_MIB", 256) * MIB
LIMIT = setting("LIMIT", 60.0)
MBIT = {"s50": 50, "s100": 100, "s200": 200, "s400": 400}
FASTEST = "s400"
SLOW = 1
SCENARIOS = ("plain", "kill", "cut", "throttle", "slowstart")
NAME = "file.bin"

MEGABITS = SIZE * 8 / 1e6
ALL = sum(MBIT.values())
HALF_WAY = MEGABITS / ALL / 2


def ideal(scenario):
    """Seconds in which the file fits through the sources' links."""
    left = ALL - MBIT[FASTEST] + (SLOW if scenario in ("throttle", "slowstart") else 0)
    if scenario == "plain":
        return MEGABITS / ALL
    if scenario == "slowstart":
        return MEGABITS / left
    return HALF_WAY + (MEGABITS - HALF_WAY * ALL) / left


class Multi:
    def __init__(self, bench):
        self.bench = bench
        self.nodes = bench.star(["client", *MBIT])
        self.source = bench.random_file(bench.path("source", NAME), SIZE)
        self.out = bench.path("out", NAME)
        self.folders = {}
        for name in MBIT:
            self.folders[name] = bench.empty(f"served-{name}")
            os.link(self.source, os.path.join(self.folders[name], NAME))
        self.contenders = dict(self.offered())

    def offered(self):
        """Name, what starts the server of one source, and the client's command line."""
        peers = {name: (self.nodes[name].address, tools.OURS) for name in MBIT}
        for build, programs in tools.Ours.builds().items():
            ours = tools.Ours(self.bench, peers, programs)
            start = lambda name, ours=ours: ours.serve(name, self.folders[name], self.nodes[name])
            yield build, (start, ours.client(os.path.dirname(self.out), "download", NAME, *MBIT))
        if tools.have("aria2c", "nginx"):
            urls = [tools.url(self.nodes[name].address, NAME) for name in MBIT]
            start = lambda name: tools.nginx(self.bench, self.folders[name], self.nodes[name].address, self.nodes[name])
            tuned = tools.aria2(urls, self.out, "-s4", "-x1", *tools.ARIA_TUNED)
            yield "aria2 -s4 -x1 -k1M", (start, tuned)
            yield "aria2, its defaults", (start, tools.aria2(urls, self.out))
        if tools.torrent_python():
            torrent = tools.torrent_file(self.bench, self.source, 256)
            yield "libtorrent v2", (
                lambda name: tools.torrent_seed(self.bench, torrent, self.folders[name], self.nodes[name].address,
                                                self.nodes[name]),
                tools.torrent("get", torrent, os.path.dirname(self.out),
                              f"{self.nodes['client'].address}:{tools.TORRENT}",
                              *(f"{self.nodes[name].address}:{tools.TORRENT}" for name in MBIT)))

    def run(self, start, argv, scenario):
        fastest = self.nodes[FASTEST]
        for name in MBIT:
            self.nodes[name].shape(None)        # servers come up, and answer, at once
        servers = {name: start(name) for name in MBIT}
        for name, rate in MBIT.items():
            self.nodes[name].shape(SLOW if name == FASTEST and scenario == "slowstart" else rate)
        what = {"kill": servers[FASTEST].kill,
                "cut": lambda: fastest.link("down"),
                "throttle": lambda: fastest.shape(SLOW)}.get(scenario)
        self.bench.empty("out")
        try:
            run = self.bench.run(argv, self.nodes["client"], list(servers.values()), LIMIT,
                                 actions=[(HALF_WAY, what)] if what else [])
        finally:
            fastest.link("up")
            self.bench.forget(*servers.values())
        return verified(run, self.source, self.out)


def measure(multi, scenario):
    runs = {name: functools.partial(multi.run, start, argv, scenario)
            for name, (start, argv) in multi.contenders.items()}
    results = multi.bench.rounds(runs)
    best = ideal(scenario)
    rows = [[name, of(runs, lambda run: run.wall), of(runs, lambda run: run.wall / best),
             against(results, name, "peershare"),
             of(runs, lambda run: run.client_cpu), of(runs, lambda run: run.client_peak / MIB, 0), count(runs)]
            for name, runs in results.items()]
    table(f"Four sources, {SIZE // MIB} MiB, {scenario}: ideal {best:.2f} s",
          ["contender", "time s", "time ÷ ideal", "time ÷ peershare", "client CPU s", "client MiB", "runs"], rows)
    print_failures(results)


def main():
    chosen = sys.argv[1:] or SCENARIOS
    if not set(chosen) <= set(SCENARIOS):
        sys.exit(f"scenarios: {' '.join(SCENARIOS)}")
    tools.Ours.require()
    if not needs_root("four sources"):
        return
    with Bench() as bench:
        multi = Multi(bench)
        print_surroundings(bench, *tools.names())
        for scenario in chosen:
            measure(multi, scenario)


if __name__ == "__main__":
    main()
