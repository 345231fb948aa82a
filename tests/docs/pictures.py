"""The pictures of README.md: a terminal while a network trains, as SVG; pages of a head and of a review, as PNG.

    python tests/docs/pictures.py [FOLDER [NAME]...]   train and draw, all or these, into .github/images by default

They are drawn from real runs, in a folder that is deleted afterwards: `dlkit train digits-resnet20` in a terminal of
80 columns, `dlkit inspect-attention` of a `repeats-gpt`, and `dlkit review run` of claims. The terminal is exported
by rich, the pages are photographed by headless Chromium (apt-get install chromium; Playwright is a development
dependency).
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / ".github" / "images"
COLUMNS, ROWS = 80, 40
CHROMIUM = Path("/usr/bin/chromium")
DLKIT = [sys.executable, "-m", "dlkit"]
TEXT = "the quick fox jumps. the quick fox jumps."
# What rich writes to move on a screen: carriage return, line feed, cursor up, erase the line, hide or show the cursor.
MOVES = re.compile(r"(\r|\n|\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh])")


def output(arguments: list[str], folder: str) -> str:
    """What a command writes on a terminal, stdout and stderr. Raises CalledProcessError if it fails."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLORTERM": ""}
        os.execvpe(arguments[0], arguments, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written = b""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not data:
            break
        written += data
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code:
        raise subprocess.CalledProcessError(code, arguments, written)
    return written.decode()


def screens(written: str) -> Iterator[list[str]]:
    """The screen whenever it is about to be redrawn, and at the end: lines with their colours."""
    screen, row, drawn = [""], 0, False
    for part in MOVES.split(written):
        if part == "\x1b[2K" and drawn:
            yield list(screen)
            drawn = False
        if part == "\n":
            row += 1
            screen += [""] * (row + 1 - len(screen))
        elif part == "\x1b[2K":
            screen[row] = ""
        elif part.startswith("\x1b[") and MOVES.fullmatch(part):
            row -= int(part[2:-1] or 1) if part.endswith("A") else 0
        elif part and part != "\r":
            screen[row] += part
            drawn = True
    yield screen


def draw_terminal(target: Path) -> None:
    """Halfway through training, and the result."""
    from rich.console import Console
    from rich.text import Text

    command = "dlkit train digits-resnet20"
    with tempfile.TemporaryDirectory() as folder:
        frames = list(screens(output([*DLKIT, *command.split()[1:]], folder)))
    later = [frame for frame in frames[:-1] if re.search(r"epoch [23]\d/40", "".join(frame))]
    live = next(frame for frame in later if "test/loss" in "".join(frame))
    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, force_terminal=True, color_system="truecolor", file=nowhere)
        console.print(Text(f"$ {command}", style="bold"))
        for line in (*live, "⋮", *frames[-1]):
            if line.strip():
                console.print(Text.from_ansi(line), overflow="ignore", no_wrap=True)
    console.save_svg(str(target), title="", unique_id="dlkit")


def dlkit(*arguments: str, folder: str) -> str:
    """What a command prints, in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [*DLKIT, *arguments], check=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    return result.stdout.strip()


def draw_page(target: Path, folder: str, run: str) -> None:
    """The head of a small GPT with the highest score of induction, on a text that repeats; one token is pointed at."""
    from playwright.sync_api import sync_playwright

    options = ("--measure", "induction", "--random-from", ascii_lowercase, "-q", "--html", "heads.html")
    layer, head = dlkit("inspect-attention", run, TEXT, *options, folder=folder).split(".")
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, headless=True)
        page = browser.new_page(viewport={"width": 1010, "height": 560}, color_scheme="light")
        page.goto(Path(folder, "heads.html").as_uri())
        page.wait_for_selector("html[data-ready]")
        page.select_option("#measure", "induction")
        page.click(f'[data-layer="{layer}"][data-head="{head}"]')
        page.wait_for_selector(f'html[data-ready="{layer} {head}"]')
        page.hover(f'#panels [data-token="{len(TEXT) - 5}"]')
        page.screenshot(path=str(target))
        browser.close()


def draw_review(target: Path, folder: str) -> None:
    """The top of the page of a small review."""
    from playwright.sync_api import sync_playwright

    claims = ("dropout-regularizes", "dropout-expectation", "attention-rows", "gelu-cdf")
    dlkit("review", "run", *claims, "-q", "--report", "review.html", folder=folder)
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=flags, headless=True)
        page = browser.new_page(viewport={"width": 1010, "height": 1060}, color_scheme="light")
        page.goto(Path(folder, "review.html").as_uri())
        page.evaluate("document.querySelector('h1 + p').remove()")  # the machine that drew it
        page.screenshot(path=str(target))
        browser.close()


def main(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wanted = names or ["train", "attention", "review"]
    if "train" in wanted:
        draw_terminal(folder / "train.svg")
    with tempfile.TemporaryDirectory() as temporary:
        if "attention" in wanted:
            draw_page(folder / "attention.png", temporary, dlkit("train", "repeats-gpt", "-q", folder=temporary))
        if "review" in wanted:
            draw_review(folder / "review.png", temporary)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else IMAGES, sys.argv[2:])
