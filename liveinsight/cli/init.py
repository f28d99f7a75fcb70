"""`liveinsight init`: create the stream and the tables, or bring them into line."""

from __future__ import annotations

import argparse
import os
import sys

from liveinsight.bootstrap import initialise
from liveinsight.settings import Settings


def main(arguments: list[str]) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="liveinsight init",
        description="Create the Kinesis stream and the two DynamoDB tables, with expiry switched on. "
        "Make the sites of LIVEINSIGHT_SITES that have never been; what is changed about them later is up to "
        "`liveinsight site`. Safe to run again: what exists is kept, and deletion protection is set as the setting "
        "says.",
        epilog="Names, shards and protection come from LIVEINSIGHT_STREAM, LIVEINSIGHT_SHARDS, "
        "LIVEINSIGHT_TABLE_PREFIX and LIVEINSIGHT_DELETION_PROTECTION; the place from AWS_ENDPOINT_URL or AWS itself.",
    )
    parser.parse_args(arguments)
    for line in initialise(Settings.from_env(os.environ)):
        sys.stdout.write(f"{line}\n")
    return 0
