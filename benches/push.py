#!/usr/bin/env python3
"""Sources give a file or a folder to several targets; every node's link is limited in both directions.

  1 2 4 8 12        upload to so many targets
  slow              to 8, one of them with a tenth of the rate up and down: time for the other seven
  kill              to 8, one of them killed half-way: time for the other seven
  isolated          to 8 that reach only the source, not one another (packets between them vanish)
  downloads         8 targets begin to download from the one source at the same moment
  downloads6        6 do
  two               6 targets begin to download from two sources at the same moment
  folder            upload of a folder to 4: a quarter of its bytes is one file, a quarter files of 1 MiB, the rest
                    files of 16 KiB
  folder-downloads  4 begin to download that folder from the one source at the same moment
  folder-slow       as slow, with that folder
  folder-kill       as kill, with that folder

  RUNS=5 benches/push.py [VARIANT...]        further settings: harness.py
  MBIT=200 SIZE_MIB=128        less in some variants (SETTINGS below), because more is more than 2 cores carry;
                               setting them counts for all variants

Contenders: ours, and with --no-swarm; as `before` the programs in OLD_BIN; a bare relay chain (relay.py), which
checks nothing and says what the machine can carry; rsync, one client a target, all at once; libtorrent v2. The
last takes no part in folders. What is not installed is left out. Needs root, for network namespaces.

F/u is the time of the file's bits through one link, which is the same up and down: the bound of any scheme, of
which headers alone cost 1.046. With two sources it is that of what a target receives. Sent ÷ F is what the
sources' interfaces sent, less the headers, by the size of the file or folder. Time ends when the last target that
counts has all of it (for uploads by ours or rsync, where all count: when the clients have ended). What came to the
targets that count is compared with the original, a folder file by file. Half-way is half of F/u.
"""
import functools
import os
import sys
import time

import contenders as tools
from harness import (MIB, Bench, Run, against, count, emptied, file_names, needs_root, of, print_failures,
                     print_surroundings, same, same_folders, setting, table)

FILE, FOLDER = "file.bin", "folder"
MEDIUM, SMALL, SMALL_A_FOLDER = MIB, 16 << 10, 128      # bytes of a file; small files in one folder
# Targets, Mbit/s, MiB.
SETTINGS = {
    "1": (1, 200, 128), "2": (2, 200, 128), "4": (4, 200, 128), "8": (8, 100, 64), "12": (12, 50, 32),
    "slow": (8, 100, 64), "kill": (8, 100, 64), "isolated": (8, 100, 64),
    "downloads": (8, 100, 64), "downloads6": (6, 200, 128), "two": (6, 200, 128),
    "folder": (4, 200, 64), "folder-downloads": (4, 200, 64), "folder-slow": (8, 100, 64), "folder-kill": (8, 100, 64),
}
VARIANTS = tuple(SETTINGS)


class Variant:
    """What goes from whom to how many targets, which of them fails how, who begins."""

    def __init__(self, name):
        self.name = name
        self.count, mbit, mib = SETTINGS[name]
        self.mbit, self.size = setting("MBIT", float(mbit)), setting("SIZE_MIB", mib) * MIB
        self.sources = ["source", "second"] if name == "two" else ["source"]
        self.targets = [f"t{number}" for number in range(1, self.count + 1)]
        self.is_slow, self.is_kill = name.endswith("slow"), name.endswith("kill")
        self.odd = self.targets[-1] if self.is_slow or self.is_kill else None
        self.counted = [target for target in self.targets if target != self.odd]
        self.is_pull = "downloads" in name or name == "two"
        self.is_folder = name.startswith("folder")
        self.thing = FOLDER if self.is_folder else FILE

    @property
    def bound(self):
        """F/u in seconds."""
        return self.size * 8 / 1e6 / self.mbit

    @property
    def limit(self):
        """Longer than one copy after another."""
        return 10 + 1.5 * self.bound * max(2, self.count)

    def title(self):
        what = "of a folder " if self.is_folder else ""
        if self.is_pull:
            return f"{self.count} downloads {what}at the same moment" + (" from two sources" if self.sources[1:] else "")
        return f"upload {what}to {self.count}" + (
            f", one at a tenth of the rate: the other {self.count - 1}" if self.is_slow else
            f", one killed half-way: the other {self.count - 1}" if self.is_kill else
            " that cannot reach one another" if self.name == "isolated" else "")


