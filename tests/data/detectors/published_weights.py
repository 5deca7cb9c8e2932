"""Networks with random weights in the published layouts of face-alignment and insightface; needs both packages.

Last layers are chosen so that faces are found: insightface's detector answers to bright squares, and its landmark
networks give the points of a mean face, moved a little by what they see.
"""

from pathlib import Path

import numpy as np
import torch

from focus_ray.data.detectors.points_106 import FROM_106, N_POINTS
from focus_ray.data.landmark_check import MEAN_LANDMARKS

STRIDES = (8, 16, 32)
SCRFD_OUTPUTS = (("448", "471", "494"), ("451", "474", "497"), ("454", "477", "500"))  # scores, boxes, points
BRIGHT = 32  # px: stride of the only level that finds faces
HALF_SIDE = 3.0  # strides from the middle of a face to the sides of its box


def write_face_alignment(hub: Path, *, faces: bool = True) -> None:
    """Write hub/checkpoints with S3FD and 2DFAN4, both of full size.

    Args:
        hub: folder to write.
        faces: whether S3FD finds faces, on its coarsest level.
    """
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    torch.manual_seed(0)
    detector, landmarks = s3fd(), FAN(4)
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            if name.endswith("mbox_conf.bias"):
                parameter.fill_(0.0)
                parameter[-1] = 5.0 if faces and name.startswith("conv7_2") else -20.0
    (hub / "checkpoints").mkdir(parents=True)
    torch.save(detector.state_dict(), hub / "checkpoints" / "s3fd-619a316812.pth")
    torch.save(landmarks.state_dict(), hub / "checkpoints" / "2DFAN4-11f355bf06.pth.tar")


def write_buffalo(folder: Path) -> None:
    """Write the five .onnx files of the pack buffalo_l: small networks with its inputs and outputs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    _write_scrfd(folder / "det_10g.onnx", rng)
    of_106 = np.zeros((N_POINTS, 2))
    of_106[list(FROM_106)] = network_points()
    _write_vector(folder / "2d106det.onnx", "data", 192, of_106.reshape(-1), rng, scaled_inside=True)
    in_space = np.zeros((1103, 3))  # all vertices of a mesh; the last 68 are the landmarks
    in_space[-68:, :2] = network_points()
    in_space[-68:, 2] = rng.uniform(-0.3, 0.3, 68)
    _write_vector(folder / "1k3d68.onnx", "data", 192, in_space.reshape(-1), rng, scaled_inside=True)
    _write_vector(folder / "genderage.onnx", "data", 96, np.zeros(3), rng, scaled_inside=True)
    _write_vector(folder / "w600k_r50.onnx", "input.1", 112, np.zeros(512), rng, scaled_inside=False)


def network_points() -> np.ndarray:
    """Return 68 points of a mean face as a landmark network gives them: [-1, 1] is the crop, 1.5 times the box."""
    points = MEAN_LANDMARKS[:, :2] * [1, -1]  # y down
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / (high - low).max() * 2 / 1.5


def _write_scrfd(path: Path, rng: np.random.Generator) -> None:
    from onnx import helper

    nodes, weights, outputs = [], [], []
    for kind, (names, values) in enumerate(zip(SCRFD_OUTPUTS, (1, 4, 10), strict=True)):
        for stride, name in zip(STRIDES, names, strict=True):
            kernel = rng.normal(0, 1e-3, (2 * values, 3, stride, stride)) / stride
            bias = np.full(2 * values, (-20.0, HALF_SIDE, 0.0)[kind])
            if kind == 0 and stride == BRIGHT:  # -10 on grey, 10 on white
                kernel[0], bias[0] = 20 / (3 * stride**2), -10
            weights += [_tensor(f"w{name}", kernel), _tensor(f"b{name}", bias), _shape(f"s{name}", (-1, values))]
            inside = [f"{name}.{step}" for step in range(3)]
            nodes += [
                helper.make_node("Conv", ["input.1", f"w{name}", f"b{name}"], [inside[0]], strides=[stride, stride]),
                helper.make_node("Transpose", [inside[0]], [inside[1]], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [inside[1], f"s{name}"], [inside[2] if kind == 0 else name]),
            ]
            if kind == 0:
                nodes.append(helper.make_node("Sigmoid", [inside[2]], [name]))
            outputs.append((name, [2 * (640 // stride) ** 2, values]))
    _save(path, nodes, weights, ("input.1", [1, 3, "?", "?"]), outputs)


def _write_vector(
    path: Path, name: str, side: int, mean: np.ndarray, rng: np.random.Generator, *, scaled_inside: bool
) -> None:
    """A network from a picture to a vector about `mean`; those of MXNet shift and scale the picture themselves."""
    from onnx import helper

    weights = [
        _tensor("shift", np.array(127.5)),
        _tensor("scale", np.array(1 / 128)),
        _tensor("kernel", rng.normal(0, 0.02, (8, 3, 7, 7))),
        _tensor("matrix", rng.normal(0, 1e-3, (8, mean.size))),
        _tensor("mean", mean),
    ]
    nodes = [
        helper.make_node("Sub", [name, "shift"], ["shifted"], name="_minusscalar0"),
        helper.make_node("Mul", ["shifted", "scale"], ["scaled"], name="_mulscalar0"),
    ]
    nodes = nodes if scaled_inside else []
    nodes += [
        helper.make_node("Conv", ["scaled" if scaled_inside else name, "kernel"], ["features"], strides=[4, 4]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "mean"], ["fc1"]),
    ]
    _save(path, nodes, weights, (name, ["None", 3, side, side]), [("fc1", ["None", mean.size])])


def _save(path: Path, nodes: list, weights: list, source: tuple, outputs: list[tuple]) -> None:
    import onnx
    from onnx import TensorProto, helper

    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        path.stem,
        [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [weight for weight in weights if weight.name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def _tensor(name: str, values: np.ndarray):
    from onnx import numpy_helper

    return numpy_helper.from_array(values.astype(np.float32), name)


def _shape(name: str, values: tuple[int, ...]):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(values, np.int64), name)


def bright_squares(side: int = 640, cells: tuple[tuple[int, int], ...] = ((7, 9),)) -> np.ndarray:
    """Return a dark picture with a white square in each of these cells (row, column) of the detector's 20 x 20."""
    picture = np.random.default_rng(0).integers(20, 60, (side, side, 3)).astype(np.uint8)
    cell = side * BRIGHT // 640
    for row, column in cells:
        picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 255
    return picture
