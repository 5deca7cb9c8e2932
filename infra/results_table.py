"""Prints the README's results from one or more runs: python infra/results_table.py runs/demo [runs/seed1 ...]."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

ROWS = {
    "mean face": "mean_face",
    "one pass, all-ones mask": "all_ones",
    "one pass, after initialisation": "pretrained",
    "**one pass**": "focus",
    "refined, all-ones mask": "refined_all_ones",
    "**refined**": "refined",
    "refined, true mask": "refined_oracle",
}
MASKS = {"f1": 3, "accuracy": 3, "outlier_precision": 3, "outlier_recall": 3, "outlier_iou": 3, "balanced_accuracy": 3}
FITS = {"landmark_px": 2, "vertex_mm": 2, "rmse_255": 1}
SUBSETS = ("unoccluded", "occluded", "occluded_seen", "occluded_unseen")


def cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def table(heldout: dict[str, Any], figures: dict[str, int], subsets: Sequence[str]) -> list[str]:
    """Format a Markdown table of scores, one row for each variant.

    Args:
        heldout: `heldout` of metrics.json.
        figures: decimal digits by figure; one column each.
        subsets: subsets whose values are listed in each cell.
    """
    lines = [f"| {' / '.join(subsets)} | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
    for title, variant in ROWS.items():
        cells = [
            " / ".join(cell(heldout[variant][subset][name], digits) for subset in subsets)
            for name, digits in figures.items()
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def gains(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Format a Markdown table of the change by EM on occluded faces.

    Args:
        runs: contents of metrics.json.

    Returns:
        Lines: one row for each run; with several runs also mean and standard deviation.
    """
    lines = ["| seed | F1 before EM | after | outlier IoU before EM | after |", "|---|---|---|---|---|"]
    columns: list[list[float]] = [[], [], [], []]
    for run in runs:
        row = [run["heldout"][v]["occluded"][name] for name in ("f1", "outlier_iou") for v in ("pretrained", "focus")]
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        lines.append(f"| {run['seed']} | {' | '.join(cell(value, 3) for value in row)} |")
    if len(runs) > 1:
        spread = [f"{mean(column):.3f} ± {stdev(column):.3f}" for column in columns]
        lines.append(f"| mean ± std | {' | '.join(spread)} |")
    return lines


def main(folders: Sequence[str]) -> None:
    runs = [json.loads((Path(folder) / "metrics.json").read_text()) for folder in folders]
    heldout = runs[0]["heldout"]
    blocks = (
        table(heldout, MASKS, ("unoccluded", "occluded")),
        table(heldout, FITS, ("unoccluded", "occluded")),
        table(heldout, {"f1": 3, "outlier_iou": 3, "vertex_mm": 2, "rmse_255": 1}, SUBSETS[2:]),
        gains(runs),
    )
    sys.stdout.write("\n\n".join("\n".join(block) for block in blocks) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
