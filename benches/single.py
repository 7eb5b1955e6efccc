#!/usr/bin/env python3
"""One file from one source over loopback, from page cache to page cache.

Contenders: our client and server; the same with a file that the server never hashed before (a fresh copy
in its folder for every run, the server being up); nginx with curl, and with curl and a SHA-256 afterwards;
nginx with aria2; an rsync daemon; libtorrent v2; and the probe (benches/probe), which does nothing but
sendfile → receive + SHA-256 + write on two streams, and is what the others are divided by. What is not
installed is left out.

  SIZE_MIB=2048 RUNS=5 benches/single.py        further settings: harness.py

Everything runs in a network namespace of its own; without root on the machine's own loopback. Time is that
of the whole client process, servers being up and all but the never-hashed file being hashed. CPU is user and
system time of each side, memory the largest process of each side. Every received file is compared.
"""
import functools
import os
import shlex
import shutil
import subprocess

import contenders as tools
from harness import (MIB, Bench, against, count, of, print_failures, print_surroundings, setting, table,
                     verified)

SIZE = setting("SIZE_MIB", 2048) * MIB
HOST = "127.0.0.1"
NAME = "file.bin"
PROBE, HASHED, FRESH = "probe", "peershare", "peershare never hashed"


class Single:
    def __init__(self, bench):
        self.bench, self.namespace = bench, bench.loopback()
        self.source = bench.random_file(bench.path("source", NAME), SIZE)
        self.folder = os.path.dirname(self.source)
        self.out = bench.path("out", NAME)
        self.contenders = {}
        self.add_probe()
        self.add_ours()
        self.add_web()
        self.add_rsync()
        self.add_torrent()

    def add(self, name, argv, *servers):
        """A contender whose command needs no preparation."""
        self.contenders[name] = functools.partial(self.run, lambda: argv, servers)

    def run(self, argv, servers):
        self.bench.empty("out")
        run = self.bench.run(argv(), self.namespace, servers)
        run = verified(run, self.source, self.out)
        self.bench.empty("out")
        return run

    def add_probe(self):
        probe = tools.build_probe()
        if probe:
            self.add(PROBE, [probe, self.source, self.out])

    def add_ours(self):
        ours = tools.Ours(self.bench, {"source": (HOST, tools.OURS), "fresh": (HOST, tools.OURS + 1)})
        folder = self.bench.empty("served")
        os.link(self.source, os.path.join(folder, NAME))
        server = ours.serve("source", folder, self.namespace)
        self.add(HASHED, ours.client(os.path.dirname(self.out), "download", NAME, "source"), server)
        fresh_folder = self.bench.empty("served-fresh")
        fresh = ours.serve("fresh", fresh_folder, self.namespace)
        self.contenders[FRESH] = functools.partial(self.run_fresh, ours, fresh, fresh_folder)

    def run_fresh(self, ours, server, folder):
        """A name of its own for every copy, so that nothing is known of it."""
        self.bench.empty("out")
        self.copies = getattr(self, "copies", 0) + 1
        name = f"copy-{self.copies}.bin"
        copy, out = os.path.join(folder, name), os.path.join(os.path.dirname(self.out), name)
        shutil.copyfile(self.source, copy)
        run = self.bench.run(ours.client(os.path.dirname(out), "download", name, "fresh"), self.namespace, [server])
        run = verified(run, self.source, out)
        os.unlink(copy)
        self.bench.empty("out")
        return run

    def add_web(self):
        if not tools.have("nginx"):
            return
        web, url = tools.nginx(self.bench, self.folder, HOST, self.namespace), tools.url(HOST, NAME)
        if tools.have("curl"):
            curl = tools.curl(url, self.out)
            self.add("nginx + curl, unverified", curl, web)
            hash_it = [*tools.digest_program(), self.out]
            wanted = subprocess.run([*hash_it[:-1], self.source], capture_output=True, text=True).stdout.split()[0]
            script = f"{shlex.join(curl)} && {shlex.join(hash_it)} | grep -q {wanted}"
            self.add(f"nginx + curl, then {hash_it[0]} SHA-256", ["sh", "-c", script], web)
        if tools.have("aria2c"):
            for streams in (1, 4):
                argv = tools.aria2([url], self.out, f"-s{streams}", f"-x{streams}", *tools.ARIA_TUNED)
                self.add(f"nginx + aria2 -x{streams}, unverified", argv, web)

    def add_rsync(self):
        if tools.have("rsync"):
            server = tools.rsync_daemon(self.bench, self.folder, HOST, self.namespace)
            self.add("rsync daemon", tools.rsync(tools.rsync_url(HOST, NAME), self.out), server)

    def add_torrent(self):
        if not tools.torrent_python():
            return
        torrent = tools.torrent_file(self.bench, self.source, 1024)
        seed = tools.torrent_seed(self.bench, torrent, self.folder, HOST, self.namespace)
        peer = f"{HOST}:{tools.TORRENT}"
        argv = tools.torrent("get", torrent, os.path.dirname(self.out), f"{HOST}:{tools.TORRENT + 10}", peer)
        self.add("libtorrent v2", argv, seed)


def main():
    tools.Ours.require()
    with Bench() as bench:
        single = Single(bench)
        print_surroundings(bench, *tools.names())
        bench.primed = SIZE + SIZE // 8
        results = bench.rounds(single.contenders)
    gb = SIZE / 1e9
    rows = [[name,
             of(runs, lambda run: SIZE / 1e6 / run.wall, 0),
             against(results, name, PROBE, lambda run: 1 / run.wall),
             against(results, name, HASHED),
             of(runs, lambda run: run.client_cpu / gb), of(runs, lambda run: run.server_cpu / gb),
             of(runs, lambda run: run.cpu / gb),
             of(runs, lambda run: run.client_peak / MIB, 0), of(runs, lambda run: run.server_peak / MIB, 0),
             count(runs)] for name, runs in results.items()]
    table(f"One source, loopback, {SIZE // MIB} MiB",
          ["contender", "MB/s", "speed ÷ probe", "time ÷ peershare", "client CPU s/GB", "server CPU s/GB",
           "both CPU s/GB", "client MiB", "server MiB", "runs"], rows)
    print("The probe is client and server in one process; its CPU and memory stand under client.")
    print_failures(results)


if __name__ == "__main__":
    main()
