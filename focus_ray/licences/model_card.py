"""The model card: one page of Markdown on what a model is, what it was made from and under which terms."""

from collections.abc import Mapping
from typing import Any

from focus_ray.licences.lineage import read_lineage
from focus_ray.licences.table import licence_table, to_markdown


def model_card(info: Mapping[str, Any]) -> str:
    """Write the card of a model.

    Args:
        info: content of model.json.

    Returns:
        Markdown, of less than 5000 characters, which MLflow accepts as a description.

    Raises:
        CheckpointError: the lineage is malformed.
    """
    face, camera = info.get("face", {}), info.get("settings", {}).get("camera", {})
    lineage = read_lineage(info)
    facts = [
        ("Version", info.get("version", "unknown")),
        ("Input", f"crops of {camera['image_size']} px" if "image_size" in camera else "unknown"),
        ("Face model", f"{face.get('name', 'unknown')}, sha256 {str(face.get('digest', 'unknown'))[:12]}"),
        ("Trained on", ", ".join(lineage.training) or "nothing"),
        ("Light and residuals learned from", lineage.appearance or "nothing"),
    ]
    lines = [
        "# 3D face reconstruction (focus-ray)",
        "",
        *(f"- {name}: {value}" for name, value in facts),
        "",
        "For the shape, pose, light and visible region of a face in a picture. Not for recognising people, nor for",
        "guesses about age, origin, health, emotion or character. Quality was not measured by group.",
        "",
        "## Licences",
        "",
        to_markdown(licence_table(info)),
    ]
    return "\n".join(lines)


def repository_card(info: Mapping[str, Any]) -> str:
    """Write the card of a model as README.md of a repository: with the metadata that a Hugging Face Hub reads.

    Args:
        info: content of model.json.

    Raises:
        CheckpointError: the lineage is malformed.
    """
    return f"---\nlibrary_name: focus-ray\npipeline_tag: image-to-3d\n---\n\n{model_card(info)}"
