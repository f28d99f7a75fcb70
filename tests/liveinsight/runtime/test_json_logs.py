"""Log lines: JSON with an action, in the formatter and in every log call of the product."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from liveinsight.runtime.json_logs import JsonLines

ROOT = Path(__file__).parents[3]
LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def log_calls(source: str) -> Iterator[tuple[int, bool]]:
    """Calls of a logger's methods: line, and whether the call passes an action.

    A logger is `logging` itself, or anything whose name ends with `log` or `logger`.
    """
    tree = ast.parse(source)
    named: list[tuple[str, ast.expr | None]] = [
        (ast.unparse(node.targets[0]), node.value) for node in ast.walk(tree) if isinstance(node, ast.Assign)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            receiver = ast.unparse(node.func.value)
            if receiver.startswith("logging") or receiver.endswith(("log", "logger")):
                extra = next((keyword.value for keyword in node.keywords if keyword.arg == "extra"), None)
                given = [value for name, value in named if isinstance(extra, ast.Name) and name == extra.id]
                yield node.lineno, all(has_action(each) for each in given or (extra,))


def has_action(extra: ast.expr | None) -> bool:
    """Whether it is a dictionary with an "action" that is not empty."""
    items = zip(extra.keys, extra.values, strict=True) if isinstance(extra, ast.Dict) else ()
    return any(
        isinstance(key, ast.Constant) and key.value == "action" and getattr(value, "value", True)
        for key, value in items
    )


def test_every_log_call_of_the_product_has_an_action() -> None:
    """Operators search for it; the message is for people, and changes."""
    paths = [
        path for package in ("api", "ingest", "liveinsight", "processor") for path in (ROOT / package).rglob("*.py")
    ]
    calls = {
        f"{path.relative_to(ROOT)}:{line}": good for path in paths for line, good in log_calls(path.read_text("utf-8"))
    }
    assert len(calls) > 20
    assert [place for place, good in calls.items() if not good] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('logger.info("x", extra={"action": "start"})', [True]),
        ('self._log.error("x", extra={**keys, "action": name})', [True]),
        ('logger.info("action=start")', [False]),
        ('logger.info("x", extra={"shard": 1})', [False]),
        ('logger.info("x", extra={"action": ""})', [False]),
        ('logging.getLogger("x").warning("x")', [False]),
        ('extra = {"action": "end"}\nlogger.info("x", extra=extra)', [True]),
        ('extra = {"shard": 1}\nlogger.info("x", extra=extra)', [False]),
        ('parser.error("x")', []),
    ],
)
def test_calls_without_an_action_are_found(source: str, found: list[bool]) -> None:
    """The search itself: what it takes for a log call, and for an action."""
    assert [good for _, good in log_calls(source)] == found


def test_a_line_holds_the_message_and_all_extra_fields() -> None:
    """One JSON object; an exception is in it as text."""
    record = logging.LogRecord("ingest.http", logging.WARNING, __file__, 1, "slow: %s", ("x",), None)
    record.action = "refuse"
    line = json.loads(JsonLines().format(record))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "WARNING", "logger": "ingest.http", "message": "slow: x", "action": "refuse"}
