"""The server's log: a line of JSON for each thing that happened, on standard error."""

import json
import logging
import logging.config
from datetime import UTC, datetime
from typing import Any


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and the facts that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            line["fault"] = record.exc_info[0].__name__
        return json.dumps(line | getattr(record, "facts", {}), ensure_ascii=False)


def log_config(with_text: bool) -> dict[str, Any]:
    """Return the configuration of logging, as `logging.config.dictConfig` takes it.

    Args:
        with_text: let lines through that hold what was said, such as those of a recognizer that rejects a text.
    """
    own = {"level": "INFO", "handlers": ["out"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"level": "WARNING", "handlers": ["out"]},
        "loggers": {
            "malsori.serve": own,
            "malsori": own if with_text else own | {"level": "ERROR"},
            "uvicorn": own,
            "uvicorn.error": {"level": "INFO"},
            "uvicorn.access": {"level": "CRITICAL", "propagate": False},
        },
    }
