"""Named expressions, each one standard deviation of displacement."""

from dataclasses import dataclass

from focus_ray.face_models.parametric.fields import Blink, Field, Gaze, Jaw, Push, Side, Stretch, Turn


@dataclass(frozen=True)
class Expression:
    """Fields (mm) of an expression, and the share of them that is one standard deviation."""

    fields: tuple[Field, ...]
    sigma: float = 0.75


_ONE_SIDED_SIGMA = 0.4  # one side alone moves less often than both together


def _one_sided_expressions(side: Side) -> dict[str, tuple[Field, ...]]:
    """Return the expressions that each half of the face can make alone."""
    return {
        f"{side} smile": (
            Push((25.0, -38.0), (13.0, 12.0), (1.7, 2.1, -0.9), side),
            Push((38.0, -14.0), (15.0, 14.0), (0.3, 1.0, 1.2), side),
            Push((31.0, 22.0), (13.0, 5.0), (0.0, 0.4, 0.0), side),
        ),
        f"{side} frown": (
            Push((25.0, -39.5), (12.0, 11.0), (0.3, -1.7, -0.3), side),
            Push((30.0, -52.0), (12.0, 10.0), (0.0, -0.6, 0.4), side),
        ),
        f"{side} stretch": (Push((26.0, -41.0), (14.0, 14.0), (1.5, -0.6, -0.5), side),),
        f"{side} dimple": (Push((29.0, -37.5), (8.0, 8.0), (0.9, 0.2, -1.1), side),),
        f"{side} upper lip raise": (Push((10.0, -33.0), (11.0, 10.0), (0.0, 1.3, 0.2), side, "upper"),),
        f"{side} lower lip drop": (Push((11.0, -44.0), (12.0, 11.0), (0.0, -1.3, 0.2), side, "lower"),),
        f"{side} sneer": (
            Push((14.0, -10.0), (9.0, 12.0), (0.2, 1.2, 0.2), side),
            Push((12.0, 14.0), (7.0, 10.0), (0.0, 0.4, 0.5), side),
        ),
        f"{side} puff": (Push((42.0, -36.0), (17.0, 17.0), (1.4, 0.0, 1.9), side),),
        f"{side} blink": (Blink(0.22, side),),
        f"{side} squint": (
            Blink(0.13, side, "lower"),
            Push((34.0, 12.0), (16.0, 9.0), (0.0, 0.8, 0.5), side),
        ),
        f"{side} brow up": (Push((35.0, 48.0), (23.0, 13.0), (0.0, 1.9, 0.0), side),),
        f"{side} outer brow up": (Push((47.0, 46.0), (13.0, 10.0), (0.0, 1.6, 0.0), side),),
        f"{side} brow down": (
            Push((24.0, 44.0), (17.0, 9.0), (-0.5, -1.5, 0.5), side),
            Push((5.0, 42.0), (6.0, 9.0), (0.0, -0.4, 0.4), side),
        ),
    }


_TWO_SIDED_EXPRESSIONS: dict[str, tuple[Field, ...]] = {
    "jaw open": (Jaw(open_degrees=4.2), Push((25.0, -39.0), (11.0, 14.0), (-0.9, -0.6, 0.0))),
    "lips part": (
        Push((0.0, -42.5), (19.0, 9.0), (0.0, -1.3, 0.0), lips="lower"),
        Push((0.0, -33.5), (17.0, 8.0), (0.0, 0.8, 0.2), lips="upper"),
    ),
    "smile": _one_sided_expressions("both")["both smile"],
    "frown": _one_sided_expressions("both")["both frown"],
    "blink": _one_sided_expressions("both")["both blink"],
    "squint": _one_sided_expressions("both")["both squint"],
    "brows up": _one_sided_expressions("both")["both brow up"],
    "brows down": _one_sided_expressions("both")["both brow down"],
    "inner brows up": (Turn((30.0, 46.0), (20.0, 10.0), -2.6), Push((12.0, 46.0), (13.0, 11.0), (0.0, 1.2, 0.0))),
    "jaw left": (Jaw(shift=(1.6, 0.0, 0.0)),),
    "jaw forward": (Jaw(shift=(0.0, 0.0, 1.4)),),
    "pucker": (
        Stretch((0.0, -38.5), (30.0, 14.0), (-0.13, 0.03, 0.0)),
        Push((0.0, -38.5), (16.0, 12.0), (0.0, 0.0, 1.6)),
    ),
    "funnel": (
        Stretch((0.0, -38.0), (26.0, 15.0), (-0.06, 0.16, 0.0)),
        Push((0.0, -34.0), (14.0, 6.0), (0.0, 0.5, 1.0), lips="upper"),
        Push((0.0, -43.0), (14.0, 7.0), (0.0, -0.7, 1.0), lips="lower"),
    ),
    "lips press": (
        Stretch((0.0, -38.0), (26.0, 8.0), (0.0, -0.09, 0.0)),
        Push((0.0, -38.0), (22.0, 7.0), (0.0, 0.0, -0.7)),
    ),
    "upper lip roll": (Push((0.0, -34.5), (19.0, 5.0), (0.0, -0.5, -1.0), lips="upper"),),
    "lower lip roll": (Push((0.0, -43.0), (19.0, 6.0), (0.0, 0.6, -1.1), lips="lower"),),
    "chin raise": (
        Push((0.0, -66.0), (19.0, 14.0), (0.0, 1.4, 0.5)),
        Push((0.0, -43.0), (19.0, 9.0), (0.0, 0.5, 0.5)),
    ),
    "mouth left": (Jaw(shift=(0.4, 0.0, 0.0)), Push((20.0, -38.0), (20.0, 16.0), (1.3, 0.0, 0.0), "left"),
                   Push((20.0, -38.0), (20.0, 16.0), (-1.3, 0.0, 0.0), "right")),
    "nostrils wide": (Push((14.0, -12.0), (6.0, 7.0), (0.8, 0.2, 0.2)),),
    "gaze left": (Gaze(left=7.0),),
    "gaze up": (Gaze(up=4.0), Blink(-0.09)),
}  # fmt: skip

EXPRESSIONS: dict[str, Expression] = {name: Expression(fields) for name, fields in _TWO_SIDED_EXPRESSIONS.items()} | {
    name: Expression(fields, _ONE_SIDED_SIGMA)
    for side in ("left", "right")
    for name, fields in _one_sided_expressions(side).items()
}
"""Name -> displacement of one standard deviation."""
