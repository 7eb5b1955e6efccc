#!/usr/bin/env python3
"""What distance costs: 64 MiB over links that hold every byte back for half the round trip (way.py).

  one       downloaded from one source: 200 ms, 100 Mbit/s
  push50    uploaded to 4 peers: 50 ms between any two, each receives and sends 200 Mbit/s
  push200   the same: 200 ms, 100 Mbit/s

  RUNS=5 benches/distance.py [ROW...]        further settings: harness.py
  SIZE_MIB=64 RTT_MS= MBIT=    setting one of the last two counts for all rows
  SOURCE_MBIT=0                what the source of an upload sends at most; 0 is no limit

Contenders: ours, as `before` the programs in OLD_BIN; nginx with curl, where an upload is so many downloads at
once, each of the whole file; an rsync daemon, likewise with a client for each target. The last two give every
peer its own copy, which a source without a limit can: they say what the way and the machine carry. What is not
installed is left out. Everything runs on loopback, in a network namespace of its own with root.

F/d is the time of the file's bits through what one peer receives: the bound of any scheme. Headers cost nothing
here, as only what programs say is counted. Time ends when the last client has ended. Every file that came is
compared with the original.
"""
import functools
import os
import sys
import time

import contenders as tools
from harness import (HERE, MIB, Bench, Run, against, count, emptied, of, print_failures, print_surroundings, same,
                     setting, table)

NAME = "file.bin"
SIZE = setting("SIZE_MIB", 64) * MIB
SOURCE_MBIT = setting("SOURCE_MBIT", 0.0)
HOST = "127.0.0.1"
SERVERS, WAYS = 7200, 7300          # ports: peers' servers, and the ways to them, 16 for each who opens
ROWS = {"one": (1, 200, 100), "push50": (4, 50, 200), "push200": (4, 200, 100)}     # peers, round trip ms, Mbit/s


class Row:
    def __init__(self, name):
        self.name = name
        self.count, rtt, mbit = ROWS[name]
        self.rtt, self.mbit = setting("RTT_MS", float(rtt)), setting("MBIT", float(mbit))
        self.peers = [f"t{number}" for number in range(1, self.count + 1)]
        self.names = ["source", *self.peers]
        self.is_push = name != "one"

    @property
    def bound(self):
        """F/d in seconds."""
        return SIZE * 8 / 1e6 / self.mbit

    @property
    def limit(self):
        return 20 + 10 * self.bound

    def title(self):
        what = f"uploaded to {self.count}" if self.is_push else "from one source"
        source = f", {SOURCE_MBIT:g} from the source" if self.is_push and SOURCE_MBIT else ""
        return (f"{SIZE // MIB} MiB {what}, {self.rtt:g} ms round trip, {self.mbit:g} Mbit/s{source}: "
                f"F/d = {self.bound:.2f} s")


