"""Reads seeded mutants of valid files with every decoder, in child processes, and says what became of them.

    PYTHONPATH=src:tests python benchmarks/fuzz.py [--mutants 10000] [--formats png,wav] [--first 0] [--json out.json]

A mutant must be read or refused in one line. It may kill its child (that is what the child is for), but each such file
is listed, and so is each that raises anything else than FileError, DataError or UsageError.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from support.fuzz_seeds import FORMATS
from support.fuzzing import Tally, run

MOST_PEAK_BYTES = 2**30


def main() -> int:
    """Runs the campaign; exit code 1 if a mutant did what none may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--formats", default="")
    parser.add_argument("--children", type=int, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = [name.strip() for name in arguments.formats.split(",") if name.strip()] or list(FORMATS)
    failed, results = False, {}
    print("| format | mutants | past the header | read | refused | harmful | faults | peak MiB | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in chosen:
        began = time.monotonic()
        numbers = range(arguments.first, arguments.first + arguments.mutants)
        tally = run([name], numbers, num_children=arguments.children)[name]
        seconds = time.monotonic() - began
        print(_row(name, tally, seconds), flush=True)
        results[name] = {**vars(tally), "seconds": round(seconds)}
        failed |= bool(tally.faults) or tally.peak_bytes > MOST_PEAK_BYTES
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1))
        for reason, count in tally.harm.items():
            print(f"  {count} x {reason}: mutants {tally.harmful[:5]}", file=sys.stderr, flush=True)
        for number, text in list(tally.faults.items())[:3]:
            print(f"  mutant {number}: {text}", file=sys.stderr, flush=True)
    return int(failed)


def _row(name: str, tally: Tally, seconds: float) -> str:
    refused = tally.num_mutants - tally.num_read - tally.num_harmful - len(tally.faults)
    return (
        f"| {name} | {tally.num_mutants:,} | {tally.num_past / max(1, tally.num_mutants):.0%} | {tally.num_read:,} | "
        f"{refused:,} | {tally.num_harmful} | {len(tally.faults)} | {tally.peak_bytes / 2**20:.0f} | {seconds:.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
