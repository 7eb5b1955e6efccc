#!/usr/bin/env python3
"""One source gives one file to several targets; every node's link is limited in both directions.

  1 2 4 8     upload to so many targets
  slow        to 8, one of them with a tenth of the rate up and down: time for the other seven
  kill        to 8, one of them killed half-way: time for the other seven
  isolated    to 8 that reach only the source, not one another (packets between them vanish)
  downloads   8 targets begin to download from the one source at the same moment

  RUNS=5 benches/push.py [VARIANT...]        further settings: harness.py
  MBIT=200 SIZE_MIB=128        with 8 targets 100 and 64, because more is more than 2 cores carry; setting
                               them counts for all variants

Contenders: ours, and with --no-swarm; a bare relay chain (relay.py), which checks nothing and says what the
machine can carry; rsync, one client a target, all at once; libtorrent v2. What is not installed is left out. Needs root, for network namespaces.

F/u is the time of the file's bits through one uplink: the bound of any scheme, of which headers alone cost
1.046. Sent ÷ F is what the source's interface sent, less the headers, by the size of the file. Time ends when
the last target that counts has all of the file (for uploads by ours or rsync, where all count: when the
clients have ended). The files of all targets that count are compared. Half-way is half of F/u.
"""
import functools
import os
import sys
import time

import contenders as tools
from harness import (MIB, Bench, Run, against, count, emptied, needs_root, of, print_failures, print_surroundings,
                     same, setting, table)

NAME = "file.bin"
VARIANTS = ("1", "2", "4", "8", "slow", "kill", "isolated", "downloads")
MANY = 8


class Variant:
    """How many targets, which of them fails how, who begins."""

    def __init__(self, name):
        self.name = name
        self.count = int(name) if name.isdigit() else MANY
        self.mbit = setting("MBIT", 100.0 if self.count >= MANY else 200.0)
        self.size = setting("SIZE_MIB", 64 if self.count >= MANY else 128) * MIB
        self.targets = [f"t{number}" for number in range(1, self.count + 1)]
        self.odd = self.targets[-1] if name in ("slow", "kill") else None
        self.counted = [target for target in self.targets if target != self.odd]
        self.is_pull = name == "downloads"

    @property
    def bound(self):
        """F/u in seconds."""
        return self.size * 8 / 1e6 / self.mbit

    @property
    def limit(self):
        """Longer than one copy after another."""
        return 10 + 1.5 * self.bound * max(2, self.count)

    def title(self):
        return {"slow": f"upload to {self.count}, one at a tenth of the rate: the other {self.count - 1}",
                "kill": f"upload to {self.count}, one killed half-way: the other {self.count - 1}",
                "isolated": f"upload to {self.count} that cannot reach one another",
                "downloads": f"{self.count} downloads at the same moment"}.get(self.name, f"upload to {self.count}")


class Started:
    """A contender in motion: its clients, what ends with the odd target, and how to see who has the file."""

    def __init__(self, clients, of_odd, has, awaits_clients):
        self.clients, self.of_odd, self.has, self.awaits_clients = clients, of_odd, has, awaits_clients


