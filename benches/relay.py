#!/usr/bin/env python3
"""A bare relay chain: the source sends a file to the first target, each target writes it and passes it on to
the next. It checks nothing and breaks with any member; it is a yardstick of what the links and the machine
can carry.

  relay.py send FILE HOST:PORT
  relay.py take HOST:PORT FILE [HOST:PORT of the next]
"""
import os
import socket
import sys

PIECE = 256 << 10


def dial(place):
    host, port = place.rsplit(":", 1)
    return socket.create_connection((host, int(port)))


def send(file, to):
    """Ends when everybody down the chain has everything."""
    with open(file, "rb") as source, dial(to) as stream:
        stream.sendfile(source)
        stream.shutdown(socket.SHUT_WR)
        if stream.recv(1) != b"!":
            sys.exit("the chain broke")


def take(at, file, to=None):
    host, port = at.rsplit(":", 1)
    with socket.create_server((host, int(port))) as listener:
        while True:
            stream, _ = listener.accept()
            with stream:
                first = stream.recv(PIECE)
                if first:               # whoever only looks whether somebody listens says nothing
                    return pass_on(stream, first, file, to)


def pass_on(stream, piece, file, to):
    following = dial(to) if to else None
    with open(file + ".part", "wb", buffering=0) as sink:
        while piece:
            if following:
                following.sendall(piece)
            sink.write(piece)
            piece = stream.recv(PIECE)
    os.rename(file + ".part", file)
    if following:
        following.shutdown(socket.SHUT_WR)
        if following.recv(1) != b"!":
            sys.exit("the chain broke")
    stream.sendall(b"!")


if __name__ == "__main__":
    {"send": send, "take": take}[sys.argv[1]](*sys.argv[2:])