class Distance:
    def __init__(self, bench):
        self.bench, self.namespace = bench, bench.loopback()
        self.source = bench.random_file(bench.path("source", NAME), SIZE)

    def box(self, peer, name=""):
        return self.bench.path("boxes", peer, name)

    # -------------------------------------------------------------- ways

    @staticmethod
    def server_port(row, name):
        return SERVERS + row.names.index(name)

    @staticmethod
    def way_port(row, opener, target):
        """Where `opener` finds `target`."""
        return WAYS + 16 * row.names.index(opener) + row.names.index(target)

    def way(self, row, ways):
        """Starts what holds bytes back: a list of (port, opener, target, the target's port)."""
        source = (SOURCE_MBIT if row.is_push else row.mbit), row.mbit
        rates = {name: source if name == "source" else (row.mbit, row.mbit) for name in row.names}
        argv = [sys.executable, os.path.join(HERE, "way.py"), row.rtt,
                ",".join(f"{name}:{up}:{down}" for name, (up, down) in rates.items()),
                ",".join(":".join(map(str, way)) for way in ways)]
        process = self.bench.start(argv, self.namespace)
        return self.bench.await_true(process, lambda: process.last_words() == "ready")

    # -------------------------------------------------------------- contenders

    def contenders(self, row):
        """Name and the function that brings all up; it gives the processes, and the clients' command lines."""
        for build, programs in tools.Ours.builds().items():
            yield build, functools.partial(self.ours, row, build, programs)
        if tools.have("nginx", "curl"):
            yield "nginx + curl", functools.partial(self.curl, row)
        if tools.have("rsync"):
            yield "rsync daemon", functools.partial(self.rsync, row)

    def ours(self, row, build, programs):
        folders = {peer: self.box(peer) for peer in row.peers}
        folders["source"] = os.path.dirname(self.bench.path(f"source-{build}", NAME))
        if not os.listdir(folders["source"]):
            os.link(self.source, os.path.join(folders["source"], NAME))
        ours = {}
        for name in row.names:
            # Its own address is where it listens; everybody else is at the end of a way.
            ports = {other: self.way_port(row, name, other) for other in row.names}
            ports[name] = self.server_port(row, name)
            peers = {other: (HOST, port) for other, port in ports.items()}
            ours[name] = tools.Ours(self.bench, peers, programs, f"peers-of-{name}/peer_settings.txt")
        serving = row.names if row.is_push else ["source"]
        processes = [ours[name].serve(name, folders[name], self.namespace) for name in serving]
        processes.append(self.way(row, [
            (self.way_port(row, opener, target), opener, target, self.server_port(row, target))
            for opener in row.names for target in row.names if opener != target]))
        if row.is_push:
            argv = ours["source"].client(folders["source"], "upload", NAME, *row.peers, peer="source")
        else:
            argv = ours["t1"].client(folders["t1"], "download", NAME, "source")
        return processes, [argv]

    def curl(self, row):
        server = tools.nginx(self.bench, os.path.dirname(self.source), HOST, self.namespace)
        way = self.way(row, [(self.way_port(row, peer, "source"), peer, "source", tools.WEB) for peer in row.peers])
        return [server, way], [tools.curl(f"http://{HOST}:{self.way_port(row, peer, 'source')}/{NAME}",
                                          self.box(peer, NAME)) for peer in row.peers]

    def rsync(self, row):
        server = tools.rsync_daemon(self.bench, os.path.dirname(self.source), HOST, self.namespace)
        way = self.way(row, [(self.way_port(row, peer, "source"), peer, "source", tools.RSYNC) for peer in row.peers])
        return [server, way], [tools.rsync(f"rsync://{HOST}:{self.way_port(row, peer, 'source')}/files/{NAME}",
                                           self.box(peer, NAME)) for peer in row.peers]

    # -------------------------------------------------------------- one run

    def run(self, row, prepare):
        for peer in row.peers:
            emptied(self.box(peer))
        processes, argvs = prepare()
        way = processes[-1]
        foreign, spent = self.bench.foreign_time(), sum(way.cpu())
        clients = [self.bench.start(argv, self.namespace) for argv in argvs]
        in_time = self.bench.drive(clients, limit=row.limit, sample=False)
        wall = (max(client.ended for client in clients) if in_time else time.perf_counter()) - clients[0].started
        run = Run(wall=wall, disturbed=self.bench.was_disturbed(foreign, wall))
        run.extra["way"] = (sum(way.cpu()) - spent) / wall
        run.note = self.fault(row, clients, in_time)
        run.ok = not run.note
        self.bench.forget(*clients, *processes)
        return run

    def fault(self, row, clients, in_time):
        """What went wrong, or nothing."""
        if not in_time:
            return f"not within {row.limit:.0f} s"
        failed = [client.last_words() for client in clients if client.poll() != 0]
        if failed:
            return f"a client failed: {failed[0]}"
        wrong = [peer for peer in row.peers if not same(self.source, self.box(peer, NAME))]
        return f"what came differs: {' '.join(wrong)}" if wrong else ""


def measure(distance, row):
    runs = {name: functools.partial(distance.run, row, prepare) for name, prepare in distance.contenders(row)}
    results = distance.bench.rounds(runs)
    rows = [[name, of(runs, lambda run: run.wall), of(runs, lambda run: run.wall / row.bound),
             against(results, name, "nginx + curl"), against(results, name, "peershare"),
             of(runs, lambda run: run.extra["way"]), count(runs)]
            for name, runs in results.items()]
    table(row.title(), ["contender", "time s", "time ÷ (F/d)", "time ÷ curl", "time ÷ peershare", "cores for the way",
                        "runs"], rows)
    print_failures(results)


def main():
    chosen = sys.argv[1:] or ROWS
    if not set(chosen) <= set(ROWS):
        sys.exit(f"rows: {' '.join(ROWS)}")
    tools.Ours.require()
    with Bench() as bench:
        distance = Distance(bench)
        print_surroundings(bench, *tools.names())
        for name in chosen:
            measure(distance, Row(name))


if __name__ == "__main__":
    main()