class Push:
    def __init__(self, bench, targets):
        self.bench = bench
        self.nodes = bench.star(["source", *targets])
        self.files = {}

    def source(self, size):
        """A folder with one file of that size."""
        if size not in self.files:
            self.files[size] = self.bench.random_file(self.bench.path(f"source-{size // MIB}", NAME), size)
        return os.path.split(self.files[size])[0]

    def box(self, target, name=""):
        return self.bench.path("boxes", target, name)

    def address(self, name):
        return self.nodes[name].address

    # -------------------------------------------------------------- contenders

    def contenders(self, variant):
        """Name and the function that brings servers up; it gives them, and what starts the transfer."""
        yield "peershare", functools.partial(self.ours, variant, [])
        if tools.Ours.knows_flag("download" if variant.is_pull else "upload", "--no-swarm"):
            yield "peershare --no-swarm", functools.partial(self.ours, variant, ["--no-swarm"])
        else:
            tools.skip_once("peershare --no-swarm: this client does not know the flag")
        if not variant.is_pull and variant.name not in ("slow", "kill", "isolated"):
            yield "bare relay chain", functools.partial(self.relay, variant)
        if tools.have("rsync"):
            yield "rsync, one a target", functools.partial(self.rsync, variant)
        if tools.torrent_python():
            yield "libtorrent v2", functools.partial(self.torrent, variant)

    def ours(self, variant, flags):
        names = ["source", *variant.targets]
        ours = tools.Ours(self.bench, {name: (self.address(name), tools.OURS) for name in names})
        folders = {name: self.box(name) for name in variant.targets}
        folders["source"] = self.source(variant.size)
        servers = {name: ours.serve(name, folders[name], self.nodes[name]) for name in names}

        def client(name, *words):
            return self.bench.start(ours.client(folders[name], *words, peer=name), self.nodes[name])

        def begin():
            if variant.is_pull:
                clients = {target: client(target, "download", NAME, *flags) for target in variant.targets}
                return Started(list(clients.values()), [], lambda target: clients[target].poll() == 0, True)
            clients = [client("source", "upload", NAME, *variant.targets, *flags)]
            odd = [servers[variant.odd]] if variant.odd else []
            # A file appears under its name only when it is complete and verified.
            return Started(clients, odd, lambda target: os.path.exists(self.box(target, NAME)), True)

        return list(servers.values()), begin

    def rsync(self, variant):
        source = os.path.join(self.source(variant.size), NAME)
        if variant.is_pull:
            servers = {"source": tools.rsync_daemon(self.bench, os.path.dirname(source), self.address("source"),
                                                    self.nodes["source"])}
        else:
            servers = {target: tools.rsync_daemon(self.bench, self.box(target), self.address(target),
                                                  self.nodes[target]) for target in variant.targets}

        def client(target):
            if variant.is_pull:
                argv = tools.rsync(tools.rsync_url(self.address("source"), NAME), self.box(target, NAME))
                return self.bench.start(argv, self.nodes[target])
            argv = tools.rsync(source, tools.rsync_url(self.address(target)))
            return self.bench.start(argv, self.nodes["source"])

        def begin():
            clients = {target: client(target) for target in variant.targets}
            odd = [servers[variant.odd]] if variant.odd else []
            return Started(list(clients.values()), odd, lambda target: clients[target].poll() == 0, True)

        return list(servers.values()), begin

    def relay(self, variant):
        def place(target):
            return f"{self.address(target)}:{tools.RELAY}"

        def serve(target, *following):
            argv = tools.relay("take", place(target), self.box(target, NAME), *following)
            server = self.bench.start(argv, self.nodes[target])
            up = lambda: tools.is_up(self.address(target), tools.RELAY, self.nodes[target])
            return self.bench.await_true(server, up)

        following = [[place(target)] for target in variant.targets[1:]] + [[]]
        servers = [serve(target, *next_one) for target, next_one in zip(variant.targets, following)]

        def begin():
            file = os.path.join(self.source(variant.size), NAME)
            argv = tools.relay("send", file, place(variant.targets[0]))
            client = self.bench.start(argv, self.nodes["source"])
            return Started([client], [], lambda target: os.path.exists(self.box(target, NAME)), True)

        return servers, begin

    def torrent(self, variant):
        folder = self.source(variant.size)
        torrent = tools.torrent_file(self.bench, os.path.join(folder, NAME), 256)
        seed = tools.torrent_seed(self.bench, torrent, folder, self.address("source"), self.nodes["source"])

        def client(number, target):
            # Everyone knows the source and those before it, so that each pair meets once.
            others = ["source", *variant.targets[:number]]
            peers = [f"{self.address(name)}:{tools.TORRENT}" for name in others]
            argv = tools.torrent("get", torrent, self.box(target), f"{self.address(target)}:{tools.TORRENT}", *peers,
                                 "--done", self.box(target, "done"))
            return self.bench.start(argv, self.nodes[target])

        def begin():
            clients = {target: client(number, target) for number, target in enumerate(variant.targets)}
            odd = [clients[variant.odd]] if variant.odd else []
            has = lambda target: os.path.exists(self.box(target, "done"))
            return Started(list(clients.values()), odd, has, False)

        return [seed], begin

    # -------------------------------------------------------------- one run

    def shape(self, variant):
        for name in ("source", *variant.targets):
            rate = variant.mbit / 10 if variant.name == "slow" and name == variant.odd else variant.mbit
            self.nodes[name].shape(rate, rate)
            self.nodes[name].isolate(variant.name == "isolated" and name != "source")

    def run(self, variant, prepare):
        for target in variant.targets:
            emptied(self.box(target))
            self.nodes[target].shape(None)      # servers come up at once
        servers, begin = prepare()
        self.shape(variant)
        foreign, sent = self.bench.foreign_time(), self.nodes["source"].sent_payload()
        started = begin()
        arrived = {}

        def all_there():
            for target in variant.counted:
                if target not in arrived and started.has(target):
                    arrived[target] = time.perf_counter()
            return len(arrived) == len(variant.counted) and not (started.awaits_clients and not variant.odd)

        actions = [(variant.bound / 2, self.killer(started))] if variant.name == "kill" else []
        in_time = self.bench.drive(started.clients, limit=variant.limit, sample=False, actions=actions, done=all_there)
        all_there()
        run = self.judge(variant, started, arrived, in_time)
        run.disturbed = run.ok and self.bench.was_disturbed(foreign, run.wall)
        run.extra["sent"] = (self.nodes["source"].sent_payload() - sent) / variant.size
        self.bench.forget(*started.clients, *(server for server in servers if server not in started.clients))
        return run

    @staticmethod
    def killer(started):
        return lambda: [process.kill() for process in started.of_odd]

    def judge(self, variant, started, arrived, in_time):
        begin = started.clients[0].started
        wanted = os.path.join(self.source(variant.size), NAME)
        wrong = [target for target in variant.counted
                 if target not in arrived or not same(wanted, self.box(target, NAME))]
        if wrong:
            said = next((words for words in (client.last_words() for client in started.clients) if words), "")
            when = "" if in_time else f" within {variant.limit:.0f} s"
            return Run(note=f"not complete{when}: {' '.join(wrong)}; {said}")
        ends = list(arrived.values())
        if started.awaits_clients and not variant.odd:
            if any(client.poll() != 0 for client in started.clients):
                return Run(note=f"a client failed: {started.clients[0].last_words()}")
            ends += [client.ended for client in started.clients]
        return Run(wall=max(ends) - begin, ok=True)


def measure(push, variant):
    runs = {name: functools.partial(push.run, variant, prepare) for name, prepare in push.contenders(variant)}
    results = push.bench.rounds(runs)
    rows = [[name, of(runs, lambda run: run.wall), of(runs, lambda run: run.wall / variant.bound),
             against(results, name, "peershare"), of(runs, lambda run: run.extra["sent"]), count(runs)]
            for name, runs in results.items()]
    table(f"{variant.title()}; {variant.size // MIB} MiB, {variant.mbit:g} Mbit/s, F/u = {variant.bound:.2f} s",
          ["contender", "time s", "time ÷ (F/u)", "time ÷ peershare", "sent by the source ÷ F", "runs"], rows)
    print_failures(results)


def main():
    chosen = sys.argv[1:] or VARIANTS
    if not set(chosen) <= set(VARIANTS):
        sys.exit(f"variants: {' '.join(VARIANTS)}")
    tools.Ours.require()
    if not needs_root("uploads to several targets"):
        return
    variants = [Variant(name) for name in chosen]
    with Bench() as bench:
        push = Push(bench, max((variant.targets for variant in variants), key=len))
        print_surroundings(bench, *tools.names())
        for variant in variants:
            measure(push, variant)


if __name__ == "__main__":
    main()
