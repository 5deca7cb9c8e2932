"""Passwords and tokens never stand in a message; everything else of it does."""

import pytest

from focus_ray.tracking.redaction import redact_secrets


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at http://user:pass@host:5000/x", "at http://host:5000/x"),
        ("at https://token@host", "at https://host"),
        ("postgresql://me:p%40ss@db/mlflow and http://a:b@c", "postgresql://db/mlflow and http://c"),
        ("url: /api?token=abc&x=1", "url: /api?token=***&x=1"),
        ("https://h/p?X-Amz-Signature=abc'", "https://h/p?X-Amz-Signature=***'"),
        ("mail someone@example.org", "mail someone@example.org"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
    ],
)
def test_addresses(text, clean):
    assert redact_secrets(text, {}) == clean


def test_values_of_secret_variables():
    environment = {
        "AWS_SECRET_ACCESS_KEY": "abcdef123",
        "MLFLOW_TRACKING_TOKEN": "tok-123456",
        "A_TOKEN": "true",
        "HOME": "/somewhere",
    }
    text = "abcdef123 tok-123456 true /somewhere"
    assert redact_secrets(text, environment) == "*** *** true /somewhere"
