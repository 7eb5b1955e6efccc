#!/usr/bin/python3
"""Prints `length root` for files whose byte i is (i*31 + i//251) % 256.

The roots are the `pieces root`s that libtorrent (version 2) computes for BitTorrent v2, so that
our content ids are checked against somebody else's. Run: python3 make_roots.py > roots.txt
"""
import os
import tempfile

import libtorrent

LENGTHS = [1, 16383, 16384, 16385, 262144, 262145, 1000000, (5 << 20) + 3]


def pieces_root(path):
    storage = libtorrent.file_storage()
    libtorrent.add_files(storage, path)
    torrent = libtorrent.create_torrent(storage, 0, libtorrent.create_torrent.v2_only)
    libtorrent.set_piece_hashes(torrent, os.path.dirname(path))
    (entry,) = torrent.generate()[b"info"][b"file tree"].values()
    return entry[b""][b"pieces root"].hex()


with tempfile.TemporaryDirectory() as folder:
    for length in LENGTHS:
        path = os.path.join(folder, f"f{length}")
        with open(path, "wb") as file:
            file.write(bytes((i * 31 + i // 251) % 256 for i in range(length)))
        print(length, pieces_root(path))
