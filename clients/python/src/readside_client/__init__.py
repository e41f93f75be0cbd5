"""Polls a session's events from a readside API: each event once, through bursts, restarts and outages."""

from readside_client.aio import AsyncClient
from readside_client.client import Client
from readside_client.errors import (
    BadRequest,
    Forbidden,
    ReadsideError,
    Refused,
    SessionNotFound,
    Unauthorized,
    Unavailable,
)
from readside_client.model import Event, Freshness, Page

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Event",
    "Forbidden",
    "Freshness",
    "Page",
    "ReadsideError",
    "Refused",
    "SessionNotFound",
    "Unauthorized",
    "Unavailable",
]
