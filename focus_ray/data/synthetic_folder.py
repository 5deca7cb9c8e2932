"""Folder of synthetic faces: pictures, masks and landmarks in common formats, and ground truth as arrays.

    images/000000.png   the picture
    masks/000000.png    255 where the face is visible, else 0
    landmarks.csv       no header; images/000000.png, then x0, y0, ..., x67, y67 in px, as a detector gives them
    truth.npz           theta [N,257], vertices [N,V,3] mm, landmarks_true [N,68,2] px, families [N],
                        unseen_families, region [N,H,W] as bits (np.packbits over each picture)

All except images and landmarks is optional when a folder is read; `evaluate folder` needs the masks too. The rows of
the arrays are the lines of landmarks.csv. The arrays hold numbers and fixed-width text only: nothing is unpickled.
"""

import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from focus_ray.data.image_file import read_image
from focus_ray.data.landmark_csv import read_landmarks, write_landmarks
from focus_ray.data.mask import THRESHOLD, validate_mask
from focus_ray.data.sample import Batch
from focus_ray.data.synthetic import SyntheticConfig, SyntheticFaces, SyntheticSplit
from focus_ray.errors import DataError, ImageError, LandmarkError, printable
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.parameters import N_PARAMETERS
from focus_ray.storage import atomic

IMAGES, MASKS, LANDMARKS, TRUTH = "images", "masks", "landmarks.csv", "truth.npz"

WORLD_MODES = (120, 80, 120)
"""Numbers of modes of the parametric face that synthetic people are drawn from; more than theta has."""

_WRITE_BATCH = 32
_WHITE = 255

# Arrays of truth.npz: allowed kinds of dtype, and the shape with N pictures; None is any length.
_NUMBERS, _TEXT, _BITS = "fiu", "U", "u"
_TRUTH_ARRAYS: dict[str, tuple[str, tuple[str | int | None, ...]]] = {
    "theta": (_NUMBERS, ("N", N_PARAMETERS)),
    "vertices": (_NUMBERS, ("N", None, 3)),
    "landmarks_true": (_NUMBERS, ("N", 68, 2)),
    "families": (_TEXT, ("N",)),
    "unseen_families": (_TEXT, (None,)),
    "region": (_BITS, ("N", None)),
}
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# Errors of zipfile and of the parser of npy headers for damaged files.
_READ_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    EOFError,
    TypeError,
    OverflowError,
    SyntaxError,
    NotImplementedError,  # a compression that zipfile lacks
    RuntimeError,  # encrypted
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

CountProgress = Callable[[int, int], object]


def write_folder(
    out: str | Path,
    n: int,
    seed: int = 0,
    size: int = 224,
    split: SyntheticSplit = "heldout",
    world: MorphableModel | None = None,
    progress: CountProgress | None = None,
) -> None:
    """Write the faces 0..n-1 of a split to a folder of this layout; the folder is written atomically.

    Args:
        out: a new or empty folder.
        n: number of faces.
        seed: seed of the faces.
        size: side of the pictures, px.
        split: split of the faces.
        world: face model that people are drawn from; None means the small parametric face.
        progress: called with faces done and faces in all.

    Raises:
        DataError: `out` exists and is not empty.
        StorageError: the folder cannot be written.
    """
    faces = SyntheticFaces(
        default_world() if world is None else world, SyntheticConfig(seed=seed, image_size=size), split
    )
    write_faces(faces, n, out, progress)


def write_faces(faces: SyntheticFaces, n: int, out: str | Path, progress: CountProgress | None = None) -> None:
    """Write the faces 0..n-1 of a set to a folder of this layout; the folder is written atomically.

    Args:
        faces: set of faces.
        n: number of faces.
        out: a new or empty folder.
        progress: called with faces done and faces in all.

    Raises:
        DataError: `out` exists and is not empty.
        StorageError: the folder cannot be written.
    """
    target = check_unoccupied(out)
    with atomic.new_folder(target) as folder:
        for name in (IMAGES, MASKS):
            (folder / name).mkdir()
        landmarks: dict[str, np.ndarray] = {}
        truths: list[dict[str, np.ndarray]] = []
        for start in range(0, n, _WRITE_BATCH):
            batch = faces.batch(range(start, min(start + _WRITE_BATCH, n)))
            landmarks |= _write_pictures(folder, batch, start)
            truths.append(_truth_arrays(batch))
            if progress is not None:
                progress(start + len(batch), n)
        write_landmarks(folder / LANDMARKS, landmarks)
        arrays: dict[str, Any] = {key: np.concatenate([truth[key] for truth in truths]) for key in truths[0]}
        np.savez(folder / TRUTH, unseen_families=np.array(faces.config.unseen_families, dtype=np.str_), **arrays)


