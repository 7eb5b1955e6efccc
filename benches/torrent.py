#!/usr/bin/env python3
"""A BitTorrent v2 peer for the scripts beside it, with libtorrent's Python module. Nobody is found by
tracker, DHT or broadcast: peers are named, as in peer_settings.txt. TCP only.

  torrent.py make FILE TORRENT PIECE_KIB
  torrent.py seed TORRENT FOLDER ADDRESS:PORT                  serves unchecked, until it is ended
  torrent.py get  TORRENT FOLDER ADDRESS:PORT PEER... [--done FILE]
                  ends once all is verified and written; with --done it then makes that file, and seeds on
"""
import os
import signal
import sys
import time

import libtorrent as lt

# On top of libtorrent's own settings for fast machines: nobody is looked for, uploads are not rationed, and
# neither unencrypted peers nor several on one address are turned away.
SETTINGS = {
    "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "in_enc_policy": int(lt.enc_policy.disabled), "out_enc_policy": int(lt.enc_policy.disabled),
    "allow_multiple_connections_per_ip": True, "close_redundant_connections": False,
    "unchoke_slots_limit": -1, "connection_speed": 200, "smooth_connects": False, "min_reconnect_time": 1,
    "hashing_threads": 2, "request_queue_time": 1, "max_queued_disk_bytes": 32 << 20,
    "alert_mask": int(lt.alert.category_t.storage_notification | lt.alert.category_t.error_notification),
}


def make(path, torrent, piece_kib):
    files = lt.file_storage()
    lt.add_files(files, path)
    creator = lt.create_torrent(files, int(piece_kib) << 10, lt.create_torrent.v2_only)
    lt.set_piece_hashes(creator, os.path.dirname(path))
    with open(torrent, "wb") as file:
        file.write(lt.bencode(creator.generate()))


def join(torrent, folder, address, is_seed):
    session = lt.session({**lt.high_performance_seed(), **SETTINGS, "listen_interfaces": address})
    wanted = lt.add_torrent_params()
    wanted.ti, wanted.save_path = lt.torrent_info(torrent), folder
    wanted.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    wanted.flags |= lt.torrent_flags.disable_pex
    if is_seed:
        wanted.flags |= lt.torrent_flags.seed_mode
    return session, session.add_torrent(wanted)


def get(torrent, folder, address, peers, done):
    session, handle = join(torrent, folder, address, False)
    for peer in peers:
        host, port = peer.split(":")
        handle.connect_peer((host, int(port)))
    while not handle.status().is_seeding:
        session.wait_for_alert(20)
        session.pop_alerts()
    # The last piece is verified before it is written.
    handle.flush_cache()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        session.wait_for_alert(5)
        if any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
            break
    if done:
        open(done, "w").close()
        signal.pause()
    os._exit(0)     # everything is there; its orderly end takes up to a second


def main():
    verb, *words = sys.argv[1:]
    done = None
    if "--done" in words:
        at = words.index("--done")
        done = words[at + 1]
        del words[at:at + 2]
    if verb == "make":
        make(*words)
    elif verb == "seed":
        kept = join(*words, True)
        signal.pause()
        del kept
    else:
        get(*words[:3], words[3:], done)


if __name__ == "__main__":
    main()
