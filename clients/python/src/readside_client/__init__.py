"""Reads and follows a session's events from a readside API: each event once, through bursts, restarts and outages."""

from readside_client.aio import AsyncClient
from readside_client.client import Client
from readside_client.errors import (
    BadRequest,
    Forbidden,
    OffsetLost,
    ReadsideError,
    RequestRefused,
    SessionNotFound,
    Unauthorized,
    Unavailable,
    WrongParameter,
)
from readside_client.model import Event, Freshness, Page
from readside_client.projection import ProjectionReport, ProjectionSlice, ProjectionStatus, SessionState, WarmReply

Refused = RequestRefused
"""Its name in version 0.1, which goes on working."""

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Event",
    "Forbidden",
    "Freshness",
    "OffsetLost",
    "Page",
    "ProjectionReport",
    "ProjectionSlice",
    "ProjectionStatus",
    "ReadsideError",
    "Refused",
    "RequestRefused",
    "SessionNotFound",
    "SessionState",
    "Unauthorized",
    "Unavailable",
    "WarmReply",
    "WrongParameter",
]
