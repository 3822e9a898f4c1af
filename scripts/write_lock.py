"""Prints the lock file of an environment: every installed package with its version, torch's build tag left out.

Usage: python scripts/write_lock.py PATH/TO/ENVIRONMENT/bin/python > requirements.lock  (make lock does it)
"""

import json
import re
import subprocess
import sys

HEADER = """\
# Every version that the project is developed and tested with. Written by `make lock`; do not edit.
# torch is installed first and alone (see the Makefile).
"""
# Part of any new environment, or the project itself.
LEFT_OUT = {"pip", "setuptools", "perceptio"}


def main() -> None:
    listed = subprocess.run(
        [sys.argv[1], "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    packages = {entry["name"].lower(): entry["version"] for entry in json.loads(listed.stdout)}
    lines = [
        f"{name}=={re.sub(r'[+].*', '', version)}" for name, version in sorted(packages.items()) if name not in LEFT_OUT
    ]
    print(HEADER + "\n".join(lines))


if __name__ == "__main__":
    main()
