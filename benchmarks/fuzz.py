"""Hostile files for every reader: spoilt by their format and byte by byte, read in child processes with limits.

    python benchmarks/fuzz.py [--minutes 10] [--reader NAME]... [--seed N] [--keep FOLDER]

A reader may accept a file or refuse it with one clear line (`InputError`). Anything else is a failure: another
exception, a crash, more memory than `--memory-gb` or more time than `--seconds` for one file. A refusal because memory
ran out counts as too much memory. Exits 1 where there is any failure. Case N of a reader is the same for a seed, and
`--case N` runs it alone; `--keep` saves the files of failures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from _fuzz_readers import READERS, Reader
from kinelift.errors import InputError

LONGEST_MESSAGE = 1000
# FFmpeg asks for no block of over 2 GB (av_max_alloc), and says of one that it wanted what it says when memory ran out.
FFMPEG_SAYS, FFMPEG_BLOCK_MB = "cannot be read as a video (Cannot allocate memory)", 2000
# Words by which libraries say that memory ran out, where they do not raise MemoryError.
_OUT_OF_MEMORY = ("bad allocation", "bad_alloc", "unable to allocate", "insufficient memory", "cannot allocate")


@dataclass
class Tally:
    """What happened to one reader's files."""

    reader: str
    counts: Counter = field(default_factory=Counter)
    failures: dict[str, tuple[str, int]] = field(default_factory=dict)
    slowest_s: float = 0.0
    peak_mb: float = 0.0

    def add(self, case: int, outcome: str, detail: str, seconds: float, peak_mb: float) -> None:
        """Count one file."""
        self.counts[outcome] += 1
        self.slowest_s, self.peak_mb = max(self.slowest_s, seconds), max(self.peak_mb, peak_mb)
        if outcome not in ("accepted", "refused"):
            self.failures.setdefault(f"{outcome}: {detail}", (detail, case))

    @property
    def files(self) -> int:
        """How many were read."""
        return sum(self.counts.values())


def spoil(reader: Reader, files: list[Path], root: Path, seed: int, case: int, folder: Path) -> tuple[Path, str]:
    """The case's files in `folder`: the one that is spoilt, and how."""
    rng = np.random.default_rng([seed, zlib.crc32(reader.name.encode()), case])
    chosen = files[int(rng.integers(len(files)))]
    mutation = reader.mutations[int(rng.integers(len(reader.mutations)))]
    shutil.copytree(root, folder)
    target = folder / chosen.relative_to(root)
    target.unlink()
    try:
        how = mutation(chosen, target, rng)
    except Exception:  # a way for texts and a file of a pair that is none; or spoilt too much for a second way
        target.write_bytes(chosen.read_bytes()[: int(rng.integers(chosen.stat().st_size))])
        how = "cut short"
    return target, how


def judged(reader: Reader, path: Path) -> tuple[str, str]:
    """How reading one file went, and what went wrong."""
    try:
        reader.read(path)
    except InputError as e:
        text, cause = str(e), e
        said_so = any(word in text.lower() for word in _OUT_OF_MEMORY)
        chain: list[BaseException | None] = [e.__context__, cause.__cause__]
        if said_so or any(isinstance(c, MemoryError) for c in chain):
            return "memory", text[:200]
        if "\n" in text or len(text) > LONGEST_MESSAGE or not text.isprintable():
            return "crash", f"a message that is not one clear line: {text[:80]!r}"
        return "refused", text
    except MemoryError:
        return "memory", _place()
    except BaseException as e:
        return "crash", f"{type(e).__name__}: {str(e)[:120]} ({_place()})"
    return "accepted", ""


def _place() -> str:
    """The innermost line of kinelift's own in the traceback."""
    own = [f for f in traceback.extract_tb(sys.exc_info()[2]) if f"{os.sep}kinelift{os.sep}" in f.filename]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "outside kinelift"


