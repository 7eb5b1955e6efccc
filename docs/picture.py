#!/usr/bin/env python3
"""Draws what a real session of `client` looks like: runs it on a pseudo-terminal, keeps the screen, and writes it
as SVG. Needs `pip install pyte`.

  docs/picture.py OUT.svg COLUMNS ROWS FOLDER line [line ...]

The client runs in FOLDER; each line is typed when the prompt has come back."""
import html
import os
import pty
import select
import struct
import sys
import fcntl
import termios
import time

import pyte

CLIENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "target/release/client")
PROMPT = "peershare> "
COLOURS = {"default": "#d8dee9", "red": "#e06c75", "green": "#98c379", "brown": "#e5c07b", "blue": "#61afef",
           "magenta": "#c678dd", "cyan": "#56b6c2", "white": "#ffffff", "black": "#282c34"}


def record(columns, rows, folder, lines):
    """The screen after all lines were typed and answered."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=folder)
        os.execv(CLIENT, [CLIENT])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until_quiet(seconds):
        while select.select([terminal], [], [], seconds)[0]:
            stream.feed(os.read(terminal, 65536))

    def prompt_is_back():
        return screen.display[screen.cursor.y].rstrip() == PROMPT.rstrip()

    read_until_quiet(1)
    for line in lines:
        for letter in line:
            os.write(terminal, letter.encode())
            read_until_quiet(0.02)
        os.write(terminal, b"\r")
        until = time.monotonic() + 30
        read_until_quiet(0.5)
        while not prompt_is_back() and time.monotonic() < until:
            read_until_quiet(0.2)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return screen


def draw(screen, columns):
    used = [y for y in range(screen.lines) if screen.display[y].strip()]
    height = (max(used) + 1) if used else 1
    width_px, line_px, letter_px, edge = columns * 8.4 + 32, 19, 8.4, 16
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_px:.0f}" height="{height * line_px + 32}" '
             f'font-family="monospace" font-size="14">',
             '<rect width="100%" height="100%" rx="8" fill="#1e222a"/>']
    for y in range(height):
        x = 0
        while x < columns:
            cell = screen.buffer[y][x]
            text, start = "", x
            while x < columns and (screen.buffer[y][x].fg, screen.buffer[y][x].bold) == (cell.fg, cell.bold):
                text += screen.buffer[y][x].data
                x += 1
            if text.strip():
                weight = ' font-weight="bold"' if cell.bold else ""
                parts.append(f'<text x="{edge + start * letter_px:.1f}" y="{edge + (y + 0.8) * line_px:.1f}" '
                             f'fill="{COLOURS.get(cell.fg, COLOURS["default"])}"{weight} xml:space="preserve">'
                             f'{html.escape(text.rstrip())}</text>')
    return "\n".join(parts + ["</svg>\n"])


def main():
    out, columns, rows, folder, *lines = sys.argv[1:]
    screen = record(int(columns), int(rows), folder, lines)
    with open(out, "w", encoding="utf-8") as file:
        file.write(draw(screen, int(columns)))


main()
