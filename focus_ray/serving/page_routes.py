"""The page."""

from fastapi import APIRouter


def router() -> APIRouter:
    """Nothing yet."""
    return APIRouter()
