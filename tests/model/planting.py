"""Planting a bug: a few words of the project's own source are replaced, in Python, SQL or a script."""

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from projector.tail.sql import statement


@dataclass(frozen=True)
class Plant:
    """`where` is a script or an SQL file, or `module:function` or `module:Class.method`; `old` there becomes `new`.

    `under` names the faults, and what writers do, that the rule is for; none: any. `also` are further places.
    """

    rule: str
    where: str
    old: str
    new: str
    under: tuple[str, ...] = ()
    also: tuple[tuple[str, str, str], ...] = ()

    def altered(self, where: str, text: str) -> str:
        """A place's text with the bug, if any of it belongs there."""
        for place, old, new in ((self.where, self.old, self.new), *self.also):
            if place == where:
                assert text.count(old) == 1, f"{where} has changed: say anew how to break the rule that {self.rule}"
                text = text.replace(old, new)
        return text

    @property
    def places(self) -> set[str]:
        """Every place that it changes."""
        return {self.where, *(place for place, _, _ in self.also)}

    def in_script(self, name: str, text: str) -> str:
        """A script's text with the bug, if it belongs there."""
        return self.altered(f"{name}.lua", text)


@contextmanager
def planted(plant: Plant | None) -> Iterator[None]:
    """Plant a bug in Python and SQL for as long as the block lasts; in a script it is for whoever loads that."""
    with ExitStack() as stack:
        for place in sorted(plant.places) if plant else ():
            assert plant
            if place.endswith(".sql"):
                stack.enter_context(_sql(plant))
            elif not place.endswith(".lua"):
                stack.enter_context(_function(plant, place))
        yield


@contextmanager
def _sql(plant: Plant) -> Iterator[None]:
    def altered(name: str, **markers: str) -> str:
        text = plant.altered(f"{name}.sql", statement(name))
        for marker, value in markers.items():
            text = text.replace(f"{{{marker}}}", value)
        return text

    with (
        mock.patch("projector.tail.letterbox.statement", altered),
        mock.patch("tests.model.letter_tables.statement", altered),
    ):
        yield


@contextmanager
def _function(plant: Plant, where: str) -> Iterator[None]:
    module_name, _, path = where.partition(":")
    module: Any = importlib.import_module(module_name)
    owner, _, name = path.rpartition(".")
    target = getattr(module, owner) if owner else module
    sound = getattr(target, name)
    text = plant.altered(where, textwrap.dedent(inspect.getsource(sound)))
    scope: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{text}", module.__dict__, scope)
    # Whoever imported a function by its name has it as well.
    holders = (
        [target] if owner else [one for one in sys.modules.values() if getattr(one, "__dict__", {}).get(name) is sound]
    )
    with ExitStack() as stack:
        for holder in holders:
            stack.enter_context(mock.patch.object(holder, name, scope[name]))
        yield
