"""What python-dotenv reads in the .env files of a directory.

    reference.py DIRECTORY [NAME=VALUE...]

Prints {FILE: {"plain": [[KEY, VALUE]...], "interpolated": [[KEY, VALUE]...], "unreadable": COUNT}} as JSON. The
environment it interpolates from is what the arguments say and nothing else.
"""

import json
import logging
import os
import pathlib
import sys

from dotenv import dotenv_values
from dotenv.parser import parse_stream


def read(path):
    with open(path, encoding="utf-8") as stream:
        unreadable = sum(binding.error for binding in parse_stream(stream))
    return {
        "plain": list(dotenv_values(path, interpolate=False).items()),
        "interpolated": list(dotenv_values(path).items()),
        "unreadable": unreadable,
    }


logging.disable(logging.CRITICAL)
os.environ.clear()
os.environ.update(argument.split("=", 1) for argument in sys.argv[2:])
files = sorted(pathlib.Path(sys.argv[1]).iterdir())
json.dump({path.name: read(path) for path in files}, sys.stdout, ensure_ascii=False, indent=0)
