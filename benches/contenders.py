"""The programs that the scripts in this folder compare: how each is started, told to serve, told to
fetch. What is not installed is left out with a line that says so, once."""
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys

from harness import HERE, ROOT, emptied, skip

BIN = os.environ.get("PEERSHARE_BIN") or os.path.join(ROOT, "target", "release")
OLD_BIN = os.environ.get("OLD_BIN")
WEB, RSYNC, TORRENT, OURS, RELAY = 7101, 7102, 7103, 7104, 7106      # ports

ARIA_TUNED = ["-k1M", "--file-allocation=none", "--connect-timeout=3", "--timeout=5", "--retry-wait=1", "--max-tries=0"]


@functools.lru_cache(None)
def have(*programs):
    """Whether all of these are installed; says once which one is not."""
    missing = [program for program in programs if not program_path(program)]
    for program in missing:
        skip_once(f"{program} is not installed")
    return not missing


@functools.lru_cache(None)
def skip_once(what):
    skip(what)


def program_path(program):
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def is_up(address, port, namespace=None):
    """Whether somebody listens there."""
    with namespace.entered() if namespace else contextlib.nullcontext():
        try:
            socket.create_connection((address, port), 0.5).close()
            return True
        except OSError:
            return False


# ------------------------------------------------------------------ ours

