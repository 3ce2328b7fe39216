"""The metrics that the alert rules and the board name."""

import json
import re
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/lotmark-rules.yml"
EDGE_RULES = DEPLOY / "prometheus/lotmark-edge-rules.yml"
BOARD = DEPLOY / "grafana/lotmark.json"

_METRIC = re.compile(r"\b(?:lotmark|process)_[a-z0-9_]+\b")
_SERIES = re.compile(r"_(?:bucket|sum|count)$")


def board() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(BOARD.read_text())
    return document


def expressions() -> dict[str, list[str]]:
    """Return what is asked of Prometheus, by file."""
    rules = {
        file.name: re.findall(r"^\s+expr: (.+)$", file.read_text(), re.MULTILINE)
        for file in (RULES, EDGE_RULES)
    }
    panels = [target["expr"] for panel in board()["panels"] for target in panel["targets"]]
    return {**rules, BOARD.name: panels}


def named_metrics(*, edge: bool = False) -> set[str]:
    """Return every metric that is named, without what a histogram adds to its name.

    Args:
        edge: Those of edge sites; else those of nodes and witnesses.
    """
    asked = [
        each
        for file, found in expressions().items()
        if (file == EDGE_RULES.name) is edge
        for each in found
    ]
    return {_SERIES.sub("", name) for each in asked for name in _METRIC.findall(each)}
