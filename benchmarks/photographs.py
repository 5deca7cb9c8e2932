"""Measures fits of photographs: skin tone, open mouths and time, of the faces that the detector finds.

    python benchmarks/photographs.py FOLDER [--model MODEL] [--limit N] [--lines] [--json FILE]

Skin tone: the class of the individual typology angle, atan((L* - 50) / b*) of CIELAB, from very light to dark (Chardon
et al. 1991), of the median skin of the photograph (cheeks, nose, jaw and forehead where the mask keeps them) and of the
exported albedo there. Of black-and-white pictures: the largest difference of channels of the exported albedo.

Open mouths: mean distance between the inner lips over that of the outer eye corners, by the detector's landmarks and by
the fit, of faces whose detected distance is at least 0.08.

Time: median milliseconds of one thread per face, one pass and refined, alone and in batches of 8.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch

import focus_ray
from focus_ray.data.image_file import read_image
from focus_ray.data.picture_folder import list_pictures
from focus_ray.evaluation.skin_tone import tone_class, typology_angle
from focus_ray.focus.render.renderer import Renderer
from focus_ray.inference.face_locations import FaceLocations
from focus_ray.inference.face_result import FaceResult
from focus_ray.inference.learn_appearance import skin_triangles
from focus_ray.inference.reconstructor import Reconstructor, face_to_theta

OPEN_MOUTH = 0.08
UPPER_LIP, LOWER_LIP, OUTER_EYES = [61, 62, 63], [67, 66, 65], [36, 45]
LEAST_SKIN = 50  # px of the crop
BATCH = 8


def lip_distance(points: np.ndarray) -> float:
    """Return the distance between the inner lips, of the distance of the outer eye corners."""
    lips = np.linalg.norm(points[UPPER_LIP] - points[LOWER_LIP], axis=1).mean()
    return float(lips / np.linalg.norm(points[OUTER_EYES[0]] - points[OUTER_EYES[1]]))


def describe(name: str, located: FaceLocations, number: int, result: FaceResult, reconstructor: Reconstructor) -> Any:
    """Measure one face."""
    face, arrays = result
    model = reconstructor.model.focus.face_model
    camera = reconstructor.model.focus.renderer.camera.model_copy(update={"image_size": arrays.mask.shape[0]})
    renderer = Renderer(model, camera)
    theta = face_to_theta(face)
    with torch.no_grad():
        ids = renderer(theta.to(model.mean)).triangle_ids[0].numpy()
    skin = skin_triangles(model).numpy()[ids.clip(0)] & (ids >= 0) & arrays.mask
    row: dict[str, Any] = {"face": f"{name} {number}", "occlusion": face.occlusion_fraction}
    if skin.sum() >= LEAST_SKIN:
        photo = np.median(arrays.target[skin] / 255.0, axis=0)
        corners = model.faces.numpy()[ids[skin]]
        albedo = np.median(arrays.mesh.colours[corners].mean(axis=1), axis=0)
        grey = float(np.ptp(arrays.target / 255.0, axis=2).mean()) < 0.02
        row |= {"photo": tone_class(typology_angle(photo)), "albedo": tone_class(typology_angle(albedo)), "grey": grey}
        row["albedo_chroma"] = float(np.ptp(albedo))
    detected = located.faces[number].landmarks
    if detected is not None:
        row |= {"lips": lip_distance(detected), "fitted_lips": lip_distance(np.array(face.landmarks))}
    return row


def seconds_per_face(reconstructor: Reconstructor, located: list[FaceLocations], refine: int | None) -> float:
    """Return the processor time of a face."""
    started = process_time()
    reconstructor.fit(located, refine)
    return (process_time() - started) / sum(len(one.faces) for one in located)


def main() -> None:
    """Measure the photographs of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="as `focus-ray reconstruct` takes it; the default one unless given")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--lines", action="store_true", help="print each face")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    reconstructor = focus_ray.load(options.model)
    rows, singles = [], []
    for path in list_pictures(options.folder).pictures[: options.limit]:
        image = read_image(path)
        located = FaceLocations(image, reconstructor.detector.detect(image))
        if not located.faces:
            continue
        singles.append(FaceLocations(image, located.faces[:1]))
        (faces,) = reconstructor.fit([located])
        rows += [describe(path.name, located, number, face, reconstructor) for number, face in enumerate(faces)]
        if options.lines:
            print(rows[-1])
    tones = [row for row in rows if "photo" in row]
    coloured = [abs(row["photo"] - row["albedo"]) for row in tones if not row["grey"]]
    mouths = [row for row in rows if row.get("lips", 0.0) >= OPEN_MOUTH]
    deviations = [abs(row["fitted_lips"] / row["lips"] - 1) for row in mouths]
    result = {
        "faces": len(rows),
        "in_colour": len(coloured),
        "same_class": float(np.mean([away == 0 for away in coloured])) if coloured else None,
        "same_or_neighbouring_class": float(np.mean([away <= 1 for away in coloured])) if coloured else None,
        "black_and_white": len(tones) - len(coloured),
        "largest_chroma_of_black_and_white": max((row["albedo_chroma"] for row in tones if row["grey"]), default=None),
        "open_mouths": len(mouths),
        "open_mouths_within_30_percent": sum(away <= 0.3 for away in deviations),
        "largest_deviation_of_lips": max(deviations, default=None),
    }
    alone = singles[:BATCH]
    for name, steps in (("one_pass", 0), ("refined", None)):
        reconstructor.fit(alone[:1], steps)
        result[f"{name}_ms_alone"] = 1e3 * median(seconds_per_face(reconstructor, [one], steps) for one in alone)
        result[f"{name}_ms_of_{len(alone)}"] = 1e3 * median(
            seconds_per_face(reconstructor, alone, steps) for _ in range(3)
        )
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
