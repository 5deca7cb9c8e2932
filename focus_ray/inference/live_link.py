"""CSV of ARKit curves as the Live Link Face app (Epic Games) writes its takes: importers of Unreal, Blender and Maya.

A row has the timecode HH:MM:SS:FF.fraction at 60 frames per second, the number of curves, 52 weights, and 9 angles in
radians: yaw is positive to the subject's left, pitch downwards, roll towards the subject's right shoulder. Layout and
angles are those of two takes of the app in public repositories. Their head angles are 0, because the app records them
only on request: units and signs are taken from the eyes, whose angles the engine computes alike (FRotator of the face's
transform).
"""

import math
from collections.abc import Sequence

from focus_ray.face_models.arkit import ARKIT_SHAPES
from focus_ray.inference.face_result import Face, Vector3

_FRAMES_PER_SECOND = 60
_ANGLES = tuple(part + angle for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll"))
# The app has the right one of these pairs first.
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
_SHAPES = tuple(_SWAPPED.get(name, name) for name in ARKIT_SHAPES)


def encode_live_link(faces: Sequence[Face | None]) -> str:
    """Encode the weights and head angles of faces as CSV; the angles of the eyes are 0, which no fit has.

    Args:
        faces: one for each frame; frames that are None or without ARKit weights have no row.
    """
    names = [name[0].upper() + name[1:] for name in _SHAPES]
    lines = [",".join(["Timecode", "BlendShapeCount", *names, *_ANGLES])]
    for frame, face in enumerate(faces):
        if face is not None and face.arkit is not None:
            weights = [face.arkit.weights[name] for name in _SHAPES]
            values = [*weights, *head_angles(face.pose.rotation), *[0.0] * 6]
            lines.append(",".join([_timecode(frame), str(len(values)), *(f"{value:.10f}" for value in values)]))
    return "\n".join(lines) + "\n"


def head_angles(rotation: Vector3) -> Vector3:
    """Return yaw, pitch and roll [rad] of a head, with the signs of Live Link Face.

    Args:
        rotation: Euler angles of `Pose`; Rx Ry Rz = Ry(yaw) Rx(pitch) Rz(roll) in the axes of the model (x to the
            subject's left, y up, z out of the face).
    """
    (c1, c2, c3), (s1, s2, s3) = ([function(angle) for angle in rotation] for function in (math.cos, math.sin))
    yaw = math.atan2(s2, c1 * c2)
    pitch = math.asin(max(-1.0, min(1.0, s1 * c2)))
    roll = math.atan2(c1 * s3 + s1 * s2 * c3, c1 * c3 - s1 * s2 * s3)
    return yaw, pitch, roll


def _timecode(frame: int) -> str:
    seconds, frame = divmod(frame, _FRAMES_PER_SECOND)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}:{frame:02d}.000"
