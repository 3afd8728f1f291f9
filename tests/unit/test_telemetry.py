"""Log lines: JSON, and without shoppers."""

import json
import logging
import sys

from services.common.telemetry import JsonFormatter


def formatted(*, shopper_ids: bool = False, **extra: object) -> dict[str, object]:
    """One record's line, read back."""
    record = logging.getLogger("shop").makeRecord(
        "shop", logging.INFO, __file__, 1, "sold %s", ("tea",), None, extra=extra
    )
    line: dict[str, object] = json.loads(JsonFormatter(shopper_ids=shopper_ids).format(record))
    return line


def test_a_log_line_is_one_json_object_with_its_extras() -> None:
    line = formatted(count=3)
    assert line.pop("time")
    assert line == {"level": "INFO", "logger": "shop", "message": "sold tea", "count": 3}


def test_ids_of_shoppers_are_left_out() -> None:
    assert "anna" not in json.dumps(formatted(user_id="anna", visitor_id="anna", session_id="anna", count=3))


def test_ids_of_shoppers_are_written_where_that_is_asked_for() -> None:
    line = formatted(shopper_ids=True, user_id="anna", visitor_id="v", session_id="s", count=3)
    assert (line["user_id"], line["visitor_id"], line["session_id"], line["count"]) == ("anna", "v", "s", 3)


def test_a_traceback_stays_on_the_line() -> None:
    try:
        raise KeyError("tea")
    except KeyError:
        record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    text = JsonFormatter().format(record)
    assert "\n" not in text
    assert "KeyError: 'tea'" in json.loads(text)["traceback"]
