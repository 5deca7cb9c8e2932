"""Files of recognisers by kind: what is read, and what to give where a file is missing or of another network."""

from typing import get_args

import pytest
import torch

from focus_ray.data.detectors.weight_files import MESH_FILE, MESH_FOLDER
from focus_ray.errors import CheckpointError, ConfigError
from focus_ray.focus.networks.insightface_mbf import InsightMobileFaceNet
from focus_ray.focus.networks.mobilefacenet import MobileFaceNet
from focus_ray.focus.networks.recogniser import LOADERS, RecogniserKind
from focus_ray.model import PerceptualSettings
from focus_ray.recognisers.load import FILES, load_recogniser
from tests.recognisers.onnx_graphs import export_mbf, randomise


def test_every_kind_of_the_settings_has_a_loader_and_a_file():
    kinds = set(get_args(PerceptualSettings.model_fields["kind"].annotation)) - {"warmup_encoder"}
    assert kinds == set(get_args(RecogniserKind)) == set(LOADERS) == set(FILES)


def test_a_graph_and_a_state_dict_are_told_by_the_name(tmp_path):
    network = randomise(InsightMobileFaceNet((1, 1, 1, 1), 1)).requires_grad_(False)
    (tmp_path / "w600k_mbf.onnx").write_bytes(export_mbf(network, folded=True))
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "mbf.pth")
    crops = torch.rand(1, 3, 112, 112)
    for name in ("w600k_mbf.onnx", "mbf.pth"):
        loaded = load_recogniser("insightface_mbf", tmp_path / name)
        assert not loaded.training
        torch.testing.assert_close(loaded(crops), network(crops), rtol=1e-4, atol=1e-4)
    with pytest.raises(CheckpointError, match=r"w600k_mbf\.onnx holds no IResNet"):
        load_recogniser("arcface", tmp_path / "w600k_mbf.onnx")
    with pytest.raises(CheckpointError, match=r"mobilefacenet is not read from ONNX files; give mobilefacenet\.pt"):
        load_recogniser("mobilefacenet", tmp_path / "w600k_mbf.onnx")
    with pytest.raises(CheckpointError, match=r"mbf\.pth: these are not the weights of arcface_torch's IResNet"):
        load_recogniser("auraface", tmp_path / "mbf.pth")


def test_the_mobilefacenet_of_128_outputs(tmp_path):
    network = randomise(MobileFaceNet())
    torch.save({"state_dict": network.state_dict()}, tmp_path / "mobilefacenet.pt")
    loaded = load_recogniser("mobilefacenet", tmp_path / "mobilefacenet.pt")
    crops = torch.rand(1, 3, 112, 112)
    assert torch.equal(loaded(crops), network(crops))


@pytest.mark.parametrize("kind", ["arcface", "auraface", "insightface_mbf", "mobilefacenet"])
def test_a_missing_file_is_asked_for(kind):
    with pytest.raises(ConfigError, match=r"needs weights; give .*model\.perceptual\.weights=FILE"):
        load_recogniser(kind, None)


def test_another_face_mesh_is_refused(tmp_path):
    (tmp_path / MESH_FILE).write_bytes(b"TFL3")
    with pytest.raises(ConfigError, match="the sha256"):
        load_recogniser("face_mesh", tmp_path / MESH_FILE)


@pytest.mark.skipif(not (MESH_FOLDER / MESH_FILE).is_file(), reason="the detector's weights are not installed")
def test_the_face_mesh_needs_no_file():
    assert load_recogniser("face_mesh", None).architecture == "face_mesh"