def work(reader: Reader, options: Any, cases: range, say: Any) -> None:
    """A child process: spoil and read one file after the other, telling before and after each."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        root = Path(made) / "valid"
        root.mkdir()
        files = reader.seeds(root)
        for file in files:
            try:
                reader.read(file)
            except Exception:
                say.send(("broken", f"{file.name}: {traceback.format_exc()}"))
                return
        say.send(("ready",))
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + int(options.memory_gb * 1e9)
        for case in cases:
            folder = Path(made) / "case"
            path, how = spoil(reader, files, root, options.seed, case, folder)
            say.send(("start", case, how))
            Path("/proc/self/clear_refs").write_text("5")
            before, start = _resident("VmRSS"), time.monotonic()
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            outcome, detail = judged(reader, path)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            if (Path(made) / "pwned").exists() or (folder / "pwned").exists():
                outcome, detail = "crash", "a file ran a command"
            taken = _resident("VmHWM") - before
            if outcome == "memory" and FFMPEG_SAYS in detail and taken < FFMPEG_BLOCK_MB:
                outcome = "refused"
            if outcome not in ("accepted", "refused") and options.keep:
                _keep(folder, options.keep / f"{reader.name.replace('/', ' ')} {case}")
            say.send(("done", case, outcome, f"{detail} [{how}]", time.monotonic() - start, taken))
            shutil.rmtree(folder)
        say.send(("end",))


def _resident(field_name: str) -> float:
    """Megabytes of this process by a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field_name))


def _keep(folder: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)


def fuzz(reader: Reader, options: Any, seconds: float) -> Tally:
    """Read spoilt files for so long."""
    tally, context = Tally(reader.name), multiprocessing.get_context("fork")
    case, end = options.case or 0, None
    last = case + 1 if options.case is not None else 10**9
    while case < last and (end is None or time.monotonic() < end):
        hear, say = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(reader, options, range(case, last), say), daemon=True)
        child.start()
        say.close()
        how, began = "", time.monotonic()
        while True:
            waited = hear.poll(options.seconds if end is not None else 180)
            try:
                told = hear.recv() if waited else ("late",)
            except EOFError:
                told = ("died",)
            if told[0] == "broken":
                raise SystemExit(f"{reader.name}: no fault of the reader: {told[1]}")
            if told[0] == "ready":
                end = end or time.monotonic() + seconds
            elif told[0] == "start":
                _, case, how = told
                began = time.monotonic()
            elif told[0] == "done":
                tally.add(*told[1:])
                case += 1
            elif told[0] == "end":
                break
            else:
                child.kill()
                child.join()
                word = "time" if told[0] == "late" else "crash"
                why = f"over {options.seconds:g} s" if word == "time" else f"the process died ({child.exitcode})"
                tally.add(case, word, f"{why} [{how}]", time.monotonic() - began, 0.0)
                case += 1
                break
            if end is not None and time.monotonic() > end and told[0] == "done":
                child.kill()
                child.join()
                break
        hear.close()
    return tally


def table(tallies: list[Tally]) -> str:
    """A Markdown table of all readers."""
    lines = ["| reader | files | accepted | refused | crashes | memory | time | slowest, s | peak, MB |"]
    lines += ["|---" + "|---:" * 8 + "|"]
    total = Counter()
    for t in tallies:
        total.update(t.counts)
        c = t.counts
        numbers = [t.files, c["accepted"], c["refused"], c["crash"], c["memory"], c["time"]]
        lines.append(f"| {t.reader} | {' | '.join(map(str, numbers))} | {t.slowest_s:.1f} | {max(t.peak_mb, 0):.0f} |")
    numbers = [sum(total.values()), *(total[k] for k in ("accepted", "refused", "crash", "memory", "time"))]
    lines.append(f"| all | {' | '.join(map(str, numbers))} | {max(t.slowest_s for t in tallies):.1f} | "
                 f"{max(t.peak_mb for t in tallies):.0f} |")  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--reader", action="append", choices=[*READERS], help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this case")
    parser.add_argument("--memory-gb", type=float, default=4.0, help="for one file, beyond what the program has")
    parser.add_argument("--seconds", type=float, default=60.0, help="for one file")
    parser.add_argument("--keep", type=Path, help="folder for the files of failures")
    options = parser.parse_args()
    if options.keep:
        options.keep = options.keep.resolve()
    readers = [READERS[n] for n in options.reader or READERS]
    tallies = []
    for reader in readers:
        tallies.append(fuzz(reader, options, 60 * options.minutes / len(readers)))
        t = tallies[-1]
        print(f"{reader.name}: {t.files} files, {dict(t.counts)}", file=sys.stderr)
        for detail, case in list(t.failures.values())[:12]:
            print(f"  case {case}: {detail}", file=sys.stderr)
    print(table(tallies))
    return 1 if any(t.failures for t in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