class Ours:
    """Our own programs, with one settings file for everyone who uses this: {peer: (address, port)}.
    `programs` is the folder where they are."""

    def __init__(self, bench, peers, programs=BIN, settings="peer_settings.txt"):
        self.bench, self.peers, self.programs = bench, peers, programs
        self.settings = bench.path(settings)
        with open(self.settings, "w") as file:
            for peer, (address, port) in peers.items():
                file.write(f"{peer} {address} {port}\n")

    @staticmethod
    def client_path():
        return os.path.join(BIN, "client")

    @staticmethod
    def require():
        """Ends the script when our programs are not there: there is nothing to measure then."""
        for name in ("client", "server"):
            if not os.access(os.path.join(BIN, name), os.X_OK):
                sys.exit(f"no {name} in {BIN}; run `cargo build --release`, or set PEERSHARE_BIN")
            if OLD_BIN and not os.access(os.path.join(OLD_BIN, name), os.X_OK):
                sys.exit(f"no {name} in {OLD_BIN}, where OLD_BIN says that an earlier build is")

    @staticmethod
    def builds():
        """Names of the builds that take part, and where their programs are."""
        return {"peershare": BIN, **({"before": OLD_BIN} if OLD_BIN else {})}

    def serve(self, peer, folder, namespace=None):
        """Starts that peer's server, and returns once all that it serves is hashed."""
        argv = [os.path.join(self.programs, "server"), peer, "--peer-settings", self.settings, "--served-files", folder]
        server = self.bench.start(argv, namespace)
        return self.bench.await_true(server, lambda: self._has_hashed_all(peer, namespace))

    def _has_hashed_all(self, peer, namespace):
        if not is_up(*self.peers[peer], namespace):
            return False
        argv = self.client(self.bench.path("nothing", "x"), "filelist", peer)
        with namespace.entered() if namespace else contextlib.nullcontext():
            listed = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        lines = listed.stdout.splitlines()
        return listed.returncode == 0 and all(line.split("\t")[2] != "-" for line in lines)

    def client(self, folder, *words, peer=None):
        """The command line of a client whose served folder that is."""
        who = ["--peer", peer] if peer else []
        return [os.path.join(self.programs, "client"), "-q", "--peer-settings", self.settings, "--served-files", folder, *who, *words]

    @staticmethod
    def knows_flag(verb, flag):
        """Whether the help of a command mentions a flag."""
        told = subprocess.run([Ours.client_path(), "help", verb], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        return flag in told.stdout


# ------------------------------------------------------------------ others: servers

def nginx(bench, folder, address="127.0.0.1", namespace=None):
    home = emptied(bench.path("nginx", address))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {home}/{kind}; " for kind in kinds)
    with open(f"{home}/nginx.conf", "w") as file:
        file.write(f"""daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 2;
{'user root;' if os.geteuid() == 0 else ''}
events {{ worker_connections 256; }}
http {{ {temporary} access_log off; sendfile on; tcp_nopush on;
  server {{ listen {address}:{WEB}; root {folder}; }} }}
""")
    argv = [program_path("nginx"), "-p", home, "-c", f"{home}/nginx.conf", "-e", f"{home}/error.log"]
    return bench.await_true(bench.start(argv, namespace), lambda: is_up(address, WEB, namespace))


def rsync_daemon(bench, folder, address="127.0.0.1", namespace=None):
    """Serves the module `files`, for reading and writing."""
    config = bench.path(f"rsyncd-{address}.conf")
    with open(config, "w") as file:
        file.write(f"use chroot = no\n[files]\npath = {folder}\nread only = no\n")
        if os.geteuid() == 0:
            file.write("uid = 0\ngid = 0\n")
    argv = ["rsync", "--daemon", "--no-detach", f"--config={config}", f"--address={address}", f"--port={RSYNC}"]
    return bench.await_true(bench.start(argv, namespace), lambda: is_up(address, RSYNC, namespace))


@functools.lru_cache(None)
def torrent_python():
    """A Python that has libtorrent 2, or None after a line that says there is none."""
    for python in (sys.executable, "/usr/bin/python3", "python3"):
        with contextlib.suppress(OSError):
            asked = subprocess.run([python, "-c", "import libtorrent; print(libtorrent.version)"],
                                   capture_output=True, text=True)
            if asked.returncode == 0 and asked.stdout.startswith("2."):
                return python
    skip("libtorrent 2 is not installed (python3-libtorrent)")
    return None


def names():
    """Paths of what is installed, and libtorrent's version, for the line that says on what was measured."""
    found = [Ours.client_path(), *filter(None, map(program_path, ("nginx", "curl", "aria2c", "rsync")))]
    if torrent_python():
        code = "import libtorrent; print('libtorrent', libtorrent.version)"
        found.append(subprocess.run([torrent_python(), "-c", code], capture_output=True, text=True).stdout.strip())
    return found


def relay(*words):
    return [sys.executable, os.path.join(HERE, "relay.py"), *words]


def torrent(*words):
    return [torrent_python(), os.path.join(HERE, "torrent.py"), *words]


def torrent_file(bench, path, piece_kib):
    """Hashes a file into a torrent of version 2."""
    made = bench.path(os.path.basename(path) + ".torrent")
    subprocess.run(torrent("make", path, made, str(piece_kib)), check=True, capture_output=True)
    return made


def torrent_seed(bench, torrent_path, folder, address="127.0.0.1", namespace=None):
    argv = torrent("seed", torrent_path, folder, f"{address}:{TORRENT}")
    return bench.await_true(bench.start(argv, namespace), lambda: is_up(address, TORRENT, namespace))


# ------------------------------------------------------------------ others: clients

def url(address, name):
    return f"http://{address}:{WEB}/{name}"


def curl(source, out):
    return ["curl", "-sSf", "-o", out, source]


def aria2(sources, out, *options):
    folder, name = os.path.split(out)
    return ["aria2c", "-q", "--no-conf", "--allow-overwrite=true", "-d", folder, "-o", name, *options, *sources]


def rsync(source, out, *options):
    """Whole files, written in place: what is quickest when there is nothing to compare with."""
    return ["rsync", "-W", "--inplace", *options, source, out]


def rsync_url(address, name=""):
    return f"rsync://{address}:{RSYNC}/files/{name}"


def digest_program():
    """What prints the SHA-256 of a file, quickest first."""
    return ["openssl", "dgst", "-sha256", "-r"] if shutil.which("openssl") else ["sha256sum"]


# ------------------------------------------------------------------ the probe

def build_probe():
    """Builds benches/probe where cargo is there; gives its path, or None after a line that says why."""
    if not shutil.which("cargo"):
        skip("the probe: it is built with cargo, which is not installed")
        return None
    argv = ["cargo", "build", "--release", "--locked", "--manifest-path", os.path.join(HERE, "probe", "Cargo.toml"),
            "--target-dir", os.path.join(ROOT, "target", "probe"), "--message-format=json"]
    built = subprocess.run(argv, capture_output=True, text=True)
    for line in built.stdout.splitlines():
        executable = json.loads(line).get("executable")
        if executable:
            return executable
    skip(f"the probe does not build: {built.stderr.strip().splitlines()[-1:]}")
    return None