def lengths(size):
    """What files a folder of so many bytes has: {name: bytes}."""
    names = {"large.bin": size // 4}
    names.update({f"medium/{number:03}.bin": MEDIUM for number in range(size // 4 // MEDIUM)})
    small = range((size - sum(names.values())) // SMALL)
    names.update({f"small/{number // SMALL_A_FOLDER:03}/{number:05}.bin": SMALL for number in small})
    return names


def there(box, names):
    """A function that says whether all of these files are in a folder. It goes on where it stopped, so that
    asking often is cheap; so files must not go away again."""
    missing = list(names)

    def all_there():
        while missing and os.path.exists(os.path.join(box, missing[-1])):
            missing.pop()
        return not missing

    return all_there


class Started:
    """A contender in motion: its clients, what ends with the odd target, and how to see who has the file."""

    def __init__(self, clients, of_odd, has, awaits_clients):
        self.clients, self.of_odd, self.has, self.awaits_clients = clients, of_odd, has, awaits_clients


class Push:
    def __init__(self, bench, variants):
        self.bench = bench
        names = {name: None for variant in variants for name in (*variant.sources, *variant.targets)}
        self.nodes = bench.star(names)
        self.made = {}

    def source(self, variant, whose="original"):
        """A folder with the file or folder in it, and nothing else; everybody who keeps notes beside what it serves
        has one of its own, with the same files."""
        key = f"{whose}-{variant.thing}-{variant.size // MIB}"
        if key not in self.made:
            home = self.made[key] = self.bench.path(f"source-{key}", "")
            if whose == "original":
                files = lengths(variant.size) if variant.is_folder else {"": variant.size}
                for name, size in files.items():
                    path = self.bench.path(os.path.join(home, variant.thing, name).rstrip("/"))
                    self.bench.random_file(path, size)
            else:
                original = self.source(variant)
                for name in file_names(original):
                    os.link(os.path.join(original, name), self.bench.path(home, name))
        return self.made[key]

    def box(self, target, name=""):
        return self.bench.path("boxes", target, name)

    def address(self, name):
        return self.nodes[name].address

    # -------------------------------------------------------------- contenders

    def contenders(self, variant):
        """Name and the function that brings servers up; it gives them, and what starts the transfer."""
        for build, programs in tools.Ours.builds().items():
            yield build, functools.partial(self.ours, variant, programs, [])
        if tools.Ours.knows_flag("download" if variant.is_pull else "upload", "--no-swarm"):
            yield "peershare --no-swarm", functools.partial(self.ours, variant, tools.BIN, ["--no-swarm"])
        else:
            tools.skip_once("peershare --no-swarm: this client does not know the flag")
        if not (variant.is_pull or variant.is_folder or variant.odd or variant.name == "isolated"):
            yield "bare relay chain", functools.partial(self.relay, variant)
        if tools.have("rsync"):
            yield "rsync, one a target", functools.partial(self.rsync, variant)
        if not variant.is_folder and tools.torrent_python():
            yield "libtorrent v2", functools.partial(self.torrent, variant)

    def ours(self, variant, programs, flags):
        names = [*variant.sources, *variant.targets]
        ours = tools.Ours(self.bench, {name: (self.address(name), tools.OURS) for name in names}, programs)
        folders = {name: self.box(name) for name in variant.targets}
        build = "before" if programs == tools.OLD_BIN else "ours"
        folders.update({name: self.source(variant, f"{build}-{name}") for name in variant.sources})
        servers = {name: ours.serve(name, folders[name], self.nodes[name]) for name in names}
        thing = variant.thing + ("/" if variant.is_folder else "")
        # A file appears under its name only when it is complete and verified.
        has = {target: there(self.box(target), file_names(self.source(variant))) for target in variant.targets}

        def client(name, *words):
            return self.bench.start(ours.client(folders[name], *words, peer=name), self.nodes[name])

        def begin():
            if variant.is_pull:
                clients = {target: client(target, "download", thing, *flags) for target in variant.targets}
                return Started(list(clients.values()), [], lambda target: clients[target].poll() == 0, True)
            clients = [client("source", "upload", thing, *variant.targets, *flags)]
            odd = [servers[variant.odd]] if variant.odd else []
            return Started(clients, odd, lambda target: has[target](), True)

        return list(servers.values()), begin

    def rsync(self, variant):
        home, options = self.source(variant), ["-r"] if variant.is_folder else []
        if variant.is_pull:
            servers = {name: tools.rsync_daemon(self.bench, home, self.address(name), self.nodes[name])
                       for name in variant.sources}
        else:
            servers = {target: tools.rsync_daemon(self.bench, self.box(target), self.address(target),
                                                  self.nodes[target]) for target in variant.targets}

        def client(number, target):
            if variant.is_pull:
                source = self.address(variant.sources[number % len(variant.sources)])
                argv = tools.rsync(tools.rsync_url(source, variant.thing), self.box(target), *options)
                return self.bench.start(argv, self.nodes[target])
            argv = tools.rsync(os.path.join(home, variant.thing), tools.rsync_url(self.address(target)), *options)
            return self.bench.start(argv, self.nodes["source"])

        def begin():
            clients = {target: client(number, target) for number, target in enumerate(variant.targets)}
            odd = [servers[variant.odd]] if variant.odd else []
            return Started(list(clients.values()), odd, lambda target: clients[target].poll() == 0, True)

        return list(servers.values()), begin

    def relay(self, variant):
        def place(target):
            return f"{self.address(target)}:{tools.RELAY}"

        def serve(target, *following):
            argv = tools.relay("take", place(target), self.box(target, FILE), *following)
            server = self.bench.start(argv, self.nodes[target])
            up = lambda: tools.is_up(self.address(target), tools.RELAY, self.nodes[target])
            return self.bench.await_true(server, up)

        following = [[place(target)] for target in variant.targets[1:]] + [[]]
        servers = [serve(target, *next_one) for target, next_one in zip(variant.targets, following)]

        def begin():
            argv = tools.relay("send", os.path.join(self.source(variant), FILE), place(variant.targets[0]))
            client = self.bench.start(argv, self.nodes["source"])
            return Started([client], [], lambda target: os.path.exists(self.box(target, FILE)), True)

        return servers, begin

    def torrent(self, variant):
        folder = self.source(variant)
        torrent = tools.torrent_file(self.bench, os.path.join(folder, FILE), 256)
        seeds = [tools.torrent_seed(self.bench, torrent, folder, self.address(name), self.nodes[name])
                 for name in variant.sources]

        def client(number, target):
            # Everyone knows the sources and those before it, so that each pair meets once.
            others = [*variant.sources, *variant.targets[:number]]
            peers = [f"{self.address(name)}:{tools.TORRENT}" for name in others]
            argv = tools.torrent("get", torrent, self.box(target), f"{self.address(target)}:{tools.TORRENT}", *peers,
                                 "--done", self.box(target, "done"))
            return self.bench.start(argv, self.nodes[target])

        def begin():
            clients = {target: client(number, target) for number, target in enumerate(variant.targets)}
            odd = [clients[variant.odd]] if variant.odd else []
            has = lambda target: os.path.exists(self.box(target, "done"))
            return Started(list(clients.values()), odd, has, False)

        return seeds, begin

    # -------------------------------------------------------------- one run

    def shape(self, variant):
        for name in (*variant.sources, *variant.targets):
            rate = variant.mbit / 10 if variant.is_slow and name == variant.odd else variant.mbit
            self.nodes[name].shape(rate, rate)
            self.nodes[name].isolate(variant.name == "isolated" and name not in variant.sources)

    def sent(self, variant):
        return sum(self.nodes[name].sent_payload() for name in variant.sources)

    def run(self, variant, prepare):
        for target in variant.targets:
            emptied(self.box(target))
        for name in (*variant.sources, *variant.targets):
            self.nodes[name].shape(None)        # servers come up at once
        servers, begin = prepare()
        self.shape(variant)
        foreign, sent = self.bench.foreign_time(), self.sent(variant)
        started = begin()
        arrived = {}

        def all_there():
            for target in variant.counted:
                if target not in arrived and started.has(target):
                    arrived[target] = time.perf_counter()
            return len(arrived) == len(variant.counted) and not (started.awaits_clients and not variant.odd)

        actions = [(variant.bound / 2, self.killer(started))] if variant.is_kill else []
        in_time = self.bench.drive(started.clients, limit=variant.limit, sample=False, actions=actions, done=all_there)
        all_there()
        disturbed = self.bench.was_disturbed(foreign, time.perf_counter() - started.clients[0].started)
        sent = (self.sent(variant) - sent) / variant.size
        run = self.judge(variant, started, arrived, in_time)
        run.disturbed, run.extra["sent"] = run.ok and disturbed, sent
        self.bench.forget(*started.clients, *(server for server in servers if server not in started.clients))
        return run

    @staticmethod
    def killer(started):
        return lambda: [process.kill() for process in started.of_odd]

    def judge(self, variant, started, arrived, in_time):
        begin = started.clients[0].started
        wanted, is_same = os.path.join(self.source(variant), variant.thing), same_folders if variant.is_folder else same
        wrong = [target for target in variant.counted
                 if target not in arrived or not is_same(wanted, self.box(target, variant.thing))]
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
          ["contender", "time s", "time ÷ (F/u)", "time ÷ peershare",
           f"sent by the source{'s' * (len(variant.sources) > 1)} ÷ F", "runs"], rows)
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
        push = Push(bench, variants)
        print_surroundings(bench, *tools.names())
        for variant in variants:
            measure(push, variant)


if __name__ == "__main__":
    main()