def check_unoccupied(out: str | Path) -> Path:
    """Check that a folder does not exist or is empty.

    Args:
        out: folder to write.

    Returns:
        The path of the folder.

    Raises:
        DataError: `out` exists and is not empty.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target} exists and is not empty; choose a new folder, or remove it first")
    return target


def read_folder(folder: str | Path, image_size: int | None = None) -> "FolderFaces":
    """Open a folder of this layout.

    Args:
        folder: folder to read.
        image_size: side that pictures are scaled to, px; None keeps their size.

    Raises:
        DataError: there is no such folder, or truth.npz is damaged or has another shape.
        ImageError: a picture of landmarks.csv is missing.
        LandmarkError: landmarks.csv is missing or malformed.
    """
    return FolderFaces(Path(folder), image_size)


class FolderFaces:
    """Pictures of a folder, read on demand, with their landmarks and the ground truth that the folder has."""

    def __init__(self, folder: Path, image_size: int | None = None) -> None:
        """Open a folder; arguments and errors are those of read_folder."""
        self.folder = folder
        self.image_size = image_size
        self._landmarks = read_landmarks(_require_file(folder, LANDMARKS))
        self.names = list(self._landmarks)  # the order of the truth's rows
        self._has_masks = (folder / MASKS).is_dir()
        self._truth = _read_truth(folder / TRUTH, len(self.names)) if (folder / TRUTH).exists() else {}
        for name in self.names:
            _require_file(folder, name)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def unseen_families(self) -> tuple[str, ...]:
        """Occluder families that no training image has; empty if the folder does not name them."""
        return tuple(str(name) for name in self._truth.get("unseen_families", ()))

    def batch(self, indices: Sequence[int]) -> Batch:
        """Read the pictures with these numbers, which are rows of landmarks.csv.

        Args:
            indices: numbers of the pictures.

        Returns:
            The batch, with the ground truth that the folder has.

        Raises:
            DataError: the pictures have different sizes, or the regions of truth.npz are not of their size.
            ImageError: a picture or mask is missing or damaged, a picture is not square, or a mask is not of its
                picture's size or holds 0 and 1 only.
        """
        names = [self.names[index] for index in indices]
        pictures = [self._picture(name) for name in names]
        sizes = {picture.shape[:2] for picture in pictures}
        if len({(self.image_size,) * 2 if self.image_size else size for size in sizes}) > 1:
            raise DataError(f"{self.folder}: pictures of different sizes {sorted(sizes)}; scale them to one size")
        scales = np.array([self._scale(picture) for picture in pictures])
        images = torch.from_numpy(np.stack([self._resize(picture) for picture in pictures]))
        rows = np.array(indices, dtype=np.int64)
        truth = {key: values[rows] for key, values in self._truth.items() if key != "unseen_families"}
        families, exact = truth.get("families"), truth.get("landmarks_true")
        return Batch(
            images=images.permute(0, 3, 1, 2).float().div(_WHITE).contiguous(),
            landmarks=_rescale(np.stack([self._landmarks[name] for name in names]), scales),
            masks=self._masks(names, pictures),
            theta=_float_tensor(truth.get("theta")),
            vertices=_float_tensor(truth.get("vertices")),
            families=None if families is None else [str(family) for family in families],
            names=names,
            landmarks_true=None if exact is None else _rescale(exact, scales),
            region=self._regions(truth.get("region"), pictures),
        )

    def _picture(self, name: str) -> UInt8[np.ndarray, "H W 3"]:
        picture = read_image(self.folder / name)
        if picture.shape[0] != picture.shape[1]:
            height, width = picture.shape[:2]
            raise ImageError(f"{self.folder / name}: {width} x {height} px is not square; give aligned square crops")
        return picture

    def _scale(self, picture: np.ndarray) -> float:
        return (self.image_size or len(picture)) / len(picture)

    def _resize(self, picture: np.ndarray) -> np.ndarray:
        size = self.image_size or len(picture)
        if size == len(picture):
            return picture
        return cv2.resize(
            picture, (size, size), interpolation=cv2.INTER_AREA if size < len(picture) else cv2.INTER_LINEAR
        )

    def _masks(self, names: list[str], pictures: list[np.ndarray]) -> torch.Tensor | None:
        if not self._has_masks:
            return None
        masks = []
        for name, picture in zip(names, pictures, strict=True):
            path = _require_file(self.folder, f"{MASKS}/{Path(name).stem}.png")
            mask = read_image(path)[..., 0]
            if mask.shape != picture.shape[:2]:
                raise ImageError(f"{path}: the mask and its picture have different sizes; write both in one size")
            masks.append(self._resize(validate_mask(mask, path)) > THRESHOLD)
        return torch.from_numpy(np.stack(masks)).float()[:, None]

    def _regions(self, packed: np.ndarray | None, pictures: list[np.ndarray]) -> torch.Tensor | None:
        if packed is None:
            return None
        pixels = [picture.shape[0] * picture.shape[1] for picture in pictures]
        if any(packed.shape[1] != (count + 7) // 8 for count in pixels):
            raise DataError(
                f"{self.folder / TRUTH}: the regions do not have the pictures' size; synthesize the folder again"
            )
        planes = [np.unpackbits(bits, count=count) for bits, count in zip(packed, pixels, strict=True)]
        regions = [
            self._resize(plane.reshape(picture.shape[:2]) * np.uint8(_WHITE)) > THRESHOLD
            for plane, picture in zip(planes, pictures, strict=True)
        ]
        return torch.from_numpy(np.stack(regions)).float()[:, None]


def default_world() -> MorphableModel:
    """Return the small parametric face with more modes than are fitted."""
    # Imported here: the face is only needed if no world is given.
    from focus_ray.face_models.parametric import parametric_face

    return parametric_face("small", *WORLD_MODES)


def _write_pictures(folder: Path, batch: Batch, start: int) -> dict[str, np.ndarray]:
    """Pictures and masks of a batch; returns the landmarks by file name."""
    if batch.masks is None:
        raise DataError("the faces have no masks to write; use a synthetic set")
    pictures = (batch.images * _WHITE).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    masks = (batch.masks[:, 0] * _WHITE).to(torch.uint8).numpy()
    landmarks: dict[str, np.ndarray] = {}
    for row, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
        file = f"{start + row:06d}.png"
        _write_png(folder / IMAGES / file, np.ascontiguousarray(picture[..., ::-1]))
        _write_png(folder / MASKS / file, mask)
        landmarks[f"{IMAGES}/{file}"] = batch.landmarks[row].numpy()
    return landmarks


def _write_png(path: Path, pixels: np.ndarray) -> None:
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise DataError(f"{path}: the picture cannot be encoded as PNG; check the size")
    path.write_bytes(encoded.tobytes())  # unlike cv2.imwrite, this raises OSError


def _truth_arrays(batch: Batch) -> dict[str, np.ndarray]:
    tensors = {"theta": batch.theta, "vertices": batch.vertices, "landmarks_true": batch.landmarks_true}
    arrays = {key: tensor.numpy() for key, tensor in tensors.items() if tensor is not None}
    if batch.families is not None:
        arrays["families"] = np.array(batch.families, dtype="<U32")
    if batch.region is not None:
        arrays["region"] = np.packbits(batch.region.flatten(1).numpy() > 0, axis=1)
    return arrays


def _read_truth(path: Path, n: int) -> dict[str, np.ndarray]:
    """The known arrays of truth.npz, checked before anything of their size is allocated."""
    truth: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for key in _TRUTH_ARRAYS:
                if f"{key}.npy" in archive.namelist():
                    truth[key] = _truth_array(archive, path, key, n)
    except _READ_ERRORS as error:
        reason = printable(" ".join(str(error).split()) or type(error).__name__)
        raise DataError(
            f"{path}: the ground truth cannot be read ({reason}); synthesize the folder again, or remove it"
        ) from None
    return truth


def _truth_array(archive: zipfile.ZipFile, path: Path, key: str, n: int) -> np.ndarray:
    """Read one array; a damaged one gives a ValueError, a wrong shape or value a DataError."""
    with archive.open(f"{key}.npy") as stream:
        shape, fortran, dtype = _NPY_HEADERS[np.lib.format.read_magic(stream)](stream)
        _check_header(path, key, shape, dtype, n)
        size = math.prod(shape) * dtype.itemsize
        content = stream.read(size + 1)  # limited by the content, not the header; the checksum is verified at the end
    if len(content) != size:
        raise ValueError(f"{key} does not have the length in its header")
    values = np.frombuffer(content, dtype, math.prod(shape)).reshape(shape, order="F" if fortran else "C")
    if dtype.kind not in _NUMBERS or key == "region":
        return values
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise DataError(f"{path}: {key} holds values that are not finite; synthesize the folder again")
    return numbers


def _check_header(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype, n: int) -> None:
    kinds, lengths = _TRUTH_ARRAYS[key]
    if dtype.kind not in kinds or (key == "region" and dtype.itemsize != 1):
        raise ValueError(f"{key} holds values of type {dtype}")
    expected = [n if length == "N" else length for length in lengths]
    fits = len(shape) == len(expected) and all(b in (None, a) and a >= 0 for a, b in zip(shape, expected, strict=True))
    if not fits:
        wanted = ", ".join("any" if length is None else str(length) for length in expected)
        raise DataError(f"{path}: {key} has shape {shape} instead of ({wanted}); one row for each line of {LANDMARKS}")


def _require_file(folder: Path, name: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; check the path")
    path = folder / name
    if not path.is_file():
        kind = LandmarkError if name == LANDMARKS else ImageError
        raise kind(
            f"{path}: there is no such file; the folder needs {IMAGES}/, {LANDMARKS}, and {MASKS}/ if it has masks"
        )
    return path


def _rescale(points: np.ndarray, scales: np.ndarray) -> torch.Tensor:
    """Landmarks in px of the scaled picture; pixel centres stand at integers."""
    return torch.from_numpy(((points + 0.5) * scales[:, None, None] - 0.5).astype(np.float32))


def _float_tensor(values: np.ndarray | None) -> torch.Tensor | None:
    return None if values is None else torch.from_numpy(values.astype(np.float32))
