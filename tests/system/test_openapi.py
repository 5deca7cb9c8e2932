"""What the OpenAPI document says is what the interface does: requests that schemathesis makes from it."""

import hypothesis
import pytest
import schemathesis

from focus_ray.inference import Reconstructor
from focus_ray.serving.admission import AdmissionMiddleware
from focus_ray.serving.app import create_app
from focus_ray.serving.fitting import Fitter
from focus_ray.serving.service import ReconstructionService
from focus_ray.serving.settings import BatchingSettings
from tests.serving.test_service import Here
from tests.system.test_hostile import SETTINGS, FakeIngress, NoFaces


@pytest.fixture(scope="module")
def document(untrained):
    service = ReconstructionService(Here(Fitter(Reconstructor(untrained), BatchingSettings(batch=2))), SETTINGS)
    service._detector = lambda: NoFaces()
    yield schemathesis.openapi.from_asgi(
        "/openapi.json", AdmissionMiddleware(create_app(FakeIngress(service), SETTINGS), SETTINGS)
    )
    service.close()


def test_every_answer_is_one_that_the_document_promises(document):
    asked = set()
    for found in document.get_all_operations():
        operation = found.ok()
        asked.add(operation.label)

        @hypothesis.given(operation.as_strategy())
        @hypothesis.settings(max_examples=12, suppress_health_check=list(hypothesis.HealthCheck))
        def holds(case: schemathesis.Case) -> None:
            answer = case.call()
            assert answer.status_code < 500 or answer.status_code == 503, answer.text[:300]
            promised = {*case.operation.definition.raw["responses"], "404", "405", "413", "422"}
            assert str(answer.status_code) in promised, answer.text[:300]
            assert answer.status_code < 400 or answer.json()["status"] == answer.status_code

        holds()
    assert "POST /v1/reconstructions:batch" in asked
    assert len(asked) >= 7
