"""The CSV of curves is, header and numbers, what the Live Link Face app writes."""

import csv
import io
import math
import re

import pytest
import torch

from focus_ray.face_models.arkit import ARKIT_SHAPES
from focus_ray.focus.camera import euler_to_rotation
from focus_ray.inference.face_result import Arkit, Face, Pose
from focus_ray.inference.live_link import encode_live_link, head_angles
from tests.inference.test_face_result import record

# The first line of the takes of JMTechArt/Pipeline-Examples and alexdjulin/LiveLinkFace-CSV-Retarget-For-Motionbuilder.
HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def face(rotation: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Face:
    weights = {name: index / 100 for index, name in enumerate(ARKIT_SHAPES)}
    pose = Pose(rotation=rotation, translation=(0.0, 0.0, 0.0))
    return Face.model_validate(record()).model_copy(
        update={"arkit": Arkit(weights=weights, residual_mm=0.5), "pose": pose}
    )


def test_header_rows_and_numbers():
    without = Face.model_validate(record())
    text = encode_live_link([face(), None, without, face((0.0, 0.25, 0.0))])
    lines = text.splitlines()
    assert lines[0] == HEADER
    assert len(lines) == 3
    assert text.endswith("\n")
    assert re.fullmatch(r"\d\d:\d\d:\d\d:\d\d\.\d{3},61(,-?\d\.\d{10}){61}", lines[1])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["Timecode"], second["Timecode"]) == ("00:00:00:00.000", "00:00:00:03.000")
    for name in ARKIT_SHAPES:
        assert float(first[name[0].upper() + name[1:]]) == pytest.approx(ARKIT_SHAPES.index(name) / 100)
    assert float(second["HeadYaw"]) == pytest.approx(0.25)


def test_the_hour_of_a_long_take():
    frames = 60 * 3661 + 7
    assert encode_live_link([None] * frames + [face()]).splitlines()[1].startswith("01:01:01:07.000,")


@pytest.mark.parametrize(
    ("model_axis_goes_to", "yaw", "pitch", "roll"),
    [
        ((math.sin(0.3), 0.0, math.cos(0.3)), 0.3, 0.0, 0.0),  # the nose points to the subject's left
        ((0.0, -math.sin(0.3), math.cos(0.3)), 0.0, 0.3, 0.0),  # and down
    ],
)
def test_signs_of_the_head(model_axis_goes_to: tuple[float, float, float], yaw: float, pitch: float, roll: float):
    rotation = (pitch, yaw, roll)
    turned = euler_to_rotation(torch.tensor([rotation], dtype=torch.float64))[0]
    nose = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64) * turned[:, 2]
    torch.testing.assert_close(nose, torch.tensor(model_axis_goes_to, dtype=torch.float64))
    assert head_angles(rotation) == pytest.approx((yaw, pitch, roll))


def test_angles_compose_to_the_same_rotation():
    rotation = (0.3, -0.5, 0.2)
    yaw, pitch, roll = head_angles(rotation)
    flip = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)[:, None]

    def turn(*angles: float) -> torch.Tensor:
        return flip * euler_to_rotation(torch.tensor([angles], dtype=torch.float64))[0]

    composed = turn(0, yaw, 0) @ turn(pitch, 0, 0) @ turn(0, 0, roll)
    torch.testing.assert_close(composed, turn(*rotation))
