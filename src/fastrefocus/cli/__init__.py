"""The command line: a thin shell over the public functions.

Exit codes: 0, all done; 1, something failed; 2, the command was not understood.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastrefocus as fr
from fastrefocus.cli.checks import UsageError
from fastrefocus.cli.inputs import SAMPLE_PREFIX, Task, read
from fastrefocus.cli.parser import build_parser
from fastrefocus.cli.verbs import DepthFile

#: Of depth files without a place for the kind of the depth.
_KINDLESS = (".npy", ".pfm")

_FAILURES = (fr.FastRefocusError, ImportError, OSError, ValueError, TypeError, MemoryError)


@dataclass(frozen=True)
class Job:
    """An input, and the files to be made of it; `output` is what ``--json`` calls them together."""

    source: str
    output: Path
    unwritten: list[Path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line without the program's name; None: ``sys.argv[1:]``.

    Returns
    -------
    int
        0, 1 or 2, as above.
    """
    args = build_parser().parse_args(arguments)

    def say(message: str) -> None:
        print(f"fastrefocus {args.verb}: {message}", file=sys.stderr)

    try:
        args.check(args)
        if args.command is not None:  # of a verb that works on no photo
            args.command(args)
            return 0
        jobs = _jobs(args)
    except UsageError as error:
        say(str(error))
        return 2
    except _FAILURES as error:  # OUT's folder cannot be made or looked at, the aperture's picture cannot be read
        say(str(error))
        return 1
    failures = 0
    for job in jobs:
        try:
            _run(job, args)
        except _FAILURES as error:
            say(f"{job.source}: {error}")
            failures += 1
        except KeyboardInterrupt:
            say(f"interrupted; {_missing(job.unwritten)}")
            return 1
    return 1 if failures else 0


def _run(job: Job, args: argparse.Namespace) -> None:
    targets = list(job.unwritten)
    for target in targets:
        args.check_target(target)
        if target.exists() and not args.force:
            raise FileExistsError(f"{target} exists; --force overwrites it")
    started = time.perf_counter()
    photo = read(job.source)

    def say(message: str) -> None:
        print(f"fastrefocus {args.verb}: {job.source}: {message}", file=sys.stderr)

    with _progress_bar(Path(job.source).name, sys.stderr.isatty()) as callback:
        outcome = args.run(Task(photo, args, say, callback, job.source))
        for target, result in zip(targets, outcome.photos, strict=True):
            if isinstance(result, DepthFile):
                fr.write_depth(target, result.depth, photo=result.photo)
                if target.suffix.lower() in _KINDLESS:
                    say(f"{target} cannot hold the kind of its depth: give --depth-kind {result.depth.kind} with it")
            else:
                fr.write_photo(target, result.pixels, like=result)
            job.unwritten.remove(target)
    if args.json:
        files = {} if args.steps is None else {"files": [str(target) for target in targets]}
        report = {"input": job.source, "output": str(job.output), **files, **outcome.report}
        print(json.dumps({**report, "seconds_total": round(time.perf_counter() - started, 3)}), flush=True)


def _missing(files: Sequence[Path]) -> str:
    if len(files) < 2:
        return f"{files[0]} was not written" if files else "all was written"
    return f"{files[0]} to {files[-1].name} were not written"


def _jobs(args: argparse.Namespace) -> list[Job]:
    """Pair each input with its output files.

    Several inputs, an existing folder, or a verb that makes several files of an input make OUT a folder.
    """
    output = Path(args.output)
    if args.steps is None and len(args.inputs) == 1 and not output.is_dir():
        return [Job(args.inputs[0], output, [output, *_map_files(output, args)])]
    if output.exists() and not output.is_dir():
        reason = "there are several inputs" if args.steps is None else f"{args.verb} writes several files"
        raise UsageError(f"{output} is not a folder, and {reason}")
    jobs = []
    for source in args.inputs:
        name = output / _file_name(source, args.suffix)
        if args.steps is None:
            jobs.append(Job(source, name, [name, *_map_files(name, args)]))
        else:
            digits = max(2, len(str(args.steps - 1)))
            frames = [output / f"{name.stem}_{step:0{digits}}.png" for step in range(args.steps)]
            jobs.append(Job(source, output, frames))
    targets = [target for job in jobs for target in job.unwritten]
    if len(set(targets)) < len(targets):
        raise UsageError("the outputs of two inputs would have the same file name and overwrite one another")
    output.mkdir(parents=True, exist_ok=True)
    return jobs


def _map_files(output: Path, args: argparse.Namespace) -> list[Path]:
    """Return the pictures of maps that ``--maps`` makes the verb write besides."""
    if args.maps is None:
        return []
    folder = Path(args.maps)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--maps must be a folder, and {folder} is a file")
    folder.mkdir(parents=True, exist_ok=True)
    return [folder / f"{output.stem}_{name}.png" for name in args.map_names]


def _file_name(source: str, suffix: str | None) -> str:
    """Return the name of an output in a folder; None keeps the input's suffix."""
    if source.startswith(SAMPLE_PREFIX):
        return source.removeprefix(SAMPLE_PREFIX) + ".png"
    return Path(source).name if suffix is None else Path(source).stem + suffix


@contextmanager
def _progress_bar(title: str, on_terminal: bool) -> Iterator[fr.Callback | None]:
    """Give a callback that draws one bar a stage, or None where nobody watches."""
    if not on_terminal:
        yield None
        return
    from tqdm import tqdm

    bar: tqdm[Any] | None = None

    def callback(stage: str, done: int, total: int) -> None:
        nonlocal bar
        description = f"{title}: {stage}"
        if bar is None or bar.desc != description:
            if bar is not None:
                bar.close()
            bar = tqdm(total=total, desc=description, leave=False, miniters=1, file=sys.stderr)
        bar.update(done - bar.n)

    try:
        yield callback
    finally:
        if bar is not None:
            bar.close()
